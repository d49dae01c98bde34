"""Counters as Prometheus metrics; needs the extra ``prometheus``.

https://prometheus.github.io/client_python/collector/custom/
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from vstore.errors import MissingDependencyError
from vstore.numbers import check_switch
from vstore.observe.instruments import COUNTERS, EVENTS, KINDS, LABELS, LATENCY, MIXED, labels_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from prometheus_client.core import Metric
    from prometheus_client.registry import Collector

    from vstore.api.store import Store
    from vstore.observe.metrics import Metrics
else:
    Collector = object  # only its methods are asked for


class StoreCollector(Collector):
    """Reads a store's counters when Prometheus asks: ``REGISTRY.register(StoreCollector(store))``.

    The slices of all epochs are added up. After the store is closed nothing more is reported. A
    registry takes the collector of one store, since metrics have the same names for all.

    Parameters
    ----------
    stored : bool
        Report what writers have flushed into the file as well; see `Store.metrics`.

    Raises
    ------
    MissingDependencyError
        Prometheus' client library is not installed.
    """

    def __init__(self, store: Store, *, stored: bool = False) -> None:
        try:
            import prometheus_client  # noqa: F401 - before a registry asks for metrics
        except ImportError as error:
            raise MissingDependencyError("prometheus_client", extra="prometheus") from error
        self._store = store
        self._stored = check_switch(stored, what="stored")

    def describe(self) -> list[Metric]:
        """Return the metrics without values, so that a registry knows their names."""
        from vstore.observe.metrics import Metrics

        return list(families(Metrics()))

    def collect(self) -> Iterator[Metric]:
        """Yield the metrics as they are now.

        Raises
        ------
        ClosedError
            The process was forked after the store was opened.
        CorruptionError
            What is stored in the file fails its checksum.
        """
        if not self._store.closed:
            yield from families(self._store.metrics(stored=self._stored))


def families(metrics: Metrics) -> Iterator[Metric]:
    """Yield counters as metric families of Prometheus' client library."""
    from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily

    series = [(list(labels_of(key).values()), c) for key, c in metrics.slices.over_epochs()]
    for instrument in COUNTERS:
        family = CounterMetricFamily(instrument.name, instrument.help, labels=LABELS)
        for labels, counts in series:
            family.add_metric(labels, getattr(counts, instrument.field))
        yield family
    mixed = CounterMetricFamily(MIXED.name, MIXED.help, labels=(*LABELS, "kind"))
    for labels, counts in series:
        for kind in KINDS:
            mixed.add_metric([*labels, kind], getattr(counts, kind))
    yield mixed
    latency = HistogramMetricFamily(LATENCY.name, LATENCY.help, labels=LABELS)
    for labels, counts in series:
        buckets = [(repr(bound), below) for bound, below in counts.latency.cumulative()]
        buckets.append(("+Inf", counts.latency.count))
        latency.add_metric(labels, buckets, counts.latency.total_s)
    yield latency
    events = CounterMetricFamily(EVENTS.name, EVENTS.help, labels=("event",))
    for event, count in sorted(metrics.events.items()):
        events.add_metric([event], count)
    yield events


def text(store: Store, *, stored: bool = False) -> str:
    """Return counters in the text format that Prometheus reads; see `StoreCollector`.

    Raises
    ------
    MissingDependencyError
        Prometheus' client library is not installed.
    """
    collector = StoreCollector(store, stored=stored)
    from prometheus_client import CollectorRegistry, generate_latest

    registry = CollectorRegistry()
    registry.register(collector)
    return generate_latest(registry).decode()
