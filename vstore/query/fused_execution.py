"""Fast path of dual reads by slots: whole batches at once, as arrays.

`slots.slots` is the reference; this gives the same for batches in which every list is long enough
and no document lives in the new version alone.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from vstore.cached import cached_property
from vstore.query.execution import RowHit, reciprocal_ranks, row_hit
from vstore.query.summary import QuerySummary, Totals

if TYPE_CHECKING:
    from vstore.query.fetching import FetchedBatch
    from vstore.query.summary import Summaries
    from vstore.segment.row_table import RowTable
    from vstore.types import Array, BoolArray, IntArray


class Sides(NamedTuple):
    """Tables and fetched rows of both versions, the old version's first."""

    tables: tuple[RowTable, RowTable]
    batches: tuple[FetchedBatch, FetchedBatch]


def fused_slots(sides: Sides, migrated: BoolArray, k: int) -> FusedExecution | None:
    """Fill the old ranking's slots of migrated documents in the new order.

    Parameters
    ----------
    migrated : bool (docno_end,)
        Documents with fresh new rows.

    Returns
    -------
    FusedExecution or None
        None if a list is shorter than its slots: then `slots.slots` must decide.
    """
    old, new = sides.batches
    if old.docno.shape[1] < k or not old.docno.size or (not old.full and (old.docno < 0).any()):
        return None
    is_slot = migrated[old.docno]
    place = np.cumsum(is_slot, axis=1) - 1
    most = int(place[:, -1].max()) + 1
    if most > new.docno.shape[1] or (not new.full and (new.docno[:, :most] < 0).any()):
        return None
    return FusedExecution(sides, is_slot, np.where(is_slot, place, np.arange(k)))


class FusedExecution:
    """Hits of a batch of queries, each from one of two versions, as arrays.

    Parameters
    ----------
    from_new : bool (m, k)
        Whether a hit is from the new version.
    place : int64 (m, k)
        The hit's index in the list fetched from its version.
    """

    def __init__(self, sides: Sides, from_new: BoolArray, place: IntArray) -> None:
        self._sides = sides
        self._from_new = from_new
        self._place = place
        self._query = np.arange(len(place))[:, None]
        self.summaries: Summaries = FusedSummaries(sides, from_new, self._stale())

    def _picked(self, name: str) -> Array:
        old, new = (getattr(batch, name) for batch in self._sides.batches)
        if not new.size:
            return np.asarray(old[self._query, self._place])
        bounded = np.minimum(self._place, new.shape[1] - 1)
        from_new, from_old = new[self._query, bounded], old[self._query, self._place]
        return np.asarray(np.where(self._from_new, from_new, from_old))

    def _stale(self) -> IntArray | None:
        """Count each query's stale hits; None if no query can have one."""
        stale: IntArray | None = None
        for side, table in enumerate(self._sides.tables):
            for number, part in enumerate(table.parts):
                if part.fresh is not None:
                    part_of, row = self._picked("part"), self._picked("row")
                    mine = (self._from_new == bool(side)) & (part_of == number)
                    found = (mine & ~part.fresh[np.where(mine, row, 0)]).sum(axis=1)
                    stale = found if stale is None else stale + found
        return stale

    def hits(self, query: int) -> list[RowHit]:
        """Return one query's hits."""
        tables, batches = self._sides
        scored = [dict(zip(*_scored(batch, query), strict=True)) for batch in batches]
        sides, places = self._from_new[query].tolist(), self._place[query].tolist()
        hits = []
        for side, place, score in zip(
            sides, places, reciprocal_ranks(len(places)).tolist(), strict=True
        ):
            batch = batches[side]
            docno = int(batch.docno[query, place])
            part, row = int(batch.part[query, place]), int(batch.row[query, place])
            similarities = {
                table.label: mine[docno]
                for table, mine in zip(tables, scored, strict=True)
                if docno in mine
            }
            hit = row_hit(tables[side], docno, part, row, score)
            hits.append(hit._replace(similarities=similarities))
        return hits

    def docnos(self) -> IntArray:
        """Return the documents of all hits, query by query."""
        return self._docnos

    def scores(self) -> Array:
        """Return the scores of all hits, query by query, float64."""
        return np.tile(reciprocal_ranks(self._place.shape[1]), len(self._place))

    @cached_property
    def _docnos(self) -> IntArray:  # cached: both observers and ids need it
        return np.asarray(self._picked("docno").ravel())


def _scored(batch: FetchedBatch, query: int) -> tuple[list[int], list[float]]:
    found = batch.one(query)
    return found.docno.tolist(), found.score.tolist()


class FusedSummaries:
    """Counts of a batch of `FusedExecution`."""

    def __init__(self, sides: Sides, from_new: BoolArray, stale: IntArray | None) -> None:
        self._labels = sides.tables[0].label, sides.tables[1].label
        self._fetched = [batch.docno.shape[1] for batch in sides.batches]
        self._k = from_new.shape[1]
        self._new: list[int] = from_new.sum(axis=1).tolist()
        self._stale: list[int] | None = None if stale is None else stale.tolist()

    def __len__(self) -> int:
        return len(self._new)

    def __getitem__(self, query: int) -> QuerySummary:
        counts = (self._k - self._new[query], self._new[query])
        answered = {
            label: count for label, count in zip(self._labels, counts, strict=True) if count
        }
        stale = 0 if self._stale is None else self._stale[query]
        return QuerySummary(dict(zip(self._labels, self._fetched, strict=True)), answered, stale)

    def hits(self, query: int) -> int:
        """Return the number of one query's hits."""
        return int(self._k)

    def totals(self, k: int) -> Totals:
        """Return the counts of all queries for k hits each."""
        old, new = self._labels
        kinds = {0: frozenset((old,)), self._k: frozenset((new,))}
        both = frozenset(self._labels)
        answered = Counter(kinds.get(count, both) for count in self._new)
        return Totals(
            len(self),
            answered,
            len(self) * self._k,
            sum(self._stale or ()),
            len(self) if self._k < k else 0,
        )

    def whole(self, k: int) -> str | None:
        """Return None: only `totals` counts such hits."""
        return None
