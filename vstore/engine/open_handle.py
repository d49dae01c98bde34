"""Handles on an open file: they stay in the process that opened it."""

from __future__ import annotations

from typing import NoReturn

from vstore.errors import NotPicklableError


class OpenHandle:
    """Base of what refuses to be pickled and copied.

    Locks, maps and threads are of one process, so a handle cannot be sent to a worker; and a copy
    would be a second owner of one file.
    """

    __slots__ = ()

    def _elsewhere(self) -> str:
        """Return what to do instead."""
        raise NotImplementedError

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise NotPicklableError(
            f"{type(self).__name__}: a handle on an open store can be neither pickled nor copied; "
            f"its locks and maps are of this process. {self._elsewhere()}"
        )


def opening(path: str, calls: str = "") -> str:
    """Return how a worker gets the same handle, as a sentence."""
    if path == ":memory:":
        return "A store in memory is in no other process: make it in a file, and send its path"
    return f"Send the path, and in the worker call vstore.open({path!r}, mode='r'){calls}"
