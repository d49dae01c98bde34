"""The embedders that were registered with a store, which make vectors of its text queries."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from vstore.cached import cached_property
from vstore.deferred import Deferred
from vstore.errors import StateError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from vstore.embedding import embedder as embedders
    from vstore.embedding import query_cache
    from vstore.embedding.embedder import Embedder, Embeddings
    from vstore.manifest.state import VersionState
else:  # what a search by a vector does not need
    embedders = Deferred("vstore.embedding.embedder")
    query_cache = Deferred("vstore.embedding.query_cache")


class EmbedderRegistry:
    """The embedders a handle may use for text, by the geometry they make."""

    def __init__(self) -> None:
        self._embedders: dict[bytes, Embedder] = {}

    @cached_property
    def _cache(self) -> query_cache.QueryCache:
        return query_cache.QueryCache()

    def register(self, embedder: Embedder) -> None:
        """Add an embedder; it replaces one of the same geometry, and what that one made.

        Raises
        ------
        InvalidArgumentError
            It is no `Embedder`.
        """
        fingerprint = embedders.require_embedder(embedder).spec.fingerprint
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
        # The version's own before one that was only declared equivalent: prompts may differ.
        embedder = self._embedders.get(version.spec.fingerprint) or next(
            (e for f, e in list(self._embedders.items()) if f in accepted), None
        )
        if embedder is None:
            raise StateError(
                f"no embedder of version {version.label!r} ({version.spec.model}) is registered; "
                "call register_embedder(), or pass the query's vector"
            )
        prompt = embedder.spec.query_prompt
        vectors = [self._cache.embed(embedder, prompt + text).vectors for text in texts]
        return embedders.Embeddings(embedder.spec, np.stack(vectors))
