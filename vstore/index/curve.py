"""How well a graph is searched: recall at 10 and cost for some ef, measured when it is built.

A user asks for a recall; this says which ef gives it. The questions are rows of the segment, asked
before they became nodes: asked afterwards, WordNet promises 0.986 where new queries get 0.951.
Queries that are unlike all rows are harder still.
"""

from __future__ import annotations

import math
from typing import Final

from vstore.named import NamedTuple

EF_GRID: Final = (10, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512)
SAMPLE_ROWS: Final = 100
K: Final = 10
RESCORED: Final = (1.1, 1.2, 1.5, 2.0, 4.0, 8.0)
REFINED: Final = (1.6, 2.4, 3.2, 4.8, 6.4, 9.6, 12.8, 19.2, 25.6, 38.4, 51.2)
_REFINED_PER_EXPANDED: Final = 16
_REFINED_GROWTH: Final = 1 / 3  # with ef; 0, 1/4 and 1/2 are slower on one data set or another
FACTOR_EF: Final = 128  # at which both are measured
FACTOR_LOSS: Final = 0.001  # of recall


class CurvePoint(NamedTuple):
    """One measurement.

    Attributes
    ----------
    recall : float
        Mean recall at 10; a row as good as the tenth counts.
    distances : float
        Mean number of distances computed for a query.
    """

    ef: int
    recall: float
    distances: float


class RecallCurve(NamedTuple):
    """Measurements, by ascending ef.

    Attributes
    ----------
    rescored : float
        Candidates by codes that are scored with their vectors for each hit that is wanted: the
        fewest that were seen to lose nothing.
    refined : float
        Nodes whose codes are looked at in full, one step more than were seen to lose nothing: it
        costs little, and questions may be further off than rows.
    """

    points: tuple[CurvePoint, ...] = ()
    rescored: float = RESCORED[-1]
    refined: float = REFINED[-1]

    def keep_for(self, k: int) -> int:
        """Return how many candidates to score with their vectors for k hits."""
        return max(k + 2 if k < K else k + 1, math.ceil(self.rescored * k))

    def refine_for(self, k: int, ef: float = FACTOR_EF) -> int:
        """Return how many nodes to look at in full for k hits, after a search as wide as ef.

        A narrow search has not found most of what half codes would misplace: as many nodes as for
        a wide one took up to a fifth of its time at recall 0.90.
        """
        share: float = min(1.0, ef * K / (k * FACTOR_EF)) ** _REFINED_GROWTH
        return max(self.keep_for(k), math.ceil(self.refined * k * share))

    def ef_for(self, recall: float, k: int) -> int | None:
        """Return the smallest ef that gives a recall; None if none of those measured does.

        A larger k needs an ef larger in proportion. Where half codes tell little, as where lengths
        differ tenfold, questions that are shorter than most rows need more than was measured.
        """
        for point in self.points:
            if point.recall >= recall:
                ef = max(point.ef, math.ceil(self.refined * K / _REFINED_PER_EXPANDED))
                return max(k, -(-ef * max(k, K) // K))
        return None

    def recall_at(self, ef: int) -> float:
        """Return the recall that an ef gave, 0 below the smallest one measured."""
        return max((point.recall for point in self.points if point.ef <= ef), default=0.0)

    def distances_at(self, ef: int) -> float:
        """Estimate how many distances a search computes: between points, or on from the last."""
        before = CurvePoint(0, 0.0, 0.0)
        for point in self.points:
            if point.ef >= ef:
                share = (ef - before.ef) / (point.ef - before.ef)
                return before.distances + share * (point.distances - before.distances)
            before = point
        return before.distances * ef / before.ef if before.ef else float(ef)
