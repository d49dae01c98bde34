"""Memtable changes as they stand in a delta, and back (`format-spec.md`, "Delta contents")."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from vstore.limits import (
    CHUNKS_MAX,
    DOCUMENTS_MAX,
    ID_BYTES_MAX,
    INT_ID_MAX,
    INT_ID_MIN,
    TEXT_BYTES_MAX,
)
from vstore.manifest.plain import U64_MAX
from vstore.manifest.state import FieldType
from vstore.segment.changes import CollectionChanges
from vstore.segment.columns import normalize_value
from vstore.segment.documents import (
    DELETED,
    NO_HASH,
    DocumentRecord,
    life_problem,
    succession_problem,
)
from vstore.segment.validation import check_vectors
from vstore.segment.vectors import DTYPES, RowBatch, row_ahead
from vstore.storage.layout import HASH_BYTES
from vstore.storage.packing import shown

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from vstore.manifest.state import CollectionState, StoreState, VersionState
    from vstore.segment.memtable import Memtable
    from vstore.types import Array, DocumentId


def plain_documents(changes: Mapping[str, CollectionChanges]) -> dict[str, object]:
    """Return document changes by collection as structured data."""
    return {
        name: [
            [docno, r.id, r.created, r.revision, r.source_hash, r.metadata, r.text]
            for docno, r in change.documents.items()
        ]
        for name, change in changes.items()
        if change.documents
    }


def plain_rows(changes: Mapping[str, CollectionChanges]) -> dict[str, object]:
    """Return row changes by collection and version as structured data."""
    return {
        name: {label: _plain_batch(batch) for label, batch in change.rows.items() if len(batch)}
        for name, change in changes.items()
        if change.rows
    }


def _plain_batch(batch: RowBatch) -> list[object]:
    chunk = None if batch.single else batch.chunk.astype("<u4").tobytes()
    return [
        batch.docno.astype("<u4").tobytes(),
        chunk,
        batch.revision.astype("<u8").tobytes(),
        batch.vectors.tobytes(),
    ]


def read_changes(
    state: StoreState, documents: object, rows: object, *, epoch: int
) -> dict[str, CollectionChanges]:
    """Check a delta's changes against the state they belong to.

    Parameters
    ----------
    epoch : int
        Of the delta.

    Raises
    ------
    ValueError
        Anything a correct writer would not have written.
    """
    if not isinstance(documents, dict) or not isinstance(rows, dict):
        raise ValueError("delta: expected maps of changes")
    changes = {}
    for name in [*documents, *(name for name in rows if name not in documents)]:
        collection = state.collections.get(name)
        if collection is None:
            raise ValueError(f"delta: no collection {shown(name)}")
        changes[name] = CollectionChanges(
            _read_documents(collection, documents.get(name, []), epoch),
            _read_rows(collection, rows.get(name, {}), epoch),
        )
    return changes


def require_succession(memtable: Memtable, commits: Sequence[CollectionChanges]) -> None:
    """Refuse changes that cannot follow what was there.

    An id would get a second docno, or a docno a second id; or a document goes back to an earlier
    epoch.

    Parameters
    ----------
    commits : sequence
        Oldest first, to be added to the memtable.

    Raises
    ------
    ValueError
        They cannot follow.
    """
    ids: dict[int, DocumentId] = {}
    docnos: dict[DocumentId, int] = {}
    latest: dict[int, DocumentRecord] = {}
    for changes in commits:
        for docno, record in changes.documents.items():
            before = memtable.documents.get(docno)
            known = ids.setdefault(docno, record.id if before is None else before.id)
            place = docnos.setdefault(record.id, memtable.docnos.get(record.id, docno))
            if known != record.id:
                raise ValueError(
                    f"delta: docno {docno} is {shown(known)} and then {shown(record.id)}"
                )
            if place != docno:
                raise ValueError(f"delta: two documents {shown(record.id)}: {place} and {docno}")
            before = latest.get(docno, before)
            if before is not None:
                problem = succession_problem(before.life, record.life)
                if problem is not None:
                    raise ValueError(f"delta: document {docno}: {problem}")
            latest[docno] = record


def require_known_revisions(memtable: Memtable, commits: Sequence[CollectionChanges]) -> None:
    """Refuse rows made from a revision that their document does not have yet.

    Of documents in the memtable; `RowTable` looks at the others, when rows are used.

    Parameters
    ----------
    memtable : Memtable
        With the changes of the commits.

    Raises
    ------
    ValueError
        A row is ahead of its document.
    """
    for changes in commits:
        for label, batch in changes.rows.items():
            records = map(memtable.documents.get, batch.docno.tolist())
            revisions = (DELETED if record is None else record.revision for record in records)
            revision = np.fromiter(revisions, np.uint64, len(batch))
            row = row_ahead(batch.revision, revision)
            if row is not None:
                raise ValueError(
                    f"delta: a row of {label!r} made from revision {batch.revision[row]} of "
                    f"document {batch.docno[row]}, which is at {revision[row]}"
                )


def require_known_documents(
    collection: CollectionState, memtable: Memtable, commits: Sequence[CollectionChanges]
) -> None:
    """Refuse changes that leave out a docno, or that have rows of documents that do not exist.

    Parameters
    ----------
    memtable : Memtable
        Without the changes of the commits; it leaves out no docno.

    Raises
    ------
    ValueError
        They do.
    """
    sealed_end = max((ref.docno_end for ref in collection.segments), default=0)
    known_end = max(sealed_end, memtable.docno_end)
    added = {docno for changes in commits for docno in changes.documents if docno >= known_end}
    docno_end = known_end + len(added)
    if added and max(added) >= docno_end:
        raise ValueError("delta: a gap between docnos")
    for changes in commits:
        if any(int(batch.docno[-1]) >= docno_end for batch in changes.rows.values()):
            raise ValueError("delta: rows of documents that do not exist")


def _read_documents(
    collection: CollectionState, entries: object, epoch: int
) -> dict[int, DocumentRecord]:
    if not isinstance(entries, list):
        raise ValueError("delta: expected a list of documents")
    types = {name: FieldType(value) for name, value in collection.fields.items()}
    records = {}
    for entry in entries:
        if not isinstance(entry, list) or len(entry) != 7:
            raise ValueError("delta: malformed document")
        docno, id_, created, revision, source_hash, metadata, text = entry
        if not (
            type(docno) is int
            and 0 <= docno < DOCUMENTS_MAX
            and _is_u64(created)
            and _is_u64(revision)
            and (source_hash is None or _is_hash(source_hash))
            and (text is None or (isinstance(text, str) and len(text) <= TEXT_BYTES_MAX))
            and isinstance(metadata, dict)
        ):
            raise ValueError(f"delta: malformed document {shown(docno)}")
        if docno in records:
            raise ValueError(f"delta: document {docno} comes twice in a commit")
        problem = life_problem(created, revision, epoch)
        if (
            problem is None
            and revision == DELETED
            and (source_hash or metadata or text is not None)
        ):
            problem = "deleted, but with a hash, metadata or a text"
        if problem is not None:
            raise ValueError(f"delta: document {docno}: {problem}")
        canonical: dict[str, object] = {}
        for name, value in metadata.items():
            if name not in types:
                raise ValueError(f"delta: no field {shown(name)}")
            canonical[name] = normalize_value(name, types[name], value)
        records[docno] = DocumentRecord(
            _read_id(id_), created, revision, source_hash, canonical, text
        )
    return records


def _read_id(value: object) -> DocumentId:
    if isinstance(value, str) and 0 < len(value.encode()) <= ID_BYTES_MAX:
        return value
    if type(value) is int and INT_ID_MIN <= value <= INT_ID_MAX:
        return value
    raise ValueError(f"delta: impossible id {shown(value)}")


def _is_u64(value: object) -> bool:
    return type(value) is int and 0 <= value <= U64_MAX


def _is_hash(value: object) -> bool:
    return isinstance(value, bytes) and len(value) == HASH_BYTES and value != NO_HASH


def _read_rows(collection: CollectionState, entries: object, epoch: int) -> dict[str, RowBatch]:
    if not isinstance(entries, dict):
        raise ValueError("delta: expected a map of rows")
    batches = {}
    for label, entry in entries.items():
        version = collection.versions.get(label)
        if version is None:
            raise ValueError(f"delta: no version {shown(label)}")
        if not isinstance(entry, list) or len(entry) != 4:
            raise ValueError("delta: malformed rows")
        batches[label] = _read_batch(version, entry, epoch)
    return batches


def _read_batch(version: VersionState, entry: list[object], epoch: int) -> RowBatch:
    dimension = version.spec.dimension
    docno = _array(entry[0], "<u4")
    chunk = np.zeros(len(docno), np.uint32) if entry[1] is None else _array(entry[1], "<u4")
    revision = _array(entry[2], "<u8")
    vectors = _array(entry[3], DTYPES[version.storage])
    if not (
        len(docno)
        and len(chunk) == len(revision) == len(docno)
        and len(vectors) == len(docno) * dimension
        and int(chunk.max()) < CHUNKS_MAX
        and 0 < int(revision.min()) <= int(revision.max()) <= epoch
        and bool((docno[1:] >= docno[:-1]).all())
        and not bool(((docno[1:] == docno[:-1]) & (chunk[1:] <= chunk[:-1])).any())
    ):
        raise ValueError(f"delta: malformed rows of {version.label!r}")
    checked = check_vectors(
        vectors.reshape(-1, dimension), version.spec, storage=version.storage, where="delta rows"
    )
    return RowBatch(docno, chunk, revision, checked.vectors, checked.norms)


def _array(value: object, dtype: str) -> Array:
    if not isinstance(value, bytes) or len(value) % np.dtype(dtype).itemsize:
        raise ValueError("delta: malformed array")
    return np.frombuffer(value, dtype)
