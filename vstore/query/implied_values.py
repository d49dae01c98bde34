"""The tenant that a filter implies: routes may differ by the value of a keyword field."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vstore.query.filter_tree import And, Comparison, IsIn

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vstore.query.filter_tree import Filter


def implied_values(tree: Filter) -> Iterator[tuple[str, str]]:
    """Yield fields and values that all documents passing a filter share.

    Only explicit equalities count, alone or in an ``and``. A condition that merely amounts to an
    equality is not found; the default route then answers, which is just as correct.
    """
    operands = tree.operands if isinstance(tree, And) else (tree,)
    for operand in operands:
        match operand:
            case And():
                yield from implied_values(operand)
            case Comparison(name, "==", str() as value) | IsIn(name, (str() as value,)):
                yield name, value
