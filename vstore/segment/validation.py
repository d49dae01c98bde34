"""Vectors from a caller, checked against what their version can hold."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from vstore.errors import InvalidVectorError
from vstore.named import NamedTuple

if TYPE_CHECKING:
    from vstore.manifest.spec import EmbeddingSpec
    from vstore.types import Array

ACCEPTED: Final = ("float32", "float64", "float16", "int8")
_KINDS: Final = frozenset(("f4", "f8", "f2", "i1"))
UNIT_TOLERANCE: Final = 1e-2  # models that normalise in float16 or bfloat16 stay well below
SQUARE_UNDERFLOW: Final = 1e-30  # below this a float32 sum of squares has lost digits


class CheckedVectors(NamedTuple):
    """Vectors as they will be stored, and their Euclidean lengths, float32."""

    vectors: Array
    norms: Array


def as_array(vectors: object, *, where: str) -> Array:
    """Return what a caller gave as an array; a view of it where that is possible.

    Raises
    ------
    InvalidVectorError
        Rows of different lengths, nothing that NumPy understands, or a masked array.
    """
    rows = vectors if isinstance(vectors, list | tuple) else (vectors,)
    if any(_is_masked(row) for row in rows):
        raise InvalidVectorError(
            f"{where}: a masked array, and its mask would be lost; fill it with .filled(value), or "
            "leave out what is masked"
        )
    try:
        return np.asarray(vectors)
    except (ValueError, TypeError, OverflowError) as error:
        raise InvalidVectorError(f"{where}: not a matrix of numbers ({error})") from error


def _is_masked(value: object) -> bool:
    # The first test is for time: NumPy imports its `ma` where it is first mentioned.
    return hasattr(value, "mask") and isinstance(value, np.ma.MaskedArray)


def check_vectors(
    vectors: object, spec: EmbeddingSpec, *, storage: str, where: str
) -> CheckedVectors:
    """Return vectors in their storage dtype, C-contiguous.

    Parameters
    ----------
    vectors : array-like (n, dimension)
        float16, float32, float64 or int8.
    storage : {"float32", "float16"}
    where : str
        Names the argument in messages.

    Raises
    ------
    InvalidVectorError
        Wrong type, dtype, shape or dimension; a NaN, an infinity or a value the storage dtype
        cannot hold; a zero vector under cosine; a length other than 1 where the spec says
        ``normalized``. The message names the first row and its value.
    """
    array = as_array(vectors, where=where)
    if array.dtype.kind + str(array.dtype.itemsize) not in _KINDS:  # its name is slow to make
        raise InvalidVectorError(
            f"{where}: expected {', '.join(ACCEPTED)}, found dtype {array.dtype}"
        )
    if array.ndim != 2 or array.shape[1] != spec.dimension:
        raise InvalidVectorError(
            f"{where}: expected shape (n, {spec.dimension}) for {spec.model}, found {array.shape}"
        )
    with np.errstate(over="ignore", invalid="ignore"):
        stored = np.ascontiguousarray(array, "<f2" if storage == "float16" else "<f4")
        squares = np.einsum("ij,ij->i", stored, stored, dtype=np.float32)
    norms = np.sqrt(squares)
    # One comparison each way, which a NaN fails as well: nearly all batches pass.
    if len(squares) and not (squares.min() > SQUARE_UNDERFLOW and squares.max() < np.inf):
        suspect = np.flatnonzero(~(np.isfinite(squares) & (squares > SQUARE_UNDERFLOW)))
        _require_finite(array, stored, suspect, storage, where)
        exact = stored[suspect].astype(np.float64)
        lengths = np.sqrt((exact * exact).sum(axis=1))
        if lengths.max() > np.finfo(np.float32).max:
            row = int(suspect[int(np.argmax(lengths))])
            raise InvalidVectorError(f"{where}[{row}]: its length does not fit float32", row=row)
        norms[suspect] = lengths
        if spec.metric == "cosine" and not norms[suspect].all():
            row = int(suspect[int(np.argmin(norms[suspect]))])
            raise InvalidVectorError(
                f"{where}[{row}]: a zero vector has no direction, and the metric is cosine", row=row
            )
    if spec.normalized:
        off = np.flatnonzero(np.abs(norms - 1) > UNIT_TOLERANCE)
        if len(off):
            row = int(off[0])
            raise InvalidVectorError(
                f"{where}[{row}]: length {norms[row]:.4g}, but the spec says normalized=True; "
                "normalize the vectors or declare a version with normalized=False",
                row=row,
            )
    return CheckedVectors(stored, norms)


def _require_finite(given: Array, stored: Array, suspect: Array, storage: str, where: str) -> None:
    bad = ~np.isfinite(stored[suspect])
    if not bad.any():
        return
    at = int(np.flatnonzero(bad.any(axis=1))[0])
    row, column = int(suspect[at]), int(np.flatnonzero(bad[at])[0])
    value = given[row, column]
    reason = f"does not fit {storage}" if np.isfinite(value) else "is no number"
    raise InvalidVectorError(f"{where}[{row}, {column}]: {value} {reason}", row=row)
