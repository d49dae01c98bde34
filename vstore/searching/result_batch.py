"""Results of a batch, as a sequence, and as arrays of ids and scores."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, overload

import numpy as np

from vstore.searching.kept_answers import KeptAnswers, kept
from vstore.searching.results import PlacedAnswer, SearchResult
from vstore.searching.runs import run_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from vstore.types import Array, DocumentId, IntArray


@dataclass(init=False, repr=False, eq=False, frozen=True)
class SearchResults(Sequence[SearchResult]):
    """The results of a batch, in the order of its queries.

    A sequence of `SearchResult`, made on demand. Arrays of ids and scores take a fraction of the
    time that lists take. Outlives its store, and pickles, as its results do.

    Attributes
    ----------
    results : tuple[SearchResult, ...]
    """

    __slots__ = ("_parts", "results")

    results: tuple[SearchResult, ...]
    if TYPE_CHECKING:  # not a dataclass field
        _parts: Sequence[PlacedAnswer]

    def __init__(self, parts: Sequence[PlacedAnswer]) -> None:
        object.__setattr__(self, "_parts", parts)

    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> object:
            """Make the results at their first use."""
            if name != "results":
                raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
            by_place = {
                place: SearchResult(part.searched, number)
                for part in self._parts
                for number, place in enumerate(part.places.tolist())
            }
            results = tuple(by_place[place] for place in range(len(by_place)))
            object.__setattr__(self, "results", results)
            return self.results

    def __len__(self) -> int:
        return sum(len(part.places) for part in self._parts)

    def __iter__(self) -> Iterator[SearchResult]:
        return iter(self.results)

    @overload
    def __getitem__(self, index: int) -> SearchResult: ...

    @overload
    def __getitem__(self, index: slice) -> list[SearchResult]: ...

    def __getitem__(self, index: int | slice) -> SearchResult | list[SearchResult]:
        found = self.results[index]
        return list(found) if isinstance(found, tuple) else found

    def __repr__(self) -> str:
        return f"SearchResults({len(self):,} queries)"

    def __copy__(self) -> SearchResults:
        return self

    def __deepcopy__(self, memo: object) -> SearchResults:
        return self

    def __reduce__(self) -> tuple[object, ...]:
        answers = KeptAnswers(tuple(map(kept, self.results)))
        return SearchResults, ([PlacedAnswer(answers, np.arange(len(self)))],)

    def to_run(self, query_ids: Iterable[str | int]) -> dict[str, dict[str, float]]:
        """Return ids and scores as evaluation libraries take them (ir_measures, ranx, BEIR).

        These libraries sort by score, some in float32, and break ties by id. To keep the order of
        the hits, a score that is not below the previous one in float32 is lowered to the float32
        just below that one; other scores are unchanged. A document counts by its best chunk.

        Parameters
        ----------
        query_ids : iterable of str or int
            One for each query, in their order.

        Returns
        -------
        dict
            Query id to document id to score, the best first; all ids as str.

        Raises
        ------
        InvalidArgumentError
            The number of ids is not that of queries, an id is there twice or is neither str nor
            int, or an answer has two documents whose ids are the same str, such as 1 and "1".
        """
        return run_of([(result.ids, result.scores) for result in self.results], query_ids)

    def to_dict(self) -> dict[str, object]:
        """Return the results as plain data; without documents."""
        return {"results": [result.to_dict() for result in self.results]}

    @property
    def counts(self) -> IntArray:
        """Number of hits of each query, int64 (queries,)."""
        counts = np.zeros(len(self), np.int64)
        for searched, places in self._parts:
            counts[places] = searched.counts()
        return counts

    @property
    def ids(self) -> Array:
        """Ids of the hits, best first, (queries, most hits of one).

        int64 if all are integers, else objects; -1 or None after a query's last hit, see `counts`.
        """
        found = [part.searched.flat_ids() for part in self._parts]
        if all(map(_are_integers, found)):
            return self._matrix(found, -1, np.int64)
        return self._matrix(found, None, np.object_)

    @property
    def scores(self) -> Array:
        """Scores of the hits, float64 (queries, most hits of one); -inf after a query's last.

        They never rise from one hit to the next; see `Hit.score`.
        """
        found = [part.searched.flat_scores() for part in self._parts]
        return self._matrix(found, -np.inf, np.float64)

    def _matrix(self, found: Sequence[object], fill: object, dtype: type) -> Array:
        counts = self.counts
        width = int(counts.max(initial=0))
        matrix: Array = np.full((len(counts), width), fill, dtype)
        for part, values in zip(self._parts, found, strict=True):
            rows: Array = np.full((len(part.places), width), fill, dtype)
            rows[np.arange(width) < counts[part.places][:, None]] = values
            matrix[part.places] = rows
        return matrix


def _are_integers(ids: IntArray | list[DocumentId]) -> bool:
    return isinstance(ids, np.ndarray) or all(type(id_) is int for id_ in ids)
