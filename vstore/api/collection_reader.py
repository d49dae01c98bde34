"""A collection read: which documents a handle sees, and reading them by id and by filter."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self
from weakref import ref

import numpy as np

from vstore.deferred import Deferred
from vstore.engine.open_handle import OpenHandle, opening
from vstore.engine.snapshot import matching_documents
from vstore.errors import InvalidArgumentError, LimitExceededError, NotFoundError, ReadOnlyError
from vstore.numbers import check_whole
from vstore.searching.search import bound_filter
from vstore.segment.documents import DELETED
from vstore.segment.ids import validate_ids

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from vstore.api.store import Store
    from vstore.engine import document as documents
    from vstore.engine.document import Document
    from vstore.engine.snapshot import CollectionView, Snapshot
    from vstore.query import filter as filters
    from vstore.query.filter import Filter
    from vstore.searching.parameters import Where
    from vstore.segment.row_table import RowTable
    from vstore.types import Array, BoolArray, DocumentId
else:  # not what a search needs
    documents = Deferred("vstore.engine.document")
    filters = Deferred("vstore.query.filter")

_EXPORT_ROWS = 4_096


class CollectionReader(OpenHandle):
    """A collection as a handle sees it: at a snapshot, and inside a scope.

    The snapshot is the store's current one, or the one that the handle is pinned to. Everything
    that is asked of the collection is asked of `view`, which knows nothing of what is outside.
    """

    def __init__(
        self,
        store: Store,
        name: str,
        *,
        scope: Filter | None = None,
        pinned: Snapshot | None = None,
    ) -> None:
        self.store = store
        self.name = name
        self._scope = scope
        self._pinned = pinned
        self._bound_scope: tuple[object, Filter] | None = None
        # The latest scoped view, held by the snapshot that it is of, not by this handle.
        self._seen: ref[CollectionView] | None = None

    def __repr__(self) -> str:
        scope = f", scope={self.scope_text}" if self.scope is not None else ""
        return f"{type(self).__name__}({self.name!r}{scope})"

    def _elsewhere(self) -> str:
        pinned = "" if self._pinned is None else f".snapshot({self._pinned.epoch})"
        scope = "" if self.scope is None else ", scoped by the same filter"
        return opening(self.store.path, f"{pinned}.collection({self.name!r}){scope}")

    @property
    def scope(self) -> Filter | None:
        """The filter that every read and write through this handle stays inside; None for all."""
        return self._scope

    @property
    def is_pinned(self) -> bool:
        """Whether it reads an older epoch, or would if one were committed now."""
        return self._pinned is not None

    # Where reads come from.

    def snapshot(self) -> Snapshot:
        """Return the snapshot reads see now."""
        return self.store.open_file.current() if self._pinned is None else self._pinned

    def require_writable(self) -> None:
        """Refuse to write through a handle on an older epoch.

        Raises
        ------
        ReadOnlyError, NotFoundError
        """
        self.snapshot().collection(self.name)  # raises if the collection was dropped
        if self._pinned is not None:
            raise ReadOnlyError(
                f"this handle on {self.name!r} reads epoch {self._pinned.epoch}; "
                "write through Store.collection()"
            )

    def view(self) -> CollectionView:
        """Return the collection at that snapshot, inside the scope."""
        return self.view_at(self.snapshot())

    def view_at(self, snapshot: Snapshot) -> CollectionView:
        """Return the collection at a snapshot, inside the scope."""
        whole = snapshot.collection(self.name)
        if self._scope is None:
            return whole
        seen = None if self._seen is None else self._seen()
        if seen is None or seen.whole is not whole:
            seen = snapshot.part(self.name, self.bound_scope(whole))
            self._seen = ref(seen)
        return seen

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
        tree = bound_filter(self.view(), where)  # together with the scope there is
        return type(self)(self.store, self.name, scope=tree, pinned=self._pinned)

    @property
    def scope_text(self) -> str:
        """The scope as text, empty without one."""
        return "" if self.scope is None else filters.describe(self.scope)

    def bound_scope(self, view: CollectionView) -> Filter:
        """Return the scope, bound to the fields as they are in a view."""
        assert self.scope is not None, "only for scoped handles"
        if self._bound_scope is None or self._bound_scope[0] != view.field_types:
            self._bound_scope = (view.field_types, filters.bind(self.scope, view.field_types))
        return self._bound_scope[1]

    # Reading.

    def __len__(self) -> int:
        return self.view().live_count

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
        view = self.view()
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
        view = self.view()
        docnos = np.flatnonzero(passing(view, where)).tolist()
        return (
            documents.document_of(view.documents.record(docno), view.field_types)
            for docno in docnos
        )

    def ids(self, where: Where = None) -> list[DocumentId]:
        """Return the ids of the documents that pass a filter."""
        view = self.view()
        return [view.documents.id(d) for d in np.flatnonzero(passing(view, where)).tolist()]

    def get_vectors(self, id_: DocumentId, version: str) -> Array:
        """Return a document's vectors of a version exactly as stored, (chunks, dimension).

        Raises
        ------
        NotFoundError
            No such document, or it has no vectors that may be served.
        """
        view = self.view()
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
        view = self.view()
        mask = None if where is None else passing(view, where)
        return _exported(view, view.rows(version), mask)


def passing(view: CollectionView, where: Where) -> BoolArray:
    """Return by docno which live documents of a view pass a filter, bool (docno_end,)."""
    bound = bound_filter(view, where)
    if bound is None:
        return np.asarray(view.documents.revision != DELETED)
    return matching_documents(view, bound)


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
