"""Rows that are all alike, or nearly: one, two or three vectors ten thousand times over."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import vstore
from tests.native.data import clustered
from vstore.limits import MERGE_FANOUT
from vstore.native import loader

if TYPE_CHECKING:
    from vstore import Collection, Store
    from vstore.manifest.spec import Metric
    from vstore.types import Array

ROWS = 1_600
GRAPH_ROWS = 400  # a graph for so many; each piece that is written gets one
PIECES = 4


@pytest.fixture(scope="module", autouse=True)
def machine_code() -> None:
    if loader.kernels(wait=True) is None:
        pytest.skip(f"no machine code here: {loader.status()['reason']}")


def made(store: Store, dimension: int, metric: Metric, **options: Any) -> Collection:
    docs = store.create_collection("docs")
    spec = vstore.EmbeddingSpec("model", dimension, metric=metric)
    docs.create_version("v", spec, graph_rows_min=GRAPH_ROWS, **options)
    return docs


def kinds(number: int, dimension: int) -> Array:
    """Return rows of some distinct vectors, the last of which is rare."""
    originals = clustered(number, dimension, seed=number)
    which = np.random.default_rng(1).integers(0, max(1, number - 1), ROWS)
    which[:: ROWS // 7] = number - 1
    return np.ascontiguousarray(originals[which])


def check(store: Store, docs: Collection, queries: Array) -> None:
    """Compare all ways to search with a scan, by score, and check the file."""
    for k in (1, 10, 300):
        exact = docs.search_batch(queries, version="v", k=k, recall=1).scores
        for options in ({}, {"recall": 1.0}, {"recall": 0.5}, {"recall": vstore.EfSearch(50)}):
            found = docs.search_batch(queries, version="v", k=k, **options).scores
            np.testing.assert_array_equal(np.asarray(found), np.asarray(exact), str((k, options)))
    assert store.check().ok


def lived_in(store: Store, docs: Collection, vectors: Array) -> None:
    """Write in pieces, delete, replace, and do all upkeep there is, with a look at each step."""
    queries = vectors[:: ROWS // 5]
    for some in np.array_split(np.arange(ROWS), PIECES):
        docs.upsert(some.tolist(), vectors={"v": vectors[some]})
    assert len(docs) == ROWS
    check(store, docs, queries)
    docs.delete(list(range(ROWS // 4)))
    store.optimize()
    check(store, docs, queries)
    docs.upsert(list(range(100, 700)), vectors={"v": vectors[100:700]})
    for start in range(MERGE_FANOUT):
        docs.upsert([f"small {start}"], vectors={"v": vectors[start : start + 1]})
        store.optimize()
    store.vacuum()
    check(store, docs, queries)


@pytest.mark.parametrize("metric", ["cosine", "l2", "inner_product"])
@pytest.mark.parametrize("number", [1, 2, 3])
@pytest.mark.parametrize("dimension", [1, 8])
def test_a_few_distinct_vectors_are_stored_and_found(
    number: int, dimension: int, metric: Metric
) -> None:
    with vstore.open(":memory:") as store:
        lived_in(store, made(store, dimension, metric), kinds(number, dimension))


@pytest.mark.parametrize("metric", ["l2", "inner_product"])
@pytest.mark.parametrize("value", [0.0, -3.5, 1e-25, 1e15])
def test_constants_are_stored_and_found(value: float, metric: Metric) -> None:
    with vstore.open(":memory:") as store:
        docs = made(store, 8, metric)
        lived_in(store, docs, np.full((ROWS, 8), value, np.float32))


@pytest.mark.parametrize("storage", ["float32", "float16"])
@pytest.mark.parametrize("value", [0.1])
def test_equal_vectors_in_half_precision(storage: Any, value: float) -> None:
    with vstore.open(":memory:") as store:
        docs = made(store, 16, "cosine", storage=storage)
        lived_in(store, docs, np.full((ROWS, 16), value, np.float32))


@pytest.mark.parametrize("first", ["equal", "distinct"])
def test_equal_and_distinct_vectors_follow_each_other(first: str) -> None:
    equal, distinct = np.ones((ROWS, 16), np.float32), clustered(ROWS, 16)
    parts = (equal, distinct) if first == "equal" else (distinct, equal)
    with vstore.open(":memory:") as store:
        docs = made(store, 16, "l2")
        for number, vectors in enumerate(parts):
            ids = list(range(number * ROWS, (number + 1) * ROWS))
            docs.upsert(ids, vectors={"v": vectors}, trust_geometry=True)
        store.vacuum()
        assert docs.versions["v"].segments == 1
        for k in (1, 10):
            queries = np.concatenate([distinct[:20], equal[:1]])
            exact = docs.search_batch(queries, version="v", k=k, recall=1).scores
            found = docs.search_batch(queries, version="v", k=k).scores
            right = np.asarray(found) >= np.asarray(exact)[:, -1:]
            assert right.mean() >= 0.93


@pytest.mark.parametrize("indexing", ["background", "manual"])
def test_equal_vectors_are_indexed_beside_and_by_hand(indexing: Any) -> None:
    vectors = kinds(2, 8)
    with vstore.open(":memory:", indexing=indexing) as store:
        docs = made(store, 8, "cosine")
        for some in np.array_split(np.arange(ROWS), PIECES):
            docs.upsert(some.tolist(), vectors={"v": vectors[some]})
        store.optimize()
        docs.upsert(["later"], vectors={"v": vectors[:1]})
        check(store, docs, vectors[:: ROWS // 5])


def test_sparse_rows_get_codes_that_tell_them_apart() -> None:
    """Nearly all components are zero, and a step is not taken from those alone."""
    rng = np.random.default_rng(2)
    vectors = np.zeros((ROWS, 3_000), np.float32)
    vectors[np.arange(ROWS), rng.integers(0, 3_000, ROWS)] = 0.2 + 0.2 * rng.random(ROWS)
    with vstore.open(":memory:") as store:
        docs = made(store, 3_000, "l2")
        docs.upsert(list(range(ROWS)), vectors={"v": vectors})
        exact = docs.search_batch(vectors[:50], version="v", k=1, recall=1).scores
        wide = docs.search_batch(vectors[:50], version="v", k=1, recall=vstore.EfSearch(200)).scores
        np.testing.assert_array_equal(np.asarray(wide), np.asarray(exact))


@pytest.mark.parametrize("metric", ["cosine", "l2", "inner_product"])
@pytest.mark.parametrize("size", [1e-37, 1e18, 1e30])
def test_lengths_at_the_ends_of_float32_can_be_indexed_and_read_again(
    size: float, metric: Metric
) -> None:
    vectors = clustered(ROWS, 8) * np.float32(size)
    vectors[::2] *= np.float32(0.01)
    with vstore.open(":memory:") as store:
        docs = made(store, 8, metric)
        docs.upsert(list(range(ROWS)), vectors={"v": vectors})
        store.vacuum()
        exact = docs.search_batch(vectors[:50], version="v", recall=1).scores
        found = docs.search_batch(vectors[:50], version="v").scores
        right = np.asarray(found) >= np.asarray(exact)[:, -1:]
        assert right.mean() >= 0.93
        assert store.check().ok
