"""Running a plan over the rows of one snapshot."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vstore.deferred import Deferred
from vstore.query.execution import ListedExecution, MatchedExecution
from vstore.query.fetching import fetch
from vstore.query.plan import Cascade, DualRead

if TYPE_CHECKING:
    from collections.abc import Sequence

    from vstore.query import two_reads
    from vstore.query.execution import Execution
    from vstore.query.fetching import VersionRead
    from vstore.query.plan import PlanNode
    from vstore.types import BoolArray
else:  # not what a search of one version needs
    two_reads = Deferred("vstore.query.two_reads")


def execute(
    plan: PlanNode,
    reads: Sequence[VersionRead],
    matching: BoolArray | None,
    *,
    k: int,
    collapse: bool,
    curve: tuple[float, ...] = (),
) -> Execution:
    """Run a plan for each query.

    Parameters
    ----------
    reads : sequence of VersionRead
        As `plan.versions`: one, or where two are read the old and the new one.
    matching : bool (docno_end,) or None
        Documents that pass the filter.
    curve : tuple[float, ...]
        What the fusion rule has learnt.
    """
    if not isinstance(plan, DualRead | Cascade):
        return MatchedExecution(reads[0].table, fetch(reads[0], matching, k, collapse=collapse))
    old, new = reads
    both = two_reads.TwoReads(old, new, matching, k, plan.coverage, curve)
    if isinstance(plan, Cascade):
        return ListedExecution(two_reads.cascaded(both))
    return two_reads.executed(plan.fusion, both)
