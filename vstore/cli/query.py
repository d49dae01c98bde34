"""A query from the command line: numbers, a file of them, or text."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from vstore.cli.hashing import require_hashing
from vstore.cli.json_argument import json_argument
from vstore.cli.vector_file import open_vectors
from vstore.errors import InvalidArgumentError
from vstore.query.reads import Dual

if TYPE_CHECKING:
    from vstore.api.collection import Collection
    from vstore.types import Array


@dataclass(frozen=True, slots=True)
class QueryOptions:
    """What the search options say, as they were typed."""

    query: str | None
    old_query: str | None
    text: str | None
    row: int | None
    version: str | None
    old_version: str | None
    fusion: str | None
    k: int
    where: str | None
    chunks: bool
    key: str | None


def search_arguments(collection: Collection, options: QueryOptions) -> dict[str, Any]:
    """Return the arguments of `Collection.search` that the options stand for.

    Raises
    ------
    InvalidArgumentError
        Not one of --query and --text is given, or a value is not JSON.
    """
    where = None if options.where is None else json_argument(options.where, name="--where")
    arguments = {
        "query": _query(collection, options),
        "k": options.k,
        "where": where,
        "collapse": not options.chunks,
        "key": options.key,
    }
    if options.old_version is None:
        if options.fusion is not None:
            raise InvalidArgumentError(
                "--fusion: of a dual read; name its versions, with --old-version"
            )
        return {**arguments, "version": options.version}
    if options.version is None:
        raise InvalidArgumentError("--old-version: of a dual read; name the new one with --version")
    rule: Any = options.fusion  # the engine checks it
    return {**arguments, "read": Dual(options.version, old=options.old_version, fusion=rule)}


def _query(collection: Collection, options: QueryOptions) -> object:
    if (options.query is None) == (options.text is None):
        raise InvalidArgumentError("the query: pass --query or --text, one of the two")
    if options.text is not None:
        for label in _versions_read(collection, options):
            embedder = require_hashing(collection.versions[label], option="--text")
            collection.store.register_embedder(embedder)
        return options.text
    assert options.query is not None
    if options.version is None:
        known = ", ".join(collection.versions) or "none yet"
        raise InvalidArgumentError(
            "--query: bare numbers do not say which model made them; name its version with "
            f"--version ({known})"
        )
    vector = _vector(options.query, options.row, name="--query")
    if options.old_version is None:
        return vector
    if options.old_query is None:
        raise InvalidArgumentError(
            "a dual read needs a vector of each version: --query with --version, and --old-query "
            "with --old-version"
        )
    old_vector = _vector(options.old_query, options.row, name="--old-query")
    return {options.version: vector, options.old_version: old_vector}


def _versions_read(collection: Collection, options: QueryOptions) -> tuple[str, ...]:
    if options.version is None:
        return collection.routes.current.labels
    named = (options.old_version, options.version)
    return tuple(label for label in named if label is not None)


def _vector(value: str, row: int | None, *, name: str) -> Array:
    if not value.lstrip().startswith("["):
        return _row(open_vectors(Path(value)), row, name=f"{name} {value}")
    numbers = json_argument(value, name=name)
    assert isinstance(numbers, list), "it starts with a bracket"
    try:
        if all(type(number) in (int, float) and math.isfinite(number) for number in numbers):
            return np.array(numbers, np.float64)
    except OverflowError:  # JSON has numbers of any length
        pass
    raise InvalidArgumentError(f"{name}: expected a list of numbers, found {value!r:.60}")


def _row(array: Array, row: int | None, *, name: str) -> Array:
    if array.ndim == 1 and row is None:
        return np.asarray(array)
    if array.ndim == 2 and (row is not None or len(array) == 1):
        row = row or 0
        if row < len(array):
            return np.asarray(array[row])
    raise InvalidArgumentError(
        f"{name}: expected one vector, found shape {array.shape}"
        + ("; choose a row with --row" if row is None else f" and --row {row}")
    )
