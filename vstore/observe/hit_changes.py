"""Why a document's place in an answer changed between two epochs: a pure function of facts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal, NamedTuple, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Iterator

Reason: TypeAlias = Literal[
    "added", "deleted", "updated", "stale", "fresh", "migrated", "re-embedded", "route", "filter",
    "graph", "rank",
]  # fmt: skip

REASONS: Final[dict[Reason, str]] = {
    "added": "the document was added, or came into the handle's scope",
    "deleted": "the document was deleted, or left the handle's scope",
    "updated": "its source changed",
    "stale": "its vectors are of an older revision since",
    "fresh": "it has vectors of its current revision again",
    "migrated": "it has vectors in a version that it was not in",
    "re-embedded": "its vectors changed, its source did not",
    "route": "other versions are read",
    "filter": "its metadata pass the filter, or no longer do",
    "graph": "the index missed it at one of the epochs: exact search finds it there",
    "rank": "others came before it, or went",
}
_SCORE_TOLERANCE: Final = 1e-5  # relative; a scan and a graph round differently


class HitFacts(NamedTuple):
    """One document at one epoch, as far as it concerns one search.

    Attributes
    ----------
    rank : int | None
        From 1; None if it was not returned.
    version : str
        Of the vector that was scored; empty if it was not returned.
    score : float
        Similarity in that version.
    read : tuple[str, ...]
        How the search read, and which versions.
    revision : int | None
        None if there is no such document, it is deleted, or it is outside the scope.
    passes : bool
        Whether it passes the filter.
    fresh : frozenset[str]
        Versions, of those read at either epoch, in which it has fresh rows.
    exact : bool
        Whether exact search returns it.
    """

    rank: int | None
    version: str
    score: float
    read: tuple[str, ...]
    revision: int | None
    passes: bool
    fresh: frozenset[str]
    exact: bool


def reasons(before: HitFacts, after: HitFacts) -> tuple[Reason, ...]:
    """Return why a document's place is another one; empty if it is the same."""
    if (before.rank, before.version) == (after.rank, after.version):
        return ()
    return tuple(_reasons(before, after)) or ("rank",)


def _reasons(before: HitFacts, after: HitFacts) -> Iterator[Reason]:
    if before.revision is None or after.revision is None:
        if before.revision != after.revision:
            yield "added" if before.revision is None else "deleted"
    else:
        yield from _of_a_document_that_stayed(before, after)
    if before.read != after.read:
        yield "route"
    if any(one.rank is None and one.exact for one in (before, after)):
        yield "graph"


def _of_a_document_that_stayed(before: HitFacts, after: HitFacts) -> Iterator[Reason]:
    same_source = before.revision == after.revision
    if not same_source:
        yield "updated"
    if before.fresh - after.fresh:
        yield "stale"
    if after.fresh - before.fresh:
        # A version is known to be new to a document if it had a fresh row elsewhere all the while.
        yield "migrated" if same_source and before.fresh else "fresh"
    tolerance = _SCORE_TOLERANCE * max(1.0, abs(before.score))
    same_vectors = abs(before.score - after.score) <= tolerance
    if same_source and before.version == after.version and not same_vectors:
        yield "re-embedded"
    if before.passes != after.passes:
        yield "filter"
