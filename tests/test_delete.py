"""Deleting: every chunk of every version, in that commit, and nothing brings it back."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

import vstore
from tests.small_store import NEW, OLD, axis, documents, rows, seal, spec, store_in

if TYPE_CHECKING:
    from vstore.manifest.state import StalePolicy

POLICIES: tuple[StalePolicy, ...] = ("hide", "serve")


def two_versions(policy: StalePolicy = "hide") -> vstore.Collection:
    """Make three documents with several chunks in the old version and one in the new."""
    docs = documents(new=spec("model-new", 3, "l2"), stale_policy=policy)
    docs.upsert(
        ["a", "b", "c"],
        texts=["one", "two", "three"],
        metadata=[{"year": year} for year in (1, 2, 3)],
        vectors={OLD: [np.eye(4), np.eye(4)[:2], np.eye(4)[2:]], NEW: rows(3, 3)},
    )
    return docs


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("sealed", [False, True])
def test_a_deleted_document_is_gone_from_every_version_at_once(
    policy: StalePolicy, sealed: bool
) -> None:
    docs = two_versions(policy)
    if sealed:
        seal(docs.store)
    before = docs.store.epoch
    docs.delete(["b"])
    assert docs.store.epoch == before + 1
    assert docs.get("b") is None
    for version in (OLD, NEW):
        with pytest.raises(vstore.NotFoundError):
            docs.get_vectors("b", version)
        assert docs.coverage(version) == vstore.Coverage(2, 2)
    assert docs.search(axis(0), version=OLD).ids == ["a", "c"]
    every_chunk = docs.search(axis(0), version=OLD, collapse=False, k=100)
    assert {hit.id for hit in every_chunk} == {"a", "c"}
    assert sorted(docs.search(axis(0, 3), version=NEW).ids) == ["a", "c"]
    queries = {OLD: axis(0), NEW: axis(0, 3)}
    both = docs.search(queries, read=vstore.Dual(NEW, old=OLD))
    assert sorted(both.ids) == ["a", "c"]


@pytest.mark.parametrize("sealed", [False, True])
def test_a_filter_deletes_what_matches_and_nothing_else(sealed: bool) -> None:
    docs = two_versions()
    if sealed:
        seal(docs.store)
        docs.upsert(["d"], metadata=[{"year": 3}])
    counts = docs.delete(where=vstore.field("year") >= 3)
    assert counts == vstore.DeleteCounts(deleted=2 if sealed else 1, missing=0)
    assert docs.ids() == ["a", "b"]
    assert docs.delete(where={"field": "year", "op": ">=", "value": 3}).deleted == 0


def test_an_empty_filter_deletes_nothing() -> None:
    docs = two_versions()
    empty: list[dict[str, object]] = [{}, {"and": []}]
    for where in empty:
        with pytest.raises(vstore.FilterError):
            docs.delete(where=where)
    with pytest.raises(vstore.FilterError):
        docs.delete(where=vstore.field("yaer") == 1)
    with pytest.raises(vstore.InvalidArgumentError):
        docs.delete()
    with pytest.raises(vstore.InvalidArgumentError):
        docs.delete(["a"], where=vstore.field("year") == 1)
    assert docs.delete([]) == vstore.DeleteCounts(deleted=0, missing=0)
    assert len(docs) == 3


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("between", ["delete", "delete and add again", "change", "delete, vacuum"])
def test_a_late_backfill_batch_brings_nothing_back(policy: StalePolicy, between: str) -> None:
    store = store_in()
    docs = documents(store, new=spec("model-new"), stale_policy=policy)
    docs.upsert(["a", "b"], texts=["one", "two"], vectors={OLD: rows(2)})
    batch = docs.migration.pending(NEW)
    if between == "change":
        docs.upsert(["a"], texts=["changed"], vectors={OLD: rows(1, seed=1)})
    else:
        docs.delete(["a"])
    if between == "delete, vacuum":
        store.vacuum()
    if between == "delete and add again":
        docs.upsert(["a"], texts=["one"])
    alive = docs.ids()
    counts = docs.add_vectors(
        [d.id for d in batch], rows(2), revisions=[d.revision for d in batch], version=NEW
    )
    assert counts == vstore.VectorCounts(written=1, stale=1)
    assert docs.ids() == alive
    assert docs.search(axis(0), version=NEW).ids == ["b"]
    assert docs.coverage(NEW).fresh == 1


def test_a_backfill_whose_documents_go_meanwhile_skips_them() -> None:
    docs = documents(new=spec("model-new"))
    docs.upsert(["a", "b", "c", "d"], texts=["one"] * 4, vectors={OLD: rows(4)})
    calls: list[list[str | int]] = []

    def embed(batch: object) -> np.ndarray[tuple[int, int], np.dtype[np.float32]]:
        assert isinstance(batch, list)
        calls.append([document.id for document in batch])
        if len(calls) == 1:
            docs.delete(["a"])
            docs.upsert(["b"], texts=["changed"])
        return rows(len(batch))

    report = docs.migration.backfill(NEW, embed, batch_size=2)
    assert calls == [["a", "b"], ["c", "d"], ["b"]]
    assert (report.done, report.skipped, report.batches) == (3, 2, 3)
    assert report.finished
    assert docs.coverage(NEW) == vstore.Coverage(3, 3)


def test_deleted_documents_leave_the_file_with_a_vacuum() -> None:
    store = store_in()
    docs = documents(store)
    secret = "a text that must not stay"
    docs.upsert(["a", "b"], texts=[secret, "two"], vectors={OLD: rows(2)})
    seal(store)
    docs.delete(["a"])
    report = store.vacuum()
    assert report.bytes_after < report.bytes_before
    assert docs.ids() == ["b"]
    assert secret.encode() not in store._open_file.medium.tobytes()  # type: ignore[attr-defined]
    assert docs.upsert(["a"], texts=["again"]).inserted == 1
    assert docs.ids() == ["b", "a"]
