"""What a library must be able to do to be compared."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable

    import numpy.typing as npt

M, EF_CONSTRUCTION, K = 16, 200, 10
EF_GRID = (10, 16, 24, 32, 48, 64, 96, 128, 200)
# What a report names the versions of.
PACKAGES = (
    "hnswlib",
    "faiss-cpu",
    "usearch",
    "scalable-vs",
    "pyvsag",
    "lancedb",
    "qdrant-edge-py",
    "zvec",
    "numba",
    "llvmlite",
)


class Peer:
    """One library with one kind of index, searched by one thread.

    Attributes
    ----------
    needs : str
        The module that must be importable.
    labels : array of int64 (rows,), optional
        A label for each row, set before `build`: what `allow` filters by.
    widths : tuple of int
        The widths of search to measure; one for what always scans.
    queries_max : int, optional
        How many questions are enough: for what scans, and would take minutes for a thousand.
    """

    name: str
    needs: str
    labels: Any = None
    widths: tuple[int, ...] = EF_GRID
    queries_max: int | None = None

    def build(self, vectors: Any, threads: int) -> None:
        """Build the index under L2."""
        raise NotImplementedError

    def allow(self, below: int) -> None:
        """Let searches find only rows whose label is below a number."""
        raise NotImplementedError

    def tune(self, ef: int) -> None:
        """Set how widely to search."""
        raise NotImplementedError

    def search(self, queries: Any) -> Any:
        """Return the rows of the 10 nearest of each query, (m, 10); -1 where there are fewer."""
        raise NotImplementedError

    def search_one(self, query: Any) -> Any:
        """Return the rows nearest to one query, as this library is asked one question."""
        return self.search(query[None])[0]


def padded(found: Iterable[Any]) -> npt.NDArray[np.int64]:
    """Return rows found as an array (m, 10), -1 where there are fewer."""
    return np.array([[*rows, *[-1] * (K - len(rows))] for rows in found], np.int64)
