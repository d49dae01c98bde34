"""Routes and jobs: every change a pure function from collection state to collection state."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from vstore.errors import GateError, InvalidArgumentError, StateError
from vstore.manifest.state import JobState, RouteState

if TYPE_CHECKING:
    from collections.abc import Mapping

    from vstore.manifest.edits import Moment
    from vstore.manifest.state import CollectionState, VersionState

DEFAULT_ROUTE: Final = ""
_PREVIOUS_MAX: Final = 16  # rollbacks that stay possible


def first_route(collection: CollectionState, label: str, moment: Moment) -> CollectionState:
    """Let the first version of a collection serve it."""
    route = RouteState("matched", label, "", "", moment.epoch, moment.time_us, moment.reason)
    return _with_route(collection, route)


def read_both(
    collection: CollectionState, new: str, *, fusion: str, moment: Moment
) -> CollectionState:
    """Route to a dual read of the serving version and a new one.

    Raises
    ------
    StateError
        The new version is retired or serves already, or nothing serves yet.
    """
    route = current_route(collection)
    _require_open(collection, new)
    old = route.labels[0]
    if new == old:
        raise StateError(f"version {new!r} serves already; a dual read needs another one")
    return _with_route(
        collection,
        RouteState(
            "dual",
            new,
            old,
            fusion,
            moment.epoch,
            moment.time_us,
            moment.reason,
            previous=route.previous,
        ),
    )


def cut_over(
    collection: CollectionState,
    new: str,
    *,
    failures: Mapping[str, str],
    measured: Mapping[str, float],
    force: bool,
    moment: Moment,
) -> CollectionState:
    """Let a version serve alone.

    Parameters
    ----------
    failures : Mapping[str, str]
        What each gate that does not pass found.
    measured : Mapping[str, float]
        What every gate measured.
    force : bool
        Go on in spite of failures; needs a reason, which is recorded.

    Raises
    ------
    GateError, StateError, InvalidArgumentError
    """
    _require_open(collection, new)
    route = collection.routes.get(DEFAULT_ROUTE)
    if route is not None and route.mode == "matched" and route.version == new:
        raise StateError(f"version {new!r} serves already")
    if failures and not force:
        raise GateError(
            f"cutover to {new!r} refused: {'; '.join(failures.values())}. "
            "Finish the backfill, or pass force=True with a reason.",
            measured=measured,
        )
    if force and not moment.reason:
        raise InvalidArgumentError("cutover: force=True needs a reason=, which is recorded")
    previous: tuple[str, ...] = ()
    if route is not None:
        # Ending a dual read in favour of its old version leaves the chain as it was.
        served = route.labels[0]
        previous = route.previous if served == new else (*route.previous, served)
    return _with_route(
        collection,
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
        ),
    )


def roll_back(collection: CollectionState, moment: Moment) -> CollectionState:
    """Return to the version that served before; from a dual read, to its old version.

    Raises
    ------
    StateError
        There is none, or it is retired.
    """
    route = current_route(collection)
    if route.mode == "dual":
        target, previous = route.old_version, route.previous
    elif route.previous:
        target, previous = route.previous[-1], route.previous[:-1]
    else:
        raise StateError(f"collection {collection.name!r}: nothing served before {route.version!r}")
    _require_open(collection, target)
    return _with_route(
        collection,
        RouteState(
            "matched",
            target,
            "",
            "",
            moment.epoch,
            moment.time_us,
            moment.reason,
            previous=previous,
        ),
    )


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
        if label in route.labels:
            raise StateError(f"version {label!r} serves; cut over to another one first")
        routes[key] = route._replace(previous=tuple(p for p in route.previous if p != label))
    jobs = {target: job for target, job in collection.jobs.items() if target != label}
    retired = version._replace(retired_us=moment.time_us)
    return collection._replace(
        routes=routes, jobs=jobs, versions={**collection.versions, label: retired}
    )


def start_job(collection: CollectionState, target: str, moment: Moment) -> CollectionState:
    """Record that a version is being filled; one that runs already goes on."""
    _require_open(collection, target)
    job = collection.jobs.get(target)
    if job is not None and job.status == "running":
        return collection
    route = collection.routes.get(DEFAULT_ROUTE)
    source = "" if route is None or route.labels[0] == target else route.labels[0]
    started = JobState(target, source, "running", moment.epoch, moment.time_us)
    return collection._replace(jobs={**collection.jobs, target: started})


def record_batch(
    collection: CollectionState, target: str, *, done: int, skipped: int
) -> CollectionState:
    """Count one batch of a running job."""
    job = collection.jobs[target]
    counted = job._replace(
        batches=job.batches + 1,
        documents_done=job.documents_done + done,
        documents_skipped=job.documents_skipped + skipped,
    )
    return collection._replace(jobs={**collection.jobs, target: counted})


def finish_job(collection: CollectionState, target: str) -> CollectionState:
    """Record that nothing is left to fill."""
    job = collection.jobs[target]._replace(status="done")
    return collection._replace(jobs={**collection.jobs, target: job})


def current_route(collection: CollectionState) -> RouteState:
    """Return the default route.

    Raises
    ------
    StateError
        The collection has no version yet.
    """
    route = collection.routes.get(DEFAULT_ROUTE)
    if route is None:
        raise StateError(f"collection {collection.name!r} has no version yet")
    return route


def _require_open(collection: CollectionState, label: str) -> VersionState:
    version = collection.versions[label]
    if version.retired_us is not None:
        raise StateError(f"version {label!r} is retired")
    return version


def _with_route(collection: CollectionState, route: RouteState) -> CollectionState:
    return collection._replace(routes={**collection.routes, DEFAULT_ROUTE: route})
