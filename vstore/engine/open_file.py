"""An open file: the snapshot that reads see, and the writers' turns that move it on."""

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
else:  # not what a search needs
    edits = Deferred("vstore.manifest.edits")
    graphs = Deferred("vstore.engine.indexing")
    lineages = Deferred("vstore.engine.lineage")
    replacements = Deferred("vstore.segment.replacement")
    upkeeps = Deferred("vstore.engine.upkeep")
    vacuums = Deferred("vstore.engine.vacuum")
    writer = Deferred("vstore.engine.commit")

Durability: TypeAlias = Literal["full", "relaxed"]
DURABILITIES: Final[tuple[Durability, ...]] = get_args(Durability)
RELAXED_SYNC_S: Final = 1.0  # the most that a power loss costs under relaxed durability
CLOSE_WAIT_S: Final = 1.0  # how long `OpenFile.close` lets another thread's transaction go on

_T = TypeVar("_T")

# What every commit of documents does besides: from the snapshot before it, the state that the
# writer wants, the changes, and what tells the commit's moment, to the state that is committed.
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
        """Return the store's state with the writer's edits of it."""
        ...

    def operation(self) -> Operation:
        """Return the history's entry."""
        ...


class OpenFile:
    """One open file: which snapshot its readers see, and whose turn it is to write.

    `Store` is its public face. The snapshot is replaced, never changed, so that readers need no
    lock; a writer has a turn.

    Attributes
    ----------
    container : Container
        Of the file as it was opened, or as a vacuum left it.
    snapshot : Snapshot
        What reads see: of the last commit, or of the epoch that the handle is pinned to.
    closed : bool
    threads : int
        How many share the queries of a batch.
    companions : Companions
        What higher floors keep beside the file.
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
        self._replacements: list[StorageFile] = []  # opened by a vacuum, and ours to close
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
        """Sync what is relaxed, release file and lock. Arrays handed out stay valid.

        A commit that has begun is waited for, but for one that this call interrupts, as a signal
        handler may: that one fails. A transaction that is open in this thread, or is
        still open in another one after `CLOSE_WAIT_S`, is given up: its end raises `ClosedError`.
        """
        if self.container.closed:  # by an earlier call, or of a parent process
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
        if self._upkeep is not None:  # may be waiting for a turn, to learn that there are no more
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
        """Close every file and end the turn, also of a `close` that was interrupted."""
        self.closed = True
        try:
            for file in self._replacements:
                file.close()
            self.container.close()
        finally:
            turn.end()

    # Reading.

    def require_own_process(self) -> None:
        """Refuse a forked child, in which a lock of a thread that is not there stays held.

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
        """Move a read-only handle to the newest commit; False if it is there already.

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
        self.observer.fold()  # which holds the state that its searches were of
        return self._exclusively(self._refresh)

    def _refresh(self) -> bool:
        self.current()
        before = self.snapshot.epoch
        # An older container is not closed: older snapshots may still read from it. Its descriptor
        # goes with the last of them.
        newest = lineages.newest(self.medium, self.snapshot)
        older, self.container, self.snapshot = self.container, newest.container, newest
        if older is not self.container:
            older.let_go()
        return newest.epoch != before

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

    def begin(self, turn: Turn, timeout_s: float = -1) -> Snapshot:
        """Begin a writer's turn; return the snapshot it starts from.

        Parameters
        ----------
        turn : Turn
            The caller ends it, whatever happens here.
        timeout_s : float
            How long to wait for another thread's turn to end; negative waits as long as it takes.

        Raises
        ------
        ReadOnlyError, ClosedError, StorageError
            The handle is no writer; it is closed; a write failed before.
        StateError
            This thread has a turn already.
        LockedError
            Another thread's turn did not end in time.
        FileMovedError
            The path no longer names the open file, or somebody wrote over it.
        """
        self.current()
        if not self.container.writable:
            raise ReadOnlyError(f"{self.name} is open read-only; open it with mode='rw' to write")
        self._turns.give(turn, timeout_s=timeout_s)
        self.current()
        self.container.require_healthy()
        lineages.require_in_place(self.medium, self.container)
        self.container.abort()  # what an interrupt may have left of an earlier write
        published = self.container.superblock
        if published is not None and published.epoch > self.snapshot.epoch:
            # An interrupt came between a commit and the moment it was taken note of here.
            self.snapshot = load_snapshot(
                self.container, self.snapshot.cache, self.container.manifest_ref()
            )
            self._wake_upkeep()
        return self.snapshot

    def finish(self, turn: Turn, request: CommitRequest) -> None:
        """Commit what a transaction collected, after the steps that every commit takes.

        Raises
        ------
        ClosedError
            The store was closed, or the turn was given to another thread after its own had ended.
        FileMovedError
            The path no longer names the open file, or somebody wrote over it.
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
        """Run something while nobody else writes."""
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
        """Run a write that is a turn of its own; nothing it appended stays without a commit."""
        turn = Turn()
        try:
            try:
                self.begin(turn)
                turn.claim()
                # No `try` here: Python's own line for it lies outside of the two above.
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
        """Return the state after the steps of a commit have seen what it changes."""
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
        """Commit what upkeep is due, graphs included; see `Store.optimize`."""

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
        """Put segments made beside the writer in place, if those that they replace still stand."""

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
        """Wait until the background thread has nothing to do; return whether that is so."""
        if self._upkeep is None:
            return True
        return self._upkeep.wait(lambda: self.current().epoch, timeout_s)

    def vacuum(self, keep_epochs: Sequence[int]) -> vacuums.VacuumReport:
        """Put a file without what is dead in place of this one; see `Store.vacuum`."""

        def body() -> vacuums.VacuumReport:
            self._replacements.clear()  # closed, unless the container is poisoned
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
        # A failure has poisoned the container: the next write says so, to someone who listens.
        with contextlib.suppress(VstoreError):
            self.sync()

    def sync(self) -> None:
        """Make every commit durable now; under full durability they are.

        Raises
        ------
        StateError
            This thread has a transaction open.
        FileMovedError
            The path no longer names the open file, or somebody wrote over it.
        """
        self._exclusively(self._settle)

    def _settle(self) -> None:
        container = self.container
        if self.closed or not container.writable or container.poisoned or container.settled:
            return
        lineages.require_in_place(  # else nobody would find the commits
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
        """Return the time for a commit: never before the last one's, whatever the clock says."""
        return max(self.clock.now_us(), self.snapshot.time_us)
