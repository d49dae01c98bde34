"""A torn superblock slot: left alone by readers, mended by the next writer, through any crash."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

import vstore
from tests.crash.answers import checked
from tests.crash.recovery import Recoveries, reopen
from tests.crash.workload import FrozenClock, dump
from vstore.api.opening import open_store
from vstore.storage.layout import BLOCKS_START, SLOT_BYTES
from vstore.storage.memory import MemoryMedium
from vstore.storage.superblock import Superblock, read_slots
from vstore.testing import DAMAGES, Failure, FaultyMedium, survivors

if TYPE_CHECKING:
    from vstore.engine.open_file import Durability

COMMITS = 3
SLOTS = ("A", "B")


def written(medium: FaultyMedium, *, durability: Durability = "full") -> vstore.Store:
    """Return an open store after some commits."""
    store = open_store(medium, clock=FrozenClock(), durability=durability)
    docs = store.create_collection("docs")
    docs.create_version("v1", vstore.EmbeddingSpec("m", 2))
    for number in range(COMMITS):
        docs.upsert([f"d{number}"], vectors={"v1": np.ones((1, 2), np.float32)})
    return store


def torn(image: bytes, slot: int) -> bytes:
    """Return the file with half of a slot as it was before."""
    middle = slot * SLOT_BYTES + 100
    return image[:middle] + bytes(SLOT_BYTES // 2) + image[middle + SLOT_BYTES // 2 :]


def torn_files() -> list[tuple[str, bytes]]:
    """Return files of which a slot was torn by a commit, and of which an older one rotted."""
    medium = FaultyMedium()
    written(medium).close()
    image = medium.tobytes()
    return [(f"slot {SLOTS[slot]}", torn(image, slot)) for slot in range(2)]


@pytest.mark.parametrize(("slot", "image"), torn_files())
def test_a_reader_leaves_a_torn_slot_alone_and_a_check_says_what_to_do(
    slot: str, image: bytes
) -> None:
    medium = MemoryMedium(image)
    with open_store(medium, mode="r") as store:
        assert "interrupted commit" in str(store.info()["recovery"])
        (problem,) = store.check().problems
        store.refresh()
    assert medium.tobytes() == image
    assert slot in problem.what
    assert "interrupted commit" in problem.what
    assert "open the store for writing" in problem.what
    assert problem.offset == SLOTS.index(slot[-1]) * SLOT_BYTES


@pytest.mark.parametrize(("slot", "image"), torn_files())
def test_opening_for_writing_mends_it_without_a_commit(slot: str, image: bytes) -> None:
    with open_store(MemoryMedium(image), mode="r") as reader:
        state = dump(reader)
    medium = MemoryMedium(image)
    with reopen(medium) as store:
        assert "interrupted commit" in str(store.info()["recovery"]), "who opens it is told"
        assert dump(store) == state
    assert checked(medium.tobytes()).ok, slot
    assert not checked(medium.tobytes()).notes
    a, b = read_slots(medium.tobytes()[:BLOCKS_START]).slots
    assert a == b
    with reopen(medium) as store:
        assert store.info()["recovery"] is None
        store.tag("after")
    assert checked(medium.tobytes()).ok
    with open_store(medium, mode="r") as reader:
        assert "after" in reader.info()["tags"]  # type: ignore[operator]


@pytest.mark.parametrize(("slot", "image"), torn_files())
def test_a_crash_while_a_slot_is_mended_changes_nothing(slot: str, image: bytes) -> None:
    with open_store(MemoryMedium(image), mode="r") as reader:
        state = dump(reader)
    medium = FaultyMedium(image)
    reopen(medium).close()
    recoveries = Recoveries(thorough=True)
    for position in range(len(medium.journal) + 1):
        for damage in DAMAGES:
            for seed in range(5):
                again = survivors(medium.journal, position, damage=damage, seed=seed, initial=image)
                found = recoveries.of(again)
                assert found.state == state, f"{slot}, operation {position}, {damage}, seed {seed}"


@pytest.mark.parametrize("short", [False, True])
@pytest.mark.parametrize(("slot", "image"), torn_files())
def test_a_slot_that_cannot_be_mended_ends_the_opening_and_is_mended_later(
    slot: str, image: bytes, *, short: bool
) -> None:
    medium = FaultyMedium(image)
    reopen(medium).close()
    operations = len(medium.journal)
    for at in range(operations):
        failing = FaultyMedium(image, failure=Failure(at, short=short))
        with pytest.raises(vstore.StorageError):
            reopen(failing)
        again = MemoryMedium(failing.tobytes())
        with reopen(again) as store:
            assert store.check().ok, f"{slot}, operation {at}"


def relaxed_file_with_a_torn_settling() -> bytes:
    """Return a file whose relaxed commits a writer was about to settle when the power failed.

    The settled slot is torn, and the one of the relaxed commit is the only one that is whole.
    """
    medium = FaultyMedium()
    store = written(medium, durability="relaxed")
    before = medium.tobytes()
    store.sync()
    after = medium.tobytes()
    changed = [
        i
        for i in range(2)
        if before[i * SLOT_BYTES :][:SLOT_BYTES] != after[i * SLOT_BYTES :][:SLOT_BYTES]
    ]
    (slot,) = changed
    store.close()
    image = torn(after, slot)
    whole = read_slots(image[:BLOCKS_START]).slots[1 - slot]
    assert whole is not None
    assert not whole.settled
    return image


def test_the_only_whole_slot_is_never_written_over() -> None:
    image = relaxed_file_with_a_torn_settling()
    with open_store(MemoryMedium(image), mode="r") as reader:
        state = dump(reader)
    for durability in ("full", "relaxed"):
        medium = FaultyMedium(image)
        open_store(medium, clock=FrozenClock(), durability=durability).close()
        recoveries = Recoveries(thorough=True)
        for position in range(len(medium.journal) + 1):
            for damage in DAMAGES:
                for seed in range(5):
                    again = survivors(
                        medium.journal, position, damage=damage, seed=seed, initial=image
                    )
                    found = recoveries.of(again)
                    assert found.state == state, f"operation {position}, {damage}, seed {seed}"


def test_a_lost_relaxed_commit_is_mended_as_well() -> None:
    medium = FaultyMedium()
    store = written(medium, durability="relaxed")
    store.sync()
    synced = len(medium.journal)
    state = dump(store)
    store.collection("docs").upsert(["lost"], vectors={"v1": np.ones((1, 2), np.float32)})
    image = bytearray(medium.tobytes())
    end = max(op.offset + len(op.data) for op in medium.journal[:synced] if op.kind == "write")
    image[end:] = bytes(len(image) - end)  # the slot came through, its blocks did not
    with open_store(MemoryMedium(bytes(image)), mode="r") as reader:
        assert dump(reader) == state
        assert "lost" in str(reader.info()["recovery"])
    again = MemoryMedium(bytes(image))
    with reopen(again) as reopened:
        assert dump(reopened) == state
    report = checked(again.tobytes())
    assert report.ok
    assert not report.notes
    store._open_file.container.condemn(RuntimeError("the power is gone"))
    store.close()


def test_a_writer_begins_with_a_settled_slot() -> None:
    medium = FaultyMedium()
    store = written(medium, durability="relaxed")
    image = medium.tobytes()
    store.close()
    again = MemoryMedium(image)
    with reopen(again) as reopened:
        superblock = reopened._open_file.container.superblock
        assert isinstance(superblock, Superblock)
        assert superblock.settled
        slots = read_slots(again.tobytes()[:BLOCKS_START]).newest_first()
        assert slots[0][1] == superblock


def test_a_first_slot_that_is_blank_is_damage_and_is_mended() -> None:
    """Only the second one may be blank: of a store that was never committed to again."""
    medium = FaultyMedium()
    written(medium).close()
    image = medium.tobytes()
    with open_store(MemoryMedium(image), mode="r") as reader:
        newest = reader.epoch
    blank = bytes(SLOT_BYTES) + image[SLOT_BYTES:]
    with open_store(MemoryMedium(blank), mode="r") as reader:
        assert "damaged" in str(reader.info()["recovery"])
        assert newest - 1 <= reader.epoch <= newest
    mended = MemoryMedium(blank)
    open_store(mended).close()
    assert checked(mended.tobytes()).ok
