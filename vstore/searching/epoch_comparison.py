"""Comparison of a search at two epochs: which hits changed, and why."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from vstore.engine.filtering import bound_filter, passing
from vstore.observe.hit_changes import REASONS, HitFacts, reasons
from vstore.query.paths import EXACT
from vstore.searching.parameters import one_query
from vstore.searching.preparing import run
from vstore.searching.results import SearchResult
from vstore.searching.side_reads import resolve_one
from vstore.segment.documents import DELETED

if TYPE_CHECKING:
    from vstore.engine.handle import Handle
    from vstore.engine.snapshot import CollectionView
    from vstore.observe.hit_changes import Reason
    from vstore.searching.parameters import Query, SearchOptions
    from vstore.types import BoolArray, DocumentId


@dataclass(frozen=True, slots=True)
class HitChange:
    """A hit whose rank or version differs between the epochs.

    Attributes
    ----------
    id : str or int
    before, after : int | None
        Ranks, from 1; None where the document was not returned.
    before_version, after_version : str
        Versions of the scored vectors; empty where the document was not returned.
    reasons : tuple[str, ...]
        Known changes to this document; `hit_changes.REASONS` explains each.
    """

    id: DocumentId
    before: int | None
    after: int | None
    before_version: str
    after_version: str
    reasons: tuple[Reason, ...]

    @property
    def kind(self) -> str:
        """Kind of change: "appeared", "disappeared" or "moved"."""
        if self.before is None:
            return "appeared"
        return "disappeared" if self.after is None else "moved"


@dataclass(frozen=True, slots=True)
class EpochComparison:
    """Answers to one query at two epochs, compared. Prints as a table.

    Attributes
    ----------
    before, after : int
        Epochs.
    before_read, after_read : tuple[str, ...]
        Read mode, followed by the versions read.
    unchanged : int
        Hits with the same rank and version at both epochs.
    changes : tuple[HitChange, ...]
        By rank after, then disappeared hits.
    """

    collection: str
    before: int
    after: int
    before_read: tuple[str, ...]
    after_read: tuple[str, ...]
    unchanged: int
    changes: tuple[HitChange, ...]

    def __str__(self) -> str:
        title = (
            f"{self.collection}: epoch {self.before} ({_read(self.before_read)}) against epoch "
            f"{self.after} ({_read(self.after_read)}): {len(self.changes)} changed, "
            f"{self.unchanged} not"
        )
        cells = [("id", "before", "after", "why")]
        for change in self.changes:
            why = "; ".join(f"{reason}: {REASONS[reason]}" for reason in change.reasons)
            ranks = (_place(change.before, change.before_version),
                     _place(change.after, change.after_version))  # fmt: skip
            cells.append((repr(change.id), *ranks, why))
        widths = [max(len(row[column]) for row in cells) for column in range(3)]
        lines = [
            "  ".join([*(c.ljust(w) for c, w in zip(row, widths, strict=False)), row[3]])
            for row in cells
        ]
        return "\n".join([title, *(lines if self.changes else [])])

    def to_dict(self) -> dict[str, object]:
        """Return the comparison as plain data."""
        return {
            "collection": self.collection,
            "before": {"epoch": self.before, "read": list(self.before_read)},
            "after": {"epoch": self.after, "read": list(self.after_read)},
            "unchanged": self.unchanged,
            "changes": [
                {
                    "id": change.id,
                    "kind": change.kind,
                    "before": change.before,
                    "after": change.after,
                    "before_version": change.before_version,
                    "after_version": change.after_version,
                    "reasons": list(change.reasons),
                }
                for change in self.changes
            ],
        }


def _read(read: tuple[str, ...]) -> str:
    return f"{read[0]}: {' + '.join(read[1:])}"


def _place(rank: int | None, version: str) -> str:
    return "-" if rank is None else f"{rank} {version}"


class _Answer(NamedTuple):
    """Answers at one epoch: as the store answers then, and by exact search."""

    view: CollectionView
    passing: BoolArray
    read: tuple[str, ...]
    hits: dict[DocumentId, tuple[int, str, float]]
    exact: frozenset[DocumentId]


def compare_epochs(
    handle: Handle, query: Query, options: SearchOptions, *, before: int, after: int
) -> EpochComparison:
    """Search at two epochs and compare the hits; neither counts as a search.

    Raises
    ------
    NotFoundError
        The file no longer has an epoch, or the collection did not exist yet.
    """
    old, new = (_answer(handle, query, options, epoch) for epoch in (before, after))
    labels = frozenset((*old.read[1:], *new.read[1:]))
    changes = []
    unchanged = 0
    for id_ in dict.fromkeys((*new.hits, *old.hits)):
        was, now = _facts(old, id_, labels), _facts(new, id_, labels)
        why = reasons(was, now)
        if why:
            changes.append(HitChange(id_, was.rank, now.rank, was.version, now.version, why))
        else:
            unchanged += 1
    return EpochComparison(
        handle.name, before, after, old.read, new.read, unchanged, tuple(changes)
    )


def _answer(handle: Handle, query: Query, options: SearchOptions, epoch: int) -> _Answer:
    snapshot = handle.file.at(epoch)
    handle = handle.pinned_to(snapshot)
    view = handle.view()
    bound = bound_filter(view, options.where)
    queries = one_query(query)
    resolved = resolve_one(handle, snapshot, queries, options, bound)

    def asked(options: SearchOptions) -> SearchResult:
        searched = run(handle, snapshot, queries, options, resolved, bound, counted=False)
        return SearchResult(searched, 0)

    found, exact = asked(options), asked(options._replace(accuracy=EXACT))
    return _Answer(
        view,
        passing(view, options.where),
        (resolved.mode, *resolved.reads),
        {hit.id: (rank, hit.version, hit.scores[hit.version]) for rank, hit in enumerate(found, 1)},
        frozenset(exact.ids),
    )


def _facts(answer: _Answer, id_: DocumentId, labels: frozenset[str]) -> HitFacts:
    view = answer.view
    docno = int(view.documents.find([id_])[0])
    revision = 0 if docno < 0 else int(view.documents.revision[docno])
    alive = docno >= 0 and revision != DELETED
    known = [label for label in labels if label in view.state.versions]
    rank, version, score = answer.hits.get(id_, (None, "", 0.0))
    return HitFacts(
        rank=rank,
        version=version,
        score=score,
        read=answer.read,
        revision=revision if alive else None,
        passes=alive and bool(answer.passing[docno]),
        fresh=frozenset(label for label in known if alive and view.rows(label).has_fresh[docno]),
        exact=id_ in answer.exact,
    )
