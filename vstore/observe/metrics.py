"""Counters of one handle: what was asked, which versions answered, how long it took."""

from __future__ import annotations

from collections import Counter
from threading import Lock
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from vstore.query.summary import Totals

_BUCKETS: Final = 28  # powers of two of a microsecond: the last one is over two minutes


class LatencyHistogram:
    """Latencies in power-of-two buckets: bucket i counts those below ``2 ** i`` microseconds."""

    def __init__(self) -> None:
        self._counts = [0] * _BUCKETS
        self._total_s = 0.0

    def add(self, seconds: float, count: int) -> None:
        """Count some that took the same time."""
        self._counts[min(int(seconds * 1e6).bit_length(), _BUCKETS - 1)] += count
        self._total_s += seconds * count

    def quantile(self, share: float) -> float:
        """Return an upper bound, in seconds, of the given share of latencies; 0 without any."""
        wanted = share * sum(self._counts)
        seen = 0
        for bucket, count in enumerate(self._counts):
            seen += count
            if count and seen >= wanted:
                return float(2**bucket) / 1e6
        return 0.0

    def to_dict(self) -> dict[str, object]:
        """Return counts, mean and quantile bounds."""
        count = sum(self._counts)
        return {
            "count": count,
            "mean_s": self._total_s / count if count else 0.0,
            "p50_below_s": self.quantile(0.5),
            "p99_below_s": self.quantile(0.99),
            "buckets_us": {str(2**i): n for i, n in enumerate(self._counts) if n},
        }


class Metrics:
    """Counters of one open store; safe to use from many threads.

    The *mixed-version retrieval rate* is the share of queries whose returned hits came from more
    than one version: *explicit* where the plan is a dual read of just these, *silent* otherwise. It
    is computed from the hits, not from the plan: silent is 0 unless something is broken.
    """

    def __init__(self) -> None:
        self._lock = Lock()
        self._queries: Counter[tuple[str, str, str]] = Counter()
        self._mixed: Counter[str] = Counter()
        self._counts: Counter[str] = Counter()
        self._latency = LatencyHistogram()

    def record(
        self,
        collection: str,
        mode: str,
        *,
        planned: tuple[str, ...],
        totals: Totals,
        seconds: float,
    ) -> None:
        """Count some queries with the same plan.

        Parameters
        ----------
        planned : tuple[str, ...]
            Versions the plan reads.
        seconds : float
            What one query took.
        """
        with self._lock:
            self._queries[collection, mode, "+".join(planned)] += totals.queries
            self._counts["queries"] += totals.queries
            self._counts["hits"] += totals.hits
            self._counts["stale_hits"] += totals.stale
            self._counts["short_results"] += totals.short
            for answered, queries in totals.answered.items():
                if not answered <= set(planned):
                    self._mixed["silent"] += queries
                elif len(answered) > 1:
                    self._mixed["explicit" if mode == "dual" else "silent"] += queries
            self._latency.add(seconds, totals.queries)

    def count(self, name: str, amount: int = 1) -> None:
        """Count something else, for example ``"commits"``."""
        with self._lock:
            self._counts[name] += amount

    def to_dict(self) -> dict[str, object]:
        """Return everything as plain data."""
        with self._lock:
            queries = self._counts["queries"]
            return {
                "counts": dict(self._counts),
                "queries": [
                    {"collection": collection, "mode": mode, "versions": versions, "count": count}
                    for (collection, mode, versions), count in sorted(self._queries.items())
                ],
                "mixed_version_rate": {
                    kind: self._mixed[kind] / queries if queries else 0.0
                    for kind in ("explicit", "silent")
                },
                "latency": self._latency.to_dict(),
            }
