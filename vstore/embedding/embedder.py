"""Embedders: what turns text into vectors, and vectors that are stamped with their geometry."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from vstore.embedding.results import require_synchronous
from vstore.errors import InvalidArgumentError
from vstore.manifest.spec import EmbeddingSpec, require_spec

if TYPE_CHECKING:
    from collections.abc import Sequence

    from vstore.types import Array


@runtime_checkable
class Embedder(Protocol):
    """Anything that embeds text and says which geometry its vectors have.

    Its methods are called synchronously: they are no coroutine functions.
    """

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
    """Refuse what is no embedder, or one whose methods are coroutine functions.

    Raises
    ------
    InvalidArgumentError
        It lacks a method or the spec of an `Embedder`.
    """
    if not isinstance(embedder, Embedder):
        raise InvalidArgumentError(
            "embedder: expected an object with .spec, .embed_documents and .embed_query, "
            f"found {embedder!r:.60}"
        )
    require_spec(embedder.spec, what="embedder.spec")
    require_synchronous(embedder.embed_documents, what="embedder.embed_documents")
    require_synchronous(embedder.embed_query, what="embedder.embed_query")
    return embedder
