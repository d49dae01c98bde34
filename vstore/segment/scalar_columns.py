"""Columns of numbers, timestamps and bools: one fixed-size item per row."""

# ruff: noqa: D102  (what the methods do is said once, on Column)

from __future__ import annotations

import operator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Self, cast

import numpy as np

from vstore.manifest.state import FieldType
from vstore.segment.column import ARRAY_DTYPES, Column, check_presence, presence_of
from vstore.segment.column_arrays import BYTE_DTYPE, check_count, reject_rows
from vstore.segment.column_types import (
    TIMESTAMP_MAX_US,
    TIMESTAMP_MIN_US,
    ComparisonOperator,
    timestamp_to_datetime,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from vstore.segment.column_arrays import ByteArray
    from vstore.types import Array, BoolArray

_BOOL_MISSING: Final = 2
_OPERATORS: Final[Mapping[ComparisonOperator, Callable[[Any, Any], Any]]] = {
    "==": operator.eq,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


@dataclass(frozen=True, slots=True, eq=False)
class NumericColumn(Column):
    """Integers, floats, or timestamps as microseconds since 1970."""

    values: Array
    present: ByteArray

    @classmethod
    def build(cls, field_type: FieldType, values: Sequence[Any]) -> Self:
        dtype = ARRAY_DTYPES[field_type]["values"]
        numbers = np.fromiter(
            (0 if value is None else value for value in values), dtype, len(values)
        )
        return cls(field_type, numbers, presence_of(values))

    @classmethod
    def from_checked_layout(
        cls, field_type: FieldType, arrays: Mapping[str, Array], count: int
    ) -> Self:
        values, present = arrays["values"], arrays["present"]
        check_count("values", values, count)
        check_presence(present, count)
        bits = values.view(np.int64)  # so that a missing -0.0 or NaN is seen
        reject_rows((present == 0) & (bits != 0), "a missing number is not 0")
        if field_type is FieldType.FLOAT:
            reject_rows(~np.isfinite(values), "a number is not finite")
        elif field_type is FieldType.TIMESTAMP:
            outside = (values < TIMESTAMP_MIN_US) | (values > TIMESTAMP_MAX_US)
            reject_rows(outside, "a timestamp is outside the years 1 to 9999")
        return cls(field_type, values, present)

    @classmethod
    def concat(cls, columns: Sequence[Self]) -> Self:
        values = np.concatenate([column.values for column in columns])
        present = np.concatenate([column.present for column in columns])
        return cls(columns[0].field_type, values, present)

    @property
    def count(self) -> int:
        return self.values.size

    def arrays(self) -> dict[str, Array]:
        return {"values": self.values, "present": self.present}

    def normalized(self, row: int) -> object | None:
        return self.values[row].item() if self.present[row] else None

    def value(self, row: int) -> object | None:
        number = self.normalized(row)
        if number is None or self.field_type is not FieldType.TIMESTAMP:
            return number
        return timestamp_to_datetime(cast("int", number))

    def take(self, indices: Array) -> Self:
        return type(self)(self.field_type, self.values[indices], self.present[indices])

    def exists(self) -> BoolArray:
        return self.present.astype(np.bool_)

    def compare(self, comparison: ComparisonOperator, value: object) -> BoolArray:
        mask: BoolArray = _OPERATORS[comparison](self.values, value) & self.exists()
        return mask

    def is_in(self, values: Sequence[object]) -> BoolArray:
        return np.isin(self.values, np.array(values, self.values.dtype)) & self.exists()


@dataclass(frozen=True, slots=True, eq=False)
class BoolColumn(Column):
    """False, True or missing, in one byte."""

    values: ByteArray

    @classmethod
    def build(cls, field_type: FieldType, values: Sequence[Any]) -> Self:
        byte_of = {False: 0, True: 1, None: _BOOL_MISSING}
        return cls(
            field_type, np.fromiter(map(byte_of.__getitem__, values), BYTE_DTYPE, len(values))
        )

    @classmethod
    def from_checked_layout(
        cls, field_type: FieldType, arrays: Mapping[str, Array], count: int
    ) -> Self:
        values = arrays["values"]
        check_count("values", values, count)
        reject_rows(values > _BOOL_MISSING, "a bool is not 0, 1 or 2")
        return cls(field_type, values)

    @classmethod
    def concat(cls, columns: Sequence[Self]) -> Self:
        return cls(columns[0].field_type, np.concatenate([column.values for column in columns]))

    @property
    def count(self) -> int:
        return self.values.size

    def arrays(self) -> dict[str, Array]:
        return {"values": self.values}

    def normalized(self, row: int) -> bool | None:
        byte = int(self.values[row])
        return None if byte == _BOOL_MISSING else byte == 1

    def take(self, indices: Array) -> Self:
        return type(self)(self.field_type, self.values[indices])

    def exists(self) -> BoolArray:
        return self.values < _BOOL_MISSING

    def compare(self, comparison: ComparisonOperator, value: object) -> BoolArray:
        if comparison != "==":
            raise TypeError(f"bool columns have no order, so no {comparison}")
        return self.is_in([value])

    def is_in(self, values: Sequence[object]) -> BoolArray:
        return np.isin(self.values, np.array(values, np.uint8))
