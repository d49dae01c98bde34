"""Live searches compared with exact search: what recall users get, not what a graph promised."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vstore.evaluation.measures import ScoredIds
from vstore.observe.recall_sample import recall_of
from vstore.query.executor import execute
from vstore.query.paths import EXACT

if TYPE_CHECKING:
    from collections.abc import Sequence

    from vstore.observe.observer import Observer
    from vstore.observe.traced import TracedBatch
    from vstore.query.execution import Execution, RowHit
    from vstore.query.fetching import VersionRead
    from vstore.types import BoolArray


def compare(
    observer: Observer,
    batch: TracedBatch,
    executed: Execution,
    reads: Sequence[VersionRead],
    matching: BoolArray | None,
    *,
    k: int,
    collapse: bool,
    curve: tuple[float, ...] = (),
    tenant: str = "",
    family: str = "",
) -> None:
    """Run the searches that the observer's sampler chooses exactly, and count what they missed.

    It takes the time of a scan, after the answer was found and its time was taken.

    Parameters
    ----------
    executed : Execution
        What was answered.
    reads, matching, k, collapse, curve
        As it was executed; see `query.executor.execute`.
    """
    sampler = observer.sampler
    assert sampler is not None, "the caller looked"
    chosen = [number for number in range(len(batch.summaries)) if sampler.due()]
    if not chosen:
        return
    exactly = [read._replace(queries=read.queries[chosen], wanted=EXACT) for read in reads]
    exact = execute(batch.plan, exactly, matching, k=k, collapse=collapse, curve=curve)
    for place, number in enumerate(chosen):
        recall = recall_of(
            _scored(executed.hits(number)), _scored(exact.hits(place)), k=k, ties=len(reads) == 1
        )
        observer.compared(batch, recall, tenant=tenant, family=family)


def _scored(hits: Sequence[RowHit]) -> ScoredIds:
    return ScoredIds([(hit.docno, hit.chunk) for hit in hits], [hit.score for hit in hits])
