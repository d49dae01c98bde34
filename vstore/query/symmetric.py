"""Fusion rules that treat all lists alike, and add up a document's contributions."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

import numpy as np

from vstore.query.ranking import Fused

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from vstore.query.ranking import Ranking
    from vstore.types import Array

RRF_CONSTANT: Final = 60  # the value of the paper `rrf` names
_DBSF_SIGMAS: Final = 3.0


def rrf(rankings: Sequence[Ranking], *, k: int, constant: float = RRF_CONSTANT) -> list[Fused]:
    """Fuse by reciprocal rank: the sum of ``1 / (constant + rank)``, ranks from 1.

    Cormack, Clarke, Buettcher: Reciprocal rank fusion outperforms Condorcet and individual rank
    learning methods, SIGIR 2009. Deaf to scores, and to how much longer one list is than another.
    """
    return _summed(rankings, lambda r: 1.0 / (constant + np.arange(1, len(r) + 1)), k)


def zscore(rankings: Sequence[Ranking], *, k: int) -> list[Fused]:
    """Fuse by the sum of standard scores, each list by its own mean and standard deviation.

    A list of one document, or of equal scores, contributes 0 for each.
    """
    return _summed(rankings, lambda r: standardised(r.scores, r.scores), k)


def dbsf(rankings: Sequence[Ranking], *, k: int) -> list[Fused]:
    """Distribution-based score fusion: the sum of scores scaled so that mean -/+ 3 sigma are 0, 1.

    Mazzeschi, 2023 (github.com/atlantis-nova/hybrid-dbsf); Qdrant's ``dbsf``. As in both, scores
    beyond 3 sigma are not clipped: that would tie a list's best documents. So over disjoint lists
    the order is that of `zscore`. Where lists overlap a document gains from every list it is in. A
    list of one document, or of equal scores, contributes 0.5 for each. Sigma is the population's.
    """
    return _summed(
        rankings,
        lambda r: 0.5 + standardised(r.scores, r.scores) / (2 * _DBSF_SIGMAS),
        k,
    )


def min_max(rankings: Sequence[Ranking], *, k: int) -> list[Fused]:
    """Fuse by the sum of scores scaled so that each list's worst is 0 and its best 1 (CombSUM).

    Fox and Shaw, TREC-2, 1994, with the scaling of Lee, SIGIR 1997. A list of one document, or of
    equal scores, contributes 1 for each: nothing in it is worse than its best.
    """
    return _summed(rankings, _scaled, k)


def _scaled(ranking: Ranking) -> Array:
    low, high = ranking.scores.min(), ranking.scores.max()
    if high == low:
        return np.ones(len(ranking))
    return np.asarray((ranking.scores - low) / (high - low))


def standardised(scores: Array, reference: Array) -> Array:
    """Return scores in standard deviations of the reference above its mean; 0 if it has none."""
    # Equal scores are asked for by comparison: their computed deviation need not be 0.
    if not len(reference) or reference.min() == reference.max():
        return np.zeros(len(scores))
    deviation = reference.std()
    if deviation == 0:  # distinct scores so close that their variance underflows
        return np.zeros(len(scores))
    return np.asarray((scores - reference.mean()) / deviation)


def _summed(
    rankings: Sequence[Ranking], contribution: Callable[[Ranking], Array], k: int
) -> list[Fused]:
    """Order by summed contributions, then by key; the largest one names the source.

    The earlier list is the source of equal contributions. Lists can be permuted without moving a
    sum by a bit, hence ``fsum``.
    """
    shares: dict[int, list[tuple[float, int]]] = {}
    for source, ranking in enumerate(rankings):
        if not len(ranking):
            continue
        gains = contribution(ranking).tolist()
        for key, gain in zip(ranking.keys.tolist(), gains, strict=True):
            shares.setdefault(key, []).append((gain, -source))
    fused = [
        Fused(key, math.fsum(gain for gain, _ in given), -max(given)[1])
        for key, given in shares.items()
    ]
    return sorted(fused, key=lambda hit: (-hit.score, hit.key))[:k]
