"""Query vectors that an embedder made lately: a text is embedded once."""

from __future__ import annotations

from collections import OrderedDict
from threading import RLock
from typing import TYPE_CHECKING, Final

from vstore.embedding.results import vectors_from
from vstore.errors import InvalidVectorError
from vstore.locked import locked
from vstore.segment.validation import as_array, check_vectors

if TYPE_CHECKING:
    from vstore.embedding.embedder import Embedder
    from vstore.types import Array

_CACHE_ENTRIES: Final = 1_024


class QueryCache:
    """Query vectors of one embedder by (fingerprint, text), least recently used first out.

    A cache belongs to one registration, and goes with it: a vector that an embedder returns after
    another has replaced it is never given to a later query.

    Parameters
    ----------
    embedder : Embedder
    entries : int
        How many vectors are kept.
    """

    def __init__(self, embedder: Embedder, entries: int = _CACHE_ENTRIES) -> None:
        self.embedder = embedder
        self._entries = entries
        self._vectors: OrderedDict[tuple[bytes, str], Array] = OrderedDict()
        self._lock = RLock()

    def vector(self, text: str) -> Array:
        """Return the vector of a query text, float32 (dimension,), embedding it the first time.

        Raises
        ------
        InvalidVectorError
            What the embedder made is no vector of its spec. It is not kept.
        EmbeddingError
            The embedder returns a coroutine, or raises `StopIteration`.
        """
        key = self.embedder.spec.fingerprint, text
        vector = self._find(key)
        if vector is None:
            vector = _query_vector(self.embedder, text)
            self._keep(key, vector)
        return vector

    @locked
    def _find(self, key: tuple[bytes, str]) -> Array | None:
        vector = self._vectors.get(key)
        if vector is not None:
            self._vectors.move_to_end(key)
        return vector

    @locked
    def _keep(self, key: tuple[bytes, str], vector: Array) -> None:
        self._vectors[key] = vector
        if len(self._vectors) > self._entries:
            self._vectors.popitem(last=False)


def _query_vector(embedder: Embedder, text: str) -> Array:
    where = f"embed_query of {embedder.spec.model!r:.60}"
    made = as_array(vectors_from(embedder.embed_query, text, what=where), where=where)
    if made.ndim != 1:
        raise InvalidVectorError(f"{where}: expected one vector, found shape {made.shape}")
    checked = check_vectors(made[None], embedder.spec, storage="float32", where=where)
    vector: Array = checked.vectors[0].copy()  # the embedder may reuse its buffer
    return vector
