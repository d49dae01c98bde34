"""``docs.routes``: which version serves which queries, and changes of that."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vstore.engine.lookup import Lookup
from vstore.errors import NotFoundError
from vstore.manifest.state import RouteState
from vstore.migration.gates.gates import Gates
from vstore.migration.routes import changes
from vstore.names import require_text

if TYPE_CHECKING:
    from vstore.engine.coverage import Coverage
    from vstore.engine.handle import Handle
    from vstore.migration.gates.gates import GateResult
    from vstore.observe.shadow import ShadowReport
    from vstore.query.reads import RoutedRead


class Routes(Lookup[RouteState]):
    """The routes of a collection by key, and their changes. Made by ``docs.routes``.

    The key of the default route is ``""``; other routes belong to values of one keyword field,
    under ``"field=value"``. Through a scoped handle there are the default route and the tenant's.

    A change applies to the default route; through a handle scoped to one value of one keyword
    field, ``docs.scoped(field("tenant") == "acme")``, to that tenant's own. Each change takes a
    ``reason`` and, except `follow_default`, an author ``by``. A change is one commit, and the
    history records both.
    """

    __slots__ = ("_handle",)

    def __init__(self, handle: Handle) -> None:
        self._handle = handle

    def _names(self) -> tuple[str, ...]:
        return tuple(self._handle.view().state.routes)

    def __getitem__(self, key: str) -> RouteState:
        routes = self._handle.view().state.routes
        if require_text(key, what="route") not in routes:
            known = ", ".join(map(repr, routes)) or "none"
            raise NotFoundError(f"no route {key!r:.200}; found {known:.500}")
        return routes[key]

    @property
    def current(self) -> RouteState:
        """The route of queries that name no version; in a scope, the tenant's.

        Raises
        ------
        StateError
            The collection has no version yet.
        """
        return changes.route(self._handle)

    def set(self, read: RoutedRead, *, force: bool = False, reason: str = "", by: str = "") -> None:
        """Let the serving version and another one answer together; `cutover` ends it.

        Parameters
        ----------
        read : Dual, Cascade, Canary or Bridge
            The read. Its ``old``, if given, must be the serving version. No gate is measured: if
            the other version answers queries alone, the history says so.
        force : bool
            In a scope: make the route although the tenant has no document yet; needs a ``reason``.

        Raises
        ------
        StateError
            The other version serves already or is retired, no bridge is fitted, or the tenant has
            no document yet.
        NotFoundError
            The collection has no such version.
        InvalidArgumentError
            ``read`` is invalid, or the handle's scope is not one value of one keyword field.
        """
        changes.set_read(self._handle, read, force=force, reason=reason, by=by)

    def shadow(
        self,
        version: str | None,
        *,
        percent: int = 100,
        force: bool = False,
        reason: str = "",
        by: str = "",
    ) -> None:
        """Also search a version, for a share of the queries, and compare; None to stop.

        The comparison is in `shadow_reports`; answers do not change. ``force`` is as for `set`.

        Raises
        ------
        StateError
            The version is retired or read already, or the tenant has no document yet.
        NotFoundError
            The collection has no such version.
        """
        changes.shadow(self._handle, version, percent=percent, force=force, reason=reason, by=by)

    @property
    def shadow_reports(self) -> list[ShadowReport]:
        """Comparisons by shadow reads through this store's handle; in a scope, by its route's."""
        handle = self._handle
        reports, view = handle.observer.shadows.reports(), handle.view()
        return [
            report
            for report in reports
            if report.key.collection == handle.name and view.has_own_route(report.key.route)
        ]

    def check_gates(self, version: str, gates: Gates | None = None) -> list[GateResult]:
        """Measure the gates of a cutover, and change nothing.

        Raises
        ------
        NotFoundError
            The collection has no such version.
        """
        return changes.check_gates(self._handle, version, Gates() if gates is None else gates)

    def cutover(
        self,
        version: str,
        *,
        gates: Gates | None = None,
        force: bool = False,
        reason: str = "",
        by: str = "",
    ) -> list[GateResult]:
        """Let a version serve alone, if its gates pass, in one commit.

        Tenants that have routes of their own keep them: the mapping lists them, and through a scope
        `follow_default` drops one.

        Parameters
        ----------
        gates : Gates, optional
            Required bounds; by default every document must have fresh vectors.
        force : bool
            Cut over in spite of failing gates; needs a ``reason``, and is recorded with it and
            ``by``.

        Returns
        -------
        list of GateResult
            One for each gate; recorded with the route.

        Raises
        ------
        GateError
            A gate does not pass and ``force`` was not given.
        StateError
            The version serves already, or is retired.
        """
        chosen = Gates() if gates is None else gates
        return changes.cutover(
            self._handle, version, gates=chosen, force=force, reason=reason, by=by
        )

    def rollback(self, *, reason: str = "", by: str = "") -> Coverage:
        """Return to the version that served before, in one commit.

        A tenant without a route of its own gets one, which `follow_default` drops.

        Returns
        -------
        Coverage
            Coverage of that version: documents written since without its vectors are not found,
            until a backfill.

        Raises
        ------
        StateError
            No version served before; the version is retired; or the tenant has neither a route nor
            a document.
        """
        return changes.rollback(self._handle, reason=reason, by=by)

    def follow_default(self, *, reason: str = "") -> None:
        """Drop the route of the tenant that this handle is scoped to, for the default one."""
        changes.follow_default(self._handle, reason=reason)

    def retire(self, version: str, *, reason: str = "") -> None:
        """Retire a version: no more writes or queries; a vacuum drops its vectors.

        Raises
        ------
        StateError
            A route reads the version, or it is retired already.
        NotFoundError
            The collection has no such version.
        ScopeError
            The handle is scoped, but a version belongs to the whole collection.
        """
        changes.retire(self._handle, version, reason=reason)
