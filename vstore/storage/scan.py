"""Walking the blocks of a file one by one, without a manifest."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from blake3 import blake3

from vstore.limits import STREAM_BYTES
from vstore.storage.block import BlockRef, decode_frame
from vstore.storage.layout import FRAME_BYTES

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vstore.storage.file import StorageFile


class ScannedBlock(NamedTuple):
    """A block met by a walk over the file."""

    offset: int
    kind: int
    length: int
    problem: str | None


def scan_blocks(file: StorageFile, start: int, end: int) -> Iterator[ScannedBlock]:
    """Walk the blocks between two offsets, verifying frame, payload and padding of each.

    The walk ends at the first frame that is none: without it there is no telling where the next is.
    """
    offset = start
    while offset < end:
        frame = decode_frame(file.read(offset, FRAME_BYTES))
        if frame is None:
            yield ScannedBlock(offset, 0, 0, "not a block frame")
            return
        block = BlockRef(offset, frame.payload_length, frame.payload_hash)
        if block.end > end:
            yield ScannedBlock(offset, frame.kind, block.length, "block leaves the committed bytes")
            return
        problem = _payload_problem(file, block)
        if problem is None and frame.flags:
            problem = f"unknown flags {frame.flags:#x}"
        yield ScannedBlock(offset, frame.kind, block.length, problem)
        offset = block.end


def _payload_problem(file: StorageFile, block: BlockRef) -> str | None:
    hasher = blake3()  # by one thread, see `packing.blake3_digest`
    position, payload_end = block.offset + FRAME_BYTES, block.offset + FRAME_BYTES + block.length
    while position < payload_end:
        piece = file.read(position, min(STREAM_BYTES, payload_end - position))
        if not piece:
            return "the file was cut inside the block"
        hasher.update(piece)
        position += len(piece)
    if hasher.digest() != block.hash:
        return "payload fails its checksum"
    pad = file.read(payload_end, block.end - payload_end)
    return None if pad == bytes(block.end - payload_end) else "padding is not zero"
