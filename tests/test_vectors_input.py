"""What may be given as vectors, what is refused, and that a refusal names row and value."""

from __future__ import annotations

import array
import contextlib
from collections import deque
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import vstore
from tests.small_store import NEW, OLD, axis, contents, documents, rows, seal, spec

if TYPE_CHECKING:
    from vstore.manifest.state import StorageType
    from vstore.types import Array

IDS: list[str | int] = ["a", "b", "c"]
MASKED = np.ma.masked_equal(np.arange(12.0).reshape(3, 4), 5)


def with_value(value: float, *, row: int = 1, column: int = 2) -> Array:
    array_ = rows(3)
    array_[row, column] = value
    return array_


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("dtype", ["float32", "float64", "float16"])
def test_a_value_that_is_no_number_is_named_by_row_and_column(value: float, dtype: str) -> None:
    docs = documents()
    before = contents(docs)
    with pytest.raises(vstore.InvalidVectorError, match=r"\[1, 2\]") as caught:
        docs.upsert(IDS, texts=["x", "y", "z"], vectors={OLD: with_value(value).astype(dtype)})
    assert caught.value.row == 1
    assert str(value) in str(caught.value)
    assert contents(docs) == before


def test_a_masked_array_is_refused_with_what_to_do() -> None:
    docs = documents()
    with pytest.raises(vstore.InvalidVectorError, match=r"mask would be lost.*filled"):
        docs.upsert(IDS, vectors={OLD: MASKED})
    with pytest.raises(vstore.InvalidVectorError, match=r"mask would be lost.*filled"):
        docs.search_batch(list(MASKED), version=OLD)
    with pytest.raises(vstore.InvalidArgumentError):
        docs.upsert(np.ma.masked_equal([1, 2], 2))


def test_the_first_bad_row_is_the_one_that_is_named() -> None:
    array_ = with_value(np.nan, row=2)
    array_[1] = np.inf
    with pytest.raises(vstore.InvalidVectorError) as caught:
        documents().upsert(IDS, vectors={OLD: array_})
    assert caught.value.row == 1


def test_a_zero_vector_has_no_direction_but_may_be_a_point() -> None:
    array_ = rows(3)
    array_[2] = 0
    with pytest.raises(vstore.InvalidVectorError, match=r"\[2\]") as caught:
        documents().upsert(IDS, vectors={OLD: array_})
    assert caught.value.row == 2
    for metric in ("l2", "inner_product"):
        docs = documents(old=spec(metric=metric))
        docs.upsert(IDS, vectors={OLD: array_})
        assert len(docs.search(np.zeros(4), version=OLD)) == 3


def test_normalized_means_normalized() -> None:
    docs = documents(old=spec(normalized=True))
    before = contents(docs)
    array_ = np.eye(4)[:3]
    array_[1] *= 1.02
    with pytest.raises(vstore.InvalidVectorError, match=r"\[1\].*1\.02") as caught:
        docs.upsert(IDS, vectors={OLD: array_})
    assert caught.value.row == 1
    with pytest.raises(vstore.InvalidVectorError, match="normalized"):
        docs.search(axis(0) * 2, version=OLD)
    assert contents(docs) == before
    docs.upsert(IDS, vectors={OLD: np.eye(4)[:3].astype(np.float16)})
    assert len(docs) == 3


@pytest.mark.parametrize(
    "vectors",
    [
        pytest.param(np.ones((3, 5)), id="dimension"),
        pytest.param(np.ones(4), id="one vector"),
        pytest.param(np.ones((3, 1, 4)), id="three axes"),
        pytest.param(np.ones((2, 4)), id="too few rows"),
        pytest.param(np.ones((3, 4), bool), id="bool"),
        pytest.param(np.ones((3, 4), complex), id="complex"),
        pytest.param(np.full((3, 4), True, object), id="bools as objects"),
        pytest.param(np.full((3, 4), "1", object), id="texts as objects"),
        pytest.param(np.full((3, 4), "2020", "M8[D]"), id="dates"),
        pytest.param(np.zeros(3, [("x", "f4"), ("y", "f4")]), id="records"),
        pytest.param(np.full((3, 4), "1"), id="text"),
        pytest.param([[1.0, 2, 3, 4], [1.0, 2], [1.0, 2, 3, 4]], id="ragged"),
        pytest.param([np.ones(4), np.ones((1, 4)), np.ones(4)], id="rows and chunks mixed"),
        pytest.param([np.ones((1, 4)), np.ones((1, 5)), np.ones((1, 4))], id="mixed dimensions"),
        pytest.param([np.ones((1, 4)), np.ones((0, 4)), np.ones((1, 4))], id="no chunk"),
        pytest.param([np.ones((1, 4)), np.ones((1, 4))], id="too few documents"),
        pytest.param([[[1.0, 2], [3.0]], [[1.0]], [[1.0]]], id="ragged chunks"),
        pytest.param([np.ones((1, 4)), None, np.ones((1, 4))], id="none for chunks"),
        pytest.param([[None] * 4] * 3, id="none for numbers"),
        pytest.param({"a": [1.0]}, id="a dict"),
        pytest.param(None, id="nothing"),
        pytest.param("abc", id="a string"),
        pytest.param([], id="an empty list"),
        pytest.param([[10**400, 1.0, 1, 1]] * 3, id="too large for a float"),
        pytest.param(MASKED, id="masked"),
        pytest.param(list(MASKED), id="masked rows"),
        pytest.param([array_[None] for array_ in MASKED], id="masked chunks"),
    ],
)
def test_what_is_no_matrix_of_the_dimension_is_refused(vectors: Any) -> None:
    docs = documents()
    before = contents(docs)
    with pytest.raises(vstore.InvalidArgumentError):
        docs.upsert(IDS, vectors={OLD: vectors})
    assert contents(docs) == before
    docs.upsert(IDS)
    before = contents(docs)
    with pytest.raises(vstore.InvalidArgumentError):
        docs.add_vectors(IDS, vectors, version=OLD)
    assert contents(docs) == before


@pytest.mark.parametrize(
    "query",
    [
        np.ones(5),
        np.ones((1, 4)),
        np.float32(1),
        [1.0, np.nan, 0, 0],
        np.zeros(4),
        [[1.0, 2], [3.0]],
        ["a", "b", "c", "d"],
        None,
        MASKED[0],
    ],
)
def test_what_is_no_query_is_refused(query: Any) -> None:
    docs = documents()
    docs.upsert(IDS, vectors={OLD: rows(3)})
    with pytest.raises(vstore.InvalidVectorError):
        docs.search(query, version=OLD)


@pytest.mark.parametrize("dtype", ["float64", "float32", "float16", "int8"])
@pytest.mark.parametrize("storage", ["float32", "float16"])
@pytest.mark.parametrize("form", ["matrix", "lists", "chunks", "fortran", "strided"])
def test_every_accepted_form_stores_the_same_values(
    dtype: str, storage: StorageType, form: str
) -> None:
    docs = documents(storage=storage)
    array_ = np.array([[1, 2, -3, 4], [0, 127, 0, -128], [5, 0, 0, 0]]).astype(dtype)
    given: Any = {
        "matrix": array_,
        "lists": array_.astype(float).tolist(),
        "chunks": [row[None] for row in array_],
        "fortran": np.asfortranarray(array_),
        "strided": np.repeat(array_, 2, axis=0)[::2],
    }[form]
    docs.upsert(IDS, vectors={OLD: given})
    for id_, row in zip(IDS, array_, strict=True):
        stored = docs.get_vectors(id_, OLD)[0]
        assert stored.dtype == storage
        np.testing.assert_array_equal(stored, row.astype(storage))


def test_float64_is_rounded_once() -> None:
    docs = documents(storage="float16")
    value = 1 + 2**-11 + 2**-30  # rounded to float32 first, it would be a tie and go to even
    docs.upsert(["a"], vectors={OLD: np.full((1, 4), value)})
    assert docs.get_vectors("a", OLD)[0][0] == np.float16(value)


def test_what_float16_cannot_hold_is_refused() -> None:
    docs = documents(storage="float16")
    with pytest.raises(vstore.InvalidVectorError, match=r"\[1, 2\].*70000.*float16"):
        docs.upsert(IDS, vectors={OLD: with_value(70_000.0)})
    with pytest.raises(vstore.InvalidVectorError, match=r"\[0\]"):
        docs.upsert(["a"], vectors={OLD: np.full((1, 4), 1e-9)})  # rounds to zero
    assert len(docs) == 0
    large = with_value(1.0).astype(float)
    large[1, 2] = 1e39
    with pytest.raises(vstore.InvalidVectorError, match=r"\[1, 2\].*float32"):
        documents().upsert(IDS, vectors={OLD: large})


@pytest.mark.parametrize("length", [1, 2, 300])
@pytest.mark.parametrize("wrap", ["array", "stamped", "memoryview", "chunks", "view"])
def test_what_the_caller_does_to_its_array_afterwards_changes_nothing(
    wrap: str, length: int
) -> None:
    docs = documents()
    mine = rows(length)
    ids: list[str | int] = list(range(length))
    given: Any = {
        "array": mine,
        "stamped": vstore.Embeddings(spec(), mine),
        "memoryview": mine.data,
        "chunks": [mine[i : i + 1] for i in range(length)],
        "view": mine[:],
    }[wrap]
    docs.upsert(ids, vectors={OLD: given})
    mine[:] = np.nan
    np.testing.assert_array_equal(docs.get_vectors(0, OLD), rows(length)[:1])
    mine[:] = rows(length, seed=1)
    docs.add_vectors(ids, given, version=OLD)
    mine[:] = np.nan
    np.testing.assert_array_equal(docs.get_vectors(0, OLD), rows(length, seed=1)[:1])
    assert docs.store.check().ok


def test_buffers_that_are_no_numpy_arrays_work() -> None:
    docs = documents()
    docs.upsert(["a"], vectors={OLD: [array.array("f", [1, 2, 3, 4])]})
    np.testing.assert_array_equal(docs.get_vectors("a", OLD)[0], [1, 2, 3, 4])


def test_what_a_caller_does_to_a_returned_array_changes_nothing() -> None:
    docs = documents()
    docs.upsert(IDS, vectors={OLD: rows(3)})
    shown = docs.get_vectors("a", OLD)
    shown[:] = 0
    for _, _, _, batch in docs.vectors(OLD):
        batch[:] = 0
    np.testing.assert_array_equal(docs.get_vectors("a", OLD), rows(3)[:1])


def test_no_document_and_no_query_are_fine() -> None:
    docs = documents()
    counts = docs.upsert([], vectors={OLD: np.zeros((0, 4))})
    assert (counts.inserted, counts.vectors_written) == (0, {OLD: 0})
    nothing: Any
    for nothing in (np.zeros((0, 4)), []):
        results = docs.search_batch(nothing, version=OLD)
        assert not results
        assert list(results) == results[:] == []
        assert results.ids.shape == results.scores.shape == (0, 0)
    assert docs.search(axis(0), version=OLD).ids == []


def test_revisions_go_with_their_documents() -> None:
    docs = documents()
    docs.upsert(IDS, texts=["x", "y", "z"])
    revision = docs.store.epoch
    with pytest.raises(vstore.InvalidArgumentError):
        docs.add_vectors(IDS, rows(3), revisions=[revision], version=OLD)
    counts = docs.add_vectors(
        IDS, rows(3), revisions=[revision, revision - 1, revision], version=OLD
    )
    assert counts == vstore.VectorCounts(written=2, stale=1)
    with pytest.raises(vstore.NotFoundError):
        docs.add_vectors(["nobody"], rows(1), version=OLD)
    unknown = docs.add_vectors(["nobody"], rows(1), revisions=[revision], version=OLD)
    assert unknown == vstore.VectorCounts(written=0, stale=1)


TOO_LARGE = {
    "an integer in a list": [1, 10**39, 2, 3],
    "an integer beyond float64": [1.5, 10**400, 2, 3],
    "a float in a list": [1.0, 1e39, 2.0, 3.0],
    "a float64 array": np.array([1, -1e39, 2, 3]),
    "an object array": np.array([1, 10**39, 2, 3], object),
    "an array of long doubles": np.array([1, np.longdouble("1e300"), 2, 3]),
}


@pytest.mark.parametrize("vector", TOO_LARGE.values(), ids=TOO_LARGE)
def test_a_value_beyond_float32_is_named_with_what_float32_holds(vector: Any) -> None:
    docs = documents()
    before = contents(docs)
    forms: list[Any] = [[axis(0), vector], [axis(0).tolist(), list(vector)]]
    for given in forms:
        with pytest.raises(
            vstore.InvalidVectorError, match=r"\[1, 1\].*float32.*3\.4e38"
        ) as caught:
            docs.upsert(["a", "b"], vectors={OLD: given})
        assert caught.value.row == 1
        assert "float16" not in str(caught.value), "no value was of float16"
    assert contents(docs) == before
    with pytest.raises(vstore.InvalidVectorError, match=r"3\.4e38"):
        docs.search(vector, version=OLD)
    with pytest.raises(vstore.InvalidVectorError, match=r"\[1, 1\].*3\.4e38"):
        docs.search_batch(forms[0], version=OLD)


def test_the_only_row_of_a_call_is_row_0() -> None:
    for vector in ([1.5, 10**400, 2, 3], [1.5, True, 2, 3]):
        with pytest.raises(vstore.InvalidVectorError, match=r"'\]\[0, 1\]") as caught:
            documents().upsert(["a"], vectors={OLD: [vector]})
        assert caught.value.row == 0


def test_a_value_beyond_float16_is_named_with_what_float16_holds() -> None:
    with pytest.raises(vstore.InvalidVectorError, match=r"\[1, 2\]: 70000\.0.*float16.*65504"):
        documents(storage="float16").upsert(IDS, vectors={OLD: with_value(7e4)})


@pytest.mark.parametrize("values", [[0.5, np.inf, 2, 3], [0.5, 60_000, np.inf, 3]])
def test_an_infinity_among_what_float16_holds_is_called_so(values: list[float]) -> None:
    with pytest.raises(vstore.InvalidVectorError, match="float16 ends at 65504"):
        documents().upsert(["a"], vectors={OLD: [values]})


def test_an_infinity_beside_larger_values_never_was_a_float16() -> None:
    with pytest.raises(vstore.InvalidVectorError, match="is no number") as caught:
        documents().upsert(["a"], vectors={OLD: [[1e30, np.inf, 2, 3]]})
    assert "float16" not in str(caught.value)


@pytest.mark.parametrize("metric", ["cosine", "l2", "inner_product"])
@pytest.mark.parametrize("scale", [1e-40, 1e19, 1e30, 1e37])
def test_lengths_near_what_float32_holds_give_no_warning(metric: Any, scale: float) -> None:
    """A warning is an error here, as pytest is configured."""
    docs = documents(old=spec(metric=metric), new=spec("new", metric=metric))
    few, many = rows(40), rows(200, seed=1)
    docs.upsert(range(200), vectors={OLD: many * scale, NEW: many})
    with contextlib.suppress(vstore.InvalidVectorError):  # odd lengths, which may be refused
        docs.upsert(range(200, 240), vectors={OLD: few})
    with contextlib.suppress(vstore.InvalidVectorError):
        docs.upsert(range(200, 240), vectors={NEW: few * scale})
    seal(docs.store)
    docs.upsert(range(300, 340), vectors={OLD: few * scale})
    for length in (1.0, scale, 1e37):
        found = docs.search_batch({OLD: rows(9) * length}, k=5)
        assert [len(one) for one in found] == [5] * 9
        assert len(docs.search({OLD: rows(1)[0] * length}, k=5, recall=1)) == 5


BOOLS = {
    "an integer before it": [1, True, 2, 3],
    "floats around it": [0.5, False, 2.5, 3.5],
    "NumPy's bool": [0.5, np.False_, 2.5, 3.5],
    "a tuple": (0.5, True, 2.5, 3.5),
    "a deque": deque([0.5, True, 2.5, 3.5]),
    "beside an integer of any size": [10**30, True, 2, 3],
    "an array of one bool": [0.5, np.array(True), 2, 3],
}


@pytest.mark.parametrize("vector", BOOLS.values(), ids=BOOLS)
def test_a_bool_among_numbers_is_refused(vector: Any) -> None:
    docs = documents()
    before = contents(docs)
    with pytest.raises(vstore.InvalidVectorError, match=r"\[1, 1\].*(True|False)") as caught:
        docs.upsert(["a", "b"], vectors={OLD: [axis(0).tolist(), vector]})
    assert caught.value.row == 1
    with pytest.raises(vstore.InvalidVectorError, match=r"\[0, 0, 1\].*(True|False)"):
        docs.upsert(["a"], vectors={OLD: [[vector]]})  # a document of one chunk
    with pytest.raises(vstore.InvalidVectorError):
        docs.upsert(["a", "b"], vectors={OLD: iter([axis(0).tolist(), vector])})
    assert contents(docs) == before
    for query in (vector, {OLD: vector}, vstore.Embeddings(spec(), vector)):
        with pytest.raises(vstore.InvalidVectorError, match=r"True|False"):
            docs.search(query, version=None if isinstance(query, dict) else OLD)
    with pytest.raises(vstore.InvalidVectorError, match=r"True|False"):
        docs.search_batch([vector, vector], version=OLD)


def test_a_row_of_bools_among_rows_of_numbers_is_refused() -> None:
    flags = np.array([True, False, True, False])
    forms: list[Any] = [
        [axis(0), flags],
        (axis(0), flags),
        iter([axis(0), flags]),
        [[axis(0)], [flags]],
        [axis(0)[None], flags[None]],
    ]
    apart = np.empty(2, object)
    apart[:] = [axis(0), flags]
    for form in [*forms, apart]:
        with pytest.raises(vstore.InvalidVectorError, match=r"\[1(, 0)?\].*bool"):
            documents().upsert(["a", "b"], vectors={OLD: form})


def test_zeros_and_ones_of_any_number_type_are_numbers() -> None:
    docs = documents()
    for vector in ([1, 0, 0, 1], [1.0, 0.0, 0.0, 1.0], [np.int8(1), 0, np.float32(0), 1]):
        docs.upsert(["a"], vectors={OLD: [vector]})
        assert next(iter(docs.vectors(OLD)))[3].tolist() == [[1, 0, 0, 1]]
