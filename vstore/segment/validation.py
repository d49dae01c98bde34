"""Vectors from a caller, checked against what their version can hold."""

from __future__ import annotations

from collections.abc import Iterator, Sequence, ValuesView
from numbers import Complex, Number, Real
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from vstore.errors import InvalidVectorError
from vstore.segment.copies import drawn_copies
from vstore.shown import short_repr

if TYPE_CHECKING:
    from vstore.manifest.spec import EmbeddingSpec
    from vstore.types import Array

_KINDS: Final = frozenset("fiu")
UNIT_TOLERANCE: Final = 1e-2  # models that normalise in float16 or bfloat16 stay well below
SQUARE_UNDERFLOW: Final = 1e-30  # below this a float32 sum of squares has lost digits


class CheckedVectors(NamedTuple):
    """Vectors as they will be stored, and their Euclidean lengths, float32."""

    vectors: Array
    norms: Array


def as_array(vectors: object, *, where: str) -> Array:
    """Return what a caller gave as an array; a view of it where that is possible.

    Parameters
    ----------
    vectors : object
        Array, nested lists, iterator of rows, object array of rows or of numbers, or anything that
        NumPy or DLPack can read. Numbers that are Python objects come back as float64.

    Raises
    ------
    InvalidVectorError
        Rows of different lengths, what is no number, or a masked array.
    """
    if type(vectors) is np.ndarray and vectors.dtype.kind != "O":
        return vectors
    if isinstance(vectors, Iterator):
        vectors = drawn_copies(vectors)
    elif isinstance(vectors, ValuesView):
        vectors = list(vectors)
    rows = vectors if isinstance(vectors, list | tuple) else (vectors,)
    if any(_is_masked(row) for row in rows):
        raise InvalidVectorError(
            f"{where}: a masked array, and its mask would be lost; fill it with .filled(value), or "
            "leave out what is masked"
        )
    try:
        array = np.asarray(vectors)
    except Exception as error:  # the caller's own objects convert themselves, and raise anything
        if isinstance(vectors, list | tuple):
            _require_equal_rows(vectors, where)
        raise InvalidVectorError(f"{where}: not a matrix of numbers ({error})") from error
    if array.dtype.kind != "O":
        return array
    return _from_object(array.item(), where) if array.ndim == 0 else _from_objects(array, where)


def _is_masked(value: object) -> bool:
    # The first test is for time: NumPy imports its `ma` where it is first mentioned.
    return hasattr(value, "mask") and isinstance(value, np.ma.MaskedArray)


def _require_equal_rows(rows: Sequence[object], where: str) -> None:
    """Refuse rows of different shapes, naming the first that differs."""
    first: tuple[int, ...] | None = None
    for i, row in enumerate(rows):
        try:
            shape = as_array(row, where=f"{where}[{i}]").shape
        except InvalidVectorError as error:
            raise InvalidVectorError(str(error), row=i) from error
        if first is None:
            first = shape
        elif shape != first:
            raise InvalidVectorError(
                f"{where}[{i}]: expected shape {first} as in row 0, found {shape}", row=i
            )


def _from_object(value: object, where: str) -> Array:
    """Return the array that an object stands for which NumPy does not know."""
    try:
        if hasattr(value, "__dlpack__"):
            return np.from_dlpack(value)
        if callable(convert := getattr(value, "numpy", None)):
            return as_array(convert(), where=where)
    except InvalidVectorError:
        raise
    except Exception as error:  # as above; a tensor that is on a graphics card, for one
        raise InvalidVectorError(f"{where}: not a matrix of numbers ({error})") from error
    raise InvalidVectorError(f"{where}: expected an array of numbers, found {short_repr(value)}")


def _from_objects(array: Array, where: str) -> Array:
    """Return an array of Python's objects, which are rows or numbers, as one of numbers."""
    items = array.ravel().tolist()
    strange = [i for i, item in enumerate(items) if not _is_number(item)]
    if strange and array.ndim == 1 and hasattr(items[strange[0]], "__len__"):
        _require_equal_rows(items, where)
        return np.stack([as_array(item, where=f"{where}[{i}]") for i, item in enumerate(items)])
    for i in strange or range(len(items)):
        try:
            if not strange:
                float(items[i])
                continue
            problem = "is no number"
        except OverflowError:
            problem = "does not fit float32"
        place = ", ".join(str(int(n)) for n in np.unravel_index(i, array.shape))
        raise InvalidVectorError(
            f"{where}[{place}]: {short_repr(items[i])} {problem}", row=i * len(array) // array.size
        )
    return array.astype(np.float64)


def _is_number(value: object) -> bool:
    if isinstance(value, bool) or not isinstance(value, Number):
        return False
    return isinstance(value, Real) or not isinstance(value, Complex)  # a Decimal is neither


def check_vectors(
    vectors: object, spec: EmbeddingSpec, *, storage: str, where: str
) -> CheckedVectors:
    """Return vectors in their storage dtype, C-contiguous.

    Parameters
    ----------
    vectors : array-like (n, dimension)
        Floats or integers of any size and byte order, taken as float32: embedders return JSON.
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
    if array.dtype.kind not in _KINDS:
        array = _as_floats(array, where)
    if array.shape == (0,):  # an empty list
        array = array.reshape(0, spec.dimension)
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


def _as_floats(array: Array, where: str) -> Array:
    """Return numbers of a type that a library has added to NumPy's, such as bfloat16."""
    if array.dtype.isbuiltin == 2:
        return array.astype(np.float32)
    hint = "; if 0 and 1 are meant, pass .astype('float32')" if array.dtype.kind == "b" else ""
    raise InvalidVectorError(
        f"{where}: expected floats or integers, found dtype {array.dtype}{hint}"
    )


def _require_finite(given: Array, stored: Array, suspect: Array, storage: str, where: str) -> None:
    bad = ~np.isfinite(stored[suspect])
    if not bad.any():
        return
    at = int(np.flatnonzero(bad.any(axis=1))[0])
    row, column = int(suspect[at]), int(np.flatnonzero(bad[at])[0])
    value = given[row, column]
    reason = f"does not fit {storage}" if np.isfinite(value) else "is no number"
    raise InvalidVectorError(f"{where}[{row}, {column}]: {value} {reason}", row=row)
