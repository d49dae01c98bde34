"""Whether the documents of a collection belong together: what no single segment can tell."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from vstore.errors import CorruptionError
from vstore.manifest.hits import read_hits
from vstore.manifest.record import read_record
from vstore.segment.documents import DELETED, succession_problem
from vstore.segment.vectors import row_ahead

if TYPE_CHECKING:
    from collections.abc import Mapping

    from vstore.engine.snapshot import Snapshot
    from vstore.manifest.commit import Commit
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


def require_revisions(snapshot: Snapshot, name: str) -> None:
    """Refuse rows made from a revision that their document does not have yet.

    Raises
    ------
    CorruptionError
        A row is ahead of its document.
    """
    view = snapshot.collection(name)
    for label in view.state.versions:
        for part in view.rows(label).parts:
            rows = part.rows
            revision = view.documents.revision[rows.docno]
            ahead = row_ahead(rows.revision, revision)
            if ahead is not None:
                raise _row_ahead(
                    snapshot,
                    name,
                    label,
                    made_from=int(rows.revision[ahead]),
                    docno=int(rows.docno[ahead]),
                    revision=int(revision[ahead]),
                )


def _row_ahead(
    snapshot: Snapshot, name: str, label: str, *, made_from: int, docno: int, revision: int
) -> CorruptionError:
    problem = f"a row made from revision {made_from} of document {docno}, which is at {revision}"
    return _corrupt(snapshot, name, ValueError(f"version {label!r}: {problem}"))


def changed_collections(commit: Commit) -> list[str]:
    """Return the collections whose documents or rows a commit changes."""
    return sorted({*_map(commit.documents), *_map(commit.rows)})


def _map(changes: object) -> Mapping[str, Any]:
    assert isinstance(changes, dict), "the commit was read"
    return changes


class UnsealedRows:
    """The unsealed rows of a chain of commits, each looked at only where a commit may affect it."""

    def __init__(self) -> None:
        # By collection and version, then by docno: the latest revision that a row was made from.
        self._made_from: dict[tuple[str, str], dict[int, int]] = {}

    def follow(self, snapshot: Snapshot, name: str, commit: Commit) -> None:
        """Refuse rows made from a revision that their document does not have yet.

        Only rows that the commit adds can be, and rows of documents that it changes.

        Parameters
        ----------
        snapshot : Snapshot
            The state after the commit.
        commit : Commit
            The next one of the chain, of which the state was read.

        Raises
        ------
        CorruptionError
            A row is ahead of its document.
        """
        view = snapshot.collection(name)
        sealed, recent = view.documents.sealed, view.memtable.documents
        changed = [entry[0] for entry in _map(commit.documents).get(name, ())]
        added = _map(commit.rows).get(name, ())
        for label, batches in view.memtable.rows.items():
            made_from = self._made_from.setdefault((name, label), {})
            affected = changed
            if label in added:
                rows = batches[-1]
                first = np.flatnonzero(np.diff(rows.docno, prepend=-1))  # of each document's chunks
                docnos = rows.docno[first].tolist()
                latest = np.maximum.reduceat(rows.revision, first).tolist()
                made_from.update(zip(docnos, latest, strict=True))
                affected = [*docnos, *changed]
            for docno in affected:
                record = recent.get(docno)
                revision = int(sealed.revision[docno]) if record is None else record.revision
                if made_from.get(docno, 0) > revision != DELETED:
                    raise _row_ahead(
                        snapshot,
                        name,
                        label,
                        made_from=made_from[docno],
                        docno=docno,
                        revision=revision,
                    )


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
