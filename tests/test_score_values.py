"""Scores as `format-spec.md` defines them: to the bit, bounded, and without a negative zero."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import vstore
from tests.native.data import clustered
from tests.small_store import OLD, axis, documents, rows, seal, spec
from vstore.native import loader

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vstore import Collection
    from vstore.manifest.spec import Metric
    from vstore.types import Array

METRICS: tuple[Metric, ...] = ("cosine", "inner_product", "l2")
DIMENSIONS = (1, 2, 3, 7, 8, 9, 24, 127, 128, 129, 300, 384)


def dot(left: list[float], right: list[float]) -> float:
    """Add products in the order that the specification gives."""
    return added([one * other for one, other in zip(left, right, strict=True)])


def added(terms: list[float]) -> float:
    count = len(terms)
    if count > 128:
        half = count // 2 // 8 * 8
        return added(terms[:half]) + added(terms[half:])
    total, whole = 0.0, count // 8 * 8
    if whole:
        sums = [0.0] * 8
        for i in range(whole):
            sums[i % 8] += terms[i]
        total = ((sums[0] + sums[1]) + (sums[2] + sums[3])) + (
            (sums[4] + sums[5]) + (sums[6] + sums[7])
        )
    for term in terms[whole:]:
        total += term
    return total


def specified(query: Array, row: Array, metric: Metric) -> float:
    """Score a row as a reader would that knows the specification alone."""
    q, r = query.astype(np.float64).tolist(), row.astype(np.float64).tolist()
    if metric == "l2":
        return 0 - math.sqrt(added([(y - x) * (y - x) for x, y in zip(q, r, strict=True)]))
    product = dot(q, r) + 0.0
    if metric == "inner_product":
        return product
    return min(1.0, max(-1.0, product / (math.sqrt(dot(r, r)) * math.sqrt(dot(q, q)))))


@pytest.mark.parametrize("storage", ["float32", "float16"])
@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("dimension", DIMENSIONS)
def test_a_score_has_the_specified_bits(dimension: int, metric: Metric, storage: Any) -> None:
    docs = documents(old=spec("m", dimension, metric), storage=storage)
    vectors = rows(40, dimension)
    docs.upsert(list(range(40)), vectors={OLD: vectors})
    stored = vectors.astype(storage)
    for query in (*rows(3, dimension, seed=1), vectors[3], -vectors[4], 7 * vectors[5]):
        expected = {i: specified(query, stored[i], metric) for i in range(40)}
        found = docs.search(query, version=OLD, k=40)
        assert {hit.id: hit.score for hit in found} == expected
        assert found.ids == sorted(expected, key=lambda i: (-expected[i], i))


def searched(docs: Collection, query: Array, **options: Any) -> list[list[float]]:
    """Return the scores of all ways to search for something."""
    return [
        docs.search(query, version=OLD, **options).scores,
        docs.search(query, version=OLD, **options, recall=1).scores,
        docs.search_batch(query[None], version=OLD, **options).scores[0].tolist(),
        docs.search(query, version=OLD, **options).scores,  # the short way
    ]


@pytest.fixture(scope="module", params=["native", "numpy", "scan"])
def copies(request: pytest.FixtureRequest) -> Iterator[tuple[Collection, Array]]:
    """Vectors whose cosine with themselves, or with their negatives, rounding puts beyond 1."""
    vectors = clustered(1_200, 33)
    vectors[600:] = -vectors[:600]
    with vstore.open(":memory:") as store, pytest.MonkeyPatch.context() as patch:
        docs = store.create_collection("docs")
        rows_min = None if request.param == "scan" else 500
        docs.create_version(OLD, vstore.EmbeddingSpec("m", 33), graph_rows_min=rows_min)
        docs.upsert(list(range(1_200)), vectors={OLD: vectors})
        if request.param == "numpy":
            patch.setattr(loader, "kernels", lambda **_: None)
        yield docs, vectors


def test_no_cosine_is_beyond_1(copies: tuple[Collection, Array]) -> None:
    docs, vectors = copies
    beyond = 0
    for number in range(0, 600, 20):
        for scale in (1, 3, 1e-3):
            query = (vectors[number] * np.float32(scale)).astype(np.float32)
            wide = query.astype(np.float64), vectors[number].astype(np.float64)
            lengths = [math.sqrt(float((one * one).sum())) for one in wide]
            beyond += float((wide[0] * wide[1]).sum()) / (lengths[0] * lengths[1]) > 1
            for scores in searched(docs, query, k=5):
                assert scores[0] == pytest.approx(1, abs=1e-12)
                assert max(scores) <= 1
            assert min(docs.search(query, version=OLD, k=1_200).scores) >= -1
    assert beyond  # or nothing was tried


def test_nor_in_a_cascade_nor_beside_a_dual_read() -> None:
    docs = documents(old=spec("a", 33), new=spec("b", 33))
    vectors = rows(50, 33)
    docs.upsert(list(range(50)), vectors={OLD: vectors, "emb-new": vectors})
    for number in range(50):
        query = {OLD: vectors[number], "emb-new": vectors[number]}
        for read in (vstore.Cascade("emb-new", old=OLD), vstore.Dual("emb-new", OLD, "evidence")):
            found = docs.search(query, read=read)
            assert all(-1 <= score <= 1 for hit in found for score in hit.scores.values())


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("sealed", [False, True])
def test_no_score_is_a_negative_zero(metric: Metric, sealed: bool) -> None:
    docs = documents(old=spec("m", 4, metric))
    docs.upsert(["x", "y", "minus"], vectors={OLD: np.stack([axis(0), axis(1), -axis(2)])})
    if sealed:
        seal(docs.store)
    for query in (
        axis(0),
        axis(1),
        -axis(3),
        -axis(2),
        np.array([-0.0, 1, -0.0, -0.0], np.float32),
    ):
        for scores in searched(docs, np.asarray(query)):
            assert not any(score == 0 and math.copysign(1, score) < 0 for score in scores)


@pytest.mark.parametrize("metric", METRICS)
def test_nor_by_a_graph(metric: Metric) -> None:
    with vstore.open(":memory:") as store:
        docs = store.create_collection("docs")
        docs.create_version(OLD, vstore.EmbeddingSpec("m", 24, metric), graph_rows_min=500)
        vectors = clustered(1_000, 24)
        vectors[0] = axis(0, 24)
        vectors[1] = -axis(1, 24)
        docs.upsert(list(range(1_000)), vectors={OLD: vectors})
        for query in (vectors[0], vectors[1], vectors[7]):
            for scores in searched(docs, query, k=50):
                assert not any(score == 0 and math.copysign(1, score) < 0 for score in scores)


def test_a_negative_zero_in_vectors_and_queries_is_a_zero() -> None:
    docs = documents()
    plus, minus = np.array([0, 1, 0, 2], np.float32), np.array([-0.0, 1, -0.0, 2], np.float32)
    docs.upsert(["a"], vectors={OLD: plus[None]})
    docs.upsert(["b"], vectors={OLD: minus[None]})
    assert docs.search(plus, version=OLD).scores == docs.search(minus, version=OLD).scores
    assert docs.search(plus, version=OLD).ids == ["a", "b"]


def test_a_negative_zero_in_metadata_is_a_zero() -> None:
    docs = documents(fields={"price": "float", "extra": "json"})
    docs.upsert(["a"], vectors={OLD: axis(0)[None]}, metadata=[{"price": 0.0}])
    assert docs.update_metadata(["a"], [{"price": -0.0}]) == 0  # no change
    document = docs.get("a")
    assert document is not None
    assert str(document.metadata["price"]) == "0.0"
    for value in (0.0, -0.0, 0):
        assert docs.ids(vstore.field("price") == value) == ["a"]
        assert docs.ids(vstore.field("price").is_in([value])) == ["a"]
        assert docs.ids(vstore.field("price") >= value) == ["a"]
        assert docs.ids(vstore.field("price") < value) == []
