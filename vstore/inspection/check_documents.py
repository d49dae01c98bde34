"""Whether the documents of a collection belong together: what no single segment can tell."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from vstore.errors import CorruptionError
from vstore.manifest.hits import read_hits
from vstore.manifest.record import read_record

if TYPE_CHECKING:
    from vstore.engine.snapshot import Snapshot
    from vstore.types import DocumentId


def check_documents(snapshot: Snapshot, name: str) -> None:
    """Check a collection: docnos dense, ids and docnos one to one, all that names them.

    Raises
    ------
    CorruptionError
    """
    try:
        docnos = _docno_by_id(snapshot, name)
        _check_docnos(snapshot, name, docnos)
    except ValueError as error:
        place, problem = snapshot.container.name, f"collection {name!r}: {error}"
        raise CorruptionError(place, problem, offset=snapshot.tip.offset) from error


def _docno_by_id(snapshot: Snapshot, name: str) -> dict[DocumentId, int]:
    table = snapshot.collection(name).documents
    ids: dict[int, DocumentId] = {}
    docnos: dict[DocumentId, int] = {}
    parts = [
        zip(segment.docno.tolist(), segment.ids(np.arange(segment.rows)), strict=True)
        for segment in table.sealed.segments
    ]
    memtable = ((docno, record.id) for docno, record in table.memtable.documents.items())
    for part in (*parts, memtable):
        for docno, id_ in part:
            if ids.setdefault(docno, id_) != id_:
                raise ValueError(f"document {docno} is {ids[docno]!r} and {id_!r}")
            if docnos.setdefault(id_, docno) != docno:
                raise ValueError(f"two documents {id_!r}: {docnos[id_]} and {docno}")
    if len(ids) != table.docno_end:
        missing = next(docno for docno in range(table.docno_end) if docno not in ids)
        raise ValueError(f"no document {missing} of {table.docno_end}")
    return docnos


def _check_docnos(snapshot: Snapshot, name: str, docnos: dict[DocumentId, int]) -> None:
    view = snapshot.collection(name)
    for target, job in view.state.jobs.items():
        for letter in job.dead:
            if letter.id not in docnos:
                raise ValueError(f"job {target!r}: a dead letter of {letter.id!r}, no document")
    if view.state.hits is not None:
        hits = read_record(snapshot.container, view.state.hits, read_hits, what="hits")
        if len(hits.docno) and int(hits.docno[-1]) >= view.documents.docno_end:
            raise ValueError(f"hits of document {int(hits.docno[-1])}, which does not exist")
    for label in view.state.versions:
        for part in view.rows(label).parts:
            latest = int(part.rows.revision.max(initial=0))
            if latest > snapshot.epoch:
                raise ValueError(f"version {label!r}: rows of epoch {latest}")
