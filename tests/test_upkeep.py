"""Merging and graphs on a background thread: searches see them, nothing waits, nothing is lost."""

from __future__ import annotations

import contextlib
import gc
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import vstore
from tests.native.data import clustered, nearest
from vstore.native import loader
from vstore.segment.vectors import VectorSegment

if TYPE_CHECKING:
    from vstore import Collection, Store

DIMENSION, ROWS, ROWS_MIN = 24, 6_000, 1_000
QUERIES = clustered(20, DIMENSION, seed=5)
PATIENCE_S = 120
KILLS = 8


@pytest.fixture(scope="module", autouse=True)
def machine_code() -> None:
    if loader.kernels(wait=True) is None:
        pytest.skip(f"no machine code here: {loader.status()['reason']}")


def collection(store: Store, **options: Any) -> Collection:
    docs = store.create_collection("docs", exist_ok=True)
    spec = vstore.EmbeddingSpec("model", DIMENSION, metric="l2")
    docs.create_version("v", spec, graph_rows_min=ROWS_MIN, exist_ok=True, **options)
    return docs


def fill(docs: Collection, ids: range, *, batch: int = 1_100) -> None:
    vectors = clustered(ROWS, DIMENSION)
    for start in range(ids.start, ids.stop, batch):
        some = range(start, min(start + batch, ids.stop))
        docs.upsert(list(some), vectors={"v": vectors[some.start : some.stop]})


def recall(docs: Collection, alive: range) -> float:
    right = nearest(clustered(ROWS, DIMENSION)[alive.start :], QUERIES, "l2", 10)
    found = docs.search_batch(QUERIES, version="v")
    pairs = zip(found, right, strict=True)
    return sum(len({int(i) - alive.start for i in f.ids} & r) for f, r in pairs) / 200


def graphs(store: Store) -> list[bool]:
    parts = store.collection("docs")._handle.view().rows("v").parts
    large = [part.rows for part in parts if len(part.rows.docno) >= ROWS_MIN]
    return [isinstance(rows, VectorSegment) and rows.has_graph for rows in large]


def test_the_thread_builds_what_commits_left(tmp_path: Path) -> None:
    with vstore.open(tmp_path / "s", indexing="background") as store:
        docs = collection(store)
        fill(docs, range(ROWS))
        assert store.wait_for_upkeep(PATIENCE_S)
        assert all(graphs(store))
        assert "GraphSearch" in docs.search(QUERIES[0], version="v").explain()
        assert recall(docs, range(ROWS)) > 0.93
        assert any(entry.operation == "upkeep" for entry in store.history())
    with vstore.open(tmp_path / "s") as store:
        assert store.check().ok


def test_what_is_due_when_a_store_is_opened_is_done(tmp_path: Path) -> None:
    with vstore.open(tmp_path / "s", indexing="manual") as store:
        fill(collection(store), range(ROWS), batch=ROWS)
        assert graphs(store) == [False]
    with vstore.open(tmp_path / "s", indexing="background") as store:
        assert store.wait_for_upkeep(PATIENCE_S)
        assert graphs(store) == [True]


def test_deletes_and_writes_meanwhile_are_neither_lost_nor_undone(tmp_path: Path) -> None:
    with vstore.open(tmp_path / "s", indexing="background") as store:
        docs = collection(store)
        stop = threading.Event()
        wrong: list[object] = []

        def read() -> None:
            while not stop.is_set():
                found = [result.ids for result in docs.search_batch(QUERIES, version="v")]
                wrong.extend(ids for ids in found if len(set(ids)) != len(ids))

        readers = [threading.Thread(target=read) for _ in range(2)]
        for start in range(0, ROWS, 1_100):
            fill(docs, range(start, min(start + 1_100, ROWS)))
            docs.delete(list(range(start // 2, start // 2 + 300)))
            if start == 0:
                for reader in readers:
                    reader.start()
        docs.delete(list(range(4_000)))
        assert store.wait_for_upkeep(PATIENCE_S)
        stop.set()
        for reader in readers:
            reader.join()
        assert not wrong
        assert len(docs) == ROWS - 4_000
        assert recall(docs, range(4_000, ROWS)) > 0.93
        assert store.check().ok


@pytest.mark.parametrize("vacuum", [False, True])
def test_a_commit_after_the_snapshot_keeps_its_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, vacuum: bool
) -> None:
    """Between making a replacement and putting it in place: a delete, an update, a vacuum.

    The vacuum leaves nothing to be replaced; without it, what was made is put in place.
    """
    from vstore.engine import upkeep

    with vstore.open(tmp_path / "s", indexing="background") as store:
        docs = collection(store)
        new = clustered(1, DIMENSION, seed=77)[0]
        put, interfered = upkeep.Upkeep._put, threading.Event()

        def late(self: Any, name: str, label: str, replacement: Any) -> None:
            if not interfered.is_set():
                interfered.set()
                docs.delete([5])
                docs.upsert([6], vectors={"v": new[None]})
                if vacuum:
                    store.vacuum()
            put(self, name, label, replacement)

        monkeypatch.setattr(upkeep.Upkeep, "_put", late)
        fill(docs, range(ROWS), batch=ROWS)
        assert store.wait_for_upkeep(PATIENCE_S)
        assert interfered.is_set()
        names = [entry.operation for entry in store.history()]
        assert ("upkeep" in names) is not vacuum
        assert all(graphs(store))
        assert docs.search(new, version="v", k=1).ids == [6]
        assert 5 not in docs
        assert store.check().ok


def test_a_vacuum_is_waited_for_as_well(tmp_path: Path) -> None:
    with vstore.open(tmp_path / "s", indexing="background") as store:
        fill(collection(store), range(ROWS), batch=ROWS)
        assert store.wait_for_upkeep(PATIENCE_S)
        store.vacuum()
        assert store.wait_for_upkeep(PATIENCE_S)


@pytest.mark.parametrize("error", [MemoryError("much"), vstore.StorageError("no room")])
def test_whoever_waits_without_a_limit_hears_of_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    from vstore.engine import upkeep

    def fails(*_: Any) -> None:
        raise error

    monkeypatch.setattr(upkeep, "_RETRY_S", 0.05)
    with vstore.open(tmp_path / "s", indexing="background") as store:
        docs = collection(store)
        assert store.wait_for_upkeep(PATIENCE_S)
        with monkeypatch.context() as broken:
            broken.setattr(upkeep, "find_replacement", fails)
            fill(docs, range(ROWS), batch=ROWS)
            with pytest.raises(vstore.StorageError, match=str(error)):
                store.wait_for_upkeep()
        deadline = time.monotonic() + PATIENCE_S
        while graphs(store) != [True]:
            assert time.monotonic() < deadline
            time.sleep(0.05)


def test_closing_does_not_wait_for_a_build(tmp_path: Path) -> None:
    store = vstore.open(tmp_path / "s", indexing="background")
    docs = store.create_collection("docs")
    docs.create_version(
        "v",
        vstore.EmbeddingSpec("m", 64, metric="l2"),
        ef_construction=5_000,
        graph_rows_min=ROWS_MIN,
    )
    docs.upsert(list(range(30_000)), vectors={"v": clustered(30_000, 64)})
    time.sleep(0.5)  # the build is under way: it would take a minute
    closing = threading.Thread(target=store.close)
    closing.start()
    closing.join(20)
    assert not closing.is_alive()
    with vstore.open(tmp_path / "s") as again:
        assert again.check().ok


def test_a_failing_thread_says_so_and_tries_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from vstore.engine import upkeep
    from vstore.segment import replacement

    monkeypatch.setattr(upkeep, "_RETRY_S", 0.05)
    find, failures = replacement.find_replacement, [vstore.StorageError("no room")] * 3

    def fails_at_first(*arguments: Any) -> Any:
        if failures:
            raise failures.pop()
        return find(*arguments)

    monkeypatch.setattr(upkeep, "find_replacement", fails_at_first)
    with vstore.open(tmp_path / "s", indexing="background") as store:
        fill(collection(store), range(ROWS), batch=ROWS)
        deadline = time.monotonic() + PATIENCE_S
        while graphs(store) != [True]:
            assert time.monotonic() < deadline
            try:
                store.wait_for_upkeep(1)
            except vstore.StorageError as error:
                assert "no room" in str(error)  # noqa: PT017
        assert store.wait_for_upkeep(PATIENCE_S)


def test_small_commits_are_not_looked_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from vstore.engine import upkeep

    with vstore.open(tmp_path / "s", indexing="background") as store:
        docs = collection(store)
        fill(docs, range(ROWS), batch=ROWS)
        assert store.wait_for_upkeep(PATIENCE_S)
        monkeypatch.setattr(upkeep, "find_replacement", None)
        for number in range(5):
            docs.upsert([f"small {number}"], vectors={"v": QUERIES[:1]})
        assert store.wait_for_upkeep(PATIENCE_S)


def test_a_store_that_nobody_holds_lets_go_of_its_file(tmp_path: Path) -> None:
    store = vstore.open(tmp_path / "s", indexing="background")
    fill(collection(store), range(ROWS), batch=ROWS)
    assert store.wait_for_upkeep(PATIENCE_S)
    del store
    gc.collect()
    with vstore.open(tmp_path / "s", timeout_s=5) as again:
        assert again.check().ok


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_child_that_was_forked_in_a_writers_turn_can_close(tmp_path: Path) -> None:
    with vstore.open(tmp_path / "s", indexing="background") as store, store.transaction():
        child = os.fork()
        if child == 0:
            signal.alarm(20)  # a child that hangs is killed
            closing = threading.Thread(target=store.close)  # this thread has the turn
            closing.start()
            closing.join()
            os._exit(0)
        assert os.waitpid(child, 0)[1] == 0


KILLED = """
import sys, vstore
sys.path.insert(0, {root!r})
from tests.test_upkeep import collection, fill, ROWS
print("begun", flush=True)
store = vstore.open(sys.argv[1], indexing="background")
docs = collection(store)
fill(docs, range(len(docs), ROWS), batch=400)
print("done", flush=True)
store.wait_for_upkeep()
print("idle", flush=True)
"""


@pytest.mark.skipif(os.name == "nt", reason="kill -9")
def test_killed_at_any_time_it_goes_on_where_it_was(tmp_path: Path) -> None:
    script = KILLED.format(root=str(Path(__file__).parents[1]))
    rng = np.random.default_rng(0)
    for attempt in range(KILLS + 1):
        process = subprocess.Popen(
            [sys.executable, "-c", script, str(tmp_path / "s")], stdout=subprocess.PIPE, text=True
        )
        assert process.stdout is not None
        assert process.stdout.readline() == "begun\n"
        if attempt == KILLS:  # let it finish
            output, _ = process.communicate(timeout=PATIENCE_S)
            assert output.split() == ["done", "idle"]
            break
        time.sleep(float(rng.uniform(0, 1.2)))
        process.send_signal(signal.SIGKILL)
        process.wait()
        process.stdout.close()
        not_made_yet = contextlib.suppress(vstore.NotFoundError, vstore.NotAStoreError)
        with not_made_yet, vstore.open(tmp_path / "s", mode="r") as store:
            assert store.check().ok
    with vstore.open(tmp_path / "s", mode="r") as store:
        assert store.check().ok
        docs = store.collection("docs")
        assert len(docs) == ROWS
        assert all(graphs(store))
        assert recall(docs, range(ROWS)) > 0.93
