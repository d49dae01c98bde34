"""Sequences from a caller: any iterable that has an order, as something with a length."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from vstore.errors import InvalidArgumentError
from vstore.segment.copies import drawn_copies
from vstore.segment.ids import is_unordered
from vstore.shown import short_repr

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


def one_per_id(what: str, values: Iterable[Any], count: int) -> Sequence[Any]:
    """Return values, one for each of so many ids; those of an iterator as a list.

    Raises
    ------
    InvalidArgumentError
        They are more or fewer, or in no order that could be the ids'.
    """
    if isinstance(values, Iterator):
        values = drawn_copies(values)
    # A 0-d array has a length that raises.
    ordered = hasattr(values, "__len__") and not (_is_no_column(values) or is_unordered(values))
    if not ordered or getattr(values, "ndim", 1) == 0:
        raise InvalidArgumentError(
            f"{what}: expected a sequence of {count}, found {short_repr(values)}"
        )
    found: Sequence[Any] = values  # type: ignore[assignment]  # with a length and an order
    if len(found) != count:
        raise InvalidArgumentError(f"{what}: expected {count}, one per id, found {len(found)}")
    return found


def listed(values: Iterable[object], *, what: str, ordered: bool = True) -> list[Any]:
    """Return the values of any iterable.

    Parameters
    ----------
    ordered : bool
        Refuse a set, whose order is nobody's.

    Raises
    ------
    InvalidArgumentError
        It is no sequence of values, or is a set where order matters.
    """
    try:
        if not _is_no_column(values) and not (ordered and is_unordered(values)):
            return list(values)
    except TypeError:
        pass
    raise InvalidArgumentError(f"{what}: expected a sequence, found {short_repr(values)}")


def _is_no_column(values: object) -> bool:
    return isinstance(values, str | bytes | bytearray | Mapping)
