"""Transactions: changes collected in memory, committed all together or not at all."""

from __future__ import annotations

import weakref
from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Self, TypeVar

import numpy as np

from vstore.api.collection_reader import passing
from vstore.deferred import Deferred
from vstore.engine.open_handle import OpenHandle
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
from vstore.writing.counts import DeleteCounts, UpsertCounts, VectorCounts
from vstore.writing.given_vectors import check_given
from vstore.writing.input import document_input, metadata_rows, one_per_id, require_size
from vstore.writing.pending import Pending
from vstore.writing.revisions import change_unsourced, identical, merged_records, replaced
from vstore.writing.scope import in_scope, require_known, require_scope

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from types import TracebackType

    from vstore.api.collection import Collection
    from vstore.engine.snapshot import Snapshot
    from vstore.guarding import batch_check, length_check
    from vstore.manifest.state import StoreState
    from vstore.searching.parameters import Where
    from vstore.segment.changes import CollectionChanges
    from vstore.types import DocumentId, Metadata
    from vstore.writing.given_vectors import GivenVectors
else:  # of versions that have learned, and of mistakes
    batch_check = Deferred("vstore.guarding.batch_check")
    length_check = Deferred("vstore.guarding.length_check")


_T = TypeVar("_T")


class _Leaving:
    """``__exit__`` of a transaction, looked up by ``with`` before it calls ``__enter__``.

    What it returns holds the turn, and only the ``with`` statement holds that. So an interrupt
    right before the first line of ``__exit__`` gives the turn back too, whoever keeps the exception
    with all its frames. Other callers (`contextlib.ExitStack`, or by hand) get the plain method.
    """

    def __get__(
        self, transaction: Transaction | None, owner: type[Transaction]
    ) -> Callable[..., None]:
        if transaction is None:
            return owner._leave
        leave = partial(transaction._leave)
        transaction._block = weakref.ref(leave)
        return leave


class Transaction(OpenHandle):
    """Writes that become one commit. Made by ``Store.transaction()``.

    Reads through collections see the snapshot from before the transaction. Leaving the ``with``
    block commits; an exception leaves nothing. Each call is checked whole before it changes
    anything, so a refused one may be caught and the transaction go on. It is for one ``with``
    block: what it collected, committed or not, is not for another snapshot.
    """

    def __init__(
        self,
        begin: Callable[[Turn], Snapshot],
        finish: Callable[[Turn, Transaction], None],
    ) -> None:
        self._begin = begin
        self._finish = finish
        self._turn: weakref.ref[Turn] | None = None
        self._held: Turn | None = None  # unless the `with` statement holds it
        self._block: weakref.ref[partial[None]] | None = None
        self._snapshot: Snapshot | None = None
        self._used = False
        self._pending: dict[str, Pending] = {}
        self._counts: dict[str, int] = {}
        self._names: list[str] = []
        self._edits: list[Callable[[StoreState], StoreState]] = []
        self.note = ""
        self.one_call = False  # the transaction ends when its first call returns

    def __enter__(self) -> Self:
        if self._used:
            raise TransactionError("a transaction is for one with block; begin a new one")
        self._used = True
        turn = Turn()
        self._turn = weakref.ref(turn)
        block = None if self._block is None else self._block()
        if block is None:
            self._held = turn
        else:
            block.__dict__["turn"] = turn
        try:
            self._snapshot = self._begin(turn)
        except BaseException:
            self._end()
            raise
        return self

    if TYPE_CHECKING:

        def __exit__(
            self,
            kind: type[BaseException] | None,
            value: BaseException | None,
            traceback: TracebackType | None,
        ) -> None: ...
    else:
        __exit__ = _Leaving()

    def _leave(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            try:
                if kind is None:
                    self._commit()
            finally:
                self._end()
        finally:
            self._end()

    def _elsewhere(self) -> str:
        return "A transaction is of the thread that began it: send what is to be written"

    def run(self, body: Callable[[Transaction], _T]) -> _T:
        """Return what ``body`` returns, once what it wrote is committed."""
        try:
            try:
                self.__enter__()
                result = body(self)
                self._commit()
                return result
            finally:
                self._end()
        finally:
            self._end()

    def _commit(self) -> None:
        if any(pending.unfinished for pending in self._pending.values()):
            raise TransactionError(
                "a call of this transaction was interrupted while it made its changes; nothing "
                "was committed. Do the writes again in a new transaction"
            )
        turn = None if self._turn is None else self._turn()
        if turn is None:
            raise TransactionError("the with block that held this transaction is gone")
        self._finish(turn, self)

    def _end(self) -> None:
        turn = None if self._turn is None else self._turn()
        if turn is not None:
            turn.end()
        self._snapshot = None

    def _open_snapshot(self) -> Snapshot:
        if self._snapshot is None:
            raise TransactionError("a transaction works inside its with block; begin another")
        return self._snapshot

    # What the store asks when it commits.

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

    # Writes.

    def upsert(
        self,
        collection: Collection,
        ids: Iterable[DocumentId],
        *,
        vectors: Mapping[str, object] | None = None,
        metadata: Metadata | None = None,
        texts: Iterable[str | None] | None = None,
        source_hashes: Iterable[bytes | str | None] | None = None,
        force: bool = False,
        trust_geometry: bool = False,
    ) -> UpsertCounts:
        """Add documents, or change those that are there.

        What is not given leaves what a document has. Its source is given as text, hash or both. If
        the hash is the stored one, the document keeps its revision, and versions that have fresh
        vectors of it keep them. Otherwise it gets a new revision, and vectors of versions not given
        here become stale. Without text and hash the source is what it was, and vectors are of the
        document's current revision: they replace what the version has. Only under the dual-write
        policies "require" and "queue" vectors that come alone count as a change of the source,
        since nothing tells that they are of the old one: the document gets a new revision, keeps
        its text and loses its hash. Vectors that the same transaction gives it of other versions,
        in whatever call, are of that revision too.

        Parameters
        ----------
        collection : Collection
        ids : iterable of str or int
            Each once, in the order of what stands beside them: a set is refused.
        vectors : mapping of version label to array, Embeddings or list of arrays, optional
            One row per document (n, dimension), or one (chunks, dimension) array per document.
        metadata : iterable of mappings, or mapping of field to iterable, optional
            Replaces the documents' metadata; without it they keep theirs.
        texts : iterable of str or None, optional
            None is the same as not given, for that document.
        source_hashes : iterable of bytes or str or None, optional
            32 bytes are taken as they are, anything else is hashed. Default: BLAKE3 of the text. A
            new hash without text also removes the old text, which is not what the hash is of.
            None is no hash: a document without a text keeps its own, one with a text counts as
            changed, since nothing tells otherwise.
        force : bool
            Write the vectors also where they are fresh already.
        trust_geometry : bool
            Write them also if they look like vectors of another space than the version's rows, or
            have lengths that no row of the version has.

        Raises
        ------
        InvalidArgumentError, InvalidVectorError, VersionMismatchError, ScopeError,
        LimitExceededError, NotFoundError, StateError, TransactionError
        MissingVectorsError
            When the transaction commits: the collection's dual-write policy is "require", and a
            document that is new or changed has no vectors of a version in use.
        """
        pending = self._of(collection)
        force = check_switch(force, what="force")
        trusted = check_switch(trust_geometry, what="trust_geometry")
        if vectors is not None and not isinstance(vectors, Mapping):
            raise InvalidArgumentError(
                "vectors: expected a mapping of version label to array, found "
                f"{type(vectors).__name__}; an array does not say which version it is of"
            )
        given = document_input(
            pending.view.field_types, validate_ids(ids), metadata, texts, source_hashes
        )
        batches = {
            label: self._checked(collection, pending, label, rows, len(given.ids), trusted=trusted)
            for label, rows in (vectors or {}).items()
        }
        docnos = pending.find(given.ids)
        known = np.flatnonzero(docnos >= 0).tolist()
        count, fresh = len(given.ids), len(given.ids) - len(known)
        if pending.next_docno + fresh > DOCUMENTS_MAX:
            raise LimitExceededError(
                f"documents of collection {collection.name!r}",
                limit="DOCUMENTS_MAX",
                found=pending.next_docno + fresh,
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
        if not known and count > SEAL_DOCUMENTS and collection.scope is None:
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
        require_scope(collection, pending, [*before.values(), *after])
        pending.reserve(fresh)
        numbers = docnos.tolist()
        revisions = np.array([record.revision for record in after], np.uint64)
        changed = np.setdiff1d(known, [*kept, *unsourced]).astype(np.int64)
        pending.forget_rows(docnos[changed])
        pending.restamp_rows(docnos[np.array(unsourced, np.int64)], epoch)
        # Only a hash tells that vectors which are there are of what the given ones are of.
        told = [] if force or given.hashes is None else [i for i in kept if given.hashes[i]]
        written, skipped = {}, {}
        for label, rows in batches.items():
            idle = [i for i in told if pending.has_fresh(label, numbers[i], after[i].revision)]
            rows.add_to(pending, docnos, revisions, skipped=idle)
            written[label], skipped[label] = count - len(idle), len(idle)
        for i, record in enumerate(after):
            if i not in before or not identical(before[i], record):
                pending.put(numbers[i], record)
        inserted = fresh + sum(before[i].revision == DELETED for i in known)
        updated = count - inserted - len(kept)
        self._note("upsert", inserted=inserted, updated=updated, vectors=sum(written.values()))
        return UpsertCounts(inserted, updated, len(kept), written, skipped)

    def update_metadata(
        self,
        collection: Collection,
        ids: Iterable[DocumentId],
        metadata: Metadata,
    ) -> int:
        """Set the given fields of documents, None to remove one; revisions stay.

        Each id comes once, in the order of the metadata.

        Returns
        -------
        int
            Documents that changed.

        Raises
        ------
        NotFoundError
            An id is unknown, deleted, or outside the handle's scope.
        """
        pending = self._of(collection)
        checked = validate_ids(ids)
        rows = metadata_rows(pending.view.field_types, metadata, checked, keep_none=True)
        docnos = require_known(collection, pending, checked)
        after = []
        for i, (docno, row) in enumerate(zip(docnos, rows, strict=True)):
            old = pending.record(docno)
            merged = {k: v for k, v in {**old.metadata, **row}.items() if v is not None}
            require_size(i, merged)
            after.append(old._replace(metadata=merged))
        require_scope(collection, pending, after)
        changed = 0
        for docno, record in zip(docnos, after, strict=True):
            if not identical(record, pending.record(docno)):
                pending.put(docno, record)
                changed += 1
        self._note("update_metadata", metadata=changed)
        return changed

    def delete(
        self,
        collection: Collection,
        ids: Iterable[DocumentId] | None = None,
        *,
        where: Where = None,
    ) -> DeleteCounts:
        """Delete documents, by id or by filter: all chunks of all versions, in this commit.

        Unknown ids are counted, not refused; an id that comes more than once counts once, and a
        set will do. A filter is applied to the snapshot, not to earlier writes of this transaction.
        """
        if (ids is None) == (where is None):
            raise InvalidArgumentError("delete: pass ids or where, one of the two")
        pending = self._of(collection)
        if ids is None:
            assert where is not None
            view = collection.view_at(self._open_snapshot())
            docnos = np.flatnonzero(passing(view, where))
            requested = len(docnos)
        else:
            checked = list(dict.fromkeys(validate_ids(ids, unique=False, ordered=False)))
            docnos = pending.find(checked)
            requested = len(checked)
            docnos = docnos[docnos >= 0]
        records = [(docno, pending.record(docno)) for docno in docnos.tolist()]
        inside = in_scope(collection, pending, [record for _, record in records])
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
        collection: Collection,
        version: str,
        ids: Iterable[DocumentId],
        vectors: object,
        *,
        revisions: Iterable[int] | None = None,
        trust_geometry: bool = False,
    ) -> VectorCounts:
        """Give documents that exist their vectors of one version.

        Parameters
        ----------
        ids : iterable of str or int
            Each once, in the order of the vectors.
        revisions : iterable of int, optional
            Revisions the vectors were made from. Where a document has moved on, or was deleted,
            its vectors are skipped: they would be born stale. Without it unknown ids are an error,
            and the vectors are taken to be of the documents as they are. Only under the dual-write
            policies "require" and "queue", vectors that replace fresh ones count as a change of the
            source, as in `upsert`.
        trust_geometry : bool
            Write them also if they look like vectors of another space than the version's rows, or
            have lengths that no row of the version has.

        Raises
        ------
        NotFoundError, InvalidVectorError, VersionMismatchError, StateError
        """
        pending = self._of(collection)
        trusted = check_switch(trust_geometry, what="trust_geometry")
        checked_ids = validate_ids(ids)
        given = self._checked(
            collection, pending, version, vectors, len(checked_ids), trusted=trusted
        )
        stale: list[int] = []
        if revisions is None:
            numbers = np.array(require_known(collection, pending, checked_ids), np.int64)
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
            if collection.scope is not None:
                known = np.flatnonzero(numbers >= 0)
                records = [pending.record(docno) for docno in numbers[known].tolist()]
                mine[known] = in_scope(collection, pending, records)
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

    def lacking(self, collection: Collection, version: str, ids: Sequence[DocumentId]) -> list[int]:
        """Return the positions of ids whose documents have no fresh vectors in a version yet.

        Raises
        ------
        NotFoundError
            An id is unknown, deleted, or outside the handle's scope.
        """
        pending = self._of(collection)
        docnos = require_known(collection, pending, ids)
        revisions = pending.revisions(np.array(docnos, np.int64))
        return [
            i
            for i, (docno, revision) in enumerate(zip(docnos, revisions, strict=True))
            if not pending.has_fresh(version, docno, revision)
        ]

    # Steps.

    def _of(self, collection: Collection) -> Pending:
        snapshot = self._open_snapshot()
        collection.require_writable()
        if collection.store.current().container is not snapshot.container:
            raise InvalidArgumentError(
                f"{collection!r} belongs to {collection.store!r}, not to this transaction's store"
            )
        pending = self._pending.get(collection.name)
        if pending is None:
            pending = Pending(snapshot.collection(collection.name))
            self._pending[collection.name] = pending
        return pending

    def _checked(
        self,
        collection: Collection,
        pending: Pending,
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
                error, snapshot, version, vectors, telling=collection.scope is None
            ) from None
        if not trusted:
            where, told = f"vectors[{label!r}]", False
            if version.guard is not None:
                told = batch_check.check_geometry(
                    collection, snapshot, version, given.checked.vectors, where=where
                )
            length_check.check_lengths(
                collection,
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
