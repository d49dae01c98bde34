"""Handles bound to a version: its label need not be repeated, and is never guessed."""

from __future__ import annotations

import numpy as np
import pytest

import vstore
from tests.small_store import NEW, OLD, axis, documents, rows, spec


def test_a_bound_handle_reads_and_writes_its_version() -> None:
    docs = documents(new=spec("model-new"))
    old, new = docs.at(OLD), docs.at(NEW)
    counts = old.upsert(["a", "b"], vectors=rows(2), texts=["one", "two"])
    assert counts.vectors_written == {OLD: 2}
    added = new.add_vectors(["a"], [axis(0)])
    assert added == vstore.VectorCounts(written=1, stale=0)
    assert new.coverage() == docs.coverage(NEW)
    assert np.array_equal(new.get_vectors("a"), docs.get_vectors("a", NEW))
    assert [ids for ids, *_ in old.vectors()] == [["a", "b"]]
    found = new.search(axis(0))
    assert ({hit.version for hit in found}, found.trace.versions) == ({NEW}, (NEW,))
    assert [one.trace.versions for one in old.search_batch(rows(3))] == [(OLD,)] * 3
    assert NEW in str(new.explain(axis(0)))


def test_a_bound_handle_reads_its_version_whatever_the_route_says() -> None:
    docs = documents(new=spec("model-new"))
    docs.upsert(["a"], vectors={OLD: [axis(0)], NEW: [axis(1)]})
    docs.routes.cutover(NEW)
    assert docs.at(OLD).search(axis(0)).trace.versions == (OLD,)
    query = {OLD: axis(0), NEW: axis(1)}
    assert docs.at(OLD).search(query, version=NEW).trace.versions == (NEW,)
    both = docs.at(OLD).search(query, read=vstore.Dual(NEW, old=OLD))
    assert both.trace.versions == (OLD, NEW)


def test_a_vector_of_another_model_is_no_vector_of_the_bound_version() -> None:
    docs = documents(new=spec("model-new"))
    stamped = vstore.Embeddings(spec("model-new"), rows(1))
    with pytest.raises(vstore.VersionMismatchError):
        docs.at(OLD).upsert(["a"], vectors=stamped)
    with pytest.raises(vstore.VersionMismatchError):
        docs.at(OLD).search(vstore.Embeddings(spec("model-new"), axis(0)))
    assert len(docs) == 0


def test_what_a_handle_is_bound_to_stays_with_it() -> None:
    docs = documents(fields={"tenant": "keyword"}, new=spec("model-new"))
    docs.upsert(
        ["a", "b"], vectors={OLD: rows(2)}, metadata=[{"tenant": "acme"}, {"tenant": "globex"}]
    )
    acme = docs.at(OLD).scoped(vstore.field("tenant") == "acme")
    assert acme.search(axis(0)).ids == ["a"]
    assert docs.scoped(vstore.field("tenant") == "acme").at(OLD).search(axis(0)).ids == ["a"]
    past = docs.store.snapshot().collection(docs.name).at(OLD)
    docs.delete(["a"])
    assert set(past.search(axis(0)).ids) == {"a", "b"}
    assert repr(acme).endswith(f"version={OLD!r})")
    assert docs.at(OLD).at(NEW).search({NEW: axis(0)}).trace.versions == (NEW,)


def test_a_transaction_takes_bound_handles() -> None:
    docs = documents(new=spec("model-new"))
    with docs.store.transaction() as tx:
        tx.upsert(docs.at(OLD), ["a"], vectors=rows(1))
        tx.add_vectors(docs.at(NEW), ["a"], rows(1))
    assert docs.coverage(OLD).complete
    assert docs.coverage(NEW).complete


def test_without_a_version_a_bare_array_is_never_guessed() -> None:
    docs = documents()
    epoch = docs.store.epoch
    with pytest.raises(vstore.InvalidArgumentError, match=r"docs\.at\(label\)"):
        docs.upsert(["a"], vectors=rows(1))
    for call in (
        lambda: docs.add_vectors(["a"], rows(1)),
        docs.coverage,
        lambda: docs.get_vectors("a"),
        docs.vectors,
    ):
        with pytest.raises(vstore.InvalidArgumentError, match=r"docs\.at\(label\)"):
            call()
    with pytest.raises(vstore.VstoreError, match="which model"):
        docs.search(axis(0))
    assert docs.store.epoch == epoch


def test_a_handle_is_bound_to_versions_there_are() -> None:
    docs = documents()
    with pytest.raises(vstore.NotFoundError, match="nope"):
        docs.at("nope")
    with pytest.raises(vstore.InvalidArgumentError):
        docs.at(5)  # type: ignore[arg-type]


def test_a_bound_handle_says_whose_a_bare_query_over_a_bridge_is() -> None:
    docs = documents(new=spec("model-new"))
    docs.upsert(list(range(300)), vectors={OLD: rows(300), NEW: rows(300)[:, ::-1]})
    docs.migration.fit_bridge(OLD, NEW, min_recall=0.0)
    read, query = vstore.Bridge(NEW, source=OLD), rows(1, seed=5)[0]
    own = docs.at(NEW).search(query, read=read)
    assert own.ids == docs.search(query, version=NEW).ids
    assert "BridgedRead" not in own.explain()
    assert "BridgedRead" not in str(docs.at(NEW).explain(query, read=read))
    assert docs.at(NEW).search_batch([query], read=read)[0].ids == own.ids
    mapped = docs.at(OLD).search(query, read=read)
    assert mapped.ids == docs.search({OLD: query}, read=read).ids
    assert "BridgedRead" in mapped.explain()
    with pytest.raises(vstore.MissingQueryVectorError):
        docs.at(OLD).search(query, read=vstore.Dual(NEW, old=OLD))


def test_a_handle_is_not_bound_to_what_takes_its_versions_name() -> None:
    docs = documents()
    docs.upsert(["a"], vectors={OLD: rows(1)})
    bound = [docs.at(OLD), docs.at(spec())]
    docs.store.drop_collection(docs.name)
    documents(docs.store, old=spec("another model"))
    for handle in bound:
        for call in (
            lambda handle=handle: handle.search(axis(0)),
            lambda handle=handle: handle.upsert(["b"], vectors=rows(1)),
            lambda handle=handle: handle.coverage(),
        ):
            with pytest.raises(vstore.StateError, match="another version"):
                call()  # type: ignore[no-untyped-call]
        assert OLD in repr(handle)


def test_a_stamp_says_of_which_version_added_vectors_are() -> None:
    docs = documents(new=spec("model-new"))
    docs.upsert(["a"], vectors=vstore.Embeddings(spec(), rows(1)))
    docs.add_vectors(["a"], vstore.Embeddings(spec("model-new"), rows(1)))
    assert docs.coverage(OLD).complete
    assert docs.coverage(NEW).complete
    with pytest.raises(vstore.VersionMismatchError, match="nearest"):
        docs.add_vectors(["a"], vstore.Embeddings(spec("unheard of"), rows(1)))
