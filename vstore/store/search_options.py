"""What a caller may say about a search, checked."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Literal, TypeAlias

import numpy as np

from vstore.deferred import Deferred
from vstore.errors import InvalidArgumentError, InvalidVectorError
from vstore.limits import POOL_MAX, THREADS_MAX
from vstore.named import NamedTuple
from vstore.native.flavour import processors
from vstore.query.paths import ANY, RECALL_DEFAULT, Wanted
from vstore.segment.ids import is_unordered
from vstore.segment.validation import as_array

if TYPE_CHECKING:
    from vstore.query.filter import Filter
    from vstore.query.fusion import FusionName
    from vstore.store import embedder as embedders
    from vstore.store.embedder import Embeddings
    from vstore.types import Array
else:  # what a search by a vector does not need
    embedders = Deferred("vstore.store.embedder")

Query: TypeAlias = "str | Array | Embeddings | Mapping[str, Array | Embeddings]"
Queries: TypeAlias = "Sequence[str] | Array | Embeddings | Mapping[str, Array | Embeddings]"
Where: TypeAlias = "Filter | Mapping[str, object] | None"
Mode: TypeAlias = Literal["matched", "dual", "cascade", "bridge"]


class SearchOptions(NamedTuple):
    """What a caller may say about a search.

    Attributes
    ----------
    keys : tuple[str, ...] | None
        One for each query: whose it is. A canary sends the same key to the same version.
    family : str
        What kind of query it is, for the metrics.
    """

    version: str | None = None
    k: int = 10
    where: Where = None
    mode: Mode | None = None
    old_version: str | None = None
    fusion: FusionName | None = None
    collapse: bool = True
    wanted: Wanted = ANY
    keys: tuple[str, ...] | None = None
    family: str = ""


def wanted_of(
    recall: float | None, *, exact: bool, ef_search: int | None, threads: int | None = 1
) -> Wanted:
    """Return what a caller asks of a search besides k.

    Raises
    ------
    InvalidArgumentError
    """
    if exact + (recall is not None) + (ef_search is not None) > 1:
        raise InvalidArgumentError("recall, exact, ef_search: expected one of them")
    if recall is not None and not _is_share(recall):
        raise InvalidArgumentError(
            f"recall: expected a share above 0 up to 1, found {recall!r:.60}"
        )
    if recall is None and ef_search is None and not exact and threads == 1:
        return ANY
    for name, value, most in (
        ("ef_search", ef_search, POOL_MAX),
        ("threads", threads, THREADS_MAX),
    ):
        if value is not None and not (type(value) is int and 1 <= value <= most):
            raise InvalidArgumentError(f"{name}: expected 1 to {most:,}, found {value!r:.60}")
    return Wanted(
        RECALL_DEFAULT if recall is None else float(recall),
        bool(exact),
        ef_search,
        threads or processors(),
    )


def _is_share(value: object) -> bool:
    return isinstance(value, int | float) and 0 < value <= 1


def keys_of(keys: Iterable[str] | None) -> tuple[str, ...] | None:
    """Return the keys of some queries, checked.

    Raises
    ------
    InvalidArgumentError
    """
    if keys is None:
        return None
    found: object = keys  # callers without a type checker pass anything
    if isinstance(found, Iterable) and not isinstance(found, str) and not is_unordered(found):
        given = tuple(found)
        if all(isinstance(key, str) for key in given):
            return given
    raise InvalidArgumentError(f"keys: expected a str for each query, found {keys!r:.80}")


def one_query(query: Query) -> Queries:
    """Return one query as a batch of one."""
    if type(query) is np.ndarray:  # first, as a search by a vector needs no Embeddings
        return _row(query)
    if isinstance(query, str):
        return [query]
    if isinstance(query, embedders.Embeddings):
        return embedders.Embeddings(query.spec, _row(query.vectors))
    if isinstance(query, Mapping):
        return {
            label: embedders.Embeddings(q.spec, _row(q.vectors))
            if isinstance(q, embedders.Embeddings)
            else _row(q)
            for label, q in query.items()
        }
    return _row(query)


def _row(vector: Array) -> Array:
    if type(vector) is np.ndarray and vector.ndim == 1:  # the guard sees to the rest
        return vector[None]
    array = as_array(vector, where="query")
    if array.ndim != 1:
        raise InvalidVectorError(
            f"query: expected one vector, found shape {array.shape}; use search_batch() for several"
        )
    return array[None]
