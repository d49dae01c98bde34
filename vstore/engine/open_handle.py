"""Base of handles on an open file, which stay in the process that opened it."""

from __future__ import annotations

from typing import NoReturn

from vstore.errors import NotPicklableError


class OpenHandle:
    """Base class that refuses pickling and copying.

    Locks, mappings and threads belong to one process, so a handle cannot be sent to a worker; and a
    copy would be a second owner of one file.
    """

    __slots__ = ()

    def _elsewhere(self) -> str:
        """Return advice on what to do instead, as a sentence."""
        raise NotImplementedError

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise NotPicklableError(
            f"{type(self).__name__}: a handle on an open store can be neither pickled nor copied; "
            f"its locks and maps are of this process. {self._elsewhere()}"
        )


def opening(path: str, calls: str = "") -> str:
    """Return advice on how a worker gets the same handle, as a sentence."""
    if path == ":memory:":
        return "A store in memory is in no other process: make it in a file, and send its path"
    return f"Send the path, and in the worker call vstore.open({path!r}, mode='r'){calls}"
