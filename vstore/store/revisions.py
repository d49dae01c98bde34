"""What documents become when an upsert meets them, and which of them keep their revision."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vstore.segment.documents import DELETED

if TYPE_CHECKING:
    from collections.abc import Mapping

    from vstore.segment.documents import DocumentRecord
    from vstore.store.input import DocumentInput


def merged_records(
    new: list[DocumentRecord], before: Mapping[int, DocumentRecord], given: DocumentInput
) -> tuple[list[DocumentRecord], list[int]]:
    """Return what each document becomes, given what some of them were; and who keeps its source."""
    kept = []
    for i, old in before.items():
        if old.revision == DELETED:
            continue
        record = new[i]
        hashed, text = record.source_hash, record.text
        # A document that changes twice in a transaction has one revision, the commit's epoch: so
        # the hashes are compared, not the revisions.
        same = hashed == old.source_hash if hashed is not None else text is None
        if same:
            kept.append(i)
        new[i] = record._replace(
            created=old.created,
            revision=old.revision if same else record.revision,
            source_hash=old.source_hash if same else hashed,
            metadata=old.metadata if given.metadata is None else record.metadata,
            text=old.text if same and text is None else text,
        )
    return new, kept


def identical(one: DocumentRecord, other: DocumentRecord) -> bool:
    """Whether two records are the same in every byte that is stored."""
    # In JSON 1, 1.0 and True are three values, and the order of keys is kept.
    return one == other and (
        one.metadata is other.metadata
        or all(repr(value) == repr(other.metadata[name]) for name, value in one.metadata.items())
    )
