"""Which tenant a filter confines a search to: routes may differ by the value of a keyword field."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vstore.query.filter_tree import And, Comparison, IsIn

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vstore.query.filter_tree import Filter


def implied_values(tree: Filter) -> Iterator[tuple[str, str]]:
    """Yield the fields, with their values, that every document passing a filter has.

    Only what the filter says outright counts: an equality, alone or and-ed with more. A condition
    that merely amounts to one is not found, and then the default route answers, which is as right.
    """
    operands = tree.operands if isinstance(tree, And) else (tree,)
    for operand in operands:
        match operand:
            case And():
                yield from implied_values(operand)
            case Comparison(name, "==", str() as value) | IsIn(name, (str() as value,)):
                yield name, value
