"""The guard: no vector meets another geometry. Every write and every query passes here."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeGuard

import numpy as np

from vstore.deferred import Deferred
from vstore.errors import InvalidArgumentError, StateError, VersionMismatchError
from vstore.manifest.spec import short
from vstore.segment.validation import SQUARE_UNDERFLOW, CheckedVectors, check_vectors

if TYPE_CHECKING:
    from vstore.embedding import embedder as embedders
    from vstore.embedding.embedder import Embeddings
    from vstore.manifest.spec import EmbeddingSpec
    from vstore.manifest.state import CollectionState, StoreState, VersionState
    from vstore.types import Array
else:  # a bare vector does not need it
    embedders = Deferred("vstore.embedding.embedder")


def require_version(
    version: VersionState, spec: EmbeddingSpec, state: StoreState, *, where: str, fix: str
) -> None:
    """Refuse vectors whose geometry is not the version's.

    Raises
    ------
    VersionMismatchError
        The fingerprints differ and were not declared equivalent.
    """
    mine, others = version.spec.fingerprint, spec.fingerprint
    if mine == others or others in state.equivalent(mine):
        return
    raise VersionMismatchError(
        where,
        expected=f"{version.label!r} ({short(mine)})",
        found=f"{spec.model!r} ({short(others)})",
        differences=version.spec.differences(spec),
        fix=fix,
    )


def require_open(version: VersionState, *, where: str) -> None:
    """Refuse to use a retired version.

    Raises
    ------
    StateError
        The version is retired.
    """
    if version.retired_us is not None:
        raise StateError(f"{where}: version {version.label!r} is retired")


def version_of(
    collection: CollectionState, spec: EmbeddingSpec, state: StoreState, *, where: str
) -> VersionState:
    """Return the version that has this geometry.

    Raises
    ------
    VersionMismatchError
        None has; the message compares the nearest one.
    StateError
        The one that has is retired, or there is no version yet.
    """
    wanted = state.equivalent(spec.fingerprint)
    open_ = [v for v in collection.versions.values() if v.retired_us is None]
    found = [v for v in open_ if v.spec.fingerprint in wanted]
    if found:
        # Its own version before one that is only declared to be the same.
        return max(found, key=lambda v: v.spec.fingerprint == spec.fingerprint)
    retired = [v.label for v in collection.versions.values() if v.spec.fingerprint in wanted]
    if retired:
        raise StateError(f"{where}: version {retired[0]!r} has this spec, and is retired")
    if not collection.versions:
        raise StateError(f"{where}: collection {collection.name!r} has no version yet")
    nearest = min(collection.versions.values(), key=lambda v: len(v.spec.differences(spec)))
    raise VersionMismatchError(
        where,
        expected=f"one of {', '.join(map(repr, collection.versions))}; nearest {nearest.label!r}",
        found=f"{spec.model!r} ({short(spec.fingerprint)})",
        differences=nearest.spec.differences(spec),
        fix="Declare a version for this spec with create_version().",
    )


def check_batch(
    version: VersionState, vectors: object, state: StoreState, *, where: str
) -> CheckedVectors:
    """Return a batch of rows as the version will store them.

    Raises
    ------
    VersionMismatchError, InvalidVectorError, StateError
        The stamp or the dimension is not the version's; a vector is not finite, or zero under
        cosine; the version is retired.
    """
    require_open(version, where=where)
    if not isinstance(vectors, np.ndarray) and isinstance(vectors, embedders.Embeddings):
        require_version(
            version,
            vectors.spec,
            state,
            where=where,
            fix=f"Embed with {version.spec.model!r}, or write these to a version of their own.",
        )
        vectors = vectors.vectors
    return check_vectors(vectors, version.spec, storage=version.storage, where=where)


def check_queries(
    version: VersionState, queries: Embeddings | Array, state: StoreState, *, where: str
) -> Array:
    """Return query vectors as float32 (m, dimension).

    Raises
    ------
    VersionMismatchError, InvalidVectorError, StateError
        The stamp or the dimension is not the version's; a vector is not finite, or zero under
        cosine; the version is retired.
    """
    require_open(version, where=where)
    vectors: object = queries
    if not isinstance(queries, np.ndarray) and isinstance(queries, embedders.Embeddings):
        require_version(
            version,
            queries.spec,
            state,
            where=where,
            fix=f"Embed the query with {version.spec.model!r}, or search its own version.",
        )
        vectors = queries.vectors
    if is_sound_query(vectors, version.spec):
        return vectors
    return check_vectors(vectors, version.spec, storage="float32", where=where).vectors


def is_sound_query(vectors: object, spec: EmbeddingSpec) -> TypeGuard[Array]:
    """Whether this is one vector that `check_vectors` would return as it is.

    In a tenth of the time: the square of its length tells, for a NaN or an infinity makes it one.
    """
    return (
        type(vectors) is np.ndarray
        and vectors.dtype == np.float32
        and vectors.shape == (1, spec.dimension)
        and vectors.flags.c_contiguous
        and not spec.normalized
        and SQUARE_UNDERFLOW < float(np.vdot(vectors, vectors)) < np.inf
    )


def require_label(label: str | None, collection: CollectionState, *, where: str) -> str:
    """Refuse a bare array that does not say which version it is of."""
    if label is None:
        known = ", ".join(map(repr, collection.versions)) or "none yet"
        raise InvalidArgumentError(
            f"{where}: a bare array does not say which model made it. Pass version= (one of: "
            f"{known}), or stamp it: Embeddings(spec, array)."
        )
    return label
