"""Judgments from a caller: the documents that they name must be there."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from vstore.errors import InvalidArgumentError
from vstore.segment.column_types import short_repr
from vstore.segment.documents import DELETED

if TYPE_CHECKING:
    from vstore.store.snapshot import CollectionView
    from vstore.types import DocumentId, Judgments


def require_documents(view: CollectionView, judgments: Judgments, *, where: str) -> None:
    """Refuse judgments of documents that no answer can have.

    A judgment that names nothing is never found, by no version, and so makes all of them look
    equally good.

    Raises
    ------
    InvalidArgumentError
        A document with a gain above 0 is unknown, deleted, or outside the handle's scope. Names
        the first one, and says how many there are.
    """
    wanted: dict[object, int] = {}
    for query, gains in enumerate(judgments):
        for id_, gain in gains.items():
            if gain > 0:
                wanted.setdefault(id_, query)
    known = _known(view, list(wanted))
    unknown = [id_ for id_, found in zip(wanted, known, strict=True) if not found]
    if not unknown:
        return
    first = unknown[0]
    raise InvalidArgumentError(
        f"{where}: judgments[{wanted[first]}] names {short_repr(first)}, which is no live document "
        f"here; {len(unknown):,} of {len(wanted):,} judged ids are unknown. "
        f"{_hint(view, unknown)}"
    )


def _known(view: CollectionView, ids: list[object]) -> list[bool]:
    plain = [_plain(id_) for id_ in ids]
    alive = view.documents.revision != DELETED
    docnos = iter(view.documents.find([id_ for id_ in plain if id_ is not None]).tolist())
    found = [-1 if id_ is None else next(docnos) for id_ in plain]
    return [docno >= 0 and bool(alive[docno]) for docno in found]


def _plain(id_: object) -> DocumentId | None:
    """Return an id as documents have it; None for what can be none."""
    if isinstance(id_, str):
        return str.__str__(id_)
    if isinstance(id_, bool) or not isinstance(id_, int | np.integer):
        return None
    return int(id_) if -(2**63) <= int(id_) < 2**63 else None


def _hint(view: CollectionView, unknown: list[object]) -> str:
    others = [_other_type(id_) for id_ in unknown]
    known = _known(view, others)
    for id_, other, found in zip(unknown, others, known, strict=True):
        if found:
            return (
                f"There is {other!r:.60}, of type {type(other).__name__}, not "
                f"{type(id_).__name__}: pass judged ids of the documents' type."
            )
    return "Leave out judgments of documents that were deleted or belong to others."


def _other_type(id_: object) -> object:
    if isinstance(id_, str):
        try:
            return int(id_)
        except ValueError:
            return None
    return str(id_)
