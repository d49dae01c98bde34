"""Rows of a version's parts that pass a filter, computed once for a filter and a snapshot.

Programs reuse the same few filters: one tenant, one year. The masks of the latest few are cached
with the snapshot.
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
else:  # loaded late: a search without a filter does not need it
    resolution = Deferred("vstore.index.resolution")

_FEW: Final = 0.02  # share of the passing rows: fewer near-copies cannot matter


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
        """Return the mask of a part's rows that may be returned; None if all may."""
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
        """Return the share of a part's passing rows whose passing neighbours codes tell apart.

        Estimated from a sample, whether a filter, a scope or deletions hide the other rows; 1 if no
        row is hidden, because that case was measured with the graph.
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
        """Return the mask of graph nodes with a row that may be returned; None if all may.

        None also for a part without a graph.
        """
        rows, part = self.rows(number), self._parts[number].rows
        if rows is None or not isinstance(part, VectorSegment) or not part.has_graph:
            return None
        nodes = self._nodes.get(number)
        if nodes is None:
            nodes = self._nodes[number] = part.searched.graph.allowed_nodes(rows)
        return nodes


class _FilteredTables(Recent[int, PassingRows]):
    """Passing rows of the latest few filters, by the ids of their masks."""


def filtered(table: RowTable, matching: BoolArray | None) -> PassingRows:
    """Return which rows of a version pass a filter: the same object for the same mask."""
    # A `PassingRows` keeps its mask alive, so that the mask's id stays unique.
    known = table.companions.of(_FilteredTables)
    return known.get(id(matching), lambda: PassingRows(table.parts, matching))
