"""Vectors from a caller, checked against what their version can hold."""

from __future__ import annotations

from collections.abc import Iterator, Sequence, ValuesView
from numbers import Complex, Number, Real
from typing import TYPE_CHECKING, Final, NamedTuple, TypeGuard

import numpy as np

from vstore.errors import InvalidVectorError
from vstore.segment.copies import drawn_copies
from vstore.shown import short_repr

if TYPE_CHECKING:
    from vstore.manifest.spec import EmbeddingSpec
    from vstore.types import Array

_KINDS: Final = frozenset("fiu")
_NOT_AS_IT_IS: Final = frozenset("Ob")  # kinds of arrays that are converted, or refused
_NUMBERS: Final = frozenset({int, float, np.float32, np.float64})
_LARGEST: Final = {"float32": "3.4e38", "float16": "65504"}
_BOOL_HINT: Final = "; if 0 and 1 are meant, pass .astype('float32')"
UNIT_TOLERANCE: Final = 1e-2  # models that normalise in float16 or bfloat16 stay well below
SQUARE_UNDERFLOW: Final = 1e-30  # below this a float32 sum of squares has lost digits


class CheckedVectors(NamedTuple):
    """Vectors as they will be stored, and their Euclidean lengths, float32."""

    vectors: Array
    norms: Array


def as_array(vectors: object, *, where: str) -> Array:
    """Return what a caller gave as an array of numbers; a view of it where that is possible.

    Parameters
    ----------
    vectors : object
        Array, nested lists, iterator of rows, object array of rows or of numbers, or anything that
        NumPy or DLPack can read. Numbers that are Python objects come back as float64.

    Raises
    ------
    InvalidVectorError
        Rows of different lengths, what is no number, a bool, or a masked array.
    """
    if type(vectors) is np.ndarray and vectors.dtype.kind not in _NOT_AS_IT_IS:
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
        array = _converted(vectors)
    except (MemoryError, RecursionError):
        raise  # no fault of the vectors
    except Exception as error:  # the caller's own objects convert themselves, and raise anything
        if isinstance(vectors, list | tuple):
            _require_equal_rows(vectors, where)
        raise InvalidVectorError(f"{where}: not a matrix of numbers ({error})") from error
    if array.dtype.kind == "b":
        raise InvalidVectorError(
            f"{where}: expected floats or integers, found dtype {array.dtype}{_BOOL_HINT}"
        )
    if array.dtype.kind != "O":
        if _is_nested(vectors):
            _require_no_bools(vectors, array, where)
        return array
    return _from_object(array.item(), where) if array.ndim == 0 else _from_objects(array, where)


def _converted(vectors: object) -> Array:
    try:
        return np.asarray(vectors)
    except OverflowError:  # integers beyond float64, beside floats
        return np.asarray(vectors, object)


def _require_no_bools(rows: Sequence[object], array: Array, where: str) -> None:
    """Refuse bools among the numbers of a sequence, which NumPy takes for 0 and 1.

    Parameters
    ----------
    array : of numbers
        What NumPy made of the rows. Only where it has a 0 or a 1 are they looked at.
    """
    likely = (array == 0) | (array == 1)
    if not likely.any() or (array.ndim == 1 and set(map(type, rows)) <= _NUMBERS):
        return
    if array.ndim > 1:
        likely = likely.any(axis=tuple(range(1, array.ndim)))
    for i in np.flatnonzero(likely).tolist():
        place = _place_of_bool(rows[i])
        if place is not None:
            at = ", ".join(map(str, (i, *place)))
            found = np.asarray(array[(i, *place)])
            what = "bools" if found.ndim else f"the bool {bool(found)}"
            raise InvalidVectorError(
                f"{where}[{at}]: expected numbers, found {what}{_BOOL_HINT}",
                row=i if array.ndim > 1 else 0,
            )


def _is_nested(value: object) -> TypeGuard[Sequence[object]]:
    """Whether values may be of several types, other than in an array or a buffer."""
    return isinstance(value, Sequence) and not isinstance(value, str | bytes | memoryview)


def _place_of_bool(value: object) -> tuple[int, ...] | None:
    """Return where in nested sequences a bool, or an array of bools, is; None if nowhere."""
    if isinstance(value, list | tuple) and set(map(type, value)) <= _NUMBERS:
        return None
    if not _is_nested(value):
        is_bool = isinstance(value, bool) or np.asarray(value).dtype.kind == "b"
        return () if is_bool else None
    for i, one in enumerate(value):
        place = _place_of_bool(one)
        if place is not None:
            return (i, *place)
    return None


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
    except (InvalidVectorError, MemoryError, RecursionError):
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
            problem = _does_not_fit("float32")
        place = ", ".join(str(int(n)) for n in np.unravel_index(i, array.shape))
        raise InvalidVectorError(
            f"{where}[{place}]: {short_repr(items[i])} {problem}",
            row=i * len(array) // array.size if array.ndim > 1 else 0,
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
        require_finite(array, stored, suspect, storage=storage, where=where)
        exact = stored[suspect].astype(np.float64)
        lengths = np.sqrt((exact * exact).sum(axis=1))
        if lengths.max() > np.finfo(np.float32).max:
            row = int(suspect[int(np.argmax(lengths))])
            raise InvalidVectorError(
                f"{where}[{row}]: its length {_does_not_fit('float32')}, found {lengths.max():.4g}",
                row=row,
            )
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
    raise InvalidVectorError(f"{where}: expected floats or integers, found dtype {array.dtype}")


def _does_not_fit(storage: str) -> str:
    """Return the end of a sentence about a number that is too large for its storage dtype."""
    return f"does not fit {storage}, which holds up to {_LARGEST[storage]}"


def require_finite(
    given: Array, stored: Array, suspect: Array, *, storage: str, where: str
) -> None:
    """Refuse values that are infinite, or NaN, in the storage dtype.

    Parameters
    ----------
    given, stored : (n, dimension)
        As the caller gave them, and converted.
    suspect : int array
        Rows to look at.

    Raises
    ------
    InvalidVectorError
        Names the first row, its column and value.
    """
    bad = ~np.isfinite(stored[suspect])
    if not bad.any():
        return
    at = int(np.flatnonzero(bad.any(axis=1))[0])
    row, column = int(suspect[at]), int(np.flatnonzero(bad[at])[0])
    value = given[row, column]
    reason = _does_not_fit(storage) if np.isfinite(value) else "is no number"
    raise InvalidVectorError(f"{where}[{row}, {column}]: {value!s} {reason}", row=row)
