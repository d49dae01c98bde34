"""Queries far outside of all rows: longer by ten, a hundred, a thousand times."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

import vstore
from tests.native.data import clustered
from tests.small_store import rows, spec
from vstore.native import loader

if TYPE_CHECKING:
    from pathlib import Path

    from vstore.manifest.spec import Metric
    from vstore.types import Array, BoolArray

COUNT, DIMENSION, QUERIES, K = 4_000, 16, 50, 10
RECALL_FLOOR = 0.93
METRICS: tuple[Metric, ...] = ("cosine", "inner_product", "l2")
BEHIND = np.linspace(-3, 3, DIMENSION, dtype=np.float32)
DATA = {
    "around the origin": rows(COUNT, DIMENSION),
    "elsewhere": rows(COUNT, DIMENSION) + BEHIND,
    "clustered": clustered(COUNT, DIMENSION),
}


@pytest.fixture(autouse=True)
def machine_code() -> None:
    if loader.kernels(wait=True) is None:
        pytest.skip(f"no machine code here: {loader.status()['reason']}")


def filled(store: vstore.Store, vectors: Array, metric: Metric) -> vstore.Collection:
    docs = store.create_collection("docs", fields={"year": "int"})
    docs.create_version("v", spec("model", DIMENSION, metric), graph_rows_min=1_000)
    metadata = [{"year": i % 4} for i in range(len(vectors))]
    docs.upsert(range(len(vectors)), vectors={"v": vectors}, metadata=metadata)
    store.optimize()
    assert docs.versions["v"].graphs == 1
    return docs


def scores(vectors: Array, queries: Array, metric: Metric) -> Array:
    """Return a score of each row for each query, float64 (queries, rows)."""
    wide, asked = vectors.astype(np.float64), queries.astype(np.float64)
    if metric == "l2":
        return np.asarray(-np.linalg.norm(wide[None] - asked[:, None], axis=2))
    products = asked @ wide.T
    return np.asarray(products / np.linalg.norm(wide, axis=1) if metric == "cosine" else products)


def recall(results: vstore.SearchResults, truth: Array, passing: BoolArray | None = None) -> float:
    if passing is not None:
        truth = np.where(passing, truth, -np.inf)
    worst = np.sort(truth, axis=1)[:, -K]
    near = 1e-9 * np.abs(worst)
    found = [
        truth[i, np.array(result.ids)] >= worst[i] - near[i] for i, result in enumerate(results)
    ]
    return float(np.mean(found))


@pytest.mark.parametrize("factor", [1, 10, 100, 1_000, 1e30])
@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("data", DATA)
def test_recall_is_kept_for_queries_far_longer_than_all_rows(
    data: str, metric: Metric, factor: float
) -> None:
    if factor > 1e3 and metric == "l2":
        factor = 1e15  # beyond that all distances are equal
    vectors = DATA[data]
    queries = np.float32(factor) * (vectors[:QUERIES] + rows(QUERIES, DIMENSION, seed=1) / 2)
    truth = scores(vectors, queries, metric)
    with vstore.open(":memory:") as store:
        docs = filled(store, vectors, metric)
        reached = recall(docs.search_batch(queries, version="v", k=K), truth)
        assert reached >= RECALL_FLOOR, f"recall {reached:.3f} < {RECALL_FLOOR}"
        where = vstore.field("year") == 1
        passing = np.arange(COUNT) % 4 == 1
        for options in ({}, {"recall": vstore.EfSearch(100)}):
            some = docs.search_batch(queries, version="v", k=K, where=where, **options)  # type: ignore[arg-type]
            assert recall(some, truth, passing) >= RECALL_FLOOR


def test_a_far_query_alone_in_a_batch_and_as_the_first_one(tmp_path: Path) -> None:
    vectors = DATA["around the origin"]
    near, far = vectors[:3] * np.float32(1.01), vectors[3:6] * np.float32(50)
    path = tmp_path / "far.vstore"
    with vstore.open(path) as store:
        docs = filled(store, vectors, "l2")
        exact = docs.search_batch(far, version="v", recall=1).ids.tolist()
    with vstore.open(path, mode="r") as store:
        docs = store.collection("docs")
        assert docs.search(far[0], version="v").ids == exact[0]
        assert docs.search(near[0], version="v").ids[0] == 0
        for _ in range(3):
            assert docs.search(far[1], version="v").ids == exact[1]
            assert docs.search(near[1], version="v").ids[0] == 1
        mixed = docs.search_batch(np.concatenate([near, far]), version="v")
        assert [result.ids[0] for result in mixed[:3]] == [0, 1, 2]
        assert [result.ids for result in mixed[3:]] == exact
