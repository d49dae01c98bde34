"""Plans: what a search will do and why, as frozen nodes that print.

`planner` makes them, `executor` runs them and fills in `Actuals`.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True)
class FlatScan:
    """Score every row of one version exactly.

    Attributes
    ----------
    version : str
    fingerprint : str
        12 hex digits.
    segments : tuple[str, ...]
        What is scanned; all of this version.
    rows : int
        Rows a search may return, before the filter.
    matches : int | None
        Documents that pass the filter; None without one.
    k : int
        Hits wanted.
    bytes_read : int
        Vector bytes, an estimate of the cost.
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
class Collapse:
    """Keep the best chunk of each document."""

    child: FlatScan
    reason: str


@dataclass(frozen=True, slots=True)
class DualRead:
    """Read two versions and fuse them, explicitly.

    Attributes
    ----------
    fusion : str
        The rule, see `query.fusion`.
    coverage : float
        Share of live documents with fresh rows in the new version.
    new_only : int
        Documents with rows in the new version alone; they are placed by the new scores of their
        neighbours in the new ranking.
    """

    old: PlanNode
    new: PlanNode
    fusion: str
    coverage: float
    new_only: int
    reason: str


PlanNode = FlatScan | Collapse | DualRead


def scans(node: PlanNode) -> tuple[FlatScan, ...]:
    """Return the scans of a plan, the old version's first."""
    if isinstance(node, DualRead):
        return (*scans(node.old), *scans(node.new))
    if isinstance(node, Collapse):
        return (node.child,)
    return (node,)


def versions(node: PlanNode) -> tuple[str, ...]:
    """Return the versions a plan reads."""
    return tuple(scan.version for scan in scans(node))


def plan_to_dict(node: PlanNode) -> dict[str, object]:
    """Return a plan as plain data."""
    result: dict[str, object] = {"node": type(node).__name__}
    for entry in dataclasses.fields(node):
        value = getattr(node, entry.name)
        is_node = isinstance(value, FlatScan | Collapse | DualRead)
        if isinstance(value, tuple):
            value = list(value)
        result[entry.name] = plan_to_dict(value) if is_node else value
    return result


def render_plan(node: PlanNode, actuals: Mapping[str, object] | None = None) -> str:
    """Return a plan as indented text, one node per line, with what happened if it was run."""
    lines = _lines(node, 0)
    if actuals:
        lines.append("actual: " + ", ".join(f"{key}={value}" for key, value in actuals.items()))
    return "\n".join(lines)


def _lines(node: PlanNode, depth: int) -> list[str]:
    indent = "  " * depth
    if isinstance(node, DualRead):
        new_only = f", new_only={node.new_only}" if node.new_only else ""
        head = f"DualRead(fusion={node.fusion}, coverage={node.coverage:.1%}{new_only})"
        children = [*_lines(node.old, depth + 1), *_lines(node.new, depth + 1)]
    elif isinstance(node, Collapse):
        head, children = "Collapse(to=document, by=best chunk)", _lines(node.child, depth + 1)
    else:
        where = f", where={node.where}, matches={node.matches:,}" if node.where else ""
        head = (
            f"FlatScan(version={node.version!r} {node.fingerprint}, segments={len(node.segments)}, "
            f"rows={node.rows:,}{where}, k={node.k}, read={node.bytes_read / 1e6:.1f} MB)"
        )
        children = []
    return [f"{indent}{head}", f"{indent}    because {node.reason}", *children]
