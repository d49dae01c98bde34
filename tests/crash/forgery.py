"""Files that a stranger made: any value changed, and every checksum above it made to fit.

A file is taken apart into its blocks and put together again. Blocks stand in the order in which
they refer to each other, so one pass mends every reference to a block that changed or moved.
"""

from __future__ import annotations

import copy
import math
import random
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

import msgpack
import numpy as np

from vstore.storage.block import BlockRef, encode_frame, padding
from vstore.storage.layout import BLOCKS_START, SLOT_BYTES, BlockKind
from vstore.storage.memory import MemoryMedium
from vstore.storage.packing import blake3_digest
from vstore.storage.scan import scan_blocks
from vstore.storage.superblock import Superblock, read_slots

STRUCTURED: Final = (BlockKind.COMMIT, BlockKind.SEGMENT, BlockKind.HISTORY)
Path: TypeAlias = tuple[Any, ...]
# Lists or maps deep inside one another; these stand for them, since msgpack packs 511 at most.
DEEP: Final = {"\0deep list": b"\x91" * 990 + b"\0", "\0deep map": b"\x81\xa1a" * 990 + b"\0"}

INTEGERS: Final = (-1, 0, 1, 2, 63, 255, 2**16, 2**31, 2**32 - 1, 2**32, 2**48, 2**63, 2**64 - 1)
STRINGS: Final = (
    "",
    "x",
    "v1",
    "v2",
    "docs",
    "deleted",
    "float16",
    "<f8",
    "|u1",
    "é" * 300,
    "full",
)
FLOATS: Final = (math.nan, math.inf, -math.inf, 0.0, -1.0, 1e300)


@dataclass(frozen=True, slots=True)
class Block:
    """One block of a file."""

    ref: BlockRef
    kind: BlockKind
    payload: bytes


def blocks_of(image: bytes) -> list[Block]:
    """Return the blocks of a file, in order."""
    file = MemoryMedium(image).open(writable=False, create=False)
    blocks = []
    for found in scan_blocks(file, BLOCKS_START, len(image)):
        start = found.offset + 64
        payload = image[start : start + found.length]
        ref = BlockRef(found.offset, found.length, blake3_digest(payload))
        blocks.append(Block(ref, BlockKind(found.kind), payload))
    return blocks


def newest_slot(image: bytes) -> Superblock:
    """Return the superblock that is the state."""
    return read_slots(image[:BLOCKS_START]).newest_first()[0][1]


def assemble(image: bytes, payloads: dict[int, Any], superblock: dict[str, int]) -> bytes:
    """Return a file whose blocks have other payloads, by number, and every reference mended.

    Parameters
    ----------
    payloads : dict
        Values of structured blocks, bytes of arrays.
    superblock : dict
        Fields of the slot that get another value.
    """
    moved: dict[BlockRef, BlockRef] = {}
    body = bytearray()
    last: BlockRef | None = None
    slot = newest_slot(image)
    for number, block in enumerate(blocks_of(image)):
        if number in payloads:
            changed = payloads[number]
        elif block.kind in STRUCTURED:
            changed = msgpack.unpackb(block.payload, strict_map_key=False)
        else:
            changed = block.payload
        payload = changed if isinstance(changed, bytes) else _packed(_mended(changed, moved))
        for name, nested in DEEP.items():
            payload = payload.replace(_packed(name), nested)
        ref = BlockRef(BLOCKS_START + len(body), len(payload), blake3_digest(payload))
        moved[block.ref] = ref
        body += encode_frame(block.kind, len(payload), ref.hash) + payload + padding(len(payload))
        if block.ref.offset == slot.manifest_offset:
            last = ref
    assert last is not None, "the newest commit is among the blocks"
    end = BLOCKS_START + len(body)
    forged = slot._replace(
        committed_length=end,
        durable_length=end,
        manifest_offset=last.offset,
        manifest_length=last.length,
        manifest_hash=last.hash,
    )
    forged = forged._replace(**superblock)  # type: ignore[arg-type]  # all of them are numbers
    return forged.encode() + bytes(SLOT_BYTES) + bytes(body)


def _mended(value: Any, moved: dict[BlockRef, BlockRef]) -> Any:
    if isinstance(value, dict):
        return {key: _mended(item, moved) for key, item in value.items()}
    if isinstance(value, list):
        if len(value) >= 3 and all(isinstance(part, int | bytes) for part in value[-3:]):
            ref = moved.get(BlockRef(*value[-3:]))
            if ref is not None:
                return [*(_mended(item, moved) for item in value[:-3]), *ref]
        return [_mended(item, moved) for item in value]
    return value


def _packed(value: Any) -> bytes:
    packed: bytes = msgpack.packb(value, use_bin_type=True)
    return packed


# Changing values.


class Forger:
    """Makes one forged file per seed, and says what it changed."""

    def __init__(self, image: bytes) -> None:
        self.image = image
        self.blocks = blocks_of(image)
        self.refs = [list(block.ref) for block in self.blocks]

    def forge(self, seed: int) -> tuple[bytes, str]:
        """Return a forged file and what is wrong with it."""
        rng = random.Random(seed)
        payloads: dict[int, Any] = {}
        superblock: dict[str, int] = {}
        changes = []
        for _ in range(rng.choice((1, 1, 1, 2, 4))):
            if rng.random() < 0.03:
                name = rng.choice(
                    ("epoch", "committed_length", "durable_length", "manifest_length")
                )
                superblock[name] = abs(rng.choice(INTEGERS))
                changes.append(f"superblock {name} = {superblock[name]}")
                continue
            number = rng.randrange(len(self.blocks))
            block = self.blocks[number]
            if block.kind in STRUCTURED:
                value = payloads.get(number)
                if value is None:
                    value = msgpack.unpackb(block.payload, strict_map_key=False)
                payloads[number], change = self._change(value, rng)
            else:
                payloads[number], change = _other_bytes(block.payload, rng)
            changes.append(f"{block.kind.name} at {block.ref.offset}: {change}")
        return assemble(self.image, payloads, superblock), "; ".join(changes)

    def _change(self, value: Any, rng: random.Random) -> tuple[Any, str]:
        path = rng.choice(list(_paths(value)))
        if not path:
            return self._instead_of(value, rng), "the whole value"
        parent = value
        for key in path[:-1]:
            parent = parent[key]
        key, old = path[-1], parent[path[-1]]
        action = rng.random()
        if action < 0.1 and isinstance(parent, dict):
            del parent[key]
            return value, f"{path} removed"
        if action < 0.15 and isinstance(parent, dict):
            parent[rng.choice((b"bytes", "new", "docs", "", "v2"))] = parent.pop(key)
            return value, f"{path} renamed"
        if action < 0.2 and isinstance(parent, list):
            parent.insert(rng.randrange(len(parent) + 1), old)
            return value, f"{path} twice"
        if action < 0.3:
            donor = rng.choice(list(_paths(value)))
            parent[key] = copy.deepcopy(_at(value, donor))
            return value, f"{path} from {donor}"
        parent[key] = self._instead_of(old, rng)
        return value, f"{path} = {parent[key]!r:.60}"

    def _instead_of(self, old: Any, rng: random.Random) -> Any:
        if rng.random() < 0.25:
            return rng.choice((None, True, 0.5, math.nan, "", b"", [], {}, 7, *DEEP, *STRINGS))
        if isinstance(old, bool):
            return not old
        if isinstance(old, int):
            if old > 8_000 and rng.random() < 0.5:
                return rng.choice(self.refs)[0]
            return rng.choice((*INTEGERS, old + 1, max(0, old - 1), old * 2 % 2**64))
        if isinstance(old, float):
            return rng.choice(FLOATS)
        if isinstance(old, str):
            return rng.choice(STRINGS)
        if isinstance(old, bytes):
            return _other_bytes(old, rng)[0]
        if isinstance(old, list):
            if len(old) == 3 and isinstance(old[2], bytes):
                return rng.choice(self.refs)
            return rng.choice(([], old * 2, old[:-1], [old], [*old, None], old[::-1]))
        if old is None:
            return rng.choice((*INTEGERS, *STRINGS, rng.choice(self.refs), b""))
        return rng.choice(({}, [old], {**old, "more": old}))


def _paths(value: Any, path: Path = ()) -> list[Path]:
    found = [path]
    items = (
        value.items()
        if isinstance(value, dict)
        else enumerate(value)
        if isinstance(value, list)
        else ()
    )
    for key, item in items:
        found += _paths(item, (*path, key))
        if len(found) > 100_000:
            break
    return found


def _at(value: Any, path: Path) -> Any:
    for key in path:
        value = value[key]
    return value


def _other_bytes(old: bytes, rng: random.Random) -> tuple[bytes, str]:
    """Return bytes of the same length, or rarely another, with some words changed."""
    kind = rng.random()
    if kind < 0.1:
        return rng.choice(
            (b"", old[:-1], old + b"\0", old[: len(old) // 2], old * 2)
        ), "other length"
    if kind < 0.2:
        return rng.randbytes(len(old)), "noise"
    if kind < 0.3:
        return bytes(len(old)), "zero"
    if kind < 0.4:
        return b"\xff" * len(old), "ones"
    width = rng.choice((1, 2, 4, 8))
    dtype = rng.choice(("u", "f")) if width > 1 else "u"
    if len(old) < width:
        return old, "nothing"
    words = np.frombuffer(old[: len(old) // width * width], f"<{dtype}{width}").copy()
    at = rng.randrange(len(words))
    with np.errstate(all="ignore"):
        if dtype == "f":
            words[at] = np.array(rng.choice(FLOATS)).astype(words.dtype)
        else:
            words[at] = np.array(rng.choice(INTEGERS) % 2**64, np.uint64).astype(words.dtype)
    return words.tobytes() + old[len(words) * width :], f"word {at} of {dtype}{width} = {words[at]}"
