"""Vectors as signed bytes: one scale for all dimensions, around the mean.

One scale keeps distances between codes proportional to distances between vectors, so that a graph
can be built and searched on codes alone; the vectors themselves only rescore the best few. Codes
are padded with zeros to a multiple of 128 bytes.

Two spaces. *Euclidean*: for L2, and for cosine over vectors scaled to length 1. *Product*: for
inner products over vectors of different lengths. There, a graph needs a distance, and gets one by
the reduction of Bachrach et al. (2014, "Speeding up the Xbox recommender system using a Euclidean
transformation for inner-product spaces"): added components bring every vector to the same length.
They are spread over some bytes behind the others; a query has zeros there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal, NamedTuple, TypeAlias

import numpy as np

from vstore.native.arrays import CODE_ALIGNMENT

if TYPE_CHECKING:
    from vstore.manifest.spec import Metric
    from vstore.types import Array

Space: TypeAlias = Literal["euclidean", "product"]
CODE_MAX: Final = 127
SAMPLE_ROWS: Final = 8_192
# Rounding costs little and clipping much only if it is rare: a share of 0.0005 of all components.
_CLIPPED_SHARE: Final = 0.0005
_EQUAL_LENGTHS: Final = 1.02  # longest to shortest; then an inner product orders as a distance
_BLOCK_BYTES: Final = 1 << 20


class Quantizer(NamedTuple):
    """How vectors of a segment become codes.

    Attributes
    ----------
    space : {"euclidean", "product"}
    unit : bool
        Vectors are scaled to length 1 first.
    mean : float32 (dimension,)
    scale : float
        One step of a code.
    radius : float
        Length that added components bring vectors to; 0 without them.
    spare : int
        Bytes behind the dimension that added components are spread over.
    """

    space: Space
    unit: bool
    mean: Array
    scale: float
    radius: float = 0.0
    spare: int = 0

    @property
    def size(self) -> int:
        """Bytes of a code."""
        return -(-(len(self.mean) + self.spare) // CODE_ALIGNMENT) * CODE_ALIGNMENT

    def encode(self, vectors: Array, places: Array | None = None) -> Array:
        """Return the codes of stored vectors, int8 (n, size).

        Parameters
        ----------
        places : int64 (n,), optional
            Where each vector's code goes. Vectors are read in their own order, as they are stored.
        """
        codes = np.zeros((len(vectors), self.size), np.int8)
        step = max(1, _BLOCK_BYTES // (4 * len(self.mean)))
        for start in range(0, len(vectors), step):
            block = self._centred(vectors[start : start + step])
            here = (
                slice(start, start + len(block)) if places is None else places[start : start + step]
            )
            if self.spare:
                lengths = np.einsum("ij,ij->i", block, block, dtype=np.float64)
                added = np.sqrt(np.maximum(self.radius**2 - lengths, 0) / self.spare)
                behind = slice(len(self.mean), len(self.mean) + self.spare)
                codes[here, behind] = self._rounded(added)[:, None]
            codes[here, : len(self.mean)] = self._rounded(block)
        return codes

    def coded(self, vectors: Array) -> tuple[Array, Array]:
        """Return vectors as they are coded, and their codes, float64 (n, dimension).

        Without added components.
        """
        centred = self._centred(vectors)
        return centred.astype(np.float64), self._rounded(centred).astype(np.float64)

    def _centred(self, vectors: Array) -> Array:
        block = vectors.astype(np.float32)
        if self.unit:
            block /= _lengths(block)[:, None]
        block -= self.mean
        return np.asarray(block)

    def _rounded(self, values: Array) -> Array:
        scaled = values / np.float32(self.scale)
        np.rint(scaled, out=scaled)
        return np.asarray(np.clip(scaled, -CODE_MAX, CODE_MAX))


def fit(vectors: Array, metric: Metric) -> Quantizer:
    """Return a quantizer for some vectors, from an even sample of them.

    Parameters
    ----------
    vectors : float32 or float16 (n, dimension), n > 0
    """
    rows = np.linspace(0, len(vectors) - 1, min(len(vectors), SAMPLE_ROWS)).astype(np.int64)
    sample = vectors[rows].astype(np.float32)
    unit = metric == "cosine"
    if unit:
        sample /= _lengths(sample)[:, None]
    mean = sample.mean(axis=0, dtype=np.float64).astype(np.float32)
    lengths = _lengths(sample)
    equal = float(lengths.max()) <= _EQUAL_LENGTHS * float(lengths.min())
    sample -= mean
    absolute = np.abs(sample)
    if metric != "inner_product" or equal:
        # Sparse vectors have next to no components that are not zero.
        largest = float(np.quantile(absolute, 1 - _CLIPPED_SHARE)) or float(absolute.max())
        return Quantizer("euclidean", unit, mean, _positive(largest / CODE_MAX))
    # The longest vectors win inner products, so that nothing of them may be clipped.
    scale = _positive(float(absolute.max()) / CODE_MAX)
    radius = float(_lengths(sample).max())
    spare = CODE_ALIGNMENT * -(-len(mean) // 1024)
    return Quantizer("product", unit, mean, scale, radius, spare)


def half_lengths(codes: Array) -> Array:
    """Return half of each code's squared length, rounded down, int32 (n,)."""
    return np.asarray(np.einsum("ij,ij->i", codes, codes, dtype=np.int32) >> 1)


def _lengths(vectors: Array) -> Array:
    # In float64: squares of what float32 can hold may be too large for it.
    lengths = np.sqrt(np.einsum("ij,ij->i", vectors, vectors, dtype=np.float64))
    return np.asarray(np.maximum(lengths, np.finfo(np.float32).tiny), np.float32)


def _positive(scale: float) -> float:
    """Return a scale by which float32 can be divided: 1 if all vectors are equal, or next to it."""
    return scale if np.finfo(np.float32).tiny <= scale < np.inf else 1.0
