"""Which superblock slot is the state (`format-spec.md`, "Reader algorithm" and "Recovery")."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from vstore.deferred import Deferred
from vstore.errors import CorruptionError, FileMovedError
from vstore.limits import KIB
from vstore.storage import layout
from vstore.storage.block import BlockRef, decode_frame
from vstore.storage.layout import BLOCKS_START, FRAME_BYTES, SLOT_BYTES, BlockKind
from vstore.storage.superblock import (
    SlotPair,
    Superblock,
    explain_absence,
    read_slots,
    require_same_store,
    require_supported,
)

if TYPE_CHECKING:
    from vstore.storage import scan
    from vstore.storage.file import StorageFile
else:  # only what may be lost is walked over
    scan = Deferred("vstore.storage.scan")

_CREATION_BYTES_MAX: Final = BLOCKS_START + KIB  # the first commit takes a quarter of that
_SLOT_READ_ATTEMPTS: Final = 5  # a slot read while its writer writes it looks torn
_SLOT_READ_PAUSE_S: Final = 0.001


def choose_slot(
    name: str, file: StorageFile, *, writable: bool, known: Superblock | None = None
) -> tuple[int, Superblock, str | None]:
    """Return index and content of the slot that is the state, and why a newer one is not.

    Parameters
    ----------
    known : Superblock, optional
        The state that a reader has of the store that the file must be.

    Raises
    ------
    FileMovedError
        The file is not that store, or not all of it.
    NotAStoreError, FormatVersionError, CorruptionError
        The file is no store; it is of another format version; neither slot is whole.
    """
    pair = _read_settled(file)
    candidates = pair.newest_first()
    if known is not None:
        require_same_store(name, known, [slot for _, slot in candidates])
    if not candidates:
        raise explain_absence(file.read(0, BLOCKS_START), name)
    if len({slot.file_uuid for _, slot in candidates}) > 1:
        raise CorruptionError(name, "the superblock slots belong to two different stores", offset=0)
    skipped = None
    # Only the second slot is ever blank in a store: the first commit is in the first one.
    if len(candidates) == 1 and not (candidates[0][0] == 0 and pair.blank[1]):
        skipped = "the other superblock slot is damaged: an interrupted commit, or corruption"
    size = file.size()
    for index, slot in candidates:
        require_supported(slot, name, writable=writable)
        if size < slot.committed_length and slot.settled:
            problem = (
                f"the file has {size:,} bytes, epoch {slot.epoch} needs {slot.committed_length:,}"
            )
            if known is not None:
                raise FileMovedError(name, problem)
            raise CorruptionError(name, problem, offset=size)
        if slot.settled or _tail_intact(file, slot):
            return index, slot, skipped
        skipped = f"epoch {slot.epoch} was lost: relaxed durability, and the power failed"
    raise CorruptionError(name, "no superblock slot leads to an intact state", offset=0)


def _tail_intact(file: StorageFile, slot: Superblock) -> bool:
    if file.size() < slot.committed_length:
        return False
    # Old blocks that a lost truncation left here would pass the walk; their commit does not pass.
    frame = decode_frame(file.read(slot.manifest_offset, FRAME_BYTES))
    if frame is None or frame.payload_hash != slot.manifest_hash:
        return False
    return all(
        block.problem is None
        for block in scan.scan_blocks(file, slot.durable_length, slot.committed_length)
    )


def _read_settled(file: StorageFile) -> SlotPair:
    """Read both slots, again if one looks torn: its writer may be at it this moment."""
    pair = read_slots(file.read(0, BLOCKS_START))
    for _ in range(_SLOT_READ_ATTEMPTS):
        if all(
            slot is not None or blank for slot, blank in zip(pair.slots, pair.blank, strict=True)
        ):
            break
        time.sleep(_SLOT_READ_PAUSE_S)
        pair = read_slots(file.read(0, BLOCKS_START))
    return pair


def creation_interrupted(file: StorageFile) -> bool:
    """Whether this is a new file, or one whose first commit never happened.

    Then no slot was ever whole, and nothing that was acknowledged can be in it. Anything that could
    be another program's file, or a damaged store, is left alone.
    """
    size = file.size()
    if size == 0:
        return True
    if size > _CREATION_BYTES_MAX:
        return False
    # One block is all that a creation writes, and it is durable before the slot is begun. So a
    # damaged store, a vacuumed one with a single slot above all, is not taken for one and wiped.
    # Only a second attempt, cut short while it emptied the file, leaves a torn slot and no block.
    frame = decode_frame(file.read(BLOCKS_START, FRAME_BYTES))
    head = file.read(0, BLOCKS_START)
    if size > BLOCKS_START and (any(head) or frame is not None):
        if frame is None or frame.kind != BlockKind.COMMIT:
            return False
        if BlockRef(BLOCKS_START, frame.payload_length, b"").end < size:
            return False
    slot_a, slot_b = head[:SLOT_BYTES], head[SLOT_BYTES:]
    used = layout.SUPERBLOCK[-2].offset + layout.HASH_BYTES
    if any(slot_b) or any(slot_a[used : layout.SLOT_HASHED_BYTES]):
        return False
    if read_slots(head).slots[0] is not None:
        return False
    first = file.read(BLOCKS_START, 4)
    return slot_a[:16] in (layout.MAGIC, bytes(len(slot_a[:16]))) and (
        first in (layout.FRAME_MAGIC, bytes(len(first)))
    )


def cut_tail(file: StorageFile, length: int) -> None:
    """Cut off what belongs to nobody, durably.

    Were the cut lost with the power, whole old blocks could stand where blocks of a relaxed commit
    were lost, and recovery, which walks over them, would take them for these.
    """
    file.truncate(length)
    file.sync()
