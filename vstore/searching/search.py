"""One search, from the caller's query to the result: resolve, guard, plan, execute, record."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from vstore.deferred import Deferred
from vstore.engine.filtering import bound_filter
from vstore.engine.snapshot import matching_documents
from vstore.errors import InvalidArgumentError
from vstore.fusions import BRIDGED, DEFAULT_FUSION
from vstore.guarding import spec_check as guard
from vstore.manifest.spec import short
from vstore.native import loader
from vstore.observe.traced import TracedBatch
from vstore.query.executor import execute
from vstore.query.fetching import VersionRead, part_statistics
from vstore.query.filtered import filtered
from vstore.query.planner import (
    MappedQueries,
    PlanStatistics,
    SearchRequest,
    VersionStatistics,
    plan_search,
)
from vstore.searching.parameters import one_query
from vstore.searching.resolving import (
    Resolved,
    has_vectors,
    resolve,
    route_for,
    vectors_for,
)
from vstore.searching.results import Searched, SearchedTogether, SearchResult

if TYPE_CHECKING:
    from vstore.embedding import embedder as embedders
    from vstore.embedding.embedder import Embeddings
    from vstore.engine.handle import Handle
    from vstore.engine.snapshot import CollectionView, Snapshot
    from vstore.guarding import query_check
    from vstore.manifest.job_state import BridgeState
    from vstore.query import filter as filters
    from vstore.query.filter import Filter
    from vstore.query.plan import PlanNode
    from vstore.searching import bridging, hits, quick, recall_check, side_reads
    from vstore.searching.parameters import Queries, Query, SearchOptions
    from vstore.types import Array, BoolArray
else:  # what a search by a vector without a filter does not need
    bridging = Deferred("vstore.searching.bridging")
    embedders = Deferred("vstore.embedding.embedder")
    filters = Deferred("vstore.query.filter")
    hits = Deferred("vstore.searching.hits")
    query_check = Deferred("vstore.guarding.query_check")
    recall_check = Deferred("vstore.searching.recall_check")
    quick = Deferred("vstore.searching.quick")
    side_reads = Deferred("vstore.searching.side_reads")


class _Prepared(NamedTuple):
    request: SearchRequest
    plan: PlanNode
    reads: list[VersionRead]
    matching: BoolArray | None
    matches: int | None
    curve: tuple[float, ...]


def ask(handle: Handle, query: Query, options: SearchOptions) -> SearchResult:
    """Run one search, by the short way if the same was asked before; see `quick`."""
    by_vectors = isinstance(query, np.ndarray | dict)
    if handle.scope is not None or handle.is_pinned or not by_vectors:
        return search_one(handle, query, options)
    view = handle.view()
    try:
        known: quick.QuickSearch | None = None
        is_new = not len(view.quick) and view.asked.find(options) is None
        if not is_new:
            known = view.quick.find(quick.quick_key(options))
            is_new = known is None and view.asked.find(options) is None
    except TypeError:  # an option that cannot be hashed
        return search_one(handle, query, options)
    found = None if known is None else known(query)
    if found is None:
        found = search_one(handle, query, options)
        if is_new:  # what is asked once is not worth remembering how
            view.asked.put(options, options)
        else:
            quick.remember(handle, options, found)
    return found


def search_one(handle: Handle, query: Query, options: SearchOptions) -> SearchResult:
    """Run one search."""
    return SearchResult(search(handle, one_query(query), options)[0].searched, 0)


def search(handle: Handle, queries: Queries, options: SearchOptions) -> list[SearchedTogether]:
    """Run one search per query, all with the same options, on one snapshot."""
    if isinstance(queries, list | tuple) and not queries:
        return []
    snapshot = handle.snapshot()
    view = handle.view_at(snapshot)
    bound = bound_filter(view, options.where)
    if options.version is None and options.mode is None:
        key, route = route_for(view, bound)
        if route is not None and (route.mode == "canary" or route.shadow):
            return side_reads.search(handle, snapshot, queries, options, (key, route, bound))
    resolved = resolve(view, queries, options, snapshot.state, bound)
    return [together(run(handle, snapshot, queries, options, resolved, bound))]


def together(searched: Searched) -> SearchedTogether:
    """Return the whole of a batch, answered together."""
    return SearchedTogether(searched, np.arange(len(searched.batch.summaries)))


def run(  # noqa: PLR0917 - all of them are what a search is
    handle: Handle,
    snapshot: Snapshot,
    queries: Queries,
    options: SearchOptions,
    resolved: Resolved,
    bound: Filter | None,
    *,
    counted: bool = True,
) -> Searched:
    """Run one search per query, as resolved.

    Parameters
    ----------
    counted : bool
        Whether observers are told.
    """
    started = handle.clock.monotonic_s()
    view = handle.view_at(snapshot)
    prepared = _prepare(handle, snapshot, queries, options, resolved, bound)
    executed = execute(
        prepared.plan,
        prepared.reads,
        prepared.matching,
        k=prepared.request.k,
        collapse=prepared.request.collapse,
        curve=prepared.curve,
    )
    summaries = executed.summaries
    batch = TracedBatch(
        handle.name,
        snapshot.epoch,
        prepared.plan,
        tuple(read.table.label for read in prepared.reads),
        prepared.matches,
        (handle.clock.monotonic_s() - started) / max(1, len(summaries)),
        summaries,
    )
    if counted:
        handle.observer.record(
            batch,
            k=prepared.request.k,
            view=view.whole,
            docnos=None if handle.is_pinned else executed.docnos(),
            tenant=resolved.key,
            family=options.family,
        )
        if handle.observer.sampler is not None:
            recall_check.compare(
                handle.observer,
                batch,
                executed,
                prepared.reads,
                prepared.matching,
                k=prepared.request.k,
                collapse=prepared.request.collapse,
                curve=prepared.curve,
                tenant=resolved.key,
                family=options.family,
            )
    noted = _noted(handle, snapshot, view, prepared) if counted else ()
    # A result outlives the store: what its hits are made from, when someone looks.
    view.documents.keep_ids()
    for read in prepared.reads:
        read.table.keep_chunks()
    return Searched(view, executed, batch, noted)


def _is_bridged(rule: str) -> bool:
    return bool(rule) and rule.startswith(BRIDGED)  # a read of one version has no rule


def _noted(
    handle: Handle, snapshot: Snapshot, view: CollectionView, prepared: _Prepared
) -> tuple[query_check.Noted, ...]:
    """Note the queries, for versions that know what theirs are like."""
    if prepared.request.bridge is not None:  # mapped, and not as a model makes them
        return ()
    noted = []
    reads = prepared.reads
    if _is_bridged(prepared.request.fusion):  # the old queries are blended
        reads = reads[1:]
    for read in reads:
        check = query_check_of(handle, snapshot, view, read.table.label)
        if check is not None:
            noted.append(check.several(read.queries))
    return tuple(one for one in noted if one is not None)


def query_check_of(
    handle: Handle, snapshot: Snapshot, view: CollectionView, label: str
) -> query_check.QueryCheck | None:
    """Return what watches a version's queries at a snapshot; None if it knows nothing of them."""
    check: query_check.QueryCheck | None = view.query_checks.get(label)
    if check is None and view.version(label).guard is not None:
        made = query_check.QueryCheck(handle, snapshot, view.version(label), view.scope)
        check = view.query_checks.setdefault(label, made)
    return check


def explain(handle: Handle, query: Query, options: SearchOptions) -> hits.Explanation:
    """Plan one search without running it."""
    snapshot = handle.snapshot()
    view = handle.view_at(snapshot)
    bound = bound_filter(view, options.where)
    queries = one_query(query)
    resolved = resolve(view, queries, options, snapshot.state, bound)
    return hits.Explanation(_prepare(handle, snapshot, queries, options, resolved, bound).plan)


def _prepare(  # noqa: PLR0917 - as `run`
    handle: Handle,
    snapshot: Snapshot,
    queries: Queries,
    options: SearchOptions,
    resolved: Resolved,
    bound: Filter | None,
) -> _Prepared:
    view = handle.view_at(snapshot)
    old, new = resolved.old, resolved.new
    if resolved.mode != "dual" and options.fusion is not None:
        raise InvalidArgumentError(f"fusion: a dual read has one, and this reads {new!r} alone")
    if old is not None and not options.collapse and resolved.mode != "bridge":
        raise InvalidArgumentError(
            f"collapse=False: a {resolved.mode} read (of {old!r} and {new!r}) gives a hit per "
            "document; name one version for a hit per chunk"
        )
    bridge, reads = None, []
    for label in resolved.reads:
        version = view.version(label)
        vectors, bridge = _vectors(handle, snapshot, queries, resolved, label)
        checked = guard.check_queries(
            version, vectors, snapshot.state, where=f"query for {label!r}"
        )
        reads.append(VersionRead(view.rows(label), version.spec.metric, checked, options.wanted))
    if len({len(read.queries) for read in reads}) > 1:
        raise InvalidArgumentError("queries: different numbers of vectors for the two versions")
    fusion, chosen, curve = _fusion(view, resolved)
    if _is_bridged(fusion):
        labels = (reads[0].table.label, reads[1].table.label)
        queries_of = (reads[0].queries, reads[1].queries)
        reads[0] = reads[0]._replace(queries=bridging.blended(snapshot, view, labels, *queries_of))
    matching = None if options.where is None or bound is None else matching_documents(view, bound)
    matches = None if matching is None else int(np.count_nonzero(matching))
    if matches is None and view.scope is not None:  # which the view's own rows are inside of
        matches = view.live_count
    native = loader.kernels() is not None if _has_graphs(reads) else False
    key = (options, resolved, bridge, native) if matching is None else None
    known = None if key is None else view.plans.find(key)
    if known is None:
        request = SearchRequest(
            new=new,
            old=old if len(reads) == 2 else None,
            k=options.k,
            fusion=fusion,
            where="" if bound is None else filters.describe(bound),
            collapse=options.collapse,
            origin=resolved.origin,
            wanted=options.wanted,
            mode=resolved.mode,
            bridge=None
            if bridge is None
            else MappedQueries(
                bridge.source,
                bridge.kind,
                bridge.recall,
                bridge.documents_fit,
                bridge.documents_held,
            ),
            chosen=chosen,
        )
        statistics = _statistics(view, resolved.reads, matching, matches, native=native)
        known = (request, plan_search(request, statistics))
        if key is not None:
            view.plans.put(key, known)
    request, plan = known
    return _Prepared(request, plan, reads, matching, matches, curve)


def _vectors(
    handle: Handle,
    snapshot: Snapshot,
    queries: Queries,
    resolved: Resolved,
    label: str,
) -> tuple[Array | Embeddings, BridgeState | None]:
    """Return the query vectors for a version, and the bridge over which they came, if any."""
    view, source = handle.view_at(snapshot), resolved.old
    several = resolved.old is not None
    if resolved.mode != "bridge" or has_vectors(view, queries, label, snapshot.state):
        return vectors_for(handle, view, queries, label, snapshot.state, several=several), None
    assert source is not None, "a bridge has one"
    given = vectors_for(handle, view, queries, source, snapshot.state, several=False)
    checked = guard.check_queries(
        view.version(source), given, snapshot.state, where=f"query for {source!r}"
    )
    return bridging.mapped(snapshot, view, source, label, checked)


def _fusion(view: CollectionView, resolved: Resolved) -> tuple[str, str, tuple[float, ...]]:
    """Return a dual read's rule, why it is that one if it was left open, and what it has learnt."""
    if resolved.mode != "dual":
        return "", "", ()
    choice = next(
        (
            choice
            for choice in view.state.choices
            if (choice.old_version, choice.version) == (resolved.old, resolved.new)
        ),
        None,
    )
    if resolved.fusion != "auto":
        known = choice is not None and choice.chosen == resolved.fusion
        return resolved.fusion, "", choice.curve if known and choice is not None else ()
    if choice is None:
        default = DEFAULT_FUSION
        return default, f"{default}, since no rule was measured for the two", ()
    measured = f"{choice.queries:,} judged queries at {choice.coverage:.1%} coverage"
    why = f"{choice.chosen}, chosen by {measured if choice.queries else 'judged queries'}"
    return choice.chosen, why, choice.curve


def _has_graphs(reads: list[VersionRead]) -> bool:
    return any(read.table.has_graphs for read in reads)


def _statistics(
    view: CollectionView,
    labels: tuple[str, ...],
    matching: BoolArray | None,
    matches: int | None,
    *,
    native: bool,
) -> PlanStatistics:
    versions = {}
    for label in labels:
        version, table = view.version(label), view.rows(label)
        parts, passing = table.parts, filtered(table, matching)
        versions[label] = VersionStatistics(
            label=label,
            fingerprint=short(version.spec.fingerprint),
            parts=tuple(
                part_statistics(passing, i, part)._replace(served=served)
                for i, (part, served) in enumerate(zip(parts, table.served_by_part, strict=True))
            ),
            rows=table.served_rows,
            multiple_chunks=not all(part.rows.single for part in parts),
            row_bytes=version.spec.dimension * (2 if version.storage == "float16" else 4),
        )
    live = view.documents.live_count
    coverage, new_only = 1.0, 0
    if len(labels) == 2:
        old, new = view.rows(labels[0]), view.rows(labels[1])
        coverage = new.fresh_count / live if live else 1.0
        new_only = int(np.count_nonzero(new.has_served & ~old.has_served))
    return PlanStatistics(versions, live, matches, coverage, new_only, native)
