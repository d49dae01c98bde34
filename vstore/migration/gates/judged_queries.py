"""Checks of queries that a caller gives for several versions, to measure these or a bridge."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from vstore.errors import InvalidArgumentError
from vstore.guarding import spec_check as guard
from vstore.shown import short_repr

if TYPE_CHECKING:
    from collections.abc import Sequence

    from vstore.manifest.state import StoreState, VersionState
    from vstore.types import Array


def checked_queries(
    queries: object, versions: Sequence[VersionState], state: StoreState, *, where: str
) -> list[Array]:
    """Return the queries of each version, float32 (n, dimension).

    Parameters
    ----------
    queries : mapping of label to array, Embeddings, or iterable of vectors

    Raises
    ------
    InvalidArgumentError
        The queries are not a mapping, or lack a version.
    InvalidVectorError, VersionMismatchError, StateError
        A query is not finite; its stamp or dimension is not the version's; the version is retired.
    """
    if not isinstance(queries, Mapping):
        raise InvalidArgumentError(
            f"{where}: queries: expected a mapping of version label to vectors, found "
            f"{short_repr(queries)}"
        )
    missing = [version.label for version in versions if version.label not in queries]
    if missing:
        raise InvalidArgumentError(
            f"{where}: no queries for {', '.join(map(repr, missing))}; embed the same queries for "
            "both versions"
        )
    return [
        guard.check_queries(
            version, queries[version.label], state, where=f"{where}: queries for {version.label!r}"
        )
        for version in versions
    ]
