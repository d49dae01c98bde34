"""Counters as OpenTelemetry metrics; needs the extra ``otel``.

https://opentelemetry.io/docs/specs/otel/metrics/
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from vstore.errors import MissingDependencyError
from vstore.numbers import check_switch
from vstore.observe.instruments import COUNTERS, EVENTS, KINDS, LATENCY, MIXED, labels_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from vstore.api.store import Store
    from vstore.observe.metrics import Metrics

_QUANTILES = (0.5, 0.99)


def register(store: Store, *, provider: Any = None, stored: bool = False) -> None:  # noqa: ANN401 - typed by a library that may be missing
    """Register observable instruments that read a store's counters when they are collected.

    Counters have the names of `observe.instruments`, with dots. An observable instrument cannot be
    a histogram, so that of latencies its count, its sum and two quantiles are given. After the
    store is closed nothing more is reported.

    Parameters
    ----------
    provider : opentelemetry.metrics.MeterProvider, optional
        The global one if not given.
    stored : bool
        Report what writers have flushed into the file as well; see `Store.metrics`.

    Raises
    ------
    MissingDependencyError
        OpenTelemetry's API is not installed.
    """
    stored = check_switch(stored, what="stored")
    try:
        from opentelemetry import metrics as api  # the one place that needs it
    except ImportError as error:
        raise MissingDependencyError("opentelemetry", extra="otel") from error
    meter = (provider or api.get_meter_provider()).get_meter("vstore")

    def reading(observe: Callable[[Metrics], Iterator[tuple[float, dict[str, str]]]]) -> list[Any]:
        def callback(_options: object) -> Iterator[Any]:
            if store.closed:
                return
            for value, attributes in observe(store.metrics(stored=stored)):
                yield api.Observation(value, attributes)

        return [callback]

    for instrument in COUNTERS:
        meter.create_observable_counter(
            _dotted(instrument.name),
            callbacks=reading(_sums(instrument.field)),
            description=instrument.help,
        )
    meter.create_observable_counter(
        _dotted(MIXED.name), callbacks=reading(_mixed), description=MIXED.help
    )
    meter.create_observable_counter(
        _dotted(EVENTS.name), callbacks=reading(_events), description=EVENTS.help
    )
    name = _dotted(LATENCY.name)
    meter.create_observable_counter(
        f"{name}.sum", callbacks=reading(_seconds), unit="s", description=LATENCY.help
    )
    meter.create_observable_gauge(
        f"{name}.quantile",
        callbacks=reading(_quantiles),
        unit="s",
        description="Upper bound of a quantile of the time that searches took.",
    )


def _dotted(name: str) -> str:
    return name.replace("vstore_", "vstore.", 1)


def _sums(field: str) -> Callable[[Metrics], Iterator[tuple[float, dict[str, str]]]]:
    def observe(metrics: Metrics) -> Iterator[tuple[float, dict[str, str]]]:
        for key, counts in metrics.slices.over_epochs():
            yield getattr(counts, field), labels_of(key)

    return observe


def _mixed(metrics: Metrics) -> Iterator[tuple[float, dict[str, str]]]:
    for key, counts in metrics.slices.over_epochs():
        for kind in KINDS:
            yield getattr(counts, kind), {**labels_of(key), "kind": kind}


def _events(metrics: Metrics) -> Iterator[tuple[float, dict[str, str]]]:
    for event, count in metrics.events.items():
        yield count, {"event": event}


def _seconds(metrics: Metrics) -> Iterator[tuple[float, dict[str, str]]]:
    for key, counts in metrics.slices.over_epochs():
        yield counts.latency.total_s, labels_of(key)


def _quantiles(metrics: Metrics) -> Iterator[tuple[float, dict[str, str]]]:
    for key, counts in metrics.slices.over_epochs():
        for quantile in _QUANTILES:
            labels = {**labels_of(key), "quantile": repr(quantile)}
            yield counts.latency.quantile(quantile), labels
