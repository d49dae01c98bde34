"""Stores: one file, opened."""

from __future__ import annotations

import threading
import weakref
from operator import attrgetter
from typing import TYPE_CHECKING, Self

from vstore.api.collection import Collection
from vstore.deferred import Deferred
from vstore.embedding.registry import EmbedderRegistry
from vstore.engine.handle import Handle
from vstore.engine.open_handle import OpenHandle, opening
from vstore.manifest.commit import Operation
from vstore.manifest.spec import require_spec
from vstore.names import check_name, check_note, require_text
from vstore.numbers import check_number, check_switch, check_whole

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from types import TracebackType

    from vstore.api import reader as readers
    from vstore.api import transaction as transactions
    from vstore.embedding.embedder import Embedder
    from vstore.engine import flushing, history
    from vstore.engine.open_file import OpenFile
    from vstore.engine.vacuum import VacuumReport
    from vstore.inspection import check, manifest_info
    from vstore.manifest import edits
    from vstore.manifest.spec import EmbeddingSpec
    from vstore.manifest.state import StoreState
    from vstore.observe.metrics import Metrics
    from vstore.observe.trace import Trace
    from vstore.segment import sequences
    from vstore.writing import draft as drafts
    from vstore.writing import existing, schema
else:  # not what a search needs
    check = Deferred("vstore.inspection.check")
    edits = Deferred("vstore.manifest.edits")
    existing = Deferred("vstore.writing.existing")
    flushing = Deferred("vstore.engine.flushing")
    history = Deferred("vstore.engine.history")
    manifest_info = Deferred("vstore.inspection.manifest_info")
    drafts = Deferred("vstore.writing.draft")
    sequences = Deferred("vstore.segment.sequences")
    readers = Deferred("vstore.api.reader")
    schema = Deferred("vstore.writing.schema")
    transactions = Deferred("vstore.api.transaction")


class _EnterMethod(property):
    """``__enter__`` of a store: for a ``with`` statement one call into C, of a weak reference.

    An interrupt before the one line of a method in Python would leave the store open, with nobody
    to close it, for as long as the exception is kept. `contextlib.ExitStack` asks the class.
    """

    def __call__(self, store: Store) -> Store:
        return store


class Store(OpenHandle):
    """One open store. Made by `vstore.open`; a context manager that closes it.

    Any number of threads may use a store. Reads work on immutable snapshots and never wait; writers
    of one process take turns.
    """

    def __init__(self, open_file: OpenFile, *, keep_metrics: bool = False) -> None:
        self._open_file = open_file
        self._observer = open_file.observer
        self._keep_metrics = keep_metrics
        self._embedders = EmbedderRegistry()
        self._entered = weakref.ref(self)

    if TYPE_CHECKING:

        def __enter__(self) -> Self: ...
    else:
        __enter__ = _EnterMethod(attrgetter("_entered"))

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close the store, also where an interrupt comes in between.

        But for one that comes before the first line here: as before a call of `close`, nothing has
        begun. The store can be closed still, and lets go of its file when nobody holds it or the
        exception any more. A callable in C could not wait for writers and sync; one that closes the
        store when it is freed, as a transaction's ends its turn, would also close it for whoever
        merely looks at ``store.__exit__``, as debuggers and `inspect` do.
        """
        try:
            self.close()
        except BaseException:
            # An interrupt may have come before anything was closed, and nobody else has the store.
            self._open_file.close()
            raise

    def __repr__(self) -> str:
        state = "closed" if self._open_file.closed else f"epoch {self._open_file.snapshot.epoch}"
        return f"<vstore.Store {self.path!r}, {state}>"

    def _elsewhere(self) -> str:
        return opening(self.path)

    def close(self) -> None:
        """Sync what is relaxed, release file and lock. Arrays handed out stay valid.

        With ``keep_metrics`` what was counted is flushed first.

        Raises
        ------
        StateError
            This thread has a transaction open.
        StorageError
            The counters could not be written; the store is closed all the same.
        """
        if self._keep_metrics and self._open_file.healthy:
            self._keep_metrics = False
            try:
                self.flush_metrics()
            finally:
                self._open_file.close()
        else:
            self._open_file.close()

    # State.

    @property
    def path(self) -> str:
        """Name of the file, or ``":memory:"``."""
        return self._open_file.name

    @property
    def epoch(self) -> int:
        """Number of the commit that reads see."""
        return self._open_file.current().epoch

    @property
    def closed(self) -> bool:
        """Whether it was closed."""
        return self._open_file.closed

    @property
    def writable(self) -> bool:
        """Whether this handle is the store's writer."""
        return self._open_file.container.writable

    def refresh(self) -> bool:
        """Move a read-only handle to the newest commit; False if it is there already.

        Raises
        ------
        StateError
            The handle was opened at an epoch.
        FileMovedError
            The path names no store now, another store, an older copy of this one, or nothing. The
            handle goes on with what it has.
        StorageError
            The operating system cannot open or read the file now.
        """
        return self._open_file.refresh()

    def snapshot(self, epoch: int | None = None) -> readers.Reader:
        """Return a view of the store at one epoch, the current one by default.

        Raises
        ------
        NotFoundError
            The file no longer has that epoch.
        """
        shown = self._open_file.current() if epoch is None else self._open_file.at(epoch)
        return readers.Reader(self, shown)

    # Collections.

    @property
    def collections(self) -> tuple[str, ...]:
        """Names of the collections."""
        return tuple(self._open_file.current().state.collections)

    def collection(self, name: str) -> Collection:
        """Return a handle on a collection.

        Raises
        ------
        NotFoundError
            There is no such collection.
        """
        self._open_file.current().collection(name)
        return Collection(self, self._handle(name))

    def _handle(self, name: str) -> Handle:
        return Handle(self._open_file, name, self._embedders)

    def create_collection(
        self, name: str, *, fields: Mapping[str, str] | None = None, exist_ok: bool = False
    ) -> Collection:
        """Make a collection.

        Parameters
        ----------
        fields : mapping of name to type, optional
            Metadata fields: ``keyword``, ``keywords``, ``int``, ``float``, ``bool``, ``timestamp``
            or ``json``.
        exist_ok : bool
            Return the collection that is there, if it has these fields; it may have more.

        Raises
        ------
        AlreadyExistsError
            The name is taken; with ``exist_ok``, by a collection without one of the fields.
        InvalidArgumentError
            The name is empty or has control characters, or a field's type is none of these.
        LimitExceededError
            The name is too long, or there are too many collections or fields; see `limits`.
        """
        name = check_name(name, what="collection name")
        checked = schema.check_fields({} if fields is None else fields)
        exist_ok = check_switch(exist_ok, what="exist_ok")

        def edit(state: StoreState) -> StoreState:
            if exist_ok and existing.has_collection(state, name, checked):
                return state
            return edits.create_collection(state, name, checked, self._open_file.moment())

        if not (
            exist_ok and existing.has_collection(self._open_file.current().state, name, checked)
        ):
            self._open_file.change(edit, Operation("create_collection", name))
        return self.collection(name)

    def drop_collection(self, name: str) -> None:
        """Remove a collection and everything in it; a vacuum frees its bytes."""
        self._open_file.current().collection(name)
        # Sealed at once, so that no delta of the old collection is replayed into a new namesake.
        self._open_file.change(
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
        reason = check_note(reason, what="reason")

        def edit(state: StoreState) -> StoreState:
            return edits.declare_equivalent(state, first, second, self._open_file.moment(reason))

        self._open_file.change(edit, Operation("declare_equivalent", reason))

    @property
    def tags(self) -> dict[str, int]:
        """Epochs by tag."""
        return {name: tag.epoch for name, tag in self._open_file.current().state.tags.items()}

    def tag(self, name: str, *, epoch: int | None = None, note: str = "") -> int:
        """Name an epoch, the current one by default; a vacuum keeps it. Returns the epoch.

        Raises
        ------
        AlreadyExistsError
            There is such a tag; `untag` removes it.
        NotFoundError
            The file no longer has the epoch.
        """
        name = check_name(name, what="tag")
        note = check_note(note, what="note")
        named = (
            self._open_file.current().epoch if epoch is None else self._open_file.at(epoch).epoch
        )

        def edit(state: StoreState) -> StoreState:
            return edits.add_tag(state, name, named, self._open_file.moment(note))

        self._open_file.change(edit, Operation("tag", f"{name} = epoch {named}"))
        return named

    def untag(self, name: str) -> None:
        """Remove a tag; the next vacuum may drop its epoch.

        Raises
        ------
        NotFoundError
            There is no such tag.
        """
        edits.tagged_epoch(self._open_file.current().state, require_text(name, what="tag"))
        self._open_file.change(
            lambda state: edits.remove_tag(state, name), Operation("untag", name)
        )

    # Writing.

    def transaction(self, *, timeout_s: float = -1) -> transactions.Transaction:
        """Begin a transaction; leaving its ``with`` block commits it.

        Parameters
        ----------
        timeout_s : float
            How long to wait for another thread's transaction; negative waits for ever.

        Raises
        ------
        ReadOnlyError, ClosedError
            This handle is not the store's writer, or was closed.
        StorageError
            A write failed before: the store must be opened again.
        LockedError
            The other transaction did not end in time.
        StateError
            This thread has one open already.
        """
        wait_s = min(check_number(timeout_s, what="timeout_s"), threading.TIMEOUT_MAX)
        return transactions.Transaction(drafts.Draft(self._open_file, wait_s))

    def optimize(self) -> None:
        """Seal, write segments of mostly dead rows without them, build the graphs that are due.

        It is one commit, however little there is to do.

        Raises
        ------
        StateError
            This thread has a transaction open.
        ReadOnlyError
            This handle is not the store's writer.
        StorageError
            The operating system refuses to write.
        """
        self._open_file.optimize()

    def wait_for_upkeep(self, timeout_s: float | None = None) -> bool:
        """Wait until the background thread has nothing to do; return whether that is so.

        True at once unless the store was opened with ``indexing="background"``.

        Raises
        ------
        StorageError, CorruptionError
            Why the thread's last attempt failed; it goes on trying.
        """
        if timeout_s is not None:
            timeout_s = check_number(timeout_s, what="timeout_s")
        return self._open_file.wait_for_upkeep(timeout_s)

    def sync(self) -> None:
        """Make every commit durable now; under full durability they are.

        Raises
        ------
        StateError
            This thread has a transaction open.
        """
        self._open_file.sync()

    def vacuum(self, *, keep_epochs: Iterable[int] = ()) -> VacuumReport:
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
            for i, epoch in enumerate(
                sequences.listed(keep_epochs, what="keep_epochs", ordered=False)
            )
        ]
        return self._open_file.vacuum(kept)

    # Observing.

    def history(self, *, limit: int = 100) -> list[history.HistoryEntry]:
        """Return what each commit did, newest first, also of commits a vacuum dropped."""
        return history.entries(self._open_file.current(), limit=limit)

    def check(self) -> check.CheckReport:
        """Verify every byte and every invariant of the file; see `check.check_file`."""
        self._open_file.current()
        return check.check_file(self.path, self._open_file.container.file)

    def info(self) -> dict[str, object]:
        """Return the manifest as plain data: what to look at first in an incident."""
        return manifest_info.manifest_info(self._open_file.current())

    def metrics(self, *, stored: bool = False) -> Metrics:
        """Return this handle's counters, a copy; ``to_dict()`` makes plain data of them.

        Parameters
        ----------
        stored : bool
            Instead what writers have flushed into the file, and what this handle has not.
        """
        self._open_file.require_own_process()
        if not check_switch(stored, what="stored"):
            return self._observer.metrics()
        total = flushing.stored_metrics(self._open_file.current())
        total.merge(self._observer.unflushed_metrics())
        return total

    def flush_metrics(self) -> bool:
        """Write into the file, in one commit, what was counted; see `flushing.flush_metrics`.

        Returns
        -------
        bool
            Whether there was a search to write down.

        Raises
        ------
        ReadOnlyError, LockedError, StateError, StorageError, CorruptionError
            Nothing is lost: it is counted still, and can be written later.
        """
        return flushing.flush_metrics(self._open_file)

    def traces(self) -> list[Trace]:
        """Return recent searches of this handle, newest first."""
        self._open_file.require_own_process()
        return self._observer.recent()

    # Embedding.

    def register_embedder(self, embedder: Embedder) -> None:
        """Let an embedder embed the text queries of its version through this handle."""
        self._embedders.register(embedder)
