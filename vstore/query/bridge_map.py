"""Bridges: maps from one embedding space into another.

A bridge serves a query that has a vector of one version only, by estimating the other version's
vector. Its quality is measured: `bridges.fitting` holds documents out, maps them as if they were
queries, and compares the neighbours found with their own. `bridges.measuring.bridge_gate` requires
that measurement.

All kinds are affine, ``y = (x - source_mean) @ matrix + target_mean``:

- ``procrustes``: a rotation (between different dimensions, a semi-orthogonal map) and one scale.
  Few parameters, no tuning; right if the models differ by little more than a rotation.
- ``ridge``: any matrix, by regularised least squares.
- ``low-rank``: the ridge map, restricted to the directions of the target that it explains best.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from vstore.errors import InvalidArgumentError, InvalidVectorError
from vstore.segment.validation import as_array, require_finite

if TYPE_CHECKING:
    from vstore.manifest.job_state import BridgeKind
    from vstore.manifest.spec import Metric
    from vstore.types import Array, FloatArray

# On SciFact and Cranfield, .25 to .75 are nearly as good; 1 is too much at low coverage.
BLEND_WEIGHT: Final = 0.5


class BridgeTrial(NamedTuple):
    """One map that was tried, and its recall@10 on the validation documents.

    Attributes
    ----------
    penalty : float
        Ridge penalty, in units of the source's mean variance per direction; 0 for Procrustes.
    rank : int
        Number of target directions used; 0 for all.
    """

    kind: BridgeKind
    penalty: float
    rank: int
    recall: float


@dataclass(frozen=True, slots=True, eq=False)
class BridgeMap:
    """A fitted map and its measured quality.

    Attributes
    ----------
    kind, penalty, rank
        As in `BridgeTrial`.
    matrix : float32 (source dimension, target dimension)
    source_mean, target_mean : float32 (dimension,)
    metric : {"cosine", "inner_product", "l2"}
        The target's metric.
    unit : bool
        Whether the target's vectors, and so the mapped ones, have unit length.
    recall : float
        Recall@10 of held-out documents, mapped, against their own exact neighbours.
    pairs, held_out : int
        Number of documents that the map was fitted on (validation included), and measured on.
    seed : int
    trials : tuple of BridgeTrial
        All maps that were tried.
    """

    kind: BridgeKind
    penalty: float
    rank: int
    matrix: FloatArray
    source_mean: FloatArray
    target_mean: FloatArray
    metric: Metric
    unit: bool
    recall: float
    pairs: int
    held_out: int
    seed: int
    trials: tuple[BridgeTrial, ...]

    @property
    def source_dimension(self) -> int:
        """Dimension of the vectors to map."""
        return len(self.source_mean)

    @property
    def target_dimension(self) -> int:
        """Dimension of the mapped vectors."""
        return len(self.target_mean)

    def apply(self, vectors: Array) -> FloatArray:
        """Map finite vectors (n, source dimension) into the target space, as float32.

        Raises
        ------
        InvalidArgumentError
            For vectors of another shape, or so long that a mapped vector overflows float32.
        """
        given = as_matrix(vectors, self.source_dimension)
        with np.errstate(over="ignore", invalid="ignore"):
            mapped = (given - self.source_mean) @ self.matrix + self.target_mean
        if not np.isfinite(mapped).all():
            row = int(np.flatnonzero(~np.isfinite(mapped).all(axis=1))[0])
            raise InvalidVectorError(
                f"bridge[{row}]: what this vector is mapped to does not fit float32, which holds "
                "up to 3.4e38",
                row=row,
            )
        return unit_rows(mapped) if self.unit else np.asarray(mapped, np.float32)

    def pulled_back(self, queries: Array) -> FloatArray:
        """Return source-space queries that score source vectors as the target would score them.

        For a query q and a vector x, ``q . (x A) = (q A') . x``, up to a constant that all vectors
        share. So one search of the source estimates the target's scores of documents that have no
        vector there. The normalisation of mapped vectors is ignored.

        Parameters
        ----------
        queries : float (n, target dimension)

        Returns
        -------
        float32 (n, source dimension)
            Of unit length; 0 for a query orthogonal to the range of the map.
        """
        return unit_rows(as_matrix(queries, self.target_dimension) @ self.matrix.T)

    def blended(self, own: Array, other: Array, *, weight: float = BLEND_WEIGHT) -> FloatArray:
        """Return source-space queries blended with the pulled-back target queries.

        In a dual read's old version (the source), blending brings the new model's view of the query
        to documents that have no new vector yet: see "Quality during a migration" in
        ``benchmarks/README.md``. For cosine and inner product; for Euclidean distance, only if the
        source's vectors have unit length.

        Parameters
        ----------
        own : float (n, source dimension)
        other : float (n, target dimension)
            The same queries in the target space.
        weight : float
            Weight of the pulled-back query, against 1 for the own query, both at unit length.
        """
        own = as_matrix(own, self.source_dimension)
        pulled = self.pulled_back(other)
        if len(own) != len(pulled):
            raise InvalidArgumentError(
                f"bridge: {len(own)} queries of the source and {len(pulled)} of the target; "
                "expected the same queries"
            )
        return unit_rows(unit_rows(own) + weight * pulled)


def unit_rows(vectors: Array) -> FloatArray:
    """Return vectors scaled to unit length; zero rows stay zero."""
    exact = np.asarray(vectors, np.float64)  # squares of float32 overflow above 1.8e19
    norms = np.linalg.norm(exact, axis=1, keepdims=True)
    return np.asarray(exact / np.where(norms > 0, norms, 1), np.float32)


def as_matrix(vectors: Array, dimension: int) -> FloatArray:
    """Return vectors as float32, a view if they already are.

    Raises
    ------
    InvalidArgumentError
        The vectors have another shape, are not numeric, or have a value that is not finite.
    """
    array = as_array(vectors, where="bridge")
    if array.dtype.kind not in "fiu" or array.ndim != 2 or array.shape[1] != dimension:
        raise InvalidArgumentError(
            f"bridge: vectors of shape {array.shape} and dtype {array.dtype}; expected "
            f"(n, {dimension}) numbers"
        )
    with np.errstate(over="ignore"):
        found = np.asarray(array, np.float32)
    if not np.isfinite(found).all():
        require_finite(array, found, np.arange(len(found)), storage="float32", where="bridge")
    return found
