"""Documents as Python columns: what a transaction's records become, and what bulk writes are."""

from __future__ import annotations

from itertools import repeat
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from vstore.segment.documents import DocumentRecord

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from vstore.types import Array, DocumentId


class DocumentBatch(NamedTuple):
    """Documents sorted by docno, each attribute a sequence over them.

    ``created`` and ``revision`` are u64 (n,); ``docno`` is u32 (n,), strictly ascending.
    """

    docno: Array
    ids: Sequence[DocumentId]
    created: Array
    revision: Array
    hashes: Sequence[bytes | None] | None
    metadata: Sequence[dict[str, object]] | None
    texts: Sequence[str | None] | None

    def records(self) -> list[DocumentRecord]:
        """Return the documents one by one."""
        count = len(self.ids)
        return [
            DocumentRecord(*values)
            for values in zip(
                self.ids,
                self.created.tolist(),
                self.revision.tolist(),
                self.hashes or repeat(None, count),
                self.metadata or repeat({}, count),
                self.texts or repeat(None, count),
                strict=True,
            )
        ]


def batch_of(records: Mapping[int, DocumentRecord]) -> DocumentBatch:
    """Transpose records, keyed by docno."""
    numbers = sorted(records)
    ids, created, revisions, hashes, metadata, texts = zip(
        *[records[docno] for docno in numbers], strict=True
    )
    return DocumentBatch(
        np.array(numbers, np.uint32),
        ids,
        np.array(created, np.uint64),
        np.array(revisions, np.uint64),
        hashes,
        metadata,
        texts,
    )
