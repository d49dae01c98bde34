"""An open file: the snapshot that reads see, and the writers' turns that move it on."""

from __future__ import annotations

import contextlib
import threading
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

from vstore.deferred import Deferred
from vstore.errors import (
    ClosedError,
    LockedError,
    NotFoundError,
    ReadOnlyError,
    StateError,
    VstoreError,
)
from vstore.limits import HISTORY_MAX
from vstore.manifest.commit import Operation, find_epoch
from vstore.observe.observer import Observer
from vstore.storage.opening import open_container
from vstore.store.numbers import check_whole
from vstore.store.snapshot import SegmentCache, load_snapshot

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from vstore.clock import Clock
    from vstore.manifest import edits
    from vstore.manifest.state import StoreState
    from vstore.segment import replacement as replacements
    from vstore.segment.changes import CollectionChanges
    from vstore.segment.compaction import FindKernels
    from vstore.storage.container import Container
    from vstore.storage.file import Medium
    from vstore.store import dual_write as dual_writes
    from vstore.store import indexing as graphs
    from vstore.store import learning, writer
    from vstore.store import upkeep as upkeeps
    from vstore.store import vacuum as vacuums
    from vstore.store.indexing import Indexing
    from vstore.store.leasing import Runner
    from vstore.store.snapshot import Snapshot
    from vstore.store.transaction import Transaction
else:  # not what a search needs
    dual_writes = Deferred("vstore.store.dual_write")
    edits = Deferred("vstore.manifest.edits")
    graphs = Deferred("vstore.store.indexing")
    learning = Deferred("vstore.store.learning")
    replacements = Deferred("vstore.segment.replacement")
    upkeeps = Deferred("vstore.store.upkeep")
    vacuums = Deferred("vstore.store.vacuum")
    writer = Deferred("vstore.store.writer")

Durability: TypeAlias = Literal["full", "relaxed"]
RELAXED_SYNC_S: Final = 1.0  # the most that a power loss costs under relaxed durability


class OpenFile:
    """One open file: which snapshot its readers see, and whose turn it is to write.

    `Store` is its public face. The snapshot is replaced, never changed, so that readers need no
    lock; a writer holds the lock of its turn.

    Attributes
    ----------
    container : Container
        Of the file as it was opened, or as a vacuum left it.
    snapshot : Snapshot
        What reads see: of the last commit, or of the epoch that the handle is pinned to.
    closed : bool
    opened_epoch : int
        Which commit was the newest when it was opened.
    runners : dict
        Who runs a backfill through this handle, by collection and version.
    """

    def __init__(
        self,
        medium: Medium,
        container: Container,
        snapshot: Snapshot,
        *,
        durability: Durability,
        indexing: Indexing,
        clock: Clock,
        recall_sample: float = 0.0,
    ) -> None:
        self.clock = clock
        self.medium = medium
        self.container = container
        self.snapshot = snapshot
        self._durability = durability
        self._indexing = indexing
        self._pinned = False
        self.closed = False
        self.opened_epoch = snapshot.epoch
        self.runners: dict[tuple[str, str], Runner] = {}
        self._writing = threading.Lock()
        self._writer_thread: int | None = None
        self._settling: threading.Timer | None = None
        self.observer = Observer(recall_sample)
        self._upkeep: upkeeps.Upkeep | None = None
        if indexing == "background" and container.writable:
            self._upkeep = upkeeps.Upkeep(self)

    @property
    def name(self) -> str:
        """Name of the file, or ``":memory:"``."""
        return self.medium.name

    @property
    def healthy(self) -> bool:
        """Whether something can still be written."""
        return not self.closed and not self.container.closed and not self.container.poisoned

    def close(self) -> None:
        """Sync what is relaxed, release file and lock. Arrays handed out stay valid."""
        if self.closed:
            return
        if self.container.closed:  # of a parent process; its locks may never be let go here
            self.closed = True
            return
        if self._writer_thread == threading.get_ident():
            raise StateError(f"{self.name}: end the transaction before closing the store")
        if self._upkeep is not None:
            self._upkeep.stop()
        with self._writing:
            self.closed = True
            if self._settling is not None:
                self._settling.cancel()
            try:
                if self.container.writable and not self.container.poisoned:
                    self.container.settle()
            finally:
                self.container.close()

    # Reading.

    def current(self) -> Snapshot:
        """Return the snapshot that reads see.

        Raises
        ------
        ClosedError
        """
        if self.closed or self.container.closed:
            raise ClosedError(
                f"{self.name}: the store is closed, or was opened before a fork; open it again"
            )
        return self.snapshot

    def refresh(self) -> bool:
        """Move a read-only handle to the newest commit; False if it is there already.

        Raises
        ------
        StateError
            The handle was opened at an epoch.
        """
        self.current()
        if self._pinned:
            raise StateError(f"{self.name} was opened at an epoch; open it again to move on")
        if self.container.writable:
            return False
        self.observer.fold()  # which holds the state that its searches were of
        with self._writing:
            if not self.medium.is_current(self.container.file):
                return self._reopen()
            if not self.container.reload():
                return False
            self.snapshot = load_snapshot(
                self.container,
                self.snapshot.cache,
                self.container.manifest_ref(),
                known=self.snapshot,
            )
            return True

    def _reopen(self) -> bool:
        """Move to the file that a vacuum put in this one's place."""
        container = open_container(
            self.medium, writable=False, create=False, verify=self.container.verify, timeout_s=0
        )
        try:
            snapshot = load_snapshot(container, SegmentCache(container), container.manifest_ref())
        except BaseException:
            container.close()
            raise
        # The old container is not closed: older snapshots may still read from it. Its descriptor
        # goes with the last of them.
        self.container, self.snapshot = container, snapshot
        return True

    def pin(self, epoch: int) -> None:
        """Show an older epoch, for good."""
        self.snapshot = self.at(epoch)
        self._pinned = True

    def at(self, epoch: int) -> Snapshot:
        """Return the snapshot of an epoch.

        Raises
        ------
        NotFoundError
            The file no longer has it.
        """
        now = self.current()
        epoch = check_whole(epoch, what="epoch")
        if epoch == now.epoch:
            return now
        ref = None
        if 0 <= epoch < now.epoch:
            ref = find_epoch(now.container, now.tip, epoch, limit=HISTORY_MAX)
        if ref is None:
            raise NotFoundError(
                f"{self.name} has no epoch {epoch}; history() lists those it has. "
                "A vacuum drops epochs that no tag names."
            )
        return load_snapshot(now.container, now.cache, ref)

    # Writing, in turns.

    def begin(self, timeout_s: float = -1) -> Snapshot:
        """Begin a writer's turn; return the snapshot it starts from.

        Raises
        ------
        ReadOnlyError, ClosedError, StateError, StorageError
        LockedError
            Another thread's turn did not end in time; negative waits for ever.
        """
        self.current()
        if not self.container.writable:
            raise ReadOnlyError(f"{self.name} is open read-only; open it with mode='rw' to write")
        if self._writer_thread == threading.get_ident():
            raise StateError(f"{self.name}: this thread has an open transaction; end it first")
        if not self._writing.acquire(timeout=timeout_s if timeout_s >= 0 else -1):
            raise LockedError(self.name, waited_s=timeout_s)
        self._writer_thread = threading.get_ident()
        try:
            self.current()
            self.container.require_healthy()
            published = self.container.superblock
            if published is not None and published.epoch > self.snapshot.epoch:
                # Ctrl-C came between a commit and the moment it was taken note of here.
                self.snapshot = load_snapshot(
                    self.container, self.snapshot.cache, self.container.manifest_ref()
                )
        except BaseException:
            self._end()
            raise
        return self.snapshot

    def _end(self) -> None:
        self._writer_thread = None
        self._writing.release()
        if self._upkeep is not None:  # a commit, a vacuum, or a commit found after Ctrl-C
            self._upkeep.wake()

    def finish(self, finished: Transaction | None) -> None:
        """End a transaction's turn: commit what it collected, nothing of one that failed."""
        try:
            if finished is None:
                return
            changes = finished.changes()
            state = self._by_policy(finished.edited(self.snapshot.state), changes)
            state = self._learned(state, changes)
            if changes or state is not self.snapshot.state:
                self._commit(state, changes, finished.operation())
        finally:
            self._end()

    def _by_policy(self, state: StoreState, changes: Mapping[str, CollectionChanges]) -> StoreState:
        """Return the state after the dual-write policies of its collections have seen a commit."""
        for name, change in changes.items():
            collection = state.collections[name]
            if collection.dual_write != "allow":
                moment = edits.Moment(self.snapshot.epoch + 1, self.time_us())
                state = edits.put_collection(state, dual_writes.applied(collection, change, moment))
        return state

    def _learned(self, state: StoreState, changes: Mapping[str, CollectionChanges]) -> StoreState:
        """Return the state after its versions have learned from the rows of a commit."""
        if not any(change.rows for change in changes.values()):
            return state
        try:
            return learning.learned(self.snapshot, state, changes)
        except BaseException:
            self.container.abort()  # records may have been appended
            raise

    def change(
        self,
        edit: Callable[[StoreState], StoreState],
        operation: Operation,
        *,
        checkpoint: bool = False,
    ) -> None:
        """Commit a change of the store's state that touches no document."""
        self.begin()
        try:
            try:
                state = edit(self.snapshot.state)
            except BaseException:
                self.container.abort()  # an edit may have appended records
                raise
            if state is not self.snapshot.state:
                self._commit(state, {}, operation, checkpoint=checkpoint)
        finally:
            self._end()

    def optimize(self) -> None:
        """Commit what upkeep is due, graphs included; see `Store.optimize`."""
        self.begin()
        try:
            self._commit(
                self.snapshot.state,
                {},
                Operation("optimize"),
                upkeep=True,
                kernels=graphs.builders,
            )
        finally:
            self._end()

    def put_replacement(
        self, replacement: replacements.Replacement, *, name: str, label: str
    ) -> None:
        """Put segments made beside the writer in place, if those that they replace still stand."""
        snapshot = self.begin()
        try:
            collection = snapshot.state.collections.get(name)
            version = None if collection is None else collection.versions.get(label)
            if collection is None or version is None:
                return
            try:
                segments = replacements.replace_segments(
                    self.container, version, replacement, epoch=snapshot.epoch + 1
                )
            except BaseException:
                self.container.abort()
                raise
            if segments is not None:
                state = edits.put_segments(snapshot.state, name, label, segments)
                self._commit(state, {}, Operation("upkeep"))
        finally:
            self._end()

    def wait_for_upkeep(self, timeout_s: float | None) -> bool:
        """Wait until the background thread has nothing to do; return whether that is so."""
        if self._upkeep is None:
            return True
        return self._upkeep.wait(lambda: self.current().epoch, timeout_s)

    def vacuum(self, keep_epochs: Sequence[int]) -> vacuums.VacuumReport:
        """Put a file without what is dead in place of this one; see `Store.vacuum`."""
        self.begin()
        try:
            self.container, self.snapshot, report, renumbered = vacuums.vacuum(
                self.medium,
                self.snapshot,
                keep_epochs=keep_epochs,
                time_us=self.time_us(),
                find=self.at,
                verify=self.container.verify,
                kernels=graphs.builders,
            )
            self.observer.renumber(self.container, renumbered, self.snapshot.epoch)
            self.observer.count("vacuums")
            return report
        finally:
            self._end()

    def _commit(
        self,
        state: StoreState,
        changes: Mapping[str, CollectionChanges],
        operation: Operation,
        *,
        checkpoint: bool = False,
        upkeep: bool = False,
        kernels: FindKernels | None = None,
    ) -> None:
        self.snapshot = writer.commit(
            self.snapshot,
            state,
            changes,
            operation,
            time_us=self.time_us(),
            durable=self._durability == "full",
            checkpoint=checkpoint,
            upkeep=upkeep,
            kernels=kernels or graphs.during_commits(self._indexing),
        )
        self.observer.count("commits")
        if self._durability == "relaxed":
            self._settle_later()

    def _settle_later(self) -> None:
        if self._settling is None or not self._settling.is_alive():
            self._settling = threading.Timer(RELAXED_SYNC_S, self._settle_now)
            self._settling.daemon = True
            self._settling.start()

    def _settle_now(self) -> None:
        # A failure has poisoned the container: the next write says so, to someone who listens.
        with contextlib.suppress(VstoreError):
            self.sync()

    def sync(self) -> None:
        """Make every commit durable now; under full durability they are.

        Raises
        ------
        StateError
            This thread has a transaction open.
        """
        if self._writer_thread == threading.get_ident():
            raise StateError(f"{self.name}: end the transaction before sync()")
        with self._writing:
            if not self.closed and self.container.writable and not self.container.poisoned:
                self.container.settle()

    def time_us(self) -> int:
        """Return the time for a commit: never before the last one's, whatever the clock says."""
        return max(self.clock.now_us(), self.snapshot.time_us)
