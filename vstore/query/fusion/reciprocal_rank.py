"""Reciprocal rank fusion: treats lists alike, and sums a document's contributions."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

import numpy as np

from vstore.query.ranking import FusedHit

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from vstore.query.ranking import Ranking
    from vstore.types import Array

RRF_CONSTANT: Final = 60  # the value in the paper that `rrf` cites
RRF_DEPTH: Final = 100  # hits per version


def rrf(rankings: Sequence[Ranking], *, k: int, constant: float = RRF_CONSTANT) -> list[FusedHit]:
    """Fuse by the sum of ``1 / (constant + rank)``, ranks from 1.

    Cormack, Clarke, Buettcher: Reciprocal rank fusion outperforms Condorcet and individual rank
    learning methods, SIGIR 2009. Ignores scores and the lengths of the lists.
    """
    return summed(rankings, lambda r: 1.0 / (constant + np.arange(1, len(r) + 1)), k)


def summed(
    rankings: Sequence[Ranking], contribution: Callable[[Ranking], Array], k: int
) -> list[FusedHit]:
    """Order by summed contributions, then by key; the largest contribution names the source.

    Among equal contributions, the earlier list is the source. ``fsum`` makes sums independent of
    the order of lists, to the bit.
    """
    shares: dict[int, list[tuple[float, int]]] = {}
    for source, ranking in enumerate(rankings):
        if not len(ranking):
            continue
        gains = contribution(ranking).tolist()
        for key, gain in zip(ranking.keys.tolist(), gains, strict=True):
            shares.setdefault(key, []).append((gain, -source))
    fused = [
        FusedHit(key, math.fsum(gain for gain, _ in given), -max(given)[1])
        for key, given in shares.items()
    ]
    return sorted(fused, key=lambda hit: (-hit.score, hit.key))[:k]
