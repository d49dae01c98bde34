"""Batches of searches, kept so that their traces can be made on demand."""

from __future__ import annotations

from collections import deque
from itertools import islice
from typing import TYPE_CHECKING, Final, NamedTuple

from vstore.deferred import Deferred
from vstore.query.plan import segments

if TYPE_CHECKING:
    from array import array

    from vstore.observe import trace as traces
    from vstore.observe.trace import Trace
    from vstore.query.plan import PlanNode
    from vstore.query.summary import Summaries
else:
    traces = Deferred("vstore.observe.trace")

_RECENT: Final = 256
# Read mode by the plan's root node; any other root reads one version.
_MODES: Final = {"DualRead": "dual", "CascadeRead": "cascade", "BridgedRead": "bridge"}


class TracedBatch(NamedTuple):
    """A batch of searches with the same options, from which traces are made on demand."""

    collection: str
    epoch: int
    plan: PlanNode
    versions: tuple[str, ...]
    matches: int | None
    seconds: float  # for one search
    summaries: Summaries

    @property
    def mode(self) -> str:
        """How versions were read: "matched", "dual", "cascade" or "bridge"."""
        return _MODES.get(type(self.plan).__name__, "matched")

    def trace(self, query: int) -> Trace:
        """Return the trace of one of the searches."""
        fetched, answered, stale = self.summaries[query]
        return traces.Trace(
            self.collection,
            self.epoch,
            self.mode,
            self.versions,
            segments(self.plan),
            fetched,
            answered,
            stale,
            self.matches,
            self.seconds,
        )


class TraceRing:
    """Ring buffer of the most recent traces; whole batches go at a time, so it may hold more."""

    def __init__(self) -> None:
        # Either query numbers of one batch, or the latencies of single searches otherwise alike.
        self._entries: deque[tuple[TracedBatch, range | array[float]]] = deque()
        self._count = 0

    def add(self, batch: TracedBatch) -> None:
        """Keep the traces of a batch."""
        count = len(batch.summaries)
        self._keep(batch, range(max(0, count - _RECENT), count))

    def add_alike(self, batch: TracedBatch, seconds: array[float]) -> None:
        """Keep the traces of single searches that differ only in latency."""
        self._keep(batch, seconds)

    def _keep(self, batch: TracedBatch, searches: range | array[float]) -> None:
        self._entries.append((batch, searches))
        self._count += len(searches)
        while self._count - len(self._entries[0][1]) >= _RECENT:
            self._count -= len(self._entries.popleft()[1])

    def recent(self) -> list[Trace]:
        """Return the traces, newest first."""
        newest_first = (
            batch.trace(one) if isinstance(one, int) else batch._replace(seconds=one).trace(0)
            for batch, searches in reversed(self._entries)
            for one in reversed(searches)
        )
        return list(islice(newest_first, _RECENT))
