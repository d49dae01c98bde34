"""Sealed segments on disk: a header block that names array blocks (`format-spec.md`, "Segment").

Arrays are used in place. Nothing in one is believed before it was checked: dtype and shape against
the block's length here, contents by the class that reads them.
"""

from __future__ import annotations

import contextlib
import math
import threading
from typing import TYPE_CHECKING, Final, Literal, NamedTuple, TypeAlias

import numpy as np

from vstore.errors import CorruptionError, VstoreError
from vstore.limits import (
    ARRAY_NAME_BYTES_MAX,
    ARRAYS_MAX,
    SEGMENT_HEADER_BYTES_MAX,
    SEGMENT_ROWS_MAX,
)
from vstore.manifest.plain import PlainReader
from vstore.manifest.state import SegmentRef
from vstore.storage.block import BlockRef, ref_from, ref_to_list
from vstore.storage.layout import BlockKind
from vstore.storage.packing import pack, shown, unpack

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from vstore.storage.container import Container
    from vstore.types import Array

SegmentKind: TypeAlias = Literal["documents", "vectors"]
_HASHED_BESIDE_MIN: Final = 1 << 20  # bytes; a thread takes as long as hashing a tenth of that
DTYPES: Final = ("|u1", "|i1", "<u2", "<i2", "<u4", "<i4", "<u8", "<i8", "<f2", "<f4", "<f8")


class PiecedArray(NamedTuple):
    """An array too large to hold twice, given as consecutive slices of its first axis."""

    dtype: str
    shape: tuple[int, ...]
    pieces: Iterable[Array]


class ArrayRef(NamedTuple):
    """One array of a segment."""

    dtype: str
    shape: tuple[int, ...]
    block: BlockRef


class SegmentHeader(NamedTuple):
    """What a header block says."""

    rows: int
    attributes: Mapping[str, object]
    arrays: Mapping[str, ArrayRef]


def write_segment(
    container: Container,
    kind: SegmentKind,
    *,
    rows: int,
    docno_end: int,
    epoch: int,
    attributes: Mapping[str, object],
    arrays: Mapping[str, Array | PiecedArray | ArrayRef],
) -> SegmentRef:
    """Append a segment's arrays and then the header that names them.

    An `ArrayRef` stands for an array that is in the file already.
    """
    start = container.tail
    already = 0
    named: dict[str, object] = {}
    for name, array in arrays.items():
        if isinstance(array, ArrayRef):
            already += array.block.end - array.block.offset
            named[name] = [array.dtype, list(array.shape), *ref_to_list(array.block)]
        elif isinstance(array, PiecedArray):
            length = math.prod(array.shape) * np.dtype(array.dtype).itemsize
            block = container.append_pieces(BlockKind.ARRAY, length, map(_buffer, array.pieces))
            named[name] = [array.dtype, list(array.shape), *ref_to_list(block)]
        else:
            little = np.ascontiguousarray(array, array.dtype.newbyteorder("<"))
            block = container.append(BlockKind.ARRAY, _buffer(little))
            named[name] = [little.dtype.str, list(little.shape), *ref_to_list(block)]
    header = pack({"kind": kind, "rows": rows, "attributes": dict(attributes), "arrays": named})
    ref = container.append(BlockKind.SEGMENT, header)
    return SegmentRef(ref, rows, docno_end, already + container.tail - start, epoch)


def copy_segment(container: Container, segment: SealedSegment) -> SegmentRef:
    """Copy a segment into another file, as it is; every hash is verified on the way."""
    start = container.tail
    named = {
        name: [
            ref.dtype,
            list(ref.shape),
            *ref_to_list(
                container.append(
                    BlockKind.ARRAY, segment.container.read(ref.block, BlockKind.ARRAY)
                )
            ),
        ]
        for name, ref in segment.header.arrays.items()
    }
    header = pack(
        {
            "kind": segment.kind,
            "rows": segment.rows,
            "attributes": dict(segment.header.attributes),
            "arrays": named,
        }
    )
    ref = container.append(BlockKind.SEGMENT, header)
    return SegmentRef(
        ref, segment.rows, segment.ref.docno_end, container.tail - start, segment.ref.epoch
    )


def _buffer(array: Array) -> memoryview:
    return memoryview(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)


class SealedSegment:
    """A segment of a file; each array is loaded, and its hash verified, at its first use."""

    kind: SegmentKind

    def __init__(self, container: Container, ref: SegmentRef) -> None:
        self.ref = ref
        self.container = container
        self.rows = ref.rows
        self.header = self._read_header()
        self._arrays: dict[str, Array] = {}

    def corrupt(self, problem: str) -> CorruptionError:
        """Return the error for a segment that contradicts itself."""
        return CorruptionError(
            self.container.name, f"{self.kind} segment: {problem}", offset=self.ref.header.offset
        )

    def _read_header(self) -> SegmentHeader:
        try:
            data = unpack(
                self.container.read(self.ref.header, BlockKind.SEGMENT),
                bytes_max=SEGMENT_HEADER_BYTES_MAX,
            )
            plain = PlainReader(data, "segment")
            plain.choice("kind", (self.kind,))
            rows = plain.integer("rows", maximum=SEGMENT_ROWS_MAX)
            if rows != self.ref.rows:
                raise ValueError(f"{rows} rows, the manifest says {self.ref.rows}")
            return SegmentHeader(
                rows,
                plain.mapping("attributes", lambda _name, value, _at: value, count_max=ARRAYS_MAX),
                plain.mapping(
                    "arrays",
                    _read_array,
                    count_max=ARRAYS_MAX,
                    name_bytes_max=ARRAY_NAME_BYTES_MAX,
                ),
            )
        except ValueError as error:
            raise self.corrupt(str(error)) from error

    def has(self, name: str) -> bool:
        """Whether the segment has this array."""
        return name in self.header.arrays

    def array(self, name: str, dtype: str, shape: tuple[int | None, ...]) -> Array:
        """Return a read-only array over the file; None in ``shape`` allows any length.

        Raises
        ------
        CorruptionError
            It is missing, fails its checksum, or has another dtype or shape.
        """
        array = self._arrays.get(name)
        if array is None:
            array = self._load(name)
            self._arrays[name] = array
        return self._shaped(name, array, dtype, shape)

    def _shaped(self, name: str, array: Array, dtype: str, shape: tuple[int | None, ...]) -> Array:
        if array.dtype.str != dtype or not (
            len(shape) == array.ndim
            and all(want in (None, have) for want, have in zip(shape, array.shape, strict=True))
        ):
            raise self.corrupt(
                f"array {name!r} is {array.dtype.str} {array.shape}, expected {dtype} {shape}"
            )
        return array

    def unverified(self, name: str, dtype: str, shape: tuple[int | None, ...]) -> Array:
        """Return an array as `array` does, but its bytes are for the caller to verify."""
        ref = self.header.arrays.get(name)
        if ref is None or name in self._arrays or self.container.is_verified(ref.block):
            return self.array(name, dtype, shape)
        return self._shaped(name, self._view(ref, unverified=True), dtype, shape)

    def load_beside(self, *names: str) -> None:
        """Load the large ones of some arrays at once, one of two threads each.

        What is hard to load is left to `array`, which says why.
        """
        arrays = self.header.arrays
        large = [
            name
            for name in names
            if name not in self._arrays
            and name in arrays
            and arrays[name].block.length >= _HASHED_BESIDE_MIN
        ]
        if len(large) < 2:
            return
        waiting = sorted(large, key=lambda name: arrays[name].block.length)  # the largest first

        def work() -> None:
            with contextlib.suppress(IndexError, VstoreError):  # of an empty list; of `_load`
                while True:
                    name = waiting.pop()
                    self._arrays[name] = self._load(name)

        # Hashing lets go of the interpreter's lock. A plain thread: to import `concurrent.futures`
        # takes as long as is won here.
        other = threading.Thread(target=work)
        other.start()
        work()
        other.join()

    def _load(self, name: str) -> Array:
        ref = self.header.arrays.get(name)
        if ref is None:
            raise self.corrupt(f"no array {name!r}")
        return self._view(ref)

    def _view(self, ref: ArrayRef, *, unverified: bool = False) -> Array:
        data = self.container.read(ref.block, BlockKind.ARRAY, unverified=unverified)
        return np.frombuffer(data, np.dtype(ref.dtype)).reshape(ref.shape)

    def blocks(self) -> list[BlockRef]:
        """Return references to all blocks of the segment."""
        return [*(ref.block for ref in self.header.arrays.values()), self.ref.header]

    def verify(self) -> None:
        """Load every array, and so verify every hash."""
        for name in self.header.arrays:
            if name not in self._arrays:
                self._arrays[name] = self._load(name)


def _read_array(name: str, value: object, where: str) -> ArrayRef:
    if not isinstance(value, list) or len(value) != 5:
        raise ValueError(f"{where}: expected [dtype, shape, offset, length, hash]")
    dtype, shape = value[0], value[1]
    block = ref_from(value[2:])
    if dtype not in DTYPES:
        raise ValueError(f"{where}: unknown dtype {shown(dtype)}")
    if not isinstance(shape, list) or not 1 <= len(shape) <= 2:
        raise ValueError(f"{where}: impossible shape {shown(shape)}")
    if not all(type(extent) is int and 0 <= extent <= 2**48 for extent in shape):
        raise ValueError(f"{where}: impossible shape {shown(shape)}")
    if math.prod(shape) * np.dtype(dtype).itemsize != block.length:
        raise ValueError(f"{where}: shape {shape} of {dtype} is not {block.length} bytes")
    return ArrayRef(dtype, tuple(shape), block)
