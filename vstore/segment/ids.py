"""Document ids as bytes, and the hash index that finds them (`format-spec.md`, "Document ids").

All functions work on whole batches: an id costs a fraction of a microsecond.
"""

from __future__ import annotations

from collections.abc import ItemsView, KeysView, Sequence, Set
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from vstore.errors import InvalidArgumentError, LimitExceededError
from vstore.limits import ID_BYTES_MAX, INT_ID_MAX, INT_ID_MIN
from vstore.shown import short_repr

if TYPE_CHECKING:
    from collections.abc import Iterable

    import numpy.typing as npt

    from vstore.types import Array, DocumentId, IntArray

    U64Array = npt.NDArray[np.uint64]

KIND_TEXT: Final = 0
KIND_INT: Final = 1

_MULTIPLIER: Final = np.uint64(0x9E3779B97F4A7C15)  # 2^64 / golden ratio (Knuth)
_FINAL: Final = np.uint64(0xD6E8FEB86659FD93)
_SHIFT: Final = np.uint64(32)
_SEEDS: Final = np.array([0x243F6A8885A308D3, 0x13198A2E03707344], np.uint64)  # by kind


class EncodedIds(NamedTuple):
    """Ids of a batch as they stand in a segment.

    Attributes
    ----------
    kinds : u8 (n,)
        0 for text, 1 for integers.
    offsets : int64 (n + 1,)
        Where each id's bytes start in ``data``.
    data : u8
        UTF-8 of text ids, 8 little-endian bytes of integer ids.
    """

    kinds: npt.NDArray[np.uint8]
    offsets: IntArray
    data: npt.NDArray[np.uint8]


def validate_ids(
    ids: Iterable[DocumentId], *, unique: bool = True, ordered: bool = True
) -> list[DocumentId]:
    """Return the ids as a list of plain str and int.

    Parameters
    ----------
    ids : iterable
        Sequence, iterator, array, Series, or dict, for its keys. NumPy's scalars count as the
        Python ones they hold.
    ordered : bool
        The ids stand beside vectors or other columns: a set, whose order is nobody's, is refused.

    Raises
    ------
    InvalidArgumentError
        An id is neither text nor integer, is empty, is no valid Unicode, or (with ``unique``)
        comes twice. The ids are a single text, or (with ``ordered``) a set.
    LimitExceededError
        An id is longer than `ID_BYTES_MAX` bytes.
    """
    result = _listed(ids, ordered=ordered)
    if not set(map(type, result)) <= {str, int}:
        result = [_plain(row, value) for row, value in enumerate(result)]
    if unique and len(set(result)) != len(result):
        seen: set[DocumentId] = set()
        for row, value in enumerate(result):
            if value in seen:
                raise InvalidArgumentError(
                    f"ids[{row}]: {short_repr(value)} comes twice in one batch"
                )
            seen.add(value)
    if not _all_short_ascii(result):
        for row, value in enumerate(result):
            _require_encodable(row, value)
    return result


def is_unordered(values: object) -> bool:
    """Whether values come in an order that is nobody's: those of a set.

    A dict's keys are in the order of their insertion, and sets that keep one are sequences as well.
    """
    return isinstance(values, Set) and not isinstance(values, KeysView | ItemsView | Sequence)


def _listed(ids: object, *, ordered: bool) -> list[DocumentId]:
    if isinstance(ids, str | bytes | bytearray | int):
        raise InvalidArgumentError(f"ids: expected a sequence of ids, found one: {ids!r:.80}")
    if ordered and is_unordered(ids):
        raise InvalidArgumentError(
            f"ids: expected a sequence, found a {type(ids).__name__}, which has no order: what "
            "stands beside the ids would belong to others. Pass a list in the order of the rest."
        )
    if hasattr(ids, "dtype") and getattr(ids, "ndim", False):
        # Of a masked array None stands for what is masked, which is no id.
        array = ids if isinstance(ids, np.ndarray) else np.asarray(ids)
        plain: list[DocumentId] = array.tolist()
        return plain
    try:
        return list(ids)  # type: ignore[call-overload,no-any-return]  # what else is refused
    except TypeError as error:
        found = short_repr(ids)  # a 0-d array, for example
        hint = "; a filter goes into where=" if hasattr(ids, "__invert__") else ""
        raise InvalidArgumentError(
            f"ids: expected a sequence of ids, found {found}{hint}"
        ) from error


def _plain(row: int, value: object) -> DocumentId:
    if isinstance(value, str):
        return str.__str__(value)  # of a subclass, such as NumPy's or an enum's
    if isinstance(value, int | np.integer) and not isinstance(value, bool):
        return int(value)
    raise InvalidArgumentError(f"ids[{row}]: expected str or int, found {short_repr(value)}")


def _all_short_ascii(ids: list[DocumentId]) -> bool:
    """Whether all ids are text that needs no closer look: the usual case, told cheaply."""
    if set(map(type, ids)) != {str}:
        return False
    lengths = list(map(len, ids))  # type: ignore[arg-type]  # all are str
    return (
        min(lengths) > 0 and max(lengths) <= ID_BYTES_MAX and "".join(ids).isascii()  # type: ignore[arg-type]
    )


def _require_encodable(row: int, value: DocumentId) -> None:
    if isinstance(value, int):
        if not INT_ID_MIN <= value <= INT_ID_MAX:
            raise InvalidArgumentError(
                f"ids[{row}]: expected {INT_ID_MIN} to {INT_ID_MAX}, found {short_repr(value)}"
            )
        return
    try:
        size_bytes = len(value.encode())
    except UnicodeEncodeError as error:
        raise InvalidArgumentError(f"ids[{row}]: not valid Unicode: {error}") from error
    if not size_bytes:
        raise InvalidArgumentError(f"ids[{row}]: an id must not be empty")
    if size_bytes > ID_BYTES_MAX:
        raise LimitExceededError(
            f"ids[{row}] in bytes", limit="ID_BYTES_MAX", found=size_bytes, allowed=ID_BYTES_MAX
        )


def encode_ids(ids: Sequence[DocumentId]) -> EncodedIds:
    """Encode validated ids."""
    types = set(map(type, ids))
    if types == {int}:
        kinds = np.full(len(ids), KIND_INT, np.uint8)
        return EncodedIds(kinds, offsets_of([8] * len(ids)), _int_bytes(ids))
    if types == {str}:
        joined = "".join(ids)  # type: ignore[arg-type]  # checked right above
        if joined.isascii():  # the usual case, without a bytes object per id
            kinds = np.zeros(len(ids), np.uint8)
            lengths = list(map(len, ids))  # type: ignore[arg-type]
            return EncodedIds(kinds, offsets_of(lengths), np.frombuffer(joined.encode(), np.uint8))
    pieces = [
        value.encode() if isinstance(value, str) else _int_bytes([value]).tobytes() for value in ids
    ]
    kinds = np.fromiter((type(value) is int for value in ids), np.uint8, len(ids))
    data = np.frombuffer(b"".join(pieces), np.uint8)
    return EncodedIds(kinds, offsets_of([len(piece) for piece in pieces]), data)


def decode_id(kind: int, data: bytes) -> DocumentId:
    """Return one id from its bytes.

    Raises
    ------
    ValueError
        The bytes are no id of this kind.
    """
    if kind == KIND_TEXT and 0 < len(data) <= ID_BYTES_MAX:
        return data.decode()
    if kind == KIND_INT and len(data) == 8:
        return int.from_bytes(data, "little", signed=True)
    raise ValueError(f"not an id: kind {kind}, {len(data)} bytes")


def decode_ids(encoded: EncodedIds, rows: IntArray) -> list[DocumentId]:
    """Return the ids of some rows.

    Raises
    ------
    ValueError
        The bytes of one are no id of its kind.
    """
    kinds = encoded.kinds[rows]
    starts, ends = encoded.offsets[rows], encoded.offsets[rows + 1]
    data = encoded.data.data
    return [
        decode_id(kind, bytes(data[start:end]))
        for kind, start, end in zip(kinds.tolist(), starts.tolist(), ends.tolist(), strict=True)
    ]


def integer_ids(encoded: EncodedIds) -> IntArray | None:
    """Return ids that are all integers as int64 (n,), a view; None if they are not."""
    count = len(encoded.kinds)
    if (
        len(encoded.data) != 8 * count
        or not (encoded.kinds == KIND_INT).all()
        or not np.array_equal(encoded.offsets, np.arange(0, 8 * count + 1, 8))
    ):
        return None
    numbers: IntArray = encoded.data.view("<i8")
    return numbers


def hash_ids(encoded: EncodedIds) -> U64Array:
    """Hash each id: multiply-xorshift over its 8-byte words, u64 (n,).

    Collisions are harmless, since a lookup compares the bytes.
    """
    starts = encoded.offsets[:-1].astype(np.int64)
    lengths = np.diff(encoded.offsets.astype(np.int64))
    hashes = _SEEDS[np.minimum(encoded.kinds, 1)] ^ (lengths.astype(np.uint64) * _MULTIPLIER)
    padded = np.zeros(len(encoded.data) + 8, np.uint8)
    padded[: len(encoded.data)] = encoded.data
    words = np.ndarray((len(encoded.data) + 1,), "<u8", buffer=padded.data, strides=(1,))
    position, active = 0, np.arange(len(lengths))
    while True:
        active = active[lengths[active] > position]
        if not len(active):
            break
        word = words[starts[active] + position]
        missing = np.maximum(8 - (lengths[active] - position), 0).astype(np.uint64) * np.uint64(8)
        word &= np.uint64(0xFFFFFFFFFFFFFFFF) >> missing
        mixed = (hashes[active] ^ word) * _MULTIPLIER
        hashes[active] = mixed ^ (mixed >> _SHIFT)
        position += 8
    hashes *= _FINAL
    return np.asarray(hashes ^ (hashes >> _SHIFT))


def _int_bytes(ids: Sequence[DocumentId]) -> npt.NDArray[np.uint8]:
    numbers: npt.NDArray[np.int64] = np.array(ids, dtype="<i8")
    return numbers.view(np.uint8)


def offsets_of(lengths: Array | Sequence[int]) -> IntArray:
    """Return where strings of some lengths start when they stand end to end, int64 (n + 1,).

    The last entry is the length of all.
    """
    return np.concatenate(([0], np.cumsum(lengths))).astype(np.int64)
