"""Methods that one thread runs at a time, and that no exception leaves locked."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Concatenate, ParamSpec, Protocol, TypeVar

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable


class Lockable(Protocol):
    """An object whose `locked` methods exclude each other."""

    _lock: threading.RLock


_Self = TypeVar("_Self", bound=Lockable)
_Arguments = ParamSpec("_Arguments")
_Result = TypeVar("_Result")


def locked(
    method: Callable[Concatenate[_Self, _Arguments], _Result],
) -> Callable[Concatenate[_Self, _Arguments], _Result]:
    """Run a method under its object's ``_lock``.

    The ``with`` is enough for Ctrl-C. A debugger or a tracer may also raise as the block is left;
    then the ``finally`` lets the lock go, which knows its thread.
    """

    @functools.wraps(method)
    def run(self: _Self, /, *args: _Arguments.args, **kwargs: _Arguments.kwargs) -> _Result:
        lock = self._lock
        if is_held(lock):  # by a method that a signal handler interrupts, which calls this one
            return method(self, *args, **kwargs)
        try:
            with lock:
                return method(self, *args, **kwargs)
        finally:
            let_go(lock)

    return run


def is_held(lock: threading.RLock) -> bool:
    """Whether this thread holds a lock."""
    held: bool = lock._is_owned()  # type: ignore[attr-defined]  # as `threading.Condition` asks
    return held


def let_go(lock: threading.RLock) -> None:
    """Release a lock if this thread holds it."""
    if is_held(lock):
        lock.release()
