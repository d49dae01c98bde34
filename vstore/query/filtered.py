"""What a filter leaves of a version's parts, computed once for a filter and a snapshot.

Programs ask with the same few filters again and again: one tenant, one year. The masks of the last
few are kept with the snapshot.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

from vstore.recent import Recent
from vstore.segment.vectors import VectorSegment

if TYPE_CHECKING:
    from collections.abc import Sequence

    from vstore.segment.row_table import RowPart, RowTable
    from vstore.types import BoolArray

_SEARCHES: Final = 16  # a caller may ask for any k and recall


class Filtered:
    """Which rows of a version's parts may be returned.

    Parameters
    ----------
    matching : bool (docno_end,) or None
        Documents that pass the filter; None for all.
    """

    def __init__(self, parts: Sequence[RowPart], matching: BoolArray | None) -> None:
        self.matching = matching
        self._parts = parts
        self._rows: dict[int, BoolArray | None] = {}
        self._counts: dict[int, int | None] = {}
        self._nodes: dict[int, BoolArray] = {}
        self.searches: Recent[object, Any] = Recent(_SEARCHES)  # how parts are, by what was asked

    def rows(self, number: int) -> BoolArray | None:
        """Return by row of a part whether it may be returned; None if all may."""
        if number not in self._rows:
            part = self._parts[number]
            rows = part.live
            if self.matching is not None:
                passing = self.matching[part.rows.docno]
                rows = passing if rows is None else passing & rows
            self._rows[number] = rows
        return self._rows[number]

    def count(self, number: int) -> int | None:
        """Return how many rows of a part may be returned; None if all may."""
        if number not in self._counts:
            rows = self.rows(number)
            self._counts[number] = None if rows is None else int(np.count_nonzero(rows))
        return self._counts[number]

    def nodes(self, number: int) -> BoolArray | None:
        """Return by node of a part's graph whether one of its rows may be returned."""
        rows, part = self.rows(number), self._parts[number].rows
        if rows is None or not isinstance(part, VectorSegment) or not part.has_graph:
            return None
        nodes = self._nodes.get(number)
        if nodes is None:
            nodes = self._nodes[number] = part.searched.graph.permitted(rows)
        return nodes


def filtered(table: RowTable, matching: BoolArray | None) -> Filtered:
    """Return which rows of a version pass a filter: the same for the same mask."""
    # What is remembered holds its mask, so that no other mask is where that one is.
    found: Filtered = table.filtered.get(id(matching), lambda: Filtered(table.parts, matching))
    return found
