"""What a scoped handle may write: asked of documents as a transaction has them so far.

What it may read is `scoped_view`'s.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from vstore.errors import NotFoundError, ScopeError
from vstore.query.filter_evaluation import evaluate
from vstore.segment.columns import build_column
from vstore.segment.documents import DELETED

if TYPE_CHECKING:
    from collections.abc import Sequence

    from vstore.engine.handle import Handle
    from vstore.engine.pending import PendingChanges
    from vstore.segment.columns import Column
    from vstore.segment.documents import DocumentRecord
    from vstore.types import BoolArray, DocumentId


def in_scope(
    handle: Handle, pending: PendingChanges, records: Sequence[DocumentRecord]
) -> BoolArray:
    """Return by record whether it is inside the handle's scope, (n,)."""
    if handle.scope is None or not records:
        return np.ones(len(records), np.bool_)
    types = pending.view.field_types

    def column(name: str) -> Column | None:
        return build_column(types[name], [record.metadata.get(name) for record in records])

    return evaluate(handle.bound_scope(pending.view), column, len(records))


def require_scope(
    handle: Handle, pending: PendingChanges, records: Sequence[DocumentRecord]
) -> None:
    """Refuse live documents outside the handle's scope.

    Raises
    ------
    ScopeError
        A document is, or would be, outside.
    """
    if handle.scope is None:
        return
    alive = [record for record in records if record.revision != DELETED]
    inside = in_scope(handle, pending, alive)
    if not inside.all():
        outside = alive[int(np.flatnonzero(~inside)[0])]
        raise ScopeError(
            f"document {outside.id!r:.80} cannot be written through this handle: it is, or would "
            f"be, outside its scope: {handle.scope_text}"
        )


def require_known(handle: Handle, pending: PendingChanges, ids: Sequence[DocumentId]) -> list[int]:
    """Return the docnos of documents that exist, for this handle.

    Raises
    ------
    NotFoundError
        An id is unknown, deleted, or outside the scope.
    """
    found = pending.find(ids)
    docnos: list[int] = found.tolist()
    for i, revision in enumerate(pending.revisions(found)):
        if revision == DELETED:  # also of an unknown id
            raise NotFoundError(f"collection {handle.name!r} has no document {ids[i]!r:.80}")
    if handle.scope is None:
        return docnos
    inside = in_scope(handle, pending, [pending.record(d) for d in docnos])
    if not inside.all():
        outside = ids[int(np.flatnonzero(~inside)[0])]
        raise NotFoundError(f"collection {handle.name!r} has no document {outside!r:.80}")
    return docnos
