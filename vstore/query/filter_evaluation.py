"""Applying a bound filter to the columns of one segment, all rows at once."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from vstore.query.filter_tree import And, Comparison, Contains, Exists, Filter, IsIn, Not, Or
from vstore.shown import short_repr

if TYPE_CHECKING:
    from collections.abc import Callable

    from vstore.segment.columns import Column
    from vstore.types import BoolArray


def evaluate(tree: Filter, column: Callable[[str], Column | None], count: int) -> BoolArray:
    """Return which of a segment's rows pass a filter.

    Parameters
    ----------
    tree : Filter
        As `filter.bind` returned it; its names and values are not checked again.
    column : Callable[[str], Column | None]
        Returns a field's column of `count` rows, or None if the field did not exist when the
        segment was written, so that all values are missing. Called once per condition reached.
    count : int
        Rows of the segment.

    Returns
    -------
    ndarray of bool, shape (count,)
        A new array.
    """
    match tree:
        case And(operands):
            mask = evaluate(operands[0], column, count)
            for operand in operands[1:]:
                if not mask.any():
                    break
                mask &= evaluate(operand, column, count)
            return mask
        case Or(operands):
            mask = evaluate(operands[0], column, count)
            for operand in operands[1:]:
                if mask.all():
                    break
                mask |= evaluate(operand, column, count)
            return mask
        case Not(operand):
            mask = evaluate(operand, column, count)
            return np.logical_not(mask, out=mask)
        case Comparison(name) | IsIn(name) | Contains(name) | Exists(name):
            found = column(name)
            return np.zeros(count, np.bool_) if found is None else _condition(tree, found)
        case _:
            raise TypeError(f"not a filter: {short_repr(tree)}")


def _condition(condition: Comparison | IsIn | Contains | Exists, column: Column) -> BoolArray:
    match condition:
        case Comparison(_, operator, value):
            return column.compare(operator, value)
        case IsIn(_, values):
            return column.is_in(values)
        case Contains(_, value):
            return column.contains(str(value))
        case Exists():
            return column.exists()
