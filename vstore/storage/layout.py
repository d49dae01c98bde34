"""Where every byte of a file stands: the twin of `format-spec.md`, which a test compares with it.

A file is two superblock slots and then blocks, append only::

    0      slot A (4096 bytes)
    4096   slot B (4096 bytes)
    8192   block, block, block ...       each frame at a multiple of 64

Nothing is overwritten except the older slot. All integers are little-endian, all padding is zero.
"""

from __future__ import annotations

import enum
import struct
from typing import Final, NamedTuple

# Like PNG's: the high bit catches 7-bit transfer, CR LF and the lone LF catch text-mode
# transfer, ^Z stops `type` on Windows.
MAGIC: Final = b"\x89vstore\r\n\x1a\n\x00\x00\x00\x00\x00"
FORMAT_MAJOR: Final = 1  # readers refuse another major
FORMAT_MINOR: Final = 0  # informative

SLOT_BYTES: Final = 4096
SLOT_COUNT: Final = 2
BLOCKS_START: Final = SLOT_BYTES * SLOT_COUNT
ALIGNMENT: Final = 64  # of frames and so of payloads: a cache line, and any SIMD width

HASH_BYTES: Final = 32


class Field(NamedTuple):
    """One field of a fixed layout: its name, byte offset and struct code."""

    name: str
    offset: int
    code: str


SUPERBLOCK: Final = (
    Field("magic", 0, "16s"),
    Field("format_major", 16, "H"),
    Field("format_minor", 18, "H"),
    Field("features_compat", 24, "Q"),
    Field("features_ro_compat", 32, "Q"),
    Field("features_incompat", 40, "Q"),
    Field("file_uuid", 48, "16s"),
    Field("epoch", 64, "Q"),
    Field("committed_length", 72, "Q"),
    Field("durable_length", 80, "Q"),
    Field("manifest_offset", 88, "Q"),
    Field("manifest_length", 96, "Q"),
    Field("manifest_hash", 104, "32s"),
    Field("slot_hash", 4064, "32s"),
)
SLOT_HASHED_BYTES: Final = 4064  # the slot hash covers bytes 0 .. 4063

FRAME_MAGIC: Final = b"VBLK"
FRAME: Final = (
    Field("frame_magic", 0, "4s"),
    Field("kind", 4, "H"),
    Field("flags", 6, "H"),
    Field("payload_length", 8, "Q"),
    Field("payload_hash", 16, "32s"),
    Field("frame_hash", 48, "16s"),
)
FRAME_BYTES: Final = 64
FRAME_HASHED_BYTES: Final = 48  # the frame hash is the first 16 bytes of BLAKE3 of bytes 0 .. 47


class BlockKind(enum.IntEnum):
    """What a block's payload is."""

    COMMIT = 1  # msgpack: a delta or a full manifest
    SEGMENT = 2  # msgpack: a segment's header, naming its arrays
    ARRAY = 3  # raw little-endian array
    HISTORY = 4  # msgpack: summaries of the commits a vacuum dropped
    GRAPH = 5  # reserved; a graph over one segment is arrays of that segment
    RECORD = 6  # msgpack: what a manifest refers to, and need not be read to open a store


# Feature bits this version writes or understands. A reader ignores unknown compat bits, opens
# read-only on unknown ro_compat bits, and refuses unknown incompat bits.
COMPAT_GRAPHS: Final = 1 << 0  # some vector segment may carry a graph
KNOWN_COMPAT: Final = COMPAT_GRAPHS
KNOWN_RO_COMPAT: Final = 0
KNOWN_INCOMPAT: Final = 0


def aligned(offset: int) -> int:
    """Round a byte offset up to the next multiple of `ALIGNMENT`."""
    return -(-offset // ALIGNMENT) * ALIGNMENT


def packing(fields: tuple[Field, ...]) -> struct.Struct:
    """Struct of a layout; the gaps between its fields become pad bytes, which pack as zero."""
    code, position = "<", 0
    for field in fields:
        code += f"{field.offset - position}x{field.code}"
        position = field.offset + struct.calcsize("<" + field.code)
    return struct.Struct(code)
