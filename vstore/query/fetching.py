"""The best k of one version: each part searched by its path, the parts' answers merged."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from vstore.index.flat import Found, ScanPart, scan
from vstore.limits import CHUNKS_MAX
from vstore.native import loader
from vstore.native.arrays import NONE
from vstore.native.calls import CorruptGraphError, Question
from vstore.query.paths import ANY, PartStatistics, Path, Wanted, choose_path
from vstore.query.ranking import Ranking
from vstore.segment.vectors import VectorSegment

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from vstore.index.construction import Kernels
    from vstore.manifest.spec import Metric
    from vstore.segment.row_table import RowPart, RowTable
    from vstore.types import Array, BoolArray, IntArray

_QUERIES_PER_THREAD: Final = 16  # below, a thread costs more than it brings


@dataclass(frozen=True, slots=True)
class VersionRead:
    """One version's side of a search.

    Attributes
    ----------
    queries : float32 (m, dimension)
    """

    table: RowTable
    metric: Metric
    queries: Array
    wanted: Wanted = ANY


class Fetched(NamedTuple):
    """What one version answered to one query, best first."""

    docno: IntArray
    part: IntArray
    row: IntArray
    score: Array

    def ranking(self) -> Ranking:
        """Return documents and scores as a ranked list."""
        return Ranking(self.docno, self.score)


class FetchedBatch(NamedTuple):
    """What one version answered to some queries.

    Attributes
    ----------
    docno, part, row : int64 (m, at most k)
        Best first; docno is -1 behind the last.
    score : float64 (m, at most k)
    """

    docno: IntArray
    part: IntArray
    row: IntArray
    score: Array

    def counts(self) -> IntArray:
        """Return the number of hits of each query."""
        return np.asarray((self.docno >= 0).sum(axis=1))

    def one(self, query: int) -> Fetched:
        """Return what was found for one query."""
        found = self.docno[query] >= 0
        return Fetched(*(array[query][found] for array in self))

    def each(self) -> Iterator[Fetched]:
        """Iterate over the queries."""
        return (self.one(query) for query in range(len(self.docno)))


def part_statistics(part: RowPart, allowed: BoolArray | None) -> PartStatistics:
    """Return what the planner needs to know of a part."""
    rows = part.rows
    count = None if allowed is None else int(np.count_nonzero(allowed))
    plain = PartStatistics(
        part.name,
        len(rows.docno),
        count,
        rows.vectors.shape[1] * rows.vectors.itemsize,
        rows.single,
    )
    graph = rows.graph if isinstance(rows, VectorSegment) else None
    if graph is None:
        return plain
    return PartStatistics(
        plain.name,
        plain.rows,
        # A node that stands for several rows, or for none, makes no difference to the estimate.
        count,
        plain.row_bytes,
        plain.single,
        graph.arrays.nodes,
        graph.arrays.size,
        graph.curve,
    )


def allowed_rows(part: RowPart, matching: BoolArray | None) -> BoolArray | None:
    """Return which rows of a part may be returned, bool (rows,); None if all may."""
    if matching is None:
        return part.live
    passing = matching[part.rows.docno]
    return passing if part.live is None else passing & part.live


def fetch(
    read: VersionRead, matching: BoolArray | None, k: int, *, collapse: bool = True
) -> FetchedBatch:
    """Return the k best documents (or rows, without ``collapse``) of a version for each query.

    Parameters
    ----------
    matching : bool (docno_end,) or None
        Documents that may be returned; None for all.
    """
    parts = read.table.parts
    native = loader.kernels() if any(_has_graph(part) for part in parts) else None
    scanned: list[tuple[int, ScanPart]] = []
    batches = []
    for number, part in enumerate(parts):
        allowed = allowed_rows(part, matching)
        scan_part = _scan_part(part, allowed, collapse=collapse)
        path = None
        if _has_graph(part):
            statistics = part_statistics(part, allowed)
            path = choose_path(statistics, k, read.wanted, native=native is not None)
        if path is None or path.kind == "flat":
            scanned.append((number, scan_part))
        else:
            kernels = native or loader.reference()
            batches.append(_by_codes(read, _Part(number, scan_part, path), kernels, k))
    if scanned or not batches:
        batches.append(_flat([p for _, p in scanned], [n for n, _ in scanned], read, k))
    return _best(batches, parts, k)


def _has_graph(part: RowPart) -> bool:
    return isinstance(part.rows, VectorSegment) and part.rows.has_graph


def _scan_part(part: RowPart, allowed: BoolArray | None, *, collapse: bool) -> ScanPart:
    rows = part.rows
    groups, distinct = rows.docno, rows.single
    if not collapse:
        # Ties must not depend on which segment a row is in.
        groups, distinct = groups.astype(np.int64) * CHUNKS_MAX + rows.chunk, True
    return ScanPart(rows.vectors, rows.norms, groups, distinct, allowed)


def _flat(
    scanned: Sequence[ScanPart], numbers: Sequence[int], read: VersionRead, k: int
) -> FetchedBatch:
    found = scan(scanned, read.queries, read.metric, k)
    return _padded(found, numbers, read.table.parts)


def _padded(
    found: Sequence[Found], numbers: Sequence[int], parts: Sequence[RowPart]
) -> FetchedBatch:
    width = max((len(one.row) for one in found), default=0)
    shape = (len(found), width)
    batch = FetchedBatch(
        np.full(shape, -1), np.zeros(shape, np.int64), np.zeros(shape, np.int64),
        np.full(shape, -np.inf),
    )  # fmt: skip
    for i, one in enumerate(found):
        count = len(one.row)
        for place in np.unique(one.part).tolist():
            mine = np.flatnonzero(one.part == place)
            batch.docno[i, mine] = parts[numbers[place]].rows.docno[one.row[mine]]
            batch.part[i, mine] = numbers[place]
        batch.row[i, :count], batch.score[i, :count] = one.row, one.score
    return batch


class _Part(NamedTuple):
    number: int
    rows: ScanPart
    path: Path


def _by_codes(read: VersionRead, chosen: _Part, kernels: Kernels, k: int) -> FetchedBatch:
    """Search one segment by codes and score again what was found; scan if that is too little."""
    number, part, path = chosen
    segment = read.table.parts[number].rows
    assert isinstance(segment, VectorSegment)
    graph = segment.graph
    assert graph is not None
    rows = graph.rows_of(part.vectors, read.metric, None if part.distinct else part.groups)
    allowed = None if part.allowed is None else (graph.permitted(part.allowed), part.allowed)
    wanted = None
    if path.kind == "codes":
        assert allowed is not None
        wanted = np.flatnonzero(allowed[0]).astype(np.uint32)
    question = Question(path.ef, path.keep, k, wanted, allowed)

    def answer(queries: Array) -> tuple[Array, Array]:
        return graph.answer(kernels, rows, queries, question)[:2]

    try:
        row, score = _in_threads(answer, read.queries, read.wanted.threads)
    except CorruptGraphError as error:
        raise segment.corrupt("graph: a link, level or row leads nowhere") from error
    batch = _found(segment, number, row, score)
    if row.shape[1] and not (row[:, -1] == NONE).any():
        return batch
    counts = batch.counts()
    short = np.flatnonzero(counts < min(k, _available(part)))
    if len(short):
        again = VersionRead(read.table, read.metric, read.queries[short], read.wanted)
        return _replaced(batch, short, _flat([part], [number], again, k))
    return batch


def _found(segment: VectorSegment, number: int, row: Array, score: Array) -> FetchedBatch:
    missing = row == NONE
    if missing.any():
        row = np.where(missing, 0, row)
        docno = np.where(missing, -1, segment.docno[row].astype(np.int64))
    else:
        docno = segment.docno[row].astype(np.int64)
    return FetchedBatch(docno, np.full(row.shape, number), row.astype(np.int64), score)


def _in_threads(
    answer: Callable[[Array], tuple[Array, Array]], queries: Array, threads: int
) -> tuple[Array, Array]:
    """Split queries among threads; kernels release the GIL."""
    threads = min(threads, len(queries) // _QUERIES_PER_THREAD)
    if threads < 2:
        return answer(queries)
    pieces = np.array_split(queries, threads)
    with ThreadPoolExecutor(threads - 1) as pool:
        others = pool.map(answer, pieces[1:])
        answers = [answer(pieces[0]), *others]
    rows, scores = zip(*answers, strict=True)
    return np.concatenate(rows), np.concatenate(scores)


def _available(part: ScanPart) -> int:
    """Return how many groups a part could give."""
    groups = part.groups if part.allowed is None else part.groups[part.allowed]
    return len(groups) if part.distinct else len(np.unique(groups))


def _replaced(batch: FetchedBatch, queries: IntArray, other: FetchedBatch) -> FetchedBatch:
    width = max(batch.docno.shape[1], other.docno.shape[1])
    fills = (-1, 0, 0, -np.inf)
    result = []
    for mine, theirs, fill in zip(batch, other, fills, strict=True):
        wide = np.full((len(mine), width), fill, mine.dtype)
        wide[:, : mine.shape[1]] = mine
        wide[queries] = fill
        wide[queries, : theirs.shape[1]] = theirs
        result.append(wide)
    return FetchedBatch(*result)


def _best(batches: Sequence[FetchedBatch], parts: Sequence[RowPart], k: int) -> FetchedBatch:
    """Merge what parts found; no document is in two of them."""
    if len(batches) == 1:
        return batches[0]
    joined = FetchedBatch(
        *(np.concatenate(arrays, axis=1) for arrays in zip(*batches, strict=True))
    )
    chunk = np.zeros(joined.docno.shape, np.int64)
    for number, part in enumerate(parts):
        if not part.rows.single:
            mine = (joined.part == number) & (joined.docno >= 0)
            chunk[mine] = part.rows.chunk[joined.row[mine]]
    missing = joined.docno < 0
    order = np.lexsort((chunk, joined.docno, -joined.score, missing), axis=1)[:, :k]
    return FetchedBatch(*(np.take_along_axis(array, order, 1) for array in joined))
