"""The nodes of a filter over metadata, and their one-line description.

Logic is two-valued: comparing a missing value gives False, and ``a != b`` is exactly ``~(a == b)``,
so it is True where the field is missing.

Inner nodes measure themselves when they are made, and refuse to exceed ``limits.FILTER_DEPTH_MAX``
and ``limits.FILTER_NODES_MAX``. No deeper tree exists, so walks over a tree may recurse.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NoReturn

from vstore import limits
from vstore.errors import FilterError, LimitExceededError
from vstore.shown import short_repr

if TYPE_CHECKING:
    from vstore.segment.column_types import ComparisonOperator

_VALUES_SHOWN: Final = 6
_WORDS: Final = frozenset({"and", "or", "not", "in", "contains", "exists"})


class Filter:
    """A condition on a row's metadata. Combine filters with ``&``, ``|`` and ``~``."""

    __slots__ = ()

    @property
    def depth(self) -> int:
        """Levels of the tree, this node included."""
        return 1

    @property
    def nodes(self) -> int:
        """Nodes of the tree, this one included."""
        return 1

    def __and__(self, other: Filter) -> Filter:
        return And((*_operands_of(self, And), *_operands_of(other, And)))

    def __or__(self, other: Filter) -> Filter:
        return Or((*_operands_of(self, Or), *_operands_of(other, Or)))

    def __invert__(self) -> Filter:
        return Not(self)

    def __bool__(self) -> NoReturn:
        raise FilterError(
            f"a filter has no truth value ({short_repr(describe(self))}): combine filters with "
            "& | ~ and parentheses instead of and/or/not, write low < x < high as two "
            "comparisons, and x in values as x.is_in(values)"
        )


@dataclass(frozen=True, slots=True)
class Comparison(Filter):
    """The field has a value for which the comparison holds."""

    field: str
    operator: ComparisonOperator
    value: object


@dataclass(frozen=True, slots=True)
class IsIn(Filter):
    """The field has a value that is one of `values`."""

    field: str
    values: tuple[object, ...]


@dataclass(frozen=True, slots=True)
class Contains(Filter):
    """The field is a list that holds the value."""

    field: str
    value: object


@dataclass(frozen=True, slots=True)
class Exists(Filter):
    """The field has a value; an empty list counts as a value."""

    field: str


@dataclass(frozen=True, slots=True)
class _Junction(Filter):
    operands: tuple[Filter, ...]
    depth: int = dataclasses.field(init=False, repr=False, compare=False)
    nodes: int = dataclasses.field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if not self.operands:
            raise FilterError(f"{type(self).__name__.lower()} needs at least one operand")
        _measure(self, self.operands)


class And(_Junction):
    """Every operand holds."""

    __slots__ = ()


class Or(_Junction):
    """Some operand holds."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class Not(Filter):
    """The operand does not hold; a missing field is reason enough."""

    operand: Filter
    depth: int = dataclasses.field(init=False, repr=False, compare=False)
    nodes: int = dataclasses.field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        _measure(self, (self.operand,))

    def __invert__(self) -> Filter:
        return self.operand


def describe(tree: Filter) -> str:
    """Return the filter as one line, for example ``tenant == 'acme' and year >= 2020``.

    Long values are shortened; the line is for people, `filter_dict` is for programs.
    """
    match tree:
        case Comparison(name, operator, value):
            return f"{_name_text(name)} {operator} {_value_text(value)}"
        case IsIn(name, values):
            shown = ", ".join(map(_value_text, values[:_VALUES_SHOWN]))
            hidden = len(values) - _VALUES_SHOWN
            return f"{_name_text(name)} in [{shown}{f', {hidden:,} more' if hidden > 0 else ''}]"
        case Contains(name, value):
            return f"{_name_text(name)} contains {_value_text(value)}"
        case Exists(name):
            return f"{_name_text(name)} exists"
        case Not(Comparison(name, "==", value)):
            return f"{_name_text(name)} != {_value_text(value)}"
        case Not(operand):
            return f"not {_operand_text(operand)}"
        case And(operands):
            return " and ".join(map(_operand_text, operands))
        case Or(operands):
            return " or ".join(map(_operand_text, operands))
        case _:
            raise TypeError(f"not a filter: {short_repr(tree)}")


def _operand_text(operand: Filter) -> str:
    text = describe(operand)
    return f"({text})" if isinstance(operand, _Junction) else text


def _name_text(name: str) -> str:
    plain = all(map(str.isidentifier, name.split("."))) and name not in _WORDS
    return name if plain else f"field({name!r})"


def _value_text(value: object) -> str:
    return value.isoformat() if isinstance(value, dt.datetime) else short_repr(value)


def _operands_of(side: Filter, kind: type[_Junction]) -> tuple[Filter, ...]:
    # Flat chains keep `a & b & c & ...`, built in a loop, from becoming a deep tree.
    return side.operands if isinstance(side, kind) else (side,)


def _measure(node: _Junction | Not, operands: tuple[Filter, ...]) -> None:
    for operand in operands:
        if not isinstance(operand, Filter):
            raise FilterError(
                f"& | ~ combine filters, found {short_repr(operand)}; "
                'write each comparison in parentheses: (field("a") == 1) & (field("b") == 2)'
            )
    depth = 1 + max(operand.depth for operand in operands)
    if depth > limits.FILTER_DEPTH_MAX:
        raise LimitExceededError(
            "levels of a filter",
            limit="FILTER_DEPTH_MAX",
            found=depth,
            allowed=limits.FILTER_DEPTH_MAX,
        )
    nodes = 1 + sum(operand.nodes for operand in operands)
    if nodes > limits.FILTER_NODES_MAX:
        raise LimitExceededError(
            "nodes of a filter",
            limit="FILTER_NODES_MAX",
            found=nodes,
            allowed=limits.FILTER_NODES_MAX,
        )
    # The dataclass is frozen; both values derive from its fields.
    object.__setattr__(node, "depth", depth)
    object.__setattr__(node, "nodes", nodes)
