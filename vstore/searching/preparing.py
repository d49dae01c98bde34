"""Preparing searches: from a caller's options to a `PreparedSearch`, cached with the view.

Nothing here reads a query vector: a prepared search depends only on the options, the snapshot, and
the form of the queries, which is text, an array, a stamp, or labels.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from vstore.deferred import Deferred
from vstore.engine.snapshot import matching_documents
from vstore.errors import InvalidArgumentError
from vstore.fusions import BRIDGED, DEFAULT_FUSION
from vstore.manifest.spec import short
from vstore.native import loader
from vstore.query.fetching import VersionRead, part_statistics
from vstore.query.filtered import filtered
from vstore.query.planner import (
    MappedQueries,
    PlanStatistics,
    SearchRequest,
    VersionStatistics,
    plan_search,
)
from vstore.searching.prepared import PreparedSearch, PreparedSearches
from vstore.searching.query_vectors import QueryVectors
from vstore.searching.resolving import has_vectors

if TYPE_CHECKING:
    from collections.abc import Sequence

    from vstore.engine.handle import Handle
    from vstore.engine.snapshot import CollectionView, Snapshot
    from vstore.manifest.job_state import BridgeState
    from vstore.query import depths
    from vstore.query import filter as filters
    from vstore.query.filter import Filter
    from vstore.query.fusion import rules
    from vstore.query.fusion.rules import FusionRule
    from vstore.query.paths import PartStatistics, Path
    from vstore.searching import bridging
    from vstore.searching.parameters import Queries, SearchOptions
    from vstore.searching.resolving import VersionChoice
    from vstore.searching.results import BatchAnswer
else:  # loaded late: a search of one version by a vector, without a filter, does not need these
    bridging = Deferred("vstore.searching.bridging")
    depths = Deferred("vstore.query.depths")
    rules = Deferred("vstore.query.fusion.rules")
    filters = Deferred("vstore.query.filter")


def prepared_as(  # noqa: PLR0917 - a search depends on all of them
    snapshot: Snapshot,
    view: CollectionView,
    queries: Queries,
    options: SearchOptions,
    resolved: VersionChoice,
    bound: Filter | None,
) -> PreparedSearch:
    """Return a prepared search of a given choice of versions, from the cache if possible.

    Raises what `prepare` raises.
    """
    known = view.companions.of(PreparedSearches)
    key, search = known.find(queries, options, resolved)
    if search is None:
        search = prepare(snapshot, view, queries, options, resolved, bound)
        known.keep(key, search)
    return search


def run(  # noqa: PLR0917 - as `prepared_as`
    handle: Handle,
    snapshot: Snapshot,
    queries: Queries,
    options: SearchOptions,
    resolved: VersionChoice,
    bound: Filter | None,
    *,
    counted: bool = True,
) -> BatchAnswer:
    """Answer queries by a given choice of versions; see `PreparedSearch.run`."""
    started_s = handle.clock.monotonic_s()
    view = handle.view_at(snapshot)
    search = prepared_as(snapshot, view, queries, options, resolved, bound)
    return search.run(handle, snapshot, view, queries, started_s=started_s, counted=counted)


def prepare(  # noqa: PLR0917 - as `prepared_as`
    snapshot: Snapshot,
    view: CollectionView,
    queries: Queries,
    options: SearchOptions,
    resolved: VersionChoice,
    bound: Filter | None,
) -> PreparedSearch:
    """Prepare a search.

    Parameters
    ----------
    queries : str, array, Embeddings or mapping
        Queries of the form that the search will take.
    bound : Filter, optional
        The search's filter, the view's scope included.

    Raises
    ------
    InvalidArgumentError
        ``collapse`` is False in a read of two versions.
    NotFoundError
        A version or a bridge does not exist.
    StateError
        A version is retired.
    CorruptionError
        The bridge that maps the queries is damaged.
    """
    old, new = resolved.old, resolved.new
    if old is not None and not options.collapse and resolved.mode != "bridge":
        raise InvalidArgumentError(
            f"collapse=False: a {resolved.mode} read (of {old!r} and {new!r}) gives a hit per "
            "document; name one version for a hit per chunk"
        )
    bridge = _bridge(snapshot, view, queries, resolved)
    source = None if bridge is None else view.version(bridge.source)
    versions = [view.version(label) for label in resolved.reads]
    sides = tuple(
        # Over a bridge all queries are the source's, so that a bare array is unambiguous.
        QueryVectors(version, several=old is not None and bridge is None, source=source)
        for version in versions
    )
    fusion = _fusion(view, resolved)
    if fusion.is_blended:
        bridging.bridge_between(view, *resolved.reads)  # raises if there is none
    matching = None if options.where is None or bound is None else matching_documents(view, bound)
    matches = None if matching is None else int(np.count_nonzero(matching))
    if matches is None and view.scope is not None:  # the view has only rows inside its scope
        matches = view.live_count
    has_graphs = any(view.rows(label).has_graphs for label in resolved.reads)
    is_native = has_graphs and loader.kernels() is not None
    reads = tuple(
        VersionRead(
            view.rows(version.label),
            version.spec.metric,
            options.k,
            matching,
            options.accuracy,
            options.collapse,
            is_native,
        )
        for version in versions
    )
    if fusion.rule is not None:
        reads = depths.asked_of_both(fusion.rule, *reads)
    elif resolved.mode == "cascade":
        reads = depths.asked_of_candidates(reads[0]), reads[1]
    request = SearchRequest(
        new=new,
        old=old if len(reads) == 2 else None,
        fusion=fusion.name,
        where="" if bound is None else filters.describe(bound),
        collapse=options.collapse,
        origin=resolved.origin,
        mode=resolved.mode,
        bridge=None if bridge is None else _mapped_queries(bridge),
        chosen=fusion.why,
        disjoint=fusion.rule is not None and fusion.rule.disjoint,
    )
    return PreparedSearch(
        plan_search(request, _statistics(view, reads, matches)),
        sides,
        reads,
        k=options.k,
        is_filtered=matching is not None,
        matches=matches,
        rule=fusion.rule,
        curve=fusion.curve,
        is_blended=fusion.is_blended,
        awaits_code=has_graphs and not is_native,
        tenant=resolved.key,
        family=options.family,
    )


def _bridge(
    snapshot: Snapshot, view: CollectionView, queries: Queries, resolved: VersionChoice
) -> BridgeState | None:
    """Return the bridge that maps the queries; None if they are of the version itself."""
    if resolved.mode != "bridge" or has_vectors(view, queries, resolved.new, snapshot.state):
        return None
    assert resolved.old is not None, "a bridge has a source"
    return bridging.bridge_between(view, resolved.old, resolved.new)


def _mapped_queries(bridge: BridgeState) -> MappedQueries:
    return MappedQueries(
        bridge.source, bridge.kind, bridge.recall, bridge.documents_fit, bridge.documents_held
    )


class _ChosenFusion(NamedTuple):
    """The fusion rule of a dual read.

    Attributes
    ----------
    name : str
        Name in the plan; empty for other reads.
    why : str
        Reason for the choice, if the caller left it open.
    curve : tuple[float, ...]
        The rule's fitted parameters.
    """

    name: str = ""
    rule: FusionRule | None = None
    why: str = ""
    curve: tuple[float, ...] = ()

    @property
    def is_blended(self) -> bool:
        """Whether the old version's queries are blended with the new one's, over a bridge."""
        return self.name.startswith(BRIDGED)


def _fusion(view: CollectionView, resolved: VersionChoice) -> _ChosenFusion:
    """Return the rule of a dual read."""
    if resolved.mode != "dual":
        return _ChosenFusion()
    fusion, why = resolved.fusion, ""
    choice = next(
        (
            choice
            for choice in view.state.choices
            if (choice.old_version, choice.version) == (resolved.old, resolved.new)
        ),
        None,
    )
    if fusion == "auto" and choice is None:
        fusion = DEFAULT_FUSION
        why = f"{fusion}, since no rule was measured for the two"
    elif fusion == "auto" and choice is not None:
        measured = f"{choice.queries:,} judged queries at {choice.coverage:.1%} coverage"
        fusion = choice.chosen
        why = f"{fusion}, chosen by {measured if choice.queries else 'judged queries'}"
    curve = choice.curve if choice is not None and choice.chosen == fusion else ()
    return _ChosenFusion(rules.name_of(fusion), rules.rule_of(fusion), why, curve)


def _statistics(
    view: CollectionView, reads: Sequence[VersionRead], matches: int | None
) -> PlanStatistics:
    versions = {}
    for read in reads:
        table = read.table
        version = view.version(table.label)
        versions[table.label] = VersionStatistics(
            label=table.label,
            fingerprint=short(version.spec.fingerprint),
            parts=_parts(read),
            rows=table.served_rows,
            multiple_chunks=table.has_chunks,
            row_bytes=version.row_bytes,
            k=read.k,
            matches=_matches(view, read),
        )
    live = view.documents.live_count
    coverage, new_only = 1.0, 0
    if len(reads) == 2:
        old, new = (read.table for read in reads)
        coverage = new.fresh_count / live if live else 1.0
        new_only = int(np.count_nonzero(new.has_served & ~old.has_served))
    return PlanStatistics(versions, live, matches, coverage, new_only)


def _parts(read: VersionRead) -> tuple[tuple[PartStatistics, Path], ...] | None:
    """Return the parts of a version with their paths; None if the table must not tell its parts."""
    table, passing = read.table, filtered(read.table, read.matching)
    if not table.tells_parts:
        return None
    parts = [
        part_statistics(passing, number, part)._replace(served=served)
        for number, (part, served) in enumerate(zip(table.parts, table.served_by_part, strict=True))
    ]
    return tuple((part, read.path(part)) for part in parts)


def _matches(view: CollectionView, read: VersionRead) -> int | None:
    """Return the number of documents that a version may return; None for all that it has."""
    if read.matching is not None:
        return int(np.count_nonzero(read.matching & read.table.has_served))
    return None if view.scope is None else int(np.count_nonzero(read.table.has_served))
