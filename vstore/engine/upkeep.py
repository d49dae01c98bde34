"""Upkeep in a background thread: merges and graphs, while other threads read and write.

Enabled by ``vstore.open(path, indexing="background")``. Commits then only seal. The thread looks
for due merges and graphs, makes each in memory without a writer's turn, and takes a turn to commit
it. After a kill at any point, uncommitted upkeep is made again.
"""

from __future__ import annotations

import contextlib
import threading
import time
import weakref
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Final, cast

from vstore.engine.indexing import builders
from vstore.errors import ClosedError, StorageError, VstoreError
from vstore.segment.replacement import find_replacement

if TYPE_CHECKING:
    from collections.abc import Callable

    from vstore.engine.open_file import OpenFile
    from vstore.index.construction import Kernels
    from vstore.segment.replacement import Replacement

_RETRY_S: Final = 5.0  # after an error: a full disk may have room again
_LOOK_S: Final = 0.01  # polling interval of `Upkeep.wait`


class _StoppedError(Exception):
    """The store is being closed."""


class Upkeep:
    """Keeps the versions of a store in few segments, with graphs.

    Threads communicate by a queue and by single attributes: an interrupt could leave a lock held.

    Attributes
    ----------
    error : VstoreError | None
        Error of the last attempt, which will be retried; None if it succeeded.
    """

    def __init__(self, open_file: OpenFile) -> None:
        self.error: VstoreError | None = None
        # A weak reference: this thread must not keep an unused store open.
        self._file = weakref.ref(open_file, lambda _: self.end())
        self._wakes: SimpleQueue[None] = SimpleQueue()
        self._seen = -1  # epoch at which nothing was due
        self._settled: object = None  # sealed segments for which nothing was due
        self._ending = False
        self._thread = threading.Thread(target=self._run, name="vstore-upkeep", daemon=True)
        self._thread.start()

    def wake(self) -> None:
        """Wake the thread after a commit."""
        self._wakes.put(None)

    def end(self) -> None:
        """Tell the thread to abandon its work and end."""
        self._ending = True
        self.wake()

    def join(self) -> None:
        """Wait for the thread, after `end`. Must not be called during a writer's turn."""
        if self._thread is not threading.current_thread():
            self._thread.join()

    def wait(self, epoch: Callable[[], int], timeout_s: float | None) -> bool:
        """Wait until nothing is due; return False on timeout.

        Parameters
        ----------
        epoch : callable
            Returns the store's epoch.

        Raises
        ------
        VstoreError
            The last attempt failed.
        """
        self.wake()  # an interrupted commit may not have woken the thread
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        while not (self._ending or self._seen >= epoch()):
            if self.error is not None:
                raise self.error
            if deadline is not None and time.monotonic() >= deadline:
                return False
            time.sleep(_LOOK_S)
        return True

    def _run(self) -> None:
        while not self._ending:
            try:
                epoch = self._step()
                self.error = None
                if epoch is not None:  # nothing is due until the next commit
                    self._seen = epoch
                    self._wakes.get()
            except (_StoppedError, ClosedError):
                return
            except Exception as error:  # if the thread ended, callers of `wait` would hang
                self.error = _as_ours(error)
                self._pause()

    def _pause(self) -> None:
        until = time.monotonic() + _RETRY_S
        while not self._ending and (rest_s := until - time.monotonic()) > 0:
            with contextlib.suppress(Empty):
                self._wakes.get(timeout=rest_s)

    def _open(self) -> OpenFile:
        open_file = self._file()
        if open_file is None:
            raise _StoppedError
        return open_file

    def _step(self) -> int | None:
        """Make the first due merge or graph; return the epoch if nothing was due."""
        snapshot = self._open().current()
        collections = snapshot.state.collections
        # Only sealed segments decide what is due; frequent small commits do not change them.
        sealed = {
            name: (one.segments, {label: v.segments for label, v in one.versions.items()})
            for name, one in collections.items()
        }
        if sealed == self._settled:
            return snapshot.epoch
        for name, collection in collections.items():
            for label, version in collection.versions.items():
                rows = snapshot.cache.rows(version, collection.segments)
                replacement = find_replacement(version, rows, self._builders)
                if replacement is not None:
                    self._put(name, label, replacement)
                    return None
        self._settled = sealed
        return snapshot.epoch

    def _put(self, name: str, label: str, replacement: Replacement) -> None:
        if self._ending:
            raise _StoppedError
        self._open().put_replacement(replacement, name=name, label=label)

    def _builders(self, rows: int) -> Kernels | None:
        found = builders(rows)
        return (
            None
            if found is None
            else cast("Kernels", _StoppableKernels(found, lambda: self._ending))
        )


def _as_ours(error: Exception) -> VstoreError:
    """Return an error as a `VstoreError` that names upkeep."""
    if isinstance(error, VstoreError):
        return error
    return StorageError(f"upkeep: {type(error).__name__}: {error}")


class _StoppableKernels:
    """Kernels that end a build between two batches when the store is being closed."""

    def __init__(self, kernels: Kernels, is_ending: Callable[[], bool]) -> None:
        self._kernels = kernels
        self._is_ending = is_ending

    def __getattr__(self, name: str) -> object:
        if self._is_ending():
            raise _StoppedError
        return getattr(self._kernels, name)
