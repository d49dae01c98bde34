"""The file that `format-spec.md` shows in hex.

``python -m tests.format.annotated_file`` prints the dump.
"""

from __future__ import annotations

import struct
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import msgpack
import numpy as np

from tests.format.frozen import create_store
from vstore import EmbeddingSpec
from vstore.storage import layout

if TYPE_CHECKING:
    from collections.abc import Iterator

SHOWN_BLOCKS = (0, 3)  # the first commit, and the one with a document

# What the places of a list mean: of those under a key, and of those of a length.
_NAMES = {
    '"operation": ': ("name", "note", "counts"),
    "list of 3": ("offset", "length", "hash"),
    "list of 4": ("docno", "chunk", "revision", "vectors"),
    "list of 7": ("docno", "id", "created", "revision", "source_hash", "metadata", "text"),
}


def write_annotated_file(path: Path) -> bytes:
    """Write it and return its bytes."""
    with create_store(path, step_us=0) as store:
        collection = store.create_collection("c", fields={"year": "int"})
        collection.create_version("v", EmbeddingSpec("m", 2))
        collection.upsert(
            ["a"], metadata=[{"year": 2026}], vectors={"v": np.array([[0.6, 0.8]], np.float32)}
        )
    return path.read_bytes()


def blocks_of(data: bytes) -> list[tuple[int, int]]:
    """Return offset and payload length of each block."""
    found = []
    offset = layout.BLOCKS_START
    while offset < len(data):
        length = struct.unpack_from("<Q", data, offset + 8)[0]
        found.append((offset, length))
        offset = layout.aligned(offset + layout.FRAME_BYTES + length)
    return found


def dump(data: bytes) -> Iterator[str]:
    """Yield the lines of the dump."""
    yield from _fields(data, layout.SLOT_BYTES, layout.SUPERBLOCK)
    for number in SHOWN_BLOCKS:
        offset, length = blocks_of(data)[number]
        yield ""
        yield from _fields(data, offset, layout.FRAME)
        yield from _message(data, offset + layout.FRAME_BYTES, length)


def _fields(data: bytes, start: int, fields: tuple[layout.Field, ...]) -> Iterator[str]:
    for field in fields:
        size = struct.calcsize("<" + field.code)
        value = struct.unpack_from("<" + field.code, data, start + field.offset)[0]
        shown = "" if isinstance(value, bytes) else f" = {value:,}"
        yield from _lines(data, start + field.offset, size, field.name + shown)


def _message(data: bytes, start: int, length: int) -> Iterator[str]:
    lines: list[str] = []
    end = _value(data, start, start, "", lines)
    assert end == start + length
    yield from lines


def _value(data: bytes, line_start: int, at: int, label: str, lines: list[str]) -> int:
    """Add the lines of one MessagePack value, whose key began at ``line_start``; return its end."""
    first = data[at]
    if first & 0xF0 in (0x80, 0x90):
        count, is_map = first & 15, first & 0xF0 == 0x80
        shape = f"map of {count}" if is_map else f"list of {count}"
        lines += _lines(data, line_start, at + 1 - line_start, label + shape)
        names = _NAMES.get(label, _NAMES.get(shape, ()))
        at += 1
        for i in range(count):
            key = at
            inner = f"{names[i]}: " if i < len(names) else ""
            if is_map:
                at, name = _scalar(data, at)
                inner = f"{name}: "
            at = _value(data, key, at, inner, lines)
        return at
    end, text = _scalar(data, at)
    lines += _lines(data, line_start, end - line_start, label + text)
    return end


def _scalar(data: bytes, at: int) -> tuple[int, str]:
    unpacker = msgpack.Unpacker()
    unpacker.feed(data[at : at + 512])
    value = unpacker.unpack()
    if isinstance(value, bytes):
        text = f"{len(value)} bytes"
    elif isinstance(value, str):
        text = f'"{value}"'
    else:
        text = "nil" if value is None else f"{value:,}"
    return at + unpacker.tell(), text


def _lines(data: bytes, start: int, size: int, text: str) -> Iterator[str]:
    for at in range(start, start + size, 16):
        piece = data[at : min(at + 16, start + size)]
        yield f"{at:08x}  {piece.hex(' '):<47}  {text if at == start else ''}".rstrip()


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        data = write_annotated_file(Path(folder) / "annotated.vstore")
    print(f"{len(data):,} bytes", *dump(data), sep="\n")  # noqa: T201


if __name__ == "__main__":
    main()
