"""What a handle remembers of its searches: counters and recent traces."""

from __future__ import annotations

from vstore.observe.metrics import Metrics
from vstore.observe.trace import Trace, TraceRing


class Observer:
    """Counters and traces of one open store."""

    def __init__(self) -> None:
        self.metrics = Metrics()
        self.traces = TraceRing()

    def record(self, trace: Trace, *, k: int) -> None:
        """Count a search for ``k`` hits and keep its trace."""
        hits = sum(trace.answered.values())
        self.traces.add(trace)
        self.metrics.record_query(
            trace.collection,
            trace.mode,
            planned=trace.versions,
            answered=frozenset(trace.answered),
            hits=hits,
            stale=trace.stale,
            short=hits < k,
            seconds=trace.seconds,
        )
