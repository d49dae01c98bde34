"""Expected gain: exact at both ends whatever was learnt, and learnt as worked out by hand."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.quality.expected_gain import (
    NO_CURVE,
    GainCurve,
    Observation,
    expected_gain,
    fit_gain_curve,
)
from benchmarks.quality.isotonic import antitonic
from vstore.errors import InvalidArgumentError
from vstore.query.ranking import FusedHit, Ranking

DOCUMENTS_MAX = 12
TRUSTS = (0.0, 0.25, 1.0)


def ranking(*keys: int) -> Ranking:
    return Ranking(np.array(keys, np.int64), np.arange(len(keys), 0, -1, dtype=np.float64))


@dataclass(frozen=True)
class Backfill:
    """Orders of documents in two versions, and which of them are migrated."""

    old_order: list[int]
    new_order: list[int]
    migrated: frozenset[int]

    @property
    def old(self) -> Ranking:
        return ranking(*self.old_order)

    @property
    def new(self) -> Ranking:
        return ranking(*(key for key in self.new_order if key in self.migrated))

    @property
    def mask(self) -> np.ndarray:
        return np.array([key in self.migrated for key in self.old_order], bool)

    @property
    def coverage(self) -> float:
        return len(self.migrated) / max(1, len(self.old_order))

    def observed(self) -> Observation:
        return Observation(self.old, self.mask, self.new, self.coverage)

    def fused(
        self, curve: GainCurve, *, k: int = DOCUMENTS_MAX, trust: float = 1.0
    ) -> list[FusedHit]:
        return expected_gain(
            self.old,
            self.new,
            self.mask,
            k=k,
            coverage=self.coverage,
            curve=curve,
            trust=trust,
        )


@st.composite
def backfills(draw: st.DrawFn, share: float | None = None) -> Backfill:
    count = draw(st.integers(1, DOCUMENTS_MAX))
    old, new = (draw(st.permutations(range(count))) for _ in range(2))
    if share is None:
        migrated = draw(st.frozensets(st.integers(0, count - 1)))
    else:
        migrated = frozenset(range(round(share * count)))
    return Backfill(old, new, migrated)


curves = st.lists(st.floats(0.001, 1), min_size=0, max_size=8).map(
    lambda gains: GainCurve(
        np.arange(1, len(gains) + 1), np.array(sorted(gains, reverse=True), np.float64), 1, 1
    )
)
trusts = st.sampled_from(TRUSTS)


@given(backfills(share=0), curves, trusts)
def test_nothing_migrated_is_the_old_ranking(
    backfill: Backfill, curve: GainCurve, trust: float
) -> None:
    fused = backfill.fused(curve, trust=trust)
    assert [hit.key for hit in fused] == backfill.old_order
    assert {hit.source for hit in fused} == {0}


@given(backfills(share=1), curves, trusts)
def test_everything_migrated_is_the_new_ranking(
    backfill: Backfill, curve: GainCurve, trust: float
) -> None:
    fused = backfill.fused(curve, trust=trust)
    assert [hit.key for hit in fused] == backfill.new_order
    assert {hit.source for hit in fused} == {1}


@given(backfills(), curves, trusts, st.integers(1, DOCUMENTS_MAX))
def test_each_version_keeps_its_order_and_no_document_comes_twice(
    backfill: Backfill, curve: GainCurve, trust: float, k: int
) -> None:
    fused = backfill.fused(curve, trust=trust, k=k)
    keys = [hit.key for hit in fused]
    assert len(set(keys)) == len(keys) == min(k, len(backfill.old_order))
    left = [key for key in keys if key not in backfill.migrated]
    moved = [key for key in keys if key in backfill.migrated]
    unmigrated = [key for key in backfill.old_order if key not in backfill.migrated]
    assert left == unmigrated[: len(left)]
    assert moved == backfill.new.keys[: len(moved)].tolist()
    assert [hit.score for hit in fused] == sorted((hit.score for hit in fused), reverse=True)


@given(st.lists(backfills(), max_size=6))
def test_what_is_learnt_never_rises_and_is_a_gain(observed: list[Backfill]) -> None:
    curve = fit_gain_curve([backfill.observed() for backfill in observed])
    assert (np.diff(curve.gains) <= 0).all()
    assert ((curve.gains > 0) & (curve.gains <= 1)).all()
    assert curve.queries == sum(bool(backfill.migrated) for backfill in observed)
    assert curve.pairs == sum(len(backfill.migrated) for backfill in observed)


def test_the_curve_by_hand() -> None:
    # All migrated, so ranks are what they are. The old ranks 1, 2, 3 have new ranks 2, 1, 3.
    backfill = Backfill([7, 8, 9], [8, 7, 9], frozenset((7, 8, 9)))
    curve = fit_gain_curve([backfill.observed()])
    pooled = (1 / 2 + 1 / 1) / 2
    np.testing.assert_allclose(curve.gains, [pooled, pooled, 1 / 3])
    np.testing.assert_allclose(curve.at(np.array([1, 3, 50])), [pooled, 1 / 3, 1 / 3])


def test_half_coverage_doubles_the_distance_from_the_first_rank() -> None:
    backfill = Backfill([0, 1, 2, 3], [1, 3, 0, 2], frozenset((1, 3)))
    # The new version's first of two stands on average at 1.5 of four, its second at 3.5.
    curve = fit_gain_curve([backfill.observed()])
    assert curve.ranks.tolist() == [2, 4]
    np.testing.assert_allclose(curve.gains, [1 / 1.5, 1 / 3.5])
    fused = backfill.fused(curve)
    assert [hit.key for hit in fused] == [0, 1, 2, 3]
    np.testing.assert_allclose(
        [hit.score for hit in fused], [2 / 3, 2 / 3, (2 / 3 + 2 / 7) / 2, 2 / 7]
    )


def test_a_document_the_new_list_does_not_reach_counts_as_the_next_one() -> None:
    old, new = ranking(5, 6), ranking(6)
    curve = fit_gain_curve([Observation(old, np.array([True, True]), new, 1.0)])
    np.testing.assert_allclose(curve.gains, [(1 / 2 + 1) / 2] * 2)


def test_where_the_old_version_says_nothing_about_the_new_one_migrated_documents_come_first() -> (
    None
):
    rng = np.random.default_rng(0)
    count = 200
    observed = [
        Backfill(
            rng.permutation(count).tolist(),
            rng.permutation(count).tolist(),
            frozenset(range(count // 2)),
        ).observed()
        for _ in range(100)
    ]
    curve = fit_gain_curve(observed)
    asked = Backfill(list(range(count))[::-1], list(range(count)), frozenset(range(count // 2)))
    assert [hit.source for hit in asked.fused(curve, k=10)] == [1] * 10
    # Without trust the old version's ranks count as they are: its best go in between.
    assert {hit.source for hit in asked.fused(curve, k=10, trust=0.0)} == {0, 1}


def test_an_unlearnt_curve_compares_ranks() -> None:
    np.testing.assert_array_equal(NO_CURVE.at(np.array([1, 2, 4])), [1, 1 / 2, 1 / 4])


@given(
    st.lists(st.tuples(st.integers(-4, 4), st.integers(1, 3)), min_size=1, max_size=7),
)
def test_antitonic_is_the_best_fit_there_is(points: list[tuple[int, int]]) -> None:
    values, weights = (np.array(column, np.float64) for column in zip(*points, strict=True))
    fitted = antitonic(values, weights)
    assert (np.diff(fitted) <= 0).all()
    best = min(
        _cost(points, cuts)
        for size in range(len(points))
        for cuts in itertools.combinations(range(1, len(points)), size)
        if _falls(points, cuts)
    )
    assert float((weights * (fitted - values) ** 2).sum()) == pytest.approx(float(best), abs=1e-9)


def _pools(points: list[tuple[int, int]], cuts: tuple[int, ...]) -> list[list[tuple[int, int]]]:
    return [points[a:b] for a, b in itertools.pairwise((0, *cuts, len(points)))]


def _mean(pool: list[tuple[int, int]]) -> Fraction:
    return Fraction(sum(v * w for v, w in pool), sum(w for _, w in pool))


def _falls(points: list[tuple[int, int]], cuts: tuple[int, ...]) -> bool:
    means = [_mean(pool) for pool in _pools(points, cuts)]
    return all(first >= second for first, second in itertools.pairwise(means))


def _cost(points: list[tuple[int, int]], cuts: tuple[int, ...]) -> Fraction:
    return sum(
        (w * (v - _mean(pool)) ** 2 for pool in _pools(points, cuts) for v, w in pool), Fraction(0)
    )


@pytest.mark.parametrize(
    ("ranks", "gains"),
    [
        ([1, 2], [0.5]),
        ([0, 1], [0.5, 0.4]),
        ([2, 2], [0.5, 0.4]),
        ([1, 2], [0.4, 0.5]),
        ([1, 2], [0.5, 0.0]),
        ([1, 2], [1.5, 0.5]),
        ([1, 2], [0.5, float("nan")]),
    ],
)
def test_a_curve_that_is_none_is_refused(ranks: list[int], gains: list[float]) -> None:
    with pytest.raises(InvalidArgumentError, match="GainCurve"):
        GainCurve(np.array(ranks), np.array(gains), 1, 1)


def test_contradictions_are_refused() -> None:
    old, new, mask = ranking(1, 2), ranking(1), np.array([False, False])
    with pytest.raises(InvalidArgumentError, match="returned twice"):
        expected_gain(old, new, mask, k=2, coverage=0.5)
    mask = np.array([True, False])
    with pytest.raises(InvalidArgumentError, match="coverage=0"):
        expected_gain(old, new, mask, k=2, coverage=0.0)
    with pytest.raises(InvalidArgumentError, match="trust=2"):
        expected_gain(old, new, mask, k=2, coverage=0.5, trust=2.0)
    with pytest.raises(InvalidArgumentError, match="mask"):
        expected_gain(old, new, mask[:1], k=2, coverage=0.5)
