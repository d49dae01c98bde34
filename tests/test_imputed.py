"""Imputed evidence: exact where it must be, every document once, lines found again."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vstore.errors import InvalidArgumentError
from vstore.query.fusion.imputed import (
    DRAWS,
    NO_IMPUTATION,
    PAIRS_MIN,
    Imputation,
    ScoredQuery,
    fit_imputation,
    imputation_of_one,
    imputed,
)
from vstore.query.fusion.slots import Candidates
from vstore.query.ranking import FusedHit, Ranking

DOCUMENTS_MAX = 15
LINE = Imputation(-0.5, 0.6, np.linspace(-1, 1, DRAWS), 10, 1_000)
HOPELESS = Imputation(-50.0, 0.0, np.zeros(DRAWS), 10, 1_000)  # of what is not migrated


def ranked(keys: np.ndarray, scores: np.ndarray) -> Ranking:
    order = np.lexsort((keys, -scores))
    return Ranking(keys[order], scores[order])


@dataclass(frozen=True)
class Backfill:
    """Documents 0..n-1 with their scores for one query; some are migrated, some only new."""

    old_scores: np.ndarray
    new_scores: np.ndarray
    migrated: np.ndarray
    new_only: frozenset[int] = frozenset()

    @property
    def keys(self) -> np.ndarray:
        return np.arange(len(self.old_scores))

    @property
    def old(self) -> Ranking:
        mine = np.array([key for key in self.keys.tolist() if key not in self.new_only], np.int64)
        return ranked(mine, self.old_scores[mine])

    @property
    def new(self) -> Ranking:
        mine = np.array(
            [key for key in self.keys.tolist() if self.migrated[key] or key in self.new_only],
            np.int64,
        )
        return ranked(mine, self.new_scores[mine])

    @property
    def mask(self) -> np.ndarray:
        return np.asarray(self.migrated[self.old.keys], bool)

    @property
    def candidates(self) -> Candidates:
        both = np.sort(self.old.keys[self.mask])
        return Candidates(both, self.old_scores[both], self.new_scores[both])

    @property
    def coverage(self) -> float:
        return max(0.1, float(self.migrated.mean())) if len(self.keys) else 0.5

    def observed(self) -> ScoredQuery:
        return ScoredQuery(self.old, self.mask, self.candidates)

    def fused(
        self,
        imputation: Imputation = LINE,
        *,
        k: int = DOCUMENTS_MAX,
        new_share: float = 0.9,
        trust: float = 0.125,
    ) -> list[FusedHit]:
        return imputed(
            self.old,
            self.mask,
            self.candidates,
            k=k,
            coverage=self.coverage,
            imputation=imputation,
            new_share=new_share,
            trust=trust,
            new=self.new,
            new_only=self.new_only,
        )


@st.composite
def backfills(
    draw: st.DrawFn, *, migrated: bool | None = None, with_new_only: bool = False
) -> Backfill:
    count = draw(st.integers(1, DOCUMENTS_MAX))
    # Few distinct scores, so that there are ties.
    scores = st.lists(st.integers(-9, 9), min_size=count, max_size=count)
    flags = st.lists(st.booleans(), min_size=count, max_size=count)
    moved = np.array(draw(flags) if migrated is None else [migrated] * count, bool)
    alone = frozenset(key for key, is_alone in enumerate(draw(flags)) if is_alone and with_new_only)
    moved[list(alone)] = False
    return Backfill(
        np.array(draw(scores), np.float64), np.array(draw(scores), np.float64) / 8, moved, alone
    )


imputations = st.builds(
    Imputation,
    st.floats(-3, 3),
    st.floats(0, 3),
    st.lists(st.floats(-3, 3), min_size=1, max_size=DRAWS).map(lambda v: np.array(sorted(v))),
    st.just(1),
    st.just(100),
)
shares = st.sampled_from((0.0, 0.5, 0.9, 1.0))


@given(backfills(migrated=False), imputations, shares, shares)
def test_nothing_migrated_is_the_old_ranking(
    backfill: Backfill, imputation: Imputation, new_share: float, trust: float
) -> None:
    fused = backfill.fused(imputation, new_share=new_share, trust=trust)
    old = backfill.old
    assert fused == [
        FusedHit(*hit, 0) for hit in zip(old.keys.tolist(), old.scores.tolist(), strict=True)
    ]


@given(backfills(migrated=True), imputations | st.just(NO_IMPUTATION), shares)
def test_everything_migrated_and_the_new_version_alone_is_its_ranking(
    backfill: Backfill, imputation: Imputation, trust: float
) -> None:
    fused = backfill.fused(imputation, new_share=1.0, trust=trust)
    new = backfill.new
    assert fused == [
        FusedHit(*hit, 1) for hit in zip(new.keys.tolist(), new.scores.tolist(), strict=True)
    ]


@given(backfills(with_new_only=True), imputations, shares, shares, st.integers(1, DOCUMENTS_MAX))
def test_no_document_comes_twice_or_is_lost_and_unmigrated_ones_keep_their_order(
    backfill: Backfill, imputation: Imputation, new_share: float, trust: float, k: int
) -> None:
    fused = backfill.fused(imputation, k=k, new_share=new_share, trust=trust)
    keys = [hit.key for hit in fused]
    assert len(set(keys)) == len(keys) == min(k, len(backfill.keys))
    left = [key for key in keys if not backfill.migrated[key] and key not in backfill.new_only]
    assert left == backfill.old.keys[~backfill.mask][: len(left)].tolist()
    for hit in fused:
        is_new = backfill.migrated[hit.key] or hit.key in backfill.new_only
        assert hit.source == int(is_new)
        scores = backfill.new_scores if is_new else backfill.old_scores
        assert hit.score == scores[hit.key]


@given(backfills(), shares)
def test_migrated_documents_are_ordered_by_both_versions(backfill: Backfill, trust: float) -> None:
    fused = backfill.fused(trust=trust, new_share=2 / 3)
    moved = [hit for hit in fused if hit.source == 1]
    best = np.array([hit.key for hit in moved], np.int64)
    z_old = _z(backfill.old_scores, backfill.old.scores)
    z_new = _z(backfill.new_scores, backfill.candidates.new_scores)
    combined = (z_old + 2 * z_new)[best]
    assert (np.diff(combined) <= 1e-9).all()


def _z(scores: np.ndarray, reference: np.ndarray) -> np.ndarray:
    if not len(reference) or reference.std() == 0:
        return np.zeros(len(scores))
    return np.asarray((scores - reference.mean()) / reference.std())


@given(backfills(with_new_only=True), st.integers(1, DOCUMENTS_MAX))
def test_evidence_is_imputed_by_what_the_query_found_itself(backfill: Backfill, k: int) -> None:
    fused = backfill.fused(NO_IMPUTATION, k=k, new_share=2 / 3)
    z_old = _z(backfill.old_scores, backfill.old.scores)[backfill.candidates.keys]
    z_new = _z(backfill.candidates.new_scores, backfill.candidates.new_scores)
    if len(z_old):
        own = imputation_of_one(z_old, z_new, backfill.coverage)
        assert fused == backfill.fused(own, k=k, new_share=2 / 3)


def test_one_query_says_what_many_documents_of_it_say() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=20_000)
    learnt = imputation_of_one(x, 0.3 + 0.5 * x + 0.25 * rng.normal(size=len(x)), 0.5)
    assert learnt.intercept == pytest.approx(0.3, abs=0.02)
    assert learnt.slope == pytest.approx(0.5, abs=0.02)
    assert np.std(learnt.spread) == pytest.approx(0.25, rel=0.2)


def test_one_query_without_documents_says_what_is_usual() -> None:
    nothing = np.zeros(0)
    half, whole = (imputation_of_one(nothing, nothing, share) for share in (0.5, 1.0))
    assert whole.slope == half.slope == pytest.approx(0.8)
    assert half.intercept - whole.intercept == pytest.approx(math.log(2))
    assert len(half.spread) == DRAWS
    falling = imputation_of_one(np.arange(50.0), -np.arange(50.0), 1.0)
    assert falling.slope == 0


def test_where_the_unmigrated_have_no_hope_migrated_documents_come_first() -> None:
    count = 40
    moved = np.arange(count) >= count // 2  # the old version's worse half
    backfill = Backfill(-np.arange(count, dtype=np.float64), np.arange(count) / count, moved)
    trusting = backfill.fused(HOPELESS, k=count, trust=1.0)
    assert [hit.source for hit in trusting] == [1] * (count // 2) + [0] * (count // 2)
    assert [hit.key for hit in trusting[:3]] == [39, 38, 37]
    # Without trust the old version's first document stays near the top.
    assert 0 in [hit.key for hit in backfill.fused(HOPELESS, k=3, trust=0.0)]


def test_a_new_only_document_stands_before_the_candidate_that_follows_it() -> None:
    backfill = Backfill(
        np.array([5.0, 4.0, 3.0, 0.0]),
        np.array([0.9, 0.0, 0.1, 0.5]),
        np.array([True, False, True, False]),
        frozenset({3}),
    )
    keys = [hit.key for hit in backfill.fused()]
    assert keys.index(3) == keys.index(2) - 1


def test_a_line_and_its_spread_are_found_again() -> None:
    rng = np.random.default_rng(0)
    observed = []
    for _ in range(60):
        old = rng.normal(size=400)
        new = 0.7 * old + 0.5 * rng.normal(size=400)
        observed.append(Backfill(old, new, rng.random(400) < 0.5).observed())
    learnt = fit_imputation(observed)
    assert learnt.queries == 60
    assert learnt.pairs == sum(int(one.migrated.sum()) for one in observed)
    # What is measured, by hand: old scores of all, new ones of the best 50 of either version.
    x, y = [], []
    for one in observed:
        x.append(_z(one.candidates.old_scores, one.old.scores[:50]))
        y.append(_z(one.candidates.new_scores, np.sort(one.candidates.new_scores)[-50:]))
    slope, intercept = np.polyfit(np.concatenate(x), np.concatenate(y), 1)
    assert learnt.slope == pytest.approx(slope)
    assert learnt.intercept == pytest.approx(intercept)
    residuals = np.concatenate(y) - intercept - slope * np.concatenate(x)
    assert np.mean(residuals < learnt.spread[DRAWS // 2]) == pytest.approx(0.5, abs=0.01)
    assert len(learnt.spread) == DRAWS


def test_versions_that_contradict_each_other_teach_no_falling_line() -> None:
    rng = np.random.default_rng(0)
    old = rng.normal(size=300)
    learnt = fit_imputation([Backfill(old, -old, np.ones(300, bool)).observed()])
    assert learnt.slope == 0


def test_equal_old_scores_teach_the_mean() -> None:
    rng = np.random.default_rng(0)
    learnt = fit_imputation(
        [Backfill(np.zeros(300), rng.normal(size=300), np.ones(300, bool)).observed()]
    )
    assert learnt.slope == 0
    assert np.isfinite(learnt.intercept)


def test_too_little_teaches_nothing() -> None:
    few = Backfill(np.arange(9.0), np.arange(9.0), np.ones(9, bool)).observed()
    assert fit_imputation([]) is NO_IMPUTATION
    assert fit_imputation([few] * (PAIRS_MIN // 9)) is NO_IMPUTATION
    assert fit_imputation([few] * (PAIRS_MIN // 9 + 1)).pairs > PAIRS_MIN


@pytest.mark.parametrize(
    ("slope", "spread"),
    [(-0.1, [0.0]), (float("nan"), [0.0]), (0.5, [0.1, 0.0]), (0.5, [0.0, float("inf")])],
)
def test_an_imputation_that_is_none_is_refused(slope: float, spread: list[float]) -> None:
    with pytest.raises(InvalidArgumentError, match="Imputation"):
        Imputation(0.0, slope, np.array(spread), 1, 1)


def test_contradictions_are_refused() -> None:
    old = Ranking(np.array([1, 2]), np.array([2.0, 1.0]))
    candidates = Candidates(np.array([1]), np.array([2.0]), np.array([0.5]))
    mask = np.array([True, False])

    def ask(mask: np.ndarray, **numbers: float) -> None:
        given = {"coverage": 0.5, "new_share": 0.5, "trust": 0.5, **numbers}
        imputed(old, mask, candidates, k=2, imputation=LINE, **given)  # type: ignore[arg-type]

    ask(mask)
    with pytest.raises(InvalidArgumentError, match="returned twice"):
        ask(np.array([False, False]))
    for name, value in (("coverage", 0.0), ("new_share", 1.5), ("trust", -0.1)):
        with pytest.raises(InvalidArgumentError, match=name):
            ask(mask, **{name: value})
