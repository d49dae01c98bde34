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
    cosine = product / (math.sqrt(float((row * row).sum())) * math.sqrt(float((target**2).sum())))
    return min(1.0, max(-1.0, cosine))


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
