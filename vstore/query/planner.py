"""The planner: from a request and statistics to a plan. Pure: it reads no vector and no file."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from vstore.query.plan import Collapse, DualRead, FlatScan, PlanNode

if TYPE_CHECKING:
    from collections.abc import Mapping

EVIDENCE_DEPTH = 50  # migrated documents whose scores standardise a version, as design section 8


@dataclass(frozen=True, slots=True)
class VersionStatistics:
    """What the planner knows of a version.

    Attributes
    ----------
    rows : int
        Rows a search may return.
    multiple_chunks : bool
        Whether any document has more than one row.
    row_bytes : int
        Bytes of one stored vector.
    """

    label: str
    fingerprint: str
    segments: tuple[str, ...]
    rows: int
    multiple_chunks: bool
    row_bytes: int


@dataclass(frozen=True, slots=True)
class SearchRequest:
    """A search whose query vectors have been checked against their versions.

    Attributes
    ----------
    new : str
        The version to read, in a dual read the new one.
    old : str | None
        In a dual read the old version.
    where : str
        The filter as text, for people; the executor has the filter itself.
    origin : str
        Who chose the versions: the route, the caller, or the query's stamp.
    """

    new: str
    old: str | None
    k: int
    fusion: str
    where: str
    collapse: bool
    origin: str


@dataclass(frozen=True, slots=True)
class PlanStatistics:
    """Everything the planner looks at."""

    versions: Mapping[str, VersionStatistics]
    live_documents: int
    matches: int | None
    coverage: float
    new_only: int


def plan_search(request: SearchRequest, statistics: PlanStatistics) -> PlanNode:
    """Return the plan of a search."""
    if request.old is None:
        return _read(
            request, statistics, request.new, f"matched read: {request.origin} names this version"
        )
    old = _read(request, statistics, request.old, "the old version ranks every document it has")
    new = _read(request, statistics, request.new, "the new version ranks the migrated documents")
    reason = f"dual read: {request.origin}"
    if request.fusion == "slots":
        reason += "; migrated documents keep the slots they win in the old ranking, in new order"
    if statistics.new_only:
        reason += (
            f"; {statistics.new_only:,} documents live only in the new version and stand "
            "before the next migrated document of the new ranking"
        )
    return DualRead(old, new, request.fusion, statistics.coverage, statistics.new_only, reason)


def _read(request: SearchRequest, statistics: PlanStatistics, label: str, reason: str) -> PlanNode:
    version = statistics.versions[label]
    if statistics.matches is not None and statistics.live_documents:
        share = statistics.matches / statistics.live_documents
        reason += f"; the filter passes {share:.1%} of {statistics.live_documents:,} documents"
    scan = FlatScan(
        version=label,
        fingerprint=version.fingerprint,
        segments=version.segments,
        rows=version.rows,
        where=request.where,
        matches=statistics.matches,
        k=request.k,
        bytes_read=version.rows * version.row_bytes,
        reason=reason + "; exact, no graph is built yet",
    )
    if request.collapse and version.multiple_chunks:
        return Collapse(scan, "documents have several chunks, hits are documents")
    return scan
