"""Upkeep on a thread of its own: merging and graphs, while others read and write.

``vstore.open(path, indexing="background")``. A commit then only seals. The thread looks for what is
due, makes it in memory beside the writer, and takes a writer's turn to put it in place: one commit
for each merge or graph. Killed at any point, what was not committed is made again.
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
_LOOK_S: Final = 0.01  # how often `Upkeep.wait` looks


class _StoppedError(Exception):
    """The store is being closed."""


class Upkeep:
    """Keeps the versions of a store in few segments, with graphs.

    Threads tell each other by a queue and by single attributes, so that there is no lock that an
    interrupt could leave held.

    Attributes
    ----------
    error : VstoreError | None
        Why the last attempt failed, None if it did not; it is made again.
    """

    def __init__(self, open_file: OpenFile) -> None:
        self.error: VstoreError | None = None
        # A store that nobody holds any more lets go of its file; this thread does not hold it.
        self._file = weakref.ref(open_file, lambda _: self.end())
        self._wakes: SimpleQueue[None] = SimpleQueue()
        self._seen = -1  # epoch at which nothing was due
        self._settled: object = None  # segments of which nothing was due
        self._ending = False
        self._thread = threading.Thread(target=self._run, name="vstore-upkeep", daemon=True)
        self._thread.start()

    def wake(self) -> None:
        """Say that a commit was made."""
        self._wakes.put(None)

    def end(self) -> None:
        """Tell the thread to give up what it is building."""
        self._ending = True
        self.wake()

    def join(self) -> None:
        """Wait for the thread, after `end`. Not from within a writer's turn."""
        if self._thread is not threading.current_thread():
            self._thread.join()

    def wait(self, epoch: Callable[[], int], timeout_s: float | None) -> bool:
        """Wait until nothing is due; return whether that is so.

        Parameters
        ----------
        epoch : callable
            Returns the store's.

        Raises
        ------
        VstoreError
            Why the last attempt failed.
        """
        self.wake()  # an interrupted commit may not have come to it
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
            except Exception as error:  # a thread that ends leaves its callers waiting
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
        """Do what is due first; return the epoch if nothing was."""
        snapshot = self._open().current()
        collections = snapshot.state.collections
        # Nothing else decides what is due: small commits, which come often, change none of it.
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
    """Return an error that says where it comes from."""
    if isinstance(error, VstoreError):
        return error
    return StorageError(f"upkeep: {type(error).__name__}: {error}")


class _StoppableKernels:
    """Kernels that end a build between two batches when they are told to."""

    def __init__(self, kernels: Kernels, is_ending: Callable[[], bool]) -> None:
        self._kernels = kernels
        self._is_ending = is_ending

    def __getattr__(self, name: str) -> object:
        if self._is_ending():
            raise _StoppedError
        return getattr(self._kernels, name)
