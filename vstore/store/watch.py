"""The latest vectors of a version, judged together: one alone is weak evidence."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from vstore.index.geometry import departures, is_suspect_query, suspect

if TYPE_CHECKING:
    from vstore.index.geometry import GeometryStatistics, Kind, Verdict
    from vstore.types import Array, FloatArray

LATEST: Final = 32  # false alarms of so many were not seen; of 8 they were
EVIDENCE_MIN: Final = 8  # below that no alarm
_EVERY: Final = 64  # queries between two judgements, of 30 microseconds each


class Watch:
    """A window over the latest vectors that were said to be of a version.

    Threads may share it: at worst a vector is missed, or judged twice.
    """

    def __init__(self, statistics: GeometryStatistics, kind: Kind) -> None:
        self.statistics = statistics
        self._kind = kind
        self._latest: list[FloatArray] = []
        self._seen = 0
        self.verdict: Verdict | None = None  # of the window, when it was last judged
        self.fits = ""  # what it fits instead, for messages

    @property
    def suspicious(self) -> bool:
        """Whether the window was, when it was last judged."""
        return self.verdict is not None and self.verdict.suspicious

    def add(self, vector: FloatArray) -> bool:
        """Keep a vector, which must not change any more; return whether `judge` is due."""
        seen = self._seen
        self._seen = seen + 1
        if seen < LATEST:
            self._latest.append(vector)
        else:
            self._latest[seen % LATEST] = vector
        return not self._seen % _EVERY or self._seen in (EVIDENCE_MIN, LATEST)

    def judge(self) -> Verdict:
        """Judge the window."""
        window = self.latest()
        verdict = suspect(self.statistics, window, kind=self._kind)
        if len(window) < EVIDENCE_MIN:
            verdict = verdict._replace(suspicious=False)
        self.verdict = verdict
        return verdict

    def latest(self) -> Array:
        """Return a copy of the window, float32 (n, dimension), in no order."""
        return np.array(self._latest[:LATEST])

    def is_suspect(self, query: FloatArray) -> bool:
        """Whether one query alone is."""
        return is_suspect_query(self.statistics, query)

    def departure(self, vectors: Array) -> float:
        """Return how far vectors depart on average; NaN without any that has a direction."""
        found = departures(self.statistics, vectors)
        found = found[~np.isnan(found)]
        return float(found.mean()) if len(found) else float("nan")
