"""Files as they could stand after a power loss: what was synced is there, the rest is damaged.

The method is SQLite's: take the file behind every operation, then drop, reorder or tear the writes
that were not synced.
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Final, Literal, NamedTuple, TypeAlias

from vstore.storage.memory import MemoryMedium

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from vstore.testing.faulty_medium import FaultyMedium, Operation

Damage: TypeAlias = Literal["dropped", "kept", "reordered", "torn512", "torn4096"]
DAMAGES: Final[tuple[Damage, ...]] = ("dropped", "kept", "reordered", "torn512", "torn4096")
_RANDOM: Final = frozenset(("reordered", "torn512", "torn4096"))
_SECTOR_BYTES: Final[dict[Damage, int]] = {"torn512": 512, "torn4096": 4096}


class PowerLoss(NamedTuple):
    """A power loss, and the file that it leaves.

    Attributes
    ----------
    position : int
        How many operations of the journal came before it.
    damage : {"dropped", "kept", "reordered", "torn512", "torn4096"}
        What became of writes that were not synced; see `survivors`.
    seed : int
        Of random damage: which of them.
    """

    position: int
    damage: Damage
    seed: int
    file: bytes

    def __repr__(self) -> str:
        return f"PowerLoss(position={self.position}, {self.damage!r}, seed={self.seed})"

    def medium(self) -> MemoryMedium:
        """Return a place with the file, to be opened by ``vstore.open``."""
        return MemoryMedium(self.file)


def power_losses(
    medium: FaultyMedium, *, start: int = 0, seeds: int = 1, step: int = 1
) -> Iterator[PowerLoss]:
    """Yield power losses behind every operation of a medium, each with every kind of damage.

    Parameters
    ----------
    start : int
        First position; ``len(medium.journal)`` before the work that is tested.
    seeds : int
        How often each random damage is tried at a position.
    step : int
        Yield one of so many.
    """
    number = 0
    for position in range(start, len(medium.journal) + 1):
        for damage in DAMAGES:
            for seed in range(seeds if damage in _RANDOM else 1):
                number += 1
                if number % step == 0:
                    file = survivors(
                        medium.journal, position, damage=damage, seed=seed, initial=medium.initial
                    )
                    yield PowerLoss(position, damage, seed, file)


def survivors(
    journal: Sequence[Operation], count: int, *, damage: Damage, seed: int, initial: bytes = b""
) -> bytes:
    """Return the store's file as it could stand after a power loss behind ``count`` operations.

    Everything before a file's last sync is there. Of what came later, "dropped" keeps nothing,
    "kept" all, "reordered" a random subset of the writes, and "torn512" and "torn4096" a random
    subset of their sectors of so many bytes. A rename whose directory was not synced happened or
    did not.
    """
    rng = random.Random(seed)
    number = 0
    unsynced_rename: int | None = None
    for operation in journal[:count]:
        if operation.kind == "rename":
            unsynced_rename = operation.file
        elif operation.kind == "sync_directory" and unsynced_rename is not None:
            number, unsynced_rename = unsynced_rename, None
    if (
        unsynced_rename is not None
        and damage != "dropped"
        and (damage == "kept" or rng.random() < 0.5)
    ):
        number = unsynced_rename
    operations = [operation for operation in journal[:count] if operation.file == number]
    synced = max((i + 1 for i, op in enumerate(operations) if op.kind == "sync"), default=0)
    image = bytearray(initial if number == 0 else b"")
    for operation in operations[:synced]:
        _apply(image, operation)
    if damage == "dropped":
        return bytes(image)
    for operation in operations[synced:]:
        if damage == "kept":
            _apply(image, operation)
        elif damage == "reordered":
            if rng.random() < 0.5:
                _apply(image, operation)
        elif operation.kind == "write":
            sector = _SECTOR_BYTES[damage]
            for piece in _sectors(operation, sector):
                if rng.random() < 0.5:
                    _apply(image, piece)
        elif rng.random() < 0.5:
            _apply(image, operation)
    return bytes(image)


def _apply(image: bytearray, operation: Operation) -> None:
    if operation.kind == "write":
        end = operation.offset + len(operation.data)
        if end > len(image):
            image.extend(bytes(end - len(image)))
        image[operation.offset : end] = operation.data
    elif operation.kind == "truncate":
        del image[operation.offset :]
        image.extend(bytes(operation.offset - len(image)))


def _sectors(operation: Operation, sector: int) -> list[Operation]:
    """Split a write where the disk's sectors end."""
    pieces = []
    start = 0
    while start < len(operation.data):
        end = start + sector - (operation.offset + start) % sector
        pieces.append(
            operation._replace(offset=operation.offset + start, data=operation.data[start:end])
        )
        start = end
    return pieces
