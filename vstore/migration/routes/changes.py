"""Changes of routes, one commit each; through a scoped handle, of one tenant's route.

The decisions are pure functions in `manifest.route_edits`; this module applies them to the store.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from vstore.errors import InvalidArgumentError, StateError
from vstore.fusions import BRIDGED, DEFAULT_FUSION
from vstore.limits import ROUTE_KEY_BYTES_MAX, ROUTES_MAX
from vstore.manifest import route_edits as routing
from vstore.manifest.commit import Operation
from vstore.manifest.edits import require_count
from vstore.migration.gates.measurements import coverage, cutover_gates, search_gates
from vstore.migration.gates.parameters import checked_gates
from vstore.names import check_name, check_note, require_text
from vstore.numbers import check_switch, check_whole
from vstore.query.implied_values import implied_values
from vstore.query.reads import Bridge, Canary, Cascade, Dual, checked_read

if TYPE_CHECKING:
    from collections.abc import Callable

    from vstore.engine.coverage import Coverage
    from vstore.engine.handle import Handle
    from vstore.manifest.edits import Moment
    from vstore.manifest.state import CollectionState, RouteState
    from vstore.migration.gates.gates import GateResult, Gates
    from vstore.query.reads import RoutedRead


def key_of(handle: Handle) -> str:
    """Return the key of the route that a handle changes: its tenant's, or the default one.

    Raises
    ------
    InvalidArgumentError
        The handle's scope is more than one value of one keyword field.
    """
    scope = handle.scope
    if scope is None:
        return routing.DEFAULT_ROUTE
    values = list(implied_values(handle.bound_scope(handle.view().whole)))
    fields = handle.view().state.fields
    if (
        len(values) != 1
        or scope.nodes != 1
        or fields[values[0][0]] != "keyword"
        or "=" in values[0][0]  # would make keys ambiguous
    ):
        raise InvalidArgumentError(
            f"routes: this handle's scope is {handle.scope_text!r:.200}; what has a route of "
            'its own is one value of one keyword field, say scoped(field("tenant") == "acme"), '
            "without = in the field's name"
        )
    return routing.route_key(*values[0])


def route(handle: Handle) -> RouteState:
    """Return the route of a handle: its tenant's own, or the default one."""
    return routing.route_of(handle.view().state, key_of(handle))


def set_read(handle: Handle, read: RoutedRead, *, force: bool, reason: str, by: str) -> None:
    """Route to a read of the serving version and another one.

    Raises
    ------
    InvalidArgumentError
        ``read`` has another type, or one of its options is invalid.
    StateError
        The other version serves already or is retired, no bridge leads to it, the read names an old
        version that does not serve, or the tenant has no document.
    """
    view, served = handle.view(), route(handle).serving
    if isinstance(read, Dual | Cascade | Canary | Bridge):
        read = checked_read(read)
    over_bridge = False
    match read:
        case Dual(new=version, old=old, fusion=rule):
            if callable(rule):
                raise InvalidArgumentError(
                    "routes.set: a route keeps the name of a rule; a function goes with each "
                    "search, read=Dual(..., fusion=function)"
                )
            fusion = DEFAULT_FUSION if rule is None else rule
            how: dict[str, object] = {"fusion": fusion}
            name, mode = "dual read", "dual"
            over_bridge = fusion.startswith(BRIDGED)
        case Cascade(new=version, old=old):
            name, mode, how = "cascade", "cascade", {}
        case Canary(version=version):
            percent = check_whole(read.percent, what="percent", least=0, most=100)
            name, mode, how, old = f"canary {percent} %", "canary", {"percent": percent}, None
            name += " (no gates)" if percent else ""
        case Bridge(version=version, source=source):
            view.version(source)
            over_bridge = True
            name, mode, how, old = "bridge", "bridge", {"source": source}, None
            name += " (no gates)" if version != served else ""
        case _:
            raise InvalidArgumentError(
                f"routes.set: expected a Dual, Cascade, Canary or Bridge, found {read!r:.80}; a "
                "version alone serves by routes.cutover()"
            )
    view.version(version)
    if old is not None:
        view.version(old)
    key, moment = key_of(handle), moment_of(handle, reason, by)

    def edit(state: CollectionState) -> CollectionState:
        serving = routing.route_of(state, key).serving  # now, with the turn to write
        if old not in (None, serving):
            raise StateError(
                f"{name}: {old!r} does not serve, {serving!r} does; a route reads that one"
            )
        if over_bridge:
            _require_bridge(state, str(how.get("source", serving)), version)
        return routing.read_two(state, mode, version, moment, key=key, **how)  # type: ignore[arg-type]

    change_route(
        handle,
        edit,
        Operation(name, note(version, key, reason, by)),
        key=key,
        force=_checked_force(force, name, reason),
    )


def _require_bridge(state: CollectionState, source: str, target: str) -> None:
    if not any((b.source, b.target) == (source, target) for b in state.bridges):
        raise StateError(
            f"no bridge leads from {source!r} to {target!r}; fit one with migration.fit_bridge()"
        )


def _checked_force(force: object, name: str, reason: str) -> bool:
    """Return ``force``, checked: whether to make a route for a tenant without documents."""
    force = check_switch(force, what="force")
    if force and not reason:
        raise InvalidArgumentError(f"{name}: force=True needs a reason=, which is recorded")
    return force


def shadow(
    handle: Handle,
    version: str | None,
    *,
    percent: int,
    force: bool,
    reason: str,
    by: str,
) -> None:
    """Set the version that shadows a share of the queries; None for none."""
    if version is not None:
        handle.view().version(version)
    percent = check_whole(percent, what="percent", least=0, most=100)
    force = _checked_force(force, "shadow", reason)
    key, moment = key_of(handle), moment_of(handle, reason, by)
    change_route(
        handle,
        lambda state: routing.shadow(state, version or "", percent, moment, key=key),
        Operation("shadow", note(version or "none", key, reason, by)),
        key=key,
        force=force,
    )


def cutover(
    handle: Handle, version: str, *, gates: Gates, force: bool, reason: str, by: str
) -> list[GateResult]:
    """Let a version serve alone, if its gates pass, in one commit.

    Returns
    -------
    list of GateResult
        One for each gate.

    Raises
    ------
    GateError
        A gate does not pass and ``force`` was not given.
    StateError
        The version serves already, or is retired.
    """
    handle.view().version(version)
    key = key_of(handle)
    check_words(reason, by)
    force = check_switch(force, what="force")
    served = route(handle).serving
    gates = checked_gates(gates)
    searched = search_gates(handle, version, gates, served=served)
    results: list[GateResult] = []

    def edit(state: CollectionState) -> CollectionState:
        # Measured during the writer's turn: nothing can change between gate and commit.
        results[:] = [*cutover_gates(handle, version, gates), *searched]
        moment = moment_of(handle, reason, by)
        return routing.cut_over(state, version, gates=results, force=force, moment=moment, key=key)

    name = "cutover (forced)" if force else "cutover"
    operation = Operation(name, note(version, key, reason, by))
    change_route(handle, edit, operation, key=key, force=force)
    return results


def check_gates(handle: Handle, version: str, gates: Gates) -> list[GateResult]:
    """Measure the gates of a cutover, and change nothing."""
    handle.view().version(version)
    served = route(handle).serving
    gates = checked_gates(gates)
    return [
        *cutover_gates(handle, version, gates),
        *search_gates(handle, version, gates, served=served),
    ]


def rollback(handle: Handle, *, reason: str, by: str) -> Coverage:
    """Return to the version that served before, and return its coverage.

    Raises
    ------
    StateError
        No version served before; the version is retired; or the tenant has neither a route nor a
        document.
    """
    key, moment = key_of(handle), moment_of(handle, reason, by)
    change_route(
        handle,
        lambda state: routing.roll_back(state, moment, key=key),
        Operation("rollback", note("", key, reason, by)),
        key=key,
    )
    return coverage(handle, route(handle).serving)


def follow_default(handle: Handle, *, reason: str) -> None:
    """Drop a tenant's own route."""
    key = key_of(handle)
    check_note(reason, what="reason")
    change_route(
        handle,
        lambda state: routing.follow_default(state, key),
        Operation("follow_default", note("", key, reason)),
        key=key,
    )


def retire(handle: Handle, version: str, *, reason: str) -> None:
    """Retire a version."""
    handle.require_unscoped("retire")
    handle.view().version(version)
    moment = moment_of(handle, reason, "")
    change_route(
        handle,
        lambda state: routing.retire(state, version, moment),
        Operation("retire", note(version, "", reason)),
        key=routing.DEFAULT_ROUTE,
    )


def moment_of(handle: Handle, reason: str, by: str) -> Moment:
    """Return the moment of the commit being made, with its author and reason.

    Raises
    ------
    InvalidArgumentError, LimitExceededError
        ``reason`` or ``by`` is not text; it is too long.
    """
    check_words(reason, by)
    return handle.moment(reason)._replace(by=by)


def check_words(reason: str, by: str) -> None:
    """Check a reason and an author, which are recorded.

    Raises
    ------
    InvalidArgumentError, LimitExceededError
        ``reason`` or ``by`` is not text; it is too long.
    """
    check_note(reason, what="reason")
    if require_text(by, what="by"):
        check_name(by, what="by")


def note(version: str, key: str, reason: str, by: str = "") -> str:
    """Return the history's note on a change."""
    what = " for ".join(filter(None, (version, key)))
    who = f"by {by}" if by else ""
    return ": ".join(filter(None, (", ".join(filter(None, (what, who))), reason)))


def change_route(
    handle: Handle,
    edit: Callable[[CollectionState], CollectionState],
    operation: Operation,
    *,
    key: str,
    force: bool | None = None,
) -> None:
    """Commit an edit of the collection's routes.

    Parameters
    ----------
    key : str
        Key of the route that is changed.
    force : bool or None
        Make a route for a tenant without documents; None if the caller has no such option.

    Raises
    ------
    InvalidArgumentError
        Another field has routes already.
    StateError
        The tenant has no document, and the new route is not forced.
    LimitExceededError, ReadOnlyError, NotFoundError, StorageError
        There are too many routes; the handle reads an older epoch; the collection was dropped; the
        operating system refuses to write.
    """
    handle.require_writable()

    def checked(before: CollectionState) -> CollectionState:
        edited = edit(before)
        if key in edited.routes.keys() - before.routes.keys() and _is_empty_tenant(handle, key):
            if not force:
                raise _no_tenant(handle, key, may_force=force is not None)
            route = edited.routes[key]._replace(forced=True)
            edited = edited._replace(routes={**edited.routes, key: route})
        fields = {key.partition("=")[0] for key in edited.routes if key}
        if len(fields) > 1:
            raise InvalidArgumentError(
                f"routes: values of {' and of '.join(sorted(fields))}; a search must know which "
                "route is its, so that only one field has routes of its own"
            )
        count, telling = len(edited.routes), handle.scope is None
        require_count("routes", count, "ROUTES_MAX", ROUTES_MAX, telling=telling)
        size_bytes = len(key.encode())
        require_count(
            "bytes of a route's key", size_bytes, "ROUTE_KEY_BYTES_MAX", ROUTE_KEY_BYTES_MAX
        )
        return edited

    handle.change_part(checked, operation)


def _is_empty_tenant(handle: Handle, key: str) -> bool:
    """Whether a route's tenant has no document; called during the writer's turn."""
    view = handle.view_at(handle.file.current())
    return key != routing.DEFAULT_ROUTE and not view.documents.live_count


def _no_tenant(handle: Handle, key: str, *, may_force: bool) -> StateError:
    force = ", or pass force=True with a reason" if may_force else ""
    return StateError(
        f"collection {handle.name!r} has no document with {key!r:.200}, and no route of "
        f"its own was made: is the value right? Write its documents first{force}."
    )
