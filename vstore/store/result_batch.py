"""Results of a batch: a sequence of them, and their ids and scores as arrays."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, overload

import numpy as np

from vstore.store.results import SearchResult

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vstore.store.results import SearchedTogether
    from vstore.types import Array, DocumentId, IntArray


class SearchResults(Sequence[SearchResult]):
    """The results of a batch, in the order of its queries.

    A sequence of `SearchResult`, made when someone looks. Arrays of ids and scores take a fraction
    of the time that lists of them do.
    """

    __slots__ = ("_in_order", "_parts")

    def __init__(self, parts: Sequence[SearchedTogether]) -> None:
        self._parts = parts
        self._in_order: list[SearchResult] | None = None

    def __len__(self) -> int:
        return sum(len(part.places) for part in self._parts)

    def __iter__(self) -> Iterator[SearchResult]:
        return iter(self._results())

    @overload
    def __getitem__(self, index: int) -> SearchResult: ...

    @overload
    def __getitem__(self, index: slice) -> list[SearchResult]: ...

    def __getitem__(self, index: int | slice) -> SearchResult | list[SearchResult]:
        return self._results()[index]

    def _results(self) -> list[SearchResult]:
        if self._in_order is None:
            by_place = {
                place: SearchResult(part.searched, number)
                for part in self._parts
                for number, place in enumerate(part.places.tolist())
            }
            self._in_order = [by_place[place] for place in range(len(by_place))]
        return self._in_order

    def __repr__(self) -> str:
        return f"SearchResults({len(self):,} queries)"

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

        int64 if all are integers, else objects; -1 or None behind a query's last, see `counts`.
        """
        found = [part.searched.flat_ids() for part in self._parts]
        if all(map(_are_integers, found)):
            return self._matrix(found, -1, np.int64)
        return self._matrix(found, None, np.object_)

    @property
    def scores(self) -> Array:
        """Scores of the hits, float64 (queries, most hits of one); -inf behind a query's last."""
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
