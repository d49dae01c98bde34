"""Exact search: a scan in float32 that is made exact, and the same on every machine, by rescoring.

BLAS sums in an order that depends on shapes and threads, so float32 scores differ in their last
bits. The scan therefore keeps every row within twice the rounding bound of the k-th best, and those
few are scored again in float64, in one fixed order. The result is the true top k.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from vstore.deferred import Deferred
from vstore.index.scan_part import ScanPart

if TYPE_CHECKING:
    from collections.abc import Sequence

    from vstore.manifest.spec import Metric
    from vstore.native import reference
    from vstore.types import Array, IntArray
else:  # a search by codes does not need it
    reference = Deferred("vstore.native.reference")

_UNIT_ROUNDOFF: Final = 2.0**-24  # of float32
_SCORES_MAX: Final = 1 << 21  # scores held at once, 8 MiB: about what a core's cache keeps
_BLOCK_ROWS_MIN: Final = 1024
_FLOAT32_MAX: Final = float(np.finfo(np.float32).max)
_FIRST_BLOCK_ROWS: Final = 16_384  # selecting from few rows sets a floor, the rest is compared
_PRODUCT_MIN: Final = 1e-30  # of lengths: below, float32 loses digits; above, it may overflow
_PRODUCT_MAX: Final = 1e37
_GATHER_SHARE: Final = 0.05  # with fewer rows allowed, copying them beats scoring all


class RankedRows(NamedTuple):
    """Rows found for one query, best first."""

    part: IntArray
    row: IntArray
    score: Array  # float64; larger is better


def scan(parts: Sequence[ScanPart], queries: Array, metric: Metric, k: int) -> list[RankedRows]:
    """Return the k best groups of all parts for each query.

    Parameters
    ----------
    parts : sequence of ScanPart
        A group has rows in one part only.
    queries : float32 (m, dimension)
    metric : {"cosine", "inner_product", "l2"}
        Scores are cosine similarity, inner product, or minus the Euclidean distance.
    k : int

    Returns
    -------
    list of RankedRows
        One per query, at most k rows each, one per group. Ties go to the smaller group, then to
        the earlier row.
    """
    if not len(queries) or not parts:
        none = np.zeros(0, np.int64)
        return [RankedRows(none, none, np.zeros(0)) for _ in queries]
    pools = [_Pool(k) for _ in queries]
    lengths = np.sqrt(np.einsum("ij,ij->i", queries, queries, dtype=np.float64))
    # One margin for all parts: the k-th best may be in one, its rival in another.
    margins = 2 * np.max([_rounding_bound(part, lengths, metric) for part in parts], axis=0)
    narrowed = [
        _NarrowedPart.of(number, part, margins, wide=_exceeds_float32(part, lengths, metric))
        for number, part in enumerate(parts)
    ]
    for part in narrowed:
        for start, end in part.blocks(len(queries)):
            _collect(pools, part.scores(queries, metric, start, end), part, start, end)
    return [
        _rescored(pool, narrowed, query, metric, k)
        for pool, query in zip(pools, queries, strict=True)
    ]


class _NarrowedPart(NamedTuple):
    """A part, reduced to its allowed rows where that is cheaper."""

    number: int
    whole: ScanPart
    part: ScanPart
    rows: IntArray | None  # rows of the whole, None for all
    margins: Array  # by query: scores closer than this may be in the wrong order
    wide: bool  # score in float64

    @classmethod
    def of(cls, number: int, part: ScanPart, margins: Array, *, wide: bool) -> _NarrowedPart:
        if part.allowed is not None:
            rows = np.flatnonzero(part.allowed)
            if len(rows) <= _GATHER_SHARE * len(part.allowed):
                few = ScanPart(
                    part.vectors, part.norms[rows], part.groups[rows], part.distinct, None
                )
                return cls(number, part, few, rows, margins, wide)
        return cls(number, part, part, None, margins, wide)

    def __len__(self) -> int:
        return len(self.part.groups)

    def blocks(self, queries: int) -> list[tuple[int, int]]:
        """Cut the rows into blocks that end where a group ends."""
        if not len(self):
            return []
        vectors = self.part.vectors
        copied = self.wide or self.rows is not None or vectors.dtype != np.float32
        step = max(_BLOCK_ROWS_MIN, _SCORES_MAX // max(queries, vectors.shape[1] * copied))
        first = min(step, _FIRST_BLOCK_ROWS)
        ends = np.append(np.arange(first, len(self), step), len(self))
        if not self.part.distinct:
            groups = self.part.groups
            ends = np.unique(np.searchsorted(groups, groups[ends - 1], side="right"))
        return [
            (start, end)
            for start, end in zip([0, *ends[:-1].tolist()], ends.tolist(), strict=True)
            if end > start
        ]

    def scores(self, queries: Array, metric: Metric, start: int, end: int) -> Array:
        """Score rows start..end for each query, float32 (m, end - start)."""
        vectors = self.part.vectors
        block = vectors[start:end] if self.rows is None else vectors[self.rows[start:end]]
        dtype = np.float64 if self.wide else np.float32
        block, queries = block.astype(dtype, copy=False), queries.astype(dtype, copy=False)
        scores = (block @ queries[0])[None] if len(queries) == 1 else queries @ block.T
        norms = self.part.norms[start:end]
        if self.wide:
            norms = np.sqrt(np.einsum("ij,ij->i", block, block))
        if metric == "cosine":
            with np.errstate(divide="ignore", invalid="ignore"):  # a crafted file may have zeros
                scores /= norms
        elif metric == "l2":
            # Minus the squared distance, less the query's own share: the same order.
            scores *= 2
            scores -= norms * norms
        if self.part.allowed is not None:
            scores[:, ~self.part.allowed[start:end]] = -np.inf
        return scores


class _Pool:
    """Candidates of one query so far."""

    def __init__(self, k: int) -> None:
        self.k = k
        self.floor = -np.inf  # no group below this can be among the k best
        self.parts: list[IntArray] = []
        self.rows: list[IntArray] = []
        self.scores: list[Array] = []
        self.count = 0

    def add(self, part: int, rows: IntArray, scores: Array, margin: float) -> None:
        self.parts.append(np.full(len(rows), part))
        self.rows.append(rows)
        self.scores.append(scores)
        self.count += len(rows)
        if self.count > 4 * self.k + 64:
            self.shrink(margin)

    def floor_of(self, scores: Array) -> float:
        """Return the floor as their dtype can hold it: another part's scores may be float64."""
        if scores.dtype == np.float32 and abs(self.floor) > _FLOAT32_MAX:
            return math.copysign(math.inf, self.floor)
        return self.floor

    def shrink(self, margin: float) -> None:
        scores = np.concatenate(self.scores)
        if len(scores) > self.k:
            kth = float(np.partition(scores, len(scores) - self.k)[len(scores) - self.k])
            self.floor = max(self.floor, kth - margin)
        keep = scores >= self.floor_of(scores)
        self.parts = [np.concatenate(self.parts)[keep]]
        self.rows = [np.concatenate(self.rows)[keep]]
        self.scores = [scores[keep]]
        self.count = len(self.scores[0])


def _collect(
    pools: list[_Pool],
    scores: Array,
    part: _NarrowedPart,
    start: int,
    end: int,
) -> None:
    """Add to each query's pool the groups of a block that may be among its k best."""
    starts: IntArray | None = None
    if not part.part.distinct:
        groups = part.part.groups[start:end]
        starts = np.flatnonzero(np.append([True], groups[1:] != groups[:-1]))
        scores = np.maximum.reduceat(scores, starts, axis=1)
    for i, pool in enumerate(pools):
        line = scores[i]
        if pool.floor == -np.inf and len(line) > pool.k:
            kth = np.partition(line, len(line) - pool.k)[len(line) - pool.k]
            pool.floor = float(kth) - float(part.margins[i])
        floor = pool.floor_of(line)
        hits = np.flatnonzero(line >= floor)
        if floor == -np.inf:
            hits = hits[line[hits] > -np.inf]
        if len(hits):
            rows = start + (hits if starts is None else starts[hits])
            pool.add(part.number, rows, line[hits], float(part.margins[i]))


def _rounding_bound(part: ScanPart, lengths: Array, metric: Metric) -> Array:
    """Bound the error of float32 scores of queries of some lengths (Higham 2002, section 3.1)."""
    # Twice the dimension: the norms were summed in float32 as well.
    roundoff = (2 * part.vectors.shape[1] + 16) * _UNIT_ROUNDOFF
    longest = float(part.norms.max(initial=0))
    if metric == "cosine":
        return np.asarray(roundoff * lengths)
    if metric == "inner_product":
        return np.asarray(roundoff * longest * lengths)
    return np.asarray(roundoff * (2 * longest * lengths + longest**2))


def _exceeds_float32(part: ScanPart, lengths: Array, metric: Metric) -> bool:
    """Whether products may leave the range in which `_rounding_bound` holds."""
    shortest, longest = (float(part.norms.min(initial=1)), float(part.norms.max(initial=0)))
    low, high = float(lengths.min()), float(lengths.max())
    if metric == "cosine":
        smallest = shortest * min(low, 1)
    else:
        smallest = longest * (low if metric == "inner_product" else max(longest, high))
    return longest * max(longest, high) > _PRODUCT_MAX or smallest < _PRODUCT_MIN


def _rescored(
    pool: _Pool,
    narrowed: Sequence[_NarrowedPart],
    query: Array,
    metric: Metric,
    k: int,
) -> RankedRows:
    if not pool.count:
        return RankedRows(np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0))
    numbers, first_rows = np.concatenate(pool.parts), np.concatenate(pool.rows)
    found = []
    for number in np.unique(numbers).tolist():
        rows = _group_rows(narrowed[number], first_rows[numbers == number])
        part = narrowed[number].whole
        if part.allowed is not None:
            rows = rows[part.allowed[rows]]
        found.append((number, rows, reference.exact_scores(part.vectors[rows], query, metric)))
    number = np.repeat([n for n, _, _ in found], [len(rows) for _, rows, _ in found])
    row = np.concatenate([rows for _, rows, _ in found])
    score = np.concatenate([scores for _, _, scores in found])
    group = np.concatenate([narrowed[n].whole.groups[rows] for n, rows, _ in found])
    order = np.lexsort((row, group, -score))
    _, best = np.unique(group[order], return_index=True)
    order = order[np.sort(best)][:k]
    return RankedRows(number[order], row[order], score[order])


def _group_rows(part: _NarrowedPart, first_rows: IntArray) -> IntArray:
    """Return the part's own row numbers of all rows of the groups that start at some rows."""
    if part.part.distinct:
        rows = first_rows
    else:
        groups = part.part.groups
        ends = np.searchsorted(groups, groups[first_rows], side="right")
        pieces = [np.arange(s, e) for s, e in zip(first_rows.tolist(), ends.tolist(), strict=True)]
        rows = np.concatenate(pieces)
    return rows if part.rows is None else part.rows[rows]
