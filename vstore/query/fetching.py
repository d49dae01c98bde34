"""The best k of one version: each part searched by its path, the parts' answers merged."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from vstore.deferred import Deferred
from vstore.index.scan_part import ScanPart
from vstore.limits import CHUNKS_MAX
from vstore.native import loader
from vstore.native.arrays import NONE
from vstore.native.calls import CorruptGraphError, Question
from vstore.query.filtered import Filtered, filtered
from vstore.query.paths import ANY, FLAT, PartStatistics, Path, Wanted, choose_path
from vstore.segment.vectors import VectorSegment

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from concurrent.futures import thread as futures

    from vstore.index import flat
    from vstore.index.construction import Kernels
    from vstore.index.flat import Found
    from vstore.manifest.spec import Metric
    from vstore.query import ranking
    from vstore.query.ranking import Ranking
    from vstore.segment.row_table import RowPart, RowTable
    from vstore.types import Array, BoolArray, IntArray
else:  # not what a search by a graph of one version needs
    flat = Deferred("vstore.index.flat")
    futures = Deferred("concurrent.futures.thread")
    ranking = Deferred("vstore.query.ranking")

_QUERIES_PER_THREAD: Final = 16  # below, a thread costs more than it brings


class VersionRead(NamedTuple):
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
        return ranking.Ranking(self.docno, self.score)


class FetchedBatch(NamedTuple):
    """What one version answered to some queries.

    Attributes
    ----------
    docno, part, row : int64 (m, at most k)
        Best first; docno is -1 behind the last.
    score : float64 (m, at most k)
    full : bool
        Whether it is known that no query has fewer hits than another.
    """

    docno: IntArray
    part: IntArray
    row: IntArray
    score: Array
    full: bool = False

    def counts(self) -> list[int]:
        """Return the number of hits of each query."""
        if self.full:
            return [self.docno.shape[1]] * len(self.docno)
        counts: list[int] = np.count_nonzero(self.docno >= 0, axis=1).tolist()
        return counts

    def one(self, query: int) -> Fetched:
        """Return what was found for one query."""
        found = self.docno[query] >= 0
        return Fetched(*(array[query][found] for array in self[:4]))

    def each(self) -> Iterator[Fetched]:
        """Iterate over the queries."""
        return (self.one(query) for query in range(len(self.docno)))


class SearchedPart(NamedTuple):
    """A part, its rows that may be returned, and how it is searched.

    Attributes
    ----------
    question : Question | None
        What its graph is asked, if it is; the same object each time, by which kernels know it.
    """

    number: int
    rows: ScanPart
    path: Path
    question: Question | None = None


def part_statistics(passing: Filtered, number: int, part: RowPart) -> PartStatistics:
    """Return what the planner needs to know of a part."""
    rows = part.rows
    count = passing.count(number)
    plain = PartStatistics(part.name, len(rows.docno), count, rows.row_bytes)
    if not isinstance(rows, VectorSegment) or not rows.has_graph:
        return plain
    graph = rows.searched.graph
    return PartStatistics(
        plain.name,
        plain.rows,
        count,
        plain.row_bytes,
        graph.arrays.nodes,
        graph.arrays.size,
        graph.rows_per_node,
        graph.recall,
        resolved=passing.resolved(number),
    )


def fetch(
    read: VersionRead, matching: BoolArray | None, k: int, *, collapse: bool = True
) -> FetchedBatch:
    """Return the k best documents (or rows, without ``collapse``) of a version for each query.

    Parameters
    ----------
    matching : bool (docno_end,) or None
        Documents that may be returned; None for all.
    """
    native = loader.kernels() if read.table.has_graphs else None
    key = (k, collapse, read.wanted, native is None)
    passing = filtered(read.table, matching)
    scanned, by_codes = passing.searches.get(
        key, lambda: _choose(read, passing, k, collapse=collapse, native=native is not None)
    )
    batches = [_by_codes(read, part, native or loader.reference(), k) for part in by_codes]
    if scanned or not batches:
        batches.append(_flat([part.rows for part in scanned], [p.number for p in scanned], read, k))
    return batches[0] if len(batches) == 1 else _best(batches, read.table.parts, k)


def _choose(
    read: VersionRead, passing: Filtered, k: int, *, collapse: bool, native: bool
) -> tuple[list[SearchedPart], list[SearchedPart]]:
    """Return the parts to scan, and those to search by codes."""
    scanned: list[SearchedPart] = []
    by_codes: list[SearchedPart] = []
    for number, part in enumerate(read.table.parts):
        allowed = passing.rows(number)
        path = FLAT
        if _has_graph(part):
            statistics = part_statistics(passing, number, part)
            path = choose_path(statistics, k, read.wanted, native=native, collapse=collapse)
        chosen = SearchedPart(number, _scan_part(part, allowed, path, collapse=collapse), path)
        if path.kind == "flat":
            scanned.append(chosen)
        else:
            by_codes.append(chosen._replace(question=_question_of(chosen, passing, k)))
    return scanned, by_codes


def _has_graph(part: RowPart) -> bool:
    return isinstance(part.rows, VectorSegment) and part.rows.has_graph


def _scan_part(part: RowPart, allowed: BoolArray | None, path: Path, *, collapse: bool) -> ScanPart:
    rows = part.rows
    if path.kind != "flat" and isinstance(rows, VectorSegment):
        vectors = rows.searched.vectors
    else:
        vectors = rows.vectors
    groups, distinct = rows.docno, rows.single
    if not collapse:
        # Ties must not depend on which segment a row is in.
        groups, distinct = groups.astype(np.int64) * CHUNKS_MAX + rows.chunk, True
    return ScanPart(vectors, rows.norms, groups, distinct, allowed)


def _flat(
    scanned: Sequence[ScanPart], numbers: Sequence[int], read: VersionRead, k: int
) -> FetchedBatch:
    found = flat.scan(scanned, read.queries, read.metric, k)
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


def _by_codes(read: VersionRead, chosen: SearchedPart, kernels: Kernels, k: int) -> FetchedBatch:
    """Search one segment by codes and score again what was found; scan if that is too little."""
    number, part, _, question = chosen
    segment = read.table.parts[number].rows
    assert isinstance(segment, VectorSegment)
    vectors, graph, check = segment.searched
    assert question is not None
    little = reads_little(kernels, read.queries, question) and not check.is_worth_all
    if not check.complete and not little:
        segment.verify_nodes()
    rows = graph.rows_of(vectors, read.metric, None if part.distinct else part.groups)
    if not check.complete:
        question = question._replace(report=True)

    def answer(queries: Array) -> tuple[Array, Array]:
        answered = graph.answer(kernels, rows, queries, question, mark=little and check.marks)
        damage = check.damage(answered.scored, answered.nodes) if question.report else None
        if damage is not None:
            raise segment.corrupt(damage)
        return answered.row, answered.score

    try:
        row, score = _in_threads(answer, read.queries, read.wanted.threads)
    except CorruptGraphError as error:
        raise segment.corrupt("graph: a link, level or row leads nowhere") from error
    docno = segment.docno
    if not (row[:, -1] == NONE).any():
        return FetchedBatch(
            docno[row].astype(np.int64), np.full(row.shape, number), row.astype(np.int64), score,
            full=True,
        )  # fmt: skip
    missing = row == NONE
    row = np.where(missing, 0, row).astype(np.int64)
    batch = FetchedBatch(
        np.where(missing, -1, docno[row].astype(np.int64)), np.full(row.shape, number), row, score
    )
    short = np.flatnonzero(np.array(batch.counts()) < min(k, _available(part)))
    if len(short):
        again = VersionRead(read.table, read.metric, read.queries[short], read.wanted)
        whole = part._replace(vectors=segment.vectors)
        return _replaced(batch, short, _flat([whole], [number], again, k))
    return batch


def reads_little(kernels: Kernels, queries: Array, question: Question) -> bool:
    """Whether a search reads few nodes, and says which."""
    return len(queries) == 1 and question.ef > 0 and kernels.name == "native"


def _question_of(chosen: SearchedPart, passing: Filtered, k: int) -> Question:
    """Return what a part's graph is asked."""
    number, part, path, _ = chosen
    nodes = passing.nodes(number)
    allowed = None if nodes is None or part.allowed is None else (nodes, part.allowed)
    wanted = None
    if path.kind == "codes":
        assert allowed is not None
        wanted = np.flatnonzero(allowed[0]).astype(np.uint32)
    return Question(path.ef, path.kept, path.refine, path.keep, k, wanted, allowed)


def _in_threads(
    answer: Callable[[Array], tuple[Array, Array]], queries: Array, threads: int
) -> tuple[Array, Array]:
    """Split queries among threads; kernels release the GIL."""
    threads = min(threads, len(queries) // _QUERIES_PER_THREAD)
    if threads < 2:
        return answer(queries)
    pieces = np.array_split(queries, threads)
    with futures.ThreadPoolExecutor(threads - 1) as pool:
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
    for mine, theirs, fill in zip(batch[:4], other[:4], fills, strict=True):
        wide = np.full((len(mine), width), fill, mine.dtype)
        wide[:, : mine.shape[1]] = mine
        wide[queries] = fill
        wide[queries, : theirs.shape[1]] = theirs
        result.append(wide)
    return _batch(result)


def _best(batches: Sequence[FetchedBatch], parts: Sequence[RowPart], k: int) -> FetchedBatch:
    """Merge what parts found; no document is in two of them."""
    columns = zip(*(batch[:4] for batch in batches), strict=True)
    joined = _batch([np.concatenate(arrays, axis=1) for arrays in columns])
    chunk = np.zeros(joined.docno.shape, np.int64)
    for number, part in enumerate(parts):
        if not part.rows.single:
            mine = (joined.part == number) & (joined.docno >= 0)
            chunk[mine] = part.rows.chunk[joined.row[mine]]
    missing = joined.docno < 0
    order = np.lexsort((chunk, joined.docno, -joined.score, missing), axis=1)[:, :k]
    return _batch([np.take_along_axis(array, order, 1) for array in joined[:4]])


def _batch(columns: Sequence[Array]) -> FetchedBatch:
    docno, part, row, score = columns
    return FetchedBatch(docno, part, row, score)
