"""The one embedder the command line has: `HashingEmbedder`, rebuilt from a version's spec."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from vstore.errors import InvalidArgumentError
from vstore.testing import HashingEmbedder

if TYPE_CHECKING:
    from vstore.engine.version_info import VersionInfo
    from vstore.manifest.spec import EmbeddingSpec

_MODEL: Final = "vstore/hashing"


def hashing_embedder(spec: EmbeddingSpec) -> HashingEmbedder | None:
    """Return the embedder that makes vectors of this spec; None if another model makes them."""
    ngram, seed = spec.extras.get("ngram"), spec.extras.get("seed")
    if spec.model != _MODEL or type(ngram) is not int or type(seed) is not int:
        return None
    embedder = HashingEmbedder(spec.dimension, ngram=ngram, seed=seed)
    return embedder if embedder.spec == spec else None


def require_hashing(version: VersionInfo, *, option: str) -> HashingEmbedder:
    """Return the embedder of a version.

    Raises
    ------
    InvalidArgumentError
        The version's vectors are made by another model.
    """
    embedder = hashing_embedder(version.spec)
    if embedder is None:
        raise InvalidArgumentError(
            f"{option}: version {version.label!r} is of {version.spec.model!r}, and the command "
            f"line can only embed with {_MODEL!r}; embed elsewhere and pass the vectors"
        )
    return embedder
