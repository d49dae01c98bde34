"""The storage seam: the only operations vstore asks of an operating system.

`StorageFile` is one open file, `Medium` the place a store lives (a path, or memory). Real files
are here; `memory.py` and `faulty.py` are the other two implementations.
"""

from __future__ import annotations

import contextlib
import mmap
import os
import stat
import sys
import threading
from typing import TYPE_CHECKING, Protocol

from vstore.errors import (
    ClosedError,
    InvalidArgumentError,
    LockedError,
    NotFoundError,
    StorageError,
)
from vstore.storage import lock
from vstore.storage.fork import abandon_in_children

if TYPE_CHECKING:
    from collections.abc import Sequence

    from vstore.types import Bytes


def let_go(view: memoryview) -> None:
    """Take the pages of a view out of this process's memory, where the system can.

    They come back from the file when they are read next.
    """
    advice: int | None = getattr(mmap, "MADV_DONTNEED", None)  # not on Windows
    if advice is not None and isinstance(view.obj, mmap.mmap):
        view.obj.madvise(advice)


class StorageFile(Protocol):
    """One open file. Reads and writes are positioned; none moves a shared cursor."""

    @property
    def closed(self) -> bool:
        """Whether it can no longer be used."""
        ...

    def size(self) -> int:
        """Length in bytes."""
        ...

    def read(self, offset: int, length: int) -> bytes:
        """Return a copy of up to ``length`` bytes (fewer at the end of the file)."""
        ...

    def view(self, offset: int, length: int) -> memoryview:
        """Return a read-only view of bytes that no one will write again.

        It stays valid after `close` for as long as someone holds it.
        """
        ...

    def write(self, offset: int, parts: Sequence[Bytes]) -> None:
        """Write the parts one after the other from ``offset`` on; all of them or an error."""
        ...

    def truncate(self, length: int) -> None:
        """Cut the file to ``length`` bytes."""
        ...

    def sync(self) -> None:
        """Return once everything written so far survives power loss."""
        ...

    def lock(self) -> bool:
        """Try to become the one writer; False if another handle is. Dies with the process."""
        ...

    def close(self) -> None:
        """Release the file and its lock. Views stay valid."""
        ...


class Medium(Protocol):
    """The place a store lives."""

    name: str

    def open(self, *, writable: bool, create: bool) -> StorageFile:
        """Open the current file of this place; ``create`` makes an empty one if there is none."""
        ...

    def is_current(self, file: StorageFile) -> bool:
        """Whether ``file`` is still the file of this place (a vacuum may have replaced it)."""
        ...

    def sync_entry(self) -> None:
        """Make durable which file is the current one."""
        ...

    def open_replacement(self) -> StorageFile:
        """Open an empty file that may replace the current one. The caller holds the lock."""
        ...

    def replace(self, current: StorageFile, replacement: StorageFile) -> StorageFile:
        """Make ``replacement`` the file of this place, atomically and durably.

        Returns the file to go on with, locked. ``current`` stays readable where the system allows,
        for the snapshots that still use it.
        """
        ...

    def discard_replacement(self) -> None:
        """Remove a replacement that was not used, also one a crash left behind."""
        ...


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
        flags = (os.O_RDWR if writable else os.O_RDONLY) | getattr(os, "O_BINARY", 0)
        if create:
            flags |= os.O_CREAT
        try:
            self._fd = os.open(path, flags, mode)
        except FileNotFoundError as error:
            if create:
                raise NotFoundError(f"{os.path.dirname(path)}: no such directory") from error
            hint = "Leave out create=False" if writable else "Open it with mode='rw'"
            raise NotFoundError(f"{name}: no such file. {hint} to create it.") from error
        except OSError as error:
            raise StorageError(f"{name}: cannot open: {error.strerror}") from error
        self.name = name
        self._seek_lock = threading.Lock()  # only where there is no positioned read
        abandon_in_children(self)

    def __del__(self) -> None:
        if getattr(self, "_fd", -1) >= 0:
            self.close()

    @property
    def closed(self) -> bool:
        return self._fd < 0

    @property
    def fd(self) -> int:
        """The descriptor.

        Raises
        ------
        ClosedError
            After `close`, and in a process forked after the file was opened.
        """
        if self._fd < 0:
            raise ClosedError(
                f"{self.name}: this handle is closed, or was opened before a fork; open it again"
            )
        return self._fd

    def size(self) -> int:
        return os.fstat(self.fd).st_size

    def identity(self) -> tuple[int, int]:
        """Device and inode: what tells this file from one that replaced it."""
        status = os.fstat(self.fd)
        return status.st_dev, status.st_ino

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
            return os.pread(self.fd, length, offset)
        else:
            with self._seek_lock:
                os.lseek(self.fd, offset, os.SEEK_SET)
                return os.read(self.fd, length)

    def view(self, offset: int, length: int) -> memoryview:
        # A map may only start at a multiple of the granularity. One map per block: it goes when
        # the last array over it goes, and the file may grow meanwhile.
        start = offset - offset % mmap.ALLOCATIONGRANULARITY
        try:
            mapped = mmap.mmap(
                self.fd, offset - start + length, access=mmap.ACCESS_READ, offset=start
            )
        except (OSError, ValueError) as error:
            raise StorageError(f"{self.name}: cannot map byte {offset}: {error}") from error
        return memoryview(mapped)[offset - start :]

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
            return os.pwrite(self.fd, data, offset)
        else:
            with self._seek_lock:
                os.lseek(self.fd, offset, os.SEEK_SET)
                return os.write(self.fd, data)

    def truncate(self, length: int) -> None:
        try:
            os.ftruncate(self.fd, length)
        except OSError as error:
            raise StorageError(f"{self.name}: cannot truncate: {error.strerror}") from error

    def sync(self) -> None:
        try:
            if sys.platform == "darwin":
                # fsync there leaves the data in the drive's cache.
                import fcntl

                fcntl.fcntl(self.fd, fcntl.F_FULLFSYNC)
            elif hasattr(os, "fdatasync"):
                # The length is metadata that fdatasync keeps; times are not worth a journal write.
                os.fdatasync(self.fd)
            else:
                os.fsync(self.fd)
        except OSError as error:
            raise StorageError(f"{self.name}: cannot sync: {error.strerror}") from error

    def lock(self) -> bool:
        return lock.try_lock(self.fd)

    def close(self) -> None:
        if self._fd >= 0:
            fd, self._fd = self._fd, -1
            lock.unlock(fd)  # a forked child may still hold a copy of the descriptor
            os.close(fd)

    def abandon(self) -> None:
        if self._fd >= 0:
            fd, self._fd = self._fd, -1
            with contextlib.suppress(OSError):
                os.close(fd)


def path_text(path: object) -> str:
    """Return a path as text.

    Raises
    ------
    InvalidArgumentError
        It is none.
    """
    text: object = os.fspath(path) if isinstance(path, os.PathLike) else path
    if not isinstance(text, str):
        raise InvalidArgumentError(f"path: expected a str or a Path, found {path!r:.60}")
    return text


class PathMedium:
    """A store at a path.

    The path is made absolute once, here, so that a store keeps its place when the process changes
    its directory. Where it is a symbolic link, a writer's file, lock and replacement are all at the
    file that the link led to when it was opened, and a vacuum leaves the link as it is. A link that
    leads elsewhere later no longer names the open file.

    Attributes
    ----------
    path : str
        The file that the name led to when it was opened.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.name = path_text(path)
        if "\0" in self.name:
            raise InvalidArgumentError(f"{self.name!r:.80}: a path cannot have a null character")
        try:
            self._named = os.path.abspath(path)
        except OSError as error:  # a relative path, and the current directory was removed
            raise StorageError(f"{path}: cannot resolve: {error.strerror}") from error
        self._resolve()

    def _resolve(self) -> None:
        self.path = os.path.realpath(self._named)
        self._replacement_path = self.path + "-vacuum"

    def open(self, *, writable: bool, create: bool) -> RealFile:
        self._resolve()
        return RealFile(self.path, name=self.name, writable=writable, create=create)

    def is_current(self, file: StorageFile) -> bool:
        assert isinstance(file, RealFile)
        try:
            status = os.stat(self._named)
        except OSError:  # removed, or hidden behind a link or a folder that leads nowhere
            return False
        return (status.st_dev, status.st_ino) == file.identity()

    def open_replacement(self) -> RealFile:
        self.discard_replacement()
        path = self._replacement_path
        # Nobody else's until it has the owner and mode of the file it will replace: whoever opened
        # it while it is empty could read what is written to it later.
        file = RealFile(path, name=path, writable=True, create=True, mode=0o600)
        self._inherit_permissions(file)
        # Locked before it gets the store's name, so that there is no moment without a writer.
        if not file.lock():
            raise LockedError(path, waited_s=0)
        return file

    def _inherit_permissions(self, file: RealFile) -> None:
        if sys.platform != "win32":  # there they come from the folder
            try:
                old = os.stat(self.path)
            except OSError:  # removed under the writer's feet: nothing to inherit
                return
            # The group before the mode, which may open the file to it; the owner last, because
            # only the owner may do the others. What the system refuses stays with the writer.
            with contextlib.suppress(OSError):
                os.fchown(file.fd, -1, old.st_gid)
            with contextlib.suppress(OSError):
                os.fchmod(file.fd, stat.S_IMODE(old.st_mode))
            with contextlib.suppress(OSError):
                os.fchown(file.fd, old.st_uid, -1)

    def replace(self, current: StorageFile, replacement: StorageFile) -> RealFile:
        assert isinstance(replacement, RealFile)
        if sys.platform == "win32":
            # An open file cannot be renamed or replaced there.
            current.close()
            replacement.close()
        try:
            os.replace(self._replacement_path, self.path)
        except OSError as error:
            raise StorageError(
                f"{self.name}: cannot replace it by its vacuumed copy: {error.strerror}. "
                "On Windows, close all readers first."
            ) from error
        self.sync_entry()
        if sys.platform == "win32":
            replacement = self.open(writable=True, create=False)
            if not replacement.lock():
                raise LockedError(self.name, waited_s=0)
            return replacement
        replacement.name = self.name
        return replacement

    def discard_replacement(self) -> None:
        try:
            os.unlink(self._replacement_path)
        except FileNotFoundError:
            pass
        except OSError as error:
            raise StorageError(
                f"{self._replacement_path}: cannot remove: {error.strerror}"
            ) from error

    def sync_entry(self) -> None:
        # A new or renamed entry survives power loss only when its directory was synced. Windows
        # cannot open a directory; NTFS journals the entry itself.
        if sys.platform == "win32":
            return
        directory = os.path.dirname(self.path)
        try:
            fd = os.open(directory, os.O_RDONLY)
            try:
                os.fsync(fd)
            finally:
                os.close(fd)
        except OSError as error:
            raise StorageError(
                f"{directory}: cannot sync the directory: {error.strerror}"
            ) from error
