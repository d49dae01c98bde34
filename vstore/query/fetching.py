"""The k best of one version: each part is searched by its path, and the answers are merged."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from vstore.cached import cached_property
from vstore.deferred import Deferred
from vstore.index.scan_part import ScanPart
from vstore.limits import CHUNKS_MAX
from vstore.native import loader
from vstore.native.arrays import NONE
from vstore.native.calls import CorruptGraphError, Question
from vstore.query.filtered import PassingRows, filtered
from vstore.query.paths import ANY, FLAT, Accuracy, PartStatistics, Path, choose_path
from vstore.segment.vectors import VectorSegment

if TYPE_CHECKING:
    from collections.abc import Iterator
    from concurrent.futures import thread as futures

    from vstore.index import flat
    from vstore.index.construction import Kernels
    from vstore.manifest.spec import Metric
    from vstore.query import merging, ranking
    from vstore.query.ranking import Ranking
    from vstore.segment.row_table import RowPart, RowTable
    from vstore.types import Array, BoolArray, IntArray
else:  # loaded late: a graph search of one version does not need these
    flat = Deferred("vstore.index.flat")
    futures = Deferred("concurrent.futures.thread")
    merging = Deferred("vstore.query.merging")
    ranking = Deferred("vstore.query.ranking")

_QUERIES_PER_THREAD: Final = 16  # with fewer, a thread costs more than it saves


class VersionRead(NamedTuple):
    """Parameters of a read of one version, without the queries.

    Attributes
    ----------
    k : int
        Number of documents wanted, or rows.
    matching : bool (docno_end,) or None
        Documents that may be returned; None for all.
    accuracy : Accuracy
    collapse : bool
        Whether hits are documents rather than rows.
    native : bool
        Whether compiled kernels are available; without them, graphs are followed only on request.
    """

    table: RowTable
    metric: Metric
    k: int
    matching: BoolArray | None = None
    accuracy: Accuracy = ANY
    collapse: bool = True
    native: bool = False

    def path(self, statistics: PartStatistics) -> Path:
        """Return how a part is searched."""
        return choose_path(
            statistics, self.k, self.accuracy, native=self.native, collapse=self.collapse
        )


class VersionAnswer(NamedTuple):
    """One version's answer to one query, best first."""

    docno: IntArray
    part: IntArray
    row: IntArray
    score: Array

    def ranking(self) -> Ranking:
        """Return documents and scores as a ranked list."""
        return ranking.Ranking(self.docno, self.score)


class FetchedBatch(NamedTuple):
    """One version's answers to a batch of queries.

    Attributes
    ----------
    docno, part, row : int64 (m, at most k)
        Best first; docno is -1 after the last hit.
    score : float64 (m, at most k)
    full : bool
        Whether all queries are known to have equally many hits; False if unknown.
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

    def one(self, query: int) -> VersionAnswer:
        """Return the answer to one query."""
        found = self.docno[query] >= 0
        return VersionAnswer(*(array[query][found] for array in self[:4]))

    def each(self) -> Iterator[VersionAnswer]:
        """Iterate over the answers, query by query."""
        return (self.one(query) for query in range(len(self.docno)))


def part_statistics(passing: PassingRows, number: int, part: RowPart) -> PartStatistics:
    """Return the planner's statistics of a part."""
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


class VersionSearch:
    """A prepared search of one version for the k best; made once, reused for many queries."""

    def __init__(self, read: VersionRead) -> None:
        self._table, self._metric, self._k = read.table, read.metric, read.k
        kernels = loader.kernels() if read.native else None
        self._scanned: list[ScanPart] = []
        self._scanned_numbers: list[int] = []
        self._graphs: list[GraphPart] = []
        passing = filtered(read.table, read.matching)
        for number, part in enumerate(read.table.parts):
            path = FLAT
            if _has_graph(part):
                path = read.path(part_statistics(passing, number, part))
            rows = _scan_part(part, passing.rows(number), path, collapse=read.collapse)
            if path.kind == "flat":
                self._scanned.append(rows)
                self._scanned_numbers.append(number)
            else:
                question = _question_of(path, rows, passing.nodes(number), read.k)
                runs = kernels or loader.reference()
                self._graphs.append(GraphPart(read, number, rows, question, runs))

    @property
    def simplest(self) -> VersionSearch | GraphPart:
        """An equivalent search with fewer steps: the only part, if its graph is searched."""
        return self._graphs[0] if len(self._graphs) == 1 and not self._scanned else self

    def fetch(self, queries: Array) -> FetchedBatch:
        """Return the best for each query.

        Parameters
        ----------
        queries : float32 (m, dimension), C-contiguous

        Raises
        ------
        CorruptionError
            A part of a segment that a query reads is damaged.
        """
        batches = [part.fetch(queries) for part in self._graphs]
        parts = self._table.parts
        if self._scanned or not batches:
            found = flat.scan(self._scanned, queries, self._metric, self._k)
            batches.append(merging.padded(found, self._scanned_numbers, parts))
        return batches[0] if len(batches) == 1 else merging.best(batches, parts, self._k)


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


def _question_of(path: Path, part: ScanPart, nodes: BoolArray | None, k: int) -> Question:
    """Return the graph query of a part; `nodes` masks the nodes that may be returned."""
    allowed = None if nodes is None or part.allowed is None else (nodes, part.allowed)
    wanted = None
    if path.kind == "codes":
        assert allowed is not None
        wanted = np.flatnonzero(allowed[0]).astype(np.uint32)
    return Question(path.ef, path.kept, path.refine, path.keep, k, wanted, allowed)


class GraphPart:
    """A segment that is searched by codes, and the parameters of its graph search.

    Codes find candidates, which are rescored with their vectors. If too few rows are found, or if
    codes cannot express the query, the segment is scanned.

    Parameters
    ----------
    number : int
        The part's number in its table.
    question : Question
        Reused for every query: kernels cache by its identity.
    """

    def __init__(
        self,
        read: VersionRead,
        number: int,
        part: ScanPart,
        question: Question,
        kernels: Kernels,
    ) -> None:
        segment = read.table.parts[number].rows
        assert isinstance(segment, VectorSegment)
        vectors, self._graph, self._check = segment.searched
        self._rows = self._graph.rows_of(
            vectors, read.metric, None if part.distinct else part.groups
        )
        self._read, self._number, self._part, self._segment = read, number, part, segment
        self._kernels = kernels
        self._question = question
        self._reporting = question._replace(report=True)
        # Native kernels report the few nodes that one query reads: only those are verified.
        self._tells = question.ef > 0 and kernels.name == "native"
        self._numbers = np.full((1, question.k), number)
        self._is_verified = False

    def fetch(self, queries: Array) -> FetchedBatch:
        """Return the best of the segment for each query; see `VersionSearch.fetch`."""
        question, mark = self._question, False
        if not self._is_verified:
            question, mark = self._verifying(queries)
        try:
            if len(queries) < 2 * _QUERIES_PER_THREAD or self._read.accuracy.threads < 2:
                row, score = self._answer(queries, question, mark)
            else:
                row, score = self._in_threads(queries, question)
        except CorruptGraphError as error:
            problem = "graph: a link, level or row leads nowhere"
            raise self._segment.corrupt(problem) from error
        count = len(row)
        numbers = self._numbers if count == 1 else np.full(row.shape, self._number)
        docno = self._segment.docno
        if not (row[0, -1] == NONE if count == 1 else (row[:, -1] == NONE).any()):
            return FetchedBatch(
                docno[row].astype(np.int64), numbers, row.astype(np.int64), score, full=True
            )
        missing = row == NONE
        row = np.where(missing, 0, row).astype(np.int64)
        found = np.where(missing, -1, docno[row].astype(np.int64))
        batch = FetchedBatch(found, numbers, row, score)
        return self._completed(batch, queries)

    def _answer(self, queries: Array, question: Question, mark: bool) -> tuple[Array, Array]:  # noqa: FBT001 - positional for ``pool.map``
        answered = self._graph.answer(self._kernels, self._rows, queries, question, mark=mark)
        if question.report:
            damage = self._check.damage(answered.scored, answered.nodes)
            if damage is not None:
                raise self._segment.corrupt(damage)
        return answered.row, answered.score

    def _verifying(self, queries: Array) -> tuple[Question, bool]:
        """Return the question that makes all reads verified, and whether to mark nodes."""
        check = self._check
        if check.complete:
            self._is_verified = True
            return self._question, False
        few = len(queries) == 1 and self._tells and not check.is_worth_all
        if not few:
            self._segment.verify_nodes()
        return self._reporting, few and check.marks

    def _in_threads(self, queries: Array, question: Question) -> tuple[Array, Array]:
        """Split queries among threads; kernels release the GIL."""
        threads = min(self._read.accuracy.threads, len(queries) // _QUERIES_PER_THREAD)
        first, *others = np.array_split(queries, threads)
        with futures.ThreadPoolExecutor(threads - 1) as pool:
            later = pool.map(lambda some: self._answer(some, question, mark=False), others)
            answers = [self._answer(first, question, mark=False), *later]
        rows, scores = zip(*answers, strict=True)
        return np.concatenate(rows), np.concatenate(scores)

    def _completed(self, batch: FetchedBatch, queries: Array) -> FetchedBatch:
        """Scan the segment for the queries for which the graph found too few rows."""
        short = np.flatnonzero(np.array(batch.counts()) < min(self._question.k, self._available))
        if not len(short):
            return batch
        whole = self._part._replace(vectors=self._segment.vectors)
        found = flat.scan([whole], queries[short], self._read.metric, self._question.k)
        scanned = merging.padded(found, [self._number], self._read.table.parts)
        return merging.replaced(batch, short, scanned)

    @cached_property
    def _available(self) -> int:
        """Number of distinct groups (documents, or rows) that the segment can return."""
        part = self._part
        groups = part.groups if part.allowed is None else part.groups[part.allowed]
        return len(groups) if part.distinct else len(np.unique(groups))
