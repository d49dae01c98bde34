"""What an open store has counted of its searches: a part of `Store`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vstore.deferred import Deferred
from vstore.engine.open_handle import OpenHandle
from vstore.numbers import check_switch

if TYPE_CHECKING:
    from vstore.engine import flushing
    from vstore.engine.open_file import OpenFile
    from vstore.observe import prometheus
    from vstore.observe.metrics import Metrics
    from vstore.observe.trace import Trace
else:  # not what a search needs
    flushing = Deferred("vstore.engine.flushing")
    prometheus = Deferred("vstore.observe.prometheus")


class StoreMetrics(OpenHandle):
    """Counters and traces of a handle, and counters that handles have left in the file."""

    def __init__(self, open_file: OpenFile) -> None:
        self.open_file = open_file
        self.observer = open_file.observer

    def metrics(self, *, stored: bool = False) -> dict[str, object]:
        """Return this handle's counters as plain data; see `observe.metrics.Metrics.to_dict`.

        And under "shadows" what its shadow reads found, see `observe.shadow.ShadowReport`.

        Parameters
        ----------
        stored : bool
            Instead what writers have flushed into the file, and what this handle has not.
        """
        self.open_file.require_own_process()
        shadows = [report.to_dict() for report in self.observer.shadows.reports()]
        return {**self.counters(stored=stored).to_dict(), "shadows": shadows}

    def metrics_text(self, *, stored: bool = False) -> str:
        """Return counters in the text format that Prometheus reads; see `metrics`."""
        return prometheus.render(self.counters(stored=stored))

    def counters(self, *, stored: bool = False) -> Metrics:
        """Return counters as they are kept, a copy; see `metrics`."""
        self.open_file.require_own_process()
        if not check_switch(stored, what="stored"):
            return self.observer.metrics()
        total = flushing.stored_metrics(self.open_file.current())
        total.merge(self.observer.unflushed_metrics())
        return total

    def flush_metrics(self) -> bool:
        """Write into the file, in one commit, what was counted; see `flushing.flush_metrics`.

        Returns
        -------
        bool
            Whether there was a search to write down.

        Raises
        ------
        ReadOnlyError, LockedError, StateError, StorageError, CorruptionError
            Nothing is lost: it is counted still, and can be written later.
        """
        return flushing.flush_metrics(self.open_file)

    def traces(self) -> list[Trace]:
        """Return recent searches of this handle, newest first."""
        self.open_file.require_own_process()
        return self.observer.recent()
