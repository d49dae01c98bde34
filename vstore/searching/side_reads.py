"""Canaries and shadows: routes that send a share of the queries to a second version.

In a canary, the second version answers its share of the queries. In a shadow, both versions search
that share, and the answers are compared. Sampling is by a hash of the key, or of the query without
a key, so it is sticky.

A query without a key is identified by its vector of the serving version, so that a text and its
vector are the same query. The vector's direction is rounded to two digits, and its length too if
the metric depends on it, so that neither the dtype nor a model's rounding errors change the sample.
Texts are embedded for this. If the version has no registered embedder, the text itself is hashed;
if a mapping lacks the version, the other version's vector is.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

import numpy as np
from blake3 import blake3

from vstore.embedding.embedder import Embeddings
from vstore.errors import InvalidArgumentError, StateError, VstoreError
from vstore.searching.parameters import is_text
from vstore.searching.preparing import run
from vstore.searching.resolving import VersionChoice, is_asked_aside, resolve, route_for
from vstore.searching.result_batch import SearchResults
from vstore.searching.results import PlacedAnswer, together
from vstore.segment.validation import as_array

if TYPE_CHECKING:
    from vstore.engine.handle import Handle
    from vstore.engine.snapshot import CollectionView, Snapshot
    from vstore.manifest.state import RouteState
    from vstore.query.filter import Filter
    from vstore.searching.parameters import Queries, SearchOptions
    from vstore.types import Array, BoolArray

_BUCKETS: Final = 100  # of one percent each
_DIRECTION_STEPS: Final = 100  # per unit of a unit vector's component: two digits


def search(
    handle: Handle,
    snapshot: Snapshot,
    queries: Queries,
    options: SearchOptions,
    routed: tuple[str, RouteState, Filter | None],
) -> list[PlacedAnswer]:
    """Run one search per query, by a canary route or a route with a shadow."""
    key, route, bound = routed
    view = handle.view_at(snapshot)
    resolved = resolve(view, queries, options, snapshot.state, bound)
    if isinstance(queries, Mapping):
        if not set(route.labels) & queries.keys():  # the search raises a better error
            return [together(run(handle, snapshot, queries, options, resolved, bound))]
        read = (*route.labels, route.shadow)
        queries = {label: queries[label] for label in read if label in queries}
    names = _names(handle, view, queries, options, route)
    if route.mode == "canary":
        to_new = _chosen(names, _canary_salt(handle, key), route.percent)
        results = _canary(handle, snapshot, queries, options, resolved, route, to_new, bound)
    else:
        results = [together(run(handle, snapshot, queries, options, resolved, bound))]
    if route.shadow:
        asked = _chosen(names, f"{handle.name}/{key}/shadow", route.shadow_percent)
        _shadow(handle, snapshot, queries, options, route, key, asked, bound, results)
    return results


def resolve_one(
    handle: Handle,
    snapshot: Snapshot,
    queries: Queries,
    options: SearchOptions,
    bound: Filter | None,
) -> VersionChoice:
    """Choose the versions that a single query reads; for a canary route, by the query's bucket.

    Raises what `resolving.resolve` raises.
    """
    view = handle.view_at(snapshot)
    resolved = resolve(view, queries, options, snapshot.state, bound)
    key, route = route_for(view, bound)
    if route is None or route.mode != "canary" or not is_asked_aside(options, route):
        return resolved
    if isinstance(queries, Mapping) and not set(route.labels) & queries.keys():
        return resolved  # the search raises a better error
    names = _names(handle, view, queries, options, route)
    (to_new,) = _chosen(names, _canary_salt(handle, key), route.percent).tolist()
    return _side(resolved, route, to_new=to_new)


def _canary_salt(handle: Handle, key: str) -> str:
    return f"{handle.name}/{key}/canary"


def _side(resolved: VersionChoice, route: RouteState, *, to_new: bool) -> VersionChoice:
    """Return the version that one side of a canary reads."""
    label, share = route.old_version, 100 - route.percent
    if to_new:
        label, share = route.version, route.percent
    origin = f"{resolved.origin}, whose canary gives it {share} % of the queries,"
    return resolved._replace(new=label, origin=origin)


def _canary(  # noqa: PLR0917 - as `preparing.run`
    handle: Handle,
    snapshot: Snapshot,
    queries: Queries,
    options: SearchOptions,
    resolved: VersionChoice,
    route: RouteState,
    to_new: BoolArray,
    bound: Filter | None,
) -> list[PlacedAnswer]:
    parts = []
    for mask, is_new in ((~to_new, False), (to_new, True)):
        places = np.flatnonzero(mask)
        if len(places):
            side = _side(resolved, route, to_new=is_new)
            found = run(handle, snapshot, _some(queries, mask), options, side, bound)
            parts.append(PlacedAnswer(found, places))
    return parts


def _shadow(  # noqa: PLR0917 - as `preparing.run`
    handle: Handle,
    snapshot: Snapshot,
    queries: Queries,
    options: SearchOptions,
    route: RouteState,
    key: str,
    asked: BoolArray,
    bound: Filter | None,
    results: list[PlacedAnswer],
) -> None:
    places = np.flatnonzero(asked).tolist()
    if not places:
        return
    observer = handle.observer
    shadows = observer.shadows.of(handle.name, key, route.serving, route.shadow)
    resolved = VersionChoice("matched", route.shadow, origin="the route's shadow", key=key)
    try:
        if isinstance(queries, Mapping) and route.shadow in queries:
            queries = {route.shadow: queries[route.shadow]}
        found = run(
            handle, snapshot, _some(queries, asked), options, resolved, bound, counted=False
        )
    except VstoreError:  # a failing shadow must not affect the answers
        shadows.count_missing(len(places))
        return
    every = SearchResults(results)
    for place, other in zip(places, SearchResults([together(found)]), strict=True):
        served = every[place]
        shadows.add(
            served.ids, other.ids, served_s=served.trace.seconds, shadow_s=other.trace.seconds
        )


def _names(
    handle: Handle,
    view: CollectionView,
    queries: Queries,
    options: SearchOptions,
    route: RouteState,
) -> list[bytes]:
    """Return the bytes that identify each query, for hashing; see the module.

    Raises
    ------
    InvalidArgumentError
        The number of keys is not that of queries.
    """
    count = _count(queries)
    if options.keys is not None:
        if len(options.keys) != count:
            raise InvalidArgumentError(
                f"keys: {len(options.keys)} for {count} queries; expected one for each"
            )
        return [key.encode("utf-8", "surrogatepass") for key in options.keys]
    label, vectors = route.labels[0], queries
    if isinstance(queries, list | tuple) and is_text(queries):
        texts = [str(text) for text in queries]
        shares = (route.percent if route.mode == "canary" else 0, route.shadow_percent)
        embedded = None
        if not all(share in (0, 100) for share in shares):  # else nothing is sampled
            with contextlib.suppress(StateError):  # no embedder is registered
                embedded = handle.embed_queries(view.version(label), texts)
        if embedded is None:
            return [text.encode("utf-8", "surrogatepass") for text in texts]
        vectors = embedded
    elif isinstance(queries, Mapping):
        label = next(label for label in route.labels if label in queries)
        vectors = queries[label]
    if isinstance(vectors, Embeddings):
        vectors = vectors.vectors
    with np.errstate(over="ignore"):  # the search refuses an overflow
        rows = np.ascontiguousarray(as_array(vectors, where="query"), "<f4")
    return _vector_names(rows, with_length=view.version(label).spec.metric != "cosine")


def _vector_names(rows: Array, *, with_length: bool) -> list[bytes]:
    if rows.ndim != 2:  # the search raises a better error
        return [row.tobytes() for row in rows]
    exact = np.nan_to_num(rows.astype(np.float64), posinf=0.0, neginf=0.0)
    length = np.linalg.norm(exact, axis=1, keepdims=True)
    length[length == 0] = 1.0
    digits = [np.rint(exact / length * _DIRECTION_STEPS)]
    if with_length:
        digits.append(np.rint(np.log(length) * _DIRECTION_STEPS))
    return [row.tobytes() for row in np.concatenate(digits, axis=1).astype("<i4")]


def _count(queries: Queries) -> int:
    """Return the number of queries.

    Raises
    ------
    InvalidArgumentError
        A mapping has different numbers of vectors for its versions.
    """
    if isinstance(queries, Mapping):
        counts = {_count(value) for value in queries.values()}
        if len(counts) > 1:
            raise InvalidArgumentError("queries: different numbers of vectors for the versions")
        return counts.pop()
    return len(queries.vectors) if isinstance(queries, Embeddings) else len(queries)


def _chosen(names: list[bytes], salt: str, percent: int) -> BoolArray:
    """Return the mask of names whose hash falls into the first ``percent`` buckets."""
    start = blake3(salt.encode() + b"\0")
    buckets = []
    for name in names:
        hasher = start.copy()
        hasher.update(name)
        buckets.append(int.from_bytes(hasher.digest()[:8], "little") % _BUCKETS)
    return np.array(buckets, np.int64) < percent


def _some(queries: Queries, mask: BoolArray) -> Queries:
    """Return the queries at which the mask is set."""
    if isinstance(queries, Mapping):
        return {label: _some(value, mask) for label, value in queries.items()}  # type: ignore[misc]
    if isinstance(queries, Embeddings):
        return Embeddings(queries.spec, as_array(queries.vectors, where="query")[mask])
    if is_text(queries):
        return [text for text, wanted in zip(queries, mask.tolist(), strict=True) if wanted]
    return np.asarray(as_array(queries, where="query")[mask])
