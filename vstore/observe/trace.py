"""The trace on every result: what was read, when, and what came of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True)
class Trace:
    """One search.

    Attributes
    ----------
    epoch : int
        The state it was answered from; ``Store.snapshot(epoch)`` shows it again.
    mode : {"matched", "dual"}
    versions : tuple[str, ...]
        Versions the plan reads.
    segments : Mapping[str, tuple[str, ...]]
        What was scanned, by version.
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
        """Return what a plan's estimates are compared with."""
        result: dict[str, object] = {
            "epoch": self.epoch,
            "fetched": dict(self.fetched),
            "answered": dict(self.answered),
            "ms": round(self.seconds * 1e3, 3),
        }
        if self.stale:
            result["stale"] = self.stale
        return result
