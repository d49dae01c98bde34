"""A medium that records every operation, and fails on order: full disks, I/O errors.

`power_loss.power_losses` makes the files that could be left behind of what it has recorded.
"""

from __future__ import annotations

import errno
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, NamedTuple, Self, TypeAlias

from vstore.errors import StorageError
from vstore.storage.memory import MemoryContent, MemoryFile

if TYPE_CHECKING:
    from collections.abc import Sequence

    from vstore.storage.file import StorageFile
    from vstore.types import Bytes

OperationKind: TypeAlias = Literal[
    "create", "write", "truncate", "sync", "rename", "sync_directory"
]


class Operation(NamedTuple):
    """One recorded operation.

    Attributes
    ----------
    file : int
        0 for the file that was there first; a vacuum creates further ones.
    offset : int
        Where a write begins, or the length that a truncate leaves.
    """

    kind: OperationKind
    file: int
    offset: int = 0
    data: bytes = b""


@dataclass(frozen=True, slots=True)
class Failure:
    """An order to fail.

    Attributes
    ----------
    at : int
        Number of the operation, from 0 on.
    persistent : bool
        Whether all later ones fail, too.
    short : bool
        Whether a failing write first writes half of its bytes, as a full disk does.
    code : int
        ``errno`` of the cause.
    """

    at: int
    persistent: bool = False
    short: bool = False
    code: int = errno.EIO


class FaultyMedium:
    """A place of one store, in memory, whose every operation is recorded.

    Parameters
    ----------
    initial : bytes
        The file that is there already; empty for a new store.
    failure : Failure, optional
        Which operation is to fail, and how.

    Attributes
    ----------
    journal : list[Operation]
        Operations that did not fail, oldest first; of a short write the half that was written.
    attempts : int
        Number of operations, with those that failed.
    """

    def __init__(self, initial: bytes = b"", *, failure: Failure | None = None) -> None:
        self.name = "faulty.vstore"
        self.initial = initial
        self.journal: list[Operation] = []
        self.attempts = 0
        self.failure = failure
        self._files = [MemoryContent(initial)]
        self._current = 0

    @classmethod
    def after(cls, journal: Sequence[Operation]) -> Self:
        """Return the medium as a running system sees it behind some operations, its writer dead.

        What it records from now on comes after them, so that a power loss can still take back what
        the dead writer had not synced.
        """
        medium = cls()
        for operation in journal:
            if operation.kind == "create":
                medium._files.append(MemoryContent())
            elif operation.kind == "write":
                MemoryFile(medium._files[operation.file]).write(operation.offset, [operation.data])
            elif operation.kind == "truncate":
                MemoryFile(medium._files[operation.file]).truncate(operation.offset)
            elif operation.kind == "rename":
                medium._current = operation.file
        medium.journal = list(journal)
        return medium

    def record(self, operation: Operation) -> None:
        """Count and record one operation, or fail it.

        Raises
        ------
        StorageError
            This is the operation that was ordered to fail.
        """
        number, self.attempts = self.attempts, self.attempts + 1
        failure = self.failure
        if failure is not None and (
            number == failure.at or (failure.persistent and number > failure.at)
        ):
            if failure.short and operation.kind == "write":
                half = operation._replace(data=operation.data[: len(operation.data) // 2])
                self.journal.append(half)
                MemoryFile(self._files[half.file]).write(half.offset, [half.data])
            cause = OSError(failure.code, "injected failure")
            raise StorageError(f"{self.name}: injected failure of operation {number}") from cause
        self.journal.append(operation)

    def open(self, *, writable: bool, create: bool) -> FaultyFile:
        return FaultyFile(self, self._current, self._files[self._current])

    def is_current(self, file: StorageFile) -> bool:
        assert isinstance(file, FaultyFile)
        return file.number == self._current

    def sync_entry(self) -> None:
        self.record(Operation("sync_directory", self._current))

    def open_replacement(self, file_uuid: bytes) -> FaultyFile:
        number = len(self._files)
        self.record(Operation("create", number))
        content = MemoryContent()
        self._files.append(content)
        file = FaultyFile(self, number, content)
        file.lock()
        return file

    def replace(self, current: StorageFile, replacement: StorageFile) -> FaultyFile:
        assert isinstance(replacement, FaultyFile)
        self.record(Operation("rename", replacement.number))
        self._current = replacement.number
        self.sync_entry()
        return replacement

    def discard_replacement(self, file_uuid: bytes) -> None:
        pass

    def tobytes(self) -> bytes:
        """Return a copy of the current file as the running system sees it."""
        content = self._files[self._current]
        return content.buffer[: content.length].tobytes()


class FaultyFile(MemoryFile):
    """A handle whose writes, truncations and syncs are recorded."""

    def __init__(self, medium: FaultyMedium, number: int, content: MemoryContent) -> None:
        super().__init__(content)
        self.medium = medium
        self.number = number

    def write(self, offset: int, parts: Sequence[Bytes]) -> None:
        data = b"".join(parts)
        self.medium.record(Operation("write", self.number, offset, data))
        super().write(offset, [data])

    def truncate(self, length: int) -> None:
        self.medium.record(Operation("truncate", self.number, length))
        super().truncate(length)

    def sync(self) -> None:
        self.medium.record(Operation("sync", self.number))
