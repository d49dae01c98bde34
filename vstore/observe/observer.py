"""What a handle remembers of its searches: counters and recent traces."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

from vstore.deferred import Deferred
from vstore.observe.metrics import Metrics
from vstore.observe.traced import TraceRing

if TYPE_CHECKING:
    from vstore.observe import shadow
    from vstore.observe.traced import TracedBatch
else:  # of routes that have one
    shadow = Deferred("vstore.observe.shadow")


class Observer:
    """Counters and traces of one open store."""

    def __init__(self) -> None:
        self.metrics = Metrics()
        self.traces = TraceRing()

    @cached_property
    def shadows(self) -> shadow.Shadows:
        """What shadow reads found."""
        return shadow.Shadows()

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
