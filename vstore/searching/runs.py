"""Runs: answers in the form that retrieval evaluation libraries take."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from vstore.errors import InvalidArgumentError
from vstore.segment.ids import is_unordered
from vstore.shown import short_repr

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from vstore.types import DocumentId


def run_of(
    answers: Sequence[tuple[list[DocumentId], list[float]]], query_ids: Iterable[str | int]
) -> dict[str, dict[str, float]]:
    """Return a run; see `SearchResults.to_run`."""
    names = _query_names(query_ids, len(answers))
    return {name: _ranked(name, *answer) for name, answer in zip(names, answers, strict=True)}


def _query_names(query_ids: Iterable[str | int], count: int) -> list[str]:
    if isinstance(query_ids, str | bytes) or is_unordered(query_ids):
        raise InvalidArgumentError(
            "query_ids: expected an id for each query, in the order of the queries, found "
            f"{type(query_ids).__name__} {short_repr(query_ids)}"
        )
    given = list(query_ids)
    if len(given) != count:
        raise InvalidArgumentError(
            f"query_ids: expected {count:,}, one for each query, found {len(given):,}"
        )
    for place, id_ in enumerate(given):
        if isinstance(id_, bool) or not isinstance(id_, str | int | np.integer):
            raise InvalidArgumentError(
                f"query_ids[{place}]: expected a str or int, found {type(id_).__name__} "
                f"{short_repr(id_)}"
            )
    names = [str.__str__(id_) if isinstance(id_, str) else str(int(id_)) for id_ in given]
    places: dict[str, int] = {}
    for place, name in enumerate(names):
        first = places.setdefault(name, place)
        if first != place:
            raise InvalidArgumentError(
                f"query_ids: {short_repr(name)} is there twice, at {first} and at {place}"
            )
    return names


def _ranked(query: str, ids: list[DocumentId], scores: list[float]) -> dict[str, float]:
    best: dict[str, tuple[DocumentId, float]] = {}
    for id_, score in zip(ids, scores, strict=True):
        known, _ = best.setdefault(str(id_), (id_, score))  # a document's best chunk comes first
        if known != id_:
            raise InvalidArgumentError(
                f"to_run: query {short_repr(query)} found the documents {known!r} and {id_!r}, "
                "which a run cannot tell apart, since its ids are str"
            )
    return dict(zip(best, _falling([score for _, score in best.values()]), strict=True))


def _falling(scores: list[float]) -> list[float]:
    """Lower each score that does not fall in float32 to the next float32 below the previous one."""
    with np.errstate(over="ignore"):
        single = np.array(scores, np.float32)
    if (single[1:] < single[:-1]).all():
        return scores
    fallen = scores[:1]
    for i in range(1, len(scores)):
        if single[i] < single[i - 1]:
            fallen.append(scores[i])
        else:
            single[i] = np.nextafter(single[i - 1], np.float32(-np.inf))
            fallen.append(float(single[i]))
    return fallen
