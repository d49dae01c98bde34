"""Counters in the text format that Prometheus reads, version 0.0.4.

https://prometheus.io/docs/instrumenting/exposition_formats/
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from vstore.observe.metrics import Metrics
    from vstore.observe.slices import Slice, SliceCounts


class Instrument(NamedTuple):
    """One counter of a slice.

    Attributes
    ----------
    field : str
        Of `SliceCounts`.
    name : str
        Without the suffix that a format wants.
    """

    field: str
    name: str
    help: str


# All are sums, so that rates and means can be had for any set of slices: the mixed-version rate is
# mixed_queries over queries, the mean recall is recall over compared_queries.
COUNTERS: Final = (
    Instrument("queries", "vstore_queries", "Searches."),
    Instrument("hits", "vstore_hits", "Hits that searches returned."),
    Instrument("stale_hits", "vstore_stale_hits", "Hits made from an older revision."),
    Instrument("short", "vstore_short_queries", "Searches with fewer hits than asked for."),
    Instrument("filtered", "vstore_filtered_queries", "Searches with a filter or scope."),
    Instrument(
        "selectivity", "vstore_selectivity", "Sum over filtered searches: share that passed."
    ),
    Instrument("coverage", "vstore_coverage", "Sum over searches: coverage of the version then."),
    Instrument("compared", "vstore_compared_queries", "Searches compared with exact search."),
    Instrument("recall", "vstore_recall", "Sum over compared searches: share of exact hits found."),
)
MIXED: Final = Instrument(
    "", "vstore_mixed_queries", "Searches whose hits came from several versions, by kind."
)
EVENTS: Final = Instrument("", "vstore_events", "Commits, vacuums and other events of this handle.")
LATENCY: Final = Instrument("", "vstore_query_seconds", "Time that searches took, in seconds.")
KINDS: Final = ("explicit", "silent")


def labels_of(key: Slice) -> dict[str, str]:
    """Return a slice as labels; its epoch is not one, which would make series without end."""
    return {
        "collection": key.collection,
        "tenant": key.tenant,
        "family": key.family,
        "mode": key.mode,
        "versions": "+".join(key.versions),
    }


def render(metrics: Metrics) -> str:
    """Return counters as text; the slices of all epochs are added up."""
    series = list(metrics.slices.over_epochs())
    lines: list[str] = []
    for instrument in COUNTERS:
        name = f"{instrument.name}_total"
        lines += _head(name, "counter", instrument.help)
        lines += [_line(name, labels_of(key), getattr(c, instrument.field)) for key, c in series]
    name = f"{MIXED.name}_total"
    lines += _head(name, "counter", MIXED.help)
    for kind in KINDS:
        lines += [_line(name, {**labels_of(k), "kind": kind}, getattr(c, kind)) for k, c in series]
    lines += _head(LATENCY.name, "histogram", LATENCY.help)
    for key, counts in series:
        lines += _histogram(labels_of(key), counts)
    name = f"{EVENTS.name}_total"
    lines += _head(name, "counter", EVENTS.help)
    lines += [_line(name, {"event": event}, n) for event, n in sorted(metrics.events.items())]
    return "\n".join(lines) + "\n"


def _head(name: str, kind: str, text: str) -> list[str]:
    return [f"# HELP {name} {text}", f"# TYPE {name} {kind}"]


def _line(name: str, labels: Mapping[str, str], value: float) -> str:
    inside = ",".join(f'{label}="{_escaped(text)}"' for label, text in labels.items())
    return f"{name}{{{inside}}} {value!r}"


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def _histogram(labels: dict[str, str], counts: SliceCounts) -> Iterator[str]:
    name = LATENCY.name
    for bound, below in counts.latency.cumulative():
        yield _line(f"{name}_bucket", {**labels, "le": repr(bound)}, below)
    total = counts.latency.count
    yield _line(f"{name}_bucket", {**labels, "le": "+Inf"}, total)
    yield _line(f"{name}_sum", labels, counts.latency.total_s)
    yield _line(f"{name}_count", labels, total)
