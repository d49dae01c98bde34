"""What a transaction's calls did, counted."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from vstore.types import DocumentId


@dataclass(frozen=True, slots=True)
class UpsertCounts:
    """What an upsert did.

    Attributes
    ----------
    inserted, updated, unchanged : int
        Documents that are new, have a new revision, or kept theirs.
    vectors_written, vectors_skipped : dict
        Documents by version label; skipped ones have fresh vectors of an unchanged source already.
    failed : dict of id to str
        Of `Collection.upsert_texts`: documents whose texts could not be embedded, and why. They are
        as they were.
    overtaken : tuple of ids
        Of `Collection.upsert_texts`: documents that somebody else wrote or deleted while their
        vectors were made. They are as that write left them.
    """

    inserted: int
    updated: int
    unchanged: int
    vectors_written: dict[str, int] = field(default_factory=dict)
    vectors_skipped: dict[str, int] = field(default_factory=dict)
    failed: dict[DocumentId, str] = field(default_factory=dict)
    overtaken: tuple[DocumentId, ...] = ()


@dataclass(frozen=True, slots=True)
class VectorCounts:
    """What adding vectors did, in documents.

    Attributes
    ----------
    written : int
    stale : int
        Skipped: their document has changed, or was deleted, since the vectors were made.
    """

    written: int
    stale: int


@dataclass(frozen=True, slots=True)
class DeleteCounts:
    """What a delete did, in documents.

    Attributes
    ----------
    deleted : int
    missing : int
        Ids of no document; one that was given twice counts once.
    """

    deleted: int
    missing: int
