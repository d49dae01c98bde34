"""Running a plan over the rows of one snapshot."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from vstore.deferred import Deferred
from vstore.query.execution import MatchedExecution
from vstore.query.fetching import VersionSearch
from vstore.query.plan import CascadeRead, DualRead

if TYPE_CHECKING:
    from collections.abc import Sequence

    from vstore.query import two_reads
    from vstore.query.execution import Execution
    from vstore.query.fetching import VersionRead
    from vstore.query.fusion.rules import FusionRule
    from vstore.query.plan import PlanNode
    from vstore.types import Array
else:  # loaded late: a search of one version does not need it
    two_reads = Deferred("vstore.query.two_reads")


class Executor(Protocol):
    """A plan prepared to run on queries."""

    def execute(self, queries: Sequence[Array]) -> Execution:
        """Answer queries, float32 (m, dimension) for each version that is read.

        Raises
        ------
        CorruptionError
            A part of a segment that a query reads is damaged.
        """
        ...


class MatchedRead:
    """A read of one version."""

    def __init__(self, read: VersionRead) -> None:
        self._table = read.table
        self._search = VersionSearch(read).simplest

    def execute(self, queries: Sequence[Array]) -> Execution:
        """Answer queries; see `Executor.execute`."""
        return MatchedExecution(self._table, self._search.fetch(queries[0]))


def executor_of(
    plan: PlanNode,
    reads: Sequence[VersionRead],
    *,
    k: int,
    rule: FusionRule | None = None,
    curve: tuple[float, ...] = (),
) -> Executor:
    """Return an executor for a plan.

    Parameters
    ----------
    reads : sequence of VersionRead
        In the order of `plan.versions`: one read, or the old version's and the new one's.
    k : int
        Number of hits wanted in all.
    rule : FusionRule, optional
        Fusion rule of a dual read.
    curve : tuple[float, ...]
        The rule's fitted parameters.
    """
    if not isinstance(plan, DualRead | CascadeRead):
        return MatchedRead(reads[0])
    old, new = reads
    if isinstance(plan, CascadeRead):
        return two_reads.CascadedReads((old, new), k=k)
    assert rule is not None, "a dual read has one"
    return two_reads.FusedReads(rule, (old, new), k=k, coverage=plan.coverage, curve=curve)
