"""Evidence: dual reads that let all documents compete by what both versions say.

`slots.slots` never asks whether a migrated document belongs before an unmigrated one: slots stay.
Here that is asked, by expected reciprocal ranks under the combined score of both versions. The new
score that an unmigrated document lacks is imputed: what migrated documents with such an old score
have, as a line and the spread around it, an `Imputation`. `imputed` uses one that was learnt from
recent queries, without judgments; the rule "evidence" makes one for each query, from the documents
that the query found itself.

To expect only that much of an unmigrated document makes the new version the judge of the old one.
That is right where it is far better, and wrong where it is not. So the gain is the geometric mean
of that expectation, with weight ``trust``, and of the old rank's reciprocal.

Imputing by several draws is Rubin's (Biometrika 63, 1976); the rest was found by measuring, see
"Quality during a migration" in ``benchmarks/README.md``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from vstore.errors import InvalidArgumentError
from vstore.query.fusion.slots import NEW_WEIGHT, slots_by_evidence, with_new_only
from vstore.query.fusion.standard_scores import standardised
from vstore.query.ranking import FusedHit, check_apart, hits

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from vstore.query.fusion.slots import Candidates
    from vstore.query.ranking import Ranking
    from vstore.types import Array, BoolArray

IMPUTED_DEPTH: Final = 50  # of both rankings; 100 and 200 are no better
NEW_SHARE: Final = 0.9  # of the new version's standard score in the combined one
TRUST: Final = 0.125
DRAWS: Final = 9  # 25 are no better
PAIRS_MIN: Final = 100  # scores of fewer documents say little about a line
EVIDENCE_SHARE: Final = NEW_WEIGHT / (1 + NEW_WEIGHT)  # of the new version, in the rule "evidence"

# What one query's documents are expected to say, and of how many that is worth: the mean over ten
# pairs of models in `benchmarks/quality`. The fewer documents the new version has, the lower does
# its list of the best reach down, and the higher do the same documents stand above it.
_PRIOR_PAIRS: Final = 20
_PRIOR_INTERCEPT: Final = -1.4  # at full coverage; minus its logarithm below
_PRIOR_SLOPE: Final = 0.8
_PRIOR_SPREAD: Final = 1.9  # a standard deviation
# Of a normal distribution, at the middles of nine equal shares.
_QUANTILES: Final = np.array([-1.593219, -0.967422, -0.589456, -0.282216, 0.0,
                              0.282216, 0.589456, 0.967422, 1.593219])  # fmt: skip


class ScoredQuery(NamedTuple):
    """What a dual read fetched for one query: enough to learn from.

    Attributes
    ----------
    old : Ranking
        The old version's `IMPUTED_DEPTH` best documents, migrated or not.
    migrated : bool, as ``old.keys``
    candidates : Candidates
        The migrated ones of them, and the `IMPUTED_DEPTH` best of the new version.
    """

    old: Ranking
    migrated: BoolArray
    candidates: Candidates


@dataclass(frozen=True, slots=True, eq=False)
class Imputation:
    """New standard scores by old ones: ``intercept + slope * old``, and the spread around it.

    Attributes
    ----------
    intercept, slope : float
        The slope is at least 0: a better old score promises no worse new one.
    spread : float64 (m,)
        Residuals, as quantiles in equal steps; ascending. Empty if nothing was learnt.
    queries, pairs : int
        What it was learnt from: queries, and documents with both scores.
    """

    intercept: float
    slope: float
    spread: Array
    queries: int
    pairs: int

    def __post_init__(self) -> None:
        numbers = np.array([self.intercept, self.slope, *self.spread.tolist()])
        if not np.isfinite(numbers).all() or self.slope < 0 or (np.diff(self.spread) < 0).any():
            raise InvalidArgumentError(
                "Imputation: expected finite numbers, a slope of at least 0 and ascending quantiles"
            )


NO_IMPUTATION: Final = Imputation(0.0, 0.0, np.zeros(0), 0, 0)


def fit_imputation(queries: Sequence[ScoredQuery]) -> Imputation:
    """Learn what new scores to expect, by least squares over migrated documents of recent queries.

    Good near the coverage it was learnt at. With fewer than `PAIRS_MIN` documents nothing is
    learnt.
    """
    olds, news, used = [], [], 0
    for old, migrated, candidates in queries:
        old.check_mask(migrated)
        shared = np.isin(candidates.keys, old.keys[migrated])
        if shared.any():
            z_old, z_new = _standard_scores(old, candidates)
            olds.append(z_old[shared])
            news.append(z_new[shared])
            used += 1
    pairs = sum(map(len, olds))
    if pairs < PAIRS_MIN:
        return NO_IMPUTATION
    x, y = np.concatenate(olds), np.concatenate(news)
    variance = x.var()
    slope = (
        max(0.0, float(np.mean((x - x.mean()) * (y - y.mean())) / variance)) if variance else 0.0
    )
    intercept = float(y.mean() - slope * x.mean())
    spread = np.quantile(y - intercept - slope * x, (np.arange(DRAWS) + 0.5) / DRAWS)
    return Imputation(intercept, slope, spread, used, pairs)


def imputed(
    old: Ranking,
    migrated: BoolArray,
    candidates: Candidates,
    *,
    k: int,
    coverage: float,
    imputation: Imputation,
    new_share: float = NEW_SHARE,
    trust: float = TRUST,
    new: Ranking | None = None,
    new_only: Collection[int] = (),
    new_only_share: float = 0.0,
) -> list[FusedHit]:
    """Order all documents by the evidence of both versions, imputing what is not there yet.

    Exactly the old ranking before anything is migrated; after, the new one if ``new_share`` is 1.
    As long as nothing was learnt, each query's own documents say what to expect.

    Parameters
    ----------
    old, migrated, candidates
        As of `ScoredQuery`, or k of each, if that is more.
    coverage : float
        Share of the documents that the new version has, in (0, 1]; any if there is no candidate.
    imputation : Imputation
    new_share : float
        Weight of the new standard score in the combined one, in [0, 1].
    trust : float
        In [0, 1]: how far the imputed ranks are taken for the truth.
    new, new_only, new_only_share
        Documents that live in the new version alone stand before the candidate that follows them
        there.

    Raises
    ------
    InvalidArgumentError
        If a candidate is not migrated according to the old ranking, or a number is out of its
        range.
    """
    if not (0 <= new_share <= 1 and 0 <= trust <= 1):
        raise InvalidArgumentError(f"new_share={new_share}, trust={trust}; expected both in [0, 1]")
    if not len(candidates.keys):
        return slots_by_evidence(
            old,
            migrated,
            candidates,
            k=k,
            depth=IMPUTED_DEPTH,
            new_weight=math.inf if new_share == 1 else new_share / (1 - new_share),
            new=new,
            new_only=new_only,
            new_only_share=new_only_share,
        )
    if not 0 < coverage <= 1:
        raise InvalidArgumentError(f"coverage={coverage}; expected one in (0, 1]")
    old.check_mask(migrated)
    left = ~migrated
    check_apart(old.keys[left], candidates.keys.tolist())

    z_old, z_new = _standard_scores(old, candidates)
    combined = (1 - new_share) * z_old + new_share * z_new
    if not len(imputation.spread):
        shared = np.isin(candidates.keys, old.keys)
        imputation = imputation_of_one(z_old[shared], z_new[shared], coverage)
    waiting = standardised(old.scores[left], old.scores[:IMPUTED_DEPTH])
    expected = imputation.intercept + imputation.slope * waiting
    possible = ((1 - new_share) * waiting + new_share * expected)[:, None] + (
        new_share * imputation.spread
    )
    field = _Field.of(possible, combined, ~np.isin(candidates.keys, old.keys), coverage)
    gains = 1 / (1 + field.above(combined))
    ranks = np.flatnonzero(left) + 1
    judged = _mean_gains(field, possible)
    waiting_gains = np.minimum.accumulate(judged**trust * (1 / ranks) ** (1 - trust))

    order = np.lexsort((candidates.keys, -candidates.new_scores, -combined))
    answers = hits(candidates.keys[order], candidates.new_scores[order], 1)
    if new is not None and new_only:
        answers = with_new_only(answers, hits(new.keys, new.scores, 1), frozenset(new_only))
    gain_of = dict(zip(candidates.keys.tolist(), gains.tolist(), strict=True))
    moved = _with_gains(answers, gain_of)
    unmoved = zip(waiting_gains.tolist(), hits(old.keys[left], old.scores[left], 0), strict=True)
    # Stable: equal gains keep each version's order, and old before new.
    merged = sorted([*unmoved, *moved], key=lambda one: -one[0])
    return [hit for _, hit in merged[:k]]


def imputation_of_one(z_old: Array, z_new: Array, coverage: float) -> Imputation:
    """Return what one query's documents with both scores say, and what is known before.

    Least squares over them and as many imagined documents as the prior is worth, which lie on its
    line with its spread: ridge regression towards the prior.

    Parameters
    ----------
    z_old, z_new : float64 (m,)
        Standard scores of the documents of both rankings' best.
    coverage : float
        In (0, 1].
    """
    n = len(z_old) + _PRIOR_PAIRS
    intercept = _PRIOR_INTERCEPT - math.log(coverage)
    sum_x, sum_y = float(z_old.sum()), float(z_new.sum()) + _PRIOR_PAIRS * intercept
    sum_xx = float(z_old @ z_old) + _PRIOR_PAIRS
    sum_xy = float(z_old @ z_new) + _PRIOR_PAIRS * _PRIOR_SLOPE
    slope = max(0.0, (n * sum_xy - sum_x * sum_y) / (n * sum_xx - sum_x**2))
    intercept = (sum_y - slope * sum_x) / n
    residuals = z_new - intercept - slope * z_old
    variance = (float(residuals @ residuals) + _PRIOR_PAIRS * _PRIOR_SPREAD**2) / n
    return Imputation(intercept, slope, math.sqrt(variance) * _QUANTILES, 1, len(z_old))


def _mean_gains(field: _Field, possible: Array) -> Array:
    """Return the mean reciprocal rank of each unmigrated document over its draws."""
    draws = possible.shape[1]
    # Of its own draws, those above one of them are no rivals.
    own = 1 - (np.arange(draws) + 1) / draws
    return np.asarray((1 / (1 + np.maximum(field.above(possible) - own, 0))).mean(axis=1))


@dataclass(frozen=True, slots=True, eq=False)
class _Field:
    """All that documents compete with, by combined scores; arrays ascend.

    Attributes
    ----------
    candidates
        Of migrated documents.
    unseen
        Of those which the old ranking does not reach. They stand for as many unmigrated ones that
        it does not reach either, by the coverage.
    draws
        What unmigrated documents of the old ranking may have, ``draws_each`` for each document.
    """

    candidates: Array
    unseen: Array
    draws: Array
    draws_each: int
    coverage: float

    @classmethod
    def of(cls, possible: Array, combined: Array, is_unseen: BoolArray, coverage: float) -> _Field:
        return cls(
            np.sort(combined),
            np.sort(combined[is_unseen]),
            np.sort(possible, axis=None),
            possible.shape[1],
            coverage,
        )

    def above(self, scores: Array) -> Array:
        """Return how many documents are expected above each score."""
        return np.asarray(
            _count_above(self.candidates, scores)
            + _count_above(self.draws, scores) / self.draws_each
            + _count_above(self.unseen, scores) * (1 - self.coverage) / self.coverage
        )


def _count_above(ascending: Array, scores: Array) -> Array:
    return np.asarray(len(ascending) - np.searchsorted(ascending, scores, side="right"))


def _standard_scores(old: Ranking, candidates: Candidates) -> tuple[Array, Array]:
    """Return the candidates' standard scores, each version by its own best documents."""
    best_new = np.sort(candidates.new_scores)[::-1][:IMPUTED_DEPTH]
    return (
        standardised(candidates.old_scores, old.scores[:IMPUTED_DEPTH]),
        standardised(candidates.new_scores, best_new),
    )


def _with_gains(answers: list[FusedHit], gain_of: dict[int, float]) -> list[tuple[float, FusedHit]]:
    """Give each answer its gain; one that has none gets that of the next, or else the least."""
    gain = min(gain_of.values())
    answered = []
    for hit in reversed(answers):
        gain = gain_of.get(hit.key, gain)
        answered.append((gain, hit))
    return answered[::-1]
