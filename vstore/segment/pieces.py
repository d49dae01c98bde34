"""Checking large arrays piece by piece, as their rows are used.

A graph search reads a few rows of arrays that may be gigabytes. Hashing all of them first would
cost more than thousands of searches; so their segment also has the hash of every few rows
(`format-spec.md`, "Graph"), and what is read is checked when it is read first.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np
from blake3 import blake3

from vstore.storage.layout import HASH_BYTES

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from vstore.types import Array

VECTOR_PIECE_BYTES: Final = 16 * 1024  # enough for the hash to be fast, and only a few rows
NODE_PIECE_BYTES: Final = 8 * 1024  # a search reads forty times as many nodes
_QUESTIONS_MAX: Final = 1_000
_READ_MAX: Final = 32  # rows, some questions' worth; the system maps up to 2 MiB around each


def rows_per_piece(arrays: Sequence[Array], piece_bytes: int) -> int:
    """Return how many rows of some arrays are a piece: what fits, at least one."""
    row_bytes: int = sum(array.shape[1] * array.itemsize for array in arrays)
    return max(1, piece_bytes // row_bytes)


def pieces_of(arrays: Sequence[Array], piece_bytes: int) -> int:
    """Return how many pieces some arrays of the same length have."""
    return -(-len(arrays[0]) // rows_per_piece(arrays, piece_bytes))


def piece_hashes(arrays: Sequence[Array], piece_bytes: int) -> Array:
    """Return the hash of each piece: its rows of the first array, then of the next; u8 (n, 32)."""
    views, step = _bytes_of(arrays), rows_per_piece(arrays, piece_bytes)
    joined = b"".join(_hash(views, row, row + step) for row in range(0, len(arrays[0]), step))
    return np.frombuffer(joined, np.uint8).reshape(-1, HASH_BYTES)


def _bytes_of(arrays: Sequence[Array]) -> list[tuple[memoryview, int]]:
    """Return each array's bytes, and how many a row has."""
    return [
        (array.reshape(-1).view(np.uint8).data, array.shape[1] * array.itemsize) for array in arrays
    ]


def _hash(views: Sequence[tuple[memoryview, int]], start: int, end: int) -> bytes:
    # Joined first: so few bytes take less time than calls to hash each view's.
    return blake3(b"".join([view[start * width : end * width] for view, width in views])).digest()


class PieceCheck:
    """Which pieces of some arrays were checked.

    Parameters
    ----------
    arrays : sequence of (rows, width), C-contiguous
    piece_bytes : int
    hashes : uint8 (pieces, 32)
    let_go : callable, optional
        Takes the arrays' pages out of memory, once in `_READ_MAX` rows. While there is something to
        check, a process has asked little, and what it has read it will hardly read again: 1,000
        questions to 100,000 vectors would map nearly all of them, as the system maps 64 KiB, or a
        large page of its cache, around what is touched.
    """

    def __init__(
        self,
        arrays: Sequence[Array],
        piece_bytes: int,
        hashes: Array,
        *,
        let_go: Callable[[], None] | None = None,
    ) -> None:
        self._views = _bytes_of(arrays)
        self._rows = len(arrays[0])
        self._step = rows_per_piece(arrays, piece_bytes)
        self._hashes = hashes
        self._checked = np.zeros(len(hashes), np.bool_)
        self._let_go = let_go
        self._read = 0  # rows since pages were let go
        self.complete = not len(hashes)

    def first_damaged(self, rows: Array) -> int | None:
        """Check the pieces that some rows are in; return the first row of a damaged one.

        Parameters
        ----------
        rows : unsigned or signed integers, of any shape
            Numbers beyond the rows are left out.
        """
        pieces = rows[rows < self._rows] // self._step
        if not self._checked[pieces].all():
            # Not `np.unique`, which imports `numpy.ma`: a tenth of a new process's first answer.
            for piece in sorted(set(pieces[~self._checked[pieces]].tolist())):
                start = piece * self._step
                if _hash(self._views, start, start + self._step) != self._hashes[piece].tobytes():
                    return int(start)
                self._checked[piece] = True
            self.complete = bool(self._checked.all())
        self._read += len(pieces)
        if self._let_go is not None and self._read >= _READ_MAX and not self.complete:
            self._read = 0
            self._let_go()
        return None


class SearchCheck:
    """Which pieces of a segment's vectors and of its graph were checked; None for all of them."""

    def __init__(self) -> None:
        self.vectors: PieceCheck | None = None
        self.nodes: PieceCheck | None = None
        self._questions = 0

    @property
    def complete(self) -> bool:
        """Whether nothing is left to check."""
        vectors, nodes = self.vectors, self.nodes
        return (vectors is None or vectors.complete) and (nodes is None or nodes.complete)

    @property
    def marks(self) -> bool:
        """Whether a search is to tell which nodes it has looked at."""
        nodes = self.nodes  # another thread may have all of them checked meanwhile
        return nodes is not None and not nodes.complete

    @property
    def is_worth_all(self) -> bool:
        """Whether telling them has taken about as long as it takes to check all nodes at once."""
        return self._questions >= _QUESTIONS_MAX and self.marks

    def damage(self, rows: Array, nodes: Array) -> str | None:
        """Check what a search has read, and say what of it is damaged."""
        self._questions += 1
        for name, check, read in (("node", self.nodes, nodes), ("vector", self.vectors, rows)):
            damaged = None if check is None or check.complete else check.first_damaged(read)
            if damaged is not None:
                return f"the piece from {name} {damaged:,} on is damaged"
        return None
