"""Encoding of counters as a record of a store (`format-spec.md`, "Records")."""

from __future__ import annotations

from vstore.limits import (
    METRIC_EPOCHS_MAX,
    METRIC_EVENTS_MAX,
    METRIC_SLICES_MAX,
    NAME_BYTES_MAX,
    ROUTE_KEY_BYTES_MAX,
    VERSIONS_MAX,
)
from vstore.manifest.plain import Plain, PlainReader
from vstore.observe.latency import BUCKETS, LatencyHistogram
from vstore.observe.metrics import Metrics
from vstore.observe.slices import REALS, SUMS, Slice, SliceCounts, SliceTable
from vstore.storage.packing import shown


def plain_metrics(metrics: Metrics) -> Plain:
    """Return counters as structured data."""
    return {
        "events": dict(metrics.events),
        "width": metrics.slices.width,
        "slices": [
            {
                **key._asdict(),
                "versions": list(key.versions),
                **{name: getattr(counts, name) for name in SUMS},
                "latency": counts.latency.counts,
                "seconds": counts.latency.total_s,
            }
            for key, counts in metrics.slices
        ],
    }


def read_metrics(plain: PlainReader) -> Metrics:
    """Check counters from a file.

    Raises
    ------
    ValueError
        A value is missing, or is not one that vstore writes.
    """
    width = plain.integer("width", maximum=2**63)
    if width < 1 or width & (width - 1):
        raise ValueError(f"{plain.where}.width: expected a power of two, found {width}")
    events = plain.mapping("events", _read_count, count_max=METRIC_EVENTS_MAX)
    slices = plain.sequence("slices", _read_slice, count_max=METRIC_SLICES_MAX)
    epochs = {key.epoch for key, _ in slices}
    if len(epochs) > METRIC_EPOCHS_MAX or any(epoch % width for epoch in epochs):
        raise ValueError(f"{plain.where}.slices: epochs {shown(sorted(epochs))}, width {width}")
    table = SliceTable(width)
    for key, counts in slices:
        table.counts(key).merge(counts)
    return Metrics(table, events)


def _read_count(_name: str, value: object, where: str) -> int:
    return PlainReader({"count": value}, where).integer("count")


def _read_slice(value: object, where: str) -> tuple[Slice, SliceCounts]:
    plain = PlainReader(value, where)
    key = Slice(
        collection=plain.text("collection", bytes_max=NAME_BYTES_MAX),
        tenant=plain.text("tenant", bytes_max=ROUTE_KEY_BYTES_MAX),
        family=plain.text("family", bytes_max=NAME_BYTES_MAX),
        mode=plain.text("mode", bytes_max=NAME_BYTES_MAX),
        versions=plain.sequence("versions", _read_label, count_max=VERSIONS_MAX),
        epoch=plain.integer("epoch"),
    )
    counts = SliceCounts()
    for name in SUMS:
        setattr(counts, name, plain.real(name) if name in REALS else plain.integer(name))
    buckets = plain.sequence("latency", _read_bucket, count_max=BUCKETS)
    counts.latency = LatencyHistogram(buckets, plain.real("seconds"))
    return key, counts


def _read_label(value: object, where: str) -> str:
    return PlainReader({"label": value}, where).text("label", bytes_max=NAME_BYTES_MAX)


def _read_bucket(value: object, where: str) -> int:
    return PlainReader({"bucket": value}, where).integer("bucket")
