"""Which collections of ids may be given, and that nothing is paired with what is not its own."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import vstore
from tests.small_store import OLD, axis, contents, documents, rows, spec

if TYPE_CHECKING:
    from collections.abc import Callable

NAMES = ["delta", "alpha", "echo", "bravo", "charlie"]
L2 = spec(metric="l2")


class Colour(StrEnum):
    """Ids of a caller's own type."""

    RED = "red"


UNORDERED: list[Any] = [set(NAMES), frozenset(NAMES)]
WRITES: dict[str, Callable[[vstore.Collection, Any], object]] = {
    "upsert": lambda docs, ids: docs.upsert(ids, vectors={OLD: rows(5)}),
    "upsert metadata": lambda docs, ids: docs.upsert(ids, metadata={"year": range(5)}),
    "upsert texts": lambda docs, ids: docs.upsert(ids, texts=NAMES),
    "upsert_texts": lambda docs, ids: docs.upsert_texts(
        ids, NAMES, embedder=vstore.HashingEmbedder(16)
    ),
    "add_vectors": lambda docs, ids: docs.add_vectors(ids, rows(5), version=OLD),
    "update_metadata": lambda docs, ids: docs.update_metadata(ids, {"year": range(5)}),
}


@pytest.mark.parametrize("ids", UNORDERED, ids=lambda ids: type(ids).__name__)
@pytest.mark.parametrize("write", WRITES)
def test_a_set_of_ids_is_refused_where_something_stands_beside_them(write: str, ids: Any) -> None:
    docs = documents()
    docs.create_version("hashed", vstore.HashingEmbedder(16).spec)
    docs.upsert(NAMES)
    before = contents(docs)
    with pytest.raises(vstore.InvalidArgumentError, match=r"ids: .*set.*no order"):
        WRITES[write](docs, ids)
    assert contents(docs) == before


@pytest.mark.parametrize("write", WRITES)
@pytest.mark.parametrize("ids", ["alpha", b"alpha", bytearray(b"al"), 5], ids=repr)
def test_one_id_is_no_collection_of_ids(write: str, ids: Any) -> None:
    docs = documents()
    with pytest.raises(vstore.InvalidArgumentError, match="ids: "):
        WRITES[write](docs, ids)
    with pytest.raises(vstore.InvalidArgumentError, match="ids: "):
        docs.delete(ids)
    with pytest.raises(vstore.InvalidArgumentError, match="ids: "):
        docs.get_many(ids)


def test_columns_given_as_a_set_are_refused() -> None:
    docs = documents()
    given: dict[str, Any]
    for given in (
        {"texts": {"one", "two"}},
        {"metadata": {"year": {1, 2}}},
        {"metadata": {"year": frozenset((1, 2))}},
        {"source_hashes": {b"1", b"2"}},
        {"vectors": {OLD: {(1.0, 0.0, 0.0, 0.0), (0.0, 1.0, 0.0, 0.0)}}},
    ):
        with pytest.raises(vstore.InvalidArgumentError):
            docs.upsert(["a", "b"], **given)
    docs.upsert(["a", "b"])
    revisions: Any = {1, 2}
    with pytest.raises(vstore.InvalidArgumentError, match="revisions"):
        docs.add_vectors(["a", "b"], rows(2), revisions=revisions, version=OLD)
    assert len(docs) == 2
    assert docs.coverage(OLD).fresh == 0


def test_keys_of_queries_given_as_a_set_are_refused() -> None:
    docs = documents()
    keys: Any
    for keys in ({"x", "y"}, 3, "xy", [1, 2]):
        with pytest.raises(vstore.InvalidArgumentError, match="keys"):
            docs.search_batch(rows(2), version=OLD, keys=keys)
    docs.search_batch(rows(2), version=OLD, keys=(name for name in ("x", "y")))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "ids",
    [
        lambda: tuple(NAMES),
        lambda: dict.fromkeys(NAMES),
        lambda: dict.fromkeys(NAMES).keys(),
        lambda: dict(enumerate(NAMES)).values(),
        lambda: (name for name in NAMES),
        lambda: iter(NAMES),
        lambda: np.array(NAMES),
        lambda: np.array(NAMES, object),
        lambda: list(map(np.str_, NAMES)),
    ],
    ids=["tuple", "dict", "keys", "values", "generator", "iterator", "array", "objects", "np.str_"],
)
def test_what_has_an_order_is_paired_in_that_order(ids: Callable[[], Any]) -> None:
    docs = documents(old=L2)
    vectors = rows(5)
    docs.upsert(ids(), vectors={OLD: vectors}, metadata={"year": range(5)})
    for i, name in enumerate(NAMES):
        assert docs.get_vectors(name, OLD)[0].tolist() == vectors[i].tolist()
        document = docs.get(name)
        assert document is not None
        assert document.metadata["year"] == i


def test_columns_may_be_iterators() -> None:
    docs = documents(old=L2)
    docs.upsert(
        (f"d{i}" for i in range(3)),
        texts=(f"text {i}" for i in range(3)),
        metadata=({"year": i} for i in range(3)),
        source_hashes=(b"%d" % i for i in range(3)),
        vectors={OLD: (row for row in rows(3))},
    )
    assert [d.metadata["year"] for d in docs.documents()] == [0, 1, 2]
    assert [d.text for d in docs.documents()] == ["text 0", "text 1", "text 2"]
    assert docs.get_vectors("d2", OLD)[0].tolist() == rows(3)[2].tolist()
    docs.upsert(["d3"], metadata={"year": iter([3])})
    revisions = [d.revision for d in docs.documents()]
    added = docs.add_vectors(docs.ids(), rows(4), revisions=iter(revisions), version=OLD)
    assert added.written == 4
    assert docs.update_metadata(iter(["d0"]), iter([{"year": 9}])) == 1
    with pytest.raises(vstore.InvalidArgumentError, match="one per id"):
        docs.upsert(["x", "y"], texts=iter(["only one"]))


def test_integers_and_texts_of_other_libraries_are_ids() -> None:
    docs = documents(old=L2)
    given = [np.int64(1), np.uint64(2), np.int8(3), np.str_("four"), Colour.RED, 6]
    docs.upsert(given, vectors={OLD: rows(6)})  # type: ignore[arg-type]
    assert docs.ids() == [1, 2, 3, "four", "red", 6]
    assert {type(id_) for id_ in docs.ids()} == {int, str}
    wrong: Any
    for wrong in (np.float64(1.0), 1.0, True, np.True_, None, b"x", np.datetime64("2020"), np.nan):
        with pytest.raises(vstore.InvalidArgumentError, match=r"ids\[1\]"):
            docs.upsert(["x", wrong])
        with pytest.raises(vstore.InvalidArgumentError, match=r"ids\[0\]"):
            docs.delete([wrong])
    beyond: Any = np.array([2**63], np.uint64)
    with pytest.raises(vstore.InvalidArgumentError, match="expected -9223372036854775808"):
        docs.upsert(beyond)


def test_an_id_given_twice_is_deleted_once() -> None:
    docs = documents()
    docs.upsert(["a", "b", "c"])
    assert docs.delete(["a", "a", "x", "x"]) == vstore.DeleteCounts(deleted=1, missing=1)
    assert docs.delete({"b", "y"}) == vstore.DeleteCounts(deleted=1, missing=1)
    assert docs.delete(id_ for id_ in ("c", "c")) == vstore.DeleteCounts(deleted=1, missing=0)
    assert len(docs) == 0


@pytest.mark.parametrize("write", WRITES)
def test_an_id_given_twice_is_refused_where_something_stands_beside_it(write: str) -> None:
    docs = documents()
    docs.create_version("hashed", vstore.HashingEmbedder(16).spec)
    docs.upsert(NAMES)
    before = contents(docs)
    with pytest.raises(vstore.InvalidArgumentError, match="comes twice"):
        WRITES[write](docs, [*NAMES[:4], NAMES[0]])
    with pytest.raises(vstore.InvalidArgumentError, match="comes twice"):
        WRITES[write](docs, [*NAMES[:4], np.str_(NAMES[0])])
    assert contents(docs) == before


def test_documents_are_read_by_any_collection_of_ids() -> None:
    docs = documents()
    docs.upsert(NAMES, vectors={OLD: np.tile(axis(0), (5, 1))})
    assert [d and d.id for d in docs.get_many(["echo", "none", "echo"])] == ["echo", None, "echo"]
    wanted = {"alpha", "bravo", "none"}
    found = docs.get_many(wanted)
    assert [d and d.id for d in found] == [None if n == "none" else n for n in wanted]
    assert [d and d.id for d in docs.get_many(name for name in NAMES)] == NAMES


def test_epochs_to_keep_may_be_a_set(tmp_path: Any) -> None:
    with vstore.open(tmp_path / "docs.vstore") as store:
        docs = documents(store)
        kept = {store.epoch}
        docs.upsert(["a"])
        store.vacuum(keep_epochs=kept)
        assert len(store.snapshot(min(kept)).collection("docs")) == 0
