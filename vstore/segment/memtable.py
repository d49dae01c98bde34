"""The memtable: what was committed since the last seal, as deltas in the file and as values here.

Immutable: a commit makes a new one, so snapshots share it without locks.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from vstore.segment.vectors import concat_batches

if TYPE_CHECKING:
    from collections.abc import Mapping

    from vstore.segment.changes import CollectionChanges
    from vstore.segment.documents import DocumentRecord
    from vstore.segment.vectors import RowBatch
    from vstore.types import Array, DocumentId, IntArray


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
    docno_end : int
        One above the highest docno here; 0 without documents.
    """

    def __init__(
        self,
        *,
        documents: Mapping[int, DocumentRecord],
        docnos: Mapping[DocumentId, int],
        rows: Mapping[str, tuple[RowBatch, ...]],
        size_bytes: int,
        entries: int,
        docno_end: int,
    ) -> None:
        self.documents = documents
        self.docnos = docnos
        self.rows = rows
        self.size_bytes = size_bytes
        self.entries = entries
        self.docno_end = docno_end
        self._joined: dict[str, RowBatch] = {}
        self._revisions: tuple[IntArray, Array, Array] | None = None

    def with_changes(self, *commits: CollectionChanges) -> Memtable:
        """Return the memtable after some commits, oldest first."""
        documents, docnos, rows = dict(self.documents), dict(self.docnos), dict(self.rows)
        docno_end = self.docno_end
        for changes in commits:
            documents.update(changes.documents)
            docno_end = max(docno_end, max(changes.documents, default=-1) + 1)
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
            docno_end=docno_end,
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
        if self._revisions is None:
            count = len(self.documents)
            docnos = np.fromiter(self.documents, np.int64, count)
            records = self.documents.values()
            created = np.fromiter((record.created for record in records), np.uint64, count)
            revisions = np.fromiter((record.revision for record in records), np.uint64, count)
            order = np.argsort(docnos)
            self._revisions = (docnos[order], created[order], revisions[order])
        return self._revisions


EMPTY = Memtable(documents={}, docnos={}, rows={}, size_bytes=0, entries=0, docno_end=0)
