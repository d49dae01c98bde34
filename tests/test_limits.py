"""Every documented limit: its last allowed value works, the next one raises its own error."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import vstore
from tests.small_store import NEW, OLD, axis, contents, documents, rows, seal, spec, store_in
from vstore import limits

if TYPE_CHECKING:
    from collections.abc import Callable


def assert_limit(name: str, call: Callable[[], object]) -> vstore.LimitExceededError:
    """Run a call that one more than the limit allows."""
    with pytest.raises(vstore.LimitExceededError, match=f"limits.{name}") as caught:
        call()
    assert caught.value.limit == name
    assert caught.value.allowed == getattr(limits, name)
    assert caught.value.found is not None
    assert caught.value.found > caught.value.allowed
    return caught.value


def test_a_dimension_is_1_to_65535() -> None:
    docs = documents(
        old=spec("wide", limits.DIMENSION_MAX), new=spec("narrow", 1), storage="float16"
    )
    wide = rows(2, limits.DIMENSION_MAX)
    docs.upsert(["a", "b"], vectors={OLD: wide, NEW: [[1.0], [-1.0]]})
    assert docs.search(wide[1], version=OLD, k=1).ids == ["b"]
    assert docs.search([-2.0], version=NEW).ids == ["b", "a"]  # type: ignore[arg-type]
    seal(docs.store)
    assert docs.search(wide[1], version=OLD, k=1).ids == ["b"]
    assert_limit("DIMENSION_MAX", lambda: spec(dimension=65_536))
    assert spec(dimension=np.int64(4)) == spec(dimension=4)  # type: ignore[arg-type]
    for wrong in (0, -1, 1.5, "4", True, None, np.int64(0)):
        with pytest.raises(vstore.InvalidArgumentError, match="dimension"):
            spec(dimension=wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize("character", ["x", "é", "🙂"])
@pytest.mark.parametrize("sealed", [False, True])
def test_an_id_has_at_most_1024_bytes(character: str, sealed: bool) -> None:
    docs = documents()
    longest = character * (1_024 // len(character.encode()))
    docs.upsert([longest, "short"], vectors={OLD: rows(2)})
    if sealed:
        seal(docs.store)
    assert longest in docs
    assert docs.search(rows(1)[0], version=OLD, k=1).ids == [longest]
    too_long = longest + "x"
    calls: list[Callable[[], object]] = [
        lambda: docs.upsert(["a", too_long]),
        lambda: docs.get(too_long),
        lambda: docs.get_many(["short", too_long]),
        lambda: docs.delete([too_long]),
        lambda: docs.get_vectors(too_long, OLD),
    ]
    for call in calls:
        assert assert_limit("ID_BYTES_MAX", call).found == 1_025


@pytest.mark.parametrize("sealed", [False, True])
def test_integer_ids_are_64_bits(sealed: bool) -> None:
    docs = documents()
    ends: list[str | int] = [-(2**63), -1, 0, 2**63 - 1]
    docs.upsert(ends)
    if sealed:
        seal(docs.store)
    assert docs.ids() == ends
    assert all(id_ in docs for id_ in ends)
    for outside in (2**63, -(2**63) - 1, 10**400):
        for call in (lambda: docs.upsert([outside]), lambda: docs.get(outside)):  # noqa: B023
            with pytest.raises((vstore.InvalidArgumentError, vstore.LimitExceededError)):
                call()
    assert docs.ids() == ends


def test_a_documents_metadata_packs_to_at_most_1_mib() -> None:
    docs = documents()
    overhead = len(b"\x81\xa6tenant\xdb\0\0\0\0")
    longest = "x" * (limits.METADATA_BYTES_MAX - overhead)
    docs.upsert(["a"], metadata=[{"tenant": longest}])
    before = contents(docs)
    given: list[dict[str, Any]] = [
        {"tenant": longest + "x"},
        {"tenant": longest, "year": 1},
        {"tags": ["x" * 1000] * 1100},
        {"extra": list(range(2**20 - 4))},
    ]
    for metadata in given:
        assert_limit("METADATA_BYTES_MAX", lambda m=metadata: docs.upsert(["b"], metadata=[m]))  # type: ignore[misc]
    assert_limit("METADATA_BYTES_MAX", lambda: docs.update_metadata(["a"], [{"year": 1}]))
    assert contents(docs) == before


def test_a_text_has_at_most_64_mib() -> None:
    docs = documents()
    longest = "é" * (limits.TEXT_BYTES_MAX // 2)
    assert_limit("TEXT_BYTES_MAX", lambda: docs.upsert(["a"], texts=[longest + "x"]))
    docs.upsert(["a"], texts=[longest])
    document = docs.get("a")
    assert document is not None
    assert document.text == longest


def test_names_have_1_to_255_bytes() -> None:
    store = store_in()
    longest = "é" * 127 + "x"
    docs = store.create_collection(longest, fields={longest: "int"})
    docs.create_version(longest, spec())
    store.tag(longest)
    docs.upsert(["a"], metadata=[{longest: 1}], vectors={longest: rows(1)})
    seal(store)
    assert docs.ids(vstore.field(longest) == 1) == ["a"]
    assert store.check().ok
    namings: list[Callable[[str], object]] = [
        store.create_collection,
        lambda name: store.create_collection("other", fields={name: "int"}),
        lambda name: docs.add_field(name, "int"),
        lambda name: docs.create_version(name, spec("other")),
        store.tag,
    ]
    before = store.epoch
    for give in namings:
        assert_limit("NAME_BYTES_MAX", lambda give=give: give(longest + "x"))  # type: ignore[misc]
        for wrong in ("", " padded", "padded\t", "a\nb", "a\x00b", "\ud800", 5, None, b"bytes"):
            with pytest.raises(vstore.InvalidArgumentError):
                give(wrong)  # type: ignore[arg-type]
    assert store.epoch == before


def test_a_reason_has_at_most_4_kib() -> None:
    store = store_in()
    docs = documents(store, new=spec("model-new"))
    longest = "r" * limits.REASON_BYTES_MAX
    docs.routes.cutover(NEW, reason=longest)
    assert docs.routes.current.reason == longest
    for call in (
        lambda: docs.routes.rollback(reason=longest + "x"),
        lambda: docs.routes.cutover(OLD, reason=longest + "x"),
        lambda: docs.routes.set(vstore.Dual(OLD), reason=longest + "x"),
        lambda: docs.routes.retire(OLD, reason=longest + "x"),
        lambda: store.declare_equivalent(spec(), spec("b"), reason=longest + "x"),
        lambda: store.tag("t", note=longest + "x"),
        lambda: spec(preprocessing=longest + "x"),
    ):
        assert_limit("REASON_BYTES_MAX", call)
    assert docs.routes.current.version == NEW


def test_a_collection_has_at_most_1024_fields() -> None:
    store = store_in()
    fields = {f"field {i}": "int" for i in range(limits.FIELDS_MAX)}
    docs = store.create_collection("docs", fields=fields)
    docs.upsert(["a"], metadata=[dict.fromkeys(fields, 1)])
    seal(store)
    document = docs.get("a")
    assert document is not None
    assert len(document.metadata) == limits.FIELDS_MAX
    assert_limit("FIELDS_MAX", lambda: docs.add_field("one more", "int"))
    one_more = {**fields, "one more": "int"}
    assert_limit("FIELDS_MAX", lambda: store.create_collection("other", fields=one_more))


@pytest.mark.parametrize(
    ("limit", "make"),
    [
        ("COLLECTIONS_MAX", lambda store, i: store.create_collection(f"collection {i}")),
        ("VERSIONS_MAX", lambda store, i: store.collection("docs").create_version(
            f"version {i}", spec(f"model {i}"))),
        ("TAGS_MAX", lambda store, i: store.tag(f"tag {i}")),
        ("EQUIVALENCES_MAX", lambda store, i: store.declare_equivalent(
            spec(), spec(f"model {i}"), reason="same")),
    ],
)  # fmt: skip
def test_the_catalogue_is_bounded(
    limit: str, make: Callable[[vstore.Store, int], object], monkeypatch: pytest.MonkeyPatch
) -> None:
    store = store_in()
    documents(store)
    monkeypatch.setattr(f"vstore.manifest.edits.{limit}", 5)
    monkeypatch.setattr(limits, limit, 5)
    with pytest.raises(vstore.LimitExceededError) as caught:
        list(map(partial(make, store), range(10)))
    assert (caught.value.limit, caught.value.found, caught.value.allowed) == (limit, 6, 5)


def test_documents_are_bounded_over_a_stores_life(monkeypatch: pytest.MonkeyPatch) -> None:
    docs = documents()
    monkeypatch.setattr("vstore.writing.draft.DOCUMENTS_MAX", 3)
    monkeypatch.setattr(limits, "DOCUMENTS_MAX", 3)
    docs.upsert(["a", "b", "c"])
    assert_limit("DOCUMENTS_MAX", lambda: docs.upsert(["c", "d"]))
    docs.delete(["a"])
    assert_limit("DOCUMENTS_MAX", lambda: docs.upsert(["d"]))  # until a vacuum
    docs.store.vacuum()
    docs.upsert(["d"])
    assert docs.ids() == ["b", "c", "d"]


def test_a_document_has_at_most_65536_chunks() -> None:
    docs = documents(old=spec(dimension=1, metric="l2"))
    most = np.arange(limits.CHUNKS_MAX, dtype=np.float32)[:, None]
    docs.upsert(["a", "b"], vectors={OLD: [most, most[:1]]})
    hit = docs.search([1e9], version=OLD, k=1)[0]  # type: ignore[arg-type]
    assert (hit.id, hit.chunk) == ("a", limits.CHUNKS_MAX - 1)
    every = docs.search([1e9], version=OLD, collapse=False, k=limits.K_MAX)  # type: ignore[arg-type]
    assert len(every) == limits.CHUNKS_MAX + 1
    too_many = np.zeros((limits.CHUNKS_MAX + 1, 1))
    assert_limit("CHUNKS_MAX", lambda: docs.upsert(["c"], vectors={OLD: [too_many]}))


def test_k_is_1_to_a_million() -> None:
    docs = documents()
    docs.upsert(["a", "b"], vectors={OLD: np.eye(4)[:2]})
    assert docs.search(axis(0), version=OLD, k=limits.K_MAX).ids == ["a", "b"]
    assert_limit("K_MAX", lambda: docs.search(axis(0), version=OLD, k=limits.K_MAX + 1))
    for wrong in (0, -1, 1.5, True, "3", None):
        with pytest.raises(vstore.InvalidArgumentError, match="k:"):
            docs.search(axis(0), version=OLD, k=wrong)  # type: ignore[arg-type]


def test_filters_are_bounded() -> None:
    docs = documents()
    deep = vstore.field("year") == 1
    tree: dict[str, object] = {"field": "year", "op": "==", "value": 1}
    for _ in range(limits.FILTER_DEPTH_MAX):
        tree = {"not": tree}
    assert_limit("FILTER_DEPTH_MAX", lambda: docs.ids(tree))

    def nested() -> None:
        where = deep
        for _ in range(limits.FILTER_DEPTH_MAX):
            where = (where & deep) | deep
        docs.ids(where)

    assert_limit("FILTER_DEPTH_MAX", nested)
    wide = {"or": [{"field": "year", "op": "==", "value": 1}] * limits.FILTER_NODES_MAX}
    assert_limit("FILTER_NODES_MAX", lambda: docs.ids(wide))


def test_extras_are_bounded() -> None:
    spec(extras={str(i): i for i in range(limits.EXTRAS_MAX)})
    assert_limit(
        "EXTRAS_MAX", lambda: spec(extras={str(i): i for i in range(limits.EXTRAS_MAX + 1)})
    )
    refused: list[Any] = [
        {"a": 1.5},
        {"a": 2**63},
        {"a": None},
        {1: "a"},
        {"a": "\ud800"},
        {"a": []},
    ]
    for wrong in refused:
        with pytest.raises(vstore.InvalidArgumentError):
            spec(extras=wrong)
