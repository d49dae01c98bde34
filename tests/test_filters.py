"""Filters: building, describing, dict form, binding, and evaluation against plain Python."""

from __future__ import annotations

import copy
import datetime as dt
import json
import operator
import pickle
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vstore import limits
from vstore.errors import FilterError, LimitExceededError
from vstore.manifest.state import FieldType
from vstore.query.filter import (
    And,
    Comparison,
    Contains,
    Exists,
    Filter,
    IsIn,
    Not,
    Or,
    bind,
    describe,
    field,
    filter_from_dict,
    filter_to_dict,
)
from vstore.query.filter_evaluation import evaluate
from vstore.segment.columns import build_column, normalize_value

if TYPE_CHECKING:
    from collections.abc import Callable

    from vstore.segment.columns import Column

FIELDS = {
    "tenant": FieldType.KEYWORD,
    "tags": FieldType.KEYWORDS,
    "year": FieldType.INT,
    "price": FieldType.FLOAT,
    "public": FieldType.BOOL,
    "created": FieldType.TIMESTAMP,
    "extra": FieldType.JSON,
}
NOON = dt.datetime(2020, 1, 31, 12, tzinfo=dt.UTC)

# Few distinct values, so that conditions hit.
VALUES: dict[str, st.SearchStrategy[Any]] = {
    "tenant": st.sampled_from(["", "a", "a\0", "b", "é", "\uffee", "\U0001f600"]),
    "tags": st.lists(st.sampled_from(["x", "y", "é"]), max_size=3),
    "year": st.sampled_from([-(2**63), -1, 0, 1, 2020, 2**63 - 1]),
    "price": st.sampled_from([-0.0, 0.0, 0.5, -1e300, 3]),
    "public": st.booleans(),
    "created": st.sampled_from([NOON, NOON.astimezone(dt.timezone(dt.timedelta(hours=2))), 0, 7]),
    "extra": st.sampled_from([{"a": 1}, [], 0, False]),
}
ORDERED = ["tenant", "year", "price", "created"]
PYTHON: dict[str, Callable[[Any, Any], bool]] = {
    "==": operator.eq,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


def conditions() -> st.SearchStrategy[Filter]:
    comparisons = st.tuples(st.sampled_from(ORDERED), st.sampled_from(sorted(PYTHON))).flatmap(
        lambda pair: VALUES[pair[0]].map(
            lambda value: Comparison(pair[0], pair[1], value)  # type: ignore[arg-type]
        )
    )
    memberships = st.sampled_from([*ORDERED, "public"]).flatmap(
        lambda name: st.lists(VALUES[name], max_size=9).map(field(name).is_in)
    )
    return st.one_of(
        comparisons,
        memberships,
        st.booleans().map(lambda value: field("public") == value),
        st.sampled_from(["x", "y", "absent"]).map(field("tags").contains),
        st.sampled_from(sorted(FIELDS)).map(Exists),
    )


def filters() -> st.SearchStrategy[Filter]:
    return st.recursive(
        conditions(),
        lambda inner: (
            st.lists(inner, min_size=1, max_size=3).map(lambda items: And(tuple(items)))
            | st.lists(inner, min_size=1, max_size=3).map(lambda items: Or(tuple(items)))
            | inner.map(lambda operand: ~operand)
        ),
        max_leaves=6,
    )


def rows() -> st.SearchStrategy[list[dict[str, Any]]]:
    return st.lists(
        st.fixed_dictionaries({}, optional={name: VALUES[name] for name in FIELDS}), max_size=12
    )


def passes(tree: Filter, row: dict[str, Any]) -> bool:
    """Evaluate one row the obvious way."""
    match tree:
        case And(operands):
            return all(passes(operand, row) for operand in operands)
        case Or(operands):
            return any(passes(operand, row) for operand in operands)
        case Not(operand):
            return not passes(operand, row)
        case Exists(name):
            return row[name] is not None
        case Comparison(name, op, value):
            return row[name] is not None and PYTHON[op](row[name], value)
        case IsIn(name, values):
            return row[name] in values
        case Contains(name, value):
            return row[name] is not None and value in row[name]
        case _:
            raise AssertionError(tree)


def columns_of(documents: list[dict[str, Any]]) -> tuple[dict[str, Column], list[dict[str, Any]]]:
    canonical = [
        {name: normalize_value(name, FIELDS[name], row.get(name)) for name in FIELDS}
        for row in documents
    ]
    columns = {
        name: build_column(FIELDS[name], [row[name] for row in canonical]) for name in FIELDS
    }
    return columns, canonical


# Evaluation


@given(filters(), rows())
def test_rows_pass_as_plain_python_says(tree: Filter, documents: list[dict[str, Any]]) -> None:
    columns, canonical = columns_of(documents)
    bound = bind(tree, FIELDS)
    mask = evaluate(bound, columns.get, len(documents))
    assert mask.dtype == np.bool_
    assert mask.tolist() == [passes(bound, row) for row in canonical]


@given(filters(), st.integers(0, 3))
def test_a_field_newer_than_the_segment_is_missing_everywhere(tree: Filter, count: int) -> None:
    bound = bind(tree, FIELDS)
    columns, _ = columns_of([{}] * count)
    expected = evaluate(bound, columns.get, count)
    assert evaluate(bound, lambda _: None, count).tolist() == expected.tolist()


def test_missing_is_unequal_to_everything_and_less_than_nothing() -> None:
    columns, _ = columns_of([{"year": 2020}, {}])

    def mask(tree: Filter) -> list[bool]:
        return list(evaluate(bind(tree, FIELDS), columns.get, 2))

    assert mask(field("year") == 2020) == [True, False]
    assert mask(field("year") != 2020) == [False, True]
    assert mask(field("year") < 2021) == [True, False]
    assert mask(field("year") >= 0) == [True, False]
    assert mask(~(field("year") < 2021)) == [False, True]
    assert mask(~field("year").exists()) == [False, True]
    assert mask(field("year").is_in([])) == [False, False]
    with pytest.raises(FilterError, match="takes a list"):
        field("year").is_in(5)  # type: ignore[arg-type]
    assert mask(field("year").is_in([0, 2020])) == [True, False]


def test_few_and_many_wanted_keywords_select_the_same_rows() -> None:
    values = [f"tenant-{n:03}" for n in range(200)]
    columns, _ = columns_of([{"tenant": value} for value in values])
    for wanted in (values[3:5], [*values[50:], "absent"]):
        mask = evaluate(bind(field("tenant").is_in(wanted), FIELDS), columns.get, 200)
        assert [values[i] for i in np.flatnonzero(mask)] == [v for v in wanted if v in values]


def test_evaluation_stops_once_the_answer_is_known() -> None:
    columns, _ = columns_of([{"year": 1}])
    asked: list[str] = []

    def column(name: str) -> Column:
        asked.append(name)
        return columns[name]

    evaluate(bind((field("year") == 2) & (field("price") == 1), FIELDS), column, 1)
    evaluate(bind((field("year") == 1) | (field("price") == 1), FIELDS), column, 1)
    assert asked == ["year", "year"]


def test_a_stored_file_view_is_never_handed_out_as_a_mask() -> None:
    columns, _ = columns_of([{"year": 1}])
    mask = evaluate(Exists("year"), columns.get, 1)
    assert not np.shares_memory(mask, columns["year"].arrays()["present"])


# Building


def test_operators_build_the_tree() -> None:
    year = field("year")
    assert (year == 1) == Comparison("year", "==", 1)
    assert (year != 1) == Not(Comparison("year", "==", 1)) == ~(year == 1)
    assert (year < 1) == Comparison("year", "<", 1)
    assert (year <= 1) == Comparison("year", "<=", 1)
    assert (year > 1) == Comparison("year", ">", 1)
    assert (year >= 1) == Comparison("year", ">=", 1)
    assert year.is_in(n for n in (1, 2)) == IsIn("year", (1, 2))
    assert field("tags").contains("x") == Contains("tags", "x")
    assert year.exists() == Exists("year")
    a, b, c = (Exists(name) for name in "abc")
    every: Filter = a & b & c
    some: Filter = a | (b | c)
    assert every != some
    assert every == And((a, b, c))
    assert some == Or((a, b, c))
    assert (a | b) & c == And((Or((a, b)), c))
    assert ~~a == a


@given(filters())
def test_filters_hash_copy_and_pickle_as_values(tree: Filter) -> None:
    assert hash(copy.deepcopy(tree)) == hash(tree)
    again = pickle.loads(pickle.dumps(tree))
    assert again == tree
    assert (again.depth, again.nodes) == (tree.depth, tree.nodes)


BAD_BUILDS: list[tuple[Callable[[], object], str]] = [
    (lambda: field("x") == None, r"use ~field\('x'\)\.exists\(\)"),  # noqa: E711
    (lambda: field("x") != None, r"use ~field\('x'\)\.exists\(\)"),  # noqa: E711
    (lambda: field("x") < None, "nothing compares with None"),
    (lambda: field("x").is_in([1, None]), "nothing compares with None"),
    (lambda: field("x").contains(None), "nothing compares with None"),
    (lambda: field("x") == field("y"), "compares with a value"),
    (lambda: field("x") == (field("y") == 1), "write each comparison in parentheses"),
    (lambda: field("x").is_in("abc"), "takes a list of values, found str 'abc'"),
    (lambda: field(""), "a field's name is a non-empty str"),
    (lambda: field(5), "a field's name is a non-empty str, found 5"),  # type: ignore[arg-type]
    (lambda: (field("x") == 1) and (field("y") == 2), r"use|combine filters with & \| ~"),
    (lambda: (field("x") == 1) or (field("y") == 2), r"no truth value \('x == 1'\)"),
    (lambda: not (field("x") == 1), "no truth value"),  # noqa: SIM201
    (lambda: 1 < field("x") < 5, "write low < x < high as two comparisons"),
    (lambda: field("x") in [1, 2], r"x\.is_in\(values\)"),
    (lambda: bool(field("x")), r"field\('x'\) is not a condition yet"),
    (lambda: ~field("x"), "not a condition yet"),
    (lambda: field("x") == 1 & field("y"), "each comparison in parentheses"),
    (lambda: (field("x") == 1) & field("y"), r"& \| ~ combine filters"),
    (lambda: (field("x") == 1) | True, r"combine filters, found True"),  # type: ignore[operator]
    (lambda: And(()), "and needs at least one operand"),
    (lambda: Or(()), "or needs at least one operand"),
]


@pytest.mark.parametrize(("build", "message"), BAD_BUILDS, ids=range(len(BAD_BUILDS)))
def test_mistakes_in_building_say_what_to_write(build: Callable[[], object], message: str) -> None:
    with pytest.raises(FilterError, match=message):
        build()


def alternating(depth: int) -> Filter:
    tree: Filter = Exists("year")
    for level in range(depth - 1):
        tree = (tree & Exists("year")) if level % 2 else (tree | Exists("year"))
    return tree


def test_trees_stop_growing_at_the_limits() -> None:
    deepest = alternating(limits.FILTER_DEPTH_MAX)
    assert deepest.depth == limits.FILTER_DEPTH_MAX
    assert bind(filter_from_dict(filter_to_dict(deepest)), FIELDS) == deepest
    assert evaluate(deepest, lambda _: None, 1).tolist() == [False]
    with pytest.raises(LimitExceededError, match="FILTER_DEPTH_MAX"):
        Not(deepest)
    widest = Or((Exists("year"),) * (limits.FILTER_NODES_MAX - 1))
    assert widest.nodes == limits.FILTER_NODES_MAX
    with pytest.raises(LimitExceededError, match="FILTER_NODES_MAX"):
        widest | Exists("year")


def test_a_chain_built_in_a_loop_stays_flat() -> None:
    tree: Filter = field("year") == 0
    for year in range(1, 500):
        tree |= field("year") == year
    assert (tree.depth, tree.nodes) == (2, 501)


# Description


@pytest.mark.parametrize(
    ("tree", "text"),
    [
        (
            (field("tenant") == "acme") & (field("year") >= 2020),
            "tenant == 'acme' and year >= 2020",
        ),
        (
            ((field("a") == 1) | (field("b") != 2)) & ~field("c").exists(),
            "(a == 1 or b != 2) and not c exists",
        ),
        (~((field("a") == 1) & (field("b") < 0.5)), "not (a == 1 and b < 0.5)"),
        (field("t.u").contains("x"), "t.u contains 'x'"),
        (field("y").is_in([1, 2]), "y in [1, 2]"),
        (field("y").is_in(range(1006)), "y in [0, 1, 2, 3, 4, 5, 1,000 more]"),
        (field("created") < NOON, "created < 2020-01-31T12:00:00+00:00"),
        (field("in") == True, "field('in') == True"),  # noqa: E712
        (field("two words\n").exists(), "field('two words\\n') exists"),
    ],
)
def test_filters_read_as_one_line(tree: Filter, text: str) -> None:
    assert describe(tree) == text


@given(filters())
def test_descriptions_are_one_line_bound_or_not(tree: Filter) -> None:
    for each in (tree, bind(tree, FIELDS)):
        assert len(describe(each).splitlines()) == 1


# Dict form


@given(filters())
def test_dict_form_survives_json_and_binds_alike(tree: Filter) -> None:
    document = json.loads(json.dumps(filter_to_dict(tree)))
    assert bind(filter_from_dict(document), FIELDS) == bind(tree, FIELDS)
    bound = bind(tree, FIELDS)
    assert filter_from_dict(filter_to_dict(bound)) == bound


@pytest.mark.parametrize(
    ("document", "tree"),
    [
        ({"field": "y", "op": "!=", "value": 1}, Not(Comparison("y", "==", 1))),
        ({"field": "y", "op": "in", "value": [1, "a"]}, IsIn("y", (1, "a"))),
        ({"field": "y", "op": "exists"}, Exists("y")),
        ({"not": {"field": "y", "op": "contains", "value": "x"}}, Not(Contains("y", "x"))),
        ({"or": [{"field": "y", "op": "<", "value": 1.5}]}, Or((Comparison("y", "<", 1.5),))),
    ],
)
def test_dicts_read_as_documented(document: dict[str, object], tree: Filter) -> None:
    assert filter_from_dict(document) == tree
    assert filter_to_dict(tree) == document


def test_numpy_values_become_plain_ones_in_dict_form() -> None:
    document = filter_to_dict(field("y") == np.int64(3))
    assert json.dumps(document) == '{"field": "y", "op": "==", "value": 3}'


EXISTS = {"field": "y", "op": "exists"}


@pytest.mark.parametrize(
    ("document", "message"),
    [
        (None, "filter: expected an object, found None"),
        ([], r"filter: expected an object, found \[\]"),
        ({}, "filter: expected the keys field, op and value, or just one of and, or, not"),
        ({"nor": []}, r"found \['nor'\]"),
        ({"and": [EXISTS], "or": [EXISTS]}, r"found \['and', 'or'\]"),
        ({"and": []}, r"filter\.and: expected a list of filters, found \[\]"),
        ({"or": EXISTS}, r"filter\.or: expected a list of filters"),
        ({"not": [EXISTS]}, r"filter\.not: expected an object"),
        ({"and": [EXISTS, {"not": 5}]}, r"filter\.and\[1\]\.not: expected an object, found 5"),
        ({"field": 5, "op": "exists"}, r"filter\.field: expected a field's name, found 5"),
        ({"field": "", "op": "exists"}, r"filter\.field: expected a field's name"),
        ({"field": "y"}, r"filter\.op: expected one of == < .*, found None"),
        ({"field": "y", "op": "~="}, r"filter\.op: .*found '~='"),
        ({"field": "y", "op": []}, r"filter\.op: .*found \[\]"),
        ({"field": "y", "op": "=="}, "== takes the keys"),
        ({"field": "y", "op": "==", "value": 1, "boost": 2}, "found .*'boost'"),
        ({"field": "y", "op": "exists", "value": True}, "exists takes the keys"),
        ({"field": "y", "op": "==", "value": None}, "nothing compares with null"),
        ({"field": "y", "op": "==", "value": [1]}, "expected a string, a number or a boolean"),
        ({"field": "y", "op": "in", "value": "abc"}, "in takes a list, found 'abc'"),
        ({"field": "y", "op": "in", "value": [1, {}]}, r"filter\.value\[1\]: expected a string"),
    ],
)
def test_malformed_dicts_are_refused_with_the_path(document: object, message: str) -> None:
    with pytest.raises(FilterError, match=message):
        filter_from_dict(document)


def test_dicts_from_attackers_exceed_limits_not_the_stack() -> None:
    deep: dict[str, object] = dict(EXISTS)
    for _ in range(100_000):
        deep = {"not": deep}
    with pytest.raises(LimitExceededError, match="FILTER_DEPTH_MAX"):
        filter_from_dict(deep)
    with pytest.raises(LimitExceededError, match="FILTER_NODES_MAX"):
        filter_from_dict({"or": [EXISTS] * (limits.FILTER_NODES_MAX + 1)})
    with pytest.raises(LimitExceededError, match="FILTER_NODES_MAX"):
        filter_from_dict({"and": [{"or": [EXISTS] * 6_000}] * 2})
    while "not" in deep:  # taken apart by hand: freeing it in one go would recurse
        deep = deep["not"]  # type: ignore[assignment]


# Binding


def test_binding_makes_values_canonical() -> None:
    assert bind(field("price") < 3, FIELDS) == Comparison("price", "<", 3.0)
    assert bind(field("year").is_in([3, 1, np.int8(3)]), FIELDS) == IsIn("year", (1, 3))
    noon = Comparison("created", "==", 1_580_472_000_000_000)
    assert bind(field("created") == NOON, FIELDS) == noon
    assert bind(field("created") == "2020-01-31T12:00:00Z", FIELDS) == noon
    assert bind(field("created") == "2020-01-31T13:00:00+01:00", FIELDS) == noon


@given(filters())
def test_binding_twice_changes_nothing_more(tree: Filter) -> None:
    bound = bind(tree, FIELDS)
    assert bind(bound, FIELDS) == bound


@pytest.mark.parametrize(
    ("tree", "message"),
    [
        (
            field("yaer") == 1,
            "unknown field 'yaer', did you mean 'year'\\? Known fields: 'created'",
        ),
        (~(Exists("zzzzzz") & Exists("year")), r"unknown field 'zzzzzz'\. Known fields"),
        (field("year") == "2020", r"filter year == '2020': field 'year' expects int .*'2020'"),
        (field("year") == True, "a bool is not an int"),  # noqa: E712
        (field("year") >= 2020.5, r"found float 2020\.5"),
        (field("year").is_in([1, "2"]), "found str '2'"),
        (field("price") < float("nan"), "expects float"),
        (field("public") < True, "is of type bool, which supports == in exists"),
        (field("public") == 1, "expects bool, found int 1"),
        (field("tags") == "x", "is of type keywords, which supports contains exists"),
        (field("tags").is_in(["x"]), "which supports contains exists"),
        (field("tags").contains(5), r"expects keyword \(a str\), found int 5"),
        (
            field("tenant").contains("x"),
            "is of type keyword, which supports == < <= > >= in exists",
        ),
        (field("extra") == 1, "is of type json, which supports exists"),
        (field("created") < "yesterday", "'yesterday' is not an ISO 8601 time"),
        (field("created") < "2020-01-31T12:00:00", "it has no timezone"),
        (field("created") < dt.datetime(2020, 1, 1), "it has no timezone"),
        (Comparison("year", "==", None), "nothing compares with None"),
        (Comparison("year", "~=", 1), "which supports"),  # type: ignore[arg-type]
    ],
)
def test_binding_refuses_what_the_fields_do_not_have(tree: Filter, message: str) -> None:
    with pytest.raises(FilterError, match=message):
        bind(tree, FIELDS)


def test_an_unknown_field_lists_a_bounded_number_of_fields() -> None:
    with pytest.raises(FilterError, match="has no metadata fields"):
        bind(Exists("x"), {})
    many = {f"field{n:04}": FieldType.INT for n in range(1_000)}
    with pytest.raises(FilterError, match="and 980 more"):
        bind(Exists("x"), many)


def test_what_is_not_a_filter_is_refused_everywhere() -> None:
    other: Any = "year == 2020"
    with pytest.raises(FilterError, match="expected a filter, found 'year == 2020'"):
        bind(other, FIELDS)
    for walk in (describe, filter_to_dict, lambda tree: evaluate(tree, lambda _: None, 1)):
        with pytest.raises(TypeError, match="not a filter"):
            walk(other)
