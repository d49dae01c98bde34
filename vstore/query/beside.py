"""Two versions side by side: which documents each of them answers for."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from vstore.cached import cached_property
from vstore.recent import Recent

if TYPE_CHECKING:
    from vstore.segment.row_table import RowTable
    from vstore.types import BoolArray


class Beside:
    """Comparison of two versions at one epoch; made once, by `beside`.

    Masks are by docno, bool (docno_end,), and the same array each time: a version's passing rows
    are cached by the mask's identity.

    Attributes
    ----------
    migrated : mask
        Documents with fresh new rows.
    in_old : mask
        Documents that the old version can show.
    new_only : int
        Documents that only the new version can show.
    new_only_share : float
        Their share of all documents that are not migrated.
    """

    def __init__(self, old: RowTable, new: RowTable) -> None:
        self.migrated, self.in_old = new.has_fresh, old.has_served
        alone = new.has_served & ~self.in_old
        self.new_only = int(np.count_nonzero(alone))
        left = int(np.count_nonzero(self.in_old & ~self.migrated))
        self.new_only_share = self.new_only / (self.new_only + left) if self.new_only else 0.0
        self._answerable = self.migrated | alone
        self._is_all_new = np.array_equal(self._answerable, new.has_served)
        self._narrowed: Recent[tuple[str, int], tuple[BoolArray, BoolArray]] = Recent()

    def answerable(self, matching: BoolArray | None) -> BoolArray | None:
        """Return the mask of documents that pass a filter and that the new version answers for.

        None for all documents that the new version has.

        The new version answers for documents with fresh new rows, and for documents that only it
        can show. The old version answers for a document whose new rows are stale.
        """
        return (
            matching if self._is_all_new else self._both("answerable", self._answerable, matching)
        )

    def moved(self, matching: BoolArray | None) -> BoolArray:
        """Return the mask of documents that pass a filter and have fresh new rows."""
        return self._both("moved", self.migrated, matching)

    def left(self, matching: BoolArray | None) -> BoolArray:
        """Return the mask of passing documents, except those that the new version answers for."""
        return self._both("left", self._left, matching)

    @cached_property
    def _left(self) -> BoolArray:
        return np.asarray(~self._answerable)

    def _both(self, name: str, mask: BoolArray, matching: BoolArray | None) -> BoolArray:
        if matching is None:
            return mask
        # The cached value keeps the filter's mask alive, so that its id stays unique.
        made = self._narrowed.get((name, id(matching)), lambda: (matching, matching & mask))
        return made[1]


class _BesideOthers(Recent[str, Beside]):
    """Comparisons of a version with others at its epoch, by their labels."""


def beside(old: RowTable, new: RowTable) -> Beside:
    """Return the comparison of two versions; cached for all queries at a snapshot."""
    return new.companions.of(_BesideOthers).get(old.label, lambda: Beside(old, new))
