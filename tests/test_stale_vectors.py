"""Stale vectors: hidden, or served and said to be stale; through seals, merges and vacuums."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

import vstore
from tests.small_store import NEW, OLD, axis, documents, rows, seal, spec, store_in

if TYPE_CHECKING:
    from collections.abc import Callable

    from vstore.manifest.state import StalePolicy

MOVES: dict[str, Callable[[vstore.Store], object]] = {
    "memtable": lambda _: None,
    "sealed": seal,
    "vacuumed": lambda store: store.vacuum(),
}


@pytest.fixture(params=["hide", "serve"])
def policy(request: pytest.FixtureRequest) -> StalePolicy:
    chosen: StalePolicy = request.param
    return chosen


@pytest.fixture(autouse=True)
def merging_early(monkeypatch: pytest.MonkeyPatch) -> None:
    """Merge every two segments."""
    monkeypatch.setattr("vstore.segment.compaction.MERGE_FANOUT", 2)


@pytest.mark.parametrize("first", MOVES)
@pytest.mark.parametrize("then", MOVES)
def test_a_stale_vector_is_hidden_or_says_that_it_is_stale(
    policy: StalePolicy, first: str, then: str
) -> None:
    store = store_in()
    docs = documents(store, stale_policy=policy)
    docs.upsert(["a", "b"], texts=["one", "two"], vectors={OLD: np.eye(4)[:2]})
    MOVES[first](store)
    docs.upsert(["a"], texts=["changed"], metadata=[{"year": 1}])
    MOVES[then](store)
    seal(store)
    assert docs.coverage(OLD) == vstore.Coverage(1, 2)
    assert docs.coverage(OLD, vstore.field("year") == 1) == vstore.Coverage(0, 1)
    hits = [(hit.id, hit.stale) for hit in docs.search(axis(0), version=OLD)]
    if policy == "serve":
        assert hits == [("a", True), ("b", False)]
        np.testing.assert_array_equal(docs.get_vectors("a", OLD), np.eye(4)[:1])
        assert docs.search(axis(0), version=OLD).trace.stale == 1
    else:
        assert hits == [("b", False)]
        with pytest.raises(vstore.NotFoundError):
            docs.get_vectors("a", OLD)
    assert [document.id for document in docs.migration.pending(OLD)] == ["a"]
    docs.add_vectors(["a"], rows(1), version=OLD)
    assert not any(hit.stale for hit in docs.search(axis(0), version=OLD))
    assert docs.coverage(OLD).complete
    assert store.check().ok


@pytest.mark.parametrize("moves", MOVES)
def test_of_several_stale_vectors_the_newest_one_is_served(moves: str) -> None:
    store = store_in()
    docs = documents(store, stale_policy="serve")
    for number, text in enumerate(("one", "two", "three")):
        docs.upsert(["a"], texts=[text], vectors={OLD: axis(number)[None]})
        MOVES[moves](store)
    docs.upsert(["a"], texts=["four"])
    MOVES[moves](store)
    assert [(h.id, h.score, h.stale) for h in docs.search(axis(2), version=OLD)] == [
        ("a", 1.0, True)
    ]


@pytest.mark.parametrize("moves", MOVES)
def test_new_rows_of_an_unchanged_document_replace_sealed_ones(
    policy: StalePolicy, moves: str
) -> None:
    store = store_in()
    docs = documents(store, stale_policy=policy)
    docs.upsert(["a", "b"], texts=["one", "two"], vectors={OLD: np.eye(4)[:2]})
    MOVES[moves](store)
    docs.add_vectors(["a"], np.eye(4)[3:], version=OLD)
    for _ in range(2):
        every = docs.search(axis(3), version=OLD, collapse=False)
        assert [(hit.id, hit.score) for hit in every] == [("a", 1.0), ("b", 0.0)]
        assert docs.versions[OLD].rows == 2
        MOVES[moves](store)


@pytest.mark.parametrize("moves", MOVES)
@pytest.mark.parametrize("name", ["not", "missing", "not in"])
def test_a_deleted_document_matches_no_filter_not_even_a_negated_one(moves: str, name: str) -> None:
    where = {
        "not": ~(vstore.field("tenant") == "x"),
        "missing": ~vstore.field("tenant").exists(),
        "not in": ~vstore.field("year").is_in([7]),
    }[name]
    store = store_in()
    docs = documents(store)
    docs.upsert(["a", "b", "c"], vectors={OLD: rows(3)})
    docs.delete(["b"])
    MOVES[moves](store)
    assert docs.ids(where) == ["a", "c"]
    assert len(docs.scoped(where)) == 2
    assert docs.coverage(OLD, where) == vstore.Coverage(2, 2)
    result = docs.search(axis(0), version=OLD, where=where)
    assert sorted(map(str, result.ids)) == ["a", "c"]
    assert result.trace.matches == 2
    docs.upsert(["d"])
    assert docs.delete(where=where).deleted == 3


def test_the_second_of_two_equal_writes_of_one_commit_is_skipped() -> None:
    store = store_in()
    docs = documents(store)
    with store.transaction() as tx:
        tx.upsert(docs, ["a"], texts=["one"], vectors={OLD: axis(0)[None]})
        again = tx.upsert(docs, ["a"], texts=["one"], vectors={OLD: axis(1)[None]})
    assert (again.unchanged, again.vectors_skipped) == (1, {OLD: 1})
    np.testing.assert_array_equal(docs.get_vectors("a", OLD)[0], axis(0))


def test_equal_chunks_of_many_segments_come_in_order_of_their_documents() -> None:
    store = store_in()
    docs = documents(store)
    docs.upsert(["a", "b", "c"], texts=["1", "2", "3"], vectors={OLD: [np.eye(4)[[0, 0]]] * 3})
    seal(store)
    docs.upsert(["b"], texts=["changed"], vectors={OLD: [np.eye(4)[[0, 0]]]})
    expected = [(id_, chunk) for id_ in "abc" for chunk in (0, 1)]
    for _ in range(2):
        hits = docs.search(axis(0), version=OLD, collapse=False)
        assert [(hit.id, hit.chunk) for hit in hits] == expected
        assert docs.search(axis(0), version=OLD).ids == ["a", "b", "c"]
        store.vacuum()


@pytest.mark.parametrize("moves", MOVES)
def test_a_former_life_serves_no_stale_vector(policy: StalePolicy, moves: str) -> None:
    store = store_in()
    docs = documents(store, stale_policy=policy)
    docs.upsert(["a", "b"], texts=["one", "two"], vectors={OLD: rows(2)})
    MOVES[moves](store)
    docs.delete(["a"])
    MOVES[moves](store)
    docs.upsert(["a"], texts=["one"])
    for _ in range(2):
        assert docs.search(axis(0), version=OLD).ids == ["b"]
        MOVES[moves](store)
    docs.update_metadata(["a"], [{"year": 1}])
    assert docs.search(axis(0), version=OLD).ids == ["b"]


def test_merging_keeps_what_may_be_served_and_drops_the_rest(policy: StalePolicy) -> None:
    store = store_in()
    docs = documents(store, stale_policy=policy)
    ids: list[str | int] = []
    for number in range(8):
        ids.append(number)
        docs.upsert(ids[-1:], texts=["one"], vectors={OLD: axis(number % 4)[None]})
        if number in (3, 5):
            docs.upsert([2], texts=[f"changed in {number}"])
            docs.delete([1])
        seal(store)
    segments = docs.versions[OLD].segments
    assert segments is not None
    assert segments < 4
    expected = [0, 3, 4, 5, 6, 7] if policy == "hide" else [0, 2, 3, 4, 5, 6, 7]
    hits = docs.search(axis(2), version=OLD, k=20)
    assert sorted(hit.id for hit in hits) == expected
    assert [hit.id for hit in hits if hit.stale] == ([] if policy == "hide" else [2])
    assert store.check().ok


def test_what_only_the_new_version_has_is_reachable_though_stale() -> None:
    docs = documents(new=spec("model-new"), stale_policy="serve")
    docs.upsert(["a"], texts=["one"], vectors={OLD: rows(1)})
    docs.upsert(["b"], texts=["two"], vectors={NEW: rows(1)})
    docs.upsert(["b"], texts=["changed"])
    for fusion in ("slots", "evidence", "imputed", "rrf"):
        result = docs.search(
            {OLD: axis(0), NEW: axis(0)}, read=vstore.Dual(NEW, old=OLD, fusion=fusion)
        )
        assert {(h.id, h.version, h.stale) for h in result} == {("a", OLD, False), ("b", NEW, True)}
