"""Typed metadata columns of a segment: one value per row, stored as a few flat arrays.

=========================  ====================================================================
Field types                Arrays
=========================  ====================================================================
keyword                    ``codes`` into a sorted dictionary, ``0xFFFFFFFF`` = missing
keywords                   ``offsets`` into ``codes`` into a sorted dictionary, ``present``
int, float, timestamp      ``values`` (0 where missing), ``present``
bool                       ``values``: 0, 1, or 2 = missing
json                       ``offsets`` into ``bytes``: one msgpack value per row, empty = missing
=========================  ====================================================================

A column is immutable and may lie over read-only mapped arrays; nothing is copied to open one.
Everything that touches all rows is vectorised: opening, filtering, `Column.take` and
`concat_columns`. Equal values give equal bytes, whether a column was built, merged, or cut.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from vstore.manifest.state import FieldType
from vstore.segment.column import ARRAY_DTYPES, Column
from vstore.segment.column_arrays import check_layout
from vstore.segment.column_types import normalize_value
from vstore.segment.json_column import JsonColumn
from vstore.segment.keyword_columns import KeywordColumn, KeywordsColumn
from vstore.segment.scalar_columns import BoolColumn, NumericColumn

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from vstore.types import Array

__all__ = [
    "ARRAY_DTYPES",
    "BoolColumn",
    "Column",
    "FieldType",
    "JsonColumn",
    "KeywordColumn",
    "KeywordsColumn",
    "NumericColumn",
    "build_column",
    "column_from_arrays",
    "concat_columns",
    "missing_column",
    "normalize_value",
]

_CLASSES: Final[Mapping[FieldType, type[Column]]] = {
    FieldType.KEYWORD: KeywordColumn,
    FieldType.KEYWORDS: KeywordsColumn,
    FieldType.INT: NumericColumn,
    FieldType.FLOAT: NumericColumn,
    FieldType.BOOL: BoolColumn,
    FieldType.TIMESTAMP: NumericColumn,
    FieldType.JSON: JsonColumn,
}


def build_column(field_type: FieldType, values: Sequence[object | None]) -> Column:
    """Return the column of canonical values, as `normalize_value` returns them; not checked."""
    return _CLASSES[field_type].build(FieldType(field_type), values)


def column_from_arrays(field_type: FieldType, arrays: Mapping[str, Array], *, count: int) -> Column:
    """Return the column over arrays from a file, without copying them.

    Parameters
    ----------
    field_type : FieldType
    arrays : Mapping[str, ndarray]
        Exactly the arrays of ``ARRAY_DTYPES[field_type]``; read-only ones will do.
    count : int
        Rows the segment has.

    Raises
    ------
    ValueError
        The arrays are not what `Column.arrays` returns for some values. The one thing not checked
        is what the bytes of a json value decode to; reading that value raises ValueError.
    """
    check_layout(arrays, ARRAY_DTYPES[field_type])
    return _CLASSES[field_type].from_checked_layout(FieldType(field_type), arrays, count)


def missing_column(field_type: FieldType, count: int) -> Column:
    """Return a column without a single value."""
    return build_column(field_type, [None]).take(np.zeros(count, np.int64))


def concat_columns(field_type: FieldType, columns: Sequence[Column]) -> Column:
    """Return the rows of all `columns`, in order; every column is of `field_type`."""
    assert all(column.field_type == field_type for column in columns)
    if not columns:
        return build_column(field_type, [])
    return _CLASSES[field_type].concat(columns)
