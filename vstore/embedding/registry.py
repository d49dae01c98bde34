"""The embedders that were registered with a store, which make vectors of its text queries."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

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
        self._caches: dict[bytes, query_cache.QueryCache] = {}

    def register(self, embedder: Embedder) -> None:
        """Add an embedder; it replaces one of the same geometry, and what that one made.

        Raises
        ------
        InvalidArgumentError
            It is no `Embedder`.
        """
        fingerprint = embedders.require_embedder(embedder).spec.fingerprint
        self._caches[fingerprint] = query_cache.QueryCache(embedder)

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
        cache = self._caches.get(version.spec.fingerprint) or next(
            (one for made, one in list(self._caches.items()) if made in accepted), None
        )
        if cache is None:
            raise StateError(
                f"no embedder of version {version.label!r} ({version.spec.model}) is registered; "
                "call register_embedder(), or pass the query's vector"
            )
        spec = cache.embedder.spec
        vectors = [cache.vector(spec.query_prompt + text) for text in texts]
        return embedders.Embeddings(spec, np.stack(vectors))
