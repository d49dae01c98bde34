"""Seeded vectors for tests of graphs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from vstore.index.graph import GraphIndex
from vstore.native.arrays import GraphArrays

if TYPE_CHECKING:
    from vstore.types import Array


def clustered(rows: int, dimension: int, *, seed: int = 0, clusters: int = 20) -> Array:
    """Return vectors around some centres, in 12 latent dimensions: as embeddings are."""
    rng = np.random.default_rng(seed)
    latent = min(12, dimension)
    centres = 1.5 * np.random.default_rng(1_000).standard_normal((clusters, latent))
    spread = np.random.default_rng(1_001).standard_normal((latent, dimension))
    points = rng.standard_normal((rows, latent)) + centres[rng.integers(0, clusters, rows)]
    noise = 0.3 * rng.standard_normal((rows, dimension))
    return (points @ spread + noise).astype(np.float32)


def lengths(vectors: Array) -> Array:
    """Return Euclidean lengths, float32."""
    wide = vectors.astype(np.float64)
    return np.asarray(np.sqrt((wide * wide).sum(axis=1)), np.float32)


def nearest(vectors: Array, queries: Array, metric: str, k: int) -> list[set[int]]:
    """Return the rows of the k best, by brute force."""
    wide, asked = vectors.astype(np.float64), queries.astype(np.float64)
    scores = asked @ wide.T
    if metric == "cosine":
        scores /= np.sqrt((wide * wide).sum(axis=1))
    elif metric == "l2":
        scores = 2 * scores - (wide * wide).sum(axis=1)
    return [set(np.argsort(-line, kind="stable")[:k].tolist()) for line in scores]


def changed(arrays: GraphArrays, **changes: Any) -> GraphArrays:
    """Return a graph with some of its arrays replaced."""
    names = ("high", "low", "bias", "links", "upper", "first", "entry")
    return GraphArrays(**{name: getattr(arrays, name) for name in names} | changes)


def over(index: GraphIndex, arrays: GraphArrays) -> GraphIndex:
    """Return an index over other arrays, with nothing remembered of the first one's."""
    return GraphIndex(
        arrays,
        index.quantizer,
        index.members,
        index.starts,
        index.recall,
        M=index.M,
        ef_construction=index.ef_construction,
    )
