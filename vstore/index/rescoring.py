"""Exact scores of the rows that a search on codes has found."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from vstore.index.construction import Kernels
    from vstore.manifest.spec import Metric
    from vstore.types import Array

_PAIRWISE_MAX: Final = 128  # elements that NumPy sums without halving


@lru_cache(maxsize=64)
def summation_steps(dimension: int) -> Array:
    """Return the order in which NumPy sums a row: lengths to sum, 0 to add the last two sums.

    Examples
    --------
    >>> summation_steps(128).tolist(), summation_steps(300).tolist()
    ([128], [72, 72, 0, 72, 84, 0, 0])
    """
    return np.array(_steps(dimension), np.int64)


def _steps(count: int) -> list[int]:
    if count <= _PAIRWISE_MAX:
        return [count]
    half = count // 2
    half -= half % 8
    return [*_steps(half), *_steps(count - half), 0]


def rescore(kernels: Kernels, vectors: Array, queries: Array, metric: Metric, rows: Array) -> Array:
    """Score rows in float64 and sort each query's, best first; equal scores by row.

    Parameters
    ----------
    vectors : float32 or float16 (n, dimension)
    queries : float32 (m, dimension)
    rows : uint32 (m, keep)
        Sorted in place; `arrays.NONE` behind the last.

    Returns
    -------
    float64 (m, keep)
        Cosine similarity, inner product, or minus the Euclidean distance; -inf behind the last.
    """
    wide = queries.astype(np.float64)
    lengths = np.sqrt((wide * wide).sum(axis=1))
    steps = summation_steps(vectors.shape[1])
    return kernels.rescore(vectors, metric, steps, wide, lengths, rows)
