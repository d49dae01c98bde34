"""A collection read: which documents a handle sees, and reading them by id and by filter."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

import numpy as np

from vstore.deferred import Deferred
from vstore.engine.filtering import bound_filter, passing
from vstore.engine.open_handle import OpenHandle, opening
from vstore.errors import InvalidArgumentError, LimitExceededError, NotFoundError
from vstore.numbers import check_whole
from vstore.segment.documents import DELETED
from vstore.segment.ids import validate_ids

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from vstore.api.store import Store
    from vstore.engine.handle import Handle
    from vstore.engine.snapshot import CollectionView
    from vstore.query import filter as filters
    from vstore.query.filter import Filter, Where
    from vstore.segment import user_document as documents
    from vstore.segment.row_table import RowTable
    from vstore.segment.user_document import Document
    from vstore.types import Array, BoolArray, DocumentId
else:  # not what a search needs
    documents = Deferred("vstore.segment.user_document")
    filters = Deferred("vstore.query.filter")

_EXPORT_ROWS = 4_096


class CollectionReader(OpenHandle):
    """A collection as a handle sees it: at a snapshot, and inside a scope.

    The snapshot is the store's current one, or the one that the handle is pinned to. Everything
    that is asked of the collection is asked of `view`, which knows nothing of what is outside.
    """

    def __init__(self, store: Store, handle: Handle) -> None:
        self.store = store
        self._handle = handle

    def __repr__(self) -> str:
        scope = f", scope={self._handle.scope_text}" if self.scope is not None else ""
        return f"{type(self).__name__}({self.name!r}{scope})"

    def _elsewhere(self) -> str:
        handle = self._handle
        pinned = "" if handle.pinned is None else f".snapshot({handle.pinned.epoch})"
        scope = "" if handle.scope is None else ", scoped by the same filter"
        return opening(self.store.path, f"{pinned}.collection({self.name!r}){scope}")

    @property
    def name(self) -> str:
        """The collection's name."""
        return self._handle.name

    @property
    def scope(self) -> Filter | None:
        """The filter that every read and write through this handle stays inside; None for all."""
        return self._handle.scope

    def scoped(self, where: Where) -> Self:
        """Return a handle confined to the documents that pass a filter.

        Every read and write through it stays inside, also by id; counts, plans, jobs and routes are
        of what is inside; and what would touch the whole collection is refused with a `ScopeError`.
        Scopes of scopes are combined. It guards against mistakes, not against code that means harm:
        that has ``handle.store`` and with it the whole collection.

        An id is one document's in the whole collection. Who may choose ids freely can tell that one
        is taken outside, since it cannot be written, and nothing else about it. Where that is too
        much, make ids of the tenant's name and the rest, or of random numbers.

        Raises
        ------
        FilterError
        """
        if where is None:
            raise InvalidArgumentError("scoped: expected a filter, found None")
        tree = bound_filter(self._handle.view(), where)  # together with the scope there is
        assert tree is not None, "there is a filter"
        return type(self)(self.store, self._handle.within(tree))

    # Reading.

    def __len__(self) -> int:
        return self._handle.view().live_count

    def __contains__(self, id_: object) -> bool:
        try:
            checked = validate_ids([id_])  # type: ignore[list-item]  # that is the question
        except (InvalidArgumentError, LimitExceededError):
            return False  # no document can have it
        return self.get(checked[0]) is not None

    def get(self, id_: DocumentId) -> Document | None:
        """Return a document, None if there is none (inside the scope)."""
        return self.get_many([id_])[0]

    def get_many(self, ids: Iterable[DocumentId]) -> list[Document | None]:
        """Return documents in the order of their ids, None where there is none.

        An id may come more than once. Of a set the order is the one it is iterated in.
        """
        view = self._handle.view()
        result: list[Document | None] = []
        checked = validate_ids(ids, unique=False, ordered=False)
        for docno in view.documents.find(checked).tolist():
            record = view.documents.record(docno) if docno >= 0 else None
            alive = record is not None and record.revision != DELETED
            result.append(
                documents.document_of(record, view.field_types) if alive and record else None
            )
        return result

    def documents(self, where: Where = None) -> Iterator[Document]:
        """Iterate over the documents that pass a filter, on the snapshot of this call."""
        view = self._handle.view()
        docnos = np.flatnonzero(passing(view, where)).tolist()
        return (
            documents.document_of(view.documents.record(docno), view.field_types)
            for docno in docnos
        )

    def ids(self, where: Where = None) -> list[DocumentId]:
        """Return the ids of the documents that pass a filter."""
        view = self._handle.view()
        return [view.documents.id(d) for d in np.flatnonzero(passing(view, where)).tolist()]

    def get_vectors(self, id_: DocumentId, version: str) -> Array:
        """Return a document's vectors of a version exactly as stored, (chunks, dimension).

        Raises
        ------
        NotFoundError
            No such document, or it has no vectors that may be served.
        """
        view = self._handle.view()
        docno = int(view.documents.find(validate_ids([id_]))[0])
        if docno >= 0:
            places = view.rows(version).rows_of(docno)
            if places:
                return np.stack([part.rows.vectors[row] for part, row in places])
        view.version(version)
        raise NotFoundError(f"no vectors of {id_!r:.80} in version {version!r}")

    def get_vector(self, id_: DocumentId, version: str, *, chunk: int = 0) -> Array:
        """Return one vector exactly as stored, (dimension,); see `get_vectors`."""
        chunk = check_whole(chunk, what="chunk")
        vectors = self.get_vectors(id_, version)
        if not 0 <= chunk < len(vectors):
            raise NotFoundError(f"{id_!r:.80} has {len(vectors)} chunks, no chunk {chunk}")
        return np.asarray(vectors[chunk])

    def vectors(
        self, version: str, where: Where = None
    ) -> Iterator[tuple[list[DocumentId], Array, Array, Array]]:
        """Iterate over a version's served rows in batches, on the snapshot of this call.

        Each batch is a tuple:

        ids : list
            Document of each row.
        chunks : u32 (n,)
        revisions : u64 (n,)
        vectors : (n, dimension)
            Exactly as stored.
        """
        view = self._handle.view()
        mask = None if where is None else passing(view, where)
        return _exported(view, view.rows(version), mask)


def _exported(
    view: CollectionView, table: RowTable, mask: BoolArray | None
) -> Iterator[tuple[list[DocumentId], Array, Array, Array]]:
    for part in table.parts:
        rows = np.arange(len(part.rows.docno))
        keep = np.ones(len(rows), np.bool_) if part.live is None else part.live.copy()
        if mask is not None:
            keep &= mask[part.rows.docno]
        rows = rows[keep]
        for start in range(0, len(rows), _EXPORT_ROWS):
            some = rows[start : start + _EXPORT_ROWS]
            ids = [view.documents.id(docno) for docno in part.rows.docno[some].tolist()]
            yield ids, part.rows.chunk[some], part.rows.revision[some], part.rows.vectors[some]
