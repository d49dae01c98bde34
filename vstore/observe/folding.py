"""Folding: from searches as they were recorded to counters, hits and traces."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from vstore.observe.hit_counter import HitCounter, Numbering
from vstore.observe.slices import Slice
from vstore.query.plan import versions
from vstore.query.summary import Totals

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from vstore.observe.metrics import Metrics
    from vstore.observe.observer import Pending
    from vstore.observe.slices import SliceCounts
    from vstore.observe.traced import TracedBatch, TraceRing
    from vstore.segment.row_table import RowTable


class View(Protocol):
    """A collection at one epoch, as far as it is counted."""

    @property
    def live_count(self) -> int:
        """Number of live documents."""
        ...

    @property
    def numbering(self) -> Numbering:
        """What its docnos count in."""
        ...

    def rows(self, label: str) -> RowTable:
        """Return the rows of a version."""
        ...


def fold(
    pending: Sequence[Pending], metrics: Metrics, hits: dict[str, HitCounter], traces: TraceRing
) -> None:
    """Count searches.

    Parameters
    ----------
    hits : dict of name to HitCounter
        By collection; changed in place, as are metrics and traces.
    """
    for run in _runs(pending):
        _count(run, metrics, hits)
    for batch, *_ in pending:
        traces.add(batch)


def _runs(pending: Sequence[Pending]) -> Iterator[list[Pending]]:
    """Yield searches in a row that were asked the same way of the same state: most of them are."""
    run: list[Pending] = []
    plan: object = None
    view, k, matches, tenant, family = None, 0, None, "", ""
    for entry in pending:
        batch = entry[0]
        if (
            batch.plan is plan
            and entry[2] is view
            and entry[1] == k
            and batch.matches == matches
            and entry[4] == tenant
            and entry[5] == family
        ):
            run.append(entry)
            continue
        if run:
            yield run
        run = [entry]
        plan, matches = batch.plan, batch.matches
        _, k, view, _, tenant, family = entry
    if run:
        yield run


def _count(run: list[Pending], metrics: Metrics, hits: dict[str, HitCounter]) -> None:
    batch, k, view, _, tenant, family = run[0]
    asked = _slice(batch, tenant, family)
    counts, planned = metrics.slices.counts(asked), frozenset(asked.versions)
    before = counts.queries
    whole: dict[str, int] = {}  # searches with all hits, fresh ones of one version, by version
    seconds = []
    for entry in run:
        batch = entry[0]
        label = batch.summaries.whole(k)
        if label is None:
            _count_totals(counts, batch.summaries.totals(k), planned)
            counts.latency.add([batch.seconds], len(batch.summaries))
        else:
            whole[label] = whole.get(label, 0) + 1
            seconds.append(batch.seconds)
    for label, queries in whole.items():
        answered = {frozenset((label,)): queries}
        _count_totals(counts, Totals(queries, answered, queries * k, 0, 0), planned)
    counts.latency.add(seconds)
    queries, live = counts.queries - before, view.live_count
    fresh = view.rows(asked.versions[-1]).fresh_count
    counts.coverage += queries * (fresh / live if live else 1.0)
    if batch.matches is not None:
        counts.filtered += queries
        counts.selectivity += queries * (batch.matches / live if live else 0.0)
    docnos = [entry[3] for entry in run if entry[3] is not None]
    counter = _counter(hits, batch, view) if docnos else None
    if counter is not None:
        counter.add(docnos)


def _count_totals(counts: SliceCounts, totals: Totals, planned: frozenset[str]) -> None:
    counts.queries += totals.queries
    counts.hits += totals.hits
    counts.stale_hits += totals.stale
    counts.short += totals.short
    counts.add_answers(totals.answered, planned)


def count_recall(
    metrics: Metrics, batch: TracedBatch, recall: float, *, tenant: str, family: str
) -> None:
    """Count a search whose hits were compared with exact search."""
    counts = metrics.slices.counts(_slice(batch, tenant, family))
    counts.compared += 1
    counts.recall += recall


def _slice(batch: TracedBatch, tenant: str, family: str) -> Slice:
    return Slice(batch.collection, tenant, family, batch.mode, versions(batch.plan), batch.epoch)


def _counter(hits: dict[str, HitCounter], batch: TracedBatch, view: View) -> HitCounter | None:
    """Return what counts a collection's hits; None for a numbering that is no more."""
    numbering, mine = view.numbering, hits.get(batch.collection)
    if mine is not None and mine.numbering.same(numbering):
        mine.epoch = max(mine.epoch, batch.epoch)
        return mine
    if mine is not None and batch.epoch < mine.epoch:
        return None
    # What a reader counted before another process's vacuum cannot be told from other documents.
    made = hits[batch.collection] = HitCounter(numbering, batch.epoch)
    return made
