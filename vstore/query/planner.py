"""The planner: makes a plan from a request and statistics. Pure: it reads no vector and no file."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from vstore.query.plan import (
    BridgedRead,
    CascadeRead,
    CodeScan,
    Collapse,
    DualRead,
    FilteredGraphSearch,
    FlatScan,
    GraphSearch,
    Merge,
    PlanNode,
    Rerank,
    ScopedSearch,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from vstore.query.paths import PartStatistics, Path


class VersionStatistics(NamedTuple):
    """Statistics of a version, and the size of its part of the search.

    Attributes
    ----------
    k : int
        Number of documents wanted of the version, or rows.
    matches : int | None
        Documents that the version may return; None for all that it has.
    parts : tuple[tuple[PartStatistics, Path], ...] | None
        Segments and memtable, oldest first, each with its path; None inside a scope.
    rows : int
        Rows that a search may return, before the filter.
    multiple_chunks : bool
        Whether any document has more than one row.
    row_bytes : int
        Bytes of one stored vector.
    """

    label: str
    fingerprint: str
    parts: tuple[tuple[PartStatistics, Path], ...] | None
    rows: int
    multiple_chunks: bool
    row_bytes: int
    k: int
    matches: int | None


class MappedQueries(NamedTuple):
    """Queries of another version, mapped by a bridge; see `manifest.job_state.BridgeState`.

    Inside a scope, recall and the numbers of documents are 0.
    """

    source: str
    kind: str
    recall: float
    documents_fit: int
    documents_held: int


class SearchRequest(NamedTuple):
    """A search whose query vectors have been checked against their versions.

    Attributes
    ----------
    new : str
        The version to read; in a read of two, the new one.
    old : str | None
        The old version in a read of two.
    where : str
        The filter as text, for people; the executor has the filter itself.
    origin : str
        Chooser of the versions: the route, the caller, or the query's stamp.
    bridge : MappedQueries | None
        The bridge that mapped the queries, if any.
    chosen : str
        Reason for the fusion rule, if the caller left the rule open.
    disjoint : bool
        Whether the rule takes an old ranking of unmigrated documents only.
    """

    new: str
    old: str | None
    fusion: str
    where: str
    collapse: bool
    origin: str
    mode: str = "matched"
    bridge: MappedQueries | None = None
    chosen: str = ""
    disjoint: bool = False


class PlanStatistics(NamedTuple):
    """All the planner's input besides the request.

    Attributes
    ----------
    matches : int | None
        Documents that pass the filter; None without one.
    """

    versions: Mapping[str, VersionStatistics]
    live_documents: int
    matches: int | None
    coverage: float
    new_only: int


def plan_search(request: SearchRequest, statistics: PlanStatistics) -> PlanNode:
    """Return the plan of a search."""
    if request.old is None:
        return _one(request, statistics)
    ranked = "every document it has"
    if request.disjoint:
        ranked = "the documents that are not migrated"
    old = _read(request, statistics, request.old, f"the old version ranks {ranked}")
    if request.mode == "cascade":
        version = statistics.versions[request.new]
        why = f"cascade: {request.origin}; migrated candidates change places by both versions"
        return CascadeRead(old, version.label, version.fingerprint, statistics.coverage, why)
    new = _read(request, statistics, request.new, "the new version ranks the migrated documents")
    reason = f"dual read: {request.origin}"
    if request.chosen:
        reason += f"; {request.chosen}"
    if request.fusion == "slots":
        reason += "; migrated documents keep the slots they win in the old ranking, in new order"
    if statistics.new_only:
        reason += (
            f"; {statistics.new_only:,} documents live only in the new version and stand "
            "before the next migrated document of the new ranking"
        )
    return DualRead(old, new, request.fusion, statistics.coverage, statistics.new_only, reason)


def _one(request: SearchRequest, statistics: PlanStatistics) -> PlanNode:
    bridge = request.bridge
    reason = f"matched read: {request.origin} names this version"
    node = _read(request, statistics, request.new, reason)
    if bridge is None:
        return node
    why = f"bridge: {request.origin}; the query has no vector of {request.new!r}"
    if bridge.documents_fit:  # 0 inside a scope: callers there must not learn of other documents
        why += (
            f". Fitted on {bridge.documents_fit:,} documents, measured on "
            f"{bridge.documents_held:,} others"
        )
    recall = bridge.recall if bridge.documents_fit else None
    return BridgedRead(node, bridge.source, bridge.kind, recall, why)


def _read(request: SearchRequest, statistics: PlanStatistics, label: str, reason: str) -> PlanNode:
    version = statistics.versions[label]
    if statistics.matches is not None and statistics.live_documents:
        share = statistics.matches / statistics.live_documents
        reason += f"; the filter passes {share:.1%} of {statistics.live_documents:,} documents"
    node = _version(request, version, reason)
    if request.collapse and version.multiple_chunks:
        return Collapse(node, "documents have several chunks, hits are documents")
    return node


def _version(
    request: SearchRequest, version: VersionStatistics, reason: str
) -> FlatScan | ScopedSearch | Rerank | Merge:
    if version.parts is None:
        assert version.matches is not None, "a scope counts what is inside"
        what = version.label, version.fingerprint, version.rows, request.where, version.matches
        return ScopedSearch(*what, version.k, reason)
    nodes: list[FlatScan | Rerank] = [
        _by_codes(request, version, part, path, reason)
        for part, path in version.parts
        if path.kind != "flat"
    ]
    flat = [(part, path) for part, path in version.parts if path.kind == "flat"]
    if flat or not nodes:
        whole = not nodes
        rows = version.rows if whole else sum(part.served for part, _ in flat)
        why = "; ".join(dict.fromkeys(path.reason for _, path in flat))
        scan = FlatScan(
            version=version.label,
            fingerprint=version.fingerprint,
            segments=tuple(part.name for part, _ in flat),
            rows=rows,
            where=request.where,
            matches=version.matches,
            k=version.k,
            bytes_read=rows * version.row_bytes,
            reason=f"{reason}; exact: {why or 'nothing to read'}",
        )
        nodes.append(scan)
    if len(nodes) == 1:
        return nodes[0]
    return Merge(tuple(nodes), "each part of the version is searched in its own way")


def _by_codes(
    request: SearchRequest,
    version: VersionStatistics,
    part: PartStatistics,
    path: Path,
    reason: str,
) -> Rerank:
    what = (version.label, version.fingerprint, (part.name,), part.served)
    asked = (request.where, part.allowed, version.k)
    reason = f"{reason}; {path.reason}"
    child: GraphSearch | CodeScan
    if path.kind == "codes":
        child = CodeScan(*what, *asked, reason)
    else:
        node = GraphSearch if part.allowed is None else FilteredGraphSearch
        child = node(*what, *asked, path.ef, path.measured, round(path.cost), reason)
    return Rerank(child, path.keep, "codes are approximate, scores are exact")
