"""Embedders: what turns text into stamped vectors; and a deterministic one for tests."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from threading import RLock
from typing import TYPE_CHECKING, Final, Protocol, runtime_checkable

import numpy as np
from blake3 import blake3

from vstore.errors import InvalidArgumentError, InvalidVectorError, StateError
from vstore.locked import locked
from vstore.manifest.spec import EmbeddingSpec, require_spec
from vstore.segment.validation import as_array, check_vectors

if TYPE_CHECKING:
    from collections.abc import Sequence

    from vstore.manifest.state import VersionState
    from vstore.types import Array

_CACHE_ENTRIES: Final = 1_024


@runtime_checkable
class Embedder(Protocol):
    """Anything that embeds text and says which geometry its vectors have."""

    @property
    def spec(self) -> EmbeddingSpec:
        """What fixes the geometry of the vectors it makes."""
        ...

    def embed_documents(self, texts: Sequence[str]) -> Array:
        """Return one vector per text, (n, dimension)."""
        ...

    def embed_query(self, text: str) -> Array:
        """Return a query's vector, (dimension,)."""
        ...


@dataclass(frozen=True, slots=True)
class Embeddings:
    """Vectors stamped with the geometry they have.

    Attributes
    ----------
    spec : EmbeddingSpec
    vectors : (dimension,) or (n, dimension)
        One query, or a batch.
    """

    spec: EmbeddingSpec
    vectors: Array

    def __post_init__(self) -> None:
        require_spec(self.spec, what="Embeddings.spec")


def require_embedder(embedder: object) -> Embedder:
    """Refuse what is no embedder.

    Raises
    ------
    InvalidArgumentError
    """
    if not isinstance(embedder, Embedder):
        raise InvalidArgumentError(
            "embedder: expected an object with .spec, .embed_documents and .embed_query, "
            f"found {embedder!r:.60}"
        )
    require_spec(embedder.spec, what="embedder.spec")
    return embedder


class QueryCache:
    """Query vectors by (fingerprint, text), least recently used first out."""

    def __init__(self, entries: int = _CACHE_ENTRIES) -> None:
        self._entries = entries
        self._vectors: OrderedDict[tuple[bytes, str], Array] = OrderedDict()
        self._lock = RLock()
        self.hits = 0
        self.misses = 0

    def embed(self, embedder: Embedder, text: str) -> Embeddings:
        """Return the stamped vector of a query text, embedding it only the first time.

        Raises
        ------
        InvalidVectorError
            What the embedder made is no vector of its spec. It is not kept.
        """
        key = (embedder.spec.fingerprint, text)
        vector = self._find(key)
        if vector is None:
            vector = _query_vector(embedder, text)
            self._keep(key, vector)
        return Embeddings(embedder.spec, vector)

    @locked
    def _find(self, key: tuple[bytes, str]) -> Array | None:
        vector = self._vectors.get(key)
        if vector is None:
            self.misses += 1
        else:
            self._vectors.move_to_end(key)
            self.hits += 1
        return vector

    @locked
    def _keep(self, key: tuple[bytes, str], vector: Array) -> None:
        self._vectors[key] = vector
        if len(self._vectors) > self._entries:
            self._vectors.popitem(last=False)

    @locked
    def forget(self, fingerprint: bytes) -> None:
        """Drop the vectors of one geometry."""
        for key in [key for key in self._vectors if key[0] == fingerprint]:
            del self._vectors[key]


def _query_vector(embedder: Embedder, text: str) -> Array:
    where = f"embed_query of {embedder.spec.model!r:.60}"
    made = as_array(embedder.embed_query(text), where=where)
    if made.ndim != 1:
        raise InvalidVectorError(f"{where}: expected one vector, found shape {made.shape}")
    checked = check_vectors(made[None], embedder.spec, storage="float32", where=where)
    vector: Array = checked.vectors[0].copy()  # the embedder may reuse its buffer
    return vector


class EmbedderRegistry:
    """The embedders a handle may use for text, by the geometry they make."""

    def __init__(self) -> None:
        self._embedders: dict[bytes, Embedder] = {}
        self._cache = QueryCache()

    def register(self, embedder: Embedder) -> None:
        """Add an embedder; it replaces one of the same geometry, and what that one made.

        Raises
        ------
        InvalidArgumentError
        """
        fingerprint = require_embedder(embedder).spec.fingerprint
        self._embedders[fingerprint] = embedder
        self._cache.forget(fingerprint)

    def embed_queries(
        self, version: VersionState, accepted: frozenset[bytes], texts: Sequence[str]
    ) -> Embeddings:
        """Return stamped vectors of query texts for a version, from the cache where known.

        Parameters
        ----------
        accepted : frozenset of bytes
            Fingerprints that are the version's geometry.

        Raises
        ------
        StateError
            No registered embedder makes vectors of this version.
        """
        embedder = next((e for f, e in list(self._embedders.items()) if f in accepted), None)
        if embedder is None:
            raise StateError(
                f"no embedder of version {version.label!r} ({version.spec.model}) is registered; "
                "call register_embedder(), or pass the query's vector"
            )
        prompt = embedder.spec.query_prompt
        vectors = [self._cache.embed(embedder, prompt + text).vectors for text in texts]
        return Embeddings(embedder.spec, np.stack(vectors))


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
