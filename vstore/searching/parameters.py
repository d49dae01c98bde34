"""Search options from a caller, checked."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, KeysView, Mapping, Sequence, ValuesView
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

import numpy as np

from vstore.deferred import Deferred
from vstore.errors import InvalidArgumentError, InvalidVectorError, LimitExceededError
from vstore.limits import K_MAX, POOL_MAX
from vstore.names import require_text
from vstore.query.paths import ANY, RECALL_DEFAULT, Accuracy
from vstore.query.reads import Bridge, Cascade, Dual, checked_read
from vstore.segment.copies import drawn_copies
from vstore.segment.ids import is_unordered
from vstore.segment.validation import as_array

if TYPE_CHECKING:
    from vstore import numbers
    from vstore.embedding import embedder as embedders
    from vstore.embedding.embedder import Embeddings
    from vstore.engine.handle import Handle
    from vstore.query.filter import Where
    from vstore.query.reads import Read
    from vstore.types import Array
else:  # loaded late: a search by a vector does not need these
    embedders = Deferred("vstore.embedding.embedder")
    numbers = Deferred("vstore.numbers")

Query: TypeAlias = "str | Array | Embeddings | Mapping[str, Array | Embeddings]"
Queries: TypeAlias = "Sequence[str] | Array | Embeddings | Mapping[str, Array | Embeddings]"


@dataclass(frozen=True, slots=True)
class EfSearch:
    """Effort of graph searches, in place of a recall.

    Attributes
    ----------
    ef : int
        Size of the candidate pool, 1 to `POOL_MAX`; a larger pool also rescores more candidates
        with their vectors.
    """

    ef: int


Recall: TypeAlias = float | EfSearch


class SearchOptions(NamedTuple):
    """Options of a search.

    Attributes
    ----------
    keys : tuple[str, ...] | None
        One for each query, for example the user. A canary is sticky by key.
    family : str
        Kind of query, for the metrics.
    """

    version: str | None = None
    k: int = 10
    where: Where = None
    read: Read | None = None
    collapse: bool = True
    accuracy: Accuracy = ANY
    keys: tuple[str, ...] | None = None
    family: str = ""


def search_options(
    handle: Handle,
    *,
    version: str | None,
    read: Read | None,
    k: int,
    where: Where,
    recall: Recall | None,
    collapse: bool = True,
    keys: Iterable[str] | None = None,
    family: str = "",
    threads: int = 1,
) -> SearchOptions:
    """Return a caller's options, checked.

    Raises
    ------
    InvalidArgumentError, LimitExceededError
        An argument is invalid, arguments contradict each other, or ``k`` is too large.
    """
    if read is not None:
        read = _checked_read(read, version)
    elif version is None:
        version = handle.version
    elif type(version) is not str:
        version = label_of(version)
    return SearchOptions(
        version,
        check_k(k),
        where,
        read,
        check_collapse(collapse),
        ANY if recall is None and threads == 1 else _accuracy(recall, threads),
        None if keys is None else keys_of(keys),
        check_family(family),
    )


def bound_queries(handle: Handle, queries: Queries) -> Queries:
    """Return queries by label, where a handle that is bound to a version says whose bare ones are.

    For reads of several versions; options of a search of one say so by its label.
    """
    if handle.version is None or isinstance(queries, embedders.Embeddings | Mapping):
        return queries
    return queries if is_text(queries) else {handle.version: queries}  # type: ignore[dict-item]


def is_text(queries: object) -> bool:
    """Whether queries are texts, to be embedded."""
    return isinstance(queries, list | tuple) and all(isinstance(query, str) for query in queries)


def _checked_read(read: object, version: str | None) -> Read:
    """Return a checked read of several versions, with labels of type str."""
    if not isinstance(read, Dual | Cascade | Bridge):
        raise InvalidArgumentError(
            f"read: expected a Dual, Cascade or Bridge, found {read!r:.80}; version= reads one"
        )
    if version is not None:
        raise InvalidArgumentError(f"version={version!r:.60}: read={read!r:.120} names its own")
    return checked_read(read)


def _accuracy(recall: Recall | None, threads: int) -> Accuracy:
    """Return accuracy options from ``recall`` and ``threads``."""
    if isinstance(recall, EfSearch):
        ef = numbers.check_whole(recall.ef, what="recall: ef", least=1, most=POOL_MAX)
        return Accuracy(ef_search=ef, threads=threads)
    share = RECALL_DEFAULT if recall is None else _share(recall)
    return Accuracy(share, threads=threads)


def _share(value: object) -> float:
    found = numbers.check_number(value, what="recall")
    if not 0 < found <= 1:
        raise InvalidArgumentError(f"recall: expected a share above 0 up to 1, found {found:g}")
    return found


def label_of(label: str | None) -> str | None:
    """Return a label as a plain str: it is cached, and other callers may see it."""
    return str.__str__(label) if isinstance(label, str) else label


def check_k(k: object) -> int:
    """Return the number of hits wanted.

    Raises
    ------
    InvalidArgumentError, LimitExceededError
        ``k`` is not a whole number of at least 1; it is above `K_MAX`.
    """
    found = k if type(k) is int and k > 0 else numbers.check_whole(k, what="k", least=1)
    if found > K_MAX:
        raise LimitExceededError("k", limit="K_MAX", found=found, allowed=K_MAX)
    return found


def check_collapse(collapse: object) -> bool:
    """Return whether hits are documents, as a Python bool; 1 is refused, although it equals True.

    Raises
    ------
    InvalidArgumentError
        ``collapse`` is neither True nor False.
    """
    if collapse is True or collapse is False:  # fast path, a tenth of the time
        return collapse
    return numbers.check_switch(collapse, what="collapse")


def keys_of(keys: Iterable[str] | None) -> tuple[str, ...] | None:
    """Return the keys of a batch of queries, checked.

    Raises
    ------
    InvalidArgumentError
        The keys are not a sequence of str.
    """
    if keys is None:
        return None
    found: object = keys  # callers without a type checker pass anything
    if isinstance(found, Iterable) and not isinstance(found, str) and not is_unordered(found):
        given = tuple(found)
        if all(isinstance(key, str) for key in given):
            return given
    raise InvalidArgumentError(f"keys: expected a str for each query, found {keys!r:.80}")


def check_family(family: object) -> str:
    """Return the family of a query, checked.

    Raises
    ------
    InvalidArgumentError
        The family is not text, so it cannot be a key of metrics.
    """
    return family if type(family) is str else require_text(family, what="family")


def several_queries(queries: Queries) -> Queries:
    """Return a batch of queries that can be iterated more than once.

    Raises
    ------
    InvalidArgumentError
        The queries are a set: results could not be matched to them.
    """
    if type(queries) is np.ndarray and queries.dtype.kind != "U":
        return queries
    if is_unordered(queries):
        raise InvalidArgumentError(
            f"queries: expected a sequence, found a {type(queries).__name__}"
        )
    if isinstance(queries, embedders.Embeddings):
        return embedders.Embeddings(queries.spec, _kept(queries.vectors))  # type: ignore[arg-type]  # checked later
    if isinstance(queries, Mapping):
        return {label: several_queries(one) for label, one in queries.items()}  # type: ignore[misc]
    return _kept(queries)  # type: ignore[return-value]  # checked later


def _kept(queries: object) -> object:
    if isinstance(queries, np.ndarray) and queries.dtype.kind == "U":
        return queries.tolist()
    if isinstance(queries, Iterator):
        return drawn_copies(queries)
    if isinstance(queries, KeysView | ValuesView):
        return list(queries)
    return queries


def one_query(query: Query) -> Queries:
    """Return one query as a batch of one."""
    if type(query) is np.ndarray:  # first, so that a search by a vector does not load Embeddings
        return _row(query)
    if isinstance(query, str):
        return [query]
    if isinstance(query, dict | Mapping):  # dict first: the check of Mapping is slow
        return {label: _one(vector) for label, vector in query.items()}
    return _one(query)


def _one(vector: Array | Embeddings) -> Array | Embeddings:
    if type(vector) is not np.ndarray and isinstance(vector, embedders.Embeddings):
        return embedders.Embeddings(vector.spec, _row(vector.vectors))
    return _row(vector)


def _row(vector: Array) -> Array:
    if type(vector) is np.ndarray and vector.ndim == 1:  # the guard checks dtype and values
        return vector[None]
    array = as_array(vector, where="query")
    if array.ndim != 1:
        raise InvalidVectorError(
            f"query: expected one vector, found shape {array.shape}; use search_batch() for several"
        )
    return array[None]
