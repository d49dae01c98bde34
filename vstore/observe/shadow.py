"""Shadow reads: how far a second version's answers are from the answers served."""

from __future__ import annotations

from dataclasses import dataclass
from threading import RLock
from typing import TYPE_CHECKING, Final, NamedTuple

from vstore.locked import locked

if TYPE_CHECKING:
    from collections.abc import Sequence

    from vstore.types import DocumentId


class ShadowKey(NamedTuple):
    """Identity of a comparison.

    Attributes
    ----------
    route : str
        Key of the route.
    served, shadow : str
        Labels of the versions compared.
    """

    collection: str
    route: str
    served: str
    shadow: str


@dataclass(frozen=True, slots=True)
class ShadowReport:
    """Means of a comparison, over all queries that both versions answered.

    Attributes
    ----------
    queries : int
    missing : int
        Queries without a vector for the shadow.
    overlap : float
        Mean share of hits in common.
    rank_correlation : float
        Mean of Spearman's rho over the hits in common, of queries with two or more of them; 0 if
        there are no such queries.
    served_s, shadow_s : float
        Mean latency in seconds.
    """

    key: ShadowKey
    queries: int
    missing: int
    overlap: float
    rank_correlation: float
    served_s: float
    shadow_s: float

    def to_dict(self) -> dict[str, object]:
        """Return everything as plain data."""
        measured = {name: getattr(self, name) for name in _MEASURED}
        return {**self.key._asdict(), **measured}


_MEASURED: Final = ("queries", "missing", "overlap", "rank_correlation", "served_s", "shadow_s")


def overlap(served: Sequence[DocumentId], shadow: Sequence[DocumentId]) -> float:
    """Return the number of hits in common, over the longer list's length; 1 if both are empty."""
    longest = max(len(served), len(shadow))
    return len(set(served) & set(shadow)) / longest if longest else 1.0


def rank_correlation(served: Sequence[DocumentId], shadow: Sequence[DocumentId]) -> float | None:
    """Return Spearman's rho over the hits in common; None if there are fewer than two."""
    place = {id_: rank for rank, id_ in enumerate(shadow)}
    common = [place[id_] for id_ in served if id_ in place]
    count = len(common)
    if count < 2:
        return None
    order = {rank: i for i, rank in enumerate(sorted(common))}
    squares = sum((i - order[rank]) ** 2 for i, rank in enumerate(common))
    return 1 - 6 * squares / (count * (count**2 - 1))


class Shadow:
    """Sums of one comparison; safe to use from many threads."""

    def __init__(self) -> None:
        self._lock = RLock()
        self._queries = self._missing = self._correlated = 0
        self._overlap = self._correlation = self._served_s = self._shadow_s = 0.0

    @locked
    def add(
        self,
        served: Sequence[DocumentId],
        shadow: Sequence[DocumentId],
        *,
        served_s: float,
        shadow_s: float,
    ) -> None:
        """Compare two answers to one query."""
        rho = rank_correlation(served, shadow)
        self._queries += 1
        self._overlap += overlap(served, shadow)
        self._served_s += served_s
        self._shadow_s += shadow_s
        if rho is not None:
            self._correlated += 1
            self._correlation += rho

    @locked
    def count_missing(self, queries: int) -> None:
        """Count queries without a vector for the shadow."""
        self._missing += queries

    @locked
    def report(self, key: ShadowKey) -> ShadowReport:
        """Return the means."""
        queries = max(1, self._queries)
        return ShadowReport(
            key,
            self._queries,
            self._missing,
            self._overlap / queries,
            self._correlation / max(1, self._correlated),
            self._served_s / queries,
            self._shadow_s / queries,
        )


class Shadows:
    """All comparisons of one handle."""

    def __init__(self) -> None:
        self._shadows: dict[ShadowKey, Shadow] = {}

    def of(self, collection: str, route: str, served: str, shadow: str) -> Shadow:
        """Return the sums of one comparison."""
        return self._shadows.setdefault(ShadowKey(collection, route, served, shadow), Shadow())

    def reports(self) -> list[ShadowReport]:
        """Return the means of every comparison."""
        return [shadow.report(key) for key, shadow in list(self._shadows.items())]
