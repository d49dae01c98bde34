"""What a path leads to: a store is a regular file, and nothing else is opened.

Opening a FIFO waits for whoever writes to it, opening a device may do anything, and both can be
read without end.
"""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING, Final

from vstore.errors import StorageError

if TYPE_CHECKING:
    from collections.abc import Mapping

# Of a file that took the place of a regular one between the look and the opening: do not wait.
OPEN_AT_ONCE: Final[int] = getattr(os, "O_NONBLOCK", 0)

_KINDS: Final[Mapping[int, str]] = {
    stat.S_IFDIR: "a directory",
    stat.S_IFIFO: "a FIFO (a named pipe)",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a character device",
    stat.S_IFBLK: "a block device",
}


def require_regular(place: str | int, *, name: str) -> None:
    """Refuse what is no regular file.

    Parameters
    ----------
    place : str or int
        A path, or a descriptor.
    name : str
        What the message calls it.

    Raises
    ------
    StorageError
        It is a directory, a device, a pipe or a socket.
    OSError
        As ``os.stat``.
    """
    mode = os.stat(place).st_mode
    if not stat.S_ISREG(mode):
        kind = _KINDS.get(stat.S_IFMT(mode), "no regular file")
        raise StorageError(f"{name}: is {kind}; a store is a regular file")
