"""Transactions: all of it or nothing, in one commit, however the block is left."""

from __future__ import annotations

import contextlib
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import numpy as np
import pytest

import vstore
from tests.small_store import NEW, OLD, axis, contents, documents, rows, seal, spec, store_in
from vstore.engine.pending import PendingChanges
from vstore.limits import SEAL_BYTES
from vstore.storage.memory import MemoryMedium

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from types import FrameType


class LeftEarlyError(Exception):
    """What a user's own code raises."""


def test_writes_to_two_collections_are_one_commit() -> None:
    store = store_in()
    docs, notes = documents(store), documents(store, name="notes")
    before = store.epoch
    with store.transaction() as tx:
        tx.upsert(docs, ["a"], vectors={OLD: rows(1)})
        tx.upsert(notes, ["b", "c"], vectors={OLD: rows(2)})
        tx.delete(notes, ["c"])
    assert store.epoch == before + 1
    assert (docs.ids(), notes.ids()) == (["a"], ["b"])
    assert store.history()[0].operation == "transaction"


def test_an_exception_leaves_nothing() -> None:
    store = store_in()
    docs = documents(store)
    docs.upsert(["a"], texts=["one"], vectors={OLD: rows(1)})
    before = contents(docs)

    def write_and_fail() -> None:
        with store.transaction() as tx:
            tx.upsert(docs, ["a", "b"], texts=["two", "three"])
            tx.delete(docs, ["a"])
            raise LeftEarlyError

    with pytest.raises(LeftEarlyError):
        write_and_fail()
    assert contents(docs) == before
    docs.upsert(["b"])
    assert docs.ids() == ["a", "b"]


def test_after_a_refused_call_the_transaction_goes_on() -> None:
    store = store_in()
    docs = documents(store)
    with store.transaction() as tx:
        tx.upsert(docs, ["a"], vectors={OLD: rows(1)})
        with pytest.raises(vstore.InvalidVectorError):
            tx.upsert(docs, ["a", "b"], texts=["x", "y"], vectors={OLD: np.zeros((2, 4))})
        with pytest.raises(vstore.NotFoundError):
            tx.update_metadata(docs, ["a", "nobody"], [{"year": 1}, {"year": 2}])
        with pytest.raises(vstore.NotFoundError):
            tx.add_vectors(docs, ["a", "nobody"], rows(2, seed=1), version=OLD)
        tx.upsert(docs, ["c"])
    assert docs.ids() == ["a", "c"]
    assert docs.get("a") == vstore.Document("a", store.epoch, store.epoch, None, {}, None)
    np.testing.assert_array_equal(docs.get_vectors("a", OLD), rows(1))


def test_a_transaction_that_changes_nothing_makes_no_commit() -> None:
    store = store_in()
    docs = documents(store)
    docs.upsert(["a"], texts=["one"], metadata=[{"year": 1}])
    before = store.epoch
    with store.transaction():
        pass
    with store.transaction() as tx:
        tx.upsert(docs, [])
        tx.upsert(docs, ["a"], texts=["one"], metadata=[{"year": 1}])
        tx.update_metadata(docs, ["a"], [{"year": 1, "tenant": None}])
        tx.delete(docs, ["nobody"])
        tx.delete(docs, where=vstore.field("year") > 1)
    assert store.epoch == before


def test_reads_inside_see_the_state_from_before() -> None:
    store = store_in()
    docs = documents(store)
    docs.upsert(["a"])
    with store.transaction() as tx:
        tx.upsert(docs, ["b"])
        tx.delete(docs, ["a"])
        assert docs.ids() == ["a"]
    assert docs.ids() == ["b"]


@pytest.mark.parametrize("sealed", [False, True])
def test_the_second_source_of_one_commit_makes_the_first_ones_vectors_stale(sealed: bool) -> None:
    store = store_in()
    docs = documents(store, new=spec("model-new"))
    if sealed:
        docs.upsert(["a"], texts=["zero"], vectors={OLD: rows(1, seed=9)})
        seal(store)
    with store.transaction() as tx:
        tx.upsert(docs, ["a"], texts=["one"], vectors={OLD: rows(1), NEW: rows(1)})
        counts = tx.upsert(docs, ["a"], texts=["two"], vectors={OLD: rows(1, seed=1)})
    assert counts.vectors_written == {OLD: 1}
    np.testing.assert_array_equal(docs.get_vectors("a", OLD), rows(1, seed=1))
    assert docs.coverage(NEW).fresh == 0
    with pytest.raises(vstore.NotFoundError):
        docs.get_vectors("a", NEW)


def test_deleted_and_added_again_in_one_commit_has_no_vectors_of_its_former_life() -> None:
    store = store_in()
    docs = documents(store, stale_policy="serve")
    docs.upsert(["a"], texts=["one"], vectors={OLD: rows(1)})
    with store.transaction() as tx:
        tx.upsert(docs, ["a"], texts=["two"], vectors={OLD: rows(1)})
        tx.delete(docs, ["a"])
        tx.upsert(docs, ["a"], texts=["two"])
    document = docs.get("a")
    assert document is not None
    assert (document.created, document.revision) == (store.epoch, store.epoch)
    assert docs.coverage(OLD).fresh == 0
    assert docs.search(axis(0), version=OLD).ids == []


def test_a_document_may_come_and_go_in_one_commit() -> None:
    store = store_in()
    docs = documents(store)
    with store.transaction() as tx:
        tx.upsert(docs, ["a", "b"], vectors={OLD: rows(2)})
        assert tx.delete(docs, ["a"]) == vstore.DeleteCounts(deleted=1, missing=0)
        with pytest.raises(vstore.NotFoundError):
            tx.add_vectors(docs, ["a"], rows(1), version=OLD)
    assert docs.ids() == ["b"]
    assert docs.search(axis(0), version=OLD).ids == ["b"]


def test_vectors_may_follow_documents_in_one_commit() -> None:
    store = store_in()
    docs = documents(store)
    with store.transaction() as tx:
        tx.upsert(docs, ["a"], texts=["one"])
        tx.add_vectors(docs, ["a"], rows(1), version=OLD)
    assert docs.coverage(OLD).complete


def test_an_array_changed_before_the_commit_changes_nothing() -> None:
    store = store_in()
    docs = documents(store, old=spec(dimension=1024))
    count = SEAL_BYTES // 4096 + 1
    array = rows(count, 1024)
    with store.transaction() as tx:
        tx.upsert(docs, list(range(count)), vectors={OLD: array})
        array[:] = np.nan
    np.testing.assert_array_equal(docs.get_vectors(7, OLD), rows(count, 1024)[7:8])
    assert store.check().ok


def test_a_transaction_works_only_inside_its_block() -> None:
    store = store_in()
    docs = documents(store)
    tx = store.transaction()
    with pytest.raises(vstore.TransactionError):
        tx.upsert(docs, ["a"])
    with tx:
        tx.upsert(docs, ["a"])
    with pytest.raises(vstore.TransactionError):
        tx.delete(docs, ["a"])
    assert docs.ids() == ["a"]


@pytest.mark.parametrize("aborted", [True, False])
def test_a_transaction_cannot_be_entered_again(aborted: bool, tmp_path: Path) -> None:
    path = tmp_path / "docs.vstore"
    with vstore.open(path) as store:
        docs = documents(store)
        tx = store.transaction()
        with contextlib.suppress(LeftEarlyError), tx:
            tx.upsert(docs, ["a"], texts=["one"])
            if aborted:
                raise LeftEarlyError
        before = contents(docs)
        with pytest.raises(vstore.TransactionError, match="begin a new one"), tx:
            pass
        assert contents(docs) == before
        docs.upsert(["b"])
        assert docs.ids() == (["b"] if aborted else ["a", "b"])
    with vstore.open(path) as store:
        assert store.check().ok


def test_a_transaction_inside_itself_leaves_the_outer_one_alone() -> None:
    store = store_in()
    docs = documents(store)
    with store.transaction() as tx:
        with pytest.raises(vstore.TransactionError), tx:
            pass
        tx.upsert(docs, ["a"])
    assert docs.ids() == ["a"]


@pytest.mark.parametrize(
    "call",
    [
        pytest.param(lambda store: store.transaction().__enter__(), id="transaction"),
        pytest.param(lambda store: store.collection("docs").upsert(["b"]), id="upsert"),
        pytest.param(lambda store: store.create_collection("other"), id="create_collection"),
        pytest.param(lambda store: store.tag("now"), id="tag"),
        pytest.param(lambda store: store.vacuum(), id="vacuum"),
        pytest.param(lambda store: store.sync(), id="sync"),
    ],
)
def test_what_needs_the_writer_is_refused_inside_instead_of_waiting_for_ever(
    call: Callable[[vstore.Store], object],
) -> None:
    store = store_in()
    docs = documents(store)
    with store.transaction() as tx:
        tx.upsert(docs, ["a"])
        with pytest.raises(vstore.StateError):
            call(store)
    assert docs.ids() == ["a"]


def test_closing_the_store_inside_gives_the_transaction_up() -> None:
    medium = MemoryMedium()
    store = store_in(medium)
    docs = documents(store)

    def write() -> None:
        with store.transaction() as tx:
            tx.upsert(docs, ["a"])
            store.close()

    with pytest.raises(vstore.ClosedError, match="nothing of it was committed"):
        write()
    with store_in(medium) as again:
        assert again.collection("docs").ids() == []


def test_closing_the_store_inside_hides_no_error() -> None:
    store = store_in()

    def write() -> None:
        with store.transaction():
            store.close()
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        write()


def test_a_collection_of_another_store_is_refused() -> None:
    store = store_in()
    mine, others = documents(store), documents()
    with store.transaction() as tx, pytest.raises(vstore.InvalidArgumentError, match="belongs to"):
        tx.upsert(others, ["a"])
    assert (len(mine), len(others)) == (0, 0)


def test_a_dropped_collection_is_not_found_by_its_handle() -> None:
    store = store_in()
    docs = documents(store)
    store.drop_collection("docs")
    for call in (
        lambda: docs.upsert(["a"]),
        lambda: docs.add_field("more", "int"),
        lambda: docs.create_version("v", spec("other")),
        lambda: docs.routes.rollback(),
        lambda: docs.routes.cutover(OLD),
        lambda: len(docs),
    ):
        with pytest.raises(vstore.NotFoundError):
            call()


def test_a_dropped_collections_namesake_is_empty() -> None:
    store = store_in()
    documents(store).upsert(["a"], vectors={OLD: rows(1)})
    store.drop_collection("docs")
    docs = documents(store)
    assert docs.ids() == []
    assert docs.search(axis(0), version=OLD).ids == []
    docs.upsert(["b"], vectors={OLD: rows(1)})
    assert docs.search(axis(0), version=OLD).ids == ["b"]
    assert store.check().ok


def test_a_commit_larger_than_a_manifest_may_be_is_sealed_instead() -> None:
    store = store_in()
    docs = documents(store)
    wide = "x" * 1_000_000
    docs.upsert(list(range(70)), metadata={"tenant": [wide] * 70})
    assert docs.get(69) is not None
    assert len(docs) == 70


def test_metadata_counts_towards_sealing() -> None:
    store = store_in()
    docs = documents(store)
    for i in range(10):
        docs.upsert([i], metadata=[{"tenant": "x" * (SEAL_BYTES // 8)}])
    deltas = store.info()["deltas_since_full_manifest"]
    assert isinstance(deltas, int)
    assert deltas < 10


def _raise_at_the_third_record(draft: Callable[[], object]) -> None:
    """Run a call that ends in the middle of its changes."""
    found = 0

    def interrupt(frame: FrameType, event: str, _argument: object) -> None:
        nonlocal found
        if event == "call" and frame.f_code is PendingChanges.put.__code__:
            found += 1
            if found == 3:
                sys.settrace(None)
                raise ZeroDivisionError

    sys.settrace(interrupt)
    try:
        with pytest.raises(ZeroDivisionError):
            draft()
    finally:
        sys.settrace(None)


@pytest.mark.parametrize("goes_on", ["the same collection", "another one", "not at all"])
def test_a_call_that_ended_in_the_middle_of_its_changes_ends_the_transaction(goes_on: str) -> None:
    docs = documents()
    other = documents(docs.store, name="other")
    docs.upsert(["a", "b", "c"], texts=["a", "b", "c"])
    before = contents(docs)

    def write() -> None:
        with docs.store.transaction() as tx:
            tx.upsert(other, ["z"], texts=["z"])
            _raise_at_the_third_record(
                lambda: tx.upsert(docs, ["a", "b", "c", "d"], texts=list("1234"))
            )
            if goes_on != "not at all":
                tx.upsert(docs if goes_on == "the same collection" else other, ["y"], texts=["y"])

    with pytest.raises(vstore.TransactionError, match="ended while it made its changes"):
        write()
    assert contents(docs) == before
    assert len(other) == 0
    docs.upsert(["d"], texts=["d"])
    assert docs.store.check().ok


def test_damage_that_a_call_meets_is_met_before_it_changes_anything(tmp_path: Path) -> None:
    path = tmp_path / "docs.vstore"
    vectors = rows(2_000)
    ids = [str(number) for number in range(2_000)]
    with vstore.open(path) as store:
        documents(store).upsert(ids, texts=ids, vectors={OLD: vectors})
    data = bytearray(path.read_bytes())
    # The numbers of the vectors' documents; those of the documents' own segment come after them.
    data[data.index(np.arange(1_000, 1_010, dtype="<u4").tobytes())] ^= 1
    path.write_bytes(data)
    with vstore.open(path) as store:
        docs = store.collection("docs")
        with store.transaction() as tx:
            with pytest.raises(vstore.CorruptionError):
                tx.upsert(docs, ["1", "new"], texts=["1", "new"], vectors={OLD: vectors[:2]})
            tx.upsert(docs, ["small"], texts=["small"])
        assert docs.ids() == [*ids, "small"]
    with vstore.open(path) as store:
        assert "small" in store.collection("docs")


def test_another_thread_cannot_write_to_a_transaction() -> None:
    docs = documents()
    with docs.store.transaction() as tx:
        tx.upsert(docs, ["a"], texts=["a"])
        with ThreadPoolExecutor(1) as pool:
            other = pool.submit(lambda: tx.upsert(docs, ["b"], texts=["b"]))
            with pytest.raises(vstore.TransactionError, match="the thread that began it"):
                other.result()
        tx.upsert(docs, ["c"], texts=["c"])
    assert docs.ids() == ["a", "c"]
    assert docs.store.check().ok
