"""The column of JSON values: unindexed, one msgpack value per row."""

# ruff: noqa: D102  (what the methods do is said once, on Column)

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import msgpack
import numpy as np

from vstore.segment.column import Column
from vstore.segment.column_arrays import (
    BYTE_DTYPE,
    check_offsets,
    concat_offsets,
    offsets_of,
    take_slices,
)
from vstore.segment.column_types import json_problem
from vstore.storage.packing import checked_map

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from vstore.manifest.state import FieldType
    from vstore.segment.column_arrays import ByteArray
    from vstore.types import Array, BoolArray, IntArray


@dataclass(frozen=True, slots=True, eq=False)
class JsonColumn(Column):
    """JSON values as msgpack; no row's bytes are decoded before it is asked for."""

    offsets: IntArray
    data: ByteArray

    @classmethod
    def build(cls, field_type: FieldType, values: Sequence[Any]) -> Self:
        packer = msgpack.Packer()
        packed = [b"" if value is None else packer.pack(value) for value in values]
        offsets = offsets_of(np.fromiter(map(len, packed), np.int64, len(packed)))
        return cls(field_type, offsets, np.frombuffer(b"".join(packed), BYTE_DTYPE))

    @classmethod
    def from_checked_layout(
        cls, field_type: FieldType, arrays: Mapping[str, Array], count: int
    ) -> Self:
        offsets, data = arrays["offsets"], arrays["bytes"]
        check_offsets("offsets", offsets, slices=count, end=data.size)
        return cls(field_type, offsets, data)

    @classmethod
    def concat(cls, columns: Sequence[Self]) -> Self:
        offsets = concat_offsets([column.offsets for column in columns])
        data = np.concatenate([column.data for column in columns])
        return cls(columns[0].field_type, offsets, data)

    @property
    def count(self) -> int:
        return self.offsets.size - 1

    def arrays(self) -> dict[str, Array]:
        return {"offsets": self.offsets, "bytes": self.data}

    def normalized(self, row: int) -> object | None:
        """Return the value of a row, newly decoded.

        Raises
        ------
        ValueError
            The bytes from the file are not one JSON value; found only now, since checking them
            on opening would read them all.
        """
        packed = self.data[self.offsets[row] : self.offsets[row + 1]].tobytes()
        if not packed:
            return None
        try:
            return _unpacked(packed)
        except ValueError as error:
            raise ValueError(f"the json value at row {row:,} is malformed: {error}") from None

    def take(self, indices: Array) -> Self:
        return type(self)(self.field_type, *take_slices(self.offsets, self.data, indices))

    def exists(self) -> BoolArray:
        return self.offsets[1:] > self.offsets[:-1]


def _unpacked(packed: bytes) -> object:
    value: object = msgpack.unpackb(packed, object_pairs_hook=checked_map)
    problem = "a null is stored as no bytes" if value is None else json_problem(value)
    if problem is not None:
        raise ValueError(problem)
    return value
