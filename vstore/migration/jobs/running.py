"""Which backfills run in this process: each job of an open file has at most one run.

A runner in another process is kept out by the writer's lock, and a runner that is killed leaves
nothing behind: the job is in the file, and the next runner goes on at once.
"""

from __future__ import annotations

from contextlib import contextmanager
from threading import Lock
from typing import TYPE_CHECKING, Final
from weakref import WeakKeyDictionary

from vstore.errors import StateError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vstore.engine.handle import Handle
    from vstore.engine.open_file import OpenFile

# The jobs that are being run, by open file: collection and version.
_running: Final[WeakKeyDictionary[OpenFile, set[tuple[str, str]]]] = WeakKeyDictionary()
_lock: Final = Lock()


@contextmanager
def only_run(handle: Handle, target: str) -> Iterator[None]:
    """Be the only run of a version's backfill while the block lasts.

    Raises
    ------
    StateError
        The job is being run: by another thread, or by this one, from inside its own embedding
        function.
    """
    key = (handle.name, target)
    with _lock:
        running = _running.setdefault(handle.file, set())
        if key in running:
            raise StateError(
                f"the backfill of {target!r} is being run by another thread of this process, or "
                "by this one further up; wait until that run returns, or stop it"
            )
        running.add(key)
    try:
        yield
    finally:
        with _lock:
            running.discard(key)
