"""The storage seam: the only operations vstore asks of an operating system.

`StorageFile` is one open file, `Medium` the place a store lives (a path, or memory). Paths are
here, the files at them in `real_file.py`, the other implementations in `memory.py` and
`testing/faulty_medium.py`.
"""

from __future__ import annotations

import contextlib
import os
import stat
import sys
from typing import TYPE_CHECKING, Final, Protocol, runtime_checkable

from vstore.errors import InvalidArgumentError, LockedError, NotFoundError, StorageError
from vstore.storage import layout
from vstore.storage.descriptor import Descriptor, open_error
from vstore.storage.real_file import RealFile

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from vstore.types import Bytes


class StorageFile(Protocol):
    """One open file. Reads and writes are positioned; none moves a shared cursor.

    Methods raise `StorageError` where the system refuses, and `ClosedError` after `close`.
    """

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
        """Return a read-only view of bytes that no one will write again, or a copy of them.

        It stays valid after `close` for as long as someone holds it. Where the offset is a multiple
        of 16, its address is one, too.
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

    def holder(self) -> int | None:
        """Return the process whose handle is the writer, after a `lock` that failed; for messages.

        None where that cannot be told.
        """
        ...

    def close(self) -> None:
        """Release the file and its lock. Views stay valid."""
        ...


@runtime_checkable
class Medium(Protocol):
    """The place a store lives. ``vstore.open`` takes any object with these methods.

    Attributes
    ----------
    name : str
        For messages, and as ``Store.path``.
    """

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

    def open_replacement(self, file_uuid: bytes) -> StorageFile:
        """Open an empty file that may replace the current one. The caller holds the lock."""
        ...

    def replace(self, current: StorageFile, replacement: StorageFile) -> StorageFile:
        """Make ``replacement`` the file of this place, atomically and durably.

        Returns the file to go on with, locked. ``current`` stays readable where the system allows,
        for the snapshots that still use it.
        """
        ...

    def discard_replacement(self, file_uuid: bytes) -> None:
        """Remove a replacement that was not used, also one a crash left behind; nobody else's."""
        ...


_HOME: Final = ("~/", "~" + os.sep)


def path_text(path: object) -> str:
    """Return a path as text.

    Raises
    ------
    InvalidArgumentError
        It is none, or no file can have it.
    """
    text: object = os.fspath(path) if isinstance(path, os.PathLike) else path
    if not isinstance(text, str):
        hint = "; os.fsdecode() makes text of it" if isinstance(text, bytes) else ""
        raise InvalidArgumentError(f"path: expected a str or a Path, found {path!r:.60}{hint}")
    if not text:
        raise InvalidArgumentError("path: is empty; pass the file's, or ':memory:'")
    if "\0" in text:
        raise InvalidArgumentError(f"{text!r:.80}: a path cannot have a null character")
    if text.endswith((os.sep, os.altsep or os.sep)):
        raise InvalidArgumentError(
            f"{text!r:.200}: a path that ends in a slash is a directory's; a store is a file"
        )
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
        # As a shell does, which has not seen a path from a file of settings.
        home = os.path.expanduser("~") if self.name.startswith(_HOME) else ""
        try:
            self._named = os.path.abspath(home + self.name[1:] if home else self.name)
        except OSError as error:  # a relative path, and the current directory was removed
            raise StorageError(f"{self.name}: cannot resolve: {error.strerror}") from error
        self._resolve()

    def _resolve(self) -> None:
        self.path = os.path.realpath(self._named)
        self._replacement_path = self.path + "-vacuum"

    def open(self, *, writable: bool, create: bool) -> RealFile:
        self._resolve()
        return RealFile(self.path, name=self.name, writable=writable, create=create)

    def is_current(self, file: StorageFile) -> bool:
        assert isinstance(file, RealFile)
        # By the name that was given, and by the path that it led to, which a vacuum renames over.
        return _names(os.stat, self._named, file) and _names(os.lstat, self.path, file)

    def open_replacement(self, file_uuid: bytes) -> RealFile:
        self.discard_replacement(file_uuid)
        path = self._replacement_path
        if os.path.lexists(path):
            raise StorageError(
                f"{path}: a vacuum writes its copy there, and something else is there already; "
                "move it elsewhere, then vacuum again"
            )
        # Nobody else's until it has the owner and mode of the file it will replace: whoever opened
        # it while it is empty could read what is written to it later.
        file = RealFile(path, name=path, writable=True, create=True, mode=0o600)
        try:
            self._inherit_permissions(file)
            # Locked before it gets the store's name, so that there is no moment without a writer.
            if not file.lock():
                raise LockedError(path, waited_s=0)
            return file  # noqa: TRY300  # an interrupt before it would leave the file locked
        except BaseException:
            file.close()  # and its lock with it: the error may be kept for long
            raise

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
        if not _names(os.lstat, self._replacement_path, replacement):
            raise StorageError(
                f"{self._replacement_path}: not the vacuumed copy any more; nothing was replaced"
            )
        # Opened before, since a rename that cannot be made durable would be worse than none.
        directory = self._opened_directory()
        hint = ""
        if sys.platform == "win32":
            # An open file cannot be renamed or replaced there.
            current.close()
            replacement.close()
            hint = ". Close all readers first"
        try:
            os.replace(self._replacement_path, self.path)
        except OSError as error:
            raise StorageError(
                f"{self.name}: cannot replace it by its vacuumed copy: {error.strerror}{hint}"
            ) from error
        self._sync_directory(directory)
        if sys.platform == "win32":
            replacement = self.open(writable=True, create=False)
            if not replacement.lock():
                raise LockedError(self.name, waited_s=0)
            return replacement
        replacement.name = self.name
        return replacement

    def discard_replacement(self, file_uuid: bytes) -> None:
        path = self._replacement_path
        try:
            if not stat.S_ISREG(os.lstat(path).st_mode):
                return
            file = RealFile(path, name=path, writable=False, create=False)
            try:
                is_ours = _is_leftover(file.read(0, layout.BLOCKS_START), file_uuid) and file.lock()
            finally:
                file.close()
            if is_ours:
                os.unlink(path)
        except (FileNotFoundError, NotADirectoryError, NotFoundError):
            pass
        except OSError as error:
            raise StorageError(f"{path}: cannot remove: {error.strerror}") from error

    def sync_entry(self) -> None:
        # A new or renamed entry survives power loss only when its directory was synced.
        self._sync_directory(self._opened_directory())

    def _opened_directory(self) -> Descriptor | None:
        # Windows cannot open a directory; NTFS journals the entry itself.
        directory = os.path.dirname(self.path)
        try:
            return None if sys.platform == "win32" else Descriptor(directory, os.O_RDONLY)
        except OSError as error:
            raise open_error(directory, error) from error

    def _sync_directory(self, directory: Descriptor | None) -> None:
        if directory is None:
            return
        try:
            os.fsync(directory.fd)
        except OSError as error:
            raise StorageError(
                f"{os.path.dirname(self.path)}: cannot sync the directory: {error.strerror}"
            ) from error
        finally:
            directory.close()


def _names(status_of: Callable[[str], os.stat_result], path: str, file: RealFile) -> bool:
    """Whether a path names an open file."""
    try:
        status = status_of(path)
    except OSError:  # removed, or hidden behind a link or a folder that leads nowhere
        return False
    return (status.st_dev, status.st_ino) == file.identity()


def _is_leftover(head: bytes, file_uuid: bytes) -> bool:
    """Whether a file begins as the copy of a store that a vacuum did not finish."""
    start = next(field.offset for field in layout.SUPERBLOCK if field.name == "file_uuid")
    return not any(head) or head[start : start + len(file_uuid)] == file_uuid
