"""A medium for crash tests: records every operation, fails on order, and shows what survives.

A test runs a workload over a `FaultyMedium`, then asks for the file as it could stand after a power
loss behind any operation: `survivors` keeps what was synced and damages what was not. The method
is SQLite's (snapshot after every operation, then drop, reorder or tear unsynced writes).
"""

from __future__ import annotations

import errno
import random
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, NamedTuple, TypeAlias

from vstore.errors import StorageError
from vstore.storage.memory import MemoryContent, MemoryFile

if TYPE_CHECKING:
    from collections.abc import Sequence

    from vstore.storage.file import StorageFile
    from vstore.types import Bytes

OperationKind: TypeAlias = Literal[
    "create", "write", "truncate", "sync", "rename", "sync_directory"
]
Damage: TypeAlias = Literal["dropped", "kept", "reordered", "torn512", "torn4096"]
DAMAGES: tuple[Damage, ...] = ("dropped", "kept", "reordered", "torn512", "torn4096")
_SECTOR_BYTES: dict[Damage, int] = {"torn512": 512, "torn4096": 4096}


class Operation(NamedTuple):
    """One recorded operation on file number ``file``."""

    kind: OperationKind
    file: int
    offset: int = 0  # of a write; the new length of a truncate
    data: bytes = b""


@dataclass(frozen=True, slots=True)
class Failure:
    """Fail operation number ``at`` (0-based), once or from then on.

    With ``short``, a failing write first writes half of its bytes, as a full disk does.
    """

    at: int
    persistent: bool = False
    short: bool = False
    code: int = errno.EIO


class FaultyMedium:
    """One store file whose every operation is recorded."""

    def __init__(self, initial: bytes | None = None, *, failure: Failure | None = None) -> None:
        self.name = "faulty.vstore"
        self.journal: list[Operation] = []
        self.attempts = 0
        self.failure = failure
        self._files = [MemoryContent(initial or b"")]
        self._current = 0

    def record(self, operation: Operation) -> None:
        """Count and record one operation, or fail it.

        Raises
        ------
        StorageError
            If this is the operation that was ordered to fail.
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


def survivors(
    journal: Sequence[Operation], count: int, *, damage: Damage, seed: int, initial: bytes = b""
) -> bytes:
    """Return the store's file as it could stand after a power loss behind ``count`` operations.

    Everything before a file's last sync is there. Of what came later, ``dropped`` keeps nothing,
    ``kept`` all, ``reordered`` a random subset of the writes, and ``torn512`` and ``torn4096`` a
    random subset of their sectors. A rename whose directory was not synced happened or did not.
    """
    rng = random.Random(seed)
    number = 0
    unsynced_rename: int | None = None
    for operation in journal[:count]:
        if operation.kind == "rename":
            unsynced_rename = operation.file
        elif operation.kind == "sync_directory" and unsynced_rename is not None:
            number, unsynced_rename = unsynced_rename, None
    if (
        unsynced_rename is not None
        and damage != "dropped"
        and (damage == "kept" or rng.random() < 0.5)
    ):
        number = unsynced_rename
    operations = [operation for operation in journal[:count] if operation.file == number]
    synced = max((i + 1 for i, op in enumerate(operations) if op.kind == "sync"), default=0)
    image = bytearray(initial if number == 0 else b"")
    for operation in operations[:synced]:
        _apply(image, operation)
    if damage == "dropped":
        return bytes(image)
    for operation in operations[synced:]:
        if damage == "kept":
            _apply(image, operation)
        elif damage == "reordered":
            if rng.random() < 0.5:
                _apply(image, operation)
        elif operation.kind == "write":
            sector = _SECTOR_BYTES[damage]
            for piece in _sectors(operation, sector):
                if rng.random() < 0.5:
                    _apply(image, piece)
        elif rng.random() < 0.5:
            _apply(image, operation)
    return bytes(image)


def _apply(image: bytearray, operation: Operation) -> None:
    if operation.kind == "write":
        end = operation.offset + len(operation.data)
        if end > len(image):
            image.extend(bytes(end - len(image)))
        image[operation.offset : end] = operation.data
    elif operation.kind == "truncate":
        del image[operation.offset :]
        image.extend(bytes(operation.offset - len(image)))


def _sectors(operation: Operation, sector: int) -> list[Operation]:
    """Split a write where the disk's sectors end."""
    pieces = []
    start = 0
    while start < len(operation.data):
        end = start + sector - (operation.offset + start) % sector
        pieces.append(
            operation._replace(offset=operation.offset + start, data=operation.data[start:end])
        )
        start = end
    return pieces
