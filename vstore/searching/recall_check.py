"""Comparison of live searches with exact search: the recall that users actually get."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vstore.evaluation.measures import ScoredIds
from vstore.observe.recall_sample import recall_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from vstore.observe.observer import Observer
    from vstore.observe.traced import TracedBatch
    from vstore.query.execution import Execution, RowHit
    from vstore.query.executor import Executor
    from vstore.types import Array


def compare(
    observer: Observer,
    batch: TracedBatch,
    executed: Execution,
    queries: Sequence[Array],
    exact: Callable[[], Executor],
    *,
    k: int,
    tenant: str = "",
    family: str = "",
) -> None:
    """Repeat the searches that the observer's sampler chooses as exact scans, and count recall.

    A scan's time comes on top, after the search's latency was measured.

    Parameters
    ----------
    executed : Execution
        Results of the searches.
    queries : float32 (m, dimension) for each version that was read
    exact : callable
        Returns an executor of the same plan by scans; called if any search is chosen.
    """
    sampler = observer.sampler
    assert sampler is not None, "the caller looked"
    chosen = [number for number in range(len(batch.summaries)) if sampler.due()]
    if not chosen:
        return
    right = exact().execute([vectors[chosen] for vectors in queries])
    for place, number in enumerate(chosen):
        recall = recall_of(
            _scored(executed.hits(number)), _scored(right.hits(place)), k=k, ties=len(queries) == 1
        )
        observer.compared(batch, recall, tenant=tenant, family=family)


def _scored(hits: Sequence[RowHit]) -> ScoredIds:
    return ScoredIds([(hit.docno, hit.chunk) for hit in hits], [hit.score for hit in hits])
