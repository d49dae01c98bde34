"""Reads of documents and vectors through a handle, by id and by filter.

Every read takes the handle's view once, so that it sees one snapshot, inside the scope.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from vstore.engine.filtering import passing
from vstore.errors import InvalidArgumentError, LimitExceededError, NotFoundError
from vstore.segment.documents import DELETED
from vstore.segment.ids import validate_ids
from vstore.segment.user_document import document_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from vstore.engine.handle import Handle
    from vstore.engine.snapshot import CollectionView
    from vstore.query.filter import Where
    from vstore.segment.row_table import RowTable
    from vstore.segment.user_document import Document
    from vstore.types import Array, BoolArray, DocumentId

EXPORT_ROWS = 4_096  # rows of a batch of `vectors`


def contains(handle: Handle, id_: object) -> bool:
    """Return whether a live document has an id; False for an invalid id."""
    try:
        checked = validate_ids([id_])  # type: ignore[list-item]  # checked by the call
    except (InvalidArgumentError, LimitExceededError):
        return False
    return get_many(handle, checked)[0] is not None


def get_many(handle: Handle, ids: Iterable[DocumentId]) -> list[Document | None]:
    """Return documents in the order of the given ids; None for a missing one.

    Raises
    ------
    InvalidArgumentError, LimitExceededError
        An id is neither a str nor an int, or too long.
    """
    view = handle.view()
    result: list[Document | None] = []
    checked = validate_ids(ids, unique=False, ordered=False)
    for docno in view.documents.find(checked).tolist():
        record = view.documents.record(docno) if docno >= 0 else None
        alive = record is not None and record.revision != DELETED
        result.append(document_of(record, view.field_types) if alive and record else None)
    return result


def documents(handle: Handle, where: Where) -> Iterator[Document]:
    """Iterate over the documents that pass a filter, at the snapshot of this call."""
    view = handle.view()
    docnos = np.flatnonzero(passing(view, where)).tolist()
    return (document_of(view.documents.record(docno), view.field_types) for docno in docnos)


def ids(handle: Handle, where: Where) -> list[DocumentId]:
    """Return the ids of the documents that pass a filter."""
    view = handle.view()
    return [view.documents.id(docno) for docno in np.flatnonzero(passing(view, where)).tolist()]


def get_vectors(handle: Handle, id_: DocumentId, version: str) -> Array:
    """Return a copy of a document's vectors of a version, (chunks, dimension), as stored.

    Raises
    ------
    NotFoundError
        There is no such document or version, or the document has no vectors that may be served.
    """
    view = handle.view()
    docno = int(view.documents.find(validate_ids([id_]))[0])
    if docno >= 0:
        places = view.rows(version).rows_of(docno)
        if places:
            return np.stack([part.rows.vectors[row] for part, row in places])
    view.version(version)
    raise NotFoundError(f"no vectors of {id_!r:.80} in version {version!r}")


def vectors(
    handle: Handle, version: str, where: Where
) -> Iterator[tuple[list[DocumentId], Array, Array, Array]]:
    """Iterate over a version's served rows in batches, at the snapshot of this call.

    Returns
    -------
    iterator of (ids, chunks, revisions, vectors)
        At most `EXPORT_ROWS` rows each: list, u32 (n,), u64 (n,), (n, dimension) as stored.
    """
    view = handle.view()
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
        for start in range(0, len(rows), EXPORT_ROWS):
            some = rows[start : start + EXPORT_ROWS]
            ids = [view.documents.id(docno) for docno in part.rows.docno[some].tolist()]
            yield ids, part.rows.chunk[some], part.rows.revision[some], part.rows.vectors[some]
