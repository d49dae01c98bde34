"""The path of every search, from the caller's queries to the results.

A search is prepared (`preparing`), or taken from the cache of an earlier one with the same options,
and then run (`prepared`). A canary route, or a route with a shadow, goes through `side_reads`,
which prepares and runs a search for each version.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from vstore.deferred import Deferred
from vstore.engine.filtering import bound_filter, filter_of
from vstore.searching.parameters import bound_queries, one_query
from vstore.searching.prepared import PreparedSearches
from vstore.searching.preparing import prepare
from vstore.searching.resolving import is_asked_aside, resolve, route_for
from vstore.searching.results import BatchAnswer, SearchResult, together

if TYPE_CHECKING:
    from vstore.engine.handle import Handle
    from vstore.searching import hits, side_reads
    from vstore.searching.parameters import Queries, Query, SearchOptions
    from vstore.searching.results import PlacedAnswer
else:  # loaded late: a search of one version, or by a plain route, does not need these
    hits = Deferred("vstore.searching.hits")
    side_reads = Deferred("vstore.searching.side_reads")


def search_one(handle: Handle, query: Query, options: SearchOptions) -> SearchResult:
    """Run one search.

    Raises what `search` raises.
    """
    answered = _answered(handle, one_query(query), options)
    searched = answered if isinstance(answered, BatchAnswer) else answered[0].searched
    return SearchResult(searched, 0)


def search(handle: Handle, queries: Queries, options: SearchOptions) -> list[PlacedAnswer]:
    """Run one search per query, all with the same options, on one snapshot.

    Returns
    -------
    list of PlacedAnswer
        One; for a canary, one for each version that answered.

    Raises what `preparing.prepare` and `PreparedSearch.run` raise.
    """
    if isinstance(queries, list | tuple) and not queries:
        return []
    answered = _answered(handle, queries, options)
    return [together(answered)] if isinstance(answered, BatchAnswer) else answered


def _answered(
    handle: Handle, queries: Queries, options: SearchOptions
) -> BatchAnswer | list[PlacedAnswer]:
    """Answer queries: all together, or by version if a canary splits them."""
    started_s = handle.file.clock.monotonic_s()
    if options.read is not None:
        queries = bound_queries(handle, queries)
    snapshot = handle.snapshot()
    view = handle.view_at(snapshot)
    known = view.companions.of(PreparedSearches)
    key, prepared = known.find(queries, options)
    if key is None and options.where is not None:  # a dict, which cannot be hashed
        options = options._replace(where=filter_of(options.where))
        key, prepared = known.find(queries, options)
    if prepared is None:
        bound = bound_filter(view, options.where)
        key_of_route, route = route_for(view, bound)
        if route is not None and is_asked_aside(options, route):
            routed = key_of_route, route, bound
            return side_reads.search(handle, snapshot, queries, options, routed)
        resolved = resolve(view, queries, options, snapshot.state, bound)
        prepared = prepare(snapshot, view, queries, options, resolved, bound)
        known.keep(key, prepared)
    return prepared.run(handle, snapshot, view, queries, started_s=started_s)


def explain(handle: Handle, query: Query, options: SearchOptions) -> hits.Explanation:
    """Plan one search, and check its query, without running it.

    Raises what `search` raises.
    """
    snapshot = handle.snapshot()
    view = handle.view_at(snapshot)
    bound = bound_filter(view, options.where)
    queries = one_query(query)
    if options.read is not None:
        queries = bound_queries(handle, queries)
    resolved = side_reads.resolve_one(handle, snapshot, queries, options, bound)
    prepared = prepare(snapshot, view, queries, options, resolved, bound)
    prepared.vectors(handle, snapshot, view, queries)
    return hits.Explanation(prepared.plan)
