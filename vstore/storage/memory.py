"""A store in memory: ``vstore.open(":memory:")``, for unit tests without a disk."""

from __future__ import annotations

import os
import weakref
from typing import TYPE_CHECKING

import numpy as np

from vstore.errors import ClosedError
from vstore.storage import fork
from vstore.storage.layout import ALIGNMENT

if TYPE_CHECKING:
    from collections.abc import Sequence

    from vstore.storage.file import StorageFile
    from vstore.types import Array, Bytes

_FIRST_CAPACITY_BYTES = 1 << 16


def _aligned_zeros(length: int) -> Array:
    raw = np.zeros(length + ALIGNMENT, np.uint8)
    start = -raw.ctypes.data % ALIGNMENT
    return raw[start : start + length]


class MemoryContent:
    """The bytes of one in-memory file, shared by its handles."""

    def __init__(self, initial: bytes = b"") -> None:
        self.length = len(initial)
        self.buffer = _aligned_zeros(max(_FIRST_CAPACITY_BYTES, len(initial)))
        self.buffer[: len(initial)] = np.frombuffer(initial, np.uint8)
        self._writer: weakref.ref[MemoryFile] | None = None

    @property
    def writer(self) -> MemoryFile | None:
        """The handle that has the lock, until it is closed or nobody holds it any more."""
        return None if self._writer is None else self._writer()

    @writer.setter
    def writer(self, file: MemoryFile | None) -> None:
        self._writer = None if file is None else weakref.ref(file)

    def resize(self, length: int) -> None:
        """Set the length; new bytes are zero."""
        if length > len(self.buffer):
            # Views keep the old buffer alive; what they show is committed and never changes.
            grown = _aligned_zeros(max(length, 2 * len(self.buffer)))
            grown[: self.length] = self.buffer[: self.length]
            self.buffer = grown
        elif length < self.length:
            self.buffer[length : self.length] = 0
        self.length = length


class MemoryFile:
    """A handle on a `MemoryContent`."""

    def __init__(self, content: MemoryContent) -> None:
        self._content: MemoryContent | None = content
        self._generation = fork.generation()

    @property
    def closed(self) -> bool:
        # In a child it would be a second writer, whose commits its parent never sees.
        return self._content is None or self._generation != fork.generation()

    @property
    def content(self) -> MemoryContent:
        """The shared bytes."""
        content = self._content
        if content is None or self.closed:
            raise ClosedError(
                ":memory:: this handle is closed, or was opened before a fork; a child process "
                "opens a store of its own"
            )
        return content

    def size(self) -> int:
        return self.content.length

    def read(self, offset: int, length: int) -> bytes:
        end = min(offset + length, self.content.length)
        return self.content.buffer[offset:end].tobytes()

    def view(self, offset: int, length: int) -> memoryview:
        view = self.content.buffer[offset : offset + length]
        view.flags.writeable = False
        return view.data

    def write(self, offset: int, parts: Sequence[Bytes]) -> None:
        content = self.content
        for part in parts:
            data = np.frombuffer(part, np.uint8)
            if offset + len(data) > content.length:
                content.resize(offset + len(data))
            content.buffer[offset : offset + len(data)] = data
            offset += len(data)

    def truncate(self, length: int) -> None:
        self.content.resize(length)

    def sync(self) -> None:
        pass

    def lock(self) -> bool:
        if self.content.writer not in (None, self):
            return False
        self.content.writer = self
        return True

    def holder(self) -> int | None:
        return None if self.content.writer is None else os.getpid()

    def close(self) -> None:
        if self._content is not None and self._content.writer is self:
            self._content.writer = None
        self._content = None


class MemoryMedium:
    """A place in memory. Handles opened from the same medium see the same store."""

    def __init__(self, initial: bytes = b"", *, name: str = ":memory:") -> None:
        self.name = name
        self._current = MemoryContent(initial)

    def open(self, *, writable: bool, create: bool) -> MemoryFile:
        return MemoryFile(self._current)

    def is_current(self, file: StorageFile) -> bool:
        assert isinstance(file, MemoryFile)
        return file.content is self._current

    def sync_entry(self) -> None:
        pass

    def open_replacement(self, file_uuid: bytes) -> MemoryFile:
        file = MemoryFile(MemoryContent())
        file.lock()
        return file

    def replace(self, current: StorageFile, replacement: StorageFile) -> MemoryFile:
        assert isinstance(replacement, MemoryFile)
        self._current = replacement.content
        return replacement

    def discard_replacement(self, file_uuid: bytes) -> None:
        pass

    def tobytes(self) -> bytes:
        """Return a copy of the current file, as it would stand on a disk."""
        return self._current.buffer[: self._current.length].tobytes()
