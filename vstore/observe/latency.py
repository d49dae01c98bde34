"""Search latencies, in power-of-two buckets."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

BUCKETS: Final = 28  # powers of two of a microsecond: the last one is over two minutes


class LatencyHistogram:
    """Latencies in power-of-two buckets: bucket i counts those below ``2 ** i`` microseconds.

    The last bucket also counts all longer latencies.

    Attributes
    ----------
    counts : list of int
        Latencies by bucket.
    total_s : float
        Sum of all latencies.
    """

    __slots__ = ("counts", "total_s")

    def __init__(self, counts: Sequence[int] = (), total_s: float = 0.0) -> None:
        self.counts = [*counts, *[0] * (BUCKETS - len(counts))]
        self.total_s = total_s

    def add(self, seconds: Sequence[float], count: int = 1) -> None:
        """Count latencies in seconds, each ``count`` times."""
        bits = np.frexp(np.asarray(seconds) * 1e6)[1]  # 2 ** (bits - 1) <= microseconds
        for bucket, seen in enumerate(np.bincount(bits.clip(0, BUCKETS - 1)).tolist()):
            self.counts[bucket] += seen * count
        self.total_s += sum(seconds) * count

    def merge(self, other: LatencyHistogram) -> None:
        """Add the counts of another histogram."""
        self.counts = [
            mine + theirs for mine, theirs in zip(self.counts, other.counts, strict=True)
        ]
        self.total_s += other.total_s

    @property
    def count(self) -> int:
        """Number of latencies."""
        return sum(self.counts)

    def quantile(self, share: float) -> float:
        """Return an upper bound, in seconds, of the given share of latencies; 0 without any."""
        wanted = share * self.count
        seen = 0
        for bucket, count in enumerate(self.counts):
            seen += count
            if count and seen >= wanted:
                return float(2**bucket) / 1e6
        return 0.0

    def cumulative(self) -> Iterator[tuple[float, int]]:
        """Yield bounds in seconds and the count below each; the last bucket has no bound."""
        seen = 0
        for bucket, count in enumerate(self.counts[:-1]):
            seen += count
            yield float(2**bucket) / 1e6, seen

    def to_dict(self) -> dict[str, object]:
        """Return counts, mean and quantile bounds."""
        count = self.count
        return {
            "count": count,
            "mean_s": self.total_s / count if count else 0.0,
            "p50_below_s": self.quantile(0.5),
            "p99_below_s": self.quantile(0.99),
            "buckets_us": {str(2**i): n for i, n in enumerate(self.counts) if n},
        }
