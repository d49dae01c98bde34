"""What is kept of searches after their hits are gone: counts, from the hits that were returned."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, NamedTuple, Protocol

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from vstore.types import IntArray


class QuerySummary(NamedTuple):
    """Counts of one query.

    Attributes
    ----------
    fetched : Mapping[str, int]
        Hits taken from each version to make the answer.
    answered : Mapping[str, int]
        Hits returned, by the version of their vector.
    stale : int
        Hits returned whose vector is of an older revision.
    """

    fetched: Mapping[str, int]
    answered: Mapping[str, int]
    stale: int


class Totals(NamedTuple):
    """Counts of a batch.

    Attributes
    ----------
    answered : Mapping[frozenset[str], int]
        Number of queries, by the versions of the hits they returned.
    short : int
        Queries with fewer hits than were asked for.
    """

    queries: int
    answered: Mapping[frozenset[str], int]
    hits: int
    stale: int
    short: int


class Summaries(Protocol):
    """Counts of each query of a batch."""

    def __len__(self) -> int:
        """Return the number of queries."""
        ...

    def __getitem__(self, query: int) -> QuerySummary:
        """Return the counts of one query."""
        ...

    def hits(self, query: int) -> int:
        """Return the number of one query's hits."""
        ...

    def totals(self, k: int) -> Totals:
        """Return the counts of all queries for k hits each."""
        ...


class ListedSummaries:
    """Counts that are there already."""

    def __init__(self, summaries: Sequence[QuerySummary]) -> None:
        self._summaries = summaries

    def __len__(self) -> int:
        return len(self._summaries)

    def __getitem__(self, query: int) -> QuerySummary:
        return self._summaries[query]

    def hits(self, query: int) -> int:
        """Return the number of one query's hits."""
        return sum(self._summaries[query].answered.values())

    def totals(self, k: int) -> Totals:
        """Return the counts of all queries for k hits each."""
        hits = [self.hits(query) for query in range(len(self))]
        return Totals(
            len(self),
            Counter(frozenset(one.answered) for one in self._summaries),
            sum(hits),
            sum(one.stale for one in self._summaries),
            sum(count < k for count in hits),
        )


class MatchedSummaries:
    """Counts of searches whose hits are all of one version, as arrays."""

    def __init__(self, label: str, counts: IntArray, stale: IntArray) -> None:
        self._label = label
        self._counts = counts
        self._stale = stale

    def __len__(self) -> int:
        return len(self._counts)

    def __getitem__(self, query: int) -> QuerySummary:
        count = self.hits(query)
        answered = {self._label: count} if count else {}
        return QuerySummary({self._label: count}, answered, int(self._stale[query]))

    def hits(self, query: int) -> int:
        """Return the number of one query's hits."""
        return int(self._counts[query])

    def totals(self, k: int) -> Totals:
        """Return the counts of all queries for k hits each."""
        some = int(np.count_nonzero(self._counts))
        answered = {frozenset((self._label,)): some, frozenset[str](): len(self) - some}
        return Totals(
            len(self),
            {versions: count for versions, count in answered.items() if count},
            int(self._counts.sum()),
            int(self._stale.sum()),
            int(np.count_nonzero(self._counts < k)),
        )
