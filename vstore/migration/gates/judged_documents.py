"""Checks of a caller's judgments: one mapping of id to gain for each query, of live documents."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from vstore.errors import InvalidArgumentError
from vstore.numbers import check_number
from vstore.segment.documents import DELETED
from vstore.segment.sequences import listed
from vstore.shown import short_repr

if TYPE_CHECKING:
    from vstore.engine.snapshot import CollectionView
    from vstore.types import DocumentId, Judgments


def checked_judgments(judgments: object, *, where: str) -> list[dict[object, float]]:
    """Return judgments with gains as Python floats.

    Parameters
    ----------
    judgments : iterable of mapping of id to gain
        One per query, in the order of the queries.

    Raises
    ------
    InvalidArgumentError
        The judgments have another shape, or a gain is not a finite number of at least 0. The
        message names the query and the document.
    """
    if isinstance(judgments, Mapping):
        raise InvalidArgumentError(
            f"{where}: judgments: expected a list with one mapping of id to gain for each query, "
            f"found a mapping, {short_repr(judgments)}; pass [judgments[q] for q in queries], in "
            "the order of the queries"
        )
    checked = []
    for query, gains in enumerate(listed(judgments, what=f"{where}: judgments")):  # type: ignore[arg-type]  # checked there
        if not isinstance(gains, Mapping):
            raise InvalidArgumentError(
                f"{where}: judgments[{query}]: expected a mapping of id to gain, found "
                f"{short_repr(gains)}; of ids that people chose, pass dict.fromkeys(ids, 1.0)"
            )
        checked.append(
            {
                id_: _gain(gain, f"{where}: judgments[{query}][{short_repr(id_)}]")
                for id_, gain in gains.items()
            }
        )
    return checked


def _gain(value: object, what: str) -> float:
    gain = check_number(value, what=what, least=0.0)
    if math.isinf(gain):
        raise InvalidArgumentError(f"{what}: expected a finite gain, found {gain}")
    return gain


def require_documents(view: CollectionView, judgments: Judgments, *, where: str) -> None:
    """Refuse judgments of documents that no search can find.

    No version finds such a document, so the judgment would make all versions look equally good.

    Raises
    ------
    InvalidArgumentError
        A document with a gain above 0 is unknown, deleted, or outside the handle's scope. The
        message names the first one, and tells how many there are.
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
    """Return an id in the form that documents store; None if it cannot be an id."""
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
