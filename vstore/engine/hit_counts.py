"""Hit counts of documents: those in the file, and this handle's since the last flush."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from vstore.manifest.hits import read_hits
from vstore.manifest.record import read_record
from vstore.segment.documents import DELETED

if TYPE_CHECKING:
    from vstore.engine.handle import Handle
    from vstore.engine.snapshot import Snapshot
    from vstore.types import Array, DocumentId


def stored_hits(snapshot: Snapshot, name: str) -> Array:
    """Return a collection's hits in the file, by docno, u64 (docno_end,).

    Raises
    ------
    CorruptionError
        The record of the hits is damaged.
    """
    view = snapshot.collection(name)
    if view.state.hits is None:
        return np.zeros(view.documents.docno_end, np.uint64)
    hits = read_record(snapshot.container, view.state.hits, read_hits, what="hits")
    return hits.by_docno(view.documents.docno_end)


def hits_by_docno(handle: Handle, snapshot: Snapshot) -> Array:
    """Return a collection's hits by docno, u64 (docno_end,), including unflushed ones.

    A handle on an older epoch sees the hits in the file at that epoch.
    """
    hits = stored_hits(snapshot, handle.name)
    if handle.is_pinned:
        return hits
    view = snapshot.collection(handle.name)  # the whole collection: hits are by docno
    recent = handle.observer.hits(handle.name, view.numbering, len(hits))
    return hits if recent is None else hits + recent


def hits_by_id(handle: Handle) -> dict[DocumentId, int]:
    """Return hits by live document inside the scope, most first; never-found ones are left out."""
    snapshot = handle.snapshot()
    view = handle.view_at(snapshot)
    hits = hits_by_docno(handle, snapshot)
    docnos = np.flatnonzero((hits > 0) & (view.documents.revision != DELETED))
    docnos = docnos[np.argsort(hits[docnos], kind="stable")[::-1]]
    return dict(zip(view.documents.ids(docnos), hits[docnos].tolist(), strict=True))
