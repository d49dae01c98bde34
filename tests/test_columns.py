"""Metadata columns: canonical values, bytes, cutting and joining, damaged arrays."""

from __future__ import annotations

import datetime as dt
import enum
import itertools
import math
from typing import TYPE_CHECKING, Any

import msgpack
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vstore import limits
from vstore.errors import InvalidArgumentError
from vstore.segment import column_arrays, column_dictionary
from vstore.segment.column_types import TIMESTAMP_MAX_US, TIMESTAMP_MIN_US
from vstore.segment.columns import (
    ARRAY_DTYPES,
    Column,
    FieldType,
    build_column,
    column_from_arrays,
    concat_columns,
    missing_column,
    normalize_value,
)
from vstore.shown import short_repr

if TYPE_CHECKING:
    from collections.abc import Sequence

    from vstore.types import Array

PARIS = dt.timezone(dt.timedelta(hours=2))
EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
SURROGATE = "\ud800"

# A small alphabet makes repeats, shared prefixes, NUL bytes and every UTF-8 length likely.
KEYWORDS = st.text(alphabet="ab\0zé€\U0001f600", max_size=20) | st.text(max_size=40)
JSON_SCALARS = (
    st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=5)
)
JSON_VALUES = st.recursive(
    JSON_SCALARS,
    lambda inner: (
        st.lists(st.none() | inner, max_size=3)
        | st.dictionaries(st.text(max_size=3), st.none() | inner, max_size=3)
    ),
    max_leaves=6,
)
USER_VALUES: dict[FieldType, st.SearchStrategy[Any]] = {
    FieldType.KEYWORD: KEYWORDS,
    FieldType.KEYWORDS: st.lists(KEYWORDS, max_size=4),
    FieldType.INT: st.integers(-(2**63), 2**63 - 1) | st.integers(-3, 3),
    FieldType.FLOAT: st.floats(allow_nan=False, allow_infinity=False) | st.just(-0.0),
    FieldType.BOOL: st.booleans(),
    FieldType.TIMESTAMP: st.datetimes(
        dt.datetime(1, 1, 3), dt.datetime(9999, 12, 29), timezones=st.sampled_from([dt.UTC, PARIS])
    ),
    FieldType.JSON: JSON_VALUES,
}


def rows_of(field_type: FieldType) -> st.SearchStrategy[list[Any]]:
    return st.lists(st.none() | USER_VALUES[field_type], max_size=12)


def typed_rows() -> st.SearchStrategy[tuple[FieldType, list[Any]]]:
    return st.sampled_from(FieldType).flatmap(
        lambda field_type: st.tuples(st.just(field_type), rows_of(field_type))
    )


def column_of(field_type: FieldType, values: Sequence[object]) -> Column:
    return build_column(
        field_type, [normalize_value("field", field_type, value) for value in values]
    )


def bytes_of(column: Column) -> dict[str, tuple[str, bytes]]:
    return {name: (array.dtype.str, array.tobytes()) for name, array in column.arrays().items()}


def values_of(column: Column) -> list[object]:
    return [column.value(row) for row in range(column.count)]


def read_only(arrays: dict[str, Array]) -> dict[str, Array]:
    copies = {name: array.copy() for name, array in arrays.items()}
    for array in copies.values():
        array.setflags(write=False)
    return copies


# Values


@given(typed_rows())
def test_a_column_gives_back_what_was_stored(typed: tuple[FieldType, list[Any]]) -> None:
    field_type, values = typed
    column = column_of(field_type, values)
    assert column.count == len(values)
    assert values_of(column) == values
    assert [type(value) for value in values_of(column)] == [type(value) for value in values]
    assert column.exists().tolist() == [value is not None for value in values]


@given(typed_rows())
def test_rebuilding_from_normalized_values_gives_the_same_bytes(
    typed: tuple[FieldType, list[Any]],
) -> None:
    field_type, values = typed
    column = column_of(field_type, values)
    again = build_column(field_type, [column.normalized(row) for row in range(column.count)])
    assert bytes_of(again) == bytes_of(column)


@given(typed_rows())
def test_arrays_have_the_dtypes_of_the_format_and_open_read_only_without_a_copy(
    typed: tuple[FieldType, list[Any]],
) -> None:
    field_type, values = typed
    column = column_of(field_type, values)
    arrays = read_only(column.arrays())
    expected = {name: np.dtype(dtype) for name, dtype in ARRAY_DTYPES[field_type].items()}
    assert {name: array.dtype for name, array in arrays.items()} == expected
    opened = column_from_arrays(field_type, arrays, count=len(values))
    assert values_of(opened) == values
    assert all(opened.arrays()[name] is array for name, array in arrays.items())
    assert opened.exists().flags.writeable


@given(typed_rows(), st.data())
def test_taking_rows_gives_the_bytes_of_building_from_them(
    typed: tuple[FieldType, list[Any]], data: st.DataObject
) -> None:
    field_type, values = typed
    rows = st.lists(st.integers(0, len(values) - 1), max_size=15) if values else st.just([])
    indices: list[int] = data.draw(rows)
    taken = column_of(field_type, values).take(np.array(indices, np.uint32))
    assert bytes_of(taken) == bytes_of(column_of(field_type, [values[i] for i in indices]))


@given(typed_rows(), st.data())
def test_concatenating_gives_the_bytes_of_building_all_rows(
    typed: tuple[FieldType, list[Any]], data: st.DataObject
) -> None:
    field_type, values = typed
    cuts = sorted(data.draw(st.lists(st.integers(0, len(values)), max_size=3)))
    bounds = [0, *cuts, len(values)]
    parts = [column_of(field_type, values[low:high]) for low, high in itertools.pairwise(bounds)]
    assert bytes_of(concat_columns(field_type, parts)) == bytes_of(column_of(field_type, values))


@pytest.mark.parametrize("field_type", FieldType)
@pytest.mark.parametrize("count", [0, 1, 1_000])
def test_a_missing_column_has_the_bytes_of_nothing_but_none(
    field_type: FieldType, count: int
) -> None:
    column = missing_column(field_type, count)
    assert bytes_of(column) == bytes_of(build_column(field_type, [None] * count))
    assert not column.exists().any()
    opened = column_from_arrays(field_type, column.arrays(), count=count)
    assert values_of(opened) == [None] * count


@pytest.mark.parametrize("field_type", FieldType)
def test_concatenating_no_columns_gives_no_rows(field_type: FieldType) -> None:
    assert concat_columns(field_type, []).count == 0


def test_slices_are_gathered_in_pieces_of_bounded_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(column_arrays, "_GATHER_ITEMS", 3)
    values: list[object] = [["a"] * n for n in (0, 1, 5, 0, 2, 3, 0, 9)]
    order = np.array([7, 0, 2, 2, 5, 1, 6, 4, 3])
    taken = column_of(FieldType.KEYWORDS, values).take(order)
    assert values_of(taken) == [values[i] for i in order]


def test_an_empty_list_is_present_and_an_absent_one_is_not() -> None:
    column = column_of(FieldType.KEYWORDS, [[], None])
    assert values_of(column) == [[], None]
    assert column.exists().tolist() == [True, False]


def test_keyword_codes_follow_code_point_order() -> None:
    column = column_of(FieldType.KEYWORD, ["\U0001f600", "\uffee", "é", "z", "a", "", "a\0", "a"])
    assert column.arrays()["codes"].tolist() == [6, 5, 4, 3, 1, 0, 2, 1]


def test_equal_floats_have_equal_bytes() -> None:
    assert bytes_of(column_of(FieldType.FLOAT, [-0.0])) == bytes_of(
        column_of(FieldType.FLOAT, [0.0])
    )


def test_a_plain_string_names_a_type_as_well() -> None:
    as_text: Any = "float"
    column = build_column(as_text, [1.0])
    assert column.field_type is FieldType.FLOAT
    assert concat_columns(as_text, [column]).field_type is FieldType.FLOAT
    with pytest.raises(ValueError, match="not finite"):
        column_from_arrays(
            as_text, {"values": np.array([math.inf]), "present": np.ones(1, "u1")}, count=1
        )


def test_predicates_a_type_does_not_have_are_our_own_bugs() -> None:
    for field_type in (FieldType.KEYWORDS, FieldType.JSON):
        with pytest.raises(TypeError, match="do not support =="):
            missing_column(field_type, 1).compare("==", "x")
        with pytest.raises(TypeError, match="do not support is_in"):
            missing_column(field_type, 1).is_in(["x"])
    with pytest.raises(TypeError, match="do not support contains"):
        missing_column(FieldType.INT, 1).contains("x")
    with pytest.raises(TypeError, match="no order"):
        missing_column(FieldType.BOOL, 1).compare("<", True)


# Normalisation


class Color(str, enum.Enum):  # noqa: UP042  (a StrEnum would not have the trap)
    """A mixin whose str() is its name, not its text."""

    RED = "red"


@pytest.mark.parametrize(
    ("field_type", "value", "expected"),
    [
        (FieldType.KEYWORD, Color.RED, "red"),
        (FieldType.KEYWORDS, ["b", "a", "b"], ("b", "a", "b")),
        (FieldType.KEYWORDS, ("a",), ("a",)),
        (FieldType.INT, np.int32(7), 7),
        (FieldType.INT, -(2**63), -(2**63)),
        (FieldType.INT, 2020.0, 2020),
        (FieldType.INT, -0.0, 0),
        (FieldType.INT, np.float32(2020), 2020),
        (FieldType.INT, float(2**62), 2**62),
        (FieldType.FLOAT, 3, 3.0),
        (FieldType.FLOAT, np.float32(0.5), 0.5),
        (FieldType.BOOL, np.True_, True),
        (FieldType.TIMESTAMP, 5, 5),
        (FieldType.TIMESTAMP, np.int64(5), 5),
        (FieldType.TIMESTAMP, np.datetime64("1970-01-02"), 86_400_000_000),
        (FieldType.TIMESTAMP, np.datetime64(-1, "ns"), -1),
        (FieldType.TIMESTAMP, np.datetime64(1_999, "ns"), 1),
        (FieldType.KEYWORDS, np.array(["b", "a"]), ("b", "a")),
        (FieldType.TIMESTAMP, dt.datetime(1970, 1, 1, 2, 0, 0, 3, tzinfo=PARIS), 3),
        (FieldType.TIMESTAMP, dt.datetime.max.replace(tzinfo=dt.UTC), TIMESTAMP_MAX_US),
        (FieldType.TIMESTAMP, dt.datetime.min.replace(tzinfo=dt.UTC), TIMESTAMP_MIN_US),
        (FieldType.JSON, {"a": [1, None, {"b": 2**64 - 1}]}, {"a": [1, None, {"b": 2**64 - 1}]}),
    ],
)
def test_values_become_canonical(field_type: FieldType, value: object, expected: object) -> None:
    found = normalize_value("field", field_type, value)
    assert found == expected
    assert type(found) is type(expected)
    assert normalize_value("field", field_type, found) == expected


@pytest.mark.parametrize("field_type", FieldType)
def test_none_is_missing_in_every_type(field_type: FieldType) -> None:
    assert normalize_value("field", field_type, None) is None


def nested(depth: int) -> object:
    value: object = []
    for _ in range(depth - 1):
        value = [value]
    return value


def cyclic() -> object:
    value: list[object] = []
    value.append(value)
    return value


def exploding() -> object:
    value: object = []
    for _ in range(40):
        value = [value, value]
    return value


REJECTED: list[tuple[FieldType, object, str]] = [
    (FieldType.KEYWORD, 1, r"field 'year' expects keyword \(a str\), found int 1$"),
    (FieldType.KEYWORD, b"x", "found bytes b'x'$"),
    (FieldType.KEYWORD, SURROGATE, "lone surrogate"),
    (FieldType.KEYWORDS, "abc", "found str 'abc': wrap a single keyword in a list"),
    (FieldType.KEYWORDS, {"a"}, r"expects keywords \(a list of str\), found set \{'a'\}$"),
    (FieldType.KEYWORDS, ["a", 1], "every item must be a str"),
    (FieldType.KEYWORDS, ["a", None], "every item must be a str"),
    (FieldType.KEYWORDS, [SURROGATE], "lone surrogate"),
    (FieldType.INT, True, r"expects int \(64 bits\), found bool True: a bool is not an int"),
    (FieldType.INT, np.False_, "a bool is not an int"),
    (FieldType.INT, 1.5, r"found float 1\.5: it is no whole number"),
    (FieldType.INT, np.float32(-0.25), "it is no whole number"),
    (FieldType.INT, math.nan, "it is no whole number"),
    (FieldType.INT, math.inf, "it is no whole number"),
    (FieldType.INT, 2.0**63, "does not fit in 64 bits"),
    (FieldType.INT, 1j, r"found complex 1j$"),
    (FieldType.INT, "1", "found str '1'$"),
    (FieldType.INT, 2**63, "does not fit in 64 bits"),
    (FieldType.INT, -(2**63) - 1, "does not fit in 64 bits"),
    (FieldType.INT, 10**5000, "<16610-bit int>: does not fit in 64 bits"),
    (FieldType.FLOAT, True, "a bool is not a number"),
    (FieldType.FLOAT, "1", r"expects float \(finite\), found str '1'$"),
    (FieldType.FLOAT, math.nan, "found float nan: store None for a missing number"),
    (FieldType.FLOAT, np.float32(-math.inf), "store None"),
    (FieldType.FLOAT, 10**400, "does not fit in 64 bits"),
    (FieldType.BOOL, 1, "expects bool, found int 1$"),
    (FieldType.TIMESTAMP, dt.datetime(2020, 1, 1), "no timezone; pass tzinfo=datetime.UTC"),
    (FieldType.TIMESTAMP, dt.date(2020, 1, 1), "expects timestamp"),
    (FieldType.TIMESTAMP, True, "found bool True$"),
    (FieldType.TIMESTAMP, np.datetime64("NaT"), "store None for a missing time"),
    (FieldType.TIMESTAMP, np.datetime64("20000-01-01"), "outside the years"),
    (FieldType.TIMESTAMP, np.datetime64(2**62, "Y"), "outside the years"),
    (FieldType.TIMESTAMP, 1.5, r"found float 1\.5$"),
    (FieldType.TIMESTAMP, TIMESTAMP_MAX_US + 1, "outside the years 1 to 9999"),
    (FieldType.TIMESTAMP, dt.datetime.min.replace(tzinfo=PARIS), "outside the years"),
    (FieldType.JSON, {1: 2}, "object keys are str, not int 1"),
    (FieldType.JSON, {SURROGATE: 2}, "is not valid Unicode"),
    (FieldType.JSON, ["é", SURROGATE], "is not valid Unicode"),
    (FieldType.JSON, [math.inf], "inf is not a JSON number"),
    (FieldType.JSON, 2**64, "does not fit in 64 bits"),
    (FieldType.JSON, {"a": (1, 2)}, r"tuple \(1, 2\) is not a JSON value"),
    (FieldType.JSON, [np.int64(5)], r"np.int64\(5\) is not a JSON value; its .item\(\) may be one"),
    (FieldType.JSON, EPOCH, "datetime .* is not a JSON value"),
    (FieldType.JSON, nested(limits.NESTING_MAX + 1), "nested deeper than 64"),
    (FieldType.JSON, cyclic(), "nested deeper than 64"),
    (FieldType.JSON, exploding(), "more than 1,048,576 items"),
]


@pytest.mark.parametrize(("field_type", "value", "message"), REJECTED, ids=range(len(REJECTED)))
def test_a_value_of_another_type_is_refused_with_field_type_and_value(
    field_type: FieldType, value: object, message: str
) -> None:
    with pytest.raises(InvalidArgumentError, match=message) as caught:
        normalize_value("year", field_type, value)
    assert "field 'year' expects" in str(caught.value)
    assert len(str(caught.value)) < 300


def test_json_may_nest_to_the_limit() -> None:
    value = nested(limits.NESTING_MAX)
    assert values_of(column_of(FieldType.JSON, [value])) == [value]


def test_long_values_are_shortened_in_messages() -> None:
    assert len(short_repr("x" * 1_000_000)) <= 60
    assert len(short_repr([10**5000] * 1_000)) <= 100


# Damaged arrays

SOUND: dict[FieldType, list[object]] = {
    FieldType.KEYWORD: ["b", None, "é"],
    FieldType.KEYWORDS: [["b", "é"], None, []],
    FieldType.INT: [5, None, -1],
    FieldType.FLOAT: [0.5, None, -1.0],
    FieldType.BOOL: [True, None, False],
    FieldType.TIMESTAMP: [5, None, -1],
    FieldType.JSON: [{"a": 1}, None, "x"],
}
DAMAGES: list[tuple[FieldType, dict[str, list[int] | list[float]], str]] = [
    (FieldType.KEYWORD, {"codes": [0, 1]}, "'codes' should have 3 items, found 2"),
    (FieldType.KEYWORD, {"codes": [0, 2, 1]}, "a code is not in the dictionary at row 1"),
    (FieldType.KEYWORD, {"codes": [0, 0, 0]}, "no row uses entry 1"),
    (FieldType.KEYWORD, {"dictionary_offsets": []}, "should have 1 items, found 0"),
    (FieldType.KEYWORD, {"dictionary_offsets": [1, 2, 3]}, "should start at 0, found 1"),
    (FieldType.KEYWORD, {"dictionary_offsets": [0, 4, 3]}, "decreases at row 1"),
    (FieldType.KEYWORD, {"dictionary_offsets": [0, -(2**63), 3]}, "decreases at row 0"),
    (FieldType.KEYWORD, {"dictionary_offsets": [0, 1, 2]}, "should end at 3, found 2"),
    (FieldType.KEYWORD, {"dictionary_offsets": [0, 2, 3]}, "starts inside a character"),
    (FieldType.KEYWORD, {"dictionary_bytes": [0x62, 0xC3, 0x28]}, "not valid UTF-8"),
    (FieldType.KEYWORD, {"dictionary_bytes": [0x62, 0x61, 0xC3]}, "not valid UTF-8"),
    (FieldType.KEYWORD, {"dictionary_bytes": [0x62, 0x61, 0x61]}, "strictly increasing"),
    (FieldType.KEYWORD, {"dictionary_offsets": [0, 3, 3]}, "strictly increasing"),
    (FieldType.KEYWORDS, {"offsets": [0, 2, 2]}, "'offsets' should have 4 items, found 3"),
    (FieldType.KEYWORDS, {"offsets": [0, 3, 3, 3]}, "should end at 2, found 3"),
    (FieldType.KEYWORDS, {"offsets": [0, 1, 2, 2]}, "a missing list has items at row 1"),
    (FieldType.KEYWORDS, {"present": [1, 2, 1]}, "neither 0 nor 1 at row 1"),
    (FieldType.KEYWORDS, {"present": [1, 0]}, "'present' should have 3 items, found 2"),
    (FieldType.KEYWORDS, {"codes": [0, 0xFFFF_FFFF]}, "not in the dictionary at row 1"),
    (FieldType.KEYWORDS, {"codes": [1, 1]}, "no row uses entry 0"),
    (FieldType.INT, {"values": [5, 0]}, "'values' should have 3 items, found 2"),
    (FieldType.INT, {"values": [5, 7, -1]}, "a missing number is not 0 at row 1"),
    (FieldType.INT, {"present": [1, 0, 3]}, "neither 0 nor 1 at row 2"),
    (FieldType.INT, {"present": [1, 0, 1, 1]}, "'present' should have 3 items, found 4"),
    (FieldType.FLOAT, {"values": [0.5, 0.0, math.nan]}, "a number is not finite at row 2"),
    (FieldType.FLOAT, {"values": [0.5, -0.0, -1.0]}, "a missing number is not 0 at row 1"),
    (FieldType.BOOL, {"values": [0, 1, 3]}, "a bool is not 0, 1 or 2 at row 2"),
    (FieldType.BOOL, {"values": [0, 1]}, "'values' should have 3 items, found 2"),
    (FieldType.TIMESTAMP, {"values": [5, 0, TIMESTAMP_MIN_US - 1]}, "outside the years 1 to 9999"),
    (FieldType.JSON, {"offsets": [0, 4, 4, 7]}, "should end at 6, found 7"),
    (FieldType.JSON, {"offsets": [0, 4, 3, 6]}, "decreases at row 1"),
    (FieldType.JSON, {"offsets": [0, 6]}, "should have 4 items, found 2"),
]


@pytest.mark.parametrize(("field_type", "damage", "message"), DAMAGES, ids=range(len(DAMAGES)))
def test_damaged_arrays_are_refused(
    field_type: FieldType, damage: dict[str, list[int]], message: str
) -> None:
    arrays = column_of(field_type, SOUND[field_type]).arrays()
    for name, items in damage.items():
        arrays[name] = np.array(items, ARRAY_DTYPES[field_type][name])
    with pytest.raises(ValueError, match=message):
        column_from_arrays(field_type, arrays, count=3)


@pytest.mark.parametrize("field_type", FieldType)
def test_each_array_must_be_there_flat_and_of_its_dtype(field_type: FieldType) -> None:
    sound = column_of(field_type, SOUND[field_type]).arrays()
    for name, array in sound.items():
        without = {other: sound[other] for other in sound if other != name}
        with pytest.raises(ValueError, match="expected the arrays"):
            column_from_arrays(field_type, without, count=3)
        with pytest.raises(ValueError, match=f"array '{name}' should be flat"):
            column_from_arrays(field_type, {**sound, name: array.reshape(1, -1)}, count=3)
        with pytest.raises(ValueError, match=f"array '{name}' should be flat"):
            column_from_arrays(field_type, {**sound, name: array.astype(">i2")}, count=3)
    with pytest.raises(ValueError, match="expected the arrays"):
        column_from_arrays(field_type, {**sound, "more": np.zeros(3)}, count=3)
    with pytest.raises(ValueError, match="should have"):
        column_from_arrays(field_type, sound, count=4)


@given(st.sampled_from(FieldType), st.data())
def test_any_damage_to_one_item_is_refused_or_reads_without_crashing(
    field_type: FieldType, data: st.DataObject
) -> None:
    arrays = read_only(column_of(field_type, SOUND[field_type]).arrays())
    name = data.draw(st.sampled_from(sorted(arrays)))
    raw = bytearray(arrays[name].tobytes())
    raw[data.draw(st.integers(0, len(raw) - 1))] ^= data.draw(st.integers(1, 255))
    arrays[name] = np.frombuffer(bytes(raw), arrays[name].dtype)
    try:
        column = column_from_arrays(field_type, arrays, count=3)
        values = values_of(column)
    except ValueError:
        return
    assert bytes_of(column_of(field_type, values)).keys() == arrays.keys()


@given(st.lists(KEYWORDS, max_size=6), st.sampled_from([0, 1, 16]))
def test_dictionary_order_is_checked_as_python_compares_bytes(
    strings: list[str], rounds: int
) -> None:
    entries = [string.encode() for string in strings]
    dictionary = column_dictionary.StringDictionary.from_entries(entries)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(column_dictionary, "_WORD_ROUNDS", rounds)
        if all(left < right for left, right in itertools.pairwise(entries)):
            opened = column_dictionary.StringDictionary.from_arrays(dictionary.arrays())
            assert opened.entries() == entries
        else:
            with pytest.raises(ValueError, match="strictly increasing"):
                column_dictionary.StringDictionary.from_arrays(dictionary.arrays())


def test_utf8_is_checked_across_the_pieces_it_is_read_in(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "STREAM_BYTES", 1)
    arrays = column_of(FieldType.KEYWORD, ["€", "\U0001f600"]).arrays()
    assert values_of(column_from_arrays(FieldType.KEYWORD, arrays, count=2)) == ["€", "\U0001f600"]


@pytest.mark.parametrize(
    "packed",
    [
        b"\xc1",  # a byte msgpack never uses
        b"\x92\x01",  # a list of two with one item
        b"\x01\x02",  # two values
        b"\xc0",  # null, which is stored as no bytes
        b"\xa1\xff",  # a string that is not UTF-8
        b"\x81\x01\x02",  # a key that is not a string
        msgpack.packb(b"x"),
        msgpack.packb(math.nan),
        msgpack.packb({b"x": 1}),
        msgpack.packb(msgpack.Timestamp(1)),
        msgpack.packb(msgpack.ExtType(5, b"")),
        msgpack.packb(nested(limits.NESTING_MAX + 1)),
    ],
)
def test_malformed_json_is_found_when_its_row_is_read(packed: bytes) -> None:
    arrays: dict[str, Array] = {
        "offsets": np.array([0, 1, 1 + len(packed)], "<i8"),
        "bytes": np.frombuffer(b"\x07" + packed, np.uint8),
    }
    column = column_from_arrays(FieldType.JSON, arrays, count=2)
    assert column.value(0) == 7
    with pytest.raises(ValueError, match="json value at row 1 is malformed"):
        column.value(1)
