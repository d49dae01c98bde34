"""Whether the documents of a collection belong together: what no single segment can tell."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from vstore.errors import CorruptionError
from vstore.manifest.hits import read_hits
from vstore.manifest.record import read_record
from vstore.segment.documents import DELETED, succession_problem
from vstore.segment.vectors import row_ahead

if TYPE_CHECKING:
    from vstore.engine.snapshot import Snapshot
    from vstore.segment.vectors import RowBatch, VectorSegment
    from vstore.types import DocumentId


def check_documents(snapshot: Snapshot, name: str) -> None:
    """Check a collection: docnos dense, ids and docnos one to one, all that names them.

    Raises
    ------
    CorruptionError
        One of these does not hold.
    """
    try:
        docnos = _docno_by_id(snapshot, name)
        _check_docnos(snapshot, name, docnos)
    except ValueError as error:
        raise _corrupt(snapshot, name, error) from error
    require_lives(snapshot, name)
    require_revisions(snapshot, name)


def _corrupt(snapshot: Snapshot, name: str, error: ValueError) -> CorruptionError:
    problem = f"collection {name!r}: {error}"
    return CorruptionError(snapshot.container.name, problem, offset=snapshot.tip.offset)


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


def require_lives(snapshot: Snapshot, name: str) -> None:
    """Refuse documents that go back to an earlier epoch, from segment to segment and memtable.

    Raises
    ------
    CorruptionError
        A document has an older revision than before.
    """
    table = snapshot.collection(name).documents
    created, revision = (np.zeros(table.docno_end, np.uint64) for _ in range(2))
    parts = [(part.docno, part.created, part.revision) for part in table.sealed.segments]
    for docno, added, changed in (*parts, table.memtable.revisions()):
        back = (added < created[docno]) | ((changed != DELETED) & (changed < revision[docno]))
        if bool(back.any()):
            place = int(np.argmax(back))
            known = int(docno[place])
            problem = succession_problem(
                (int(created[known]), int(revision[known])),
                (int(added[place]), int(changed[place])),
            )
            raise _corrupt(snapshot, name, ValueError(f"document {known}: {problem}"))
        created[docno] = added
        alive = changed != DELETED
        revision[docno[alive]] = changed[alive]


def require_revisions(snapshot: Snapshot, name: str, *, sealed: bool = True) -> None:
    """Refuse rows made from a revision that their document does not have yet.

    Parameters
    ----------
    sealed : bool
        Look at the rows of segments, too.

    Raises
    ------
    CorruptionError
        A row is ahead of its document.
    """
    view = snapshot.collection(name)
    for label in view.state.versions:
        batch = view.memtable.batch(label)
        batches: list[RowBatch | VectorSegment] = [] if batch is None else [batch]
        if sealed:
            batches = [part.rows for part in view.rows(label).parts]
        for rows in batches:
            revision = view.documents.revision[rows.docno]
            ahead = row_ahead(rows.revision, revision)
            if ahead is not None:
                error = ValueError(
                    f"version {label!r}: a row made from revision {rows.revision[ahead]} of "
                    f"document {rows.docno[ahead]}, which is at {revision[ahead]}"
                )
                raise _corrupt(snapshot, name, error)


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
