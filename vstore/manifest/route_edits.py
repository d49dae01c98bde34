"""Routes: which versions answer a query that names none; changes as pure functions.

Every change is one function from collection state to collection state. A collection has a default
route, and may have others for the values of one keyword field, its tenants say. A route remembers
what served before it, so that a rollback knows where to go.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol

from vstore.errors import GateError, InvalidArgumentError, StateError
from vstore.manifest.state import Evidence, RouteState

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from vstore.manifest.edits import Moment
    from vstore.manifest.state import CollectionState, ReadMode, VersionState

DEFAULT_ROUTE: Final = ""
_PREVIOUS_MAX: Final = 16  # rollbacks that stay possible


class GateMeasurement(Protocol):
    """A gate's measurement before a cutover: what it found, and what it asks for."""

    @property
    def name(self) -> str:
        """The gate's name."""
        ...

    @property
    def measured(self) -> float:
        """What it found."""
        ...

    @property
    def required(self) -> float:
        """What it asks for."""
        ...

    @property
    def passed(self) -> bool:
        """Whether it lets the cutover pass."""
        ...


def route_key(field: str, value: str) -> str:
    """Return the key of the route for a field's value."""
    return f"{field}={value}"


def route_field(routes: Mapping[str, RouteState]) -> str | None:
    """Return the field whose values have routes of their own; None if there are none."""
    return next((key.partition("=")[0] for key in routes if key), None)


def route_of(collection: CollectionState, key: str = DEFAULT_ROUTE) -> RouteState:
    """Return a route: its own, or the default one.

    Raises
    ------
    StateError
        The collection has no version yet.
    """
    route = collection.routes.get(key) or collection.routes.get(DEFAULT_ROUTE)
    if route is None:
        raise StateError(f"collection {collection.name!r} has no version yet")
    return route


def first_route(collection: CollectionState, label: str, moment: Moment) -> CollectionState:
    """Let the first version of a collection serve it."""
    route = RouteState("matched", label, "", "", moment.epoch, moment.time_us, moment.reason)
    return _with_route(collection, DEFAULT_ROUTE, route)


def read_two(
    collection: CollectionState,
    mode: ReadMode,
    new: str,
    moment: Moment,
    *,
    key: str = DEFAULT_ROUTE,
    fusion: str = "",
    percent: int = 0,
    source: str | None = None,
) -> CollectionState:
    """Route to a read of the serving version and a new one.

    Parameters
    ----------
    mode : {"dual", "cascade", "bridge", "canary"}
    source : str, optional
        Of a bridge the version whose queries are mapped; otherwise the serving one is read.

    Raises
    ------
    StateError
        The new version is retired or serves already, or nothing serves yet.
    """
    route = route_of(collection, key)
    _require_open(collection, new)
    served = route.serving
    old = served if source is None else source
    _require_open(collection, old)
    if new == old:
        raise StateError(f"version {new!r} serves already; a {mode} read needs another one")
    previous = route.previous
    if mode == "bridge" and new != served:
        previous = (*previous, served)  # of the two the new version answers
    return _with_route(
        collection,
        key,
        RouteState(
            mode,
            new,
            old,
            fusion,
            moment.epoch,
            moment.time_us,
            moment.reason,
            previous=previous[-_PREVIOUS_MAX:],
            by=moment.by,
            percent=percent,
        ),
    )


def shadow(
    collection: CollectionState,
    label: str,
    percent: int,
    moment: Moment,
    *,
    key: str = DEFAULT_ROUTE,
) -> CollectionState:
    """Also ask a version, of a share of the queries; an empty label for none.

    Raises
    ------
    StateError
        The version is retired, or read already.
    """
    route = route_of(collection, key)
    if label:
        _require_open(collection, label)
        if label in route.labels:
            raise StateError(f"version {label!r} is read by the route; shadow another one")
    shadowed = route._replace(
        shadow=label,
        shadow_percent=percent if label else 0,
        since_epoch=moment.epoch,
        since_us=moment.time_us,
        reason=moment.reason,
        by=moment.by,
    )
    return collection._replace(routes={**collection.routes, key: shadowed})


def cut_over(
    collection: CollectionState,
    new: str,
    *,
    gates: Sequence[GateMeasurement],
    force: bool,
    moment: Moment,
    key: str = DEFAULT_ROUTE,
) -> CollectionState:
    """Let a version serve alone.

    Parameters
    ----------
    gates : sequence of GateMeasurement
        What was measured.
    force : bool
        Go on in spite of gates that fail; needs a reason, which is recorded.

    Raises
    ------
    GateError, StateError, InvalidArgumentError
        A gate does not pass and it is not forced; the version serves already or is retired; it is
        forced without a reason.
    """
    _require_open(collection, new)
    own = collection.routes.get(key)
    if own is not None and own.mode == "matched" and own.version == new:
        raise StateError(f"version {new!r} serves already")
    failures = [gate for gate in gates if not gate.passed]
    if failures and not force:
        raise GateError(
            f"cutover to {new!r} refused: {'; '.join(map(str, failures))}. "
            "Finish the backfill, or pass force=True with a reason.",
            measured={gate.name: gate.measured for gate in gates},
        )
    if force and not moment.reason:
        raise InvalidArgumentError("cutover: force=True needs a reason=, which is recorded")
    route = collection.routes.get(key) or collection.routes.get(DEFAULT_ROUTE)
    previous: tuple[str, ...] = ()
    if route is not None:
        # Ending a dual read in favour of its old version leaves the chain as it was.
        served = route.serving
        previous = route.previous if served == new else (*route.previous, served)
    return _with_route(
        collection,
        key,
        RouteState(
            "matched",
            new,
            "",
            "",
            moment.epoch,
            moment.time_us,
            moment.reason,
            forced=bool(failures),
            previous=previous[-_PREVIOUS_MAX:],
            by=moment.by,
            evidence=tuple(
                Evidence(gate.name, float(gate.measured), float(gate.required), gate.passed)
                for gate in gates
            ),
        ),
    )


def roll_back(
    collection: CollectionState, moment: Moment, *, key: str = DEFAULT_ROUTE
) -> CollectionState:
    """Return to the version that served before; from a read of two, to the one that serves.

    Raises
    ------
    StateError
        There is none, or it is retired.
    """
    route = route_of(collection, key)
    if route.mode not in ("matched", "bridge"):
        target, previous = route.serving, route.previous
    elif route.previous:
        target, previous = route.previous[-1], route.previous[:-1]
    else:
        raise StateError(f"collection {collection.name!r}: nothing served before {route.version!r}")
    _require_open(collection, target)
    return _with_route(
        collection,
        key,
        RouteState(
            "matched",
            target,
            "",
            "",
            moment.epoch,
            moment.time_us,
            moment.reason,
            previous=previous,
            by=moment.by,
        ),
    )


def follow_default(collection: CollectionState, key: str) -> CollectionState:
    """Drop a tenant's own route.

    Raises
    ------
    StateError
        It has none.
    """
    if not key or key not in collection.routes:
        raise StateError(f"collection {collection.name!r} has no route of its own for {key!r}")
    routes = {other: route for other, route in collection.routes.items() if other != key}
    return collection._replace(routes=routes)


def retire(collection: CollectionState, label: str, moment: Moment) -> CollectionState:
    """End a version: it takes no writes and answers nothing; a vacuum drops its vectors.

    Raises
    ------
    StateError
        A route reads it, or it is retired already.
    """
    version = _require_open(collection, label)
    routes = {}
    for key, route in collection.routes.items():
        if label in (*route.labels, route.shadow):
            whose = f" for {key}" if key else ""
            raise StateError(f"version {label!r} serves{whose}; cut over to another one first")
        routes[key] = route._replace(previous=tuple(p for p in route.previous if p != label))
    jobs = {target: job for target, job in collection.jobs.items() if target != label}
    retired = version._replace(retired_us=moment.time_us)
    return collection._replace(
        routes=routes, jobs=jobs, versions={**collection.versions, label: retired}
    )


def _require_open(collection: CollectionState, label: str) -> VersionState:
    version = collection.versions[label]
    if version.retired_us is not None:
        raise StateError(f"version {label!r} is retired")
    return version


def _with_route(collection: CollectionState, key: str, route: RouteState) -> CollectionState:
    """Put a route in place; a shadow stays until it is ended, or read."""
    before = collection.routes.get(key)
    if before is not None and not route.shadow and before.shadow not in route.labels:
        route = route._replace(shadow=before.shadow, shadow_percent=before.shadow_percent)
    return collection._replace(routes={**collection.routes, key: route})
