"""What every metadata column can do, and the arrays each field type is stored as.

Masks follow two-valued logic: a missing value compares as False to everything. Rows, codes and
canonical values passed to methods are trusted; only `columns.column_from_arrays` takes untrusted
data.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Self

import numpy as np

from vstore.manifest.state import FieldType
from vstore.segment.column_arrays import BYTE_DTYPE, OFFSET_DTYPE, check_count, reject_rows
from vstore.segment.column_dictionary import CODE_DTYPE, DICTIONARY_DTYPES

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from vstore.segment.column_arrays import ByteArray
    from vstore.segment.column_types import ComparisonOperator
    from vstore.types import Array, BoolArray

ARRAY_DTYPES: Final[Mapping[FieldType, Mapping[str, str]]] = {
    FieldType.KEYWORD: {"codes": CODE_DTYPE, **DICTIONARY_DTYPES},
    FieldType.KEYWORDS: {
        "offsets": OFFSET_DTYPE,
        "codes": CODE_DTYPE,
        "present": BYTE_DTYPE,
        **DICTIONARY_DTYPES,
    },
    FieldType.INT: {"values": "<i8", "present": BYTE_DTYPE},
    FieldType.FLOAT: {"values": "<f8", "present": BYTE_DTYPE},
    FieldType.BOOL: {"values": BYTE_DTYPE},
    FieldType.TIMESTAMP: {"values": "<i8", "present": BYTE_DTYPE},
    FieldType.JSON: {"offsets": OFFSET_DTYPE, "bytes": BYTE_DTYPE},
}


@dataclass(frozen=True, slots=True, eq=False)
class Column(ABC):
    """The values of one field in one segment."""

    field_type: FieldType

    @property
    @abstractmethod
    def count(self) -> int:
        """Number of rows, the missing ones included."""

    @abstractmethod
    def arrays(self) -> dict[str, Array]:
        """Return the named arrays to persist, with the dtypes of ``ARRAY_DTYPES``; not copies."""

    @abstractmethod
    def normalized(self, row: int) -> object | None:
        """Return a row's canonical value, which `columns.build_column` makes the same bytes of."""

    def value(self, row: int) -> object | None:
        """Return the value of a row as users see it, or None where it is missing."""
        return self.normalized(row)

    @abstractmethod
    def take(self, indices: Array) -> Self:
        """Return the column of the rows at `indices` (integers, any order, repeats allowed)."""

    @abstractmethod
    def exists(self) -> BoolArray:
        """Return a new mask of the rows that have a value; an empty list is a value."""

    def compare(self, comparison: ComparisonOperator, value: object) -> BoolArray:
        """Return a new mask of the rows that compare so with a canonical value."""
        raise TypeError(f"{self.field_type} columns do not support {comparison}")

    def is_in(self, values: Sequence[object]) -> BoolArray:
        """Return a new mask of the rows whose value is one of some canonical values."""
        raise TypeError(f"{self.field_type} columns do not support is_in")

    def contains(self, keyword: str) -> BoolArray:
        """Return a new mask of the rows whose list holds `keyword`."""
        raise TypeError(f"{self.field_type} columns do not support contains")

    @classmethod
    @abstractmethod
    def build(cls, field_type: FieldType, values: Sequence[Any]) -> Self:
        """Build from canonical values."""

    @classmethod
    @abstractmethod
    def from_checked_layout(
        cls, field_type: FieldType, arrays: Mapping[str, Array], count: int
    ) -> Self:
        """Check all but the names and dtypes of arrays from a file, and wrap them."""

    @classmethod
    @abstractmethod
    def concat(cls, columns: Sequence[Self]) -> Self:
        """Join one or more columns of one type."""


def presence_of(values: Sequence[object | None]) -> ByteArray:
    """Return 1 for each value and 0 for each None."""
    return np.fromiter((value is not None for value in values), BYTE_DTYPE, len(values))


def check_presence(present: ByteArray, count: int) -> None:
    """Raise ValueError unless `present` has a 0 or 1 for each row."""
    check_count("present", present, count)
    reject_rows(present > 1, "array 'present' is neither 0 nor 1")
