"""Filters compare numbers exactly, whatever type they come in."""

from __future__ import annotations

import datetime as dt
import json
import operator
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import vstore
from tests.small_store import contents, documents, seal

if TYPE_CHECKING:
    from collections.abc import Callable

FIELDS = {"price": "float", "year": "int", "at": "timestamp", "open": "bool", "name": "keyword"}
EDGE = 2**53
FLOATS = [
    float(sign * (base + step))
    for sign in (1, -1)
    for base, steps in ((EDGE, (-2, -1, 0, 2, 4)), (2**63, (-2048, -1024, 0, 2048)))
    for step in steps
]
FLOATS += [0.0, 0.5, -0.5, 1e308, -1e308]
INTEGERS = sorted(
    {sign * (base + step) for sign in (1, -1) for base in (EDGE, 2**63) for step in range(-3, 4)}
    | {0, 10**300, -(10**300)}
)
OPERATORS: dict[str, Callable[[Any, Any], Any]] = {
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


def made(sealed: bool, **columns: list[Any]) -> vstore.Collection:
    docs = documents(fields=FIELDS)
    count = len(next(iter(columns.values())))
    docs.upsert(list(range(count)), metadata=columns)
    if sealed:
        seal(docs.store)
    return docs


@pytest.mark.parametrize("sealed", [False, True])
@pytest.mark.parametrize("op", OPERATORS)
def test_floats_compare_exactly_with_integers_that_no_float_is(op: str, sealed: bool) -> None:
    docs = made(sealed, price=FLOATS)
    for value in INTEGERS:
        expected = [i for i, number in enumerate(FLOATS) if OPERATORS[op](number, value)]
        assert docs.ids(OPERATORS[op](vstore.field("price"), value)) == expected, value
        assert docs.ids({"field": "price", "op": op, "value": value}) == expected, value
        given: Any
        for kind in (np.int64, np.uint64):
            if np.iinfo(kind).min <= value <= np.iinfo(kind).max:
                given = kind(value)
                assert docs.ids(OPERATORS[op](vstore.field("price"), given)) == expected, given
                assert docs.ids({"field": "price", "op": op, "value": given}) == expected, given


@pytest.mark.parametrize("sealed", [False, True])
def test_membership_is_exact_too(sealed: bool) -> None:
    docs = made(sealed, price=FLOATS)
    for chosen in (INTEGERS, INTEGERS[::2], [EDGE + 1], []):
        expected = [i for i, number in enumerate(FLOATS) if number in chosen]
        assert docs.ids(vstore.field("price").is_in(chosen)) == expected
        assert docs.ids({"field": "price", "op": "in", "value": chosen}) == expected
        rest = [i for i in range(len(FLOATS)) if i not in expected]
        assert docs.ids(~vstore.field("price").is_in(chosen)) == rest


@pytest.mark.parametrize("op", OPERATORS)
def test_integers_compare_exactly_with_floats_that_are_integers(op: str) -> None:
    numbers = [EDGE - 1, EDGE, EDGE + 1, EDGE + 2, 2**62 - 1, 2**62, 2**62 + 1, -EDGE - 1, 0, 2020]
    docs = made(False, year=numbers)
    value: Any
    for value in (float(EDGE), float(EDGE + 2), 2.0**62, -float(EDGE), -0.0, np.float32(2020)):
        expected = [i for i, n in enumerate(numbers) if OPERATORS[op](n, int(value))]
        assert docs.ids(OPERATORS[op](vstore.field("year"), value)) == expected, value
        assert docs.ids({"field": "year", "op": op, "value": value}) == expected, value


def test_an_integer_field_takes_whole_floats_and_no_others() -> None:
    docs = made(False, year=[2020.0, np.float64(2021), np.float32(2022), np.int16(2023), -0.0])
    assert [d.metadata["year"] for d in docs.documents()] == [2020, 2021, 2022, 2023, 0]
    assert {type(d.metadata["year"]) for d in docs.documents()} == {int}
    frame: Any = {"year": np.array([2024.0, 2025.0])}
    docs.upsert([10, 11], metadata=frame)
    assert docs.ids(vstore.field("year") == 2025.0) == [11]
    wrong: Any
    for wrong in (2020.5, np.float32(0.1), float("nan"), float("inf"), 1e300, True, np.True_, "1"):
        with pytest.raises(vstore.InvalidArgumentError, match="year"):
            docs.upsert([20], metadata=[{"year": wrong}])
        with pytest.raises(vstore.InvalidArgumentError, match="year"):
            docs.update_metadata([10], [{"year": wrong}])
        with pytest.raises(vstore.FilterError, match="year"):
            docs.ids(vstore.field("year") == wrong)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf"), np.float32("nan")])
@pytest.mark.parametrize("name", ["price", "year"])
def test_what_is_no_finite_number_is_refused(name: str, value: Any) -> None:
    docs = made(False, price=[1.0], year=[1])
    with pytest.raises(vstore.InvalidArgumentError, match=name):
        docs.upsert([1], metadata=[{name: value}])
    for op in ("==", "<", ">="):
        with pytest.raises(vstore.FilterError, match=name):
            docs.ids({"field": name, "op": op, "value": value})
    with pytest.raises(vstore.FilterError, match=name):
        docs.ids(vstore.field(name).is_in([value]))


def test_scalars_of_numpy_are_values_and_operands() -> None:
    docs = made(
        False,
        price=[np.float32(0.5), np.float16(2)],
        year=[np.uint8(7), np.int64(8)],
        open=[np.True_, np.False_],
        name=[np.str_("a"), np.str_("b")],
        at=[np.datetime64("2020-01-01T00:00:00.000001"), np.datetime64("2021-01-01", "D")],
    )
    first = docs.get(0)
    assert first is not None
    at = dt.datetime(2020, 1, 1, microsecond=1, tzinfo=dt.UTC)
    assert first.metadata == {"price": 0.5, "year": 7, "open": True, "name": "a", "at": at}
    assert {type(value) for value in first.metadata.values()} == {
        float,
        int,
        bool,
        str,
        dt.datetime,
    }
    conditions: list[tuple[str, Any]] = [
        ("price", np.float32(0.5)),
        ("year", np.int8(7)),
        ("open", np.True_),
        ("name", np.str_("a")),
        ("at", np.datetime64("2020-01-01T00:00:00.000001")),
    ]
    for name, value in conditions:
        assert docs.ids(vstore.field(name) == value) == [0]
        assert docs.ids({"field": name, "op": "==", "value": value}) == [0]
        assert docs.ids({"field": name, "op": "in", "value": np.array([value])}) == [0]
        built: vstore.Filter = vstore.field(name) == value
        assert docs.ids(vstore.filter_to_dict(built)) == [0]
    assert docs.ids(vstore.field("year").is_in(np.array([8, 9]))) == [1]
    seven: Any = np.int64(7)
    half: Any = np.float64(0.5)
    assert docs.ids(seven < vstore.field("year")) == [1]
    assert docs.ids(half == vstore.field("price")) == [0]
    with pytest.raises(vstore.FilterError, match="is_in takes a list"):
        vstore.field("year").is_in(np.array(8))


def test_a_column_of_times_keeps_its_unit() -> None:
    docs = documents(fields=FIELDS)
    times = np.array(["1970-01-01T00:00:01", "2020-02-03T04:05:06.789"], "M8[ns]")
    docs.upsert([0, 1], metadata={"at": times})
    assert [d.metadata["at"] for d in docs.documents()] == [
        dt.datetime(1970, 1, 1, 0, 0, 1, tzinfo=dt.UTC),
        dt.datetime(2020, 2, 3, 4, 5, 6, 789_000, tzinfo=dt.UTC),
    ]
    with pytest.raises(vstore.InvalidArgumentError, match="store None for a missing time"):
        docs.upsert([2], metadata={"at": np.array(["NaT"], "M8[us]")})


def test_a_scope_by_a_number_that_no_float_is_is_exact() -> None:
    docs = made(True, price=[float(EDGE), float(EDGE + 2)])
    below = docs.scoped(vstore.field("price") < EDGE + 1)
    assert below.ids() == [0]
    with pytest.raises(vstore.ScopeError):
        below.upsert([5], metadata=[{"price": float(EDGE + 2)}])
    below.upsert([6], metadata=[{"price": float(EDGE)}])
    assert below.ids() == [0, 6]


@pytest.mark.parametrize(
    "value",
    [
        EDGE + 1,
        -EDGE - 1,
        2**63 - 1,
        10**300 + 1,
        np.int64(EDGE + 1),
        np.uint64(2**64 - 1),
        np.longdouble(EDGE) + 1,
    ],
    ids=lambda value: f"{type(value).__name__} {value!s:.20}",
)
def test_a_float_field_takes_no_number_that_it_would_have_to_round(value: Any) -> None:
    docs = made(False, price=[1.0])
    before = contents(docs)
    for write in (
        lambda: docs.upsert([1], metadata=[{"price": value}]),
        lambda: docs.upsert([0, 1], metadata={"price": np.array([value, value])}),
        lambda: docs.update_metadata([0], [{"price": value}]),
    ):
        with pytest.raises(vstore.InvalidArgumentError, match=r"price.*nearest is") as caught:
            write()
        assert "declare the field an int" in str(caught.value)
    assert contents(docs) == before
    # A filter compares with the number itself.
    assert docs.ids(vstore.field("price") < value) == ([0] if value > 0 else [])
    assert docs.ids((vstore.field("price") >= 1) & (vstore.field("price") <= value)) == (
        [0] if value > 0 else []
    )


def test_a_float_field_takes_each_integer_that_is_a_float() -> None:
    given: list[Any] = [
        EDGE,
        -EDGE,
        EDGE + 2,
        2**63,
        2**1000,
        np.int64(EDGE - 1),
        np.uint64(2**63 + 2048),
        0,
    ]
    docs = made(False, price=given)
    assert [d.metadata["price"] for d in docs.documents()] == [float(int(n)) for n in given]
    for i, value in enumerate(given):
        assert docs.ids(vstore.field("price") == value) == [i]


def test_a_row_of_json_is_stored_as_it_is_or_refused() -> None:
    """Prices of a JSON export are integers as often as not."""
    docs = made(False, price=[1.0])
    lines = json.loads('[{"price": 12}, {"price": 9007199254740993}]')
    docs.upsert([1], metadata=lines[:1])
    with pytest.raises(vstore.InvalidArgumentError, match=r"metadata\[1\].*9007199254740992\.0"):
        docs.upsert([1, 2], metadata=lines)
    assert docs.ids(vstore.field("price") == 12) == [1]
