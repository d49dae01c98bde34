"""Checking a large array piece by piece, as its rows are used.

A graph search reads a few rows of an array that may be gigabytes. Hashing all of it first would
cost more than thousands of searches; so its segment also has the hash of every piece
(`format-spec.md`, "Graph"), and what is read is checked when it is read first.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from vstore.storage.layout import HASH_BYTES
from vstore.storage.packing import blake3_digest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from vstore.types import Array

PIECE_BYTES: Final = 16 * 1024  # enough for the hash to be fast, and only a few rows
_READ_MAX: Final = 256  # rows, at most 16 MiB of mapped pages


def piece_hashes(data: Array) -> Array:
    """Return the hash of each piece of an array's bytes, uint8 (pieces, 32)."""
    joined = b"".join(blake3_digest(piece) for piece in _pieces(data))
    return np.frombuffer(joined, np.uint8).reshape(-1, HASH_BYTES)


def pieces_of(size_bytes: int) -> int:
    """Return how many pieces an array has."""
    return -(-size_bytes // PIECE_BYTES)


def _pieces(data: Array) -> Iterator[memoryview]:
    view = data.reshape(-1).view(np.uint8).data
    return (view[start : start + PIECE_BYTES] for start in range(0, len(view), PIECE_BYTES))


class PieceCheck:
    """Which pieces of an array were checked.

    Parameters
    ----------
    data : (rows, width), C-contiguous
    hashes : uint8 (pieces, 32)
    let_go : callable
        Takes the array's pages out of memory, once in `_READ_MAX` rows. While there is something to
        check, a process has asked little, and what it has read it will hardly read again: 1,000
        questions to 100,000 vectors would map nearly all of them, as the system maps 64 KiB around
        what is touched.
    """

    def __init__(self, data: Array, hashes: Array, let_go: Callable[[], None]) -> None:
        self._bytes = data.reshape(-1).view(np.uint8).data
        self._row_bytes = data.shape[1] * data.itemsize
        self._rows = len(data)
        self._hashes = hashes
        self._checked = np.zeros(len(hashes), np.bool_)
        self._let_go = let_go
        self._read = 0  # rows since pages were let go
        self.complete = not len(hashes)

    def first_damaged(self, rows: Array) -> int | None:
        """Check the pieces that some rows are in; return where the first damaged one starts.

        Parameters
        ----------
        rows : uint32, of any shape
            Numbers beyond the rows are left out.
        """
        starts = rows[rows < self._rows].astype(np.int64) * self._row_bytes
        first, last = starts // PIECE_BYTES, (starts + (self._row_bytes - 1)) // PIECE_BYTES
        span = -(-self._row_bytes // PIECE_BYTES)
        if span > 1 or not (self._checked[first].all() and self._checked[last].all()):
            touched = [np.minimum(first + step, last) for step in range(span + 1)]
            damaged = self._first_damaged(np.unique(np.concatenate(touched)))
            if damaged is not None:
                return damaged
        self._read += len(starts)
        if self._read >= _READ_MAX and not self.complete:
            self._read = 0
            self._let_go()
        return None

    def _first_damaged(self, pieces: Array) -> int | None:
        for piece in pieces[~self._checked[pieces]].tolist():
            start = piece * PIECE_BYTES
            if (
                blake3_digest(self._bytes[start : start + PIECE_BYTES])
                != self._hashes[piece].tobytes()
            ):
                return int(start)
            self._checked[piece] = True
        self.complete = bool(self._checked.all())
        return None
