"""Answers detached from their store, as results are pickled."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from vstore.errors import ClosedError

if TYPE_CHECKING:
    from vstore.observe.trace import Trace
    from vstore.query.plan import PlanNode
    from vstore.searching.hits import Hit
    from vstore.searching.results import SearchResult
    from vstore.types import Array, DocumentId


class KeptAnswer(NamedTuple):
    """One answer.

    Attributes
    ----------
    hits : tuple[Hit, ...]
        Hits, with the documents that were read.
    suspicion : str | None
        Why the query is suspect; None if it is not.
    is_judged : bool
        Whether the suspicion is known.
    """

    hits: tuple[Hit, ...]
    plan: PlanNode
    trace: Trace
    suspicion: str | None
    is_judged: bool


class KeptAnswers(NamedTuple):
    """Answers to a batch of queries, with the methods of `BatchAnswer`."""

    answers: tuple[KeptAnswer, ...]

    def plan(self, number: int) -> PlanNode:
        """Return the plan of one query."""
        return self.answers[number].plan

    def trace(self, number: int) -> Trace:
        """Return the trace of one query."""
        return self.answers[number].trace

    def suspicion(self, number: int) -> str | None:
        """Return why one query is suspect, in any version read; None if it is not.

        Raises
        ------
        ClosedError
            The store was closed before the suspicion was read.
        """
        answer = self.answers[number]
        if not answer.is_judged:
            raise ClosedError("suspect: the store was closed before anyone asked")
        return answer.suspicion

    def hits(self, number: int) -> tuple[Hit, ...]:
        """Return one query's hits."""
        return self.answers[number].hits

    def ids(self, number: int) -> list[DocumentId]:
        """Return the ids of one query's hits."""
        return [hit.id for hit in self.hits(number)]

    def scores(self, number: int) -> list[float]:
        """Return the scores of one query's hits."""
        return [hit.score for hit in self.hits(number)]

    def count(self, number: int) -> int:
        """Return the number of one query's hits."""
        return len(self.hits(number))

    def counts(self) -> list[int]:
        """Return the number of hits of each query."""
        return [len(answer.hits) for answer in self.answers]

    def flat_ids(self) -> list[DocumentId]:
        """Return the ids of all hits, query by query."""
        return [hit.id for answer in self.answers for hit in answer.hits]

    def flat_scores(self) -> Array:
        """Return the scores of all hits, query by query, float64."""
        return np.array([hit.score for answer in self.answers for hit in answer.hits], np.float64)


def kept(result: SearchResult) -> KeptAnswer:
    """Return the parts of a result that need no store."""
    is_judged, suspicion = True, None
    try:
        suspicion = result.suspect
    except ClosedError:
        is_judged = False
    return KeptAnswer(result.hits, result.plan, result.trace, suspicion, is_judged)
