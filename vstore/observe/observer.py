"""What a handle remembers of its searches: counters and recent traces."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vstore.observe.metrics import Metrics
from vstore.observe.traced import TraceRing

if TYPE_CHECKING:
    from vstore.observe.traced import TracedBatch


class Observer:
    """Counters and traces of one open store."""

    def __init__(self) -> None:
        self.metrics = Metrics()
        self.traces = TraceRing()

    def record(self, batch: TracedBatch, *, k: int) -> None:
        """Count a batch of searches for ``k`` hits each and keep its last traces."""
        self.metrics.record(
            batch.collection,
            batch.mode,
            planned=batch.versions,
            totals=batch.summaries.totals(k),
            seconds=batch.seconds,
        )
        self.traces.add(batch)
