"""What a transaction's calls did, counted."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class UpsertCounts:
    """What an upsert did.

    Attributes
    ----------
    inserted, updated, unchanged : int
        Documents that are new, have a new revision, or kept theirs.
    vectors_written, vectors_skipped : dict
        Documents by version label; skipped ones have fresh vectors of an unchanged source already.
    """

    inserted: int
    updated: int
    unchanged: int
    vectors_written: dict[str, int] = field(default_factory=dict)
    vectors_skipped: dict[str, int] = field(default_factory=dict)


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
    """What a delete did, in documents."""

    deleted: int
    missing: int
