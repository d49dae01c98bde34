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
    from collections.abc import Iterator

    from vstore.types import Array, IntArray

PIECE_BYTES: Final = 64 * 1024  # large enough for the hash to be fast, small enough for a few rows


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
    """

    def __init__(self, data: Array, hashes: Array) -> None:
        self._bytes = data.reshape(-1).view(np.uint8).data
        self._row_bytes = data.shape[1] * data.itemsize
        self._hashes = hashes
        self._checked = np.zeros(len(hashes), np.bool_)

    @property
    def complete(self) -> bool:
        """Whether all pieces were."""
        return bool(self._checked.all())

    def first_damaged(self, rows: IntArray) -> int | None:
        """Check the pieces that some rows are in; return where the first damaged one starts."""
        starts = rows * self._row_bytes
        ends = starts + self._row_bytes - 1
        spans = ends // PIECE_BYTES - starts // PIECE_BYTES
        wanted = np.unique(
            np.concatenate(
                [starts // PIECE_BYTES + step for step in range(int(spans.max(initial=0)) + 1)]
            )
        )
        wanted = wanted[wanted < len(self._checked)]
        for piece in wanted[~self._checked[wanted]].tolist():
            start = piece * PIECE_BYTES
            if (
                blake3_digest(self._bytes[start : start + PIECE_BYTES])
                != self._hashes[piece].tobytes()
            ):
                return int(start)
            self._checked[piece] = True
        return None
