"""A file of the operating system: the only place that reads, writes, maps and syncs one."""

from __future__ import annotations

import contextlib
import errno
import os
import sys
import threading
import weakref
from typing import TYPE_CHECKING, Concatenate, Final, ParamSpec, TypeVar

from vstore.errors import ClosedError, NotFoundError, StorageError
from vstore.storage import lock
from vstore.storage.descriptor import Descriptor, open_error
from vstore.storage.kind_of_file import OPEN_AT_ONCE, require_regular
from vstore.storage.mapping import FileMaps

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from vstore.types import Bytes

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")

# Files that this process has locked, for messages; those of a parent count as closed.
_writers: Final[weakref.WeakSet[RealFile]] = weakref.WeakSet()


class RealFile:
    """A file of the operating system.

    Parameters
    ----------
    name : str
        What messages call it: the path as the caller gave it.
    mode : int
        Permissions of a file that is made here, before the process's umask.
    """

    def __init__(
        self, path: str, *, name: str, writable: bool, create: bool, mode: int = 0o644
    ) -> None:
        self.name = name
        self._maps = FileMaps()
        self._seek_lock = threading.Lock()  # only where there is no positioned read
        flags = (os.O_RDWR if writable else os.O_RDONLY) | getattr(os, "O_BINARY", 0)
        if create:
            flags |= os.O_CREAT
        try:
            with contextlib.suppress(FileNotFoundError):  # it may be made
                require_regular(path, name=name)
            self._descriptor: Descriptor | None = Descriptor(path, flags | OPEN_AT_ONCE, mode)
            require_regular(self._descriptor.fd, name=name)
        except (FileNotFoundError, NotADirectoryError) as error:
            if create:
                raise NotFoundError(f"{os.path.dirname(path)}: no such directory") from error
            hint = "Leave out create=False" if writable else "Open it with mode='rw'"
            raise NotFoundError(f"{name}: no such file. {hint} to create it.") from error
        except OSError as error:
            if error.errno == errno.ELOOP:
                raise NotFoundError(
                    f"{name}: no such file: its symbolic links lead in a circle"
                ) from error
            raise open_error(name, error) from error

    @property
    def closed(self) -> bool:
        return self._descriptor is None or self._descriptor.closed

    @property
    def fd(self) -> int:
        """The descriptor, for a thread that nobody closes the file under.

        Raises
        ------
        ClosedError
            After `close`, and in a process forked after the file was opened.
        """
        return self._call(lambda fd: fd)

    def _call(
        self,
        function: Callable[Concatenate[int, Arguments], Result],
        *arguments: Arguments.args,
        **keywords: Arguments.kwargs,
    ) -> Result:
        """Call a function with the descriptor, which stays open until the function returns.

        Raises
        ------
        ClosedError
            As `fd`.
        """
        descriptor = self._descriptor
        if descriptor is None or descriptor.closed:
            raise ClosedError(
                f"{self.name}: this handle is closed, or was opened before a fork; open it again"
            )
        try:
            return function(descriptor.fd, *arguments, **keywords)
        finally:
            del descriptor  # an error's traceback would keep it open

    def size(self) -> int:
        return self._status().st_size

    def identity(self) -> tuple[int, int]:
        """Device and inode: what tells this file from one that replaced it."""
        status = self._status()
        return status.st_dev, status.st_ino

    def _status(self) -> os.stat_result:
        try:
            return self._call(os.fstat)
        except OSError as error:
            raise StorageError(f"{self.name}: cannot read its status: {error.strerror}") from error

    def read(self, offset: int, length: int) -> bytes:
        pieces = []
        while length:
            try:
                piece = self._read_once(offset, min(length, 1 << 30))
            except OSError as error:
                raise StorageError(
                    f"{self.name}: cannot read at byte {offset}: {error.strerror}"
                ) from error
            if not piece:
                break
            pieces.append(piece)
            offset += len(piece)
            length -= len(piece)
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def _read_once(self, offset: int, length: int) -> bytes:
        if sys.platform != "win32":
            return self._call(os.pread, length, offset)
        else:
            with self._seek_lock:
                self._call(os.lseek, offset, os.SEEK_SET)
                return self._call(os.read, length)

    def view(self, offset: int, length: int) -> memoryview:
        try:
            return self._call(self._maps.view, offset, length)
        except (OSError, ValueError) as error:
            raise StorageError(f"{self.name}: cannot map byte {offset}: {error}") from error

    def write(self, offset: int, parts: Sequence[Bytes]) -> None:
        try:
            for part in parts:
                rest = memoryview(part).cast("B")
                while rest:
                    written = self._write_once(offset, rest[: 1 << 30])
                    offset += written
                    rest = rest[written:]
        except OSError as error:
            raise StorageError(
                f"{self.name}: cannot write at byte {offset}: {error.strerror}"
            ) from error

    def _write_once(self, offset: int, data: memoryview) -> int:
        if sys.platform != "win32":
            return self._call(os.pwrite, data, offset)
        else:
            with self._seek_lock:
                self._call(os.lseek, offset, os.SEEK_SET)
                return self._call(os.write, data)

    def truncate(self, length: int) -> None:
        try:
            self._call(os.ftruncate, length)
        except OSError as error:
            raise StorageError(f"{self.name}: cannot truncate: {error.strerror}") from error

    def sync(self) -> None:
        try:
            if sys.platform == "darwin":
                # fsync there leaves the data in the drive's cache.
                import fcntl

                self._call(fcntl.fcntl, fcntl.F_FULLFSYNC)
            elif hasattr(os, "fdatasync"):
                # The length is metadata that fdatasync keeps; times are not worth a journal write.
                self._call(os.fdatasync)
            else:
                self._call(os.fsync)
        except OSError as error:
            raise StorageError(f"{self.name}: cannot sync: {error.strerror}") from error

    def lock(self) -> bool:
        try:
            locked = self._call(lock.try_lock)
        except OSError as error:
            raise StorageError(
                f"{self.name}: cannot lock: {error.strerror}. Network file systems may not lock; "
                "keep the store on a local disk."
            ) from error
        if locked:
            _writers.add(self)
        return locked

    def holder(self) -> int | None:
        mine = self.identity()
        for other in list(_writers):
            with contextlib.suppress(ClosedError, StorageError):  # closed since, or before a fork
                if other.identity() == mine:
                    return os.getpid()
        return lock.holder(*mine)

    def close(self) -> None:
        # Who reads this moment keeps the descriptor open until it has read. A forked child may
        # hold a copy for longer, so the lock is let go by itself.
        descriptor = self._descriptor
        if descriptor is not None and not descriptor.closed:
            lock.unlock(descriptor.fd)
        self._descriptor = None
