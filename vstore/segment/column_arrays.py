"""The flat arrays beneath columns: checks on untrusted ones, and slices addressed by offsets.

Slices are variable-length runs of one ``data`` array: slice ``i`` is
``data[offsets[i] : offsets[i + 1]]``, ``offsets`` is int64 of shape (slices + 1,), starts at 0,
never decreases and ends at ``len(data)``. Offsets are signed because NumPy turns uint64 and int64
together into float64.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypeAlias

import numpy as np
import numpy.typing as npt

from vstore import limits

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from vstore.types import Array, BoolArray, IntArray

CodeArray: TypeAlias = npt.NDArray[np.uint32]
ByteArray: TypeAlias = npt.NDArray[np.uint8]

OFFSET_DTYPE: Final = "<i8"
BYTE_DTYPE: Final = "|u1"

# Gathering needs an int64 position per item, eight times the size of the bytes gathered.
_GATHER_ITEMS: Final = limits.STREAM_BYTES // 8


def check_layout(arrays: Mapping[str, Array], dtypes: Mapping[str, str]) -> None:
    """Raise ValueError unless `arrays` are exactly the named ones, flat and of their dtypes."""
    if arrays.keys() != dtypes.keys():
        raise ValueError(f"expected the arrays {sorted(dtypes)}, found {sorted(arrays)}")
    for name, dtype in dtypes.items():
        array = arrays[name]
        if array.ndim != 1 or array.dtype != np.dtype(dtype):
            raise ValueError(
                f"array {name!r} should be flat {dtype}, "
                f"found shape {array.shape} of {array.dtype.str}"
            )


def check_count(name: str, array: Array, count: int) -> None:
    """Raise ValueError unless `array` has one item per row."""
    if array.size != count:
        raise ValueError(f"array {name!r} should have {count:,} items, found {array.size:,}")


def check_offsets(name: str, offsets: Array, *, slices: int, end: int) -> None:
    """Raise ValueError unless `offsets` cut ``end`` items into that many slices."""
    check_count(name, offsets, slices + 1)
    if offsets[0] != 0:
        raise ValueError(f"array {name!r} should start at 0, found {offsets[0]}")
    reject_rows(offsets[1:] < offsets[:-1], f"array {name!r} decreases")
    if offsets[-1] != end:
        raise ValueError(f"array {name!r} should end at {end:,}, found {offsets[-1]:,}")


def reject_rows(bad: BoolArray, problem: str) -> None:
    """Raise ValueError with `problem` and the first row of the mask, if it has any."""
    if bad.any():
        raise ValueError(f"{problem} at row {int(bad.argmax()):,}")


def take_slices(offsets: IntArray, data: Array, indices: Array) -> tuple[IntArray, Array]:
    """Return the offsets and data of the slices at `indices`, copied, in that order."""
    starts = offsets[indices]
    lengths = offsets[indices + 1] - starts
    taken_offsets = offsets_of(lengths)
    taken = np.empty(int(taken_offsets[-1]), data.dtype)
    shifts = starts - taken_offsets[:-1]
    row = 0
    while row < len(indices):
        low = int(taken_offsets[row])
        fitting = int(np.searchsorted(taken_offsets, low + _GATHER_ITEMS, side="right")) - 1
        end = max(row + 1, fitting)
        high = int(taken_offsets[end])
        positions = np.arange(low, high) + np.repeat(shifts[row:end], lengths[row:end])
        taken[low:high] = data[positions]
        row = end
    return taken_offsets, taken


def concat_offsets(parts: Sequence[IntArray]) -> IntArray:
    """Return the offsets of the slices of all `parts`, whose data are concatenated in order."""
    return offsets_of(np.concatenate([np.diff(offsets) for offsets in parts]))


def offsets_of(lengths: Array) -> IntArray:
    """Return the offsets of slices that have these lengths."""
    offsets: IntArray = np.zeros(len(lengths) + 1, OFFSET_DTYPE)
    np.cumsum(lengths, out=offsets[1:])
    return offsets
