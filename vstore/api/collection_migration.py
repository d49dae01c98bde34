"""Migrating a collection from one version to another: the verbs, each thin over its own module."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vstore.api.collection_reader import CollectionReader
from vstore.deferred import Deferred

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Unpack

    from vstore.engine.coverage import Coverage
    from vstore.evaluation.choice import RuleChoice
    from vstore.manifest.state import DualWrite, RouteState
    from vstore.migration.bridges import bridges
    from vstore.migration.gates import gates as gating
    from vstore.migration.gates import measurements as gate_measurements
    from vstore.migration.gates.gates import GateResult, Gates
    from vstore.migration.jobs import backfill as backfilling
    from vstore.migration.jobs import migration as migrating
    from vstore.migration.jobs.migration import Migration
    from vstore.migration.jobs.options import MigrationOptions
    from vstore.migration.jobs.status import BackfillReport
    from vstore.migration.routes import changes as routes
    from vstore.migration.routes import fusion_choice
    from vstore.observe.shadow import ShadowReport
    from vstore.query.bridge import Bridge, BridgeKind
    from vstore.query.filter import Where
    from vstore.query.fusion import FusionName
    from vstore.segment.user_document import Document
    from vstore.types import Array, Judgments
    from vstore.writing import dual_write
    from vstore.writing.vector_sources import Embed
else:  # not what a search needs
    backfilling = Deferred("vstore.migration.jobs.backfill")
    bridges = Deferred("vstore.migration.bridges.bridges")
    dual_write = Deferred("vstore.writing.dual_write")
    fusion_choice = Deferred("vstore.migration.routes.fusion_choice")
    gate_measurements = Deferred("vstore.migration.gates.measurements")
    gating = Deferred("vstore.migration.gates.gates")
    migrating = Deferred("vstore.migration.jobs.migration")
    routes = Deferred("vstore.migration.routes.changes")


class CollectionMigration(CollectionReader):
    """A collection as migrations see it.

    What changes routes changes the default one; through a handle that is scoped to one value of one
    keyword field, ``docs.scoped(field("tenant") == "acme")``, that tenant's own. What concerns
    every document, as runs of backfills and bridges do, is refused there with a `ScopeError`.
    """

    @property
    def route(self) -> RouteState:
        """Which version, or versions, answer a query that names none; of a tenant, in its scope."""
        return routes.route(self._handle)

    @property
    def routes(self) -> dict[str, RouteState]:
        """All routes: the default one under ``""``, others under ``"field=value"``.

        Through a scoped handle the default one, and the one of the tenant that it is scoped to.
        """
        return routes.routes(self._handle)

    def coverage(self, version: str, where: Where = None, *, weighted: bool = False) -> Coverage:
        """Return how many live documents have fresh vectors in a version.

        Parameters
        ----------
        weighted : bool
            Also how much of the traffic, by the hits of documents that the store has counted.
        """
        return gate_measurements.coverage(self._handle, version, where, weighted=weighted)

    def pending(self, version: str, *, limit: int | None = None) -> list[Document]:
        """Return live documents without fresh vectors in a version: the regeneration queue."""
        return backfilling.pending(self._handle, version, limit=limit)

    def backfill(
        self,
        version: str,
        embed: Embed,
        *,
        batch_size: int = 256,
        batches_max: int | None = None,
        progress: Callable[[int, int], None] | None = None,
    ) -> BackfillReport:
        """Fill a version from the documents, one commit per batch; see `migrating.backfill`."""
        return migrating.backfill(
            self._handle,
            version,
            embed,
            batch_size=batch_size,
            batches_max=batches_max,
            progress=progress,
        )

    def migrate(
        self,
        source: str,
        target: str,
        embed: Embed | None = None,
        **options: Unpack[MigrationOptions],
    ) -> Migration:
        """Return a handle on the durable job that fills one version from another.

        Its ``plan()``, ``run()`` and ``status()`` do what they say; `Migration` has the options.
        """
        return migrating.Migration(self._handle, source, target, embed, **options)

    @property
    def dual_write(self) -> DualWrite:
        """What a write may do that has vectors for some of the versions in use only."""
        return self._handle.view().state.dual_write

    def set_dual_write(self, policy: DualWrite, *, reason: str = "") -> None:
        """Say what becomes of a write that lacks vectors of a version in use.

        Parameters
        ----------
        policy : {"allow", "queue", "require"}
            "allow" counts the gap. "queue" opens a backfill for the version at once, in the same
            commit, whose runner takes such documents first. "require" refuses the write. In use are
            the versions that routes read, read before, or shadow, and those being filled, until
            they are retired. Under "queue" and "require" vectors that come without text and hash
            count as a change of the source; see `Transaction.upsert`.
        """
        dual_write.set_policy(self._handle, policy, reason=reason)

    def read_both(
        self, version: str, *, fusion: FusionName = "slots", reason: str = "", by: str = ""
    ) -> None:
        """Route to a dual read of the serving version and this one."""
        routes.read_both(self._handle, version, fusion=fusion, reason=reason, by=by)

    def read_cascade(self, version: str, *, reason: str = "", by: str = "") -> None:
        """Route to what the serving version finds, ordered by this one where it has the vectors."""
        routes.read_cascade(self._handle, version, reason=reason, by=by)

    def read_canary(self, version: str, *, percent: int, reason: str = "", by: str = "") -> None:
        """Let a version answer a share of the queries; the same ones each time."""
        routes.read_canary(self._handle, version, percent=percent, reason=reason, by=by)

    def read_bridge(self, version: str, *, source: str, reason: str = "", by: str = "") -> None:
        """Let a version serve, also queries of another one, mapped by a fitted bridge."""
        routes.read_bridge(self._handle, version, source=source, reason=reason, by=by)

    def shadow(
        self, version: str | None, *, percent: int = 100, reason: str = "", by: str = ""
    ) -> None:
        """Also ask a version, for a share of the queries, and compare; None to stop.

        The comparison is `shadow_reports`; answers are not touched.
        """
        routes.shadow(self._handle, version, percent=percent, reason=reason, by=by)

    @property
    def shadow_reports(self) -> list[ShadowReport]:
        """What shadow reads through this store's handle found; in a scope, those of its route."""
        reports, view = self._handle.observer.shadows.reports(), self._handle.view()
        return [
            report
            for report in reports
            if report.key.collection == self.name and view.has_own_route(report.key.route)
        ]

    def fit_bridge(
        self,
        source: str,
        target: str,
        *,
        min_recall: float = 0.8,
        kinds: Sequence[BridgeKind] | None = None,
        documents_max: int = 20_000,
        seed: int = 0,
        queries: Mapping[str, Array] | None = None,
    ) -> Bridge:
        """Fit a map from queries of one version to another's, and store it; see `bridges.fit`.

        Parameters
        ----------
        queries : mapping of label to (n, dimension), optional
            Real queries, embedded for both: then they are what the gate measures. Documents that
            were held back find more of their neighbours, mapped, than queries do.

        Raises
        ------
        GateError
            What is measured does not find ``min_recall`` of its own 10 neighbours, mapped.
        StateError
        """
        return bridges.fit(
            self._handle,
            source,
            target,
            min_recall=min_recall,
            kinds=kinds,
            documents_max=documents_max,
            seed=seed,
            queries=queries,
        )

    def choose_fusion(
        self,
        version: str,
        *,
        old_version: str,
        queries: Mapping[str, Array],
        judgments: Judgments,
    ) -> RuleChoice:
        """Measure fusion rules on judged queries; ``fusion="auto"`` is then the one chosen.

        Parameters
        ----------
        queries : mapping of label to (n, dimension)
            The same queries, embedded for both versions.
        judgments : sequence of mapping of id to gain, n of them
            People's judgments; or what they clicked, with gain 1.
        """
        return fusion_choice.choose(self._handle, old_version, version, queries, judgments)

    def check_gates(self, version: str, gates: Gates | None = None) -> list[GateResult]:
        """Measure what a cutover would, and change nothing."""
        return routes.check_gates(self._handle, version, gates or gating.Gates())

    def cutover(
        self,
        version: str,
        *,
        min_coverage: float = 1.0,
        gates: Gates | None = None,
        force: bool = False,
        reason: str = "",
        by: str = "",
    ) -> list[GateResult]:
        """Let a version serve alone, if its gates pass, in one commit.

        Parameters
        ----------
        min_coverage : float
            Short for ``gates=Gates(coverage=...)``.
        gates : Gates, optional
        force : bool
            Go on in spite of gates that fail; recorded with ``reason``, which it needs, and ``by``.

        Returns
        -------
        list of GateResult
            What each gate measured; kept with the route.

        Raises
        ------
        GateError
            A gate does not pass and ``force`` was not given.
        StateError
            The version serves already, or is retired.
        """
        chosen = routes.gates_of(min_coverage) if gates is None else gates
        return routes.cutover(
            self._handle, version, gates=chosen, force=force, reason=reason, by=by
        )

    def rollback(self, *, reason: str = "", by: str = "") -> Coverage:
        """Return to the version that served before, in one commit.

        Returns
        -------
        Coverage
            Of that version: documents written without its vectors since are not found by it, until
            a backfill.
        """
        return routes.rollback(self._handle, reason=reason, by=by)

    def follow_default(self, *, reason: str = "") -> None:
        """Drop the own route of the tenant that this handle is scoped to."""
        routes.follow_default(self._handle, reason=reason)

    def retire(self, version: str, *, reason: str = "") -> None:
        """End a version: no more writes or queries; a vacuum drops its vectors."""
        routes.retire(self._handle, version, reason=reason)
