"""The dictionary of a keyword column: its distinct strings, once each, in code point order.

A row stores the position of its string, its code. UTF-8 orders bytes as Unicode orders code
points, so codes compare as the strings do, and ranges of strings are ranges of codes.
Every entry is used by some row; otherwise equal columns could have different bytes.
"""

from __future__ import annotations

import codecs
from bisect import bisect_left
from dataclasses import dataclass
from itertools import chain, pairwise
from typing import TYPE_CHECKING, Final, Self

import numpy as np
import numpy.typing as npt

from vstore import limits
from vstore.segment.column_arrays import (
    BYTE_DTYPE,
    OFFSET_DTYPE,
    check_offsets,
    offsets_of,
    take_slices,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from vstore.segment.column_arrays import ByteArray, CodeArray
    from vstore.types import Array, BoolArray, IntArray

CODE_DTYPE: Final = "<u4"
MISSING_CODE: Final = 0xFFFF_FFFF
DICTIONARY_DTYPES: Final[Mapping[str, str]] = {
    "dictionary_offsets": OFFSET_DTYPE,
    "dictionary_bytes": BYTE_DTYPE,
}

_WORD_BYTES: Final = 8
_WORD_ROUNDS: Final = 16  # pairs that share 128 bytes are few: compare those one by one
# Keeps the first n bytes of a big-endian word.
_WORD_MASKS: Final = np.array(
    [(1 << 64) - (1 << (64 - 8 * kept)) for kept in range(_WORD_BYTES + 1)], np.uint64
)


@dataclass(frozen=True, slots=True, eq=False)
class StringDictionary:
    """Distinct UTF-8 strings, strictly increasing.

    Attributes
    ----------
    offsets : ndarray of int64, shape (entries + 1,)
    data : ndarray of uint8
        The strings' UTF-8 bytes, end to end; may be a read-only view of a mapped file.
    """

    offsets: IntArray
    data: ByteArray

    @classmethod
    def from_entries(cls, entries: Sequence[bytes]) -> Self:
        """Return the dictionary of strictly increasing UTF-8 strings; the order is not checked."""
        lengths = np.fromiter(map(len, entries), np.int64, len(entries))
        return cls(offsets_of(lengths), np.frombuffer(b"".join(entries), BYTE_DTYPE))

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, Array]) -> Self:
        """Return the dictionary over untrusted arrays whose dtypes are already checked.

        Raises
        ------
        ValueError
            Offsets do not cut the bytes, a string is not UTF-8, or the order is not strict.
        """
        offsets, data = arrays["dictionary_offsets"], arrays["dictionary_bytes"]
        slices = max(offsets.size - 1, 0)
        check_offsets("dictionary_offsets", offsets, slices=slices, end=data.size)
        _check_utf8(offsets, data)
        if not _increases_strictly(offsets, data):
            raise ValueError("the dictionary's strings are not in strictly increasing order")
        return cls(offsets, data)

    def __len__(self) -> int:
        return self.offsets.size - 1

    def arrays(self) -> dict[str, Array]:
        """Return the named arrays to persist."""
        return {"dictionary_offsets": self.offsets, "dictionary_bytes": self.data}

    def string(self, code: int) -> str:
        """Return the string of a code below ``len(self)``."""
        return self._entry(code).decode()

    def entries(self) -> list[bytes]:
        """Return all strings in order, as UTF-8."""
        data = self.data.tobytes()
        return [data[start:end] for start, end in pairwise(self.offsets.tolist())]

    def code_range(self, string: str) -> tuple[int, int]:
        """Return the first code not below `string`, and the first code above it.

        The two differ, by one, exactly if the dictionary holds `string`.
        """
        encoded = string.encode()
        low = bisect_left(range(len(self)), encoded, key=self._entry)
        return low, low + (low < len(self) and self._entry(low) == encoded)

    def codes_of(self, strings: Sequence[str]) -> BoolArray:
        """Return the codes of those of `strings` that it holds, as a mask of shape (entries,)."""
        mask = np.zeros(len(self), np.bool_)
        if len(strings) * len(self).bit_length() < len(self):  # few: search for each
            for string in strings:
                mask[slice(*self.code_range(string))] = True
        else:
            wanted = {string.encode() for string in strings}
            mask[:] = [entry in wanted for entry in self.entries()]
        return mask

    def codes_among(self, codes: CodeArray) -> BoolArray:
        """Return the codes in use, as a mask of shape (entries,); missing codes are ignored."""
        used = np.zeros(len(self) + 1, np.bool_)
        used[np.minimum(codes, len(self))] = True
        return used[:-1]

    def compact(self, codes: CodeArray) -> tuple[Self, CodeArray]:
        """Return the dictionary without the entries that `codes` do not use, and the new codes."""
        used = self.codes_among(codes)
        if used.all():
            return self, codes
        kept = np.flatnonzero(used)
        new_codes: CodeArray = np.full(len(self) + 1, MISSING_CODE, CODE_DTYPE)
        new_codes[kept] = np.arange(kept.size)
        dictionary = type(self)(*take_slices(self.offsets, self.data, kept))
        return dictionary, new_codes[np.minimum(codes, len(self))]

    def _entry(self, code: int) -> bytes:
        return self.data[self.offsets[code] : self.offsets[code + 1]].tobytes()


def encode_strings(
    strings: Iterable[str | None], *, distinct: set[str | None], count: int
) -> tuple[StringDictionary, CodeArray]:
    """Return the dictionary of `distinct` strings and the codes of `strings`.

    Parameters
    ----------
    strings : Iterable[str | None]
        One per row; None gets ``MISSING_CODE``.
    distinct : set[str | None]
        What `strings` yields.
    count : int
        How many `strings` there are.
    """
    ordered = sorted(string for string in distinct if string is not None)
    code_of: dict[str | None, int] = {string: code for code, string in enumerate(ordered)}
    code_of[None] = MISSING_CODE
    codes: CodeArray = np.fromiter(map(code_of.__getitem__, strings), CODE_DTYPE, count)
    return StringDictionary.from_entries([string.encode() for string in ordered]), codes


def merge_dictionaries(
    dictionaries: Sequence[StringDictionary],
) -> tuple[StringDictionary, list[CodeArray]]:
    """Return the union, and for each dictionary the map from its codes to the union's.

    A map has one item more than its dictionary: the last is ``MISSING_CODE``. It never loops over
    rows, only over entries.
    """
    parts = [dictionary.entries() for dictionary in dictionaries]
    # Timsort finds the sorted runs, so this merges rather than sorts.
    union = list(dict.fromkeys(sorted(chain.from_iterable(parts))))
    code_of = {entry: code for code, entry in enumerate(union)}
    maps: list[CodeArray] = []
    for entries in parts:
        new_codes = np.full(len(entries) + 1, MISSING_CODE, CODE_DTYPE)
        new_codes[:-1] = np.fromiter(map(code_of.__getitem__, entries), CODE_DTYPE, len(entries))
        maps.append(new_codes)
    return StringDictionary.from_entries(union), maps


def _check_utf8(offsets: IntArray, data: ByteArray) -> None:
    decoder = codecs.getincrementaldecoder("utf-8")()
    try:
        for piece in _pieces(data):
            decoder.decode(piece)
        decoder.decode(b"", final=True)
    except UnicodeDecodeError as error:
        raise ValueError(f"the dictionary is not valid UTF-8: {error.reason}") from None
    # All bytes together being UTF-8, each string is unless it starts inside a character.
    inner = offsets[1:-1]
    first_bytes = data[inner[inner < data.size]]
    if ((first_bytes & 0xC0) == 0x80).any():
        raise ValueError("the dictionary is not valid UTF-8: a string starts inside a character")


def _pieces(data: ByteArray) -> Iterator[bytes]:
    for start in range(0, data.size, limits.STREAM_BYTES):
        yield data[start : start + limits.STREAM_BYTES].tobytes()


def _increases_strictly(offsets: IntArray, data: ByteArray) -> bool:
    """Compare each string with the next, eight bytes at a time, all pairs at once."""
    padded = np.zeros(data.size + _WORD_BYTES, np.uint8)
    padded[: data.size] = data
    words: npt.NDArray[np.uint64] = np.ndarray((data.size + 1,), ">u8", padded.data, strides=(1,))
    starts, lengths = offsets[:-1], np.diff(offsets)

    def word(entries: IntArray, position: int) -> npt.NDArray[np.uint64]:
        kept = np.minimum(lengths[entries] - position, _WORD_BYTES)
        kept_bytes: npt.NDArray[np.uint64] = words[starts[entries] + position] & _WORD_MASKS[kept]
        return kept_bytes

    pairs = np.arange(max(lengths.size - 1, 0))  # the left one of each pair still undecided
    for compared in range(0, _WORD_ROUNDS * _WORD_BYTES, _WORD_BYTES):
        left, right = word(pairs, compared), word(pairs + 1, compared)
        if (left > right).any():
            return False
        pairs = pairs[left == right]
        # Where a string ends inside equal words it is a prefix of the other: lengths decide.
        shorter = np.minimum(lengths[pairs], lengths[pairs + 1])
        undecided = shorter > compared + _WORD_BYTES
        ended = pairs[~undecided]
        if (lengths[ended] >= lengths[ended + 1]).any():
            return False
        pairs = pairs[undecided]
        if not pairs.size:
            return True
    return all(
        data[offsets[i] : offsets[i + 1]].tobytes()
        < data[offsets[i + 1] : offsets[i + 2]].tobytes()
        for i in pairs.tolist()
    )
