"""What documents become when an upsert meets them, and which of them keep their revision.

Nothing in a vector says what text it was made from. Where the collection's dual-write policy is
"require" or "queue", vectors that replace others without a word on the source therefore count as a
change of it: else the other versions would go on serving the old content as fresh. Under "allow"
they count as vectors of the source that is there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from vstore.segment.documents import DELETED

if TYPE_CHECKING:
    from collections.abc import Mapping

    from vstore.engine.pending import PendingChanges
    from vstore.segment.documents import DocumentRecord
    from vstore.types import IntArray
    from vstore.writing.input import DocumentInput


def merged_records(
    new: list[DocumentRecord],
    before: Mapping[int, DocumentRecord],
    given: DocumentInput,
    *,
    unsourced: bool,
) -> tuple[list[DocumentRecord], list[int], list[int]]:
    """Return what each document becomes, given what some of them were.

    Parameters
    ----------
    unsourced : bool
        Vectors are given, and the policy wants to know what they were made from.

    Returns
    -------
    records : list
    kept : list of int
        Positions of documents that keep their source.
    unsourced : list of int
        Positions of documents whose source counts as changed because only vectors were given.
    """
    kept, changed = [], []
    for i, old in before.items():
        if old.revision == DELETED:
            continue
        record = new[i]
        hashed, text = record.source_hash, record.text
        # A document that changes twice in a transaction has one revision, the commit's epoch: so
        # the hashes are compared, not the revisions.
        same = hashed == old.source_hash if hashed is not None else text is None
        if unsourced and hashed is None and text is None and old.revision != record.revision:
            changed.append(i)
            new[i] = _unsourced(old, record.revision)._replace(
                metadata=old.metadata if given.metadata is None else record.metadata
            )
            continue
        if same:
            kept.append(i)
        new[i] = record._replace(
            created=old.created,
            revision=old.revision if same else record.revision,
            source_hash=old.source_hash if same else hashed,
            metadata=old.metadata if given.metadata is None else record.metadata,
            text=old.text if same and text is None else text,
        )
    return new, kept, changed


def change_unsourced(pending: PendingChanges, docnos: IntArray, epoch: int) -> None:
    """Give documents whose source counts as changed the revision of the commit being made.

    Rows that the transaction already has for them are of the same source, and stay.
    """
    for docno in docnos.tolist():
        record = pending.record(docno)
        pending.put(docno, _unsourced(record, epoch))
    pending.restamp_rows(docnos, epoch)


def replaced(pending: PendingChanges, label: str, docnos: IntArray, epoch: int) -> IntArray:
    """Return the documents that have fresh vectors in a version, from before this transaction."""
    revisions = pending.revisions(docnos)
    return np.array(
        [
            docno
            for docno, revision in zip(docnos.tolist(), revisions, strict=True)
            if revision not in (DELETED, epoch) and pending.has_fresh(label, docno, revision)
        ],
        np.int64,
    )


def _unsourced(record: DocumentRecord, epoch: int) -> DocumentRecord:
    # The text stays, since there is no other; the hash goes, so that the same text given later
    # counts as a change and is embedded.
    return record._replace(revision=epoch, source_hash=None)


def identical(one: DocumentRecord, other: DocumentRecord) -> bool:
    """Whether two records are the same in every byte that is stored."""
    # In JSON 1, 1.0 and True are three values, and the order of keys is kept.
    return one == other and (
        one.metadata is other.metadata
        or all(repr(value) == repr(other.metadata[name]) for name, value in one.metadata.items())
    )
