"""A file's descriptor, closed when nobody uses it any more, whatever interrupts its user.

A thread may read while another closes the file. Were the number freed under the read, the system
could give it to the next file that is opened, and the read would return that file's bytes.

Between a call that opens a descriptor and the assignment of its number, and in a destructor written
in Python, Ctrl-C would leave the descriptor open for good. So opening and closing are one call into
C each: ``list.extend`` and ``next`` over a ``map``, between whose steps Python delivers no signal.
"""

from __future__ import annotations

import contextlib
import errno
import os
import weakref
from functools import partial
from operator import length_hint
from typing import TYPE_CHECKING, Final

from vstore.errors import StorageError

if TYPE_CHECKING:
    from collections.abc import Iterator

# By number: what closes a descriptor that is freed. The entry of one that was closed stays until
# the system uses its number again.
_closing: Final[dict[int, weakref.ref[Descriptor]]] = {}


class Descriptor:
    """Owner of a descriptor: who uses the number holds the owner meanwhile.

    Raises
    ------
    OSError
        The system does not open the path.
    """

    __slots__ = ("__weakref__", "_closer", "_numbers", "_once")

    def __init__(self, path: str, flags: int, mode: int = 0o644) -> None:
        self._numbers: list[int] = []
        self._once = iter(self._numbers)
        self._closer: Iterator[None] = map(os.close, self._once)
        freed = weakref.ref(self, partial(next, self._closer))
        self._numbers.extend(map(partial(os.open, mode=mode), (path,), (flags,)))
        _closing[self.fd] = freed

    @property
    def fd(self) -> int:
        """The number."""
        return self._numbers[0]

    @property
    def closed(self) -> bool:
        """Whether it was closed, if only because this process is a fork."""
        return not length_hint(self._once)

    def close(self) -> None:
        """Close it now, whoever may use it: only where no other thread can."""
        with contextlib.suppress(OSError):  # nothing is lost: commits were synced
            next(self._closer, None)


def _close_all() -> None:
    # A child shares the parent's open file description and with it the lock: if it kept the
    # descriptor, the lock would outlive a parent that dies.
    for freed in list(_closing.values()):
        descriptor = freed()
        if descriptor is not None:
            descriptor.close()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_close_all)


def open_error(name: str, error: OSError) -> StorageError:
    """Return what to tell of a path that the system does not open."""
    hint = ""
    if error.errno in (errno.EMFILE, errno.ENFILE):
        hint = ". Close files or sockets, or raise the limit (ulimit -n), and try it again."
    return StorageError(f"{name}: cannot open: {error.strerror}{hint}")
