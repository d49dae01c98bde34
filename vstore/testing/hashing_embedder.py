"""A deterministic embedder that needs no model, for examples and unit tests."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from blake3 import blake3

from vstore.manifest.spec import EmbeddingSpec

if TYPE_CHECKING:
    from collections.abc import Sequence

    from vstore.types import Array


class HashingEmbedder:
    """Character n-grams hashed to signed dimensions: deterministic, and needs no model.

    It knows spelling, not meaning: "car" and "automobile" are as far apart as any two words. Use it
    in examples and unit tests, where the same text must give the same vector on every machine.
    (Feature hashing: Weinberger et al., ICML 2009, arXiv 0902.2206.)

    Parameters
    ----------
    dimension : int
    ngram : int
        Characters per n-gram; texts are lower-cased and padded with a blank on both sides.
    seed : int
        Another seed is another geometry, as another model would be.
    """

    def __init__(self, dimension: int = 64, *, ngram: int = 3, seed: int = 0) -> None:
        self._ngram = ngram
        self._key = blake3(f"vstore HashingEmbedder {seed}".encode()).digest()
        self._spec = EmbeddingSpec(
            model="vstore/hashing",
            model_version="1",
            dimension=dimension,
            metric="cosine",
            normalized=True,
            preprocessing="lowercase",
            extras={"ngram": ngram, "seed": seed},
        )

    @property
    def spec(self) -> EmbeddingSpec:
        """What fixes the geometry of the vectors."""
        return self._spec

    def embed_documents(self, texts: Sequence[str]) -> Array:
        """Return unit vectors, float32 (n, dimension)."""
        return np.stack([self.embed_query(text) for text in texts])

    def embed_query(self, text: str) -> Array:
        """Return a unit vector, float32 (dimension,)."""
        padded = f" {text.lower()} "
        vector = np.zeros(self._spec.dimension)
        for start in range(max(1, len(padded) - self._ngram + 1)):
            gram = padded[start : start + self._ngram].encode("utf-8", "surrogatepass")
            digest = int.from_bytes(blake3(gram, key=self._key).digest(length=8), "little")
            vector[(digest >> 1) % self._spec.dimension] += 1.0 if digest & 1 else -1.0
        length = np.sqrt((vector * vector).sum())
        if not length:  # n-grams cancelled each other out
            vector[0] = length = 1.0
        return np.asarray(vector / length, np.float32)
