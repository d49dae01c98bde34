"""Epochs: what a reader sees stands still; old states are readable until a vacuum, or tagged."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

import vstore
from tests.small_store import NEW, OLD, axis, contents, documents, rows, seal, spec, store_in
from vstore.storage.memory import MemoryMedium

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def grown(store: vstore.Store, *, seals: bool = False) -> dict[int, list[str | int]]:
    """Commit a few changes; return the ids at each epoch that has the collection."""
    docs = documents(store)
    ids: dict[int, list[str | int]] = {store.epoch: []}
    for name in "abcdef":
        docs.upsert([name], texts=[name], vectors={OLD: axis(ord(name) % 4)[None]})
        ids[store.epoch] = docs.ids()
        if seals and name in "bd":
            seal(store)
            ids[store.epoch] = docs.ids()
        if name == "c":
            docs.delete(["a"])
            ids[store.epoch] = docs.ids()
    return ids


def shows(reader: vstore.Reader | vstore.Store, ids: list[str | int]) -> bool:
    docs = reader.collection("docs")
    found = docs.search(axis(0), version=OLD, k=100)
    return docs.ids() == ids and sorted(found.ids) == sorted(ids) and len(docs) == len(ids)


@pytest.mark.parametrize("seals", [False, True])
@pytest.mark.parametrize("reopened", [False, True])
def test_every_epoch_stays_readable(seals: bool, reopened: bool) -> None:
    medium = MemoryMedium()
    store = store_in(medium)
    states = grown(store, seals=seals)
    if reopened:
        store.close()
        store = store_in(medium)
    for epoch, ids in states.items():
        assert shows(store.snapshot(epoch), ids)
        assert store.snapshot(epoch).epoch == epoch
        with store_in(medium, epoch=epoch) as past:
            assert (past.epoch, past.writable) == (epoch, False)
            assert shows(past, ids)
    assert store.snapshot(0).collections == ()


@pytest.mark.parametrize("epoch", [-1, 999, 2**63])
def test_an_epoch_that_never_was_is_not_found(epoch: int) -> None:
    medium = MemoryMedium()
    store = store_in(medium)
    grown(store)
    with pytest.raises(vstore.NotFoundError, match="epoch"):
        store.snapshot(epoch)
    with pytest.raises(vstore.NotFoundError):
        store_in(medium, epoch=epoch)
    with pytest.raises(vstore.NotFoundError):
        store.tag("later", epoch=epoch)
    before = store.epoch
    with pytest.raises(vstore.NotFoundError):
        store.vacuum(keep_epochs=[epoch])
    assert store.epoch == before
    assert store.check().ok
    store.collection("docs").upsert(["after"])


def test_a_held_snapshot_stands_still() -> None:
    store = store_in()
    states = grown(store)
    docs = store.collection("docs")
    held, ids = store.snapshot(), states[store.epoch]
    hits = held.collection("docs").search(axis(1), version=OLD)
    docs.delete(["b"])
    docs.upsert(["c"], texts=["changed"])
    assert shows(held, ids)
    seal(store)
    assert shows(held, ids)
    store.vacuum()
    assert shows(held, ids)
    assert held.collection("docs").search(axis(1), version=OLD).ids == hits.ids
    assert {hit.id: hit.text for hit in hits}["c"] == "c"
    assert {hit.id: hit.text for hit in hits}["b"] == "b"


def test_the_same_epoch_gives_the_same_answer_from_delta_and_segment() -> None:
    store = store_in()
    docs = documents(store)
    docs.upsert(list(range(50)), vectors={OLD: rows(50)})
    docs.upsert([7, 3], vectors={OLD: rows(2, seed=1)})
    query = rows(1, seed=2)[0]
    before = [(hit.id, hit.score) for hit in docs.search(query, version=OLD, k=50)]
    for change in (lambda: seal(store), store.vacuum):
        change()
        assert [(hit.id, hit.score) for hit in docs.search(query, version=OLD, k=50)] == before


def test_a_trace_names_the_epoch_that_answers_again() -> None:
    store = store_in()
    docs = documents(store)
    docs.upsert(["a"], vectors={OLD: rows(1)})
    first = docs.search(axis(0), version=OLD)
    docs.delete(["a"])
    then = store.snapshot(first.trace.epoch).collection("docs")
    assert then.search(axis(0), version=OLD).hits == first.hits
    assert docs.search(axis(0), version=OLD).ids == []


def test_tags_name_epochs_and_keep_them_through_vacuums() -> None:
    medium = MemoryMedium()
    store = store_in(medium)
    states = grown(store, seals=True)
    early, late = sorted(states)[2], sorted(states)[-2]
    assert store.tag("early", epoch=early, note="before the model changed") == early
    assert store.tag("late", epoch=late) == late
    now = store.epoch
    assert store.tag("now") == now
    with pytest.raises(vstore.AlreadyExistsError):
        store.tag("early")
    for _ in range(2):
        report = store.vacuum()
        assert report.epochs_kept == (early, late, now)
        assert shows(store.snapshot(early), states[early])
        assert shows(store.snapshot(late), states[late])
        with store_in(medium, tag="early") as past:
            assert shows(past, states[early])
        dropped = sorted(states)[3]
        with pytest.raises(vstore.NotFoundError):
            store.snapshot(dropped)
        assert store.check().ok
    assert store.tags == {"early": early, "late": late, "now": now}
    store.untag("early")
    store.vacuum()
    with pytest.raises(vstore.NotFoundError):
        store.snapshot(early)
    with pytest.raises(vstore.NotFoundError, match="early"):
        store_in(medium, tag="early")
    with pytest.raises(vstore.NotFoundError):
        store.untag("early")


def test_a_vacuum_keeps_the_epochs_it_is_told_to_keep_also_the_newest() -> None:
    store = store_in()
    states = grown(store)
    newest, older = store.epoch, sorted(states)[1]
    report = store.vacuum(keep_epochs=[newest, older, newest])
    assert report.epochs_kept == (older, newest)
    assert shows(store.snapshot(newest), states[newest])
    assert shows(store.snapshot(older), states[older])
    assert store.epoch == newest + 1
    assert store.check().ok


def test_history_remembers_what_a_vacuum_dropped() -> None:
    store = store_in()
    grown(store)
    store.tag("kept")
    before = [(e.epoch, e.operation, e.note) for e in store.history()]
    assert [epoch for epoch, _, _ in before] == list(range(store.epoch, -1, -1))
    store.vacuum()
    store.vacuum()
    after = store.history()
    assert [(e.epoch, e.operation, e.note) for e in after][2:] == before
    assert [e.operation for e in after[:2]] == ["vacuum", "vacuum"]
    kept = store.tags["kept"]
    assert {e.epoch for e in after if e.readable} == {store.epoch, kept}
    assert [e.epoch for e in store.history(limit=3)] == [e.epoch for e in after[:3]]
    assert store.history(limit=0) == []


def writes(docs: vstore.Collection) -> list[Callable[[], object]]:
    """Return every way to write through a collection."""
    embedder = vstore.HashingEmbedder(4)
    return [
        lambda: docs.upsert(["x"]),
        lambda: docs.upsert([]),
        lambda: docs.upsert_texts(["x"], ["text"], embedder=embedder),
        lambda: docs.update_metadata(["b"], [{"year": 1}]),
        lambda: docs.delete(["b"]),
        lambda: docs.delete(where=vstore.field("year") == 1),
        lambda: docs.add_vectors(["b"], rows(1), version=OLD),
        lambda: docs.add_field("lang", "keyword"),
        lambda: docs.create_version("third", spec("third")),
        lambda: docs.migration.backfill(OLD, lambda batch: rows(len(batch))),
        lambda: docs.routes.set(vstore.Dual(NEW)),
        lambda: docs.routes.cutover(NEW, force=True, reason="test"),
        lambda: docs.routes.rollback(),
        lambda: docs.routes.retire(NEW),
    ]


def store_writes(store: vstore.Store) -> list[Callable[[], object]]:
    """Return every way to write through a store."""
    return [
        lambda: store.create_collection("other"),
        lambda: store.drop_collection("docs"),
        lambda: store.tag("now"),
        lambda: store.vacuum(),
        lambda: store.declare_equivalent(spec(), spec("b"), reason="c"),
        lambda: store.transaction().__enter__(),
    ]


def with_all_versions(store: vstore.Store) -> vstore.Collection:
    docs = documents(store, new=spec("model-new"))
    docs.create_version("hashed", vstore.HashingEmbedder(4).spec)
    docs.upsert(["a", "b"], texts=["one", "two"], vectors={OLD: rows(2)})
    return docs


def test_a_pinned_handle_refuses_every_write() -> None:
    store = store_in()
    docs = with_all_versions(store)
    before = contents(docs)
    for epoch in (None, store.epoch - 1):
        pinned = store.snapshot(epoch).collection("docs")
        for write in writes(pinned):
            with pytest.raises(vstore.ReadOnlyError):
                write()
        with store.transaction() as tx, pytest.raises(vstore.ReadOnlyError):
            tx.delete(pinned, ["a"])
    assert contents(docs) == before


def test_a_read_only_store_refuses_every_write() -> None:
    medium = MemoryMedium()
    store = store_in(medium)
    before = contents(with_all_versions(store))
    for reader in (store_in(medium, mode="r"), store_in(medium, epoch=store.epoch)):
        docs = reader.collection("docs")
        calls = [*writes(docs), *store_writes(reader)]
        for call in calls:
            with pytest.raises(vstore.ReadOnlyError):
                call()
    assert contents(store.collection("docs")) == before


def test_a_reader_moves_on_only_when_asked(tmp_path: Path) -> None:
    path = tmp_path / "docs.vstore"
    with vstore.open(path) as writer:
        docs = documents(writer)
        docs.upsert(["a"], vectors={OLD: rows(1)})
        with vstore.open(path, mode="r") as reader:
            seen = reader.collection("docs")
            assert not reader.refresh()
            docs.upsert(["b"], vectors={OLD: rows(1)})
            assert seen.ids() == ["a"]
            assert reader.refresh()
            assert seen.ids() == ["a", "b"]
            seal(writer)
            docs.delete(["a"])
            writer.vacuum()
            docs.upsert(["c"], vectors={OLD: rows(1)})
            assert seen.search(axis(0), version=OLD).ids == ["a", "b"]
            held = reader.snapshot()
            assert reader.refresh()
            assert seen.ids() == ["b", "c"]
            assert held.collection("docs").ids() == ["a", "b"]
            assert not writer.refresh()
        pinned = vstore.open(path, epoch=writer.epoch)
        with pinned, pytest.raises(vstore.StateError, match="epoch"):
            pinned.refresh()
    assert [entry.name for entry in tmp_path.iterdir()] == ["docs.vstore"]


def test_one_writer_at_a_time(tmp_path: Path) -> None:
    path = tmp_path / "docs.vstore"
    with vstore.open(path) as writer:
        documents(writer)
        with pytest.raises(vstore.LockedError):
            vstore.open(path)
        writer.vacuum()
        with pytest.raises(vstore.LockedError):
            vstore.open(path)
    with vstore.open(path) as writer:
        assert writer.collections == ("docs",)


def test_a_closed_store_says_so_and_its_arrays_stay() -> None:
    store = store_in()
    docs = documents(store)
    docs.upsert(["a"], vectors={OLD: rows(1)})
    array = docs.get_vectors("a", OLD)
    store.close()
    store.close()
    for call in (
        lambda: docs.ids(),
        lambda: docs.search(axis(0), version=OLD),
        lambda: docs.upsert(["b"]),
        lambda: store.epoch,
        lambda: store.snapshot(),
        lambda: store.history(),
        lambda: store.check(),
        lambda: store.transaction().__enter__(),
        lambda: store.refresh(),
    ):
        with pytest.raises(vstore.ClosedError):
            call()
    np.testing.assert_array_equal(array, rows(1))


def test_epoch_and_tag_are_two_ways_to_say_it() -> None:
    medium = MemoryMedium()
    store_in(medium).close()
    with pytest.raises(vstore.InvalidArgumentError):
        store_in(medium, epoch=0, tag="x")
    for option in ({"mode": "w"}, {"verify": "yes"}, {"durability": "none"}):
        with pytest.raises(vstore.InvalidArgumentError):
            store_in(medium, **option)


def test_a_vacuum_carries_no_damage_into_the_new_file(tmp_path: Path) -> None:
    path = tmp_path / "docs.vstore"
    with vstore.open(path) as store:
        docs = documents(store)
        docs.upsert(list(range(5000)), vectors={OLD: rows(5000)})
    data = bytearray(path.read_bytes())
    at = data.index(rows(5000)[100:110].tobytes())
    data[at] ^= 1
    path.write_bytes(data)
    with vstore.open(path, verify="off") as store:
        store.collection("docs").search(axis(0), version=OLD)
        with pytest.raises(vstore.BlockChecksumError):
            store.vacuum()
        with pytest.raises(vstore.BlockChecksumError):
            store.vacuum(keep_epochs=[store.epoch])
    assert bytes(data) == path.read_bytes()


def test_handles_on_an_older_epoch_end_with_the_store(tmp_path: Path) -> None:
    store = vstore.open(tmp_path / "docs.vstore")
    documents(store).upsert(["a"], texts=["a"])
    reader = store.snapshot()
    pinned = reader.collection("docs")
    assert pinned.ids() == ["a"]
    store.close()
    for ask in (
        pinned.ids,
        lambda: len(pinned),
        lambda: pinned.get("a"),
        lambda: pinned.versions,
        lambda: reader.collections,
        lambda: reader.collection("docs"),
    ):
        with pytest.raises(vstore.ClosedError):
            ask()
