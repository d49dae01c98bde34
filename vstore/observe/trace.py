"""The trace on every result: the state and rows read, the hits by version, the latency."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True)
class Trace:
    """Trace of one search.

    Attributes
    ----------
    epoch : int
        Epoch of the state searched; ``Store.snapshot(epoch)`` opens the state again.
    mode : {"matched", "dual"}
    versions : tuple[str, ...]
        Versions the plan reads.
    segments : Mapping[str, tuple[str, ...]]
        Segments read, by version.
    fetched : Mapping[str, int]
        Hits taken from each version to make the answer.
    answered : Mapping[str, int]
        Hits returned, by the version of their vector.
    stale : int
        Hits returned whose vector is of an older revision.
    matches : int | None
        Documents that passed the filter.
    seconds : float
    """

    collection: str
    epoch: int
    mode: str
    versions: tuple[str, ...]
    segments: Mapping[str, tuple[str, ...]]
    fetched: Mapping[str, int]
    answered: Mapping[str, int]
    stale: int
    matches: int | None
    seconds: float

    def actuals(self) -> dict[str, object]:
        """Return the measured values, to compare with the plan's estimates."""
        result: dict[str, object] = {
            "epoch": self.epoch,
            "fetched": dict(self.fetched),
            "answered": dict(self.answered),
            "ms": round(self.seconds * 1e3, 3),
        }
        if self.stale:
            result["stale"] = self.stale
        return result
