"""An open file: the snapshot that reads see, and the writer's turns that replace it."""

from __future__ import annotations

import contextlib
import threading
from typing import TYPE_CHECKING, Final, Literal, Protocol, TypeAlias, TypeVar, get_args

from vstore.companions import Companions
from vstore.deferred import Deferred
from vstore.engine.snapshot import load_snapshot
from vstore.engine.turns import Turn, Turns
from vstore.errors import (
    ClosedError,
    NotFoundError,
    ReadOnlyError,
    StateError,
    VstoreError,
)
from vstore.limits import HISTORY_MAX
from vstore.manifest.commit import Operation, find_epoch
from vstore.numbers import check_whole
from vstore.observe.observer import Observer
from vstore.storage import fork

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from vstore.clock import Clock
    from vstore.engine import commit as writer
    from vstore.engine import indexing as graphs
    from vstore.engine import lineage as lineages
    from vstore.engine import upkeep as upkeeps
    from vstore.engine import vacuum as vacuums
    from vstore.engine.indexing import Indexing
    from vstore.engine.snapshot import Snapshot
    from vstore.manifest import edits
    from vstore.manifest.edits import Moment
    from vstore.manifest.state import StoreState
    from vstore.segment import replacement as replacements
    from vstore.segment.changes import CollectionChanges
    from vstore.segment.compaction import FindKernels
    from vstore.storage.container import Container
    from vstore.storage.file import Medium, StorageFile
else:  # loaded late: a search does not need these
    edits = Deferred("vstore.manifest.edits")
    graphs = Deferred("vstore.engine.indexing")
    lineages = Deferred("vstore.engine.lineage")
    replacements = Deferred("vstore.segment.replacement")
    upkeeps = Deferred("vstore.engine.upkeep")
    vacuums = Deferred("vstore.engine.vacuum")
    writer = Deferred("vstore.engine.commit")

Durability: TypeAlias = Literal["full", "relaxed"]
DURABILITIES: Final[tuple[Durability, ...]] = get_args(Durability)
RELAXED_SYNC_S: Final = 1.0  # longest time that a power loss undoes under relaxed durability
CLOSE_WAIT_S: Final = 1.0  # how long `OpenFile.close` waits for another thread's transaction

_T = TypeVar("_T")

# A step that every commit of documents takes. Arguments: the snapshot before the commit, the
# writer's state, the changes, and a function for the commit's moment. Returns the state to commit.
CommitStep: TypeAlias = (
    "Callable[[Snapshot, StoreState, Mapping[str, CollectionChanges], Callable[[], Moment]], "
    "StoreState]"
)


class CommitRequest(Protocol):
    """Changes that a writer has collected for one commit."""

    def changes(self) -> Mapping[str, CollectionChanges]:
        """Return changes of documents and rows, by collection."""
        ...

    def edited(self, state: StoreState) -> StoreState:
        """Return the store's state with the writer's edits applied."""
        ...

    def operation(self) -> Operation:
        """Return the entry for the history."""
        ...


class OpenFile:
    """One open file: its current snapshot, and the writer's turn.

    `Store` is its public face. The snapshot is replaced, never changed, so readers need no lock;
    writers take turns.

    Attributes
    ----------
    container : Container
        Container of the file, replaced by a vacuum.
    snapshot : Snapshot
        Snapshot that reads see: the last commit's, or that of the pinned epoch.
    closed : bool
    threads : int
        Number of threads that share the queries of a batch.
    companions : Companions
        Objects that higher layers keep for as long as the file is open.
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
        steps: Sequence[CommitStep] = (),
        recall_sample: float = 0.0,
        threads: int = 1,
    ) -> None:
        self.clock = clock
        self.medium = medium
        self.threads = threads
        self.container = container
        self.snapshot = snapshot
        self._durability = durability
        self._indexing = indexing
        self._steps = steps
        self._pinned = False
        self.closed = False
        self._turns = Turns(medium.name)
        self.companions = Companions()
        self._generation = fork.generation()
        self._replacements: list[StorageFile] = []  # opened by a vacuum; this object closes them
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
        """Whether the file can still be written to."""
        return not self.closed and not self.container.closed and not self.container.poisoned

    def close(self) -> None:
        """Sync relaxed commits, and release file and lock. Arrays handed out stay valid.

        Waits for a commit that has begun, unless this call runs in a signal handler that
        interrupted it: then the commit fails. A transaction that is open in this thread, or still
        open in another thread after `CLOSE_WAIT_S`, is abandoned: its end raises `ClosedError`.
        """
        if self.container.closed:  # closed by an earlier call, or opened by a parent process
            self.closed = True
            return
        turn = Turn()
        try:
            try:
                self._settle_and_close(turn)
            finally:
                self._release(turn)
        finally:
            self._release(turn)
        if self._upkeep is not None:  # last: upkeep may wait for the turn that this call held
            self._upkeep.join()

    def _settle_and_close(self, turn: Turn) -> None:
        if self._upkeep is not None:
            self._upkeep.end()
        if self._settling is not None:
            self._settling.cancel()
        is_alone = self._turns.seize(turn, patience_s=CLOSE_WAIT_S)
        try:
            if is_alone:
                self._settle()
        finally:
            self.closed = True

    def _release(self, turn: Turn) -> None:
        """Close every file and end the turn, even if `close` was interrupted."""
        self.closed = True
        try:
            for file in self._replacements:
                file.close()
            self.container.close()
        finally:
            turn.end()

    # Reading.

    def require_own_process(self) -> None:
        """Refuse a forked child, in which locks of the parent's threads would stay held.

        Raises
        ------
        ClosedError
            The process was forked after the store was opened.
        """
        if self._generation != fork.generation():
            self.current()

    def current(self) -> Snapshot:
        """Return the snapshot that reads see.

        Raises
        ------
        ClosedError
            The store is closed, or was opened by a parent process.
        """
        if self.closed or self.container.closed:
            raise ClosedError(
                f"{self.name}: the store is closed, or was opened before a fork; open it again"
            )
        return self.snapshot

    def refresh(self) -> bool:
        """Move a read-only handle to the newest commit; return False if it is already there.

        Raises
        ------
        StateError
            The handle was opened at an epoch.
        FileMovedError
            The path names no store now, another store, an older copy of this one, or nothing.
        """
        self.current()
        if self._pinned:
            raise StateError(f"{self.name} was opened at an epoch; open it again to move on")
        if self.container.writable:
            return False
        self.observer.fold()  # releases the old state
        return self._exclusively(self._refresh)

    def _refresh(self) -> bool:
        self.current()
        before = self.snapshot.epoch
        # The older container is not closed: older snapshots may still read from it. Its descriptor
        # is closed with the last of them.
        newest = lineages.newest(self.medium, self.snapshot)
        older, self.container, self.snapshot = self.container, newest.container, newest
        if older is not self.container:
            older.let_go()
        return newest.epoch != before

    def pin(self, epoch: int) -> None:
        """Pin the handle to an older epoch, permanently."""
        self.snapshot = self.at(epoch)
        self._pinned = True

    def at(self, epoch: int) -> Snapshot:
        """Return the snapshot of an epoch.

        Raises
        ------
        NotFoundError
            The file no longer has the epoch.
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

    def begin(self, turn: Turn, timeout_s: float = -1) -> Snapshot:
        """Begin a writer's turn; return the snapshot it starts from.

        Parameters
        ----------
        turn : Turn
            The caller must end it, even if this raises.
        timeout_s : float
            Longest wait for another thread's turn to end; negative for no limit.

        Raises
        ------
        ReadOnlyError, ClosedError, StorageError
            The handle is read-only; it is closed; an earlier write failed.
        StateError
            This thread has a turn already.
        LockedError
            Another thread's turn did not end in time.
        FileMovedError
            The path no longer names the open file, or the file was overwritten.
        """
        self.current()
        if not self.container.writable:
            raise ReadOnlyError(f"{self.name} is open read-only; open it with mode='rw' to write")
        self._turns.give(turn, timeout_s=timeout_s)
        self.current()
        self.container.require_healthy()
        lineages.require_in_place(self.medium, self.container)
        self.container.abort()  # drops blocks that an interrupted write may have left
        published = self.container.superblock
        if published is not None and published.epoch > self.snapshot.epoch:
            # An interrupt came after a commit was published, before `snapshot` was set.
            self.snapshot = load_snapshot(
                self.container, self.snapshot.cache, self.container.manifest_ref()
            )
            self._wake_upkeep()
        return self.snapshot

    def finish(self, turn: Turn, request: CommitRequest) -> None:
        """Commit a transaction's changes, after the steps that every commit takes.

        Raises
        ------
        ClosedError
            The store was closed, or the thread of the turn ended and another one got the turn.
        FileMovedError
            The path no longer names the open file, or the file was overwritten.
        """
        if not turn.claim():
            reason = (
                "the store was closed while this transaction was open"
                if self.closed
                else "the thread that began this transaction ended, and another one writes now"
            )
            raise ClosedError(f"{self.name}: {reason}; nothing of it was committed")
        lineages.require_in_place(self.medium, self.container)
        changes = request.changes()
        state = self._stepped(request.edited(self.snapshot.state), changes)
        if changes or state is not self.snapshot.state:
            self._commit(state, changes, request.operation())

    def _exclusively(self, body: Callable[[], _T]) -> _T:
        """Run ``body`` while nobody else writes."""
        turn = Turn()
        try:
            try:
                self._turns.give(turn)
                turn.claim()
                return body()
            finally:
                turn.end()
        finally:
            turn.end()

    def _write(self, body: Callable[[], _T]) -> _T:
        """Run a write in a turn of its own; appended blocks are dropped if it fails."""
        turn = Turn()
        try:
            try:
                self.begin(turn)
                turn.claim()
                # No `try` here: an interrupt on its own line would escape it; see `turns`.
                return self._or_abort(body)
            finally:
                turn.end()
        finally:
            turn.end()

    def _or_abort(self, body: Callable[[], _T]) -> _T:
        try:
            return body()
        except BaseException:
            self.container.abort()  # an edit may have appended records
            raise

    def _stepped(self, state: StoreState, changes: Mapping[str, CollectionChanges]) -> StoreState:
        """Return the state after all commit steps."""
        try:
            for step in self._steps:
                state = step(self.snapshot, state, changes, self.moment)
        except BaseException:
            self.container.abort()  # records may have been appended
            raise
        return state

    def change(
        self,
        edit: Callable[[StoreState], StoreState],
        operation: Operation,
        *,
        checkpoint: bool = False,
    ) -> None:
        """Commit a change of the store's state that touches no document."""

        def body() -> None:
            state = edit(self.snapshot.state)
            if state is not self.snapshot.state:
                self._commit(state, {}, operation, checkpoint=checkpoint)

        self._write(body)

    def optimize(self) -> None:
        """Commit all due upkeep, graphs included; see `Store.optimize`."""

        def body() -> None:
            self._commit(
                self.snapshot.state,
                {},
                Operation("optimize"),
                upkeep=True,
                kernels=graphs.builders,
            )

        self._write(body)

    def put_replacement(
        self, replacement: replacements.Replacement, *, name: str, label: str
    ) -> None:
        """Commit segments made by upkeep, unless the segments that they replace have changed."""

        def body() -> None:
            snapshot = self.snapshot
            collection = snapshot.state.collections.get(name)
            version = None if collection is None else collection.versions.get(label)
            if collection is None or version is None:
                return
            segments = replacements.replace_segments(
                self.container, version, replacement, epoch=snapshot.epoch + 1
            )
            if segments is not None:
                state = edits.put_segments(snapshot.state, name, label, segments)
                self._commit(state, {}, Operation("upkeep"))

        self._write(body)

    def wait_for_upkeep(self, timeout_s: float | None) -> bool:
        """Wait until the background thread is idle; return False on timeout."""
        if self._upkeep is None:
            return True
        return self._upkeep.wait(lambda: self.current().epoch, timeout_s)

    def vacuum(self, keep_epochs: Sequence[int]) -> vacuums.VacuumReport:
        """Replace the file by one without dead data; see `Store.vacuum`."""

        def body() -> vacuums.VacuumReport:
            self._replacements.clear()  # all closed, unless the container is poisoned
            older = self.container
            self.container, self.snapshot, report, renumbered = vacuums.vacuum(
                self.medium,
                self.snapshot,
                keep_epochs=keep_epochs,
                time_us=self.time_us(),
                find=self.at,
                verify=self.container.verify,
                kernels=graphs.builders,
                opened=self._replacements,
            )
            older.let_go()
            self.observer.renumber(self.container, renumbered, self.snapshot.epoch)
            self.observer.count("vacuums")
            self._wake_upkeep()
            return report

        return self._write(body)

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
        self._wake_upkeep()

    def _wake_upkeep(self) -> None:
        if self._upkeep is not None:
            self._upkeep.wake()

    def _settle_later(self) -> None:
        if self._settling is None or not self._settling.is_alive():
            self._settling = threading.Timer(RELAXED_SYNC_S, self._settle_now)
            self._settling.daemon = True
            self._settling.start()

    def _settle_now(self) -> None:
        # A failure has poisoned the container: the next write raises it to its caller.
        with contextlib.suppress(VstoreError):
            self.sync()

    def sync(self) -> None:
        """Make every commit durable now; no effect under full durability.

        Raises
        ------
        StateError
            This thread has a transaction open.
        FileMovedError
            The path no longer names the open file, or the file was overwritten.
        """
        self._exclusively(self._settle)

    def _settle(self) -> None:
        container = self.container
        if self.closed or not container.writable or container.poisoned or container.settled:
            return
        lineages.require_in_place(  # else the synced commits could not be found
            self.medium,
            container,
            lost="Commits since the last sync are in the file that was open here, and may not "
            "survive a power loss",
        )
        container.settle()

    def moment(self, reason: str = "") -> Moment:
        """Return the epoch and time of the commit being made."""
        return edits.Moment(self.snapshot.epoch + 1, self.time_us(), reason)

    def time_us(self) -> int:
        """Return the time of a commit, never before the last commit's."""
        return max(self.clock.now_us(), self.snapshot.time_us)
