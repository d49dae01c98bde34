"""Results of searches: hits, plan and trace, made on demand."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import TYPE_CHECKING, NamedTuple, TypeVar

import numpy as np

from vstore.deferred import Deferred
from vstore.errors import ClosedError, VstoreError
from vstore.query.plan import render_plan

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vstore.engine.snapshot import CollectionView
    from vstore.guarding import query_check
    from vstore.guarding.query_check import Noted
    from vstore.observe.trace import Trace
    from vstore.observe.traced import TracedBatch
    from vstore.query.execution import Execution
    from vstore.query.plan import PlanNode
    from vstore.searching import hits as hits_of
    from vstore.searching import kept_answers, runs
    from vstore.searching.hits import Hit
    from vstore.searching.kept_answers import KeptAnswers
    from vstore.types import Array, DocumentId, IntArray
else:  # loaded late: a search for ids does not need these
    hits_of = Deferred("vstore.searching.hits")
    kept_answers = Deferred("vstore.searching.kept_answers")
    query_check = Deferred("vstore.guarding.query_check")
    runs = Deferred("vstore.searching.runs")

T = TypeVar("T")


@dataclass(init=False, repr=False, eq=False, frozen=True)
class SearchResult:
    """Hits, best first, with the plan that found them and a trace of the run.

    A sequence of `Hit`. Hits and trace are made at their first use, even after the store was
    closed. Documents must be read before the store is closed or vacuumed, or a reader refreshes
    after a vacuum. Pickles with its hits, plan, trace, and the documents that were read.

    Attributes
    ----------
    hits : tuple[Hit, ...]
        Best first.
    """

    __slots__ = ("_batch", "_number", "hits")

    hits: tuple[Hit, ...]
    if TYPE_CHECKING:  # not dataclass fields
        _batch: BatchAnswer | KeptAnswers
        _number: int

    def __init__(self, batch: BatchAnswer | KeptAnswers, number: int) -> None:
        object.__setattr__(self, "_batch", batch)
        object.__setattr__(self, "_number", number)

    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> object:
            """Make the hits at their first use."""
            if name != "hits":
                raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
            object.__setattr__(self, "hits", self._batch.hits(self._number))
            return self.hits

    @property
    def plan(self) -> PlanNode:
        """The plan that found the hits."""
        return self._batch.plan(self._number)

    @property
    def trace(self) -> Trace:
        """The state and rows read, the hits by version, and the latency."""
        return self._batch.trace(self._number)

    @property
    def ids(self) -> list[DocumentId]:
        """The hits' ids."""
        return self._batch.ids(self._number)

    @property
    def scores(self) -> list[float]:
        """The hits' scores, never rising."""
        return self._batch.scores(self._number)

    @property
    def suspect(self) -> str | None:
        """Why the query, or the latest queries together, look like another model's; else None.

        Raises
        ------
        ClosedError
            The store was closed before the version's guard was read.
        """
        return self._batch.suspicion(self._number)

    def explain(self) -> str:
        """Return the plan with its actuals, as text."""
        actuals = self.trace.actuals()
        try:
            suspicion = self.suspect
        except ClosedError:
            suspicion = "not known, since the store was closed before anyone asked"
        if suspicion is not None:
            actuals["suspect"] = suspicion
        return render_plan(self.plan, actuals)

    def to_run(self, query_id: str | int) -> dict[str, dict[str, float]]:
        """Return ids and scores as evaluation libraries take them; see `SearchResults.to_run`."""
        return runs.run_of([(self.ids, self.scores)], [query_id])

    def to_dict(self) -> dict[str, object]:
        """Return the hits, and the mode and versions read, as plain data; without documents."""
        trace = self.trace
        return {
            "collection": trace.collection,
            "epoch": trace.epoch,
            "mode": trace.mode,
            "versions": list(trace.versions),
            "hits": [hit.to_dict() for hit in self.hits],
        }

    def __iter__(self) -> Iterator[Hit]:
        return iter(self.hits)

    def __len__(self) -> int:
        return self._batch.count(self._number)

    def __getitem__(self, index: int) -> Hit:
        return self.hits[index]

    def __repr__(self) -> str:
        try:
            return f"SearchResult({list(self.hits)!r})"
        except VstoreError as error:  # damaged ids: `ids` raises the full message
            return f"SearchResult({len(self)} hits: {type(error).__name__})"

    def __copy__(self) -> SearchResult:
        return self

    def __deepcopy__(self, memo: object) -> SearchResult:
        return self

    def __reduce__(self) -> tuple[object, ...]:
        return SearchResult, (kept_answers.KeptAnswers((kept_answers.kept(self),)), 0)


class BatchAnswer:
    """Answers to a batch of queries, from which results are made on demand."""

    __slots__ = ("_documents", "_execution", "_ids", "_noted", "_scores", "batch")

    def __init__(
        self,
        view: CollectionView,
        execution: Execution,
        batch: TracedBatch,
        noted: tuple[Noted, ...] = (),
    ) -> None:
        self._noted = noted
        self.batch = batch
        # Not the view: it would keep a file open that a vacuum has replaced.
        self._documents = view.documents
        self._execution = execution
        self._ids: list[list[DocumentId]] | None = None
        self._scores: list[list[float]] | None = None

    def plan(self, number: int) -> PlanNode:
        """Return the plan of one query; all share it."""
        return self.batch.plan

    def trace(self, number: int) -> Trace:
        """Return the trace of one query."""
        return self.batch.trace(number)

    def suspicion(self, number: int) -> str | None:
        """Return why one query is suspect, in any version read; None if it is not."""
        found = [query_check.suspicion(noted, number) for noted in self._noted]
        return next((suspicion for suspicion in found if suspicion is not None), None)

    def ids(self, number: int) -> list[DocumentId]:
        """Return the ids of one query's hits."""
        if self._ids is None:  # for all queries at once: costs little more than for one
            self._ids = self._by_query(self._documents.ids(self._execution.docnos()))
        return list(self._ids[number])

    def scores(self, number: int) -> list[float]:
        """Return the scores of one query's hits."""
        if self._scores is None:
            self._scores = self._by_query(self._execution.scores().tolist())
        return list(self._scores[number])

    def _by_query(self, every: list[T]) -> list[list[T]]:
        if len(self.batch.summaries) == 1:
            return [every]
        return [every[start:end] for start, end in pairwise(accumulate(self.counts(), initial=0))]

    def count(self, number: int) -> int:
        """Return the number of one query's hits."""
        return self.batch.summaries.hits(number)

    def counts(self) -> list[int]:
        """Return the number of hits of each query."""
        return list(map(self.count, range(len(self.batch.summaries))))

    def flat_ids(self) -> IntArray | list[DocumentId]:
        """Return the ids of all hits, query by query; as an array if all are integers."""
        docnos, documents = self._execution.docnos(), self._documents
        numbers = documents.integer_ids(docnos)
        return documents.ids(docnos) if numbers is None else numbers

    def flat_scores(self) -> Array:
        """Return the scores of all hits, query by query, float64."""
        return self._execution.scores()

    def hits(self, number: int) -> tuple[Hit, ...]:
        """Return one query's hits."""
        documents = self._documents
        return tuple(
            hits_of.hit_of(hit, documents.id(hit.docno), documents)
            for hit in self._execution.hits(number)
        )


class PlacedAnswer(NamedTuple):
    """Answers to some of a batch's queries.

    Attributes
    ----------
    places : int64 (queries,)
        Numbers of these queries in the batch.
    """

    searched: BatchAnswer | KeptAnswers
    places: IntArray


def together(searched: BatchAnswer) -> PlacedAnswer:
    """Return the answers to a whole batch."""
    return PlacedAnswer(searched, np.arange(len(searched.batch.summaries)))
