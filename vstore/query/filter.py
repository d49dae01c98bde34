"""Filters over metadata: building them, and binding them to a collection's fields.

A filter passes through three modules: `field` here builds a tree of `filter_tree` nodes (or
`filter_dict.filter_from_dict` reads one), `bind` checks it once against the fields' types and makes
its values canonical, and `filter_evaluation.evaluate` applies the bound tree to each segment.

>>> describe((field("tenant") == "acme") & (field("year") >= 2020))
"tenant == 'acme' and year >= 2020"
"""

from __future__ import annotations

import datetime as dt
import difflib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, NoReturn, TypeAlias, cast

import numpy as np

from vstore.errors import FilterError, InvalidArgumentError
from vstore.manifest.state import FieldType
from vstore.query.filter_dict import filter_from_dict, filter_to_dict
from vstore.query.filter_tree import (
    And,
    Comparison,
    Contains,
    Exists,
    Filter,
    IsIn,
    Not,
    Or,
    describe,
)
from vstore.segment.column_types import FIELD_TRAITS, normalize_value
from vstore.shown import short_repr

if TYPE_CHECKING:
    from collections.abc import Mapping

    from vstore.segment.column_types import ComparisonOperator

__all__ = [
    "And",
    "Comparison",
    "Contains",
    "Exists",
    "FieldReference",
    "Filter",
    "IsIn",
    "Not",
    "Or",
    "Where",
    "bind",
    "describe",
    "field",
    "filter_from_dict",
    "filter_to_dict",
]

Where: TypeAlias = "Filter | Mapping[str, object] | None"  # accepted from callers

_FIELDS_SHOWN: Final = 20


@dataclass(frozen=True, slots=True, eq=False)
class FieldReference:
    """Reference to a field, which comparisons turn into a filter; made by `field`."""

    name: str

    __array_ufunc__ = None  # makes NumPy's scalars defer to this class in comparisons

    def __eq__(self, value: object) -> Filter:  # type: ignore[override]  # building is the point
        return Comparison(self.name, "==", _operand(self.name, value))

    def __ne__(self, value: object) -> Filter:  # type: ignore[override]  # building is the point
        return Not(Comparison(self.name, "==", _operand(self.name, value)))

    def __lt__(self, value: object) -> Filter:
        return Comparison(self.name, "<", _operand(self.name, value))

    def __le__(self, value: object) -> Filter:
        return Comparison(self.name, "<=", _operand(self.name, value))

    def __gt__(self, value: object) -> Filter:
        return Comparison(self.name, ">", _operand(self.name, value))

    def __ge__(self, value: object) -> Filter:
        return Comparison(self.name, ">=", _operand(self.name, value))

    def is_in(self, values: Iterable[object]) -> Filter:
        """Match rows whose value is one of `values`; no rows if `values` is empty."""
        if isinstance(values, str | bytes | dict) or not isinstance(values, Iterable):
            raise self._no_list(values)
        if isinstance(values, np.ndarray) and values.ndim == 0:  # NumPy calls it iterable
            raise self._no_list(values)
        return IsIn(self.name, tuple(_operand(self.name, value) for value in values))

    def _no_list(self, values: object) -> FilterError:
        return FilterError(
            f"field({self.name!r}).is_in takes a list of values, "
            f"found {type(values).__name__} {short_repr(values)}"
        )

    def contains(self, value: object) -> Filter:
        """Match rows whose list holds `value`."""
        return Contains(self.name, _operand(self.name, value))

    def exists(self) -> Filter:
        """Match rows that have a value; an empty list counts as a value."""
        return Exists(self.name)

    def _refuse(self, *_: object) -> NoReturn:
        raise FilterError(
            f"field({self.name!r}) is not a condition yet: compare it, or ask .exists(), and "
            'write each comparison in parentheses: (field("a") == 1) & (field("b") == 2)'
        )

    __bool__ = __and__ = __rand__ = __or__ = __ror__ = __invert__ = _refuse


def field(name: str) -> FieldReference:
    """Return a reference to a metadata field, for comparisons: ``field("year") >= 2020``."""
    given: object = name  # callers without a type checker pass anything
    if not isinstance(given, str) or not given:
        raise FilterError(f"a field's name is a non-empty str, found {short_repr(given)}")
    return FieldReference(given)


def bind(tree: Filter, fields: Mapping[str, FieldType]) -> Filter:
    """Return the filter with every value in the canonical form of its field's type.

    Parameters
    ----------
    tree : Filter
    fields : Mapping[str, FieldType]
        The collection's fields. A timestamp may be compared with an ISO 8601 string.

    Raises
    ------
    FilterError
        The field is unknown, its type lacks the operator, or the value has another type.
    """
    match tree:
        case And(operands):
            return And(tuple(bind(operand, fields) for operand in operands))
        case Or(operands):
            return Or(tuple(bind(operand, fields) for operand in operands))
        case Not(operand):
            return Not(bind(operand, fields))
        case Comparison(name, operator, value):
            field_type = _type_for(tree, name, operator, fields)
            canonical = _canonical(tree, name, field_type, value)
            if field_type is FieldType.FLOAT and not _is_exactly(canonical, value):
                return _beside(name, operator, canonical, value)
            return Comparison(name, operator, canonical)
        case IsIn(name, values):
            field_type = _type_for(tree, name, "in", fields)
            pairs = [(_canonical(tree, name, field_type, value), value) for value in values]
            if field_type is FieldType.FLOAT:  # no float is an integer that none can hold
                pairs = [pair for pair in pairs if _is_exactly(*pair)]
            distinct = {canonical for canonical, _ in pairs}
            return IsIn(name, tuple(sorted(cast("set[Any]", distinct))))
        case Contains(name, value):
            _type_for(tree, name, "contains", fields)
            return Contains(name, _canonical(tree, name, FieldType.KEYWORD, value))
        case Exists(name):
            _type_for(tree, name, "exists", fields)
            return tree
        case _:
            raise FilterError(f"expected a filter, found {short_repr(tree)}")


def _operand(name: str, value: object) -> object:
    if value is None:
        raise FilterError(
            f"nothing compares with None; to find missing values use ~field({name!r}).exists()"
        )
    if isinstance(value, Filter | FieldReference):
        raise FilterError(
            f"field({name!r}) compares with a value, found {short_repr(value)}; "
            "write each comparison in parentheses"
        )
    return value


def _nearest_float(value: object) -> object:
    """Return the float nearest to a number; other values unchanged."""
    if isinstance(value, bool) or not isinstance(value, int | np.integer | np.floating):
        return value
    try:
        return float(value)
    except OverflowError:  # `normalize_value` refuses it with a better message
        return value


def _is_exactly(canonical: object, value: object) -> bool:
    """Whether a float equals the given number: above 2^53 not every integer is a float."""
    exact = int(value) if isinstance(value, np.integer) else value
    return bool(canonical == exact)


def _beside(name: str, operator: ComparisonOperator, nearest: object, value: object) -> Filter:
    """Return an equivalent of comparing with a number that no float equals, by the nearest one."""
    exact = cast("Any", int(value) if isinstance(value, np.integer) else value)
    above = cast("Any", nearest) > exact
    if operator == "==":
        return IsIn(name, ())
    if operator in ("<", "<="):
        return Comparison(name, "<" if above else "<=", nearest)
    return Comparison(name, ">=" if above else ">", nearest)


def _type_for(
    condition: Filter, name: str, operator: str, fields: Mapping[str, FieldType]
) -> FieldType:
    if name not in fields:
        raise FilterError(f"filter {describe(condition)}: {_unknown(name, fields)}")
    field_type = FieldType(fields[name])
    allowed = FIELD_TRAITS[field_type].operators
    if operator not in allowed:
        raise FilterError(
            f"filter {describe(condition)}: field {name!r} is of type {field_type}, "
            f"which supports {' '.join(allowed)}"
        )
    return field_type


def _unknown(name: str, fields: Mapping[str, FieldType]) -> str:
    if not fields:
        return f"unknown field {name!r}; the collection has no metadata fields"
    similar = difflib.get_close_matches(name, fields, n=1)
    hint = f", did you mean {similar[0]!r}?" if similar else "."
    shown = ", ".join(map(repr, sorted(fields)[:_FIELDS_SHOWN]))
    hidden = len(fields) - _FIELDS_SHOWN
    more = f" and {hidden:,} more" if hidden > 0 else ""
    return f"unknown field {name!r}{hint} Known fields: {shown}{more}"


def _canonical(condition: Filter, name: str, field_type: FieldType, value: object) -> object:
    if field_type is FieldType.TIMESTAMP and isinstance(value, str):
        try:
            value = dt.datetime.fromisoformat(value)
        except ValueError:
            raise FilterError(
                f"filter {describe(condition)}: {short_repr(value)} is not an ISO 8601 time, "
                "such as '2020-01-31T12:00:00Z'"
            ) from None
    if field_type is FieldType.FLOAT:
        value = _nearest_float(value)
    try:
        # Nodes made by hand have not been through `field`, so None may first turn up here.
        return normalize_value(name, field_type, _operand(name, value))
    except InvalidArgumentError as error:
        raise FilterError(f"filter {describe(condition)}: {error}") from None
