"""Drafts: what one commit will do to documents and rows, checked call by call.

`api.transaction.Transaction` is the face of a draft; services that write make drafts of their own
by `write`. A draft holds the writer's turn from `Draft.open` to `Draft.end`, whatever interrupts
it.
"""

from __future__ import annotations

import threading
import weakref
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from vstore.deferred import Deferred
from vstore.engine.filtering import passing
from vstore.engine.pending import PendingChanges
from vstore.engine.turns import Turn
from vstore.errors import (
    InvalidArgumentError,
    InvalidVectorError,
    LimitExceededError,
    TransactionError,
)
from vstore.limits import DOCUMENTS_MAX, SEAL_DOCUMENTS
from vstore.manifest.commit import Operation
from vstore.names import check_note
from vstore.numbers import check_switch, check_whole
from vstore.segment.document_batch import DocumentBatch
from vstore.segment.documents import DELETED, DocumentRecord
from vstore.segment.ids import validate_ids
from vstore.segment.sequences import one_per_id
from vstore.writing.counts import DeleteCounts, UpsertCounts, VectorCounts
from vstore.writing.given_vectors import by_label, check_given
from vstore.writing.input import document_input, metadata_rows, require_size
from vstore.writing.revisions import change_unsourced, identical, merged_records, replaced
from vstore.writing.scope import in_scope, require_known, require_scope

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from functools import partial

    from vstore.engine.handle import Handle
    from vstore.engine.open_file import OpenFile
    from vstore.engine.snapshot import Snapshot
    from vstore.guarding import batch_check, length_check
    from vstore.manifest.state import StoreState
    from vstore.query.filter import Where
    from vstore.segment.changes import CollectionChanges
    from vstore.types import DocumentId, Metadata
    from vstore.writing.given_vectors import GivenVectors
else:  # of versions that have learned, and of mistakes
    batch_check = Deferred("vstore.guarding.batch_check")
    length_check = Deferred("vstore.guarding.length_check")


_T = TypeVar("_T")


def write(file: OpenFile, body: Callable[[Draft], _T], *, one_call: bool = False) -> _T:
    """Return what ``body`` returns, once what it wrote is committed.

    Parameters
    ----------
    one_call : bool
        The body writes by one call, so that arrays need not be copied before they are written.

    Raises
    ------
    ReadOnlyError, ClosedError, StorageError
        The handle is no writer; it is closed; the operating system refuses to write.
    StateError
        This thread has a transaction open.
    """
    draft = Draft(file)
    draft.one_call = one_call
    try:
        try:
            draft.open(None)
            result = body(draft)
            draft.commit()
            return result
        finally:
            draft.end()
    finally:
        draft.end()


class Draft:
    """Changes that become one commit.

    Each call is checked whole before it changes anything, so that a refused one may be caught and
    the draft go on. What it collected, committed or not, is not for another snapshot.

    Parameters
    ----------
    timeout_s : float
        How long to wait for another thread's turn; negative waits for ever.
    """

    def __init__(self, file: OpenFile, timeout_s: float = -1) -> None:
        self._file = file
        self._timeout_s = timeout_s
        self._turn: weakref.ref[Turn] | None = None
        self._held: Turn | None = None  # unless the `with` statement holds it
        self._snapshot: Snapshot | None = None
        self._used = False
        self._pending: dict[str, PendingChanges] = {}
        self._counts: dict[str, int] = {}
        self._names: list[str] = []
        self._edits: list[Callable[[StoreState], StoreState]] = []
        self.note = ""
        self.one_call = False  # the draft ends when its first call returns

    def open(self, block: partial[None] | None) -> None:
        """Take the writer's turn.

        Parameters
        ----------
        block : partial, optional
            Holds the turn, and is held by a ``with`` statement alone; None to hold it here.

        Raises
        ------
        TransactionError
            It was open before.
        ReadOnlyError, ClosedError, StorageError, StateError, LockedError, FileMovedError
            See `OpenFile.begin`.
        """
        if self._used:
            raise TransactionError("a transaction is for one with block; begin a new one")
        self._used = True
        turn = Turn()
        self._turn = weakref.ref(turn)
        if block is None:
            self._held = turn
        else:
            block.__dict__["turn"] = turn
        try:
            self._snapshot = self._file.begin(turn, self._timeout_s)
        except BaseException:
            self.end()
            raise

    def commit(self) -> None:
        """Commit what was collected, and keep the turn.

        Raises
        ------
        TransactionError
            An interrupt came in the middle of a call.
        ClosedError, FileMovedError, StorageError, MissingVectorsError
            See `OpenFile.finish`.
        """
        self._require_finished()
        turn = None if self._turn is None else self._turn()
        if turn is None:
            raise TransactionError("the with block that held this transaction is gone")
        self._file.finish(turn, self)

    def end(self) -> None:
        """Give the turn back, if it is not given back yet."""
        turn = None if self._turn is None else self._turn()
        if turn is not None:
            turn.end()
        self._snapshot = None

    def _require_finished(self) -> None:
        if any(pending.unfinished for pending in self._pending.values()):
            raise TransactionError(
                "a call of this transaction ended while it made its changes, by an interrupt or an "
                "error; nothing is committed. Do the writes again in a new transaction"
            )

    def _open_snapshot(self) -> Snapshot:
        if self._snapshot is None:
            raise TransactionError("a transaction works inside its with block; begin another")
        turn = None if self._turn is None else self._turn()
        if turn is not None and turn.thread is not threading.current_thread():
            raise TransactionError(
                "a transaction is of the thread that began it, and another one wrote to it; embed "
                "and compute in other threads, and write here"
            )
        return self._snapshot

    # What the open file asks when it commits.

    def changes(self) -> dict[str, CollectionChanges]:
        """Return what is to be committed, by collection."""
        pending = {name: p.changes() for name, p in self._pending.items()}
        return {name: change for name, change in pending.items() if len(change)}

    def edited(self, state: StoreState) -> StoreState:
        """Return the store's state with this transaction's edits of it."""
        for edit in self._edits:
            state = edit(state)
        return state

    def operation(self) -> Operation:
        """Return the history's entry."""
        name = self._names[0] if len(self._names) == 1 else "transaction"
        return Operation(name, check_note(self.note, what="note"), dict(self._counts))

    # Writes; `Transaction` documents them.

    def upsert(
        self,
        handle: Handle,
        ids: Iterable[DocumentId],
        *,
        vectors: object = None,
        metadata: Metadata | None = None,
        texts: Iterable[str | None] | None = None,
        source_hashes: Iterable[bytes | str | None] | None = None,
        force: bool = False,
        trust_geometry: bool = False,
    ) -> UpsertCounts:
        """Add documents, or change those that are there."""
        pending = self._of(handle)
        force = check_switch(force, what="force")
        trusted = check_switch(trust_geometry, what="trust_geometry")
        given = document_input(
            pending.view.field_types, validate_ids(ids), metadata, texts, source_hashes
        )
        batches = {
            label: self._checked(handle, pending, label, rows, len(given.ids), trusted=trusted)
            for label, rows in by_label(handle, vectors).items()
        }
        docnos = pending.find(given.ids)
        known = np.flatnonzero(docnos >= 0).tolist()
        count, fresh = len(given.ids), len(given.ids) - len(known)
        if pending.next_docno + fresh > DOCUMENTS_MAX:
            raise LimitExceededError(
                f"documents of collection {handle.name!r}",
                limit="DOCUMENTS_MAX",
                found=None if handle.scope is not None else pending.next_docno + fresh,
                allowed=DOCUMENTS_MAX,
            )
        docnos[docnos < 0] = np.arange(pending.next_docno, pending.next_docno + fresh)
        epoch = self._open_snapshot().epoch + 1
        epochs = np.full(count, epoch, np.uint64)
        new = DocumentBatch(
            docnos.astype(np.uint32),
            given.ids,
            epochs,
            epochs,
            given.hashes,
            given.metadata,
            given.texts,
        )
        if not known and count > SEAL_DOCUMENTS and handle.scope is None:
            pending.reserve(count)
            pending.put_new(new)
            for rows in batches.values():
                rows.add_to(pending, docnos, epochs)
            written = dict.fromkeys(batches, count)
            self._note("upsert", inserted=count, vectors=count * len(batches))
            return UpsertCounts(count, 0, 0, written, dict.fromkeys(batches, 0))
        before = {i: pending.record(int(docnos[i])) for i in known}
        after, kept, unsourced = merged_records(
            new.records(), before, given, unsourced=bool(batches) and pending.wants_sources
        )
        require_scope(handle, pending, [*before.values(), *after])
        numbers = docnos.tolist()
        revisions = np.array([record.revision for record in after], np.uint64)
        changed = np.setdiff1d(known, [*kept, *unsourced]).astype(np.int64)
        # Only a hash tells that vectors which are there are of what the given ones are of. What is
        # read may be damaged, so it is read before anything changes.
        told = [] if force or given.hashes is None else [i for i in kept if given.hashes[i]]
        idle = {
            label: [i for i in told if pending.has_fresh(label, numbers[i], after[i].revision)]
            for label in batches
        }
        pending.reserve(fresh)
        pending.forget_rows(docnos[changed])
        pending.restamp_rows(docnos[np.array(unsourced, np.int64)], epoch)
        for label, rows in batches.items():
            rows.add_to(pending, docnos, revisions, skipped=idle[label])
        skipped = {label: len(rows) for label, rows in idle.items()}
        written = {label: count - len(rows) for label, rows in idle.items()}
        for i, record in enumerate(after):
            if i not in before or not identical(before[i], record):
                pending.put(numbers[i], record)
        inserted = fresh + sum(before[i].revision == DELETED for i in known)
        updated = count - inserted - len(kept)
        self._note("upsert", inserted=inserted, updated=updated, vectors=sum(written.values()))
        return UpsertCounts(inserted, updated, len(kept), written, skipped)

    def update_metadata(
        self,
        handle: Handle,
        ids: Iterable[DocumentId],
        metadata: Metadata,
    ) -> int:
        """Set fields of documents; return how many changed."""
        pending = self._of(handle)
        checked = validate_ids(ids)
        rows = metadata_rows(pending.view.field_types, metadata, checked, keep_none=True)
        docnos = require_known(handle, pending, checked)
        after = []
        for i, (docno, row) in enumerate(zip(docnos, rows, strict=True)):
            old = pending.record(docno)
            merged = {k: v for k, v in {**old.metadata, **row}.items() if v is not None}
            require_size(i, merged)
            after.append(old._replace(metadata=merged))
        require_scope(handle, pending, after)
        changed = 0
        for docno, record in zip(docnos, after, strict=True):
            if not identical(record, pending.record(docno)):
                pending.put(docno, record)
                changed += 1
        self._note("update_metadata", metadata=changed)
        return changed

    def delete(
        self,
        handle: Handle,
        ids: Iterable[DocumentId] | None = None,
        *,
        where: Where = None,
    ) -> DeleteCounts:
        """Delete documents, by id or by filter."""
        if (ids is None) == (where is None):
            raise InvalidArgumentError("delete: pass ids or where, one of the two")
        pending = self._of(handle)
        if ids is None:
            assert where is not None
            view = handle.view_at(self._open_snapshot())
            docnos = np.flatnonzero(passing(view, where))
            requested = len(docnos)
        else:
            checked = list(dict.fromkeys(validate_ids(ids, unique=False, ordered=False)))
            docnos = pending.find(checked)
            requested = len(checked)
            docnos = docnos[docnos >= 0]
        records = [(docno, pending.record(docno)) for docno in docnos.tolist()]
        inside = in_scope(handle, pending, [record for _, record in records])
        deleted = 0
        for (docno, record), mine in zip(records, inside, strict=True):
            if mine and record.revision != DELETED:
                pending.put(
                    docno, DocumentRecord(record.id, record.created, DELETED, None, {}, None)
                )
                deleted += 1
        self._note("delete", deleted=deleted)
        return DeleteCounts(deleted, requested - deleted)

    def add_vectors(
        self,
        handle: Handle,
        version: str,
        ids: Iterable[DocumentId],
        vectors: object,
        *,
        revisions: Iterable[int] | None = None,
        trust_geometry: bool = False,
    ) -> VectorCounts:
        """Give documents that exist their vectors of one version."""
        pending = self._of(handle)
        trusted = check_switch(trust_geometry, what="trust_geometry")
        checked_ids = validate_ids(ids)
        given = self._checked(handle, pending, version, vectors, len(checked_ids), trusted=trusted)
        stale: list[int] = []
        if revisions is None:
            numbers = np.array(require_known(handle, pending, checked_ids), np.int64)
            if pending.wants_sources:
                epoch = self._open_snapshot().epoch + 1
                change_unsourced(pending, replaced(pending, version, numbers, epoch), epoch)
            current = pending.revisions(numbers)
        else:
            made_from = [
                check_whole(revision, what=f"revisions[{i}]")
                for i, revision in enumerate(one_per_id("revisions", revisions, len(checked_ids)))
            ]
            numbers = pending.find(checked_ids)
            current = pending.revisions(numbers)
            mine = np.ones(len(numbers), np.bool_)
            if handle.scope is not None:
                known = np.flatnonzero(numbers >= 0)
                records = [pending.record(docno) for docno in numbers[known].tolist()]
                mine[known] = in_scope(handle, pending, records)
            stale = [
                i
                for i, now in enumerate(current)
                if now == DELETED or now != made_from[i] or not mine[i]
            ]
        revision = np.array(current, np.uint64)
        given.add_to(pending, numbers, revision, skipped=stale)
        written = len(checked_ids) - len(stale)
        self._note("add_vectors", vectors=written, stale=len(stale))
        return VectorCounts(written, len(stale))

    def edit(self, edit: Callable[[StoreState], StoreState], *, name: str, note: str) -> None:
        """Change the store's state in the same commit, which the history calls ``name``."""
        self._open_snapshot()
        self._edits.append(edit)
        self._names, self.note = [name], note

    def lacking(self, handle: Handle, version: str, ids: Sequence[DocumentId]) -> list[int]:
        """Return the positions of ids whose documents have no fresh vectors in a version yet.

        Raises
        ------
        NotFoundError
            An id is unknown, deleted, or outside the handle's scope.
        """
        pending = self._of(handle)
        docnos = require_known(handle, pending, ids)
        revisions = pending.revisions(np.array(docnos, np.int64))
        return [
            i
            for i, (docno, revision) in enumerate(zip(docnos, revisions, strict=True))
            if not pending.has_fresh(version, docno, revision)
        ]

    # Steps.

    def _of(self, handle: Handle) -> PendingChanges:
        snapshot = self._open_snapshot()
        self._require_finished()
        handle.require_writable()
        if handle.file is not self._file:
            raise InvalidArgumentError(
                f"collection {handle.name!r} belongs to the open store {handle.file.name!r}, and "
                "not to this transaction's"
            )
        pending = self._pending.get(handle.name)
        if pending is None:
            pending = PendingChanges(snapshot.collection(handle.name))
            self._pending[handle.name] = pending
        return pending

    def _checked(
        self,
        handle: Handle,
        pending: PendingChanges,
        label: str,
        vectors: object,
        count: int,
        *,
        trusted: bool,
    ) -> GivenVectors:
        snapshot, version = self._open_snapshot(), pending.view.version(label)
        try:
            given = check_given(
                pending, label, vectors, count, state=snapshot.state, one_call=self.one_call
            )
        except InvalidVectorError as error:
            raise batch_check.explained(
                error, snapshot, version, vectors, telling=handle.scope is None
            ) from None
        if not trusted:
            where, told = f"vectors[{label!r}]", False
            if version.guard is not None:
                told = batch_check.check_geometry(
                    handle, snapshot, version, given.checked.vectors, where=where
                )
            length_check.check_lengths(
                handle,
                snapshot,
                pending,
                version,
                given.checked,
                where=where,
                flagging=not told,
            )
        return given

    def _note(self, name: str, **counts: int) -> None:
        """Note what a call did, as its last step."""
        if name not in self._names:
            self._names.append(name)
        for key, value in counts.items():
            if value:
                self._counts[key] = self._counts.get(key, 0) + value
        for pending in self._pending.values():
            pending.unfinished = False
