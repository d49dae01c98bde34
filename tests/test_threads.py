"""Threads: readers never wait nor see half a commit, writers take turns."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import vstore
from tests.small_store import NEW, OLD, axis, documents, rows, seal, spec, store_in
from vstore.limits import VIEW_BYTES_MIN
from vstore.storage.layout import BlockKind

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

WAIT_S = 30.0  # far more than anything here takes; a lost wake-up fails instead of hanging


def in_thread(call: Callable[[], object]) -> object:
    """Run a call in another thread; return its result, or raise its error."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(call).result(timeout=WAIT_S)


def test_readers_see_whole_commits_while_one_thread_writes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for module in ("engine.commit", "engine.pending", "writing.draft", "segment.compaction"):
        monkeypatch.setattr(f"vstore.{module}.SEAL_DOCUMENTS", 8)
    monkeypatch.setattr("vstore.segment.compaction.MERGE_FANOUT", 3)
    store = store_in()
    docs = documents(store, new=spec("model-new"))
    # Both documents of a pair always have the same year, and always both vectors.
    docs.upsert(["a", "b"], metadata=[{"year": 0}] * 2, vectors={OLD: rows(2), NEW: rows(2)})
    done = threading.Event()
    problems: list[str] = []

    def read() -> int:
        seen = reads = 0
        while not done.is_set() or not reads:
            reads += 1
            view = store.snapshot().collection("docs")
            years = [document.metadata["year"] for document in view.documents()]
            result = view.search({OLD: axis(0), NEW: axis(1)}, k=50, read=vstore.Dual(NEW, old=OLD))
            if len(set(years)) != 1 or len(years) != 2:
                problems.append(f"years {years}")
            if sorted(map(str, result.ids)) != ["a", "b"]:
                problems.append(f"hits {result.ids}")
            if years[0] < seen:  # type: ignore[operator]
                problems.append(f"year {years[0]} after {seen}")
            seen = years[0]  # type: ignore[assignment]
            docs.search(axis(2), version=OLD, where=vstore.field("year") >= 0)
            docs.get_vectors("a", OLD)
            store.metrics(), store.traces(), store.info()
        return reads

    with ThreadPoolExecutor(4) as pool:
        readers = [pool.submit(read) for _ in range(4)]
        try:
            for year in range(1, 120):
                docs.upsert(
                    ["a", "b"],
                    metadata=[{"year": year}] * 2,
                    source_hashes=[str(year)] * 2,
                    vectors={OLD: rows(2), NEW: rows(2, seed=year)},
                )
                if year % 40 == 0:
                    store.vacuum()
        finally:
            done.set()
        assert all(reader.result(timeout=WAIT_S) for reader in readers)
    assert problems == []
    assert store.check().ok


def test_writers_of_many_threads_take_turns() -> None:
    store = store_in()
    docs = documents(store)
    before = store.epoch

    def write(thread: int) -> None:
        for i in range(25):
            with store.transaction() as tx:
                tx.upsert(docs, [f"{thread}-{i}"], vectors={OLD: rows(1, seed=i)})

    with ThreadPoolExecutor(4) as pool:
        for future in [pool.submit(write, thread) for thread in range(4)]:
            future.result(timeout=WAIT_S)
    assert len(docs) == 100
    assert store.epoch == before + 100
    assert [entry.epoch for entry in store.history()][:100] == list(range(store.epoch, before, -1))
    assert store.check().ok


def test_no_update_is_lost_between_read_and_write_inside_a_transaction() -> None:
    store = store_in()
    docs = documents(store)
    docs.upsert(["counter"], metadata=[{"year": 0}])

    def increment() -> None:
        for _ in range(25):
            with store.transaction() as tx:
                document = docs.get("counter")
                assert document is not None
                year: Any = document.metadata["year"]
                tx.update_metadata(docs, ["counter"], [{"year": year + 1}])

    with ThreadPoolExecutor(4) as pool:
        for future in [pool.submit(increment) for _ in range(4)]:
            future.result(timeout=WAIT_S)
    document = docs.get("counter")
    assert document is not None
    assert document.metadata == {"year": 100}


def test_waiting_for_another_threads_transaction_ends_in_time() -> None:
    store = store_in()
    docs = documents(store)
    with store.transaction() as tx:
        tx.upsert(docs, ["a"])
        for timeout_s in (0, 0.01):
            with pytest.raises(vstore.LockedError, match="another thread"):
                in_thread(lambda: store.transaction(timeout_s=timeout_s).__enter__())  # noqa: B023
        assert in_thread(docs.ids) == []
    assert in_thread(docs.ids) == ["a"]
    in_thread(lambda: docs.upsert(["b"]))
    assert len(docs) == 2


def test_a_nested_transaction_of_one_thread_is_an_error_and_harmless() -> None:
    store = store_in()
    docs = documents(store)
    with store.transaction() as tx:
        tx.upsert(docs, ["a"])
        with pytest.raises(vstore.StateError, match="open transaction"):
            store.transaction().__enter__()
        with pytest.raises(vstore.StateError, match="open transaction"):
            docs.upsert(["b"])
        tx.upsert(docs, ["c"])
    assert docs.ids() == ["a", "c"]
    docs.upsert(["b"])


def test_two_stores_transactions_may_be_open_in_one_thread() -> None:
    one, other = store_in(), store_in()
    ours, theirs = documents(one), documents(other)
    with one.transaction() as tx, other.transaction() as tx_other:
        tx.upsert(ours, ["a"])
        tx_other.upsert(theirs, ["b"])
    assert (ours.ids(), theirs.ids()) == (["a"], ["b"])


def test_a_snapshot_survives_a_seal_that_comes_between_two_of_its_reads() -> None:
    store = store_in()
    docs = documents(store)
    docs.upsert(list(range(50)), vectors={OLD: rows(50)})
    seal(store)
    held = store.snapshot().collection("docs")
    docs.upsert(list(range(25)), vectors={OLD: rows(25, seed=1)})
    store.vacuum()
    expected = np.stack([rows(50)[i] for i in range(50)])
    got = np.concatenate([held.get_vectors(i, OLD) for i in range(50)])
    np.testing.assert_array_equal(got, expected)


def test_segments_may_be_forgotten_while_a_reader_opens_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    store = store_in()
    docs = documents(store)
    docs.upsert(list(range(5)), vectors={OLD: rows(5)})
    seal(store)
    cache = store._open_file.current().cache
    original = type(cache)._vector

    def slow(self: Any, *arguments: Any) -> Any:
        segment = original(self, *arguments)
        self.prune(type(store._open_file.current().state)())  # what a writer does meanwhile
        return segment

    monkeypatch.setattr(type(cache), "_vector", slow)
    cache.prune(type(store._open_file.current().state)())
    assert store.snapshot(store.epoch - 1).collection("docs").ids() == list(range(5))
    docs.upsert([9])
    assert len(docs.search(axis(0), version=OLD)) == 5


def test_closing_waits_for_another_threads_transaction() -> None:
    store = store_in()
    docs = documents(store)
    inside, closing = threading.Event(), threading.Event()

    def write() -> None:
        with store.transaction() as tx:
            inside.set()
            assert closing.wait(WAIT_S)
            tx.upsert(docs, ["a"])

    with ThreadPoolExecutor(2) as pool:
        writing = pool.submit(write)
        assert inside.wait(WAIT_S)
        ended = pool.submit(store.close)
        closing.set()
        writing.result(timeout=WAIT_S)
        ended.result(timeout=WAIT_S)
    with pytest.raises(vstore.ClosedError):
        docs.ids()


def test_a_reader_maps_a_block_while_a_writer_forgets_others(tmp_path: Path) -> None:
    with vstore.open(tmp_path / "a.vstore") as store:
        container = store._open_file.container
        refs = [container.append(BlockKind.ARRAY, bytes(VIEW_BYTES_MIN)) for _ in range(9)]
        for ref in refs[:8]:
            container.read(ref, BlockKind.ARRAY)

        class Offset(int):
            """An offset at whose comparison another thread's turn comes."""

            __hash__ = int.__hash__

            def __eq__(self, other: object) -> bool:
                in_thread(lambda: container.read(refs[8], BlockKind.ARRAY))
                return int(self) == other

        container.forget_views([Offset(refs[3].offset)])
        assert len(container.read(refs[3], BlockKind.ARRAY)) == VIEW_BYTES_MIN
        container.abort()
