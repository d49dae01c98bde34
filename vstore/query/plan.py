"""Plans: the steps of a search and their reasons, as frozen, printable nodes.

`planner` makes the nodes, `executor` runs them. Nodes of different classes are never equal.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True)
class FlatScan:
    """Score rows of one version exactly.

    Attributes
    ----------
    version : str
    fingerprint : str
        12 hex digits.
    segments : tuple[str, ...]
        Names of the segments scanned.
    rows : int
        Rows that a search may return, before the filter.
    matches : int | None
        Documents that may be returned; None if all may.
    k : int
        Documents wanted, or rows: in a read of two versions often more than the search's hits.
    bytes_read : int
        Estimated vector bytes read.
    """

    version: str
    fingerprint: str
    segments: tuple[str, ...]
    rows: int
    where: str
    matches: int | None
    k: int
    bytes_read: int
    reason: str


@dataclass(frozen=True, slots=True)
class GraphSearch:
    """Follow the graph of one segment on codes; scan it for a query that codes cannot express.

    Such a query lies far outside the segment's vectors, where codes would clip it.

    Attributes
    ----------
    ef : int
        Size of the candidate pool.
    measured : tuple[tuple[int, float], ...]
        Recall measured over all rows when the graph was built: (k, recall) at this k, or at the two
        next to it, each with ef scaled in proportion to k. Empty if nothing was measured for so
        small an ef.
    distances : int
        Estimated number of distances computed.
    matches : int | None
        Rows that may be returned; None if all may. The search passes through the others.
    """

    version: str
    fingerprint: str
    segments: tuple[str, ...]
    rows: int
    where: str
    matches: int | None
    k: int
    ef: int
    measured: tuple[tuple[int, float], ...]
    distances: int
    reason: str


class FilteredGraphSearch(GraphSearch):
    """Follow a graph with a pool enlarged in inverse proportion to the share that passes.

    If it finds too few rows, all passing rows are scanned.
    """

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class CodeScan:
    """Score the codes of one segment's passing rows.

    Attributes
    ----------
    matches : int | None
        Rows scored.
    """

    version: str
    fingerprint: str
    segments: tuple[str, ...]
    rows: int
    where: str
    matches: int | None
    k: int
    reason: str


@dataclass(frozen=True, slots=True)
class ScopedSearch:
    """Search the rows of one version inside a scope.

    The node does not show segments or graphs, because these also hold rows outside the scope.

    Attributes
    ----------
    rows : int
        Rows inside the scope that a search may return, before the filter.
    matches : int
        Documents inside the scope that may be returned.
    k : int
        Documents wanted, or rows.
    """

    version: str
    fingerprint: str
    rows: int
    where: str
    matches: int
    k: int
    reason: str


@dataclass(frozen=True, slots=True)
class Rerank:
    """Rescore the best candidates by codes, exactly, with their vectors."""

    child: GraphSearch | CodeScan
    candidates: int
    reason: str


@dataclass(frozen=True, slots=True)
class Merge:
    """Merge the hits of one version's parts by their exact scores."""

    children: tuple[FlatScan | Rerank, ...]
    reason: str


@dataclass(frozen=True, slots=True)
class Collapse:
    """Keep the best chunk of each document."""

    child: FlatScan | ScopedSearch | Rerank | Merge
    reason: str


@dataclass(frozen=True, slots=True)
class DualRead:
    """Read two versions and fuse them, explicitly.

    Attributes
    ----------
    fusion : str
        Name of the rule; see `fusion.rules`.
    coverage : float
        Share of live documents with fresh rows in the new version.
    new_only : int
        Number of documents with rows in the new version alone; their neighbours in the new ranking
        place them.
    """

    old: PlanNode
    new: PlanNode
    fusion: str
    coverage: float
    new_only: int
    reason: str


@dataclass(frozen=True, slots=True)
class CascadeRead:
    """Reorder the old version's candidates by the new version's vectors, where there are any.

    Attributes
    ----------
    version, fingerprint : str
        The new version, whose vectors are looked up, not searched.
    coverage : float
        Share of live documents with fresh rows in the new version.
    """

    old: PlanNode
    version: str
    fingerprint: str
    coverage: float
    reason: str


@dataclass(frozen=True, slots=True)
class BridgedRead:
    """Search a version with queries of another version, mapped by a bridge.

    Attributes
    ----------
    source : str
        Version of the queries.
    recall : float | None
        Measured recall@10 of held-out documents; None inside a scope, because those documents may
        lie outside the scope.
    """

    child: PlanNode
    source: str
    kind: str
    recall: float | None
    reason: str


Leaf = FlatScan | GraphSearch | CodeScan | ScopedSearch
PlanNode = Leaf | Rerank | Merge | Collapse | DualRead | CascadeRead | BridgedRead


def scans(node: PlanNode) -> tuple[Leaf, ...]:
    """Return the plan's leaves, the old version's first."""
    return tuple(leaf for child in children(node) for leaf in scans(child)) or (node,)  # type: ignore[return-value]  # a node without children is a leaf


def children(node: PlanNode) -> tuple[PlanNode, ...]:
    """Return the nodes whose results a node uses."""
    if isinstance(node, DualRead):
        return (node.old, node.new)
    if isinstance(node, Merge):
        return node.children
    if isinstance(node, CascadeRead):
        return (node.old,)
    if isinstance(node, Collapse | Rerank | BridgedRead):
        return (node.child,)
    return ()


def versions(node: PlanNode) -> tuple[str, ...]:
    """Return the versions a plan reads, the old one first."""
    looked_up = (node.version,) if isinstance(node, CascadeRead) else ()
    return tuple(dict.fromkeys((*(scan.version for scan in scans(node)), *looked_up)))


def segments(node: PlanNode) -> dict[str, tuple[str, ...]]:
    """Return the segments that a plan reads, by version; none for a search inside a scope."""
    found: dict[str, tuple[str, ...]] = {}
    for scan in scans(node):
        named = () if isinstance(scan, ScopedSearch) else scan.segments
        found[scan.version] = (*found.get(scan.version, ()), *named)
    return found


def plan_to_dict(node: PlanNode) -> dict[str, object]:
    """Return a plan as plain data."""
    result: dict[str, object] = {"node": type(node).__name__}
    for field in fields(node):
        result[field.name] = _plain(getattr(node, field.name))
    return result


def _plain(value: object) -> object:
    if isinstance(value, PlanNode):
        return plan_to_dict(value)
    return [_plain(item) for item in value] if isinstance(value, tuple) else value


def render_plan(node: PlanNode, actuals: Mapping[str, object] | None = None) -> str:
    """Return a plan as indented text, with a reason for each node, and the actuals if given."""
    lines = _lines(node, 0)
    if actuals:
        lines.append("actual: " + ", ".join(f"{key}={value}" for key, value in actuals.items()))
    return "\n".join(lines)


def _lines(node: PlanNode, depth: int) -> list[str]:
    indent = "  " * depth
    own = [f"{indent}{_head(node)}", f"{indent}    because {node.reason}"]
    return own + [line for child in children(node) for line in _lines(child, depth + 1)]


def _head(node: PlanNode) -> str:
    if isinstance(node, DualRead):
        new_only = f", new_only={node.new_only}" if node.new_only else ""
        return f"DualRead(fusion={node.fusion}, coverage={node.coverage:.1%}{new_only})"
    if isinstance(node, CascadeRead):
        version = f"version={node.version!r} {node.fingerprint}"
        return f"CascadeRead({version}, coverage={node.coverage:.1%})"
    if isinstance(node, BridgedRead):
        found = "" if node.recall is None else f", measured recall@10={node.recall:.3f}"
        return f"BridgedRead(queries of={node.source!r}, {node.kind}{found})"
    if isinstance(node, Collapse):
        return "Collapse(to=document, by=best chunk)"
    if isinstance(node, Merge):
        return f"Merge(parts={len(node.children)})"
    if isinstance(node, Rerank):
        return f"Rerank(candidates={node.candidates})"
    where = f", where={node.where}" if node.where else ""
    matches = f", matches={node.matches:,}" if node.matches is not None else ""
    named = "" if isinstance(node, ScopedSearch) else f"segments={len(node.segments)}, "
    head = (
        f"{type(node).__name__}(version={node.version!r} {node.fingerprint}, "
        f"{named}rows={node.rows:,}{where}{matches}, k={node.k}"
    )
    if isinstance(node, FlatScan):
        return f"{head}, read={node.bytes_read / 1e6:.1f} MB)"
    if isinstance(node, GraphSearch):
        found = ", ".join(f"recall@{k}={recall:.3f}" for k, recall in node.measured)
        without = " over all rows" if found and node.matches is not None else ""
        return (
            f"{head}, ef={node.ef}, measured {found or 'no recall'}{without}, "
            f"distances={node.distances:,})"
        )
    return f"{head})"
