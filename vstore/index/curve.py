"""How well a graph is searched: recall and cost for some ef, by k, measured when it is built.

A user asks for a recall at some k; this says which ef gives it, how many nodes to look at in full,
and how many candidates to score with their vectors. What holds at one k says nothing about
another: among twenty near-copies of each vector, codes that find the ten best miss the best one.
So recall is measured at several k, and between two of them whatever either needs is done.

The questions are rows of the segment, asked before they became nodes: asked afterwards, WordNet
promises 0.986 where new queries get 0.951. Queries that are unlike all rows are harder still.
"""

from __future__ import annotations

import math
from typing import Final, NamedTuple

KS: Final = (1, 10, 100, 1_000)
_STEP: Final = 10  # from each of them to the next
_FEW: Final = 10  # hits, up to which an ef serves all k
EF_GRID: Final = (
    10, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512, 768, 1_024, 1_536, 2_048, 3_072, 4_096,
)  # fmt: skip
POINTS_MAX: Final = 12
_EF_MAX: Final = 512  # for few hits; for many ten times as many, or the last of the grid
SPARE_MAX: Final = 640  # nodes or candidates beyond k; codes that need more tell nothing apart
_REFINED_PER_EXPANDED: Final = 16
_REFINED_GROWTH: Final = 1 / 3  # with ef; 0, 1/4 and 1/2 are slower on one data set or another
_REFINED_USUAL: Final = 22  # beyond k; where more are needed, it is not for want of width
_WIDE: Final = 128  # the ef at which spares are measured; more for a large k


class CurvePoint(NamedTuple):
    """One measurement.

    Attributes
    ----------
    recall : float
        Mean recall at the curve's k; a row as good as the k-th counts.
    error : float
        How much less it may be: some standard errors of the mean, and what a sample of its size
        cannot see.
    distances : float
        Mean number of distances computed for a query.
    """

    ef: int
    recall: float
    error: float
    distances: float

    @property
    def sure(self) -> float:
        """The recall that is promised."""
        return self.recall - self.error


class RecallCurve(NamedTuple):
    """Measurements at one k, by ascending ef.

    Attributes
    ----------
    keep : int
        Candidates by codes that are scored with their vectors: the fewest that were seen to lose
        nothing.
    refine : int
        Nodes whose codes are looked at in full, after a search of `wide_ef`: one step more than
        were seen to lose nothing. It costs little, and questions may be further off than rows.
    """

    k: int
    keep: int
    refine: int
    points: tuple[CurvePoint, ...] = ()

    def ef_for(self, recall: float) -> int | None:
        """Return the smallest ef measured that gives a recall; None if none does.

        Nothing is read between two points: where rows come in groups of twenty near-copies, recall
        at ten hits is a step at an ef of twenty.
        """
        for point in self.points:
            if point.sure >= recall:
                # Where half codes tell little, as where lengths differ tenfold, questions that are
                # shorter than most rows need more than was measured.
                return max(point.ef, math.ceil(self.refine / _REFINED_PER_EXPANDED))
        return None

    def recall_at(self, ef: float) -> float:
        """Return the recall that an ef gave, 0 below the smallest one measured."""
        return max((point.recall for point in self.points if point.ef <= ef), default=0.0)

    def merged(self, other: RecallCurve) -> RecallCurve:
        """Return what holds for the questions of both curves: the worse recall at each ef."""
        points = []
        for ef in sorted({point.ef for point in (*self.points, *other.points)}):
            mine, theirs = self._at(ef), other._at(ef)
            worse = min(mine, theirs, key=lambda point: point.sure)
            distances = max(mine.distances, theirs.distances)
            points.append(CurvePoint(ef, worse.recall, worse.error, distances))
        keep, refine = max(self.keep, other.keep), max(self.refine, other.refine)
        return RecallCurve(self.k, keep, refine, tuple(points[:POINTS_MAX]))

    def _at(self, ef: int) -> CurvePoint:
        return max((p for p in self.points if p.ef <= ef), default=self.points[0])


class RecallCurves(NamedTuple):
    """Curves of one graph, by ascending k, the first for k = 1; none if nothing was measured."""

    curves: tuple[RecallCurve, ...] = ()

    def around(self, k: float) -> tuple[RecallCurve, ...]:
        """Return the curve of k, or the two between which it lies.

        Beyond the largest k that is ever measured it is the last; beyond the largest one that was
        measured here, as in a small segment, there is none.
        """
        if not self.curves or self.curves[-1].k < min(k, KS[-1]):
            return ()
        below = max(i for i, curve in enumerate(self.curves) if curve.k <= max(k, 1))
        return self.curves[below : below + (1 if self.curves[below].k == k else 2)]

    def keep_for(self, k: int, share: float = 1.0) -> int:
        """Return how many candidates to score with their vectors for k hits.

        Parameters
        ----------
        share : float
            Of the rows that may be returned.
        """
        return k + self._spare(k, share, [curve.keep - curve.k for curve in self.curves])

    def refine_for(self, k: int, ef: float = math.inf, share: float = 1.0) -> int:
        """Return how many nodes to look at in full for k hits, after a search as wide as ef.

        A narrow search has not found most of what half codes would misplace: as many nodes as for
        a wide one took up to a fifth of its time at recall 0.90. But near-copies are all found, and
        half codes tell them apart no better than whole ones do.
        """
        spare = self._spare(k, share, [curve.refine - curve.k for curve in self.curves])
        found: float = min(1.0, ef / wide_ef(k)) ** _REFINED_GROWTH
        narrow = math.ceil((k + min(spare, _REFINED_USUAL)) * found)
        keep = self.keep_for(k, share)
        return max(keep + keep // 4, narrow + max(0, spare - _REFINED_USUAL))

    def _spare(self, k: int, share: float, spares: list[int]) -> int:
        """Return the larger of what both neighbours of k need beyond k.

        The k best of a share of the rows stand among the k / share best of all, and of those that
        codes mistake for them the same share passes.
        """
        near = self.around(k)
        if not near:
            return SPARE_MAX
        by_k = {curve.k: spare for curve, spare in zip(self.curves, spares, strict=True)}
        own = max(by_k[curve.k] for curve in near) * max(1.0, k / near[-1].k)
        # Of all curves up to the first one beyond k / share: each k is at most ten times the last.
        beyond = [spare for at, spare in by_k.items() if k < at < _STEP * k / share]
        return math.ceil(max(own, share * max(beyond, default=0)))

    def ef_for(self, recall: float, k: float) -> int | None:
        """Return the smallest ef that gives a recall at k; None if none of those measured does."""
        near = self.around(k)
        if near and k < _FEW:  # the mean of many hits is more certain than that of one
            near = tuple(curve for curve in self.curves if curve.k <= _FEW)
        found = [curve.ef_for(recall) for curve in near]
        if not found or None in found:
            return None
        efs = [ef for ef in found if ef is not None]
        if k < _FEW:
            return max(efs)
        # In proportion to k, as from the neighbour that needs more for each hit; but what gives
        # the recall at a larger k gives it here.
        ratio = max(ef / curve.k for ef, curve in zip(efs, near, strict=True))
        ef = math.ceil(k * ratio)
        if k <= near[-1].k:
            ef = max(efs[0], min(efs[-1], ef))
        return max(math.ceil(k), ef)

    def recalls_at(self, ef: float, k: int) -> tuple[tuple[int, float], ...]:
        """Return what was measured for an ef: (k, recall) of both neighbours of k, or of k alone.

        For another k it is the recall at an ef that is larger or smaller in proportion.
        """
        near, found = self.around(k), []
        for curve in near:
            further = curve.k > k or k > near[-1].k
            found.append((curve.k, curve.recall_at(ef * curve.k / k if further else ef)))
        return tuple(found) if all(recall for _, recall in found) else ()

    def distances_at(self, ef: int) -> float:
        """Estimate how many distances a search computes: between points, or on from the last."""
        points = {point.ef: point.distances for curve in self.curves for point in curve.points}
        before, distances = 0, 0.0
        for at in sorted(points):
            if at >= ef:
                share = (ef - before) / (at - before)
                return distances + share * (points[at] - distances)
            before, distances = at, points[at]
        return distances * ef / before if before else float(ef)

    def merged(self, other: RecallCurves) -> RecallCurves:
        """Return what holds for the questions of both; a k that one of them lacks as the other."""
        mine, theirs = ({curve.k: curve for curve in one.curves} for one in (self, other))
        return RecallCurves(
            tuple(
                mine[k].merged(theirs[k]) if k in mine and k in theirs else (mine | theirs)[k]
                for k in sorted(mine | theirs)
            )
        )


class GraphRecall(NamedTuple):
    """What was measured of a graph.

    Attributes
    ----------
    rows : RecallCurves
        Hits are rows.
    documents : RecallCurves or None
        Hits are documents, of which the best row counts; None if each has one row.
    """

    rows: RecallCurves = RecallCurves()
    documents: RecallCurves | None = None

    def of(self, *, collapse: bool) -> RecallCurves:
        """Return the curves of the hits that a search returns."""
        return self.documents if collapse and self.documents is not None else self.rows

    def merged(self, other: GraphRecall) -> GraphRecall:
        """Return what holds for the questions of both."""
        documents = None
        if self.documents is not None or other.documents is not None:
            documents = self.of(collapse=True).merged(other.of(collapse=True))
        return GraphRecall(self.rows.merged(other.rows), documents)


def wide_ef(k: int) -> int:
    """Return an ef that finds what there is for k hits: with it spares are measured."""
    return max(_WIDE, 2 * k)


def grid_of(k: int) -> tuple[int, ...]:
    """Return the efs that are measured for k hits."""
    first, last = max(k, EF_GRID[0]), max(_EF_MAX, _STEP * k)
    return (first, *(ef for ef in EF_GRID if first < ef <= last))
