"""What `evidence` expects before a query has said anything: worked out by hand, with its numbers.

The prior is worth 20 documents with a mean old score of 0 and a variance of 1, on the line of
intercept -1.4 (minus the logarithm of the coverage) and slope 0.8, spread by 1.9.
"""

from __future__ import annotations

import math

import numpy as np
import pytest

from benchmarks.quality.expected_gain import GainCurve, expected_gain
from tests.small_store import NEW, OLD, documents, spec
from vstore import Dual
from vstore.query.fusion.imputed import DRAWS, imputation_of_one
from vstore.query.ranking import Ranking

PAIRS, INTERCEPT, SLOPE, SPREAD = 20, -1.4, 0.8, 1.9
NOTHING = np.zeros(0)


@pytest.mark.parametrize("coverage", [1.0, 0.5, 0.01])
def test_without_documents_the_prior_is_all(coverage: float) -> None:
    known = imputation_of_one(NOTHING, NOTHING, coverage)
    assert known.intercept == pytest.approx(INTERCEPT - math.log(coverage))
    assert known.slope == pytest.approx(SLOPE)
    middle = DRAWS // 2
    assert known.spread[middle] == 0
    # The quantiles of a normal distribution at the middles of nine equal shares.
    quantiles = [-1.593219, -0.967422, -0.589456, -0.282216]
    assert known.spread[:middle] == pytest.approx(SPREAD * np.array(quantiles))
    assert known.spread[middle + 1 :] == pytest.approx(-known.spread[:middle][::-1])


@pytest.mark.parametrize("coverage", [1.0, 0.3])
@pytest.mark.parametrize("count", [1, 2, 20, 500])
def test_documents_are_added_to_as_many_imagined_ones(count: int, coverage: float) -> None:
    rng = np.random.default_rng(count)
    x = rng.normal(size=count)
    y = 0.5 + 0.3 * x + rng.normal(size=count)
    # Ten imagined documents at 1 and ten at -1 have that mean and variance.
    imagined = np.repeat([1.0, -1.0], PAIRS // 2)
    on_the_line = INTERCEPT - math.log(coverage) + SLOPE * imagined
    slope, intercept = np.polyfit(
        np.concatenate([x, imagined]), np.concatenate([y, on_the_line]), 1
    )
    known = imputation_of_one(x, y, coverage)
    assert known.slope == pytest.approx(slope)
    assert known.intercept == pytest.approx(intercept)
    residuals = y - intercept - slope * x
    variance = (residuals @ residuals + PAIRS * SPREAD**2) / (count + PAIRS)
    assert known.spread[0] == pytest.approx(-1.593219 * math.sqrt(variance))


def test_a_search_by_evidence_expects_what_the_prior_says() -> None:
    """Place a migrated document among unmigrated ones: each prior puts it elsewhere."""
    docs = documents(old=spec(dimension=2, metric="inner_product"),
                     new=spec("model-new", 2, "inner_product"))  # fmt: skip
    count = 30
    old = np.stack([np.linspace(3, 1, count), np.ones(count)], axis=1)
    docs.upsert(range(count), vectors={OLD: old})
    moved = [3, 9, 27]
    docs.add_vectors(moved, np.array([[1.0, 1], [0.4, 1], [0.9, 1]]), version=NEW)
    query = np.array([1, 0], np.float32)
    found = docs.search(
        {OLD: query, NEW: query}, k=count, read=Dual(NEW, old=OLD, fusion="evidence")
    ).ids
    assert sorted(found) == list(range(count))
    assert [id_ for id_ in found if id_ not in moved] == [i for i in range(count) if i not in moved]
    # Any of the four numbers of the prior, changed by a third, moves one of them.
    assert [found.index(id_) for id_ in moved] == [9, 25, 20]


def test_expected_gain_goes_half_of_the_way() -> None:
    old = Ranking(np.arange(12), np.arange(12, 0, -1, dtype=np.float64))
    new = Ranking(np.array([11, 8, 5, 2]), np.array([4.0, 3, 2, 1]))
    migrated = np.isin(old.keys, new.keys)
    curve = GainCurve(np.arange(1, 13), np.linspace(0.3, 0.02, 12), 10, 100)

    def order(**trust: float) -> list[int]:
        fused = expected_gain(old, new, migrated, k=12, coverage=1 / 3, curve=curve, **trust)
        return [key for key, *_ in fused]

    assert order() == order(trust=0.5)
    assert len({tuple(order(trust=trust)) for trust in (0.0, 0.5, 1.0)}) == 3
