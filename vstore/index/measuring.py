"""Measuring how well a graph is searched, at several k: by exact search, when it is built."""

from __future__ import annotations

import itertools
import math
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from vstore.index import resolution
from vstore.index.curve import (
    KS,
    CurvePoint,
    GraphRecall,
    RecallCurve,
    RecallCurves,
    grid_of,
    wide_ef,
)
from vstore.index.flat import scan
from vstore.index.scan_part import ScanPart
from vstore.native.calls import Question

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from vstore.index.construction import Kernels
    from vstore.index.flat import RankedRows
    from vstore.index.graph import GraphIndex
    from vstore.manifest.spec import Metric
    from vstore.native.arrays import Rows
    from vstore.types import Array

# By k: of many hits each query tells more, and takes longer.
_QUERIES: Final = dict(zip(KS, (400, 250, 100, 32), strict=True))
_CROWDED: Final = 0.3  # share of rows with near-copies: a thousandth where texts differ
_OWN_QUERIES: Final = dict(zip(KS, (200, 100, 0, 0), strict=True))
_SPARE_QUERIES: Final = dict(zip(KS, (100, 100, 32, 8), strict=True))  # of either
# Standard errors that are taken off. For one hit, whose mean is the least certain, the curve of ten
# hits is asked as well.
_ERRORS: Final = dict(zip(KS, (1, 2, 2, 2), strict=True))
# More is not worth measuring, by k.
_ENOUGH: Final = dict(zip(KS, (0.998, 0.9998, 0.9985, 0.9985), strict=True))
QUERIES_MAX: Final = _QUERIES[1]
QUERIES_MIN: Final = 50  # fewer prove nothing
_HELD_OUT_SHARE: Final = 10  # one row in so many is held out, at most
_GROUPS_PER_K: Final = 20  # rows or documents; a larger share of all is scanned as fast
_SPARES: Final = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512)
_REFINED: Final = (6, 14, 22, 38, 54, 86, 118, 182, 246, 374, 502)
_SPARE_LOSS: Final = 0.001  # of recall
_MARGIN: Final = 1.25
_TOGETHER: Final = 10  # hits of a query that are found or missed one by one, at most


class _Sample(NamedTuple):
    """Queries of one kind.

    Attributes
    ----------
    queries : float32 (m, dimension)
    worst : float64 (m,)
        Score of the last of the k hits of each.
    different : float
        Of how many queries these are worth: those with the same best hit tell little more than one,
        as where the longest vectors win every inner product.
    """

    queries: Array
    worst: Array
    different: float

    @classmethod
    def of(cls, queries: Array, found: Sequence[RankedRows], k: int) -> _Sample:
        """Return a sample of the queries whose hits were found."""
        worst = np.array([one.score[k - 1] for one in found])
        _, counts = np.unique([one.row[0] for one in found], return_counts=True)
        different = float(len(found) ** 2 / np.square(counts, dtype=np.float64).sum())
        return cls(queries[: len(found)], worst, different)

    def first(self, count: int) -> _Sample:
        """Return the first few of the queries."""
        return self._replace(queries=self.queries[:count], worst=self.worst[:count])


class RecallProbe(NamedTuple):
    """Rows whose neighbours a graph is asked for, and the rows among which they are sought.

    Attributes
    ----------
    vectors : float32 or float16 (rows, dimension)
    norms : float32 (rows,)
    docno : uint32 (rows,) or None
        Document of each row, ascending; None if each has one row.
    known : bool (rows,)
        Which rows may be found.
    rows : int64 (m,)
        The other ones, to ask for.
    node : uint32 (rows,)
        Node of each row. The graph has all nodes of known rows and no others.
    """

    vectors: Array
    norms: Array
    docno: Array | None
    known: Array
    rows: Array
    node: Array


def held_out(rows: int, new: int) -> int:
    """Return how many of the new rows of a graph to hold out; 0 if that is too few to measure."""
    count = min(QUERIES_MAX, rows // _HELD_OUT_SHARE, new // 2)
    return count if count >= QUERIES_MIN else 0


def measure(
    index: GraphIndex, probe: RecallProbe, metric: Metric, kernels: Kernels, threads: int
) -> GraphRecall:
    """Measure recall against exact search, over rows and over documents."""
    with ThreadPoolExecutor(threads) as pool:
        measurement = _Measurement(index, probe, metric, kernels, (pool, threads))
        everything = np.arange(len(probe.vectors), dtype=np.uint32)
        rows = measurement.curves(everything, distinct=True)
        if probe.docno is None:
            return GraphRecall(rows)
        return GraphRecall(rows, measurement.curves(probe.docno, distinct=False))


class _Measurement:
    """Measures one graph; the answers do not depend on the number of threads."""

    def __init__(
        self,
        index: GraphIndex,
        probe: RecallProbe,
        metric: Metric,
        kernels: Kernels,
        workers: tuple[ThreadPoolExecutor, int],
    ) -> None:
        self._index, self._probe, self._metric, self._kernels = index, probe, metric, kernels
        self._pool, self._threads = workers
        self._allowed: tuple[Array, Array] | None = None
        nodes = index.arrays.nodes
        if bool((probe.node[probe.rows] < nodes).any()):  # rows whose codes others have as well
            nodes_allowed = np.zeros(nodes, np.bool_)
            nodes_allowed[probe.node[probe.known]] = True
            self._allowed = nodes_allowed, probe.known

    def curves(self, groups: Array, *, distinct: bool) -> RecallCurves:
        """Return a curve for each k that is small beside what there is.

        Parameters
        ----------
        groups, distinct
            As in `ScanPart`.
        """
        probe = self._probe
        part = ScanPart(probe.vectors, probe.norms, groups, distinct, probe.known)
        rows = self._index.rows_of(probe.vectors, self._metric, None if distinct else groups)
        available = len(np.unique(groups[probe.known]))
        ks = [k for k in KS if k == 1 or k * _GROUPS_PER_K <= available]
        known = np.flatnonzero(probe.known)
        spread = np.linspace(0, len(known) - 1, _OWN_QUERIES[1]).astype(np.int64)
        kinds = [
            (probe.vectors[probe.rows].astype(np.float32), _QUERIES),
            # In a graph, but as anyone's near-copy: hard to reach for a row that few link to.
            (probe.vectors[known[spread]].astype(np.float32), _OWN_QUERIES),
        ]
        if resolution.crowded_share(self._index.arrays, probe.node[probe.known]) > _CROWDED:
            # Between near-copies of different rows, where their own neighbours do not lead.
            pairs = kinds[1][0]
            between = (pairs + np.roll(pairs, len(pairs) // 2, axis=0)) / 2
            kinds.append((between.astype(np.float32), _OWN_QUERIES))
        curves = []
        for few, many in itertools.zip_longest(ks[::2], ks[1::2]):  # one scan for two of them
            found = [
                (queries, counts, scan([part], queries[: counts[few]], self._metric, many or few))
                for queries, counts in kinds
                if counts[few]
            ]
            for k in (few, many):
                if k is not None:
                    samples = [_Sample.of(q, hits[: count[k]], k) for q, count, hits in found]
                    curves.append(self._curve(rows, samples, k))
        return RecallCurves(tuple(curves))

    def _curve(self, rows: Rows, samples: Sequence[_Sample], k: int) -> RecallCurve:
        some = [sample.first(_SPARE_QUERIES[k]) for sample in samples]

        def lossless(spares: Sequence[int], curve_of: Callable[[int], RecallCurve]) -> int:
            """Return the place of the first spare that loses nothing; more are never worse."""

            def recall(place: int) -> float:
                curve = curve_of(k + spares[place])
                found = [self._recalls(rows, curve, wide_ef(k), sample)[0] for sample in some]
                return float(np.concatenate(found).mean())

            enough = recall(len(spares) - 1) - _SPARE_LOSS
            low, high = 0, len(spares) - 1
            while low < high:
                middle = (low + high) // 2
                low, high = (low, middle) if recall(middle) >= enough else (middle + 1, high)
            return low

        most = k + _REFINED[-1]
        keep = k + _SPARES[lossless(_SPARES, lambda keep: RecallCurve(k, keep, most))]
        step = lossless(_REFINED, lambda refine: RecallCurve(k, keep, refine))
        curve = RecallCurve(k, keep, k + _REFINED[min(step + 1, len(_REFINED) - 1)])
        points: list[CurvePoint] = []
        for ef in grid_of(k):
            measured = [self._point(rows, curve, ef, sample) for sample in samples]
            points.append(min(measured, key=lambda point: point.sure))
            if points[-1].recall >= _ENOUGH[k]:
                break
        # With the rows that were held out, each has more near-copies, and more is in the way.
        more = len(self._probe.known) / np.count_nonzero(self._probe.known)
        wider = tuple(point._replace(ef=math.ceil(more * point.ef)) for point in points)
        return curve._replace(keep=k + int(_MARGIN * (keep - k)), points=wider)

    def _point(self, rows: Rows, curve: RecallCurve, ef: int, sample: _Sample) -> CurvePoint:
        found, distances = self._recalls(rows, curve, ef, sample)
        deviation = _ERRORS[curve.k] * float(found.std()) / sample.different**0.5
        unseen = 1 / (sample.different * min(curve.k, _TOGETHER))
        return CurvePoint(ef, float(found.mean()), max(deviation, unseen), distances)

    def _recalls(
        self, rows: Rows, curve: RecallCurve, ef: int, sample: _Sample
    ) -> tuple[Array, float]:
        """Return each query's recall, and the mean number of distances."""
        k, one = curve.k, RecallCurves((curve,))
        refine, keep = one.refine_for(k, ef), one.keep_for(k)
        question = Question(ef, max(ef, refine), refine, keep, k, None, self._allowed)
        answered = list(
            self._pool.map(
                lambda some: self._index.answer(self._kernels, rows, some, question),
                np.array_split(sample.queries, min(self._threads, len(sample.queries))),
            )
        )
        scores = np.concatenate([answer.score for answer in answered])
        distances = np.concatenate([answer.distances for answer in answered])
        followed = distances > 0  # the others are answered by a scan
        if not followed.any():
            return np.zeros(1), 0.0
        found = scores[followed] >= sample.worst[followed, None]
        return found.mean(axis=1), float(distances[followed].mean())
