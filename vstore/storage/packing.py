"""Msgpack with strict limits: the encoding of all structured data in a file.

A stranger's message can neither make us allocate more than it is long, nor nest deep, nor use keys
that are no strings or that come twice.
"""

from __future__ import annotations

import reprlib
from typing import Any

import msgpack
from blake3 import blake3

from vstore.limits import MANIFEST_BYTES_MAX


def pack(value: object) -> bytes:
    """Encode a value; the same value gives the same bytes."""
    packed: bytes = msgpack.packb(value, use_bin_type=True)
    return packed


def unpack(data: bytes | memoryview, *, bytes_max: int = MANIFEST_BYTES_MAX) -> Any:  # noqa: ANN401 - callers validate
    """Decode one value.

    Raises
    ------
    ValueError
        The bytes are no single msgpack value within the limits.
    """
    length = len(data)
    if length > bytes_max:
        raise ValueError(f"{length} bytes of structured data, at most {bytes_max}")
    try:
        return msgpack.unpackb(
            data,
            raw=False,
            strict_map_key=True,  # which lets bytes pass
            object_pairs_hook=checked_map,
            max_str_len=length,
            max_bin_len=length,
            max_array_len=length,
            max_map_len=length // 2,
            max_ext_len=0,
        )
    except (ValueError, msgpack.UnpackException, RecursionError, TypeError) as error:
        raise ValueError(f"malformed structured data: {error!r}") from error


def checked_map(pairs: list[tuple[object, object]]) -> dict[object, object]:
    """Return a decoded map.

    Raises
    ------
    ValueError
        A key is no string, or comes twice: two readers could go by different values of it.
    """
    value = dict(pairs)
    if len(value) != len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for i, key in enumerate(keys) if key in keys[:i])
        raise ValueError(f"the key {shown(twice)} comes twice in a map")
    try:
        "".join(value)  # type: ignore[arg-type]  # the quickest way to see that all are strings
    except TypeError:
        wrong = next(key for key in value if type(key) is not str)
        raise ValueError(f"a key of a map is {shown(wrong)}") from None
    return value


def shown(value: object) -> str:
    """Return a value of a file for a message: short, however deep or long it is."""
    return f"{reprlib.repr(value):.80}"


def blake3_digest(data: bytes | memoryview) -> bytes:
    """32-byte BLAKE3.

    By one thread, 5 GB/s. With ``max_threads`` it would keep a pool of threads, which a forked
    child has no more: the child's first hash would wait for them for ever.
    """
    return blake3(data).digest()
