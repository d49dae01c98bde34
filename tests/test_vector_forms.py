"""Every form in which people have vectors, wherever vectors come in; and none is rounded away."""

from __future__ import annotations

import json
from decimal import Decimal
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import vstore
from tests.small_store import NEW, OLD, contents, documents, rows, spec

if TYPE_CHECKING:
    from collections.abc import Callable

    from vstore.types import Array

IDS: list[str | int] = ["a", "b", "c"]
WHOLE = np.array([[1, 2, 3, 4], [0, 127, 0, 100], [5, 0, 1, 0]])
L2 = spec(metric="l2")


class Tensor:
    """An array of another library that converts itself."""

    def __init__(self, array: Any) -> None:
        self.array = array

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Any:
        return self.array if dtype is None else self.array.astype(dtype)


class Interface:
    """An array of another library that shows its memory."""

    def __init__(self, array: Any) -> None:
        self.__array_interface__ = array.__array_interface__
        self.kept = array


class Capsule:
    """An array of another library that speaks DLPack alone."""

    def __init__(self, array: Any) -> None:
        self.array = array

    def __dlpack__(self, **options: Any) -> Any:
        return self.array.__dlpack__(**options)

    def __dlpack_device__(self) -> Any:
        return self.array.__dlpack_device__()


class Convertible:
    """An array of another library with a method of its own."""

    def __init__(self, array: Any) -> None:
        self.array = array

    def numpy(self) -> Any:
        return self.array


class OnTheCard:
    """A tensor that does not convert itself."""

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Any:
        raise RuntimeError("can't convert a tensor of device cuda:0 to numpy")


def objects(array: Array) -> Array:
    found = np.empty(len(array), object)
    found[:] = list(array)
    return found


def read_only(array: Array) -> Array:
    found = array.astype(np.float32)
    found.flags.writeable = False
    return found


INTEGERS = ["u1", "i2", "u2", "i4", "u4", "i8", "u8", ">i4", ">u2"]
FORMS: dict[str, Callable[[Array], Any]] = {
    **{kind: lambda a, kind=kind: a.astype(kind) for kind in INTEGERS},  # type: ignore[misc]
    "lists": lambda a: a.tolist(),
    "tuples": lambda a: tuple(map(tuple, a.tolist())),
    "json": lambda a: json.loads(json.dumps(a.tolist())),
    "list of arrays": list,
    "list of NumPy scalars": lambda a: [list(map(np.int16, row)) for row in a],
    "float32 scalars": lambda a: [list(map(np.float32, row)) for row in a],
    "Decimals": lambda a: [[Decimal(int(v)) for v in row] for row in a],
    "Fractions": lambda a: [[Fraction(int(v)) for v in row] for row in a],
    "array of arrays": objects,
    "array of lists": lambda a: objects(a.astype(object)),
    "objects": lambda a: a.astype(object),
    "object floats": lambda a: a.astype(float).astype(object),
    "generator": lambda a: (row for row in a),
    "dict values": lambda a: dict(enumerate(a)).values(),
    "float128": lambda a: a.astype(np.longdouble),
    "big-endian": lambda a: a.astype(">f4"),
    "big-endian float64": lambda a: a.astype(">f8"),
    "read-only": read_only,
    "fortran": lambda a: np.asfortranarray(a.astype(np.float32)),
    "strided": lambda a: np.repeat(np.repeat(a, 2, axis=0), 3, axis=1)[::2, ::3],
    "backwards": lambda a: a[::-1].astype(np.float32)[::-1],
    "tensor": lambda a: Tensor(a.astype(np.float32)),
    "list of tensors": lambda a: [Tensor(row) for row in a],
    "interface": lambda a: Interface(a.astype(np.float32)),
    "capsule": lambda a: Capsule(a.astype(np.float32)),
    "convertible": lambda a: Convertible(a),
    "memoryview": lambda a: a.astype(np.float32).data,
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("stamped", [False, True])
def test_every_form_is_stored_as_float32(form: str, stamped: bool) -> None:
    docs = documents(old=L2)

    def given() -> Any:
        made = FORMS[form](WHOLE)
        return vstore.Embeddings(L2, made) if stamped else made

    docs.upsert(IDS, vectors={OLD: given()})
    for _ in range(2):
        for id_, row in zip(IDS, WHOLE, strict=True):
            stored = docs.get_vectors(id_, OLD)[0]
            assert stored.dtype == np.float32
            assert stored.tolist() == row.tolist()
        docs.add_vectors(IDS, given(), version=OLD)
    assert docs.store.check().ok


@pytest.mark.parametrize("form", FORMS)
def test_every_form_is_a_batch_of_queries(form: str) -> None:
    docs = documents(old=L2, new=spec("model-new", metric="inner_product"))
    docs.upsert(IDS, vectors={OLD: WHOLE, NEW: WHOLE})
    expected = docs.search_batch(WHOLE.astype(np.float32), version=OLD)
    for queries in (FORMS[form](WHOLE), {OLD: FORMS[form](WHOLE)}):
        found = docs.search_batch(queries, version=OLD)
        assert [result.ids for result in found] == [result.ids for result in expected]
    both = docs.search_batch(
        {OLD: FORMS[form](WHOLE), NEW: FORMS[form](WHOLE)}, read=vstore.Dual(NEW, old=OLD)
    )
    assert len(both) == 3
    alone = FORMS[form](WHOLE)
    if isinstance(alone, list | tuple):
        for query, result in zip(alone, expected, strict=True):
            assert docs.search(query, version=OLD).ids == result.ids
            assert docs.search({OLD: query}, version=OLD).ids == result.ids


def test_one_query_is_the_same_in_every_form() -> None:
    docs = documents(old=L2)
    docs.upsert(IDS, vectors={OLD: WHOLE})
    expected = docs.search(WHOLE[1].astype(np.float32), version=OLD).ids
    for kind in (*INTEGERS, "f2", "f8", ">f8", np.longdouble, object):
        assert docs.search(WHOLE[1].astype(kind), version=OLD).ids == expected
    for query in (WHOLE[1].tolist(), Tensor(WHOLE[1]), Capsule(WHOLE[1]), iter(WHOLE[1].tolist())):
        assert docs.search(query, version=OLD).ids == expected  # type: ignore[arg-type]


def test_chunks_come_in_every_form() -> None:
    chunks = [WHOLE[:2], WHOLE[1:2], WHOLE]
    forms: list[Any] = [
        [part.astype(np.uint8) for part in chunks],
        [part.tolist() for part in chunks],
        objects(np.zeros(3)),
        (part for part in chunks),
        tuple(map(Tensor, chunks)),
    ]
    forms[2][:] = chunks
    for form in forms:
        docs = documents(old=L2)
        docs.upsert(IDS, vectors={OLD: form})
        for id_, part in zip(IDS, chunks, strict=True):
            assert docs.get_vectors(id_, OLD).tolist() == part.tolist()


def test_an_array_that_an_object_hands_out_is_not_kept() -> None:
    docs = documents()
    for wrap in (Tensor, Interface, Convertible, Capsule):
        mine = rows(1)
        docs.upsert(["a"], vectors={OLD: wrap(mine)})
        mine[:] = 9
        assert docs.get_vectors("a", OLD).tolist() == rows(1).tolist()


BAD: dict[str, tuple[Any, int]] = {
    "too large for float32": (np.where(np.eye(3, 4, 1) > 0, 1e39, 1.0), 0),
    "minus": (np.where(np.arange(12).reshape(3, 4) == 9, -1e300, 1.0), 2),
    "a huge integer": ([[1, 1, 1, 1], [1, 10**39, 1, 1], [1, 1, 1, 1]], 1),
    "an endless integer": ([[1, 1, 1, 1], [1, 1, 10**400, 1], [1, 1, 1, 1]], 1),
    "longdouble": (np.where(np.arange(12).reshape(3, 4) == 5, np.longdouble(1e60), 1), 1),
    "huge objects": (np.array([[1, 1, 1, 1]] * 2 + [[1, 1, 1, 10**50]], object), 2),
    "nan among objects": (np.array([[1, 1, 1, 1]] * 2 + [[1, 1, 1, float("nan")]], object), 2),
    "ragged": ([[1, 1, 1, 1], [1, 1, 1, 1], [1, 1, 1]], 2),
    "ragged arrays": ([np.ones(4), np.ones(3), np.ones(4)], 1),
    "ragged objects": (objects(np.zeros(3)), 1),
    "a missing row": ([[1, 1, 1, 1], None, [1, 1, 1, 1]], 1),
    "a missing number": ([[1, 1, 1, 1], [1, 1, 1, 1], [1, None, 1, 1]], 2),
    "a text": (np.array([[1, 1, 1, 1], [1, "1", 1, 1], [1, 1, 1, 1]], object), 1),
    "a bool": (np.array([[1, 1, 1, 1], [1, 1, 1, 1], [1, True, 1, 1]], object), 2),
    "complex": (np.array([[1, 1, 1, 1], [1, 1, 1, 1], [1j, 1, 1, 1]], object), 2),
    "mixed chunks": ([np.ones((1, 4)), np.ones((2, 4)), np.ones(4)], 2),
    "chunks of other dimensions": ([np.ones((1, 4)), np.ones((2, 4)), np.ones((1, 5))], 2),
}
BAD["ragged objects"][0][:] = [np.ones(4), np.ones(5), np.ones(4)]


@pytest.mark.parametrize("name", BAD)
def test_the_bad_row_is_named(name: str) -> None:
    vectors, row = BAD[name]
    docs = documents(old=L2)
    docs.upsert(IDS)
    before = contents(docs)
    for write in (
        lambda: docs.upsert(IDS, vectors={OLD: vectors}),
        lambda: docs.add_vectors(IDS, vectors, version=OLD),
    ):
        with pytest.raises(vstore.InvalidVectorError, match=rf"\[{row}") as caught:
            write()
        assert caught.value.row == row
    with pytest.raises(vstore.InvalidVectorError):
        docs.search_batch(vectors, version=OLD)
    assert contents(docs) == before


@pytest.mark.parametrize(
    "vectors",
    [OnTheCard(), [OnTheCard()] * 3, {1, 2}, object(), 5, np.ones((3, 4), bool), b"abc", "abc"],
    ids=["card", "cards", "set", "object", "number", "bools", "bytes", "text"],
)
def test_what_is_no_matrix_is_a_typed_error(vectors: Any) -> None:
    docs = documents(old=L2)
    docs.upsert(IDS)
    with pytest.raises(vstore.InvalidVectorError):
        docs.add_vectors(IDS, vectors, version=OLD)
    with pytest.raises(vstore.InvalidVectorError):
        docs.search(vectors, version=OLD) if not isinstance(vectors, str) else docs.search_batch(
            [vectors, 1],  # type: ignore[list-item]
            version=OLD,
        )


@pytest.mark.parametrize("nothing", [[], (), np.zeros(0), np.zeros((0, 4)), np.zeros((0, 4), "u1")])
def test_nothing_is_fine(nothing: Any) -> None:
    docs = documents()
    docs.upsert([], vectors={OLD: nothing})
    docs.add_vectors([], nothing, version=OLD)
    assert list(docs.search_batch(nothing, version=OLD)) == []
    assert list(docs.search_batch({OLD: nothing}, version=OLD)) == []
    with pytest.raises(vstore.InvalidVectorError):
        docs.search(nothing, version=OLD)
    with pytest.raises(vstore.InvalidArgumentError):
        docs.upsert(IDS, vectors={OLD: nothing})


class Whole(vstore.HashingEmbedder):
    """An embedder that returns JSON with whole numbers."""

    def __init__(self) -> None:
        super().__init__(16)

    @property
    def spec(self) -> vstore.EmbeddingSpec:
        return vstore.EmbeddingSpec("whole", 16, "inner_product")

    def embed_documents(self, texts: Any) -> Any:
        return [self.embed_query(text) for text in texts]

    def embed_query(self, text: str) -> Any:
        return np.rint(super().embed_query(text) * 100).astype(int).tolist()


def test_integers_of_an_embedder_are_taken_everywhere() -> None:
    docs = documents(old=Whole().spec, new=spec("copy", 16, "inner_product"))
    texts = [f"text number {i}" for i in range(40)]
    docs.upsert_texts(list(range(40)), texts, embedder=Whole())
    assert docs.get_vectors(7, OLD)[0].tolist() == Whole().embed_query(texts[7])
    docs.store.register_embedder(Whole())
    assert docs.search(texts[7]).ids[0] == 7
    docs.guards.set_canaries(OLD, texts[:5], vectors=Whole())
    assert docs.guards.verify_embedder(Whole()).ok
    listed: Any = [Whole().embed_query(text) for text in texts[:2]]
    docs.guards.set_canaries(OLD, texts[:2], vectors=listed)
    assert docs.guards.verify_embedder(Whole()).ok
    docs.migration.backfill(NEW, lambda found: [Whole().embed_query(d.text or "") for d in found])
    assert docs.get_vectors(9, NEW)[0].tolist() == docs.get_vectors(9, OLD)[0].tolist()
    docs.create_version("mapped", spec("mapped", 16, "inner_product"), provenance="mapped")
    docs.migrate(OLD, "mapped", from_vectors=lambda found: found.astype(np.int64).tolist()).run()
    assert docs.get_vectors(9, "mapped")[0].tolist() == docs.get_vectors(9, OLD)[0].tolist()
    stamped = vstore.Embeddings(Whole().spec, Whole().embed_query(texts[3]))
    assert docs.search(stamped).ids[0] == 3
    several = vstore.Embeddings(Whole().spec, Whole().embed_documents(texts[:3]))
    assert [result.ids[0] for result in docs.search_batch(several)] == [0, 1, 2]


def test_a_canary_sends_a_query_to_one_side_whatever_its_type() -> None:
    docs = documents(old=L2, new=spec("model-new", metric="l2"))
    docs.upsert(IDS, vectors={OLD: WHOLE, NEW: WHOLE})
    docs.routes.set(vstore.Canary(NEW, percent=50))
    sides = set()
    for number in range(12):
        query = np.array([number, 1, 2, 3])
        forms: list[Any] = [query.astype(kind) for kind in ("f4", "f8", "i8", "u1", ">f4", object)]
        forms.append(query.tolist())
        found = set()
        for form in forms:
            one: Any = [form]
            (result,) = docs.search_batch({OLD: one, NEW: one})
            found |= {hit.version for hit in result}
            given = {
                label: vstore.Embeddings(docs.versions[label].spec, one) for label in (OLD, NEW)
            }
            (stamped,) = docs.search_batch(given)
            found |= {hit.version for hit in stamped}
        assert len(found) == 1
        sides |= found
    assert sides == {OLD, NEW}


def test_batches_that_can_be_iterated_once_pass_a_canary_and_a_shadow() -> None:
    docs = documents(old=L2, new=spec("model-new", metric="l2"))
    docs.upsert(IDS, vectors={OLD: WHOLE, NEW: WHOLE})
    expected = [result.ids for result in docs.search_batch(WHOLE, version=OLD)]
    for route, percent in (("shadow", 100), ("canary", 0)):
        if route == "shadow":
            docs.routes.shadow(NEW, percent=percent)
        else:
            docs.routes.set(vstore.Canary(NEW, percent))
        forms: list[Any] = [iter(WHOLE), dict(enumerate(WHOLE)).values(), WHOLE.tolist()]
        for form in forms:
            given: Any = {OLD: form, NEW: iter(WHOLE)}
            assert [result.ids for result in docs.search_batch(given)] == expected
            stamped: Any = vstore.Embeddings(docs.versions[OLD].spec, iter(WHOLE))  # type: ignore[arg-type]
            assert [result.ids for result in docs.search_batch(stamped)] == expected


def test_queries_given_as_a_set_are_refused() -> None:
    docs = documents(old=L2)
    queries: Any
    for queries in ({"x", "y"}, frozenset("xy"), {(1.0, 2.0, 3.0, 4.0)}, {OLD: {(1, 2, 3, 4)}}):
        with pytest.raises(vstore.InvalidArgumentError):
            docs.search_batch(queries, version=OLD)


def test_an_array_of_texts_is_a_batch_of_texts() -> None:
    embedder = vstore.HashingEmbedder(16)
    docs = documents(old=embedder.spec)
    docs.store.register_embedder(embedder)
    docs.upsert_texts(IDS, ["red boats", "blue cars", "green trees"], embedder=embedder)
    texts: Any
    for texts in (np.array(["blue cars", "red boats"]), iter(["blue cars", "red boats"])):
        assert docs.search_batch(texts, k=1).ids.tolist() == [["b"], ["a"]]
