"""Columns of strings: one per row, or a list per row.

Comparisons look their string up in the dictionary and then compare codes, which are ordered alike.
"""

# ruff: noqa: D102  (what the methods do is said once, on Column)

from __future__ import annotations

from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING, Any, Final, Self, cast

import numpy as np

from vstore.segment.column import Column, check_presence, presence_of
from vstore.segment.column_arrays import (
    check_count,
    check_offsets,
    concat_offsets,
    offsets_of,
    reject_rows,
    take_slices,
)
from vstore.segment.column_dictionary import (
    MISSING_CODE,
    StringDictionary,
    encode_strings,
    merge_dictionaries,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from vstore.manifest.state import FieldType
    from vstore.segment.column_arrays import ByteArray, CodeArray
    from vstore.segment.column_types import ComparisonOperator
    from vstore.types import Array, BoolArray, IntArray

_CODE_PROBLEM: Final = "a code is not in the dictionary"


@dataclass(frozen=True, slots=True, eq=False)
class KeywordColumn(Column):
    """Strings, dictionary-encoded."""

    codes: CodeArray
    dictionary: StringDictionary

    @classmethod
    def build(cls, field_type: FieldType, values: Sequence[Any]) -> Self:
        dictionary, codes = encode_strings(values, distinct=set(values), count=len(values))
        return cls(field_type, codes, dictionary)

    @classmethod
    def from_checked_layout(
        cls, field_type: FieldType, arrays: Mapping[str, Array], count: int
    ) -> Self:
        codes = arrays["codes"]
        check_count("codes", codes, count)
        dictionary = StringDictionary.from_arrays(arrays)
        reject_rows((codes >= len(dictionary)) & (codes != MISSING_CODE), _CODE_PROBLEM)
        _check_every_entry_used(dictionary, codes)
        return cls(field_type, codes, dictionary)

    @classmethod
    def concat(cls, columns: Sequence[Self]) -> Self:
        dictionary, codes = _merge_codes([(column.dictionary, column.codes) for column in columns])
        return cls(columns[0].field_type, codes, dictionary)

    @property
    def count(self) -> int:
        return self.codes.size

    def arrays(self) -> dict[str, Array]:
        return {"codes": self.codes, **self.dictionary.arrays()}

    def normalized(self, row: int) -> str | None:
        code = int(self.codes[row])
        return None if code == MISSING_CODE else self.dictionary.string(code)

    def take(self, indices: Array) -> Self:
        dictionary, codes = self.dictionary.compact(self.codes[indices])
        return type(self)(self.field_type, codes, dictionary)

    def exists(self) -> BoolArray:
        return self.codes < MISSING_CODE

    def compare(self, comparison: ComparisonOperator, value: object) -> BoolArray:
        low, high = self.dictionary.code_range(cast("str", value))
        match comparison:
            case "==":
                return (self.codes >= low) & (self.codes < high)
            case "<":
                return self.codes < low
            case "<=":
                return self.codes < high
            case ">":
                return (self.codes >= high) & self.exists()
            case ">=":
                return (self.codes >= low) & self.exists()

    def is_in(self, values: Sequence[object]) -> BoolArray:
        wanted = self.dictionary.codes_of(cast("Sequence[str]", values))
        wanted = np.append(wanted, False)  # the last is for missing codes
        return wanted[np.minimum(self.codes, len(self.dictionary))]


@dataclass(frozen=True, slots=True, eq=False)
class KeywordsColumn(Column):
    """Lists of strings, in the order given and with repeats; the strings dictionary-encoded."""

    offsets: IntArray
    codes: CodeArray
    dictionary: StringDictionary
    present: ByteArray

    @classmethod
    def build(cls, field_type: FieldType, values: Sequence[Any]) -> Self:
        lists: list[tuple[str, ...]] = [value or () for value in values]
        offsets = offsets_of(np.fromiter(map(len, lists), np.int64, len(lists)))
        dictionary, codes = encode_strings(
            chain.from_iterable(lists),
            distinct=set(chain.from_iterable(lists)),
            count=int(offsets[-1]),
        )
        return cls(field_type, offsets, codes, dictionary, presence_of(values))

    @classmethod
    def from_checked_layout(
        cls, field_type: FieldType, arrays: Mapping[str, Array], count: int
    ) -> Self:
        offsets, codes, present = arrays["offsets"], arrays["codes"], arrays["present"]
        check_offsets("offsets", offsets, slices=count, end=codes.size)
        check_presence(present, count)
        reject_rows((present == 0) & (offsets[1:] != offsets[:-1]), "a missing list has items")
        dictionary = StringDictionary.from_arrays(arrays)
        reject_rows(codes >= len(dictionary), _CODE_PROBLEM)
        _check_every_entry_used(dictionary, codes)
        return cls(field_type, offsets, codes, dictionary, present)

    @classmethod
    def concat(cls, columns: Sequence[Self]) -> Self:
        dictionary, codes = _merge_codes([(column.dictionary, column.codes) for column in columns])
        offsets = concat_offsets([column.offsets for column in columns])
        present = np.concatenate([column.present for column in columns])
        return cls(columns[0].field_type, offsets, codes, dictionary, present)

    @property
    def count(self) -> int:
        return self.present.size

    def arrays(self) -> dict[str, Array]:
        return {
            "offsets": self.offsets,
            "codes": self.codes,
            "present": self.present,
            **self.dictionary.arrays(),
        }

    def normalized(self, row: int) -> tuple[str, ...] | None:
        if not self.present[row]:
            return None
        codes = self.codes[self.offsets[row] : self.offsets[row + 1]]
        return tuple(map(self.dictionary.string, codes.tolist()))

    def value(self, row: int) -> list[str] | None:
        keywords = self.normalized(row)
        return None if keywords is None else list(keywords)

    def take(self, indices: Array) -> Self:
        offsets, codes = take_slices(self.offsets, self.codes, indices)
        dictionary, codes = self.dictionary.compact(codes)
        return type(self)(self.field_type, offsets, codes, dictionary, self.present[indices])

    def exists(self) -> BoolArray:
        return self.present.astype(np.bool_)

    def contains(self, keyword: str) -> BoolArray:
        low, high = self.dictionary.code_range(keyword)
        positions = np.flatnonzero((self.codes >= low) & (self.codes < high))
        mask = np.zeros(self.count, np.bool_)
        mask[np.searchsorted(self.offsets, positions, side="right") - 1] = True
        return mask


def _merge_codes(
    parts: Sequence[tuple[StringDictionary, CodeArray]],
) -> tuple[StringDictionary, CodeArray]:
    merged, maps = merge_dictionaries([dictionary for dictionary, _ in parts])
    codes = [
        new_codes[np.minimum(old_codes, len(dictionary))]
        for (dictionary, old_codes), new_codes in zip(parts, maps, strict=True)
    ]
    return merged, np.concatenate(codes)


def _check_every_entry_used(dictionary: StringDictionary, codes: CodeArray) -> None:
    used = dictionary.codes_among(codes)
    if not used.all():
        raise ValueError(f"no row uses entry {int(used.argmin()):,} of the dictionary")
