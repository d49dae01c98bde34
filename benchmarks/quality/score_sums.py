"""Fusion rules that treat all lists alike, and add up a document's contributions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from vstore.query.fusion.reciprocal_rank import summed
from vstore.query.fusion.standard_scores import standardised

if TYPE_CHECKING:
    from collections.abc import Sequence

    from vstore.query.ranking import FusedHit, Ranking
    from vstore.types import Array

_DBSF_SIGMAS: Final = 3.0


def zscore(rankings: Sequence[Ranking], *, k: int) -> list[FusedHit]:
    """Fuse by the sum of standard scores, each list by its own mean and standard deviation.

    A list of one document, or of equal scores, contributes 0 for each.
    """
    return summed(rankings, lambda r: standardised(r.scores, r.scores), k)


def dbsf(rankings: Sequence[Ranking], *, k: int) -> list[FusedHit]:
    """Distribution-based score fusion: the sum of scores scaled so that mean -/+ 3 sigma are 0, 1.

    Mazzeschi, 2023 (github.com/atlantis-nova/hybrid-dbsf); Qdrant's ``dbsf``. As in both, scores
    beyond 3 sigma are not clipped: that would tie a list's best documents. So over disjoint lists
    the order is that of `zscore`. Where lists overlap a document gains from every list it is in. A
    list of one document, or of equal scores, contributes 0.5 for each. Sigma is the population's.
    """
    return summed(
        rankings,
        lambda r: 0.5 + standardised(r.scores, r.scores) / (2 * _DBSF_SIGMAS),
        k,
    )


def min_max(rankings: Sequence[Ranking], *, k: int) -> list[FusedHit]:
    """Fuse by the sum of scores scaled so that each list's worst is 0 and its best 1 (CombSUM).

    Fox and Shaw, TREC-2, 1994, with the scaling of Lee, SIGIR 1997. A list of one document, or of
    equal scores, contributes 1 for each: nothing in it is worse than its best.
    """
    return summed(rankings, _scaled, k)


def _scaled(ranking: Ranking) -> Array:
    low, high = ranking.scores.min(), ranking.scores.max()
    if high == low:
        return np.ones(len(ranking))
    return np.asarray((ranking.scores - low) / (high - low))
