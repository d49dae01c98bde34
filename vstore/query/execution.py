"""What a plan gave: hits as rows, made when someone looks; and what observers keep of them.

A score never rises from one hit to the next. A read of one version hands out the similarity by
which it ordered its hits. Scores of two versions cannot be compared, so a read of two versions
hands out the reciprocal of the rank, whatever rule made the order, and the similarities beside it.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, NamedTuple, Protocol

import numpy as np

from vstore.query.summary import ListedSummaries, MatchedSummaries, QuerySummary

if TYPE_CHECKING:
    from collections.abc import Mapping

    from vstore.query.fetching import FetchedBatch, VersionAnswer
    from vstore.query.summary import Summaries
    from vstore.segment.row_table import RowTable
    from vstore.types import Array, IntArray


class RowHit(NamedTuple):
    """One hit, before it has an id.

    Attributes
    ----------
    score : float
        Never above that of the hit before.
    similarities : Mapping[str, float]
        By version, of those in which the document was scored: `version`, and maybe another.
    """

    docno: int
    chunk: int
    score: float
    version: str
    stale: bool
    similarities: Mapping[str, float]


class QueryAnswer(NamedTuple):
    """Hits of one query, and how many rows each version gave to get them."""

    hits: list[RowHit]
    fetched: dict[str, int]


class Execution(Protocol):
    """What a plan gave to each of some queries; hits are made when they are asked for."""

    @property
    def summaries(self) -> Summaries:
        """What observers keep of it."""
        ...

    def hits(self, query: int) -> list[RowHit]:
        """Return one query's hits."""
        ...

    def docnos(self) -> IntArray:
        """Return the documents of all hits, query by query."""
        ...

    def scores(self) -> Array:
        """Return the scores of all hits, query by query, float64."""
        ...


class ListedExecution:
    """Hits that are there already: of a read of two versions."""

    def __init__(self, executed: list[QueryAnswer]) -> None:
        self._executed = executed
        self.summaries: Summaries = ListedSummaries(
            [
                QuerySummary(
                    one.fetched,
                    dict(Counter(hit.version for hit in one.hits)),
                    sum(hit.stale for hit in one.hits),
                )
                for one in executed
            ]
        )

    def hits(self, query: int) -> list[RowHit]:
        """Return one query's hits."""
        return self._executed[query].hits

    def docnos(self) -> IntArray:
        """Return the documents of all hits, query by query."""
        return np.array([hit.docno for one in self._executed for hit in one.hits], np.int64)

    def scores(self) -> Array:
        """Return the scores of all hits, query by query, float64."""
        return np.array([hit.score for one in self._executed for hit in one.hits], np.float64)


class MatchedExecution:
    """Arrays of hits of one version: a batch of thousands makes no object that nobody looks at."""

    def __init__(self, table: RowTable, batch: FetchedBatch) -> None:
        self._table = table
        self._batch = batch
        self._counts = batch.counts()
        self.summaries: Summaries = MatchedSummaries(table.label, self._counts, self._stale())

    def _stale(self) -> list[int] | None:
        """Count each query's hits that are not fresh; None if all are."""
        stale: IntArray | None = None
        for number, part in enumerate(self._table.parts):
            if part.fresh is not None:
                mine = (self._batch.part == number) & (self._batch.docno >= 0)
                found = (mine & ~part.fresh[np.where(mine, self._batch.row, 0)]).sum(axis=1)
                stale = found if stale is None else stale + found
        return None if stale is None else stale.tolist()

    def hits(self, query: int) -> list[RowHit]:
        """Return one query's hits."""
        return row_hits(self._table, self._batch.one(query))

    def docnos(self) -> IntArray:
        """Return the documents of all hits, query by query."""
        docno: IntArray = self._batch.docno
        return docno.ravel() if self._batch.full else docno[docno >= 0]

    def scores(self) -> Array:
        """Return the scores of all hits, query by query, float64."""
        return np.asarray(self._batch.score[self._batch.docno >= 0])


def reciprocal_ranks(count: int) -> Array:
    """Return the scores of a read of two versions: 1, 1/2, 1/3 ..., float64 (count,).

    They differ in float32 too, for eight times `limits.K_MAX` hits.
    """
    return 1.0 / np.arange(1, count + 1)


def row_hits(table: RowTable, fetched: VersionAnswer) -> list[RowHit]:
    """Return what was fetched of a version for one query as hits."""
    return [
        row_hit(table, *place)
        for place in zip(
            fetched.docno.tolist(),
            fetched.part.tolist(),
            fetched.row.tolist(),
            fetched.score.tolist(),
            strict=True,
        )
    ]


def row_hit(table: RowTable, docno: int, number: int, row: int, score: float) -> RowHit:
    """Return one row of one part of a version as a hit of a read of that version."""
    part = table.parts[number]
    return RowHit(
        docno=docno,
        chunk=0 if part.rows.single else int(part.rows.chunk[row]),
        score=score,
        version=table.label,
        stale=part.fresh is not None and not bool(part.fresh[row]),
        similarities={table.label: score},
    )
