"""Why a document's place in an answer changed between two epochs. Pure."""

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
    """Facts about one document at one epoch, for one search.

    Attributes
    ----------
    rank : int | None
        From 1; None if the document was not returned.
    version : str
        Version of the scored vector; empty if the document was not returned.
    score : float
        Similarity in `version`.
    read : tuple[str, ...]
        Read mode and versions of the search.
    revision : int | None
        None if the document does not exist, is deleted, or is outside the scope.
    passes : bool
        Whether the document passes the filter.
    fresh : frozenset[str]
        Versions with fresh rows of the document, among the versions read at either epoch.
    exact : bool
        Whether exact search returns the document.
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
    """Return why a document's place changed; empty if it did not."""
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
        # A version is new to the document if another version had a fresh row before.
        yield "migrated" if same_source and before.fresh else "fresh"
    tolerance = _SCORE_TOLERANCE * max(1.0, abs(before.score))
    same_vectors = abs(before.score - after.score) <= tolerance
    if same_source and before.version == after.version and not same_vectors:
        yield "re-embedded"
    if before.passes != after.passes:
        yield "filter"
