"""The trace on every result: what was read, when, and what came of it."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple

from vstore.query.plan import DualRead, segments

if TYPE_CHECKING:
    from collections.abc import Mapping

    from vstore.query.plan import PlanNode
    from vstore.query.summary import Summaries

_RECENT: Final = 256


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


class TracedBatch(NamedTuple):
    """Some searches with the same options, from which traces are made when they are looked at."""

    collection: str
    epoch: int
    plan: PlanNode
    matches: int | None
    seconds: float  # for one of them
    summaries: Summaries

    @property
    def mode(self) -> str:
        """How versions were read: "matched" or "dual"."""
        return "dual" if isinstance(self.plan, DualRead) else "matched"

    def trace(self, query: int) -> Trace:
        """Return the trace of one of the searches."""
        read = segments(self.plan)
        fetched, answered, stale = self.summaries[query]
        return Trace(
            self.collection,
            self.epoch,
            self.mode,
            tuple(read),
            read,
            fetched,
            answered,
            stale,
            self.matches,
            self.seconds,
        )


class TraceRing:
    """The most recent traces."""

    def __init__(self) -> None:
        self._batches: deque[tuple[TracedBatch, int]] = deque(maxlen=_RECENT)

    def add(self, batch: TracedBatch) -> None:
        """Keep the traces of a batch, and forget the oldest ones if there are too many."""
        count = len(batch.summaries)
        self._batches.extend((batch, i) for i in range(max(0, count - _RECENT), count))

    def recent(self) -> list[Trace]:
        """Return the traces, newest first."""
        return [batch.trace(query) for batch, query in reversed(list(self._batches))]
