"""History of a store: its commits, including those that a vacuum dropped."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

from vstore.errors import CorruptionError
from vstore.limits import HISTORY_MAX, MANIFEST_BYTES_MAX
from vstore.manifest.commit import Operation, ancestry, read_operation
from vstore.manifest.plain import U64_MAX
from vstore.numbers import check_whole
from vstore.storage.layout import BlockKind
from vstore.storage.packing import unpack

if TYPE_CHECKING:
    from collections.abc import Mapping

    from vstore.engine.snapshot import Snapshot
    from vstore.storage.block import BlockRef
    from vstore.storage.container import Container


@dataclass(frozen=True, slots=True)
class HistoryEntry:
    """One commit.

    Attributes
    ----------
    epoch : int
    time_us : int
        Microseconds since 1970-01-01 UTC.
    operation, note : str
        Name of the operation, and a person's reason.
    counts : Mapping[str, int]
    readable : bool
        Whether the epoch can still be opened; a vacuum drops untagged ones.
    """

    epoch: int
    time_us: int
    operation: str
    note: str
    counts: Mapping[str, int]
    readable: bool

    def to_dict(self) -> dict[str, object]:
        """Return the entry as plain data."""
        return {
            "epoch": self.epoch,
            "time_us": self.time_us,
            "operation": self.operation,
            "note": self.note,
            "counts": dict(self.counts),
            "readable": self.readable,
        }


def entries(snapshot: Snapshot, *, limit: int) -> list[HistoryEntry]:
    """Return commits, newest first, at most ``limit``.

    Raises
    ------
    InvalidArgumentError, CorruptionError
        The limit is not a whole number of at least 0; the record of dropped commits is damaged.
    """
    limit = check_whole(limit, what="limit", least=0)
    found = {
        commit.epoch: _entry(commit.epoch, commit.time_us, commit.operation, readable=True)
        for _, commit in ancestry(snapshot.container, snapshot.tip, limit=limit)
    }
    if len(found) < limit and snapshot.state.history is not None:
        for epoch, time_us, operation in dropped(snapshot.container, snapshot.state.history):
            found.setdefault(epoch, _entry(epoch, time_us, operation, readable=False))
    return [found[epoch] for epoch in sorted(found, reverse=True)][:limit]


def _entry(epoch: int, time_us: int, operation: Operation, *, readable: bool) -> HistoryEntry:
    return HistoryEntry(epoch, time_us, operation.name, operation.note, operation.counts, readable)


def dropped(container: Container, ref: BlockRef) -> list[tuple[int, int, Operation]]:
    """Return the commits of a history block: epoch, time and operation, newest first.

    Raises
    ------
    CorruptionError
        The block is damaged, or is not a history.
    """
    try:
        listed = unpack(container.read(ref, BlockKind.HISTORY), bytes_max=MANIFEST_BYTES_MAX)
        if not isinstance(listed, list) or len(listed) > HISTORY_MAX:
            raise ValueError("expected a list of commits")
        found = [_read_dropped(value) for value in listed]
        if any(newer[0] <= older[0] for newer, older in pairwise(found)):
            raise ValueError("epochs do not descend")
    except ValueError as error:
        raise CorruptionError(container.name, f"history: {error}", offset=ref.offset) from error
    return found


def _read_dropped(value: object) -> tuple[int, int, Operation]:
    if not isinstance(value, list) or len(value) != 3:
        raise ValueError("expected [epoch, time, operation]")
    epoch, time_us, operation = value
    if not all(type(number) is int and 0 <= number <= U64_MAX for number in (epoch, time_us)):
        raise ValueError("expected numbers for epoch and time")
    return epoch, time_us, read_operation(operation, "history.operation")
