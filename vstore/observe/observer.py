"""A handle's record of its searches: counters, hits by document, and recent traces.

A search must not wait for its own statistics, so searches with the same options are only tallied.
Tallies are folded into the counters when someone reads them, when a tally is full, and when a
commit replaces the state, so that no old state is kept alive.
"""

from __future__ import annotations

from threading import RLock
from typing import TYPE_CHECKING, Final, NamedTuple

from vstore.cached import cached_property
from vstore.deferred import Deferred
from vstore.locked import locked
from vstore.observe.traced import TraceRing

if TYPE_CHECKING:
    from collections.abc import Mapping

    from vstore.observe import hit_counter, shadow, tally
    from vstore.observe import metrics as counters
    from vstore.observe import recall_sample as recall_samples
    from vstore.observe.hit_counter import HitCounter, Numbering
    from vstore.observe.metrics import Metrics
    from vstore.observe.tally import Tally, View
    from vstore.observe.trace import Trace
    from vstore.observe.traced import TracedBatch
    from vstore.types import Array, IntArray
else:  # loaded late: a search does not need these
    counters = Deferred("vstore.observe.metrics")
    hit_counter = Deferred("vstore.observe.hit_counter")
    shadow = Deferred("vstore.observe.shadow")
    recall_samples = Deferred("vstore.observe.recall_sample")
    tally = Deferred("vstore.observe.tally")

_TALLIES: Final = 32  # held at a time, of each kind


class SearchRecord(NamedTuple):
    """The arguments of `Observer.record`."""

    batch: TracedBatch
    k: int
    view: View
    docnos: IntArray | None
    tenant: str
    family: str


class UnflushedCounts(NamedTuple):
    """Counters and hits that have not been flushed to the file."""

    metrics: Metrics
    hits: Mapping[str, HitCounter]

    def __bool__(self) -> bool:
        # Events alone do not count: a flush is itself an event, so flushes would never end.
        searched = len(self.metrics.slices) > 0
        return searched or any(bool(one.found.any()) for one in self.hits.values())


class Observer:
    """Counters, hits and traces of one open store; safe to use from many threads.

    Parameters
    ----------
    recall_sample : float
        Share of searches to compare with exact search.

    Attributes
    ----------
    sampler : RecallSampler | None
        Selects the searches to compare with exact search; None for none.
    """

    def __init__(self, recall_sample: float = 0.0) -> None:
        self.sampler = recall_samples.RecallSampler(recall_sample) if recall_sample else None
        self._tallies: dict[tuple[int, str, str], Tally] = {}
        self._repeated: list[Tally] = []
        self._lock = RLock()
        self._traces = TraceRing()
        self._events: dict[str, int] = {}
        self._unflushed: Metrics | None = None
        self._flushed: Metrics | None = None
        self._taken: UnflushedCounts | None = None
        self._hits: dict[str, HitCounter] = {}
        self._is_new = True
        self._first: SearchRecord | None = None

    @cached_property
    def shadows(self) -> shadow.Shadows:
        """Comparisons that shadow reads made."""
        return shadow.Shadows()

    @locked
    def record(
        self,
        batch: TracedBatch,
        *,
        k: int,
        view: View,
        docnos: IntArray | None,
        tenant: str = "",
        family: str = "",
    ) -> None:
        """Record a batch of searches for ``k`` hits each.

        Parameters
        ----------
        docnos : int array of any shape, or None
            Documents found, to be counted; None if they are not of the current state.
        tenant : str
            Route key that filter and scope imply; empty for the default.
        family : str
            The caller's name for such queries.
        """
        search = SearchRecord(batch, k, view, docnos, tenant, family)
        if self._is_new:
            # A process that searches once need not import the counters.
            self._is_new, self._first = False, search
            return
        self._tally_first()
        self._tally(search)

    def _tally_first(self) -> None:
        first, self._first = self._first, None
        if first is not None:
            self._tally(first)

    def _tally(self, search: SearchRecord) -> None:
        batch, k, view, docnos, tenant, family = search
        key = (id(batch.plan), tenant, family)
        found = self._tallies.get(key)
        if found is None:
            if len(self._tallies) == _TALLIES:
                self._fold()
            found = tally.Tally(batch, k=k, view=view, tenant=tenant, family=family)
            self._tallies[key] = found  # keeps the plan alive, so that its id stays unique
        found.add(batch, docnos)
        if found.full:
            found.count(self._counted(), self._hits, self._traces)

    def tally(
        self, batch: TracedBatch, *, k: int, view: View, tenant: str = "", family: str = ""
    ) -> Tally:
        """Return a tally for a search that will be repeated; see `record` and `called`."""
        return tally.Tally(batch, k=k, view=view, tenant=tenant, family=family)

    @locked
    def called(self, by: Tally) -> None:
        """Register a tally for the next fold, and count it now if it is full."""
        if not by.listed:
            if len(self._repeated) == _TALLIES:
                self._fold()
            by.listed = True
            self._repeated.append(by)
        if by.full:
            by.count(self._counted(), self._hits, self._traces)

    @locked
    def compared(self, batch: TracedBatch, recall: float, *, tenant: str, family: str) -> None:
        """Count a search whose hits were compared with exact search."""
        tally.count_recall(self._counted(), batch, recall, tenant=tenant, family=family)

    @locked
    def count(self, name: str, amount: int = 1) -> None:
        """Count an event, for example ``"commits"``, and fold: the event may replace the state."""
        self._events[name] = self._events.get(name, 0) + amount
        self._fold()

    @locked
    def fold(self) -> None:
        """Fold the tallies into the counters, and release the state that they refer to."""
        self._fold()

    def _fold(self) -> None:
        self._tally_first()
        tallies, self._tallies = self._tallies, {}
        repeated, self._repeated = self._repeated, []
        for one in repeated:
            one.listed = False  # before counting: a thread that adds later registers it again
        for one in (*tallies.values(), *repeated):
            try:
                one.count(self._counted(), self._hits, self._traces)
            except Exception:
                import logging  # loaded late: a search does not need it

                # Writes fold after they have committed, and must not fail any more.
                logging.getLogger("vstore").exception("some searches could not be counted")

    def _counted(self) -> Metrics:
        if self._unflushed is None:
            self._unflushed = counters.Metrics()
        if self._events:
            self._unflushed.events.update(self._events)
            self._events = {}
        return self._unflushed

    # Reading.

    @locked
    def metrics(self, *others: Metrics) -> Metrics:
        """Return a copy of this handle's counters, added to any others given."""
        self._fold()
        total = counters.Metrics()
        taken = None if self._taken is None else self._taken.metrics
        for one in (self._flushed, taken, self._counted(), *others):
            if one is not None:
                total.merge(one)
        return total

    @locked
    def unflushed_metrics(self) -> Metrics:
        """Return a copy of the counters that have not been flushed."""
        self._fold()
        total = counters.Metrics()
        total.merge(self._counted())
        return total

    @locked
    def recent(self) -> list[Trace]:
        """Return the most recent traces, newest first."""
        self._fold()
        return self._traces.recent()

    @locked
    def hits(self, collection: str, numbering: Numbering, docno_end: int) -> Array | None:
        """Return unflushed hits by docno, u64 (docno_end,); None if there are none."""
        self._fold()
        counter = self._hits.get(collection)
        if counter is None or not counter.numbering.same(numbering):
            return None
        return counter.by_docno(docno_end)

    # Flushing.

    @locked
    def take(self) -> UnflushedCounts:
        """Return the unflushed counts, and set them apart until `put_back` or `flushed`."""
        self.put_back()  # counts that an interrupted flush left apart
        self._fold()
        counted = self._counted()
        # One statement, so that no interrupt comes in between.
        self._taken, self._unflushed, self._hits = UnflushedCounts(counted, self._hits), None, {}
        return self._taken

    @locked
    def put_back(self) -> None:
        """Return the counts taken to the unflushed ones: the write failed."""
        taken, self._taken = self._taken, None
        if taken is None:
            return
        self._counted().merge(taken.metrics)
        for name, hits in taken.hits.items():
            counter = self._hits.setdefault(name, hits)
            if counter is not hits and counter.numbering.same(hits.numbering):
                counter.merge(hits)

    @locked
    def flushed(self) -> None:
        """Move the counts taken to this handle's flushed ones: the write succeeded."""
        taken, self._taken = self._taken, None
        if taken is None:
            return
        if self._flushed is None:
            self._flushed = counters.Metrics()
        self._flushed.merge(taken.metrics)

    @locked
    def renumber(self, container: object, alive: Mapping[str, Array], epoch: int) -> None:
        """Switch to the docnos that a vacuum made.

        Parameters
        ----------
        alive : mapping of name to u32 (documents,)
            By collection, the old docno of each document by new docno.
        epoch : int
            Epoch of the vacuum.
        """
        self._fold()
        self._hits = {name: hits for name, hits in self._hits.items() if name in alive}
        for name, hits in self._hits.items():
            numbering = hit_counter.Numbering(container, hits.numbering.created_epoch)
            hits.renumber(numbering, alive[name], epoch)
