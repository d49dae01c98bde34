"""The guard: vectors of two geometries never meet, and the error says what differs."""

from __future__ import annotations

import copy
import pickle
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import vstore
from tests.small_store import NEW, OLD, axis, contents, documents, rows, spec, store_in

if TYPE_CHECKING:
    from vstore.types import Array

OTHER = spec("model-old", model_version="2", document_prompt="passage: ")
DIFFERENCES = {"model_version": ("", "2"), "document_prompt": ("", "passage: ")}


def stamped(of: vstore.EmbeddingSpec, vectors: Array) -> vstore.Embeddings:
    return vstore.Embeddings(of, vectors)


def test_a_batch_of_another_model_is_refused_naming_the_fields_that_differ() -> None:
    docs = documents()
    before = contents(docs)
    with pytest.raises(vstore.VersionMismatchError) as caught:
        docs.upsert(["a"], vectors={OLD: stamped(OTHER, rows(1))})
    assert caught.value.differences == DIFFERENCES
    assert "model_version: '' is not '2'" in str(caught.value)
    assert OLD in str(caught.value)
    assert contents(docs) == before
    docs.upsert(["a"])
    with pytest.raises(vstore.VersionMismatchError):
        docs.add_vectors(["a"], stamped(OTHER, rows(1)), version=OLD)
    with pytest.raises(vstore.VersionMismatchError):
        docs.migration.backfill(OLD, lambda batch: stamped(OTHER, rows(len(batch))))
    assert docs.coverage(OLD).fresh == 0


def test_a_query_of_another_model_is_refused() -> None:
    docs = documents(new=OTHER)
    docs.upsert(["a"], vectors={OLD: rows(1), NEW: rows(1, seed=1)})
    query = stamped(OTHER, axis(0))
    for arguments in ({"version": OLD}, {}):
        with pytest.raises(vstore.VersionMismatchError) as caught:
            docs.search(query, **arguments)  # type: ignore[arg-type]
        assert caught.value.differences == DIFFERENCES
    with pytest.raises(vstore.VersionMismatchError):
        docs.search({OLD: query, NEW: query}, read=vstore.Dual(NEW, old=OLD))
    with pytest.raises(vstore.MissingQueryVectorError, match=OLD):
        docs.search(query, read=vstore.Dual(NEW, old=OLD))
    third = stamped(spec("a third one"), axis(0))
    with pytest.raises(vstore.VersionMismatchError):
        docs.search(third, read=vstore.Dual(NEW, old=OLD))
    with pytest.raises(vstore.VersionMismatchError):
        docs.search_batch(stamped(OTHER, rows(2)), version=OLD)
    assert docs.search(query, version=NEW).ids == ["a"]


def test_a_spec_finds_its_version() -> None:
    docs = documents(new=OTHER)
    docs.upsert(["a", "b"], vectors={OLD: np.eye(4)[:2], NEW: np.eye(4)[1::-1]})
    for of, version, best in ((spec(), OLD, "a"), (OTHER, NEW, "b")):
        result = docs.at(of).search(stamped(of, axis(0)), k=1)
        assert [(hit.id, hit.version) for hit in result] == [(best, version)]
        assert docs.at(of).search(axis(0), k=1).ids == [best]
    with pytest.raises(vstore.VersionMismatchError, match="nearest"):
        docs.at(spec("unheard of"))


def test_a_bare_array_must_say_its_version() -> None:
    docs = documents()
    docs.upsert(["a"], vectors={OLD: rows(1)})
    with pytest.raises(vstore.InvalidArgumentError, match=f"version=.*{OLD}"):
        docs.search(axis(0))
    with pytest.raises(vstore.InvalidArgumentError, match="version="):
        docs.search_batch(rows(2))
    assert docs.search(stamped(spec(), axis(0))).ids == ["a"]
    assert docs.search({OLD: axis(0)}).ids == ["a"]
    with pytest.raises(vstore.InvalidArgumentError, match=OLD):
        docs.search({"another": axis(0)})


@pytest.mark.parametrize(
    "change",
    [
        {"model": "other"},
        {"metric": "l2"},
        {"model_version": "1"},
        {"normalized": True},
        {"preprocessing": "strip-html/3"},
        {"chunking": "paragraph/1"},
        {"truncation": "512"},
        {"document_prompt": "passage: "},
        {"query_prompt": "query: "},
        {"language_routing": "de: other"},
        {"extras": {"pooling": "cls"}},
        {"extras": {"pooling": ""}},
        {"extras": {"layers": 1}},
        {"extras": {"layers": True}},
    ],
)
def test_any_field_alone_makes_another_geometry(change: dict[str, Any]) -> None:
    other = vstore.EmbeddingSpec(
        **{"model": "model-old", "dimension": 4, "metric": "cosine", **change}
    )
    assert other.fingerprint != spec().fingerprint
    assert other != spec()
    assert list(spec().differences(other)) == list(change)
    docs = documents()
    with pytest.raises(vstore.VersionMismatchError):
        docs.upsert(["a"], vectors={OLD: stamped(other, axis(0)[None])})


def test_equal_specs_have_one_fingerprint_and_one_hash() -> None:
    one = spec(extras={"a": 1, "b": "x"})
    other = spec(extras={"b": "x", "a": 1})
    assert one == other
    assert hash(one) == hash(other)
    assert one.differences(other) == {}
    number, truth = spec(extras={"a": 1}), spec(extras={"a": True})
    assert number != truth
    assert number.differences(truth) == {"extras": ({"a": 1}, {"a": True})}


def test_a_spec_can_be_copied_and_sent_to_another_process() -> None:
    original = spec(extras={"pooling": "cls"}, query_prompt="query: ")
    for twin in (copy.deepcopy(original), pickle.loads(pickle.dumps(original))):
        assert twin == original
        assert twin.fingerprint == original.fingerprint


def test_a_spec_does_not_change_with_the_dict_it_was_made_from() -> None:
    extras: dict[str, str | int | bool] = {"a": 1}
    made = spec(extras=extras)
    before = made.fingerprint
    extras["a"] = 2
    assert spec(extras={"a": 1}).fingerprint == before
    assert made.extras == {"a": 1}


def test_equivalent_geometries_may_meet_also_through_others() -> None:
    store = store_in()
    docs = documents(store)
    renamed, renamed_again = spec("model-old-v1"), spec("vendor/model-old-v1")
    store.declare_equivalent(spec(), renamed, reason="the provider renamed it")
    docs.upsert(["a"], vectors={OLD: stamped(renamed, rows(1))})
    with pytest.raises(vstore.VersionMismatchError):
        docs.search(stamped(renamed_again, axis(0)))
    store.declare_equivalent(renamed_again, renamed, reason="and again")
    assert docs.search(stamped(renamed_again, axis(0))).ids == ["a"]
    assert docs.search(stamped(renamed_again, axis(0))).ids == ["a"]
    assert [pair.reason for pair in store._open_file.current().state.equivalences] == [
        "the provider renamed it",
        "and again",
    ]


def test_equivalence_is_remembered_after_reopening() -> None:
    store = store_in()
    docs = documents(store)
    store.declare_equivalent(spec(), OTHER, reason="same weights")
    docs.upsert(["a"], vectors={OLD: stamped(OTHER, rows(1))})
    medium = store._open_file.medium
    store.close()
    with store_in(medium) as again:  # type: ignore[arg-type]
        assert again.collection("docs").search(stamped(OTHER, axis(0))).ids == ["a"]
        assert again.history()[1].note == "same weights"


def test_equivalence_needs_a_reason_and_the_same_shape() -> None:
    store = store_in()
    with pytest.raises(vstore.InvalidArgumentError, match="reason"):
        store.declare_equivalent(spec(), OTHER, reason="")
    for other in (spec(dimension=5), spec(metric="l2")):
        with pytest.raises(vstore.InvalidArgumentError):
            store.declare_equivalent(spec(), other, reason="no")
    assert store.info()["equivalences"] == []


def test_a_spec_prefers_its_own_version_to_an_equivalent_one() -> None:
    store = store_in()
    docs = documents(store, new=OTHER)
    store.declare_equivalent(spec(), OTHER, reason="same weights")
    docs.upsert(["a"], vectors={NEW: rows(1)})
    result = docs.at(OTHER).search(axis(0))
    assert [(hit.id, hit.version) for hit in result] == [("a", NEW)]


def test_a_geometry_is_declared_once_per_collection() -> None:
    store = store_in()
    docs = documents(store)
    with pytest.raises(vstore.AlreadyExistsError, match=OLD):
        docs.create_version("again", spec())
    with pytest.raises(vstore.AlreadyExistsError):
        docs.create_version(OLD, OTHER)
    documents(store, name="users")  # one geometry in two collections is what they are for


def test_a_retired_version_takes_and_answers_nothing() -> None:
    store = store_in()
    docs = documents(store, new=OTHER)
    docs.upsert(["a"], vectors={OLD: rows(1), NEW: rows(1)})
    docs.routes.retire(NEW, reason="worse")
    before = contents(docs)
    for call in (
        lambda: docs.search(axis(0), version=NEW),
        lambda: docs.search(stamped(OTHER, axis(0)), version=NEW),
        lambda: docs.upsert(["b"], vectors={NEW: rows(1)}),
        lambda: docs.add_vectors(["a"], rows(1), version=NEW),
        lambda: docs.migration.backfill(NEW, lambda batch: rows(len(batch))),
        lambda: docs.routes.cutover(NEW, force=True, reason="no"),
        lambda: docs.routes.set(vstore.Dual(NEW)),
        lambda: docs.routes.retire(NEW),
    ):
        with pytest.raises(vstore.StateError):
            call()
    with pytest.raises(vstore.VersionMismatchError):
        docs.search(stamped(OTHER, axis(0)))
    assert contents(docs) == before
    assert docs.versions[NEW].state == "retired"
    docs.create_version("same model, again", OTHER)
    assert docs.coverage("same model, again").fresh == 0


def test_a_vacuum_keeps_a_retired_version_for_its_grace_period() -> None:
    store = store_in()
    docs = documents(store)
    docs.create_version("kept", OTHER, retire_grace_s=3600)
    docs.create_version("dropped", spec("third"))
    docs.upsert(["a"], vectors={OLD: rows(1), "kept": rows(1), "dropped": rows(1)})
    docs.routes.retire("kept")
    docs.routes.retire("dropped")
    store.vacuum()
    assert {label: v.rows for label, v in docs.versions.items()} == {
        OLD: 1,
        "kept": 1,
        "dropped": 0,
    }
    assert store.check().ok


def test_user_and_item_vectors_share_one_geometry() -> None:
    store = store_in()
    items, users = documents(store, name="items"), documents(store, name="users")
    items.upsert(["a", "b"], vectors={OLD: np.eye(4)[:2]})
    users.upsert(["u"], vectors={OLD: np.eye(4)[1:2]})
    taste = stamped(users.versions[OLD].spec, users.get_vectors("u", OLD)[0])
    assert items.search(taste, k=1).ids == ["b"]
