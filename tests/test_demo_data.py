"""The demo's collection: complete, consistent, small, nearly as good as what it was made from."""

from __future__ import annotations

from importlib.resources import files
from typing import TYPE_CHECKING

import numpy as np
import pytest

from vstore.demo.corpus import ScifactDemo, load_scifact
from vstore.evaluation.measures import mean_ndcg_at_k

if TYPE_CHECKING:
    from vstore.types import FloatArray

DOCUMENTS, QUERIES, JUDGMENTS, DIMENSION = 5_183, 300, 339, 384
OLD_NDCG_FULL_PRECISION = 0.5138  # of the float16 originals; data/SOURCE.md
NEW_NDCG_FULL_PRECISION = 0.6484
NDCG_LOSS_MAX = 0.005
NORM_ERROR_MAX = 1e-6
DATA_BYTES_MAX = 7_000_000


@pytest.fixture(scope="module")
def demo() -> ScifactDemo:
    return load_scifact()


def test_lists_and_rows_go_together(demo: ScifactDemo) -> None:
    assert len(set(demo.document_ids)) == len(demo.titles) == len(demo.texts) == DOCUMENTS
    assert len(set(demo.query_ids)) == len(demo.query_texts) == len(demo.judgments) == QUERIES
    assert demo.old_documents.shape == demo.new_documents.shape == (DOCUMENTS, DIMENSION)
    assert demo.old_queries.shape == demo.new_queries.shape == (QUERIES, DIMENSION)
    assert all(demo.texts)
    assert all(demo.titles)
    assert all(demo.query_texts)


def test_every_query_is_judged_on_documents_that_exist(demo: ScifactDemo) -> None:
    assert all(demo.judgments)
    assert sum(map(len, demo.judgments)) == JUDGMENTS
    assert set().union(*demo.judgments) <= set(demo.document_ids)
    assert {gain for gains in demo.judgments for gain in gains.values()} == {1}


@pytest.mark.parametrize("name", ["old_documents", "new_documents", "old_queries", "new_queries"])
def test_vectors_are_float32_of_unit_length(demo: ScifactDemo, name: str) -> None:
    vectors: FloatArray = getattr(demo, name)
    assert vectors.dtype == np.float32
    error = float(np.abs(np.linalg.norm(vectors.astype(np.float64), axis=1) - 1).max())
    assert error <= NORM_ERROR_MAX, f"{name}: norm off by {error} > {NORM_ERROR_MAX}"


@pytest.mark.parametrize(
    ("model", "full_precision"),
    [("old", OLD_NDCG_FULL_PRECISION), ("new", NEW_NDCG_FULL_PRECISION)],
)
def test_quantisation_hardly_moves_ndcg(
    demo: ScifactDemo, model: str, full_precision: float
) -> None:
    documents: FloatArray = getattr(demo, f"{model}_documents")
    queries: FloatArray = getattr(demo, f"{model}_queries")
    order = np.argsort(-(queries @ documents.T), axis=1, kind="stable")[:, :10]
    ranked = [[demo.document_ids[i] for i in row] for row in order.tolist()]
    found = mean_ndcg_at_k(ranked, demo.judgments, k=10)
    assert abs(found - full_precision) < NDCG_LOSS_MAX, f"{model}: nDCG@10 {found:.4f}"


def test_package_data_stay_small() -> None:
    sizes = {
        path.name: len(path.read_bytes()) for path in (files("vstore.demo") / "data").iterdir()
    }
    assert "SOURCE.md" in sizes
    assert sum(sizes.values()) <= DATA_BYTES_MAX, sizes
