"""Upserting: what gets a new revision, what keeps its vectors, and what a refusal leaves."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from blake3 import blake3

import vstore
from tests.small_store import NEW, OLD, axis, contents, documents, rows, seal, spec

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.fixture(params=["memtable", "sealed"])
def settle(request: pytest.FixtureRequest) -> Callable[[vstore.Collection], None]:
    """Leave documents in the memtable, or seal them: the second write must not care."""
    if request.param == "memtable":
        return lambda _: None
    return lambda docs: seal(docs.store)


def get(docs: vstore.Collection, id_: str | int) -> vstore.Document:
    document = docs.get(id_)
    assert document is not None
    return document


def test_counts_tell_new_changed_and_unchanged_apart() -> None:
    docs = documents()
    docs.upsert(["a", "b"], texts=["one", "two"], vectors={OLD: rows(2)})
    counts = docs.upsert(
        ["b", "c", "a"], texts=["two", "three", "other"], vectors={OLD: rows(3, seed=1)}
    )
    assert (counts.inserted, counts.updated, counts.unchanged) == (1, 1, 1)
    assert (counts.vectors_written, counts.vectors_skipped) == ({OLD: 2}, {OLD: 1})
    np.testing.assert_array_equal(docs.get_vectors("b", OLD), rows(2)[1:])


def test_the_same_again_makes_no_commit(settle: Callable[[vstore.Collection], None]) -> None:
    docs = documents()
    given: dict[str, Any] = {
        "texts": ["one", "two"],
        "metadata": [{"year": 1, "tags": ["x"], "extra": {"a": [1]}}, {}],
        "vectors": {OLD: rows(2)},
    }
    docs.upsert(["a", 1], **given)
    settle(docs)
    before = contents(docs)
    counts = docs.upsert(["a", 1], **given)
    assert (counts.inserted, counts.updated, counts.unchanged) == (0, 0, 2)
    assert contents(docs) == before


def test_a_changed_text_makes_versions_that_were_not_given_stale(
    settle: Callable[[vstore.Collection], None],
) -> None:
    docs = documents(new=spec("model-new"))
    docs.upsert(["a"], texts=["one"], vectors={OLD: rows(1), NEW: rows(1)})
    settle(docs)
    docs.upsert(["a"], texts=["two"], vectors={NEW: rows(1, seed=1)})
    assert (docs.coverage(OLD).fresh, docs.coverage(NEW).fresh) == (0, 1)
    assert docs.search(axis(0), version=OLD).ids == []
    assert [document.id for document in docs.migration.pending(OLD)] == ["a"]


def test_an_unchanged_text_keeps_revision_and_vectors_of_all_versions(
    settle: Callable[[vstore.Collection], None],
) -> None:
    docs = documents(new=spec("model-new"))
    docs.upsert(["a"], texts=["one"], vectors={OLD: rows(1), NEW: rows(1)})
    revision = get(docs, "a").revision
    settle(docs)
    docs.upsert(["a"], texts=["one"], metadata=[{"year": 2}])
    assert get(docs, "a").revision == revision
    assert (docs.coverage(OLD).fresh, docs.coverage(NEW).fresh) == (1, 1)


def test_force_rewrites_fresh_vectors_without_a_new_revision(
    settle: Callable[[vstore.Collection], None],
) -> None:
    docs = documents()
    docs.upsert(["a"], texts=["one"], vectors={OLD: rows(1)})
    revision = get(docs, "a").revision
    settle(docs)
    counts = docs.upsert(["a"], texts=["one"], vectors={OLD: rows(1, seed=1)}, force=True)
    assert counts.vectors_written == {OLD: 1}
    assert get(docs, "a").revision == revision
    np.testing.assert_array_equal(docs.get_vectors("a", OLD), rows(1, seed=1))


def test_an_unchanged_text_fills_a_version_that_lacks_it() -> None:
    docs = documents(new=spec("model-new"))
    docs.upsert(["a"], texts=["one"], vectors={OLD: rows(1)})
    counts = docs.upsert(["a"], texts=["one"], vectors={OLD: rows(1, seed=1), NEW: rows(1)})
    assert counts.vectors_written == {OLD: 0, NEW: 1}
    assert docs.coverage(NEW).complete


def test_vectors_without_text_or_hash_are_of_the_source_that_is_there(
    settle: Callable[[vstore.Collection], None],
) -> None:
    docs = documents(new=spec("model-new"))
    docs.upsert(["a"], texts=["one"], metadata=[{"year": 1}], vectors={OLD: rows(1), NEW: rows(1)})
    before = get(docs, "a")
    settle(docs)
    counts = docs.upsert(["a", "b"], vectors={OLD: rows(2, seed=1)})
    assert (counts.inserted, counts.updated, counts.unchanged) == (1, 0, 1)
    assert (counts.vectors_written, counts.vectors_skipped) == ({OLD: 2}, {OLD: 0})
    assert get(docs, "a") == before
    np.testing.assert_array_equal(docs.get_vectors("a", OLD), rows(2, seed=1)[:1])
    assert docs.coverage(NEW) == vstore.Coverage(fresh=1, live=2)


def test_vectors_alone_refresh_a_version_that_was_stale() -> None:
    docs = documents(new=spec("model-new"))
    docs.upsert(["a"], texts=["one"], vectors={OLD: rows(1), NEW: rows(1)})
    docs.upsert(["a"], texts=["two"])
    docs.upsert(["a"], vectors={NEW: rows(1, seed=1)})
    assert (docs.coverage(OLD).fresh, docs.coverage(NEW).fresh) == (0, 1)


def test_the_last_vectors_of_a_transaction_count() -> None:
    docs = documents()
    with docs.store.transaction() as tx:
        tx.upsert(docs, ["a"], texts=["one"])
        for seed in range(3):
            tx.upsert(docs, ["a"], vectors={OLD: rows(1, seed=seed)})
    np.testing.assert_array_equal(docs.get_vectors("a", OLD), rows(1, seed=2))
    assert get(docs, "a").text == "one"


def test_no_text_and_no_hash_for_one_document_leave_it_as_it_is(
    settle: Callable[[vstore.Collection], None],
) -> None:
    docs = documents()
    docs.upsert(["a", "b", "c"], texts=["one", "two", "three"], vectors={OLD: rows(3)})
    before = [get(docs, id_) for id_ in "abc"]
    settle(docs)
    counts = docs.upsert(["a", "b", "new"], texts=[None, "other", None])
    assert (counts.inserted, counts.updated, counts.unchanged) == (1, 1, 1)
    assert docs.upsert(["a", "c"], source_hashes=[None, None]).unchanged == 2
    hash_of_three = before[2].source_hash
    assert docs.upsert(["c"], texts=[None], source_hashes=[hash_of_three]).unchanged == 1
    assert [get(docs, "a"), get(docs, "c")] == [before[0], before[2]]
    assert (get(docs, "b").text, get(docs, "new").text) == ("other", None)


def test_a_text_with_no_hash_counts_as_a_change() -> None:
    docs = documents()
    docs.upsert(["a"], texts=["one"], vectors={OLD: rows(1)})
    assert docs.upsert(["a"], texts=["one"], source_hashes=[None]).updated == 1
    assert (get(docs, "a").source_hash, docs.coverage(OLD).fresh) == (None, 0)


def test_metadata_alone_never_makes_a_vector_stale(
    settle: Callable[[vstore.Collection], None],
) -> None:
    docs = documents()
    docs.upsert(["a"], texts=["one"], vectors={OLD: rows(1)}, metadata=[{"year": 1}])
    settle(docs)
    docs.upsert(["a"], metadata=[{"tenant": "acme"}])
    docs.update_metadata(["a"], [{"year": 3}])
    assert get(docs, "a").metadata == {"tenant": "acme", "year": 3}
    assert get(docs, "a").text == "one"
    assert docs.coverage(OLD).complete


def test_metadata_not_given_is_kept_and_given_is_replaced() -> None:
    docs = documents()
    docs.upsert(["a"], texts=["one"], metadata=[{"year": 1, "tenant": "acme"}])
    docs.upsert(["a"], texts=["two"])
    assert get(docs, "a").metadata == {"year": 1, "tenant": "acme"}
    docs.upsert(["a"], texts=["two"], metadata=[{"year": 2}])
    assert get(docs, "a").metadata == {"year": 2}


def test_update_metadata_sets_and_removes_single_fields() -> None:
    docs = documents()
    docs.upsert(["a", "b"], metadata={"year": [1, 2], "tenant": ["acme", "acme"]})
    assert docs.update_metadata(["a", "b"], {"tenant": [None, "acme"]}) == 1
    assert [document.metadata for document in docs.documents()] == [
        {"year": 1},
        {"year": 2, "tenant": "acme"},
    ]


def test_the_hash_of_a_text_is_what_the_text_alone_gives() -> None:
    docs = documents()
    docs.upsert(["a"], texts=["one"])
    revision = get(docs, "a").revision
    assert get(docs, "a").source_hash == blake3(b"one").digest()
    docs.upsert(["a"], source_hashes=[blake3(b"one").digest()])
    assert get(docs, "a") == vstore.Document(
        "a", revision, revision, blake3(b"one").digest(), {}, "one"
    )


def test_a_source_hash_of_any_length_tells_changed_from_unchanged() -> None:
    docs = documents()
    docs.upsert(["a", "b"], source_hashes=["etag-1", b"\x00" * 32])
    counts = docs.upsert(["a", "b"], source_hashes=["etag-1", b"\x00" * 32])
    assert counts.unchanged == 2
    counts = docs.upsert(["a", "b"], source_hashes=["etag-2", None])
    assert (counts.updated, counts.unchanged) == (1, 1)


def test_a_new_source_drops_the_old_text() -> None:
    docs = documents()
    docs.upsert(["a"], texts=["one"])
    docs.upsert(["a"], source_hashes=["another source"])
    assert get(docs, "a").text is None


@pytest.mark.parametrize("policy", ["hide", "serve"])
def test_added_again_a_document_starts_anew(
    policy: Any, settle: Callable[[vstore.Collection], None]
) -> None:
    docs = documents(stale_policy=policy)
    docs.upsert(
        ["a", "b"], texts=["one", "two"], vectors={OLD: rows(2)}, metadata=[{"year": 1}] * 2
    )
    settle(docs)
    assert docs.delete(["a", "nobody"]) == vstore.DeleteCounts(deleted=1, missing=1)
    assert docs.delete(["a"]) == vstore.DeleteCounts(deleted=0, missing=1)
    assert (docs.ids(), "a" in docs) == (["b"], False)
    settle(docs)
    counts = docs.upsert(["a"], texts=["one"])
    assert counts.inserted == 1
    document = get(docs, "a")
    assert document.created == document.revision == docs.store.epoch
    assert document.metadata == {}
    assert docs.search(axis(0), version=OLD).ids == ["b"]


def test_text_and_integer_ids_are_two_documents() -> None:
    docs = documents()
    docs.upsert(["1", 1, np.int64(2), "2"], vectors={OLD: np.eye(4)})  # type: ignore[list-item]
    assert docs.ids() == ["1", 1, 2, "2"]
    assert docs.search(axis(1), version=OLD, k=1).ids == [1]
    docs.delete([1])
    assert docs.ids() == ["1", 2, "2"]


def test_fewer_chunks_replace_more(settle: Callable[[vstore.Collection], None]) -> None:
    docs = documents()
    docs.upsert(["a"], texts=["long"], vectors={OLD: [np.eye(4)[:3]]})
    settle(docs)
    docs.upsert(["a"], texts=["short"], vectors={OLD: [np.eye(4)[3:]]})
    np.testing.assert_array_equal(docs.get_vectors("a", OLD), np.eye(4)[3:])
    hits = docs.search(axis(0), version=OLD, collapse=False)
    assert [(hit.id, hit.chunk, hit.score) for hit in hits] == [("a", 0, 0.0)]


def test_the_best_chunk_speaks_for_its_document() -> None:
    docs = documents()
    docs.upsert(["a", "b"], vectors={OLD: [np.eye(4)[:3], np.eye(4)[2:]]})
    hits = docs.search(axis(2), version=OLD)
    assert [(hit.id, hit.chunk, hit.score) for hit in hits] == [("a", 2, 1.0), ("b", 0, 1.0)]
    every = docs.search(axis(2), version=OLD, collapse=False, k=100)
    assert len(every) == 5


@pytest.mark.parametrize(
    "given",
    [
        pytest.param({"ids": ["a", "a"]}, id="an id twice"),
        pytest.param({"ids": ["a", ""]}, id="an empty id"),
        pytest.param({"ids": ["a", 1.5]}, id="a float id"),
        pytest.param({"ids": ["a", True]}, id="a bool id"),
        pytest.param({"ids": ["a", None]}, id="no id"),
        pytest.param({"ids": ["a", "\ud800"]}, id="a lone surrogate"),
        pytest.param({"ids": "ab"}, id="a string for a list"),
        pytest.param({"ids": ["a", "b"], "texts": ["one"]}, id="too few texts"),
        pytest.param({"ids": ["a", "b"], "texts": ["one", 2]}, id="a number for a text"),
        pytest.param({"ids": ["a", "b"], "texts": "on"}, id="a string for texts"),
        pytest.param({"ids": ["a", "b"], "source_hashes": [b"1"]}, id="too few hashes"),
        pytest.param({"ids": ["a", "b"], "source_hashes": [1, 2]}, id="numbers for hashes"),
        pytest.param({"ids": ["a", "b"], "metadata": [{}]}, id="too little metadata"),
        pytest.param({"ids": ["a", "b"], "metadata": [{}, None]}, id="no mapping"),
        pytest.param({"ids": ["a", "b"], "metadata": [{}, {"yaer": 1}]}, id="unknown field"),
        pytest.param({"ids": ["a", "b"], "metadata": [{}, {"year": "1"}]}, id="wrong type"),
        pytest.param({"ids": ["a", "b"], "metadata": {"year": [1]}}, id="too short a column"),
        pytest.param({"ids": ["a", "b"], "metadata": {"extra": [1, {1}]}}, id="a set as json"),
        pytest.param({"ids": ["a", "b"], "vectors": {OLD: rows(3)}}, id="too many vectors"),
        pytest.param({"ids": ["a", "b"], "vectors": {OLD: [rows(2)]}}, id="too few documents"),
    ],
)
def test_a_wrong_batch_is_refused_whole(given: dict[str, Any]) -> None:
    docs = documents()
    docs.upsert(["a"], texts=["before"], vectors={OLD: rows(1)})
    before = contents(docs)
    with pytest.raises(vstore.InvalidArgumentError):
        docs.upsert(**given)
    assert contents(docs) == before


def test_vectors_that_do_not_name_their_version_are_refused() -> None:
    docs = documents()
    before = contents(docs)
    for bare in (rows(1), [rows(1)]):
        with pytest.raises(vstore.InvalidArgumentError, match="version label"):
            docs.upsert(["a"], vectors=bare)
    with pytest.raises(vstore.VersionMismatchError, match="nearest"):
        docs.upsert(["a"], vectors=vstore.Embeddings(spec("another"), rows(1)))
    assert contents(docs) == before
    counts = docs.upsert(["a"], vectors=vstore.Embeddings(spec(), rows(1)))
    assert counts.vectors_written == {OLD: 1}


def test_numpys_texts_and_hashes_become_pythons() -> None:
    docs = documents()
    docs.upsert(["a"], texts=np.array(["one"]), source_hashes=[np.bytes_(b"x" * 32)])
    document = get(docs, "a")
    assert (type(document.text), type(document.source_hash)) == (str, bytes)


def test_reading_by_id_takes_ids_as_they_come() -> None:
    docs = documents()
    docs.upsert(["a", 1])
    found = docs.get_many([1, "nobody", 1, "a"])
    assert [document and document.id for document in found] == [1, None, 1, "a"]
    assert [value in docs for value in ("a", 1, "1", True, None, 1.0)] == [True, True, *[False] * 4]


def test_vectors_of_an_unknown_version_are_refused_whole() -> None:
    docs = documents()
    before = contents(docs)
    with pytest.raises(vstore.NotFoundError):
        docs.upsert(["a"], vectors={OLD: rows(1), "emb-odl": rows(1)})
    assert contents(docs) == before


def test_json_values_that_compare_equal_are_still_different(
    settle: Callable[[vstore.Collection], None],
) -> None:
    docs = documents()
    for value in (1, True, 1.0, {"a": 1, "b": 2}, {"b": 2, "a": 1}, {"b": 2, "a": True}):
        docs.upsert(["a"], metadata=[{"extra": value}])
        settle(docs)
        assert repr(get(docs, "a").metadata["extra"]) == repr(value)
        assert docs.update_metadata(["a"], [{"extra": value}]) == 0


def test_a_json_value_changed_outside_changes_nothing_inside() -> None:
    docs = documents()
    mine: dict[str, Any] = {"a": [1]}
    docs.upsert(["a"], metadata=[{"extra": mine}])
    mine["a"].append(2)
    shown: Any = get(docs, "a").metadata["extra"]
    shown["a"].append(3)
    assert get(docs, "a").metadata["extra"] == {"a": [1]}


def test_every_field_type_comes_back_as_it_was(
    settle: Callable[[vstore.Collection], None],
) -> None:
    kinds = ("keyword", "keywords", "int", "float", "bool", "timestamp", "json")
    docs = documents(fields=dict(zip("abcdefg", kinds, strict=True)))
    moment = dt.datetime(2024, 2, 29, 12, 30, 0, 5, tzinfo=dt.UTC)
    given = {"a": "é", "b": ["x", "x"], "c": -(2**63), "d": 0.1, "e": False, "f": moment, "g": [{}]}
    docs.upsert(["full", "empty"], metadata=[given, dict.fromkeys("abcdefg")])
    settle(docs)
    assert get(docs, "full").metadata == given
    assert get(docs, "empty").metadata == {}


def test_a_field_added_later_is_missing_from_what_was_there(
    settle: Callable[[vstore.Collection], None],
) -> None:
    docs = documents()
    docs.upsert(["a"])
    settle(docs)
    docs.add_field("lang", "keyword")
    docs.upsert(["b"], metadata=[{"lang": "de"}])
    settle(docs)
    assert docs.ids(vstore.field("lang").exists()) == ["b"]
    assert docs.ids(vstore.field("lang") != "de") == ["a"]
    with pytest.raises(vstore.AlreadyExistsError):
        docs.add_field("lang", "int")


def test_a_negative_limit_is_refused() -> None:
    docs = documents()
    docs.upsert(["a", "b"])
    assert [document.id for document in docs.migration.pending(OLD, limit=1)] == ["a"]
    assert docs.migration.pending(OLD, limit=0) == []
    with pytest.raises(vstore.InvalidArgumentError, match="limit"):
        docs.migration.pending(OLD, limit=-1)
    with pytest.raises(vstore.InvalidArgumentError, match="limit"):
        docs.store.history(limit=-1)


def test_iterators_keep_the_snapshot_of_their_call() -> None:
    docs = documents()
    docs.upsert(["a"], vectors={OLD: rows(1)})
    found, exported = docs.documents(), docs.vectors(OLD)
    docs.delete(["a"])
    assert [document.id for document in found] == ["a"]
    assert [ids for ids, _, _, _ in exported] == [["a"]]
    with pytest.raises(vstore.FilterError):
        docs.documents(vstore.field("nope") == 1)
