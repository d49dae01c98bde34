"""Mistakes of length, scale and metric are named; vectors that are as they should be are not."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from vstore.demo.corpus import load_scifact
from vstore.guarding.geometry import GeometryStatistics, learn
from vstore.guarding.mistakes import Mistake, name_mistake

if TYPE_CHECKING:
    from vstore.types import Array

LEARNED = 1_024
SEED = 5


class Data:
    """SciFact as a model of unit vectors, and as one whose vectors have lengths of their own."""

    def __init__(self) -> None:
        demo = load_scifact()
        rng = np.random.default_rng(SEED)
        lengths = rng.lognormal(2.0, 0.3, len(demo.new_documents)).astype(np.float32)[:, None]
        self.unit, self.raw = demo.new_documents, demo.new_documents * lengths
        self.other = demo.old_documents * lengths
        self.unit_statistics = learn(self.unit[:LEARNED])
        self.raw_statistics = learn(self.raw[:LEARNED])


@pytest.fixture(scope="module")
def data() -> Data:
    return Data()


def named(
    statistics: GeometryStatistics | None,
    vectors: Array,
    *,
    metric: str = "inner_product",
    normalized: bool = False,
) -> Mistake:
    found = name_mistake(statistics, vectors, metric=metric, normalized=normalized)
    assert found is not None
    return found


@pytest.mark.parametrize("rows", [1, 5, 200])
@pytest.mark.parametrize("space", ["unit", "raw"])
def test_vectors_as_the_version_has_them_are_no_mistake(data: Data, space: str, rows: int) -> None:
    statistics: GeometryStatistics = getattr(data, f"{space}_statistics")
    documents: Array = getattr(data, space)[-rows:]
    normalized = space == "unit"
    for metric in ("inner_product", "l2"):
        call: dict[str, Any] = {"metric": metric, "normalized": normalized}
        assert name_mistake(statistics, documents, **call) is None
    assert name_mistake(data.unit_statistics, data.unit, metric="cosine", normalized=True) is None


@pytest.mark.parametrize("rows", [1, 200])
def test_unnormalised_vectors_of_the_space_are_named(data: Data, rows: int) -> None:
    found = named(data.unit_statistics, data.raw[-rows:], normalized=True)
    if rows > 1:
        assert found.kind == "unnormalised"
    assert found.kind in ("unnormalised", "scaled")
    assert found.changes_results
    cosine = named(data.unit_statistics, data.raw[-200:], metric="cosine")
    assert cosine.kind == "unnormalised"
    assert not cosine.changes_results  # cosine ignores length
    assert "Divide each by its length" in cosine.sentence


def test_unnormalised_vectors_are_named_by_the_declaration_alone(data: Data) -> None:
    assert named(None, data.raw[:3], normalized=True).kind == "unnormalised"
    assert name_mistake(None, data.unit[:3], metric="l2", normalized=True) is None


def test_normalised_vectors_among_rows_with_lengths_are_named(data: Data) -> None:
    found = named(data.raw_statistics, data.unit[-50:], metric="l2")
    assert (found.kind, found.changes_results) == ("normalised", True)
    assert "as the model returns them" in found.sentence


def test_one_vector_of_length_one_may_be_chance() -> None:
    rng = np.random.default_rng(SEED)
    documents = load_scifact().new_documents
    rows = documents * rng.uniform(0.5, 1.5, len(documents)).astype(np.float32)[:, None]
    statistics = learn(rows[:LEARNED])
    one = name_mistake(statistics, documents[-1:], metric="l2", normalized=False)
    assert one is None
    assert named(statistics, documents[-50:], metric="l2").kind == "normalised"


def test_cosine_over_lengths_that_say_something_is_named(data: Data) -> None:
    for statistics in (None, data.raw_statistics):
        found = named(statistics, data.raw[-200:], metric="cosine")
        assert found.kind == "metric"
        assert 'metric="inner_product"' in found.sentence


@pytest.mark.parametrize("factor", [1e-3, 0.01, 0.1, 8.0, 100.0, 1e4])
@pytest.mark.parametrize("space", ["unit", "raw"])
def test_a_constant_factor_is_named_with_its_size(data: Data, space: str, factor: float) -> None:
    rows: Array = getattr(data, space)
    statistics: GeometryStatistics = getattr(data, f"{space}_statistics")
    found = named(statistics, rows[-200:] * np.float32(factor), metric="l2")
    assert (found.kind, found.changes_results) == ("scaled", True)
    told = float(found.sentence.split("are ")[1].split(" times")[0])
    assert told == pytest.approx(factor, rel=0.2)


def test_integer_codes_are_named(data: Data) -> None:
    codes = np.rint(data.unit[-100:] * 127 / np.abs(data.unit).max()).astype(np.int8)
    found = named(data.unit_statistics, codes)
    assert found.kind == "quantised"
    assert "int8 codes" in found.sentence


def test_a_space_of_integers_is_no_mistake(data: Data) -> None:
    counts = np.rint(data.raw * 30)
    statistics = learn(counts[:LEARNED])
    for rows in (counts[-100:], counts[-1:]):
        assert name_mistake(statistics, rows, metric="l2", normalized=False) is None


def test_values_beyond_float16_are_named_with_their_place(data: Data) -> None:
    vectors = data.unit[:5].copy()
    vectors[2, 7] = 1e6
    with np.errstate(over="ignore"):
        narrow = vectors.astype(np.float16)
    for statistics in (None, data.unit_statistics):
        found = named(statistics, narrow)
        assert found.kind == "overflow"
        assert "[2, 7]" in found.sentence


def test_another_space_is_not_explained_by_its_lengths(data: Data) -> None:
    found = name_mistake(
        data.unit_statistics, data.other[:200], metric="inner_product", normalized=True
    )
    assert found is None


@pytest.mark.parametrize(
    "vectors", [np.zeros((0, 384)), np.zeros((3, 384)), np.full((2, 384), np.nan)]
)
def test_nothing_to_judge_is_no_mistake(data: Data, vectors: Array) -> None:
    assert name_mistake(data.unit_statistics, vectors, metric="l2", normalized=True) is None
