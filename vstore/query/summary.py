"""Counts of searches, made from the hits returned and kept after the hits are gone."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_NONE: Final = frozenset[str]()


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
        Queries with fewer hits than wanted.
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

    def whole(self, k: int) -> str | None:
        """Return the version of a single query's k fresh hits; None if the batch is not that."""
        ...


class ListedSummaries:
    """Counts made in advance, one `QuerySummary` for each query."""

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

    def whole(self, k: int) -> str | None:
        """Return None: only `totals` counts such hits."""
        return None


class MatchedSummaries:
    """Counts of searches whose hits are all of one version, as lists."""

    def __init__(self, label: str, counts: list[int], stale: list[int] | None) -> None:
        self._label = label
        self._counts = counts
        self._stale = stale  # None if no hit is stale

    def __len__(self) -> int:
        return len(self._counts)

    def __getitem__(self, query: int) -> QuerySummary:
        count = self._counts[query]
        answered = {self._label: count} if count else {}
        stale = 0 if self._stale is None else self._stale[query]
        return QuerySummary({self._label: count}, answered, stale)

    def hits(self, query: int) -> int:
        """Return the number of one query's hits."""
        return self._counts[query]

    def whole(self, k: int) -> str | None:
        """Return the version of a single query's k fresh hits; None if the batch is not that."""
        return self._label if self._stale is None and self._counts == [k] else None

    def totals(self, k: int) -> Totals:
        """Return the counts of all queries for k hits each."""
        none = self._counts.count(0)
        answered = {_NONE: none} if none else {}
        if none < len(self):
            answered[frozenset((self._label,))] = len(self) - none
        return Totals(
            len(self),
            answered,
            sum(self._counts),
            0 if self._stale is None else sum(self._stale),
            len(self) - self._counts.count(k),
        )
