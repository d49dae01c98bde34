"""Reads of two versions: merging their answers into one list. `depths` decides what each reads."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from vstore.index.ranges import expand_ranges
from vstore.native import reference
from vstore.query.beside import beside
from vstore.query.execution import (
    ListedExecution,
    QueryAnswer,
    RowHit,
    reciprocal_ranks,
    row_hit,
)
from vstore.query.fetching import VersionAnswer, VersionSearch
from vstore.query.fused_execution import Sides, fused_slots
from vstore.query.fusion.cascade import cascade
from vstore.query.fusion.rules import FusionInput

if TYPE_CHECKING:
    from collections.abc import Sequence

    from vstore.query.execution import Execution
    from vstore.query.fetching import FetchedBatch, VersionRead
    from vstore.query.fusion.rules import FusionRule
    from vstore.segment.row_table import RowTable
    from vstore.types import Array, IntArray


class FusedReads:
    """A prepared dual read, whose answers a rule fuses.

    Parameters
    ----------
    rule : FusionRule
        For a bridged rule, the caller blends the old version's queries.
    reads : the old version's and the new one's, as `depths.asked_of_both` returns them
    k : int
        Hits wanted.
    coverage : float
        Share of live documents with fresh rows in the new version.
    curve : tuple[float, ...]
        The rule's fitted parameters, see `FusionChoice`; empty without.
    """

    def __init__(
        self,
        rule: FusionRule,
        reads: tuple[VersionRead, VersionRead],
        *,
        k: int,
        coverage: float,
        curve: tuple[float, ...] = (),
    ) -> None:
        self._rule = rule
        self._old, self._new = reads
        self._tables = self._old.table, self._new.table
        self._k, self._coverage, self._curve = k, coverage, curve
        self._beside = beside(*self._tables)
        self._searches = VersionSearch(self._old).simplest, VersionSearch(self._new).simplest

    def execute(self, queries: Sequence[Array]) -> Execution:
        """Answer queries, given as vectors of the old version and of the new one."""
        batches = self._fetched(queries)
        if self._rule.name == "slots" and not self._beside.new_only:
            migrated = self._tables[1].has_fresh
            whole = fused_slots(Sides(self._tables, batches), migrated, self._k)
            if whole is not None:
                return whole
        return ListedExecution(self._fused(queries, batches))

    def fused(self, queries: Sequence[Array]) -> list[QueryAnswer]:
        """Answer queries one by one, without the fast path of whole batches."""
        return self._fused(queries, self._fetched(queries))

    def _fetched(self, queries: Sequence[Array]) -> tuple[FetchedBatch, FetchedBatch]:
        old, new = self._searches
        return old.fetch(queries[0]), new.fetch(queries[1])

    def _fused(
        self, queries: Sequence[Array], batches: tuple[FetchedBatch, FetchedBatch]
    ) -> list[QueryAnswer]:
        return [
            self._one(asked, fetched)
            for asked, fetched in zip(
                zip(*queries, strict=True),
                zip(*(batch.each() for batch in batches), strict=True),
                strict=True,
            )
        ]

    def _one(self, asked: tuple[Array, ...], fetched: tuple[VersionAnswer, ...]) -> QueryAnswer:
        """Fuse both versions' answers to one query."""
        from_old, from_new = fetched
        known = [from_old, from_new]

        def scores(keys: IntArray) -> tuple[Array, Array]:
            looked_up = score(self._old, asked[0], keys), score(self._new, asked[1], keys)
            known[:] = map(_joined, looked_up, known)
            return looked_up[0].score, looked_up[1].score

        ordered = self._rule.fuse(
            FusionInput(
                from_old.ranking(),
                from_new.ranking(),
                self._beside.migrated[from_old.docno],
                self._beside.in_old[from_new.docno],
                self._k,
                self._beside.new_only_share,
                self._coverage,
                self._curve,
                scores,
            )
        )
        return _executed(ordered, self._tables, (from_old, from_new), (known[0], known[1]))


class CascadedReads:
    """A prepared cascade: the new version reorders the old one's candidates, where it has them.

    The new version is not searched; its vectors are only looked up.

    Parameters
    ----------
    reads : the old version's, as `depths.asked_of_candidates` returns it, and the new one's
    """

    def __init__(self, reads: tuple[VersionRead, VersionRead], *, k: int) -> None:
        self._old, self._new = reads
        self._k = k
        self._search = VersionSearch(self._old)

    def execute(self, queries: Sequence[Array]) -> Execution:
        """Answer queries, given as vectors of the old version and of the new one."""
        tables = self._old.table, self._new.table
        migrated = tables[1].has_fresh
        results = []
        batch = self._search.fetch(queries[0])
        for new_query, from_old in zip(queries[1], batch.each(), strict=True):
            moved = migrated[from_old.docno]
            from_new = score(self._new, new_query, from_old.docno[moved])
            ordered = cascade(from_old.ranking(), moved, from_new.score, k=self._k)
            results.append(_executed(ordered, tables, (from_old, from_new)))
        return ListedExecution(results)


def _executed(
    ordered: Sequence[tuple[int, float, int]],
    tables: tuple[RowTable, RowTable],
    fetched: tuple[VersionAnswer, VersionAnswer],
    known: tuple[VersionAnswer, VersionAnswer] | None = None,
) -> QueryAnswer:
    """Return one query's hits, and the number of documents fetched from each version.

    Parameters
    ----------
    fetched : answers of the old and the new version
    known : answers extended by documents scored later; by default ``fetched``
    """
    sides = list(zip(tables, known or fetched, strict=True))
    counts = {table.label: len(found.docno) for table, found in zip(tables, fetched, strict=True)}
    return QueryAnswer(_fused_hits(ordered, sides), counts)


def _fused_hits(
    fused: Sequence[tuple[int, float, int]],
    sides: Sequence[tuple[RowTable, VersionAnswer]],
) -> list[RowHit]:
    """Return hits in fused order, each with its similarity in every version that scored it."""
    places = [{docno: i for i, docno in enumerate(fetched.docno.tolist())} for _, fetched in sides]
    hits = []
    for (docno, _, source), score in zip(fused, reciprocal_ranks(len(fused)).tolist(), strict=True):
        table, fetched = sides[source]
        i = places[source][docno]
        hit = row_hit(
            table, docno, int(fetched.part[i]), int(fetched.row[i]), float(fetched.score[i])
        )
        similarities = {
            side.label: float(found.score[place[docno]])
            for (side, found), place in zip(sides, places, strict=True)
            if docno in place
        }
        hits.append(hit._replace(score=score, similarities=similarities))
    return hits


def score(read: VersionRead, query: Array, docnos: IntArray) -> VersionAnswer:
    """Score documents of a version exactly, each by its best row; all must have served rows there.

    Parameters
    ----------
    query : float32 (dimension,)
    """
    part, row = np.zeros(len(docnos), np.int64), np.zeros(len(docnos), np.int64)
    score = np.full(len(docnos), -np.inf)
    for number, rows_part in enumerate(read.table.parts):
        stored = rows_part.rows.docno
        wanted = docnos.astype(stored.dtype)  # else searchsorted would convert the whole column
        starts = np.searchsorted(stored, wanted)
        rows, owner = expand_ranges(starts, np.searchsorted(stored, wanted, side="right"))
        if rows_part.live is not None:
            rows, owner = rows[rows_part.live[rows]], owner[rows_part.live[rows]]
        scores = reference.exact_scores(rows_part.rows.vectors[rows], query, read.metric)
        order = np.lexsort((rows, -scores, owner))
        mine, first = np.unique(owner[order], return_index=True)
        best = order[first]
        part[mine], row[mine], score[mine] = number, rows[best], scores[best]
    return VersionAnswer(docnos, part, row, score)


def _joined(first: VersionAnswer, second: VersionAnswer) -> VersionAnswer:
    """Concatenate two answers; a document in both has the same row in both."""
    return VersionAnswer(*(np.concatenate(pair) for pair in zip(first, second, strict=True)))
