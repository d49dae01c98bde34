"""Expected gain: a dual read that takes the new version's ranking for the truth, as far as asked.

A migrated document gains the reciprocal of its rank in the new version, were all documents
migrated: its rank among the migrated / coverage. An unmigrated one has no rank there. What it can
be expected to gain, given its rank in the old version, is learnt from documents that have both
ranks, over recent queries and without judgments: a `GainCurve`.

That is right where the new version is far better. Where both are about as good, it is not: the old
version's best document is then better than the new version says on average, and expecting only
that much of it pushes it out. So ``trust`` says how far to go. At 0 ranks are compared as they are,
which is nearly `slots.slots`; between, the gain is the geometric mean of both views.

Before the first document is migrated the answer is the old ranking, and after the last one the new
one, whatever the curve: two lists are merged, each in its own order.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from benchmarks.quality.isotonic import antitonic
from vstore.errors import InvalidArgumentError
from vstore.query.ranking import FusedHit, check_apart, hits

if TYPE_CHECKING:
    from collections.abc import Sequence

    from vstore.query.ranking import Ranking
    from vstore.types import Array, BoolArray

# All trust (1) was never better: by .005 to .017 nDCG@10 worse on SciFact where the new version is
# far better, by up to .11 where it is not.
TRUST: Final = 0.5


class Observation(NamedTuple):
    """What a dual read saw of one query: enough to learn from.

    Attributes
    ----------
    old : Ranking
        The old version's best documents, migrated or not; about 100 of them.
    migrated : bool, as ``old.keys``
    new : Ranking
        The new version's best documents; about as many.
    coverage : float
        Share of the documents that the new version has, in (0, 1].
    """

    old: Ranking
    migrated: BoolArray
    new: Ranking
    coverage: float


@dataclass(frozen=True, slots=True, eq=False)
class GainCurve:
    """The expected gain of an unmigrated document by its rank in the old version.

    Attributes
    ----------
    ranks : int64 (m,)
        Ascending, from 1 on; empty if nothing was learnt.
    gains : float64 (m,)
        In (0, 1], never rising.
    queries, pairs : int
        What it was learnt from: queries, and documents with both ranks.
    """

    ranks: Array
    gains: Array
    queries: int
    pairs: int

    def __post_init__(self) -> None:
        if self.ranks.ndim != 1 or self.ranks.shape != self.gains.shape:
            raise InvalidArgumentError(
                f"GainCurve: ranks of shape {self.ranks.shape} and gains of shape "
                f"{self.gains.shape}; expected two one-dimensional arrays of one length"
            )
        if len(self.ranks) and (
            self.ranks[0] < 1
            or (np.diff(self.ranks) <= 0).any()
            or not ((self.gains > 0) & (self.gains <= 1)).all()
            or (np.diff(self.gains) > 0).any()
        ):
            raise InvalidArgumentError(
                "GainCurve: expected ascending ranks from 1 on, and gains in (0, 1] that never rise"
            )

    def at(self, ranks: Array) -> Array:
        """Return the expected gain at ranks (n,); the rank's reciprocal if nothing was learnt.

        Linear between the ranks that were seen, and level outside of them.
        """
        if not len(self.ranks):
            return np.asarray(1.0 / ranks)
        return np.interp(ranks, self.ranks, self.gains)


NO_CURVE: Final = GainCurve(np.zeros(0, np.int64), np.zeros(0), 0, 0)


def fit_gain_curve(observations: Sequence[Observation]) -> GainCurve:
    """Learn what to expect of an unmigrated document, from migrated ones of recent queries.

    The mean gain at each old rank, pooled over the queries, fitted by a curve that never rises.
    A document that is not among the new version's best is taken for the one after the last.
    """
    ranks, gains, queries = [], [], 0
    for old, migrated, new, coverage in observations:
        old.check_mask(migrated)
        if not migrated.any():
            continue
        place = {key: rank for rank, key in enumerate(new.keys.tolist(), 1)}
        after = len(new) + 1
        found = [place.get(key, after) for key in old.keys[migrated].tolist()]
        ranks.append(np.flatnonzero(migrated) + 1)
        gains.append(_reciprocal(np.array(found), coverage))
        queries += 1
    if not ranks:
        return NO_CURVE
    seen, inverse, counts = np.unique(
        np.concatenate(ranks), return_inverse=True, return_counts=True
    )
    means = np.bincount(inverse, weights=np.concatenate(gains)) / counts
    return GainCurve(seen, antitonic(means, counts.astype(np.float64)), queries, int(counts.sum()))


def expected_gain(
    old: Ranking,
    new: Ranking,
    migrated: BoolArray,
    *,
    k: int,
    coverage: float,
    curve: GainCurve = NO_CURVE,
    trust: float = TRUST,
) -> list[FusedHit]:
    """Order documents by what they gain in the new version, or can be expected to.

    Parameters
    ----------
    old : Ranking
        All documents that have old rows, or their top k.
    new : Ranking
        Documents that have new rows, or their top k. Those that live only in the new version need
        no care: they have a rank there.
    migrated : bool, as ``old.keys``
        Which documents of the old ranking have fresh new rows.
    coverage : float
        Share of the documents that the new version has, in [0, 1]; above 0 if ``new`` has any.
    curve : GainCurve
    trust : float
        In [0, 1]: how far the new version's ranking is taken for the truth.

    Returns
    -------
    list of FusedHit
        Scores are gains.

    Raises
    ------
    InvalidArgumentError
        If ``new`` has a document that the old ranking says it cannot have, or a number is out of
        its range.
    """
    if not 0 <= trust <= 1:
        raise InvalidArgumentError(f"trust={trust}; expected one in [0, 1]")
    old.check_mask(migrated)
    check_apart(old.keys[~migrated], new.keys.tolist())
    ranks = np.flatnonzero(~migrated) + 1
    expected = curve.at(ranks) ** trust * (1.0 / ranks) ** (1 - trust)
    gained = _reciprocal(np.arange(1, len(new) + 1), coverage)
    # Stable: equal gains keep each list's order, and old before new.
    merged = sorted(
        [
            *hits(old.keys[~migrated], np.minimum.accumulate(expected), 0),
            *hits(new.keys, gained, 1),
        ],
        key=lambda hit: -hit.score,
    )
    return merged[:k]


def _reciprocal(ranks_among_migrated: Array, coverage: float) -> Array:
    """Return the gain by estimated full rank; see the module."""
    if not len(ranks_among_migrated):
        return np.zeros(0)
    if not 0 < coverage <= 1:
        raise InvalidArgumentError(
            f"coverage={coverage}; expected one in (0, 1], since the new version has documents"
        )
    # The i-th of a random share c of n places stands, on average, at (i - 1/2) / c + 1/2.
    return np.asarray(1.0 / ((ranks_among_migrated - 0.5) / coverage + 0.5))
