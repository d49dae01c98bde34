"""Transactions: changes collected in memory, committed all together or not at all."""

from __future__ import annotations

import weakref
from functools import partial
from typing import TYPE_CHECKING, Self

from vstore.engine.handle import handle_of
from vstore.engine.open_handle import OpenHandle
from vstore.writing.given_vectors import label_of_vectors

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from types import TracebackType

    from vstore.engine.handle import HandleOwner
    from vstore.query.filter import Where
    from vstore.types import DocumentId, Metadata
    from vstore.writing.counts import DeleteCounts, UpsertCounts, VectorCounts
    from vstore.writing.draft import Draft


class _ExitMethod:
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

    def __init__(self, draft: Draft) -> None:
        self._draft = draft
        self._block: weakref.ref[partial[None]] | None = None

    @property
    def note(self) -> str:
        """A person's reason, for the history; to be set before the block ends."""
        return self._draft.note

    @note.setter
    def note(self, note: str) -> None:
        self._draft.note = note

    def __enter__(self) -> Self:
        # No local name for the block: an interrupt here would keep it, and with it the turn.
        self._draft.open(None if self._block is None else self._block())
        return self

    if TYPE_CHECKING:

        def __exit__(
            self,
            kind: type[BaseException] | None,
            value: BaseException | None,
            traceback: TracebackType | None,
        ) -> None: ...
    else:
        __exit__ = _ExitMethod()

    def _leave(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            try:
                if kind is None:
                    self._draft.commit()
            finally:
                self._draft.end()
        finally:
            self._draft.end()

    def _elsewhere(self) -> str:
        return "A transaction is of the thread that began it: send what is to be written"

    def upsert(
        self,
        collection: HandleOwner,
        ids: Iterable[DocumentId],
        *,
        vectors: object = None,
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
            The array alone will do through a collection handle that is bound to a version, and
            `Embeddings` alone, whose spec says the version.
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
        InvalidArgumentError, InvalidVectorError, LimitExceededError
            An argument is not what it should be, or too large; nothing of the call is kept.
        VersionMismatchError
            A stamp or a dimension is not that of the version.
        NotFoundError, StateError
            No such version, or it is retired.
        ScopeError
            Through a scoped handle: an id is taken outside, or a document would leave the scope.
        TransactionError
            The transaction has ended.
        MissingVectorsError
            When the transaction commits: the collection's dual-write policy is "require", and a
            document that is new or changed has no vectors of a version in use.
        """
        return self._draft.upsert(
            handle_of(collection),
            ids,
            vectors=vectors,
            metadata=metadata,
            texts=texts,
            source_hashes=source_hashes,
            force=force,
            trust_geometry=trust_geometry,
        )

    def update_metadata(
        self,
        collection: HandleOwner,
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
        return self._draft.update_metadata(handle_of(collection), ids, metadata)

    def delete(
        self,
        collection: HandleOwner,
        ids: Iterable[DocumentId] | None = None,
        *,
        where: Where = None,
    ) -> DeleteCounts:
        """Delete documents, by id or by filter: all chunks of all versions, in this commit.

        Unknown ids are counted, not refused; an id that comes more than once counts once, and a
        set will do. A filter is applied to the snapshot, not to earlier writes of this transaction.
        """
        return self._draft.delete(handle_of(collection), ids, where=where)

    def add_vectors(
        self,
        collection: HandleOwner,
        ids: Iterable[DocumentId],
        vectors: object,
        *,
        version: str | None = None,
        revisions: Iterable[int] | None = None,
        trust_geometry: bool = False,
    ) -> VectorCounts:
        """Give documents that exist their vectors of one version.

        Parameters
        ----------
        ids : iterable of str or int
            Each once, in the order of the vectors.
        vectors : array, Embeddings or list of arrays
            One row per document (n, dimension), or one (chunks, dimension) array per document.
        version : str, optional
            Its label. Not needed through a collection handle that is bound to a version, nor for
            vectors with a stamp.
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
        NotFoundError
            No such version; or, without ``revisions``, an id is unknown.
        InvalidVectorError
            A vector is not finite, zero under cosine, or looks like one of another space.
        VersionMismatchError
            The stamp or the dimension is not that of the version.
        StateError
            The version is retired.
        """
        handle = handle_of(collection)
        return self._draft.add_vectors(
            handle,
            label_of_vectors(handle, version, vectors),
            ids,
            vectors,
            revisions=revisions,
            trust_geometry=trust_geometry,
        )
