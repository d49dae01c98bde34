"""The latest vectors of a version, judged together: one alone is weak evidence."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from vstore.guarding.geometry import departures, is_suspect_query, suspect

if TYPE_CHECKING:
    from vstore.guarding.geometry import GeometryStatistics, Kind, Verdict
    from vstore.types import Array, FloatArray

LATEST: Final = 32  # a power of two; false alarms of so many were not seen, of 8 they were
EVIDENCE_MIN: Final = 8  # below that no alarm
_EVERY: Final = 512  # vectors between two judgements: each takes as long as five searches
# Once the window is full, one vector in four is kept: the others stay in no cache. Which one is
# told by its number times this, 2^32 over the golden ratio, so that no rhythm of queries escapes.
_STRIDE: Final = 0x9E3779B1


class Watch:
    """A window over the latest vectors that were said to be of a version.

    To be judged when it is full for the first time, then now and then, and often during an alarm.
    Threads may share it: at worst a vector is missed, or judged twice.

    Attributes
    ----------
    alarm : str | None
        Set by those who judge: what the window looked like when it was last judged.
    """

    def __init__(self, statistics: GeometryStatistics, kind: Kind) -> None:
        self.statistics = statistics
        self.alarm: str | None = None
        self._kind = kind
        self._latest: list[FloatArray | None] = [None] * LATEST
        self._seen = self._kept = 0

    def add(self, vector: FloatArray) -> bool:
        """Keep a vector, which must not change any more; return whether `judge` may be due.

        Of many, some are enough. All are kept as long as there are few, and during an alarm.
        """
        self._seen = seen = self._seen + 1
        if seen <= LATEST or not (seen * _STRIDE >> 30) & 3 or self.alarm is not None:
            self._latest[self._kept & (LATEST - 1)] = vector
            self._kept += 1
        return not seen & (LATEST - 1)

    def extend(self, vectors: Array) -> None:
        """Keep all of some vectors, (n, dimension), which must not change any more."""
        for vector in vectors:
            self._latest[self._kept & (LATEST - 1)] = vector
            self._kept += 1
        self._seen += len(vectors)

    @property
    def due(self) -> bool:
        """Whether a window that is full again is worth judging."""
        # An alarm that is over is not to last, and a model is new where a handle is.
        return self.alarm is not None or self._seen == LATEST or self._seen % _EVERY < LATEST

    def latest(self) -> Array:
        """Return a copy of the window, float32 (n, dimension), in no order."""
        return np.array([vector for vector in self._latest if vector is not None])

    def judge(self) -> Verdict:
        """Judge the window, which is not empty."""
        window = self.latest()
        verdict = suspect(self.statistics, window, kind=self._kind)
        return verdict if len(window) >= EVIDENCE_MIN else verdict._replace(suspicious=False)

    def is_suspect(self, query: FloatArray) -> bool:
        """Whether one query alone is."""
        return is_suspect_query(self.statistics, query)

    def departure(self, vectors: Array) -> float:
        """Return how far vectors depart on average; NaN without any that has a direction."""
        found = departures(self.statistics, vectors)
        found = found[~np.isnan(found)]
        return float(found.mean()) if len(found) else float("nan")
