"""Hit counts by document that have not been flushed to the file."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from vstore.types import Array, IntArray


class Numbering(NamedTuple):
    """Identity of a docno numbering: one for each collection, renewed by each vacuum.

    Attributes
    ----------
    container : object
        The open file, compared by identity: a vacuum replaces it.
    created_epoch : int
        Epoch of the commit that created the collection.
    """

    container: object
    created_epoch: int

    def same(self, other: Numbering) -> bool:
        """Whether a docno means the same document in both."""
        return self.container is other.container and self.created_epoch == other.created_epoch


class HitCounter:
    """Hits by docno, under one numbering: 8 bytes for each docno up to the largest one found.

    Attributes
    ----------
    numbering : Numbering
    epoch : int
        Newest epoch that hits came from.
    found : u64 (at least the largest docno found, plus 1)
    """

    def __init__(self, numbering: Numbering, epoch: int) -> None:
        self.numbering = numbering
        self.epoch = epoch
        self.found: Array = np.zeros(0, np.uint64)

    def add(self, docnos: IntArray) -> None:
        """Count documents that searches returned, (n,)."""
        self._grow(int(docnos.max(initial=-1)) + 1)
        np.add.at(self.found, docnos, np.uint64(1))

    def merge(self, other: HitCounter) -> None:
        """Add the counts of another counter of the same numbering."""
        self._grow(len(other.found))
        self.found[: len(other.found)] += other.found

    def _grow(self, docno_end: int) -> None:
        if docno_end > len(self.found):
            grown = np.zeros(max(docno_end, 2 * len(self.found)), np.uint64)
            grown[: len(self.found)] = self.found
            self.found = grown

    def by_docno(self, docno_end: int) -> Array:
        """Return hits by docno, u64 (docno_end,)."""
        hits = np.zeros(docno_end, np.uint64)
        known = self.found[:docno_end]
        hits[: len(known)] = known
        return hits

    def renumber(self, numbering: Numbering, alive: Array, epoch: int) -> None:
        """Switch to the numbering that a vacuum made.

        Parameters
        ----------
        alive : u32 (documents,)
            Old docno of each document, by new docno.
        """
        end = int(alive.max()) + 1 if len(alive) else 0
        self.found = self.by_docno(end)[alive]
        self.numbering, self.epoch = numbering, epoch
