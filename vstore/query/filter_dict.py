"""Filters as plain dicts, for callers that speak JSON.

==========================================================  ==================================
Dict                                                        Filter
==========================================================  ==================================
``{"field": "year", "op": ">=", "value": 2020}``            also ``== != < <= >``
``{"field": "year", "op": "in", "value": [2020, 2021]}``    one of
``{"field": "tags", "op": "contains", "value": "x"}``       a list that holds
``{"field": "year", "op": "exists"}``                       has a value
``{"and": [...]}``, ``{"or": [...]}``, ``{"not": {...}}``   one operand or more; exactly one
==========================================================  ==================================

Reading is strict: an unknown key or operator is an error, never ignored, because a filter that
lost a condition shows rows it should not. Timestamps are written as ISO 8601 strings; NumPy's
scalars are accepted, and written as the corresponding JSON type.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from vstore import limits
from vstore.errors import FilterError, LimitExceededError
from vstore.query.filter_tree import And, Comparison, Contains, Exists, Filter, IsIn, Not, Or
from vstore.shown import short_repr

if TYPE_CHECKING:
    from vstore.segment.column_types import ComparisonOperator

_COMPARISONS: Final[Mapping[str, ComparisonOperator]] = {
    "==": "==",
    "<": "<",
    "<=": "<=",
    ">": ">",
    ">=": ">=",
}
_NUMPY: Final = np.integer | np.floating | np.bool_ | np.datetime64
_OPERATORS: Final = (*_COMPARISONS, "!=", "in", "contains", "exists")


def filter_to_dict(tree: Filter) -> dict[str, object]:
    """Return the filter as a dict that `filter_from_dict` and JSON can read."""
    match tree:
        case Comparison(name, operator, value):
            return {"field": name, "op": operator, "value": _plain(value)}
        case IsIn(name, values):
            return {"field": name, "op": "in", "value": list(map(_plain, values))}
        case Contains(name, value):
            return {"field": name, "op": "contains", "value": _plain(value)}
        case Exists(name):
            return {"field": name, "op": "exists"}
        case Not(Comparison(name, "==", value)):
            return {"field": name, "op": "!=", "value": _plain(value)}
        case Not(operand):
            return {"not": filter_to_dict(operand)}
        case And(operands):
            return {"and": list(map(filter_to_dict, operands))}
        case Or(operands):
            return {"or": list(map(filter_to_dict, operands))}
        case _:
            raise TypeError(f"not a filter: {short_repr(tree)}")


def filter_from_dict(document: object) -> Filter:
    """Return the filter that a dict describes.

    Raises
    ------
    FilterError
        A key is unknown or missing, an operator is unknown, or a value has no JSON type; the
        message gives the path, such as ``filter.and[1].not``.
    LimitExceededError
        Deeper than ``limits.FILTER_DEPTH_MAX`` or larger than ``limits.FILTER_NODES_MAX``.
    """
    return _node(document, "filter", depth=1)


def _node(document: object, path: str, *, depth: int) -> Filter:
    # Before descending: the nodes' own check runs only on the way back from the innermost one.
    if depth > limits.FILTER_DEPTH_MAX:
        raise LimitExceededError(
            "levels of a filter",
            limit="FILTER_DEPTH_MAX",
            found=depth,
            allowed=limits.FILTER_DEPTH_MAX,
        )
    if not isinstance(document, Mapping):
        raise FilterError(f"{path}: expected an object, found {short_repr(document)}")
    if "field" in document:
        return _condition(document, path)
    if len(document) == 1:
        (key, operand) = next(iter(document.items()))
        if key == "not":
            return Not(_node(operand, f"{path}.not", depth=depth + 1))
        if key == "and":
            return And(_operands(operand, f"{path}.and", depth=depth + 1))
        if key == "or":
            return Or(_operands(operand, f"{path}.or", depth=depth + 1))
    raise FilterError(
        f"{path}: expected the keys field, op and value, or just one of and, or, not; "
        f"found {short_repr(list(document))}"
    )


def _operands(operands: object, path: str, *, depth: int) -> tuple[Filter, ...]:
    if not isinstance(operands, list | tuple) or not operands:
        raise FilterError(f"{path}: expected a list of filters, found {short_repr(operands)}")
    if len(operands) > limits.FILTER_NODES_MAX:
        raise LimitExceededError(
            "nodes of a filter",
            limit="FILTER_NODES_MAX",
            found=len(operands),
            allowed=limits.FILTER_NODES_MAX,
        )
    return tuple(_node(item, f"{path}[{i}]", depth=depth) for i, item in enumerate(operands))


def _condition(document: Mapping[Any, object], path: str) -> Filter:
    name, operator = document["field"], document.get("op")
    if not isinstance(name, str) or not name:
        raise FilterError(f"{path}.field: expected a field's name, found {short_repr(name)}")
    if not isinstance(operator, str) or operator not in _OPERATORS:
        raise FilterError(
            f"{path}.op: expected one of {' '.join(_OPERATORS)}, found {short_repr(operator)}"
        )
    expected = {"field", "op"} if operator == "exists" else {"field", "op", "value"}
    if document.keys() != expected:
        raise FilterError(
            f"{path}: {operator} takes the keys {sorted(expected)}, "
            f"found {short_repr(list(document))}"
        )
    if operator == "exists":
        return Exists(name)
    value = document["value"]
    if operator == "in":
        if isinstance(value, np.ndarray) and value.ndim == 1:
            value = list(value)
        if not isinstance(value, list | tuple):
            raise FilterError(f"{path}.value: in takes a list, found {short_repr(value)}")
        return IsIn(
            name, tuple(_scalar(item, f"{path}.value[{i}]") for i, item in enumerate(value))
        )
    value = _scalar(value, f"{path}.value")
    if operator == "contains":
        return Contains(name, value)
    if operator == "!=":
        return Not(Comparison(name, "==", value))
    return Comparison(name, _COMPARISONS[operator], value)


def _scalar(value: object, path: str) -> object:
    if value is None:
        raise FilterError(
            f"{path}: nothing compares with null; to find missing values use "
            '{"not": {"field": ..., "op": "exists"}}'
        )
    if not isinstance(value, str | int | float | dt.datetime | _NUMPY):
        raise FilterError(
            f"{path}: expected a string, a number or a boolean, found {short_repr(value)}"
        )
    return value


def _plain(value: object) -> object:
    if isinstance(value, dt.datetime):
        return value.isoformat()
    if isinstance(value, np.datetime64):
        if np.isnat(value):
            raise FilterError("a filter on a missing time (NaT): use exists() of the field")
        return f"{np.datetime_as_string(value, unit='us')}Z"
    plain: object = value.item() if isinstance(value, np.generic) else value
    return _scalar(plain, "value")
