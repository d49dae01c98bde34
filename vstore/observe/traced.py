"""Searches as they are remembered: what their traces are made from, when someone looks."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final, NamedTuple

from vstore.deferred import Deferred
from vstore.query.plan import segments

if TYPE_CHECKING:
    from vstore.observe import trace as traces
    from vstore.observe.trace import Trace
    from vstore.query.plan import PlanNode
    from vstore.query.summary import Summaries
else:
    traces = Deferred("vstore.observe.trace")

_RECENT: Final = 256
# How versions are read, by the node at the root of a plan; of one version where it is another.
_MODES: Final = {"DualRead": "dual", "Cascade": "cascade", "Bridge": "bridge"}


class TracedBatch(NamedTuple):
    """Some searches with the same options, from which traces are made when they are looked at."""

    collection: str
    epoch: int
    plan: PlanNode
    versions: tuple[str, ...]
    matches: int | None
    seconds: float  # for one of them
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
    """The most recent traces."""

    def __init__(self) -> None:
        self._batches: deque[tuple[TracedBatch, int]] = deque(maxlen=_RECENT)

    def add(self, batch: TracedBatch) -> None:
        """Keep the traces of a batch, and forget the oldest ones if there are too many."""
        count = len(batch.summaries)
        if count == 1:
            self._batches.append((batch, 0))
            return
        self._batches.extend((batch, i) for i in range(max(0, count - _RECENT), count))

    def recent(self) -> list[Trace]:
        """Return the traces, newest first."""
        return [batch.trace(query) for batch, query in reversed(list(self._batches))]
