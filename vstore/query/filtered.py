"""What a filter leaves of a version's parts, computed once for a filter and a snapshot.

Programs ask with the same few filters again and again: one tenant, one year. The masks of the last
few are kept with the snapshot.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from vstore.deferred import Deferred
from vstore.recent import Recent
from vstore.segment.vectors import VectorSegment

if TYPE_CHECKING:
    from collections.abc import Sequence

    from vstore.index import resolution
    from vstore.segment.row_table import RowPart, RowTable
    from vstore.types import BoolArray
else:  # what a search without a filter does not need
    resolution = Deferred("vstore.index.resolution")

_FEW: Final = 0.02  # of the rows that pass: near-copies that cannot matter


class PassingRows:
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
        self._resolved: dict[int, float] = {}

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

    def resolved(self, number: int) -> float:
        """Return the share of a part's passing rows whose neighbours among them codes tell apart.

        Of a sample of them, be it a filter, a scope or a deletion that hides the others; 1 if none
        are hidden, since that was measured with the graph.
        """
        rows, part = self.rows(number), self._parts[number].rows
        if rows is None or not isinstance(part, VectorSegment):
            return 1.0
        known = self._resolved.get(number)
        graph, count = part.searched.graph, self.count(number)
        if known is None and graph.crowded_share * len(rows) <= _FEW * (count or 0):
            known = self._resolved[number] = 1.0
        if known is None:
            passing = np.flatnonzero(rows)
            spread = np.linspace(0, len(passing) - 1, min(len(passing), resolution.SAMPLE_ROWS))
            sample = part.searched.vectors[passing[spread.astype(np.int64)]]
            known = resolution.resolved_share(sample, graph.quantizer)
            self._resolved[number] = known
        return known

    def nodes(self, number: int) -> BoolArray | None:
        """Return by node of a part's graph whether one of its rows may be returned."""
        rows, part = self.rows(number), self._parts[number].rows
        if rows is None or not isinstance(part, VectorSegment) or not part.has_graph:
            return None
        nodes = self._nodes.get(number)
        if nodes is None:
            nodes = self._nodes[number] = part.searched.graph.allowed_nodes(rows)
        return nodes


class _FilteredTables(Recent[int, PassingRows]):
    """What the last few filters leave of a version, by the ids of their masks."""


def filtered(table: RowTable, matching: BoolArray | None) -> PassingRows:
    """Return which rows of a version pass a filter: the same object for the same mask."""
    # A `PassingRows` holds its mask, so that no other mask can have the same id meanwhile.
    known = table.companions.of(_FilteredTables)
    return known.get(id(matching), lambda: PassingRows(table.parts, matching))
