"""Stores: one file, opened."""

from __future__ import annotations

import contextlib
import datetime as dt
import threading
from functools import cached_property
from typing import TYPE_CHECKING, Final, Literal, Self, TypeAlias

from vstore.clock import SystemClock
from vstore.deferred import Deferred
from vstore.errors import (
    ClosedError,
    InvalidArgumentError,
    LockedError,
    NotFoundError,
    ReadOnlyError,
    StateError,
    VstoreError,
)
from vstore.limits import HISTORY_MAX
from vstore.manifest.commit import Operation, find_epoch
from vstore.manifest.spec import require_spec
from vstore.observe.observer import Observer
from vstore.storage.file import PathMedium, path_text
from vstore.storage.opening import open_container
from vstore.store.collection import Collection, check_fields
from vstore.store.indexing import INDEXING, Indexing, builders, during_commits
from vstore.store.names import check_name, check_note, require_text
from vstore.store.numbers import check_number, check_whole
from vstore.store.snapshot import SegmentCache, Snapshot, load_snapshot

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Mapping, Sequence
    from types import TracebackType

    from vstore.clock import Clock
    from vstore.manifest import edits
    from vstore.manifest.edits import Moment
    from vstore.manifest.spec import EmbeddingSpec
    from vstore.manifest.state import Equivalence, StoreState, VersionState
    from vstore.observe.trace import Trace
    from vstore.segment import replacement as replacements
    from vstore.segment.changes import CollectionChanges
    from vstore.segment.compaction import FindKernels
    from vstore.storage import memory
    from vstore.storage.container import Container, Verify
    from vstore.storage.file import Medium
    from vstore.store import check, history, upkeep, vacuum, writer
    from vstore.store import embedder as embedders
    from vstore.store import input as inputs
    from vstore.store import transaction as transactions
    from vstore.store.embedder import Embedder, Embeddings
else:  # not what a search needs
    check = Deferred("vstore.store.check")
    edits = Deferred("vstore.manifest.edits")
    embedders = Deferred("vstore.store.embedder")
    inputs = Deferred("vstore.store.input")
    memory = Deferred("vstore.storage.memory")
    replacements = Deferred("vstore.segment.replacement")
    history = Deferred("vstore.store.history")
    transactions = Deferred("vstore.store.transaction")
    upkeep = Deferred("vstore.store.upkeep")
    vacuum = Deferred("vstore.store.vacuum")
    writer = Deferred("vstore.store.writer")

OpenMode: TypeAlias = Literal["rw", "r"]
Durability: TypeAlias = Literal["full", "relaxed"]
RELAXED_SYNC_S: Final = 1.0  # the most that a power loss costs under relaxed durability


def open_store(
    path: str | os.PathLike[str],
    *,
    mode: OpenMode = "rw",
    create: bool = True,
    epoch: int | None = None,
    tag: str | None = None,
    verify: Verify = "lazy",
    durability: Durability = "full",
    indexing: Indexing = "inline",
    timeout_s: float = 0.0,
) -> Store:
    """Open a store.

    Parameters
    ----------
    path : path-like
        The file; ``":memory:"`` for a store without one.
    mode : {"rw", "r"}
        "rw" makes this the one writer; "r" takes no lock and needs no write permission.
    create : bool
        With "rw", make a new store if the file is missing or empty.
    epoch, tag : optional
        Open the store read-only as it was at an epoch.
    verify : {"lazy", "full", "off"}
        Check each block's hash at its first use, all of them now, or none but the manifest's.
    durability : {"full", "relaxed"}
        "full": a commit that returned survives power loss. "relaxed": it survives the death of the
        process; it is synced every second and on close.
    indexing : {"inline", "background", "manual"}
        "inline": a commit that seals or merges enough rows also builds their graph, before it
        returns. "background": a thread merges and builds, and searches scan what has no graph yet.
        "manual": only `Store.optimize` and `Store.vacuum` build graphs: for bulk loads.
    timeout_s : float
        How long to wait for another writer to let go; 0 fails at once.

    Raises
    ------
    LockedError
        Another writer holds the store.
    NotFoundError
        No such file, directory, epoch or tag.
    NotAStoreError, FormatVersionError, CorruptionError
        The file cannot be read as a store.
    StorageError
    """
    place = path_text(path)
    in_memory = place == ":memory:"
    if in_memory and (mode == "r" or not create or epoch is not None or tag is not None):
        raise InvalidArgumentError(
            "a store in memory is new each time it is opened; open ':memory:' with mode='rw', and "
            "without create=False, epoch= and tag="
        )
    return open_medium(
        memory.MemoryMedium() if in_memory else PathMedium(place),
        mode=mode,
        create=create,
        epoch=epoch,
        tag=tag,
        verify=verify,
        durability=durability,
        indexing=indexing,
        timeout_s=timeout_s,
    )


def open_medium(
    medium: Medium,
    *,
    mode: OpenMode = "rw",
    create: bool = True,
    epoch: int | None = None,
    tag: str | None = None,
    verify: Verify = "lazy",
    durability: Durability = "full",
    indexing: Indexing = "inline",
    timeout_s: float = 0.0,
    clock: Clock | None = None,
) -> Store:
    """Open a store in any medium; `open_store` documents the rest."""
    for name, value, choices in (
        ("mode", mode, ("rw", "r")),
        ("verify", verify, ("lazy", "full", "off")),
        ("durability", durability, ("full", "relaxed")),
        ("indexing", indexing, INDEXING),
    ):
        if value not in choices:
            raise InvalidArgumentError(
                f"{name}: expected one of {', '.join(choices)}, found {value!r:.60}"
            )
    if epoch is not None and tag is not None:
        raise InvalidArgumentError("open: pass epoch or tag, not both")
    check_number(timeout_s, what="timeout_s")
    past = epoch is not None or tag is not None
    writable = mode == "rw" and not past
    clock = clock or SystemClock()
    container = open_container(
        medium, writable=writable, create=create and writable, verify=verify, timeout_s=timeout_s
    )
    try:
        if container.superblock is None:
            snapshot = writer.first_commit(container, time_us=clock.now_us())
        else:
            snapshot = load_snapshot(container, SegmentCache(container), container.manifest_ref())
        store = Store(
            medium, container, snapshot, durability=durability, indexing=indexing, clock=clock
        )
        if past:
            store.pin(store.epoch_of(tag) if tag is not None else epoch)
        if verify == "full":
            check.verify_snapshot(store.current())
    except BaseException:
        container.close()
        raise
    return store


class Store:
    """One open store. Made by `vstore.open`; a context manager that closes it.

    Any number of threads may use a store. Reads work on immutable snapshots and never wait; writers
    of one process take turns.
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
    ) -> None:
        self.clock = clock
        self._medium = medium
        self._container = container
        self._snapshot = snapshot
        self._durability = durability
        self._indexing = indexing
        self._pinned = False
        self._closed = False
        self._writing = threading.Lock()
        self._writer_thread: int | None = None
        self._settling: threading.Timer | None = None
        self.observer = Observer()
        self._upkeep: upkeep.Upkeep | None = None
        if indexing == "background" and self.writable:
            self._upkeep = upkeep.Upkeep(self)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        state = "closed" if self._closed else f"epoch {self._snapshot.epoch}"
        return f"<vstore.Store {self.path!r}, {state}>"

    def close(self) -> None:
        """Sync what is relaxed, release file and lock. Arrays handed out stay valid."""
        if self._closed:
            return
        if self._container.closed:  # of a parent process; its locks may never be let go here
            self._closed = True
            return
        if self._writer_thread == threading.get_ident():
            raise StateError(f"{self.path}: end the transaction before closing the store")
        if self._upkeep is not None:
            self._upkeep.stop()
        with self._writing:
            self._closed = True
            if self._settling is not None:
                self._settling.cancel()
            try:
                if self._container.writable and not self._container.poisoned:
                    self._container.settle()
            finally:
                self._container.close()

    # State.

    @property
    def path(self) -> str:
        """Name of the file, or ``":memory:"``."""
        return self._medium.name

    @property
    def epoch(self) -> int:
        """Number of the commit that reads see."""
        return self.current().epoch

    @property
    def writable(self) -> bool:
        """Whether this handle is the store's writer."""
        return self._container.writable

    @property
    def recovery_note(self) -> str | None:
        """What opening had to pass over, for example a torn superblock; None normally."""
        return self._container.skipped

    def current(self) -> Snapshot:
        """Return the snapshot that reads see.

        Raises
        ------
        ClosedError
            The store is closed.
        """
        if self._closed or self._container.closed:
            raise ClosedError(
                f"{self.path}: the store is closed, or was opened before a fork; open it again"
            )
        return self._snapshot

    def refresh(self) -> bool:
        """Move a read-only handle to the newest commit; False if it is there already.

        Raises
        ------
        StateError
            The handle was opened at an epoch.
        """
        self.current()
        if self._pinned:
            raise StateError(f"{self.path} was opened at an epoch; open it again to move on")
        if self._container.writable:
            return False
        with self._writing:
            if not self._medium.is_current(self._container.file):
                return self._reopen()
            if not self._container.reload():
                return False
            self._snapshot = load_snapshot(
                self._container,
                self._snapshot.cache,
                self._container.manifest_ref(),
                known=self._snapshot,
            )
            return True

    def _reopen(self) -> bool:
        """Move to the file that a vacuum put in this one's place."""
        container = open_container(
            self._medium, writable=False, create=False, verify=self._container.verify, timeout_s=0
        )
        try:
            snapshot = load_snapshot(container, SegmentCache(container), container.manifest_ref())
        except BaseException:
            container.close()
            raise
        # The old container is not closed: older snapshots may still read from it. Its descriptor
        # goes with the last of them.
        self._container, self._snapshot = container, snapshot
        return True

    def pin(self, epoch: int | None) -> None:
        """Show a read-only handle an older epoch, for good."""
        assert epoch is not None, "an epoch or a tag was given"
        self._snapshot = self._at(epoch)
        self._pinned = True

    def snapshot(self, epoch: int | None = None) -> Reader:
        """Return a view of the store at one epoch, the current one by default.

        Raises
        ------
        NotFoundError
            The file no longer has that epoch.
        """
        return Reader(self, self.current() if epoch is None else self._at(epoch))

    def _at(self, epoch: int) -> Snapshot:
        now = self.current()
        epoch = check_whole(epoch, what="epoch")
        if epoch == now.epoch:
            return now
        ref = None
        if 0 <= epoch < now.epoch:
            ref = find_epoch(now.container, now.tip, epoch, limit=HISTORY_MAX)
        if ref is None:
            raise NotFoundError(
                f"{self.path} has no epoch {epoch}; history() lists those it has. "
                "A vacuum drops epochs that no tag names."
            )
        return load_snapshot(now.container, now.cache, ref)

    # Collections.

    @property
    def collections(self) -> tuple[str, ...]:
        """Names of the collections."""
        return tuple(self.current().state.collections)

    def collection(self, name: str) -> Collection:
        """Return a handle on a collection.

        Raises
        ------
        NotFoundError
        """
        self.current().collection(name)
        return Collection(self, name)

    def create_collection(
        self, name: str, *, fields: Mapping[str, str] | None = None
    ) -> Collection:
        """Make a collection.

        Parameters
        ----------
        fields : mapping of name to type, optional
            Metadata fields: ``keyword``, ``keywords``, ``int``, ``float``, ``bool``, ``timestamp``
            or ``json``.

        Raises
        ------
        AlreadyExistsError, InvalidArgumentError, LimitExceededError
        """
        check_name(name, what="collection name")
        checked = check_fields({} if fields is None else fields)

        def edit(state: StoreState) -> StoreState:
            return edits.create_collection(state, name, checked, self.moment())

        self.change(edit, Operation("create_collection", name))
        return self.collection(name)

    def drop_collection(self, name: str) -> None:
        """Remove a collection and everything in it; a vacuum frees its bytes."""
        self.current().collection(name)
        # Sealed at once, so that no delta of the old collection is replayed into a new namesake.
        self.change(
            lambda state: edits.drop_collection(state, name),
            Operation("drop_collection", name),
            checkpoint=True,
        )

    # Equivalences and tags.

    def declare_equivalent(
        self, first: EmbeddingSpec, second: EmbeddingSpec, *, reason: str
    ) -> None:
        """Record that two specs are one geometry, for example after a mere rename.

        Raises
        ------
        InvalidArgumentError
            Their dimensions or metrics differ, or there is no reason.
        """
        require_spec(first, what="first")
        require_spec(second, what="second")
        check_note(reason, what="reason")

        def edit(state: StoreState) -> StoreState:
            return edits.declare_equivalent(state, first, second, self.moment(reason))

        self.change(edit, Operation("declare_equivalent", reason))

    @property
    def equivalences(self) -> tuple[Equivalence, ...]:
        """Declared equivalences, oldest first."""
        return self.current().state.equivalences

    @property
    def tags(self) -> dict[str, int]:
        """Epochs by tag."""
        return {name: tag.epoch for name, tag in self.current().state.tags.items()}

    def tag(self, name: str, *, epoch: int | None = None, note: str = "") -> int:
        """Name an epoch, the current one by default; a vacuum keeps it. Returns the epoch.

        Raises
        ------
        AlreadyExistsError, NotFoundError
        """
        check_name(name, what="tag")
        check_note(note, what="note")
        named = self.current().epoch if epoch is None else self._at(epoch).epoch

        def edit(state: StoreState) -> StoreState:
            return edits.add_tag(state, name, named, self.moment(note))

        self.change(edit, Operation("tag", f"{name} = epoch {named}"))
        return named

    def untag(self, name: str) -> None:
        """Remove a tag; the next vacuum may drop its epoch."""
        self.epoch_of(name)
        self.change(lambda state: edits.remove_tag(state, name), Operation("untag", name))

    def epoch_of(self, tag: str) -> int:
        """Return the epoch a tag names.

        Raises
        ------
        NotFoundError
        """
        return edits.tagged_epoch(self.current().state, require_text(tag, what="tag"))

    # Writing.

    def transaction(self, *, timeout_s: float = -1) -> transactions.Transaction:
        """Begin a transaction; leaving its ``with`` block commits it.

        Parameters
        ----------
        timeout_s : float
            How long to wait for another thread's transaction; negative waits for ever.

        Raises
        ------
        ReadOnlyError, ClosedError, StorageError
        LockedError
            The other transaction did not end in time.
        StateError
            This thread has one open already.
        """
        wait_s = min(check_number(timeout_s, what="timeout_s"), threading.TIMEOUT_MAX)
        return transactions.Transaction(lambda: self._begin(wait_s), self._finish)

    def _begin(self, timeout_s: float = -1) -> Snapshot:
        self.current()
        if not self._container.writable:
            raise ReadOnlyError(f"{self.path} is open read-only; open it with mode='rw' to write")
        if self._writer_thread == threading.get_ident():
            raise StateError(f"{self.path}: this thread has an open transaction; end it first")
        if not self._writing.acquire(timeout=timeout_s if timeout_s >= 0 else -1):
            raise LockedError(self.path, waited_s=timeout_s)
        self._writer_thread = threading.get_ident()
        try:
            self.current()
            self._container.require_healthy()
            published = self._container.superblock
            if published is not None and published.epoch > self._snapshot.epoch:
                # Ctrl-C came between a commit and the moment it was taken note of here.
                self._snapshot = load_snapshot(
                    self._container, self._snapshot.cache, self._container.manifest_ref()
                )
        except BaseException:
            self._end()
            raise
        return self._snapshot

    def _end(self) -> None:
        self._writer_thread = None
        self._writing.release()
        if self._upkeep is not None:  # a commit, a vacuum, or a commit found after Ctrl-C
            self._upkeep.wake()

    def _finish(self, finished: transactions.Transaction | None) -> None:
        try:
            if finished is None:
                return
            changes = finished.changes()
            state = finished.edited(self._snapshot.state)
            if changes or state is not self._snapshot.state:
                self._commit(state, changes, finished.operation())
        finally:
            self._end()

    def change(
        self,
        edit: Callable[[StoreState], StoreState],
        operation: Operation,
        *,
        checkpoint: bool = False,
    ) -> None:
        """Commit a change of the store's state that touches no document."""
        self._begin()
        try:
            state = edit(self._snapshot.state)
            if state is not self._snapshot.state:
                self._commit(state, {}, operation, checkpoint=checkpoint)
        finally:
            self._end()

    def optimize(self) -> None:
        """Seal, write segments of mostly dead rows without them, build the graphs that are due.

        It is one commit, however little there is to do.

        Raises
        ------
        LockedError, ReadOnlyError, StorageError
        """
        self._begin()
        try:
            self._commit(
                self._snapshot.state,
                {},
                Operation("optimize"),
                upkeep=True,
                kernels=builders,
            )
        finally:
            self._end()

    def wait_for_upkeep(self, timeout_s: float | None = None) -> bool:
        """Wait until the background thread has nothing to do; return whether that is so.

        True at once unless the store was opened with ``indexing="background"``.

        Raises
        ------
        StorageError, CorruptionError
            Why the thread's last attempt failed; it goes on trying.
        """
        check_number(timeout_s or 0, what="timeout_s")
        if self._upkeep is None:
            return True
        return self._upkeep.wait(lambda: self.epoch, timeout_s)

    def put_replacement(
        self, replacement: replacements.Replacement, *, name: str, label: str
    ) -> None:
        """Put segments made beside the writer in place, if those that they replace still stand."""
        snapshot = self._begin()
        try:
            collection = snapshot.state.collections.get(name)
            version = None if collection is None else collection.versions.get(label)
            if collection is None or version is None:
                return
            try:
                segments = replacements.replace_segments(
                    self._container, version, replacement, epoch=snapshot.epoch + 1
                )
            except BaseException:
                self._container.abort()
                raise
            if segments is not None:
                state = edits.put_segments(snapshot.state, name, label, segments)
                self._commit(state, {}, Operation("upkeep"))
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
        self._snapshot = writer.commit(
            self._snapshot,
            state,
            changes,
            operation,
            time_us=self._time_us(),
            durable=self._durability == "full",
            checkpoint=checkpoint,
            upkeep=upkeep,
            kernels=kernels or during_commits(self._indexing),
        )
        self.observer.metrics.count("commits")
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
            raise StateError(f"{self.path}: end the transaction before sync()")
        with self._writing:
            if not self._closed and self._container.writable and not self._container.poisoned:
                self._container.settle()

    def moment(self, reason: str = "") -> Moment:
        """Return the epoch and time of the commit being made."""
        return edits.Moment(self._snapshot.epoch + 1, self._time_us(), reason)

    def _time_us(self) -> int:
        # Never before the last commit, also when someone sets the clock back.
        return max(self.clock.now_us(), self._snapshot.time_us)

    def today(self) -> str:
        """Return the date in UTC, for labels."""
        now = dt.datetime.fromtimestamp(self.clock.now_us() / 1e6, dt.UTC)
        return now.date().isoformat()

    def vacuum(self, *, keep_epochs: Sequence[int] = ()) -> vacuum.VacuumReport:
        """Write a new file without what is dead, and put it in place of this one.

        Deleted documents, stale and superseded vectors, retired versions past their grace period,
        and epochs that neither a tag nor ``keep_epochs`` names are gone from the file afterwards.
        Open readers keep their snapshot.

        Raises
        ------
        StorageError
            There is no room for the new file; the old one is unharmed.
        """
        kept = [
            check_whole(epoch, what=f"keep_epochs[{i}]")
            for i, epoch in enumerate(inputs.listed(keep_epochs, what="keep_epochs"))
        ]
        self._begin()
        try:
            self._container, self._snapshot, report = vacuum.vacuum(
                self._medium,
                self._snapshot,
                keep_epochs=kept,
                time_us=self._time_us(),
                find=self._at,
                verify=self._container.verify,
                kernels=builders,
            )
            self.observer.metrics.count("vacuums")
            return report
        finally:
            self._end()

    # Observing.

    def history(self, *, limit: int = 100) -> list[history.HistoryEntry]:
        """Return what each commit did, newest first, also of commits a vacuum dropped."""
        return history.entries(self.current(), limit=limit)

    def check(self) -> check.CheckReport:
        """Verify every byte and every invariant of the file; see `check.check_file`."""
        self.current()
        return check.check_file(self._medium.name, self._container.file)

    def info(self) -> dict[str, object]:
        """Return the manifest as plain data: what to look at first in an incident."""
        return history.manifest_info(self, self.current())

    def metrics(self) -> dict[str, object]:
        """Return this handle's counters as plain data; see `observe.metrics.Metrics`."""
        return self.observer.metrics.to_dict()

    def traces(self) -> list[Trace]:
        """Return recent searches of this handle, newest first."""
        return self.observer.traces.recent()

    # Embedding.

    @cached_property
    def _embedders(self) -> embedders.EmbedderRegistry:
        return embedders.EmbedderRegistry()

    def register_embedder(self, embedder: Embedder) -> None:
        """Let an embedder embed the text queries of its version through this handle."""
        self._embedders.register(embedder)

    def embed_queries(self, version: VersionState, texts: Sequence[str]) -> Embeddings:
        """Return stamped vectors of query texts for a version; see `EmbedderRegistry`."""
        accepted = self.current().state.equivalent(version.spec.fingerprint)
        return self._embedders.embed_queries(version, accepted, texts)


class Reader:
    """The store at one epoch, read-only. Made by ``Store.snapshot``."""

    def __init__(self, store: Store, snapshot: Snapshot) -> None:
        self._store = store
        self._snapshot = snapshot

    @property
    def epoch(self) -> int:
        """The epoch."""
        return self._snapshot.epoch

    @property
    def collections(self) -> tuple[str, ...]:
        """Names of the collections."""
        return tuple(self._snapshot.state.collections)

    def collection(self, name: str) -> Collection:
        """Return a handle whose reads see this epoch.

        Raises
        ------
        NotFoundError
        """
        self._snapshot.collection(name)
        return Collection(self._store, name, pinned=self._snapshot)
