"""Uncommitted changes of one collection."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from vstore.limits import SEAL_DOCUMENTS
from vstore.segment.changes import CollectionChanges
from vstore.segment.vectors import RowBatch, concat_batches

if TYPE_CHECKING:
    from collections.abc import Sequence

    from vstore.engine.snapshot import CollectionView
    from vstore.segment.document_batch import DocumentBatch
    from vstore.segment.documents import DocumentRecord
    from vstore.types import Array, DocumentId, IntArray


class PendingChanges:
    """Changes of a transaction to a collection, on top of the view that it began with.

    Attributes
    ----------
    next_docno : int
        Docno of the next new document.
    unfinished : bool
        Whether a call has started its changes and not ended: an interrupt may have come between
        two of them, so they must not be committed.
    """

    def __init__(self, view: CollectionView) -> None:
        self.view = view
        self.next_docno = view.documents.docno_end
        self.unfinished = False
        self._documents: dict[int, DocumentRecord] = {}
        self._docnos: dict[DocumentId, int] = {}
        self._rows: dict[str, list[RowBatch]] = {}
        # New documents of a bulk write stay columnar until one of them is needed.
        self._bulk: list[DocumentBatch] = []

    @property
    def wants_sources(self) -> bool:
        """Whether vectors given without their source count as a changed source."""
        return self.view.state.dual_write != "allow"

    def find(self, ids: Sequence[DocumentId]) -> IntArray:
        """Return docnos, -1 for unknown ids."""
        self._unpack()
        if not self._docnos:
            return self.view.documents.find(ids)
        found = np.fromiter((self._docnos.get(value, -1) for value in ids), np.int64, len(ids))
        missing = np.flatnonzero(found < 0)
        found[missing] = self.view.documents.find([ids[i] for i in missing.tolist()])
        return found

    def record(self, docno: int) -> DocumentRecord:
        """Return a document as the transaction would commit it now."""
        pending = self._documents.get(docno)
        return self.view.documents.record(docno) if pending is None else pending

    def revisions(self, docnos: IntArray) -> list[int]:
        """Return documents' revisions as in `record`; 0 for a missing document, or for docno -1."""
        known = self.view.documents.revision
        inside = (docnos >= 0) & (docnos < len(known))
        found = np.where(inside, known[np.where(inside, docnos, 0)], 0) if len(known) else inside
        return [
            self._documents[docno].revision if docno in self._documents else int(revision)
            for docno, revision in zip(docnos.tolist(), found.tolist(), strict=True)
        ]

    def reserve(self, count: int) -> None:
        """Take docnos for new documents, which the caller must put."""
        self.unfinished = True
        self.next_docno += count

    def put(self, docno: int, record: DocumentRecord) -> None:
        """Add or replace a document."""
        self.unfinished = True
        self._documents[docno] = record
        self._docnos[record.id] = docno

    def put_new(self, batch: DocumentBatch) -> None:
        """Add documents whose ids and docnos are new."""
        self.unfinished = True
        self._bulk.append(batch)

    def add_rows(self, label: str, batch: RowBatch) -> None:
        """Add rows of a version, sorted by docno and chunk number."""
        self.unfinished = True
        self._rows.setdefault(label, []).append(batch)

    def batches(self, label: str) -> Sequence[RowBatch]:
        """Return the added rows of a version, in the order of the calls."""
        return self._rows.get(label, ())

    def forget_rows(self, docnos: IntArray) -> None:
        """Drop added rows of documents that change again: outdated, but of the same revision."""
        self.unfinished = True
        for label, batches in list(self._rows.items()):
            kept = [b.take(np.flatnonzero(~np.isin(b.docno, docnos))) for b in batches]
            self._rows[label] = [batch for batch in kept if len(batch)]
            if not self._rows[label]:
                del self._rows[label]

    def restamp_rows(self, docnos: IntArray, revision: int) -> None:
        """Set the revision of documents' added rows to that of the commit being made."""
        self.unfinished = True
        for batches in self._rows.values():
            for place, batch in enumerate(batches):
                mine = np.isin(batch.docno, docnos)
                if mine.any():
                    batches[place] = RowBatch(
                        batch.docno,
                        batch.chunk,
                        np.where(mine, np.uint64(revision), batch.revision),
                        batch.vectors,
                        batch.norms,
                    )

    def has_fresh(self, label: str, docno: int, revision: int) -> bool:
        """Whether the document has rows of its current revision in a version."""
        for batch in self._rows.get(label, ()):
            at = int(np.searchsorted(batch.docno, np.uint32(docno)))
            if at < len(batch) and batch.docno[at] == docno and batch.revision[at] == revision:
                return True
        return any(
            int(part.rows.revision[row]) == revision
            for part, row in self.view.rows(label).rows_of(docno)
        )

    def changes(self) -> CollectionChanges:
        """Return all changes, to be committed."""
        if self._documents or sum(len(batch.ids) for batch in self._bulk) <= SEAL_DOCUMENTS:
            self._unpack()
        rows = {label: concat_batches(batches) for label, batches in self._rows.items()}
        return CollectionChanges(self._documents, rows, tuple(self._bulk))

    def _unpack(self) -> None:
        for batch in self._bulk:
            for docno, record in zip(batch.docno.tolist(), batch.records(), strict=True):
                self._documents[docno] = record
                self._docnos[record.id] = docno
        self._bulk = []


def row_batch(
    docnos: Array,
    revisions: Array,
    vectors: Array,
    norms: Array,
    *,
    counts: IntArray | None,
    skipped: Sequence[int],
) -> RowBatch | None:
    """Return the rows of documents, sorted; None if all are skipped.

    Parameters
    ----------
    docnos, revisions : (n,)
        By document.
    vectors, norms
        By row: one row for each document, or ``counts[i]`` for document i.
    counts : int64 (n,) or None
    skipped : sequence of int
        Documents to leave out.
    """
    if len(skipped) == len(docnos):
        return None
    keep = np.ones(len(docnos), np.bool_)
    keep[list(skipped)] = False
    if counts is None:
        chunk = np.zeros(len(docnos), np.uint32)
    else:
        starts = np.cumsum(counts) - counts
        owner = np.repeat(np.arange(len(docnos)), counts)
        chunk = (np.arange(len(owner)) - starts[owner]).astype(np.uint32)
        docnos, revisions, keep = docnos[owner], revisions[owner], keep[owner]
    batch = RowBatch(docnos.astype(np.uint32), chunk, revisions.astype(np.uint64), vectors, norms)
    if not keep.all():
        batch = batch.take(np.flatnonzero(keep))
    if bool((batch.docno[1:] < batch.docno[:-1]).any()):
        batch = batch.take(np.lexsort((batch.chunk, batch.docno)))
    return batch
