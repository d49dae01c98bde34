"""Query vectors that were made lately: a text is embedded once."""

from __future__ import annotations

from collections import OrderedDict
from threading import RLock
from typing import TYPE_CHECKING, Final

from vstore.embedding.embedder import Embedder, Embeddings
from vstore.embedding.results import vectors_from
from vstore.errors import InvalidVectorError
from vstore.locked import locked
from vstore.segment.validation import as_array, check_vectors

if TYPE_CHECKING:
    from vstore.types import Array

_CACHE_ENTRIES: Final = 1_024


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
        EmbeddingError
            The embedder returns a coroutine, or raises `StopIteration`.
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
    made = as_array(vectors_from(embedder.embed_query, text, what=where), where=where)
    if made.ndim != 1:
        raise InvalidVectorError(f"{where}: expected one vector, found shape {made.shape}")
    checked = check_vectors(made[None], embedder.spec, storage="float32", where=where)
    vector: Array = checked.vectors[0].copy()  # the embedder may reuse its buffer
    return vector
