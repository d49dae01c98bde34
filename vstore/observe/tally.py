"""Tallies: compact buffers of searches with the same options and state, before they are counted.

Most searches repeat the options of an earlier one, so only the latency and the documents found need
be kept: a few bytes, contiguous. One object for each search would cost several times as much, in
cache misses of the next search.
"""

from __future__ import annotations

from array import array
from typing import TYPE_CHECKING, Final, Protocol, TypeVar

import numpy as np

from vstore.limits import KIB, NAME_BYTES_MAX, ROUTE_KEY_BYTES_MAX
from vstore.observe.hit_counter import HitCounter, Numbering
from vstore.observe.slices import Slice
from vstore.query.plan import versions
from vstore.query.summary import Totals

if TYPE_CHECKING:
    from vstore.observe.metrics import Metrics
    from vstore.observe.slices import SliceCounts
    from vstore.observe.traced import TracedBatch, TraceRing
    from vstore.query.plan import PlanNode
    from vstore.segment.row_table import RowTable
    from vstore.types import IntArray

_SEARCHES: Final = 1_024  # held by a tally
_DOCNO_BYTES: Final = 128 * KIB  # of docnos found, held by a tally


Values = TypeVar("Values", "array[float]", bytearray)


class View(Protocol):
    """A collection at one epoch, as tallies see it."""

    @property
    def live_count(self) -> int:
        """Number of live documents."""
        ...

    @property
    def numbering(self) -> Numbering:
        """Identity of the docnos."""
        ...

    def rows(self, label: str) -> RowTable:
        """Return the rows of a version."""
        ...


class Tally:
    """Searches with one plan, of one tenant and family; safe to use from many threads.

    Attributes
    ----------
    plan : PlanNode
        Compared by identity; made for one view, k and filter.
    label : str
        Version of the hits of a `repeat`.
    listed : bool
        Whether the tally is registered for the observer's next fold.
    """

    __slots__ = (
        "__weakref__",
        "_batch",
        "_docnos",
        "_family",
        "_k",
        "_others",
        "_seconds",
        "_tenant",
        "_view",
        "label",
        "listed",
        "plan",
    )  # fmt: skip

    def __init__(self, batch: TracedBatch, *, k: int, view: View, tenant: str, family: str) -> None:
        self.plan: PlanNode = batch.plan
        self.label = batch.summaries.whole(k)
        self.listed = False
        self._k, self._view, self._tenant, self._family = k, view, tenant, family
        self._batch = batch
        self._seconds = array("d")
        self._docnos = bytearray()  # int64; a bytearray can be extended by any array's buffer
        self._others: list[TracedBatch] = []

    def add(self, batch: TracedBatch, docnos: IntArray | None) -> None:
        """Tally a batch.

        Parameters
        ----------
        docnos : int array of any shape, or None
            Documents found, to be counted.
        """
        if self.label is not None and batch.summaries.whole(self._k) == self.label:
            self._seconds.append(batch.seconds)
        else:
            self._others.append(batch)
        if docnos is not None:
            self._docnos.extend(np.ascontiguousarray(docnos, np.int64).data)

    def repeat(self, seconds: float, docnos: IntArray) -> bool:
        """Tally a search with k fresh hits of `label`; return whether to call the observer.

        Takes no lock: each append is atomic, and the order of threads does not matter.

        Parameters
        ----------
        docnos : int64, contiguous
        """
        self._seconds.append(seconds)
        self._docnos.extend(docnos)  # the quickest way into a buffer
        return not self.listed or len(self._docnos) >= _DOCNO_BYTES

    @property
    def full(self) -> bool:
        """Whether the tally must be counted now."""
        searches = len(self._seconds) + len(self._others)
        return searches >= _SEARCHES or len(self._docnos) >= _DOCNO_BYTES

    def count(self, metrics: Metrics, hits: dict[str, HitCounter], traces: TraceRing) -> None:
        """Move the tallied searches to the counters; one thread at a time.

        Parameters
        ----------
        hits : dict of name to HitCounter
            By collection; changed in place, as are metrics and traces.
        """
        # Other threads may add meanwhile: remove exactly the entries that were copied.
        seconds, docnos = _taken(self._seconds), _taken(self._docnos)
        others = [self._others.pop(0) for _ in range(len(self._others))]
        queries = len(seconds)
        if not queries and not others:
            return
        asked = slice_of(self._batch, self._tenant, self._family)
        counts, planned = metrics.slices.counts(asked), frozenset(asked.versions)
        before = counts.queries
        if queries:
            assert self.label is not None, "add looks at it"
            answered = {frozenset((self.label,)): queries}
            _count(counts, Totals(queries, answered, queries * self._k, 0, 0), planned)
            counts.latency.add(seconds)
            traces.add_alike(self._batch, seconds)
        for batch in others:
            _count(counts, batch.summaries.totals(self._k), planned)
            counts.latency.add([batch.seconds], len(batch.summaries))
            traces.add(batch)
        self._count_state(counts, counts.queries - before, asked.versions[-1])
        counter = _counter(hits, self._batch, self._view) if docnos else None
        if counter is not None:
            counter.add(np.frombuffer(docnos, np.int64))

    def _count_state(self, counts: SliceCounts, queries: int, version: str) -> None:
        live, matches = self._view.live_count, self._batch.matches
        fresh = self._view.rows(version).fresh_count
        counts.coverage += queries * (fresh / live if live else 1.0)
        if matches is not None:
            counts.filtered += queries
            counts.selectivity += queries * (matches / live if live else 0.0)


def _taken(values: Values) -> Values:
    count = len(values)
    taken = values[:count]
    del values[:count]
    return taken


def _count(counts: SliceCounts, totals: Totals, planned: frozenset[str]) -> None:
    counts.queries += totals.queries
    counts.hits += totals.hits
    counts.stale_hits += totals.stale
    counts.short += totals.short
    counts.add_answers(totals.answered, planned)


def count_recall(
    metrics: Metrics, batch: TracedBatch, recall: float, *, tenant: str, family: str
) -> None:
    """Count a search whose hits were compared with exact search."""
    counts = metrics.slices.counts(slice_of(batch, tenant, family))
    counts.compared += 1
    counts.recall += recall


def slice_of(batch: TracedBatch, tenant: str, family: str) -> Slice:
    """Return the slice of a batch; texts are cut to the lengths that a file can hold."""
    return Slice(
        batch.collection,
        _cut(tenant, ROUTE_KEY_BYTES_MAX),
        _cut(family, NAME_BYTES_MAX),
        batch.mode,
        versions(batch.plan),
        batch.epoch,
    )


def _cut(text: str, bytes_max: int) -> str:
    return text.encode(errors="replace")[:bytes_max].decode(errors="ignore")


def _counter(hits: dict[str, HitCounter], batch: TracedBatch, view: View) -> HitCounter | None:
    """Return the counter of a collection's hits; None if a vacuum has replaced the numbering."""
    numbering, mine = view.numbering, hits.get(batch.collection)
    if mine is not None and mine.numbering.same(numbering):
        mine.epoch = max(mine.epoch, batch.epoch)
        return mine
    if mine is not None and batch.epoch < mine.epoch:
        return None
    # Another process's vacuum renumbered the documents: a reader's older hits are dropped.
    made = hits[batch.collection] = HitCounter(numbering, batch.epoch)
    return made
