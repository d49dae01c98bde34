"""What an exact search must return, computed the slow way: Python loops over float64."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from vstore.manifest.spec import Metric
    from vstore.types import Array, DocumentId


@dataclass(frozen=True)
class Candidate:
    """A row that may be returned; ``place`` breaks ties between documents, then ``chunk``."""

    id: DocumentId
    place: int
    chunk: int
    vector: Array
    stale: bool = False


@dataclass(frozen=True)
class Expected:
    """A hit, as `vstore.Hit` without its version."""

    id: DocumentId
    score: float
    chunk: int
    stale: bool


def score(vector: Array, query: Array, metric: Metric) -> float:
    """Return the documented score of one row."""
    row, target = vector.astype(np.float64), query.astype(np.float64)
    if metric == "l2":
        return -math.sqrt(float(np.square(row - target).sum()))
    product = float((row * target).sum())
    if metric == "inner_product":
        return product
    return product / (math.sqrt(float((row * row).sum())) * math.sqrt(float((target**2).sum())))


def ranking(
    candidates: Sequence[Candidate], query: Array, metric: Metric, *, collapse: bool = True
) -> list[Expected]:
    """Return all hits, best first: one per document, or with ``collapse=False`` one per row."""
    scored = sorted(
        ((score(c.vector, query, metric), c) for c in candidates),
        key=lambda pair: (-pair[0], pair[1].place, pair[1].chunk),
    )
    hits: list[Expected] = []
    seen: set[DocumentId] = set()
    for value, candidate in scored:
        if collapse and candidate.id in seen:
            continue
        seen.add(candidate.id)
        hits.append(Expected(candidate.id, value, candidate.chunk, candidate.stale))
    return hits


def slots(
    old: Sequence[DocumentId],
    new: Sequence[DocumentId],
    *,
    migrated: set[DocumentId],
    old_has: set[DocumentId],
    k: int,
) -> list[tuple[DocumentId, bool]]:
    """Return the documents of a dual read, and whether the new version answers for each.

    ``old`` and ``new`` are the two top k. A place that a migrated document won in ``old`` goes to
    the next migrated document of ``new``, preceded by those that only the new version has.
    """
    lone = [id_ for id_ in new if id_ not in old_has]
    won = [id_ for id_ in old if id_ in migrated]
    if lone and not won:
        if len(lone) == len(new):
            pairs = [pair for both in zip(old, lone, strict=False) for pair in both]
            shared = min(len(old), len(lone))
            mixed = [*pairs, *old[shared:], *lone[shared:]]
            return [(id_, id_ in lone) for id_ in mixed[:k]]
        if len(old) + len(new) > k and new[0] in lone:
            return [*((id_, False) for id_ in old[: k - 1]), (new[0], True)]
    waiting = list(new)
    fused: list[tuple[DocumentId, bool]] = []
    for id_ in old:
        if id_ not in migrated:
            fused.append((id_, False))
            continue
        while waiting:
            fused.append((waiting.pop(0), True))
            if fused[-1][0] in old_has:
                break
    return [*fused, *((id_, True) for id_ in waiting)][:k]
