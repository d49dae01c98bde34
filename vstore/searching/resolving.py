"""Choice of the versions that a search reads, by caller or route, and of the query vectors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple

from vstore.deferred import Deferred
from vstore.errors import MissingQueryVectorError, StateError
from vstore.fusions import DEFAULT_FUSION
from vstore.guarding import spec_check as guard
from vstore.query.reads import Bridge, Cascade
from vstore.searching.parameters import is_text

if TYPE_CHECKING:
    from vstore.embedding import embedder as embedders
    from vstore.embedding.embedder import Embeddings
    from vstore.engine.handle import Handle
    from vstore.engine.snapshot import CollectionView
    from vstore.manifest import route_edits as routing
    from vstore.manifest.state import ReadMode, RouteState, StoreState
    from vstore.query import implied_values as slices
    from vstore.query.filter import Filter
    from vstore.query.fusion.rules import FusionFunction
    from vstore.query.reads import Read
    from vstore.searching.parameters import Queries, SearchOptions
    from vstore.types import Array
else:  # loaded late: a search by a vector without a filter does not need these
    embedders = Deferred("vstore.embedding.embedder")
    routing = Deferred("vstore.manifest.route_edits")
    slices = Deferred("vstore.query.implied_values")


class VersionChoice(NamedTuple):
    """The versions that a search reads.

    Attributes
    ----------
    mode : {"matched", "dual", "cascade", "bridge"}
    new : str
        The version to read; in a read of two, the new one.
    old : str | None
        The old version in a read of two; over a bridge, the version whose queries are mapped.
    origin : str
        Chooser of the versions, for people.
    key : str
        Key of the route that chose the versions, or would have.
    """

    mode: ReadMode
    new: str
    old: str | None = None
    fusion: str | FusionFunction = ""
    origin: str = "the caller"
    key: str = ""

    @property
    def reads(self) -> tuple[str, ...]:
        """Labels of the versions whose rows are read, the old one first."""
        if self.old is None or self.mode == "bridge":
            return (self.new,)
        return self.old, self.new


def route_for(view: CollectionView, bound: Filter | None) -> tuple[str, RouteState | None]:
    """Return the key and the route that apply to a filter's documents."""
    routes = view.whole.state.routes  # a filter may name a tenant within the scope
    if len(routes) > 1 and bound is not None:
        field = routing.route_field(routes)
        # The first value decides: the scope's if it has one. Two different values match nothing.
        value = next((v for name, v in slices.implied_values(bound) if name == field), None)
        key = "" if field is None or value is None else routing.route_key(field, value)
        if key in routes and view.may_tell_route(key, bound):
            return key, routes[key]
    return "", routes.get("")


def resolve(
    view: CollectionView,
    queries: Queries,
    options: SearchOptions,
    state: StoreState,
    bound: Filter | None,
) -> VersionChoice:
    """Choose the versions that a search reads; for a canary route, the old version.

    Parameters
    ----------
    bound : Filter, optional
        The search's filter, the handle's scope included.

    Raises
    ------
    StateError
        The collection has no version yet; or a read names no old version, and no version but its
        new one serves.
    VersionMismatchError
        The query is a bare array, and its version is ambiguous.
    """
    key, route = route_for(view, bound)
    if options.version is not None:
        return VersionChoice("matched", options.version, key=key)
    if options.read is not None:
        return _as_said(options.read, route, key)
    if route is None:
        raise StateError(f"collection {view.whole.state.name!r} has no version to search yet")
    if not isinstance(queries, embedders.Embeddings | Mapping) and not is_text(queries):
        guard.require_label(None, view.whole.state, where="query")
    origin = f"the route of {key}" if key else "the route"
    if route.mode == "canary":
        return VersionChoice("matched", route.old_version, origin=origin, key=key)
    if route.mode == "matched":
        return VersionChoice("matched", route.version, origin=origin, key=key)
    return VersionChoice(route.mode, route.version, route.old_version, route.fusion, origin, key)


def is_asked_aside(options: SearchOptions, route: RouteState | None) -> bool:
    """Whether a search's route is a canary or has a shadow."""
    if route is None or options.version is not None or options.read is not None:
        return False
    return route.mode == "canary" or bool(route.shadow)


def _as_said(read: Read, route: RouteState | None, key: str) -> VersionChoice:
    """Return the versions of a caller's read; the old one defaults to the serving version."""
    if isinstance(read, Bridge):
        return VersionChoice("bridge", read.version, read.source, key=key)
    old = read.old
    if old is None and route is not None:
        old = route.serving
    if old is None or old == read.new:
        found = "no version serves" if old is None else f"{old!r} serves"
        raise StateError(f"read={read!r:.120}: {found}; name the old version, old=")
    if isinstance(read, Cascade):
        return VersionChoice("cascade", read.new, old, key=key)
    return VersionChoice(
        "dual", read.new, old, DEFAULT_FUSION if read.fusion is None else read.fusion, key=key
    )


def has_vectors(view: CollectionView, queries: Queries, label: str, state: StoreState) -> bool:
    """Whether queries have vectors for a version, or are texts to embed."""
    if isinstance(queries, Mapping):
        return label in queries
    if isinstance(queries, embedders.Embeddings):
        known = state.equivalent(view.version(label).spec.fingerprint)
        return queries.spec.fingerprint in known
    return is_text(queries)


def vectors_for(
    handle: Handle,
    view: CollectionView,
    queries: Queries,
    label: str,
    state: StoreState,
    *,
    several: bool,
) -> Array | Embeddings:
    """Return the query vectors for one version.

    Parameters
    ----------
    several : bool
        Whether the search needs vectors for other versions too.

    Raises
    ------
    MissingQueryVectorError
        There are no vectors, and no embedder to make them.
    """
    if is_text(queries):
        return handle.embed_queries(view.version(label), queries)  # type: ignore[arg-type]
    given = isinstance(queries, Mapping)
    # A stamp of another version of the collection means a missing vector. A stamp of no version
    # goes on to the guard, whose error gives the differences.
    if given or (
        several
        and isinstance(queries, embedders.Embeddings)
        and any(has_vectors(view, queries, other, state) for other in view.whole.state.versions)
    ):
        if not has_vectors(view, queries, label, state):
            spec = view.version(label).spec
            found = ", ".join(map(repr, queries)) if given else repr(queries.spec.model)  # type: ignore[union-attr,arg-type]
            raise MissingQueryVectorError(label, model=spec.model, found=found or "none")
        return queries[label] if given else queries  # type: ignore[index,call-overload,return-value]
    if several and not isinstance(queries, embedders.Embeddings):
        raise MissingQueryVectorError(
            label, model=view.version(label).spec.model, found="one version, which it does not name"
        )
    return queries  # type: ignore[return-value]  # text was handled above
