"""What no call can mean is refused with an error of vstore that names it, and changes nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import vstore
from tests.small_store import OLD, axis, contents, documents, rows, spec

if TYPE_CHECKING:
    from collections.abc import Callable

    Call = Callable[[vstore.Collection], object]

HUGE = 10**5000  # repr() of it raises


class Speechless:
    """It has all that an embedder has, but its spec is none."""

    spec = "model-old"

    def embed_documents(self, texts: list[str]) -> object:
        return rows(len(texts))

    def embed_query(self, text: str) -> object:
        return axis(0)


def in_a_transaction_of_a_name(docs: Any) -> None:
    with docs.store.transaction() as tx:
        tx.upsert("docs", ["b"])


CALLS: dict[str, Callable[[Any], object]] = {
    # Specs, stamps and embedders.
    "retire_grace_s above u64": lambda docs: docs.create_version(
        "v", spec("v"), retire_grace_s=2**70
    ),
    "retire_grace_s of text": lambda docs: docs.create_version("v", spec("v"), retire_grace_s="1"),
    "retire_grace_s below 0": lambda docs: docs.create_version("v", spec("v"), retire_grace_s=-1),
    "a stamp of nothing": lambda _: vstore.Embeddings(None, rows(1)),  # type: ignore[arg-type]
    "no embedder": lambda docs: docs.upsert_texts(["b"], ["x"], embedder=None),
    "an embedder without a spec": lambda docs: docs.upsert_texts(
        ["b"], ["x"], embedder=Speechless()
    ),
    "an embedder's class": lambda docs: docs.upsert_texts(
        ["b"], ["x"], embedder=vstore.HashingEmbedder
    ),
    "register a speechless one": lambda docs: docs.store.register_embedder(Speechless()),
    "backfill by nothing": lambda docs: docs.migration.backfill(OLD, None),
    "equivalent to nothing": lambda docs: docs.store.declare_equivalent(None, spec(), reason="r"),
    "nothing is equivalent": lambda docs: docs.store.declare_equivalent(spec(), None, reason="r"),
    "a label for a number": lambda docs: vstore.suggest_label("docs", docs),
    "a label of a number": lambda _: vstore.suggest_label("docs", 5, date=""),  # type: ignore[arg-type]
    "extras of a number": lambda _: vstore.EmbeddingSpec("m", 4, extras=5),  # type: ignore[arg-type]
    # Names.
    "fields in a list": lambda docs: docs.store.create_collection("x", fields=["year"]),
    "no fields in a list": lambda docs: docs.store.create_collection("x", fields=[]),
    "a list for a field's name": lambda docs: docs.add_field(["year"], "int"),
    "a list for a collection": lambda docs: docs.store.collection(["docs"]),
    "a number for a collection": lambda docs: docs.store.collection(5),
    "drop a list": lambda docs: docs.store.drop_collection(["docs"]),
    "a list of an epoch": lambda docs: docs.store.snapshot().collection(["docs"]),
    "a list for a version": lambda docs: docs.versions[[OLD]],
    "search a list": lambda docs: docs.search(axis(0), version=[OLD]),
    "rows of a list": lambda docs: docs.get_vectors("a", [OLD]),
    "coverage of a number": lambda docs: docs.coverage(5),
    "vectors by number": lambda docs: docs.upsert(["b"], vectors={5: rows(1)}),
    "add vectors to a list": lambda docs: docs.add_vectors(["a"], rows(1), version=[OLD]),
    "cutover to a list": lambda docs: docs.routes.cutover([OLD]),
    "read both of a list": lambda docs: docs.routes.set(
        vstore.Dual([OLD])  # type: ignore[arg-type]
    ),
    "retire a list": lambda docs: docs.routes.retire([OLD]),
    "untag a list": lambda docs: docs.store.untag(["x"]),
    "a bridge of a number": lambda docs: docs.migration.fit_bridge(OLD, OLD, kinds=5),
    "a seed of text": lambda docs: docs.migration.fit_bridge(OLD, OLD, seed="x"),
    "a number for a clock": lambda _: vstore.open(
        ":memory:",
        clock=5,  # type: ignore[arg-type]
    ),
    "a collection's name in a transaction": in_a_transaction_of_a_name,
    # Ids and columns.
    "upsert nothing": lambda docs: docs.upsert(None),
    "upsert a float": lambda docs: docs.upsert(1.5),
    "upsert an array of no axis": lambda docs: docs.upsert(np.array("b")),
    "upsert a scalar": lambda docs: docs.upsert(np.int64(1)),
    "upsert a huge number": lambda docs: docs.upsert([HUGE]),
    "upsert two axes": lambda docs: docs.upsert(np.array([["b"]])),
    "get nothing": lambda docs: docs.get_many(None),
    "delete a float": lambda docs: docs.delete(1.5),
    "texts of no axis": lambda docs: docs.upsert(["b"], texts=np.array("x")),
    "hashes of no axis": lambda docs: docs.upsert(["b"], source_hashes=np.array("x")),
    "metadata of no axis": lambda docs: docs.upsert(["b"], metadata=np.array("x")),
    "metadata of a number": lambda docs: docs.upsert(["b"], metadata=5),
    "a field's metadata of no axis": lambda docs: docs.upsert(
        ["b"], metadata={"year": np.array(5)}
    ),
    "texts in a set": lambda docs: docs.upsert(["b"], texts={"x"}),
    "texts in a dict": lambda docs: docs.upsert(["b"], texts={"b": "x"}),
    "one revision": lambda docs: docs.add_vectors(["a"], rows(1), revisions=5, version=OLD),
    "a revision of text": lambda docs: docs.add_vectors(
        ["a"], rows(1), revisions=["x"], version=OLD
    ),
    "a masked revision": lambda docs: docs.add_vectors(
        ["a"], rows(1), revisions=np.ma.masked_equal([1], 1), version=OLD
    ),
    "embed a text": lambda docs: docs.upsert_texts(["b"], "x", embedder=embedder_of(docs)),
    "embed a number": lambda docs: docs.upsert_texts(["b"], 5, embedder=embedder_of(docs)),
    "embed too few": lambda docs: docs.upsert_texts(
        ["b", "c"], iter(["x"]), embedder=embedder_of(docs)
    ),
    "a bare field": lambda docs: docs.ids(vstore.field("year")),
    # Words.
    "search of no family": lambda docs: docs.search(axis(0), version=OLD, family=None),
    "search of a numbered family": lambda docs: docs.search(axis(0), version=OLD, family=5),
    "searches of no family": lambda docs: docs.search_batch(rows(2), version=OLD, family=None),
    "search with a numbered key": lambda docs: docs.search(axis(0), version=OLD, key=5),
    "searches with numbered keys": lambda docs: docs.search_batch(
        rows(2), version=OLD, keys=[1, 2]
    ),
    "cutover by nobody": lambda docs: docs.routes.cutover(OLD, by=None, force=True, reason="r"),
    "cutover by zero": lambda docs: docs.routes.cutover(OLD, by=0, force=True, reason="r"),
    "read both by a number": lambda docs: docs.routes.set(vstore.Dual(OLD), by=0),
    "rollback for no reason": lambda docs: docs.routes.rollback(reason=None),
    "a numbered note": lambda docs: noted(docs, 5),
    "no note": lambda docs: noted(docs, None),
    # Numbers.
    "a snapshot of text": lambda docs: docs.store.snapshot("x"),
    "a snapshot of a bool": lambda docs: docs.store.snapshot(True),
    "a tag of text": lambda docs: docs.store.tag("t", epoch="x"),
    "keep an epoch of text": lambda docs: docs.store.vacuum(keep_epochs=["a"]),
    "keep one epoch": lambda docs: docs.store.vacuum(keep_epochs=5),
    "cutover at text": lambda docs: docs.routes.cutover(
        OLD, gates=vstore.Gates(coverage=float("inf"))
    ),
    "cutover at no number": lambda docs: docs.routes.cutover(
        OLD, gates=vstore.Gates(coverage=float("nan"))
    ),
    "cutover at a huge number": lambda docs: docs.routes.cutover(
        OLD, gates=vstore.Gates(coverage=HUGE)
    ),
    "backfill so many batches": lambda docs: docs.migration.backfill(OLD, print, batches_max="a"),
    "fewer than no batches": lambda docs: docs.migration.backfill(OLD, print, batches_max=-1),
    "pending so many": lambda docs: docs.migration.pending(OLD, limit="a"),
    "history of so many": lambda docs: docs.store.history(limit="a"),
    "history of a float": lambda docs: docs.store.history(limit=1.5),
    "history of less than none": lambda docs: docs.store.history(limit=-HUGE),
    "wait for text": lambda docs: docs.store.transaction(timeout_s="x"),
    "wait for no number": lambda docs: docs.store.transaction(timeout_s=float("nan")),
    # Opening.
    "open and wait for text": lambda _: vstore.open(":memory:", timeout_s="a"),  # type: ignore[arg-type]
    "open nothing": lambda _: vstore.open(None),  # type: ignore[arg-type]
    "open a number": lambda _: vstore.open(123),  # type: ignore[arg-type]
    "open bytes": lambda _: vstore.open(b"x"),  # type: ignore[arg-type]
    "open memory to read": lambda _: vstore.open(":memory:", mode="r"),
    "open memory that is there": lambda _: vstore.open(":memory:", create=False),
    "open memory at an epoch": lambda _: vstore.open(":memory:", epoch=0),
}


def noted(docs: vstore.Collection, note: Any) -> None:
    with docs.store.transaction() as tx:
        tx.upsert(docs, ["b"])
        tx.note = note


def embedder_of(docs: vstore.Collection) -> vstore.HashingEmbedder:
    embedder = vstore.HashingEmbedder(4)
    docs.create_version("hashed", embedder.spec)
    return embedder


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS.keys())
def test_a_call_that_cannot_succeed_is_an_invalid_argument(call: Call) -> None:
    docs = documents()
    docs.upsert(["a"], texts=["one"], metadata=[{"year": 1}], vectors={OLD: rows(1)})
    before = contents(docs)
    with pytest.raises(vstore.InvalidArgumentError) as caught:
        call(docs)
    assert len(str(caught.value)) < 400
    docs.store.transaction().__enter__().__exit__(None, None, None)  # the lock is free
    after = contents(docs)
    if len(docs.versions) == 1:
        assert after == before
    assert after["documents"] == before["documents"]


def test_numbers_of_numpy_are_numbers() -> None:
    docs = documents()
    docs.upsert(["a"], texts=["one"], vectors={OLD: rows(1)})
    epoch = np.int64(docs.store.epoch)
    assert docs.store.snapshot(epoch).epoch == epoch  # type: ignore[arg-type]
    docs.get_vectors("a", OLD)[np.uint8(0)]
    assert len(docs.store.history(limit=np.int32(1))) == 1  # type: ignore[arg-type]
    revisions = np.array([epoch], np.uint64)
    assert docs.add_vectors(["a"], rows(1), revisions=revisions, version=OLD).written == 1
    with docs.store.transaction(timeout_s=float("inf")) as tx:
        tx.delete(docs, ["a"])
    assert docs.ids() == []


def test_ids_and_texts_to_embed_may_come_from_generators() -> None:
    embedder = vstore.HashingEmbedder(4)
    docs = documents(old=embedder.spec)
    docs.upsert_texts(
        (f"d{i}" for i in range(3)),
        (f"text {i}" for i in range(3)),
        embedder=embedder,
        metadata={"year": [1, 2, 3]},
        calls=vstore.Calls(batch_size=2),
    )
    assert [document.text for document in docs.documents()] == ["text 0", "text 1", "text 2"]
    assert [document.metadata["year"] for document in docs.documents()] == [1, 2, 3]


@pytest.mark.parametrize(
    ("column", "message"),
    [
        ({"texts": ["a", "b", "c", 4]}, r"texts\[3\]"),
        ({"texts": ["a", "b", "c", None]}, r"texts\[3\]"),
        ({"texts": ["a", "b", "c", "\ud800"]}, r"texts\[3\].*Unicode"),
        ({"metadata": [{}, {}, {}, {"year": "x"}]}, r"metadata\[3\], of 'd3': field 'year'"),
    ],
)
def test_all_is_checked_before_the_first_batch_is_committed(
    column: dict[str, Any], message: str
) -> None:
    embedder = vstore.HashingEmbedder(4)
    docs = documents(old=embedder.spec)
    before = contents(docs)
    given = {"texts": ["a", "b", "c", "d"], **column}
    with pytest.raises(vstore.InvalidArgumentError, match=message):
        docs.upsert_texts(
            [f"d{i}" for i in range(4)],
            **given,
            embedder=embedder,
            calls=vstore.Calls(batch_size=2),
        )
    assert contents(docs) == before


@pytest.mark.parametrize("metadata", [[{}, {"year": "x"}], {"year": [1, "x"]}])
def test_a_bad_metadata_value_is_named_by_row_and_id(metadata: Any) -> None:
    docs = documents()
    with pytest.raises(vstore.InvalidArgumentError, match=r"metadata\[1\], of 'b': field 'year'"):
        docs.upsert(["a", "b"], metadata=metadata)
    docs.upsert(["a", "b"])
    with pytest.raises(vstore.InvalidArgumentError, match=r"metadata\[1\], of 'b': field 'year'"):
        docs.update_metadata(["a", "b"], metadata)


def test_a_bare_field_is_told_to_be_compared() -> None:
    docs = documents()
    with pytest.raises(vstore.FilterError, match=r"compare it"):
        docs.search(axis(0), version=OLD, where=vstore.field("year"))  # type: ignore[arg-type]


def test_memory_is_not_to_be_checked() -> None:
    with pytest.raises(vstore.InvalidArgumentError, match="in memory") as caught:
        vstore.open(":memory:", mode="r")
    assert "vstore check" not in str(caught.value)


@pytest.mark.parametrize(
    "id_",
    [
        pytest.param(-HUGE, id="huge"),
        *("", 2**70, "x" * 2000, "\ud800", None, 1.0, True, ["a"], np.array(["a"]), {}),
    ],
)
def test_what_can_be_no_id_is_in_no_collection(id_: object) -> None:
    docs = documents()
    docs.upsert(["a", 1])
    assert id_ not in docs


@pytest.mark.parametrize("id_", ["a", 1, np.int64(1), np.uint8(1), np.str_("a")], ids=repr)
def test_ids_of_numpy_are_in_a_collection_as_get_finds_them(id_: Any) -> None:
    docs = documents()
    docs.upsert(["a", 1])
    assert id_ in docs
    assert docs.get(id_) is not None
    assert id_ not in docs.scoped(vstore.field("year") == 1)


def test_a_handles_scope_cannot_be_taken_off() -> None:
    docs = documents().scoped(vstore.field("year") == 1)
    with pytest.raises(AttributeError):
        docs.scope = None  # type: ignore[misc]
