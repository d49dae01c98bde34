"""Superblock slots: the root of the hash tree (`format-spec.md`, "Superblock")."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from blake3 import blake3

from vstore.errors import (
    CorruptionError,
    FileMovedError,
    FormatVersionError,
    NotAStoreError,
)
from vstore.storage import layout
from vstore.storage.layout import BLOCKS_START, SLOT_BYTES, SLOT_HASHED_BYTES

if TYPE_CHECKING:
    from collections.abc import Sequence

_SLOT: Final = layout.packing(layout.SUPERBLOCK[:-1])
_HASH_OFFSET: Final = layout.SUPERBLOCK[-1].offset
_ZERO_TAIL: Final = bytes(SLOT_HASHED_BYTES - _SLOT.size)


class Superblock(NamedTuple):
    """One slot: which manifest is the state, and how much of the file belongs to it.

    ``durable_length`` is the length that was synced when the slot was written. It equals
    ``committed_length`` under full durability; under relaxed durability the blocks between the two
    may be lost with the power, so recovery verifies them before it believes the slot.
    """

    file_uuid: bytes
    epoch: int
    committed_length: int
    durable_length: int
    manifest_offset: int
    manifest_length: int
    manifest_hash: bytes
    features_compat: int = 0
    features_ro_compat: int = 0
    features_incompat: int = 0
    format_major: int = layout.FORMAT_MAJOR
    format_minor: int = layout.FORMAT_MINOR

    @property
    def settled(self) -> bool:
        """Whether everything it names is durable."""
        return self.durable_length == self.committed_length

    @property
    def has_unknown_features(self) -> bool:
        """Whether a newer program may have added things that may be ignored."""
        return bool(
            self.features_compat & ~layout.KNOWN_COMPAT
            or self.features_ro_compat & ~layout.KNOWN_RO_COMPAT
        )

    def encode(self) -> bytes:
        """Return the slot's 4096 bytes."""
        body = _SLOT.pack(
            layout.MAGIC,
            self.format_major,
            self.format_minor,
            self.features_compat,
            self.features_ro_compat,
            self.features_incompat,
            self.file_uuid,
            self.epoch,
            self.committed_length,
            self.durable_length,
            self.manifest_offset,
            self.manifest_length,
            self.manifest_hash,
        )
        body += _ZERO_TAIL
        return body + blake3(body).digest()


def decode(slot: bytes) -> Superblock | None:
    """Read one slot; None if it was never written, is torn or is damaged."""
    if len(slot) != SLOT_BYTES or not slot.startswith(layout.MAGIC):
        return None
    if blake3(slot[:SLOT_HASHED_BYTES]).digest() != slot[_HASH_OFFSET:]:
        return None
    fields = _SLOT.unpack_from(slot)
    return Superblock(
        format_major=fields[1],
        format_minor=fields[2],
        features_compat=fields[3],
        features_ro_compat=fields[4],
        features_incompat=fields[5],
        file_uuid=fields[6],
        epoch=fields[7],
        committed_length=fields[8],
        durable_length=fields[9],
        manifest_offset=fields[10],
        manifest_length=fields[11],
        manifest_hash=fields[12],
    )


class SlotPair(NamedTuple):
    """Both slots as read; index 0 is slot A."""

    slots: tuple[Superblock | None, Superblock | None]
    blank: tuple[bool, bool]  # all zero: never written

    def newest_first(self) -> list[tuple[int, Superblock]]:
        """Return the valid slots, best first: later epoch, then the more durable one."""
        valid = [(index, slot) for index, slot in enumerate(self.slots) if slot is not None]
        return sorted(valid, key=lambda entry: (-entry[1].epoch, -entry[1].durable_length))


def read_slots(head: bytes) -> SlotPair:
    """Decode the first `BLOCKS_START` bytes of a file (fewer in a file that is too short)."""
    parts = head[:SLOT_BYTES], head[SLOT_BYTES:BLOCKS_START]
    return SlotPair(
        slots=(decode(parts[0]), decode(parts[1])),
        blank=(not any(parts[0]), not any(parts[1])),
    )


def require_supported(slot: Superblock, path: str, *, writable: bool) -> None:
    """Refuse a file this version must not read, or must not write.

    Raises
    ------
    FormatVersionError
        Other major version, unknown incompat feature, or unknown ro-compat feature when writing.
    CorruptionError
        Lengths and offsets that contradict each other.
    """
    if slot.format_major != layout.FORMAT_MAJOR:
        raise FormatVersionError(
            path,
            f"format version {slot.format_major}.{slot.format_minor}, "
            f"this vstore reads {layout.FORMAT_MAJOR}.x; use a matching vstore",
        )
    unknown = slot.features_incompat & ~layout.KNOWN_INCOMPAT
    if unknown:
        raise FormatVersionError(path, f"needs features this vstore does not know ({unknown:#x})")
    unknown = slot.features_ro_compat & ~layout.KNOWN_RO_COMPAT
    if unknown and writable:
        raise FormatVersionError(
            path, f"has features this vstore can read but not write ({unknown:#x}); open mode='r'"
        )
    manifest_end = slot.manifest_offset + layout.FRAME_BYTES + slot.manifest_length
    if not (
        slot.manifest_offset >= BLOCKS_START
        and slot.manifest_offset % layout.ALIGNMENT == 0
        and layout.aligned(manifest_end) == slot.committed_length
        and BLOCKS_START <= slot.durable_length <= slot.committed_length
        and slot.durable_length % layout.ALIGNMENT == 0
    ):
        raise CorruptionError(path, f"superblock of epoch {slot.epoch} contradicts itself")


def require_same_store(path: str, known: Superblock, found: Sequence[Superblock]) -> None:
    """Refuse a file whose valid slots are not all of a known store.

    Raises
    ------
    FileMovedError
        There is no slot, or one of another store: the file was replaced or written over.
    """
    if all(slot.file_uuid == known.file_uuid for slot in found) and found:
        return
    problem = "the file is another store now" if found else "the file is no intact store now"
    raise FileMovedError(path, f"{problem}; epoch {known.epoch} of the store was open here")


def require_successor(path: str, before: Superblock, now: Superblock) -> None:
    """Refuse a superblock that no writer of the store would have put in another one's place.

    Raises
    ------
    FileMovedError
        It is of an earlier epoch, or of another commit of the same epoch.
    """
    if now.epoch < before.epoch:
        problem = f"the file is an older copy now, of epoch {now.epoch}"
    elif now.epoch == before.epoch and now.manifest_hash != before.manifest_hash:
        problem = f"the file is a copy now whose epoch {now.epoch} is of another commit"
    else:
        return
    raise FileMovedError(path, f"{problem}; epoch {before.epoch} of the store was open here")


def explain_absence(head: bytes, path: str) -> NotAStoreError:
    """Say why a file without a valid slot is not a store."""
    if not any(head):
        return NotAStoreError(
            path, "empty: its creation was interrupted before anything was stored"
        )
    if head.startswith(layout.MAGIC):
        return NotAStoreError(path, "both superblock slots are damaged", offset=0)
    if head[1:7] == layout.MAGIC[1:7]:
        return NotAStoreError(path, "damaged by a text-mode or 7-bit transfer", offset=0)
    return NotAStoreError(path, f"not a vstore file (starts with {head[:8]!r})", offset=0)
