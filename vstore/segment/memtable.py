"""The memtable: what was committed since the last seal, as deltas in the file and as values here.

Immutable: a commit makes a new one, so snapshots share it without locks.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from vstore.segment.vectors import RowBatch, concat_batches

if TYPE_CHECKING:
    from collections.abc import Mapping

    from vstore.segment.documents import DocumentBatch, DocumentRecord
    from vstore.types import Array, DocumentId, IntArray

_RECORD_BYTES = 64  # rough cost of a record beside its id, metadata and text


@dataclass(frozen=True, slots=True)
class CollectionChanges:
    """What one commit does to a collection's documents and rows.

    Attributes
    ----------
    documents : dict
        Whole new records by docno.
    rows : dict
        New rows by version label; all rows of each document in the batch.
    bulk : tuple[DocumentBatch, ...]
        More documents, all new; only in changes too large for the memtable.
    """

    documents: dict[int, DocumentRecord] = field(default_factory=dict)
    rows: dict[str, RowBatch] = field(default_factory=dict)
    bulk: tuple[DocumentBatch, ...] = ()

    @property
    def size_bytes(self) -> int:
        """Payload, roughly: it decides about sealing only."""
        rows = sum(batch.vectors.nbytes for batch in self.rows.values())
        texts = sum(len(record.text or "") for record in self.documents.values())
        metadata = sum(_weight(record.metadata) for record in self.documents.values())
        return rows + texts + metadata + _RECORD_BYTES * len(self.documents)

    def __len__(self) -> int:
        """Count the entries: documents, or rows where there are more."""
        documents = len(self.documents) + sum(len(batch.ids) for batch in self.bulk)
        return max([documents, *map(len, self.rows.values())])


@dataclass(frozen=True, slots=True)
class Memtable:
    """Unsealed documents and rows of one collection.

    Attributes
    ----------
    documents : Mapping
        Records by docno, deleted ones included.
    docnos : Mapping
        Docno by id, for the same documents.
    rows : Mapping
        Batches by version label, oldest first.
    """

    documents: Mapping[int, DocumentRecord] = field(default_factory=dict)
    docnos: Mapping[DocumentId, int] = field(default_factory=dict)
    rows: Mapping[str, tuple[RowBatch, ...]] = field(default_factory=dict)
    size_bytes: int = 0
    entries: int = 0
    _joined: dict[str, RowBatch] = field(default_factory=dict, compare=False, repr=False)
    _revisions: list[tuple[IntArray, Array, Array]] = field(
        default_factory=list, compare=False, repr=False
    )

    def with_changes(self, *commits: CollectionChanges) -> Memtable:
        """Return the memtable after some commits, oldest first."""
        documents, docnos, rows = dict(self.documents), dict(self.docnos), dict(self.rows)
        for changes in commits:
            documents.update(changes.documents)
            for docno, record in changes.documents.items():
                docnos[record.id] = docno
            for label, batch in changes.rows.items():
                rows[label] = (*rows.get(label, ()), batch)
        return Memtable(
            documents=documents,
            docnos=docnos,
            rows=rows,
            size_bytes=self.size_bytes + sum(changes.size_bytes for changes in commits),
            entries=self.entries + sum(map(len, commits)),
        )

    def batch(self, label: str) -> RowBatch | None:
        """Return a version's current rows, joined; None if it has none here."""
        batches = self.rows.get(label)
        if not batches:
            return None
        if label not in self._joined:
            self._joined[label] = concat_batches(batches)
        return self._joined[label]

    def revisions(self) -> tuple[IntArray, Array, Array]:
        """Return docnos (int64, ascending), created and revision (u64) of the documents here."""
        if not self._revisions:
            count = len(self.documents)
            docnos = np.fromiter(self.documents, np.int64, count)
            records = self.documents.values()
            created = np.fromiter((record.created for record in records), np.uint64, count)
            revisions = np.fromiter((record.revision for record in records), np.uint64, count)
            order = np.argsort(docnos)
            self._revisions.append((docnos[order], created[order], revisions[order]))
        return self._revisions[0]


def _weight(metadata: Mapping[str, object]) -> int:
    """Return about how many bytes metadata takes."""
    values = metadata.values()
    return sum(len(v if isinstance(v, str) else repr(v)) for v in values if v is not None)


EMPTY = Memtable()
