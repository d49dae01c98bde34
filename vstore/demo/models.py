"""The demo's two models: what they are, and lookups that stand in for running them.

The package brings no model, only what two real ones made of SciFact (`corpus`). To the store that
is the same thing: an embedder that stamps its vectors.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from vstore.errors import InvalidArgumentError
from vstore.manifest.spec import EmbeddingSpec

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from vstore.demo.corpus import ScifactDemo
    from vstore.types import Array

COLLECTION: Final = "papers"
OLD: Final = "papers-v1-lsa"
NEW: Final = "papers-v2-minilm"

OLD_SPEC: Final = EmbeddingSpec(
    model="scifact-lsa",
    model_version="2021",
    dimension=384,
    normalized=True,
    preprocessing="tf-idf/1",
)
# As many dimensions as the old one: nothing but its spec tells their vectors apart.
NEW_SPEC: Final = EmbeddingSpec(
    model="all-MiniLM-L6-v2",
    model_version="2021-08-30",
    dimension=384,
    normalized=True,
)


class PrecomputedEmbedder:
    """An embedder that knows its answers by heart: vectors by text."""

    def __init__(self, spec: EmbeddingSpec, vectors: Mapping[str, Array]) -> None:
        self._spec = spec
        self._vectors = vectors

    @property
    def spec(self) -> EmbeddingSpec:
        """What fixes the geometry of the vectors."""
        return self._spec

    def embed_documents(self, texts: Sequence[str]) -> Array:
        """Return the vectors of texts it knows, (n, 384)."""
        return np.stack([self.embed_query(text) for text in texts])

    def embed_query(self, text: str) -> Array:
        """Return the vector of a text it knows, (384,)."""
        vector = self._vectors.get(text)
        if vector is None:
            raise InvalidArgumentError(
                f"{self._spec.model}: the demo has vectors of SciFact's texts, not of {text!r:.60}"
            )
        return vector


def document_texts(corpus: ScifactDemo) -> list[str]:
    """Return what is embedded and stored of each document."""
    return [f"{title}. {text}" for title, text in zip(corpus.titles, corpus.texts, strict=True)]


def old_model(corpus: ScifactDemo) -> PrecomputedEmbedder:
    """Return the model of version 1."""
    return _known(OLD_SPEC, corpus, corpus.old_documents, corpus.old_queries)


def new_model(corpus: ScifactDemo) -> PrecomputedEmbedder:
    """Return the model of version 2."""
    return _known(NEW_SPEC, corpus, corpus.new_documents, corpus.new_queries)


def _known(
    spec: EmbeddingSpec, corpus: ScifactDemo, documents: Array, queries: Array
) -> PrecomputedEmbedder:
    vectors = dict(zip(document_texts(corpus), documents, strict=True))
    vectors |= dict(zip(corpus.query_texts, queries, strict=True))
    return PrecomputedEmbedder(spec, vectors)
