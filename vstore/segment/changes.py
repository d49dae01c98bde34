"""What one commit does to a collection's documents and rows."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from vstore.segment.document_batch import DocumentBatch
    from vstore.segment.documents import DocumentRecord
    from vstore.segment.vectors import RowBatch

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


def _weight(metadata: Mapping[str, object]) -> int:
    """Return about how many bytes metadata takes."""
    values = metadata.values()
    return sum(len(v if isinstance(v, str) else repr(v)) for v in values if v is not None)
