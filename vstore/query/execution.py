"""Results of running a plan: hits as rows, made on demand, and summaries for observers.

Scores never rise from one hit to the next. In a read of one version, the score is the similarity
that ordered the hits. Scores of two versions cannot be compared, so in a read of two versions the
score is the reciprocal of the rank, whatever the fusion rule, with the similarities beside it.
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
    """One hit, by docno; a `Hit` has the id.

    Attributes
    ----------
    score : float
        Never above the previous hit's score.
    similarities : Mapping[str, float]
        By version, for each version that scored the document: `version`, and maybe another.
    """

    docno: int
    chunk: int
    score: float
    version: str
    stale: bool
    similarities: Mapping[str, float]


class QueryAnswer(NamedTuple):
    """Hits of one query, and the number of rows fetched from each version."""

    hits: list[RowHit]
    fetched: dict[str, int]


class Execution(Protocol):
    """Results of a batch of queries; hits are made on demand."""

    @property
    def summaries(self) -> Summaries:
        """Counts for observers."""
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
    """Results of a read of two versions, whose hits are made already."""

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
    """Results of a read of one version, as arrays: a large batch makes no unused objects."""

    def __init__(self, table: RowTable, batch: FetchedBatch) -> None:
        self._table = table
        self._batch = batch
        self._counts = batch.counts()
        self.summaries: Summaries = MatchedSummaries(table.label, self._counts, self._stale())

    def _stale(self) -> list[int] | None:
        """Count each query's stale hits; None if no query can have one."""
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

    They stay distinct in float32 for up to eight times `limits.K_MAX` hits.
    """
    return 1.0 / np.arange(1, count + 1)


def row_hits(table: RowTable, fetched: VersionAnswer) -> list[RowHit]:
    """Return one version's answer to one query as hits."""
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
    """Return one row of a version's part as a hit of a read of that version."""
    part = table.parts[number]
    return RowHit(
        docno=docno,
        chunk=0 if part.rows.single else int(part.rows.chunk[row]),
        score=score,
        version=table.label,
        stale=part.fresh is not None and not bool(part.fresh[row]),
        similarities={table.label: score},
    )
