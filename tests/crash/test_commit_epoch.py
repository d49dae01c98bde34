"""A superblock and the commit that it names must be of one epoch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

import vstore
from tests.small_store import OLD, documents, rows
from vstore.storage.layout import SLOT_BYTES
from vstore.storage.superblock import Superblock, read_slots

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

HEAD_BYTES = 2 * SLOT_BYTES


def stored(path: Path, *, sealed: bool) -> None:
    """Write a store whose newest commit is a delta, or with ``sealed`` a full manifest."""
    with vstore.open(path) as store:
        docs = documents(store)
        for seed in range(3):
            docs.upsert([seed], vectors={OLD: rows(1, seed=seed)})
        if sealed:
            store.optimize()


def forge(path: Path, epoch: Callable[[int], int]) -> int:
    """Give the newest superblock another epoch under a checksum that fits; return the true one."""
    image = path.read_bytes()
    number, newest = read_slots(image[:HEAD_BYTES]).newest_first()[0]
    slot: Superblock = newest._replace(epoch=epoch(newest.epoch))
    start = number * SLOT_BYTES
    path.write_bytes(image[:start] + slot.encode() + image[start + SLOT_BYTES :])
    return newest.epoch


@pytest.mark.parametrize("sealed", [False, True], ids=["delta", "full"])
@pytest.mark.parametrize("mode", ["r", "rw"])
@pytest.mark.parametrize("off", [1, 2, 1_000])
def test_a_superblock_of_another_epoch_than_its_commit_is_corrupt(
    tmp_path: Path, mode: Any, off: int, *, sealed: bool
) -> None:
    path = tmp_path / "s.vstore"
    stored(path, sealed=sealed)
    epoch = forge(path, lambda epoch: epoch + off)
    with pytest.raises(vstore.CorruptionError, match=f"{epoch}.*{epoch + off}"):
        vstore.open(path, mode=mode)


def test_both_slots_of_another_epoch_are_corrupt(tmp_path: Path) -> None:
    path = tmp_path / "s.vstore"
    stored(path, sealed=False)
    image = path.read_bytes()
    slots = read_slots(image[:HEAD_BYTES]).slots
    lower = [slot._replace(epoch=slot.epoch - 1).encode() for slot in slots if slot is not None]
    path.write_bytes(b"".join(lower) + image[HEAD_BYTES:])
    with pytest.raises(vstore.CorruptionError, match="epoch"):
        vstore.open(path, mode="r")


def test_a_reader_that_follows_looks_too(tmp_path: Path) -> None:
    path = tmp_path / "s.vstore"
    stored(path, sealed=False)
    with vstore.open(path, mode="r") as reader:
        before = reader.epoch
        with vstore.open(path) as store:
            store.collection("docs").upsert([9], vectors={OLD: rows(1)})
        forge(path, lambda epoch: epoch + 1)
        with pytest.raises(vstore.CorruptionError, match="epoch"):
            reader.refresh()
        assert reader.epoch == before
