"""The user's cache of machine code: where it is, and whether what is in it may be run.

Who can write there can run code as this user. So the folder and every file in it must be the user's
own, and writable by nobody else; and every folder above it must be the user's or the system's, and
writable by nobody else, unless it is sticky, as the temporary directory is: there others cannot
rename or remove what is not theirs. These are the rules of ssh. Nothing is made below a folder that
breaks them.

Paths are text here, as in `loader`.
"""

from __future__ import annotations

import contextlib
import os
import stat
import sys
from typing import TYPE_CHECKING, Final

from blake3 import blake3

from vstore.deferred import Deferred

if TYPE_CHECKING:
    import tempfile
    from typing import BinaryIO
else:  # only who compiles writes
    tempfile = Deferred("tempfile")

_HASH_BYTES: Final = 32
_CODE_BYTES_MAX: Final = 1 << 24
_OTHERS_MAY_WRITE: Final = 0o022


class UnusableCacheError(Exception):
    """There is no folder that machine code could be kept in; the text says why."""


def cache_directory() -> str:
    """Return the folder of the cache, made if need be.

    Raises
    ------
    UnusableCacheError
        There cannot be one, or others than the user could write to it.
    """
    path = _wanted()
    try:
        # The folders above it may be links, made by who may change them; the folder itself may not.
        above, name = os.path.split(path)
        above = os.path.realpath(above)
        path = os.path.join(above, name)
        _require_private_above(path)
        _make(path)
        _require_private_above(path)
        status = os.lstat(path)
    except (OSError, ValueError) as error:  # ValueError: a null character
        reason = getattr(error, "strerror", None) or error
        raise UnusableCacheError(f"{path}: {reason}") from error
    if not stat.S_ISDIR(status.st_mode):
        raise UnusableCacheError(f"{path}: no folder, or a link to one")
    if not _is_private(status):
        raise UnusableCacheError(f"{path}: not yours alone; `chmod 700` it, or make it yours")
    return path


def _wanted() -> str:
    """Return where the cache should be, an absolute path without a link's slash behind it."""
    given = os.environ.get("VSTORE_CACHE_DIR")
    if given:
        return os.path.abspath(os.path.expanduser(given))
    if sys.platform == "win32":
        base, names = os.environ.get("LOCALAPPDATA"), ("vstore", "Cache")
        default = ("AppData", "Local")
    elif sys.platform == "darwin":
        base, names = None, ("vstore",)
        default = ("Library", "Caches")
    else:
        base, names = os.environ.get("XDG_CACHE_HOME"), ("vstore",)
        default = (".cache",)
    if not base or not os.path.isabs(base):
        home = os.path.expanduser("~")
        # A user without a home; and an empty HOME, which stands for the root folder otherwise.
        if not os.path.isabs(home) or os.environ.get("HOME") == "":
            raise UnusableCacheError("no home directory; set VSTORE_CACHE_DIR")
        base = os.path.join(home, *default)
    return os.path.normpath(os.path.join(base, *names))


def _require_private_above(path: str) -> None:
    """Refuse a path below a folder that another user may write to.

    Raises
    ------
    UnusableCacheError, OSError
        Others may write to a directory above; the operating system does not say.
    """
    if sys.platform == "win32":  # the profile's own access rules
        return
    while (above := os.path.dirname(path)) != path:
        path = above
        try:
            status = os.lstat(path)
        except FileNotFoundError:  # will be made
            continue
        if not stat.S_ISDIR(status.st_mode):
            raise UnusableCacheError(f"{path}: no folder")
        if status.st_uid not in (0, os.getuid()):
            raise UnusableCacheError(
                f"{path}: belongs to another user, who could replace the cache"
            )
        if status.st_mode & _OTHERS_MAY_WRITE and not status.st_mode & stat.S_ISVTX:
            raise UnusableCacheError(
                f"{path}: other users may write there, and so could replace the cache; "
                "`chmod go-w` it, or set VSTORE_CACHE_DIR"
            )


def _make(path: str) -> None:
    """Make a folder and those above it, for this user alone whatever the umask."""
    missing = []
    while not os.path.lexists(path):
        missing.append(path)
        path = os.path.dirname(path)
    made = []
    try:
        for folder in reversed(missing):
            with contextlib.suppress(FileExistsError):  # another process was faster
                os.mkdir(folder, mode=0o700)
                made.append(folder)
    except OSError:
        for folder in reversed(made):
            with contextlib.suppress(OSError):
                os.rmdir(folder)
        raise


def _is_private(status: os.stat_result) -> bool:
    if sys.platform == "win32":
        return True
    return status.st_uid == os.getuid() and not status.st_mode & _OTHERS_MAY_WRITE


def is_writable(directory: str) -> bool:
    """Whether machine code can be put into a folder."""
    return os.access(directory, os.W_OK)


# The files.


def read_code(path: str | os.PathLike[str], *, private: bool) -> bytes | None:
    """Return the machine code in a file, None if there is none that may be run."""
    try:
        with open(path, "rb") as file:
            status = os.fstat(file.fileno())
            if private and not (stat.S_ISREG(status.st_mode) and _is_private(status)):
                return None
            return code_in(file)
    except OSError:
        return None


def code_in(file: BinaryIO) -> bytes | None:
    """Return the machine code in an open file, None if it is not whole."""
    data = file.read(_CODE_BYTES_MAX)
    digest, code = data[:_HASH_BYTES], data[_HASH_BYTES:]
    return code if code and blake3(code).digest() == digest else None


def signed(code: bytes) -> bytes:
    """Return what stands in a file of the cache: a hash, and the machine code."""
    return blake3(code).digest() + code


def write_code(path: str, code: bytes) -> None:
    """Write machine code so that a reader sees all of it or none."""
    handle, temporary = tempfile.mkstemp(dir=os.path.dirname(path))
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(signed(code))
        os.replace(temporary, path)  # atomic, also over another's
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise
