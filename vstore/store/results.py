"""Results of searches: hits, the plan that found them, a trace; made when someone looks."""

from __future__ import annotations

from itertools import accumulate, pairwise
from typing import TYPE_CHECKING

from vstore.deferred import Deferred
from vstore.named import NamedTuple
from vstore.query.plan import render_plan

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vstore.observe.trace import Trace
    from vstore.observe.traced import TracedBatch
    from vstore.query.execution import Execution
    from vstore.query.plan import PlanNode
    from vstore.store import hits as hits_of
    from vstore.store import query_check
    from vstore.store.hits import Hit
    from vstore.store.query_check import Noted
    from vstore.store.snapshot import CollectionView
    from vstore.types import Array, DocumentId, IntArray
else:  # what a search for ids does not need
    hits_of = Deferred("vstore.store.hits")
    query_check = Deferred("vstore.store.query_check")


class SearchResult:
    """Hits, best first, with the plan that found them and a trace of how it went.

    A sequence of `Hit`. Hits and trace are made when they are first looked at.
    """

    __slots__ = ("_hits", "_number", "searched")

    def __init__(self, searched: Searched, number: int) -> None:
        self.searched = searched
        self._number = number
        self._hits: tuple[Hit, ...] | None = None

    @property
    def hits(self) -> tuple[Hit, ...]:
        """The hits, best first."""
        if self._hits is None:
            self._hits = self.searched.hits(self._number)
        return self._hits

    @property
    def plan(self) -> PlanNode:
        """The plan that found them."""
        return self.searched.batch.plan

    @property
    def trace(self) -> Trace:
        """What was read, when, and what came of it."""
        return self.searched.batch.trace(self._number)

    @property
    def ids(self) -> list[DocumentId]:
        """The hits' ids."""
        return self.searched.ids(self._number)

    @property
    def suspect(self) -> str | None:
        """Why the query, or the latest ones together, look like another model's; None normally."""
        return self.searched.suspicion(self._number)

    def explain(self) -> str:
        """Return the plan with what happened, as text."""
        actuals, suspicion = self.trace.actuals(), self.suspect
        if suspicion is not None:
            actuals["suspect"] = suspicion
        return render_plan(self.plan, actuals)

    def __iter__(self) -> Iterator[Hit]:
        return iter(self.hits)

    def __len__(self) -> int:
        return self.searched.batch.summaries.hits(self._number)

    def __getitem__(self, index: int) -> Hit:
        return self.hits[index]

    def __repr__(self) -> str:
        return f"SearchResult({list(self.hits)!r})"


class Searched:
    """A batch of queries after it ran, from which results are made when they are looked at."""

    __slots__ = ("_execution", "_ids", "_noted", "batch", "view")

    def __init__(
        self,
        view: CollectionView,
        execution: Execution,
        batch: TracedBatch,
        noted: tuple[Noted, ...] = (),
    ) -> None:
        self._noted = noted
        self.batch = batch
        self.view = view
        self._execution = execution
        self._ids: list[list[DocumentId]] | None = None

    def suspicion(self, number: int) -> str | None:
        """Return what is suspect about one query, in any version that was read."""
        found = [query_check.suspicion(noted, number) for noted in self._noted]
        return next((suspicion for suspicion in found if suspicion is not None), None)

    def ids(self, number: int) -> list[DocumentId]:
        """Return the ids of one query's hits."""
        if self._ids is None:  # of all queries at once, which costs little more than of one
            every = self.view.documents.ids(self._execution.docnos())
            if len(self.batch.summaries) == 1:
                self._ids = [every]
                return list(every)
            ends = accumulate(self.counts(), initial=0)
            self._ids = [every[start:end] for start, end in pairwise(ends)]
        return list(self._ids[number])

    def counts(self) -> list[int]:
        """Return the number of hits of each query."""
        summaries = self.batch.summaries
        return [summaries.hits(number) for number in range(len(summaries))]

    def flat_ids(self) -> IntArray | list[DocumentId]:
        """Return the ids of all hits, query by query; as an array if all are integers."""
        docnos, documents = self._execution.docnos(), self.view.documents
        numbers = documents.integer_ids(docnos)
        return documents.ids(docnos) if numbers is None else numbers

    def flat_scores(self) -> Array:
        """Return the scores of all hits, query by query, float64."""
        return self._execution.scores()

    def hits(self, number: int) -> tuple[Hit, ...]:
        """Return one query's hits."""
        view = self.view
        return tuple(
            hits_of.Hit(
                view.documents.id(hit.docno),
                hit.score,
                hit.version,
                hit.chunk,
                hit.stale,
                hit.docno,
                view,
            )
            for hit in self._execution.hits(number)
        )


class SearchedTogether(NamedTuple):
    """Queries of a batch that were answered together.

    Attributes
    ----------
    places : int64 (queries,)
        Where they are in the batch.
    """

    searched: Searched
    places: IntArray
