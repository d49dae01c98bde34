"""Counters and hits in the file: merged, kept through a vacuum, and never lost by halves."""

from __future__ import annotations

import sys
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

import vstore
from tests.small_store import OLD, axis, documents, rows, seal, store_in
from vstore.api.opening import open_store
from vstore.errors import CorruptionError, InvalidArgumentError, ReadOnlyError, StorageError
from vstore.storage.memory import MemoryMedium
from vstore.testing import Failure, FaultyMedium

if TYPE_CHECKING:
    from pathlib import Path
    from types import FrameType

    from vstore import Collection, Store

IDS = list(range(20))


def filled(store: Store | None = None) -> Collection:
    docs = documents(store)
    docs.upsert(IDS, vectors={OLD: rows(len(IDS))})
    return docs


def queries(store: Store, *, stored: bool = False) -> int:
    counts: Any = store.metrics(stored=stored).to_dict()["counts"]
    return int(counts.get("queries", 0))


def test_hits_are_counted_by_document() -> None:
    docs = filled()
    found: Counter[Any] = Counter()
    for number in range(4):
        found.update(docs.search(axis(number), version=OLD, k=3).ids)
    found.update(id_ for r in docs.search_batch(rows(5, seed=2), version=OLD) for id_ in r.ids)
    assert docs.migration.hit_counts() == found
    assert list(docs.migration.hit_counts().values()) == sorted(found.values(), reverse=True)


def test_a_document_found_by_two_chunks_is_two_hits() -> None:
    docs = documents()
    docs.upsert(["a"], vectors={OLD: [rows(2)]})
    docs.search(axis(0), version=OLD, collapse=False)
    assert docs.migration.hit_counts() == {"a": 2}


def test_searches_of_an_older_epoch_count_as_queries_but_not_as_hits() -> None:
    docs = filled()
    docs.store.snapshot().collection("docs").search(axis(0), version=OLD)
    assert docs.migration.hit_counts() == {}
    assert queries(docs.store) == 1


def test_a_flush_is_one_commit_and_none_without_a_search() -> None:
    docs = filled()
    before = docs.store.epoch
    assert not docs.store.flush_metrics()
    assert docs.store.epoch == before
    docs.search(axis(0), version=OLD)
    assert docs.store.flush_metrics()
    assert docs.store.epoch == before + 1
    assert docs.store.history(limit=1)[0].operation == "flush_metrics"
    assert not docs.store.flush_metrics()
    assert docs.store.epoch == before + 1
    counts: Any = docs.store.metrics().to_dict()["counts"]
    assert counts["commits"] == before + 1


def test_what_was_flushed_is_there_for_others_and_added_to() -> None:
    medium = MemoryMedium()
    with store_in(medium) as store:
        docs = filled(store)
        first = docs.search(axis(0), version=OLD, k=2).ids
        store.flush_metrics()
        second = docs.search(axis(1), version=OLD, k=2).ids
        assert docs.migration.hit_counts() == Counter(first + second)
        store.flush_metrics()
        assert docs.migration.hit_counts() == Counter(first + second)
        assert queries(store) == queries(store, stored=True) == 2
    with store_in(medium, mode="r") as reader:
        docs = reader.collection("docs")
        assert docs.migration.hit_counts() == Counter(first + second)
        third = docs.search(axis(2), version=OLD, k=2).ids
        assert docs.migration.hit_counts() == Counter(first + second + third)
        assert queries(reader) == 1
        assert queries(reader, stored=True) == 3
        with pytest.raises(ReadOnlyError):
            reader.flush_metrics()
        assert docs.migration.hit_counts() == Counter(first + second + third)


def test_closing_keeps_them_only_if_asked() -> None:
    medium = MemoryMedium()
    with store_in(medium) as store:
        filled(store).search(axis(0), version=OLD)
    with store_in(medium, keep_metrics=True) as store:
        assert queries(store, stored=True) == 0
        found = store.collection("docs").search(axis(0), version=OLD).ids
    with store_in(medium) as store:
        assert queries(store, stored=True) == 1
        assert store.collection("docs").migration.hit_counts() == dict.fromkeys(found, 1)
        assert store.check().ok


def test_a_reader_cannot_keep_them() -> None:
    medium = MemoryMedium()
    store_in(medium).close()
    with pytest.raises(InvalidArgumentError, match="keep_metrics"):
        store_in(medium, mode="r", keep_metrics=True)


@pytest.mark.parametrize("flush", [True, False])
def test_hits_stay_with_their_documents_through_a_vacuum(flush: bool) -> None:
    docs = filled()
    found = docs.search(axis(0), version=OLD, k=8).ids
    if flush:
        docs.store.flush_metrics()
    docs.delete(IDS[:7])
    docs.store.vacuum()
    left = {id_: 1 for id_ in found if id_ not in IDS[:7]}
    assert docs.migration.hit_counts() == left
    docs.store.flush_metrics()
    assert docs.migration.hit_counts() == left


def test_a_reader_drops_what_a_vacuum_by_another_makes_meaningless() -> None:
    medium = MemoryMedium()
    store = store_in(medium)
    filled(store).delete(IDS[:7])
    with store_in(medium, mode="r") as reader:
        docs = reader.collection("docs")
        docs.search(axis(0), version=OLD)
        store.vacuum()
        reader.refresh()
        assert docs.migration.hit_counts() == {}
        found = docs.search(axis(0), version=OLD).ids
        assert docs.migration.hit_counts() == dict.fromkeys(found, 1)
        assert queries(reader) == 2


def test_hits_of_a_dropped_collection_are_not_those_of_its_namesake() -> None:
    docs = filled()
    docs.search(axis(0), version=OLD)
    docs.store.drop_collection("docs")
    again = filled(docs.store)
    assert again.migration.hit_counts() == {}
    docs.store.flush_metrics()
    assert again.migration.hit_counts() == {}


def test_what_could_not_be_written_is_counted_still() -> None:
    medium = FaultyMedium()
    store = open_store(medium)
    docs = filled(store)
    found = docs.search(axis(0), version=OLD).ids
    medium.failure = Failure(at=medium.attempts)
    with pytest.raises(StorageError):
        store.flush_metrics()
    assert docs.migration.hit_counts() == dict.fromkeys(found, 1)
    assert queries(store) == 1


def test_damaged_records_stop_no_search_and_are_found(tmp_path: Path) -> None:
    path = tmp_path / "docs.vstore"
    with vstore.open(path) as store:
        docs = filled(store)
        found = docs.search(axis(0), version=OLD).ids
        store.flush_metrics()
        state = store._open_file.current().state
        refs = state.metrics, state.collections["docs"].hits
    data = bytearray(path.read_bytes())
    for ref in refs:
        assert ref is not None
        data[ref.offset + 64] ^= 0xFF  # the payload's first byte
    path.write_bytes(data)
    with vstore.open(path) as store:
        docs = store.collection("docs")
        assert docs.search(axis(0), version=OLD).ids == found
        assert {p.offset for p in store.check().problems} == {ref.offset for ref in refs if ref}
        with pytest.raises(CorruptionError):
            docs.migration.hit_counts()
        with pytest.raises(CorruptionError):
            store.metrics(stored=True)
        with pytest.raises(CorruptionError):
            store.flush_metrics()
        assert queries(store) == 1


@settings(max_examples=25, stateful_step_count=25, deadline=None)
class Hits(RuleBasedStateMachine):
    """Hits against a dict, whatever is written, flushed, vacuumed and reopened in between."""

    @initialize()
    def begin(self) -> None:
        self.medium = MemoryMedium()
        self.store = store_in(self.medium)
        self.docs = filled(self.store)
        self.alive = set(IDS)
        self.kept: Counter[Any] = Counter()
        self.recent: Counter[Any] = Counter()

    @rule(seed=st.integers(0, 5), k=st.integers(1, 8))
    def search(self, seed: int, k: int) -> None:
        for result in self.docs.search_batch(rows(2, seed=seed), version=OLD, k=k):
            self.recent.update(result.ids)

    @rule(id_=st.sampled_from(IDS))
    def delete(self, id_: int) -> None:
        self.docs.delete([id_] if id_ in self.alive else [])
        self.alive.discard(id_)

    @rule(id_=st.integers(100, 105))
    def add(self, id_: int) -> None:
        self.docs.upsert([id_], vectors={OLD: rows(1, seed=id_)})
        self.alive.add(id_)

    @rule()
    def flush(self) -> None:
        self.store.flush_metrics()
        self.kept += self.recent
        self.recent.clear()

    @rule()
    def vacuum(self) -> None:
        self.store.vacuum()
        for counts in (self.kept, self.recent):
            for id_ in set(counts) - self.alive:
                del counts[id_]

    @rule()
    def seal(self) -> None:
        seal(self.store)

    @rule()
    def reopen(self) -> None:
        self.store.close()
        self.store = store_in(self.medium)
        self.docs = self.store.collection("docs")
        self.recent.clear()

    @invariant()
    def hits_are_those_counted(self) -> None:
        if hasattr(self, "docs"):
            every = self.kept + self.recent
            assert self.docs.migration.hit_counts() == {
                i: n for i, n in every.items() if i in self.alive
            }


TestHits = Hits.TestCase


def test_a_sampled_share_of_searches_is_compared_with_exact_search() -> None:
    with vstore.open(":memory:", recall_sample=0.25) as store:
        docs = filled(store)
        for _ in range(20):
            docs.search_batch(rows(10, seed=1), version=OLD)
        (only,) = [one for one in store.metrics().to_dict()["slices"] if one["compared"]]  # type: ignore[attr-defined]
        assert only["compared"] == pytest.approx(50, abs=2)
        assert only["recall"] == 1.0
        assert only["queries"] == 200


def test_a_hot_first_backfill_goes_by_what_this_handle_has_counted() -> None:
    docs = filled()
    hot = docs.search(axis(0), version=OLD, k=3).ids
    docs.create_version("new", vstore.EmbeddingSpec("model-new", 4))
    docs.upsert(IDS, texts=[str(i) for i in IDS], vectors={OLD: rows(len(IDS))})
    seen: list[Any] = []

    def embed(batch: Any) -> Any:
        seen.extend(document.id for document in batch)
        return rows(len(batch))

    docs.migrate(OLD, "new", embed=embed, order="hot", calls=vstore.Calls(batch_size=3)).run()
    assert set(seen[:3]) == set(hot)


@pytest.mark.parametrize("function", ["take", "publish", "_wake_upkeep", "flushed"])
def test_an_interrupt_in_a_flush_counts_nothing_twice(function: str, tmp_path: Path) -> None:
    def interrupt(frame: FrameType, event: str, _argument: object) -> None:
        if event == "return" and frame.f_code.co_name == function:
            sys.settrace(None)
            raise KeyboardInterrupt

    def watch(frame: FrameType, event: str, argument: object) -> Any:
        interrupt(frame, event, argument)
        return watch

    with vstore.open(tmp_path / "docs.vstore") as store:
        docs = filled(store)
        for _ in range(3):
            docs.search(axis(0), version=OLD, k=1)
        hits = docs.migration.hit_counts()
        sys.settrace(watch)
        try:
            with pytest.raises(KeyboardInterrupt):
                store.flush_metrics()
        finally:
            sys.settrace(None)
        assert queries(store) == 3
        store.flush_metrics()
        assert queries(store) == queries(store, stored=True) == 3
        assert docs.migration.hit_counts() == hits
