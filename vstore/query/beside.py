"""Two versions of the same documents, side by side: which documents each of them answers for."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from vstore.cached import cached_property
from vstore.recent import Recent

if TYPE_CHECKING:
    from vstore.segment.row_table import RowTable
    from vstore.types import BoolArray


class Beside:
    """What two versions say of each other at one epoch; made once, by `beside`.

    Masks are by docno, bool (docno_end,), and the same array each time, by which is known how a
    version is searched under them.

    Attributes
    ----------
    migrated : mask
        Documents with fresh new rows.
    in_old : mask
        Documents that the old version can show.
    new_only : int
        Documents that only the new version can show.
    new_only_share : float
        Their share in all that are not migrated.
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
        """Return what passes a filter and the new version may answer for; None for all it has.

        Those are documents with fresh new rows, and those that only it can show. A document whose
        new rows are stale is answered by the old version.
        """
        return (
            matching if self._is_all_new else self._both("answerable", self._answerable, matching)
        )

    def moved(self, matching: BoolArray | None) -> BoolArray:
        """Return what passes a filter and has fresh new rows."""
        return self._both("moved", self.migrated, matching)

    def left(self, matching: BoolArray | None) -> BoolArray:
        """Return what passes a filter and the new version may not answer for."""
        return self._both("left", self._left, matching)

    @cached_property
    def _left(self) -> BoolArray:
        return np.asarray(~self._answerable)

    def _both(self, name: str, mask: BoolArray, matching: BoolArray | None) -> BoolArray:
        if matching is None:
            return mask
        # What is remembered holds the filter's mask, so that no other mask is where that one is.
        made = self._narrowed.get((name, id(matching)), lambda: (matching, matching & mask))
        return made[1]


class _BesideOthers(Recent[str, Beside]):
    """What a version says of the others at its epoch, by their labels."""


def beside(old: RowTable, new: RowTable) -> Beside:
    """Return what two versions say of each other; the same for all queries at a snapshot."""
    return new.companions.of(_BesideOthers).get(old.label, lambda: Beside(old, new))
