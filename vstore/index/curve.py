"""How well a graph is searched: recall at 10 and cost for some ef, measured when it is built.

A user asks for a recall; this says which ef gives it. The questions are rows of the segment, asked
before they became nodes: asked afterwards, WordNet promises 0.986 where new queries get 0.951.
Queries that are unlike all rows are harder still.
"""

from __future__ import annotations

from typing import Final, NamedTuple

EF_GRID: Final = (10, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512)
SAMPLE_ROWS: Final = 100
K: Final = 10


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
    """Measurements, by ascending ef."""

    points: tuple[CurvePoint, ...]

    def ef_for(self, recall: float, k: int) -> int | None:
        """Return the smallest ef that gives a recall; None if none of those measured does.

        A larger k needs an ef larger in proportion.
        """
        for point in self.points:
            if point.recall >= recall:
                return max(k, -(-point.ef * max(k, K) // K))
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
