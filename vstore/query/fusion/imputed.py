"""Evidence: dual reads in which all documents compete by the scores of both versions.

`slots.slots` never decides whether a migrated document belongs before an unmigrated one: slots
stay. The rules here decide it, by expected reciprocal ranks under the combined score of both
versions. The new score that an unmigrated document lacks is imputed from migrated documents with a
similar old score, as a regression line and the spread around it: an `Imputation`. `imputed` uses an
imputation fitted to recent queries, without judgments; the rule "evidence" fits one for each query,
to the documents that the query itself found.

Ranking unmigrated documents by the imputed score alone makes the new version the judge of the old
one. That is right where the new version is far better, and wrong elsewhere. So the gain of an
unmigrated document is the geometric mean of its expected reciprocal rank, with weight ``trust``,
and the reciprocal of its old rank.

Multiple imputation is Rubin's (Biometrika 63, 1976); the rest was found by measuring, see "Quality
during a migration" in ``benchmarks/README.md``.
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
NEW_SHARE: Final = 0.9  # weight of the new standard score in the combined score
TRUST: Final = 0.125
DRAWS: Final = 9  # 25 are no better
PAIRS_MIN: Final = 100  # with fewer documents a fitted line is unreliable
EVIDENCE_SHARE: Final = NEW_WEIGHT / (1 + NEW_WEIGHT)  # `NEW_SHARE` of the rule "evidence"

# Prior of one query's regression, and the number of pairs that it counts for: means over ten pairs
# of models in `benchmarks/quality`. The fewer documents the new version has, the lower the scores
# at the end of its top list, and the higher the same document's standard score.
_PRIOR_PAIRS: Final = 20
_PRIOR_INTERCEPT: Final = -1.4  # at full coverage; minus its logarithm below
_PRIOR_SLOPE: Final = 0.8
_PRIOR_SPREAD: Final = 1.9  # a standard deviation
# Quantiles of the normal distribution, at the midpoints of nine equal shares.
_QUANTILES: Final = np.array([-1.593219, -0.967422, -0.589456, -0.282216, 0.0,
                              0.282216, 0.589456, 0.967422, 1.593219])  # fmt: skip


class ScoredQuery(NamedTuple):
    """Hits and scores of a dual read of one query, to fit an imputation to.

    Attributes
    ----------
    old : Ranking
        The old version's `IMPUTED_DEPTH` best documents, migrated or not.
    migrated : bool, as ``old.keys``
    candidates : Candidates
        The migrated documents of ``old``, and the `IMPUTED_DEPTH` best of the new version.
    """

    old: Ranking
    migrated: BoolArray
    candidates: Candidates


@dataclass(frozen=True, slots=True, eq=False)
class Imputation:
    """Regression of new standard scores on old ones: ``intercept + slope * old``, and the spread.

    Attributes
    ----------
    intercept, slope : float
        The slope is at least 0: a better old score never predicts a worse new one.
    spread : float64 (m,)
        Residuals, as equally spaced quantiles, ascending. Empty if nothing was fitted.
    queries, pairs : int
        Number of queries, and of documents with both scores, that it was fitted to.
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
    """Fit an imputation by least squares, over migrated documents of recent queries.

    The fit is good near the coverage at the time. With fewer than `PAIRS_MIN` documents, return
    `NO_IMPUTATION`.
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
    """Order all documents by the evidence of both versions, imputing missing new scores.

    Exactly the old ranking before anything is migrated; after all is migrated, the new one if
    ``new_share`` is 1. With `NO_IMPUTATION`, one is fitted to the query's own documents.

    Parameters
    ----------
    old, migrated, candidates
        As in `ScoredQuery`, or k of each, if that is more.
    coverage : float
        Share of the documents that the new version has, in (0, 1]; any if there is no candidate.
    imputation : Imputation
    new_share : float
        Weight of the new standard score in the combined one, in [0, 1].
    trust : float
        Weight of the imputed ranks against the old ranks, in [0, 1].
    new, new_only, new_only_share
        As for `slots.slots_by_evidence`, to place documents that live in the new version alone.

    Raises
    ------
    InvalidArgumentError
        If the old ranking has a candidate as unmigrated, or a number is out of its range.
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
    """Fit an imputation to one query's documents with both scores, and the prior.

    Least squares over these documents and `_PRIOR_PAIRS` pseudo-documents, which lie on the prior's
    line with its spread: ridge regression towards the prior.

    Parameters
    ----------
    z_old, z_new : float64 (m,)
        Standard scores of the documents that are among the best of both rankings.
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
    # A document's draws above one of its own draws are not rivals.
    own = 1 - (np.arange(draws) + 1) / draws
    return np.asarray((1 / (1 + np.maximum(field.above(possible) - own, 0))).mean(axis=1))


@dataclass(frozen=True, slots=True, eq=False)
class _Field:
    """Combined scores of all competitors; arrays ascend.

    Attributes
    ----------
    candidates
        Scores of migrated documents.
    unseen
        Scores of the candidates outside the old ranking. By the coverage, they also stand for
        unmigrated documents outside the old ranking.
    draws
        Imputed scores of unmigrated documents of the old ranking, ``draws_each`` for each.
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
        """Return the expected number of documents above each score."""
        return np.asarray(
            _count_above(self.candidates, scores)
            + _count_above(self.draws, scores) / self.draws_each
            + _count_above(self.unseen, scores) * (1 - self.coverage) / self.coverage
        )


def _count_above(ascending: Array, scores: Array) -> Array:
    return np.asarray(len(ascending) - np.searchsorted(ascending, scores, side="right"))


def _standard_scores(old: Ranking, candidates: Candidates) -> tuple[Array, Array]:
    """Return the candidates' old and new standard scores, relative to each version's best."""
    best_new = np.sort(candidates.new_scores)[::-1][:IMPUTED_DEPTH]
    return (
        standardised(candidates.old_scores, old.scores[:IMPUTED_DEPTH]),
        standardised(candidates.new_scores, best_new),
    )


def _with_gains(answers: list[FusedHit], gain_of: dict[int, float]) -> list[tuple[float, FusedHit]]:
    """Pair each answer with its gain; one without takes the next answer's, or the least gain."""
    gain = min(gain_of.values())
    answered = []
    for hit in reversed(answers):
        gain = gain_of.get(hit.key, gain)
        answered.append((gain, hit))
    return answered[::-1]
