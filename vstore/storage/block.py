"""Blocks: a 64-byte frame and a payload (`format-spec.md`, "Block")."""

from __future__ import annotations

from typing import Final, NamedTuple

from blake3 import blake3

from vstore.limits import BLOCK_BYTES_MAX
from vstore.storage import layout
from vstore.storage.layout import ALIGNMENT, FRAME_BYTES, FRAME_HASHED_BYTES, HASH_BYTES, BlockKind
from vstore.storage.packing import shown

_FRAME: Final = layout.packing(layout.FRAME)


class BlockRef(NamedTuple):
    """Where a block stands and what its payload hashes to: an edge of the hash tree."""

    offset: int  # of the frame
    length: int  # of the payload
    hash: bytes

    @property
    def end(self) -> int:
        """First byte behind the block's padding."""
        return layout.aligned(self.offset + FRAME_BYTES + self.length)


class Frame(NamedTuple):
    """A decoded frame."""

    kind: int
    flags: int
    payload_length: int
    payload_hash: bytes


def encode_frame(kind: BlockKind, length: int, payload_hash: bytes) -> bytes:
    """Return the 64 bytes that stand before a payload."""
    body = _FRAME.pack(layout.FRAME_MAGIC, kind, 0, length, payload_hash, bytes(16))
    return body[:FRAME_HASHED_BYTES] + blake3(body[:FRAME_HASHED_BYTES]).digest(length=16)


def decode_frame(data: bytes | memoryview) -> Frame | None:
    """Read a frame; None if these bytes are none."""
    if len(data) < FRAME_BYTES or bytes(data[:4]) != layout.FRAME_MAGIC:
        return None
    _, kind, flags, length, payload_hash, frame_hash = _FRAME.unpack_from(data)
    if blake3(bytes(data[:FRAME_HASHED_BYTES])).digest(length=16) != frame_hash:
        return None
    return Frame(kind, flags, length, payload_hash)


def padding(length: int) -> bytes:
    """Return the zero bytes between a payload and the next frame."""
    return bytes(-length % ALIGNMENT)


def ref_to_list(ref: BlockRef) -> list[object]:
    """Return the reference as it stands in structured data."""
    return [ref.offset, ref.length, ref.hash]


def ref_from(value: object) -> BlockRef:
    """Read a reference from structured data.

    Raises
    ------
    ValueError
        It is no reference, or points where no block can be.
    """
    if not isinstance(value, list) or len(value) != 3:
        raise ValueError(f"not a block reference: {shown(value)}")
    offset, length, digest = value
    if not (
        type(offset) is int
        and type(length) is int
        and type(digest) is bytes
        and len(digest) == HASH_BYTES
        and layout.BLOCKS_START <= offset < 1 << 63
        and offset % ALIGNMENT == 0
        and 0 <= length <= BLOCK_BYTES_MAX
    ):
        raise ValueError(f"impossible block reference: {shown(value)}")
    return BlockRef(offset, length, digest)
