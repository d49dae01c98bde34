"""Seeded documents in two embedding spaces, each vector made from its document's id and generation.

Any process can make any vector by itself, which is how a model checks what a store answers. The
spaces have one dimension, so that nothing but the version keeps them apart.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

import vstore

if TYPE_CHECKING:
    from collections.abc import Sequence

    from vstore import Document
    from vstore.types import Array, IntArray

OLD, NEW = "docs-emb-v1", "docs-emb-v2"
DIMENSION = 32
LATENT: Final = 12
NOISE: Final = {OLD: 0.5, NEW: 0.2}
_FIRST_QUERY: Final = 1 << 22  # ids from here on are queries
_GOLDEN: Final = 0x9E3779B97F4A7C15


def spec(version: str) -> vstore.EmbeddingSpec:
    """Return what fixes the geometry of a version."""
    return vstore.EmbeddingSpec("two-spaces", DIMENSION, model_version=version, normalized=True)


class TwoSpaces:
    """The two models; ``seed`` makes another pair."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        rng = np.random.default_rng(seed)
        self._maps = {v: rng.standard_normal((LATENT, DIMENSION)) for v in (OLD, NEW)}

    def vectors(self, version: str, ids: IntArray, generations: IntArray) -> Array:
        """Return unit vectors, float32 (n, DIMENSION), of documents as of their generations."""
        drawn = _normals(self.seed, ids, generations, LATENT + 2 * DIMENSION)
        first = LATENT if version == OLD else LATENT + DIMENSION
        rows = drawn[:, :LATENT] @ self._maps[version]
        rows += NOISE[version] * drawn[:, first : first + DIMENSION]
        rows /= np.linalg.norm(rows, axis=1, keepdims=True)
        return rows.astype(np.float32)

    def embed(self, version: str, documents: Sequence[Document]) -> Array:
        """Return vectors of documents, from what their texts say they are."""
        named = [str(document.text).split("/") for document in documents]
        ids, generations = np.array(named, np.int64).T
        return self.vectors(version, ids, generations)

    def queries(self, first: int, count: int) -> dict[str, Array]:
        """Return some of an endless list of queries, in both spaces."""
        ids = np.arange(_FIRST_QUERY + first, _FIRST_QUERY + first + count)
        return {v: self.vectors(v, ids, np.zeros_like(ids)) for v in (OLD, NEW)}


def text(id_: int, generation: int) -> str:
    """Return a document's text: all that a model needs to know of it."""
    return f"{id_}/{generation}"


def _normals(seed: int, ids: IntArray, generations: IntArray, count: int) -> Array:
    """Return standard normal numbers (n, count), by Box and Muller from hashed counters."""
    pairs = count // 2 + 1
    keys = ids.astype(np.uint64) << np.uint64(40) | generations.astype(np.uint64) << np.uint64(8)
    counters = keys[:, None] + np.arange(2 * pairs, dtype=np.uint64)
    # splitmix64 (Steele, Lea, Flood, OOPSLA 2014): every counter to an independent 64-bit number.
    mixed = (counters + np.uint64(seed + 1)) * np.uint64(_GOLDEN)
    mixed = (mixed ^ mixed >> np.uint64(30)) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ mixed >> np.uint64(27)) * np.uint64(0x94D049BB133111EB)
    uniform = ((mixed ^ mixed >> np.uint64(31)) >> np.uint64(11)).astype(np.float64) / 2.0**53
    radius = np.sqrt(-2 * np.log1p(-uniform[:, :pairs]))
    angle = 2 * np.pi * uniform[:, pairs:]
    return np.concatenate([radius * np.cos(angle), radius * np.sin(angle)], axis=1)[:, :count]
