"""What a newer program may add, and what this one makes of it: "Compatibility rules"."""

from __future__ import annotations

from typing import Any
from unittest import mock

import numpy as np
import pytest

from tests.format.answers import answers_of_reader, answers_of_vstore
from tests.format.independent_reader import File, SpecError, read_file
from vstore import CorruptionError, EmbeddingSpec, FormatVersionError, Store
from vstore.api.opening import open_store
from vstore.engine import commit as writer
from vstore.manifest import codec
from vstore.segment import vectors as vector_segments
from vstore.segment.sealed import write_segment
from vstore.storage import layout
from vstore.storage.layout import BlockKind
from vstore.storage.superblock import Superblock, read_slots
from vstore.testing import FaultyMedium

ROWS = np.eye(4, dtype=np.float32)


def filled(store: Store) -> None:
    docs = store.create_collection("docs")
    docs.create_version("v", EmbeddingSpec("m", 4))
    docs.upsert(["a", "b", "c", "d"], vectors={"v": ROWS})
    store.create_collection("temporary")
    store.drop_collection("temporary")  # seals


def with_more(*args: Any, attributes: dict[str, object], arrays: Any, **rest: Any) -> Any:
    """Write a segment as a later program may."""
    attributes = {**attributes, "sketch": {"bits": 4, "seed": 0}}
    links = np.zeros((4, 8), np.uint32)
    arrays = {**arrays, "sketch.links": links, "sketch.bits": np.ones((4, 4), np.int8)}
    return write_segment(*args, attributes=attributes, arrays=arrays, **rest)


def with_flags(data: bytes, **flags: int) -> bytes:
    """Return a file whose superblock has feature flags."""
    slots = read_slots(data[: layout.BLOCKS_START]).slots
    heads = [bytes(4096) if slot is None else slot._replace(**flags).encode() for slot in slots]  # type: ignore[arg-type]
    return b"".join(heads) + data[layout.BLOCKS_START :]


def root_of(data: bytes) -> Superblock:
    return read_slots(data[: layout.BLOCKS_START]).newest_first()[0][1]


@pytest.fixture
def file_with_more() -> bytes:
    medium = FaultyMedium()
    with (
        mock.patch.object(vector_segments, "write_segment", with_more),
        open_store(medium) as store,
    ):
        filled(store)
    return with_flags(medium.tobytes(), features_compat=layout.COMPAT_GRAPHS | 1 << 63)


def test_unknown_arrays_and_attributes_are_ignored(file_with_more: bytes) -> None:
    with open_store(FaultyMedium(file_with_more), mode="r", verify="full") as store:
        assert answers_of_vstore(store) == answers_of_reader(file_with_more)
        assert [hit.id for hit in store.collection("docs").search(ROWS[2], version="v", k=1)] == [
            "c"
        ]
        assert store.check().ok


def test_a_vacuum_copies_unknown_arrays_of_the_epochs_it_keeps(file_with_more: bytes) -> None:
    medium = FaultyMedium(file_with_more)
    with open_store(medium) as store:
        kept = store.epoch
        store.vacuum(keep_epochs=[kept])
        assert store.check().ok
    file = File(medium.tobytes())
    manifest = file.chain(kept)[0]["manifest"]
    segments = manifest["collections"]["docs"]["versions"]["v"]["segments"]
    attributes, arrays = file.segment(segments[0], "vectors")
    assert {"sketch.links", "sketch.bits"} <= arrays.keys()
    assert attributes["sketch"] == {"bits": 4, "seed": 0}


def test_damage_in_an_unknown_array_is_found_by_a_check(file_with_more: bytes) -> None:
    damaged = bytearray(file_with_more)
    at = file_with_more.index(np.ones((4, 4), np.int8).tobytes())
    damaged[at] ^= 1
    with open_store(FaultyMedium(bytes(damaged)), mode="r") as store:
        assert len(store.collection("docs").search(ROWS[2], version="v", k=4)) == 4
        assert not store.check().ok


def test_a_writer_keeps_flags_it_does_not_know(file_with_more: bytes) -> None:
    medium = FaultyMedium(file_with_more)
    with open_store(medium) as store:
        store.tag("a commit")
        assert root_of(medium.tobytes()).features_compat == layout.COMPAT_GRAPHS | 1 << 63
        store.vacuum()
    assert root_of(medium.tobytes()).features_compat == layout.COMPAT_GRAPHS | 1 << 63


def test_an_unknown_ro_compat_flag_forbids_writing_only() -> None:
    medium = FaultyMedium()
    with open_store(medium) as store:
        filled(store)
    data = with_flags(medium.tobytes(), features_ro_compat=1 << 5)
    with open_store(FaultyMedium(data), mode="r") as store:
        assert "a" in store.collection("docs")
    with pytest.raises(FormatVersionError, match="mode='r'"):
        open_store(FaultyMedium(data))


@pytest.mark.parametrize("change", [{"features_incompat": 1 << 40}, {"format_major": 2}])
def test_what_is_incompatible_forbids_opening(change: dict[str, int]) -> None:
    medium = FaultyMedium()
    with open_store(medium) as store:
        filled(store)
    data = with_flags(medium.tobytes(), **change)
    for mode in ("r", "rw"):
        with pytest.raises(FormatVersionError):
            open_store(FaultyMedium(data), mode=mode)


def test_a_superblock_of_another_epoch_than_its_commit_is_refused() -> None:
    medium = FaultyMedium()
    with open_store(medium) as store:
        filled(store)
    data = with_flags(medium.tobytes(), epoch=99)
    with pytest.raises(CorruptionError, match="epoch 99"):
        open_store(FaultyMedium(data), mode="r")
    with pytest.raises(SpecError):
        read_file(data)


def test_an_older_slot_is_no_way_around_an_unknown_feature() -> None:
    medium = FaultyMedium()
    with open_store(medium) as store:
        filled(store)
    data = medium.tobytes()
    index, newest = read_slots(data[: layout.BLOCKS_START]).newest_first()[0]
    changed = newest._replace(features_incompat=1).encode()
    start = index * layout.SLOT_BYTES
    data = data[:start] + changed + data[start + layout.SLOT_BYTES :]
    with pytest.raises(FormatVersionError):
        open_store(FaultyMedium(data), mode="r")


def test_unknown_keys_of_a_manifest_are_ignored() -> None:
    def newer(state: Any) -> Any:
        plain = codec.plain_store(state)
        collections: Any = plain["collections"]
        for collection in collections.values():
            collection["canaries"] = [1, 2]
            for version in collection["versions"].values():
                version["geometry"] = {"mean": [0.5]}
        return {**plain, "added later": {"x": 1}}

    medium = FaultyMedium()
    with mock.patch.object(writer, "plain_store", newer), open_store(medium) as store:
        filled(store)
        store.tag("a delta on top")
    with open_store(FaultyMedium(medium.tobytes())) as store:
        assert store.tags == {"a delta on top": 5}
        assert len(store.collection("docs")) == 4
        store.collection("docs").delete(["a"])
        assert store.check().ok


@pytest.mark.parametrize(("flags", "ok"), [({}, False), ({"features_compat": 1 << 9}, True)])
def test_a_checker_knows_what_it_cannot_know(flags: dict[str, int], ok: bool) -> None:
    """A block of unknown kind is damage, unless a flag says that a newer program was here."""
    medium = FaultyMedium()
    with open_store(medium) as store:
        docs = store.create_collection("docs")
        with store.transaction() as tx:
            store._open_file.container.append(BlockKind.GRAPH, b"a block that nothing names")
            tx.upsert(docs, ["the commit that takes it along"])
    with open_store(FaultyMedium(with_flags(medium.tobytes(), **flags)), mode="r") as store:
        assert store.check().ok == ok


@pytest.mark.parametrize("value", ["cascade", "MATCHED", ""])
def test_an_unknown_value_of_an_enumeration_is_refused(value: str) -> None:
    from vstore.manifest.state import RouteState, StoreState

    with open_store(FaultyMedium()) as store:
        filled(store)
        state: StoreState = store._open_file.current().state
    plain: Any = codec.plain_store(state)
    assert isinstance(state.collections["docs"].routes[""], RouteState)
    plain["collections"]["docs"]["routes"][""]["mode"] = value
    with pytest.raises(ValueError, match="mode"):
        codec.read_store(plain)
