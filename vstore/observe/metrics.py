"""Counters of searches, of the versions that answered, of latencies and of events."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from vstore.observe.slices import SliceTable

if TYPE_CHECKING:
    from collections.abc import Mapping


class Metrics:
    """Counters of searches by slice, and of events by name; not thread-safe."""

    def __init__(
        self, slices: SliceTable | None = None, events: Mapping[str, int] | None = None
    ) -> None:
        self.slices = SliceTable() if slices is None else slices
        self.events: Counter[str] = Counter(events or {})

    def merge(self, other: Metrics) -> None:
        """Add the counts of another one."""
        self.slices.merge(other.slices)
        self.events.update(other.events)

    def to_dict(self) -> dict[str, object]:
        """Return everything as plain data.

        Returns
        -------
        dict
            ``counts`` by name; ``queries`` by collection, mode and versions;
            ``mixed_version_rate`` and ``latency`` over all slices; and ``slices`` one by one.
        """
        total = self.slices.total()
        queries: Counter[tuple[str, str, str]] = Counter()
        for key, counts in self.slices:
            queries[key.collection, key.mode, "+".join(key.versions)] += counts.queries
        everything = total.to_dict()
        searched = {
            name: everything[name] for name in ("queries", "hits", "stale_hits", "short_results")
        }
        return {
            "counts": {**self.events, **(searched if total.queries else {})},
            "queries": [
                {"collection": collection, "mode": mode, "versions": versions, "count": count}
                for (collection, mode, versions), count in sorted(queries.items())
            ],
            "mixed_version_rate": everything["mixed_version_rate"],
            "latency": everything["latency"],
            "slices": self.slices.to_list(),
        }
