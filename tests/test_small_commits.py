"""Thousands of single-document commits: the file grows in proportion, and segments stay few."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from tests.small_store import OLD, rows, spec, store_in
from vstore.storage.memory import MemoryMedium

if TYPE_CHECKING:
    import vstore
    from vstore.types import Array

DIMENSION = 384
PAYLOAD_BYTES = 4 * DIMENSION
GROWTH_BYTES_MAX = 3 * PAYLOAD_BYTES + 1024  # per commit: the delta, sealing it, merging segments
SEGMENTS_MAX = 30
PROBES = 5


def size_of(store: vstore.Store) -> int:
    size = store.info()["size_bytes"]
    assert isinstance(size, int)
    return size


def segments_of(docs: vstore.Collection) -> list[int]:
    """Return how many segments the documents and each version have."""
    return [
        len(docs._handle.view().state.segments),
        *(version.segments or 0 for version in docs.versions.values()),
    ]


def assert_complete(docs: vstore.Collection, vectors: Array) -> None:
    """Look at some documents and all ids."""
    count = len(vectors)
    assert len(docs) == count
    assert docs.coverage(OLD).complete
    for i in np.linspace(0, count - 1, PROBES).astype(int).tolist():
        np.testing.assert_array_equal(docs.get_vectors(f"document {i}", OLD)[0], vectors[i])
        assert docs.search(vectors[i], version=OLD, k=1).ids == [f"document {i}"]


@pytest.mark.parametrize("count", [1_500, pytest.param(10_000, marks=pytest.mark.slow)])
def test_single_document_commits_cost_in_proportion_to_their_payload(count: int) -> None:
    medium = MemoryMedium()
    store = store_in(medium)
    docs = store.create_collection("docs", fields={"year": "int"})
    docs.create_version(OLD, spec(dimension=DIMENSION), graph_rows_min=None)
    vectors = rows(count, DIMENSION)
    start = size_of(store)
    segments_max = 0
    for i in range(count):
        docs.upsert([f"document {i}"], metadata=[{"year": i}], vectors={OLD: vectors[i : i + 1]})
        if i % 100 == 0:
            segments_max = max(segments_max, *segments_of(docs))
    growth = (size_of(store) - start) / count
    assert growth <= GROWTH_BYTES_MAX, f"{growth:,.0f} bytes a commit, {GROWTH_BYTES_MAX:,} allowed"
    assert segments_max <= SEGMENTS_MAX
    assert_complete(docs, vectors)
    store.close()
    with store_in(medium) as again:
        assert again.epoch == 2 + count
        assert_complete(again.collection("docs"), vectors)
        assert len(again.history(limit=2 * count)) == count + 3
        report = again.vacuum()
        assert report.bytes_after < 1.2 * count * (PAYLOAD_BYTES + 64)
        assert_complete(again.collection("docs"), vectors)


@pytest.mark.parametrize("count", [1_500, pytest.param(10_000, marks=pytest.mark.slow)])
def test_changing_one_document_over_and_over_costs_no_more(count: int) -> None:
    medium = MemoryMedium()
    store = store_in(medium)
    docs = store.create_collection("docs", fields={"year": "int"})
    docs.create_version(OLD, spec(dimension=DIMENSION), graph_rows_min=None)
    vector = rows(2, DIMENSION)
    start = size_of(store)
    for i in range(count):
        docs.upsert(["a"], source_hashes=[str(i)], vectors={OLD: vector[i % 2 : i % 2 + 1]})
    assert (size_of(store) - start) / count <= GROWTH_BYTES_MAX
    assert max(segments_of(docs)) <= SEGMENTS_MAX
    assert docs.versions[OLD].rows == 1
    store.close()
    with store_in(medium) as again:
        np.testing.assert_array_equal(
            again.collection("docs").get_vectors("a", OLD), vector[(count - 1) % 2][None]
        )
        again.vacuum()
        assert size_of(again) < 4 * GROWTH_BYTES_MAX + 100 * count  # the history is kept


def test_deleting_one_by_one_leaves_no_rows_behind() -> None:
    store = store_in()
    docs = store.create_collection("docs")
    docs.create_version(OLD, spec())
    docs.upsert(list(range(1_100)), vectors={OLD: rows(1_100)})
    for i in range(1_100):
        docs.delete([i])
    assert len(docs) == 0
    assert docs.search(rows(1)[0], version=OLD).ids == []
    assert max(segments_of(docs)) <= SEGMENTS_MAX
    assert store.check().ok


def test_changes_of_the_catalogue_alone_do_not_pile_up_deltas() -> None:
    medium = MemoryMedium()
    store = store_in(medium)
    for i in range(1_100):
        store.tag(f"tag {i}")
    deltas = store.info()["deltas_since_full_manifest"]
    assert isinstance(deltas, int)
    assert deltas < 1_100
    store.close()
    with store_in(medium) as again:
        assert len(again.tags) == 1_100
