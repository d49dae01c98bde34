"""Numbers and switches from a caller, checked, and of Python's own types from then on.

The one place that decides what counts as a number: NumPy's scalars do, and a bool does not.
"""

from __future__ import annotations

import math

import numpy as np

from vstore.errors import InvalidArgumentError
from vstore.shown import short_repr


def check_whole(
    value: object, *, what: str, least: int | None = None, most: int | None = None
) -> int:
    """Return a whole number; a bool is none, and neither is a float.

    Raises
    ------
    InvalidArgumentError
        It is no int, or out of range.
    """
    if isinstance(value, bool) or not isinstance(value, int | np.integer):
        raise InvalidArgumentError(f"{what}: expected an int, found {short_repr(value)}")
    number = int(value)
    _require_range(number, what, least, most)
    return number


def check_number(
    value: object, *, what: str, least: float | None = None, most: float | None = None
) -> float:
    """Return a number, which may be infinite; a bool and a NaN are none.

    Raises
    ------
    InvalidArgumentError
        It is no number, NaN, or out of range.
    """
    if isinstance(value, bool) or not isinstance(value, int | float | np.integer | np.floating):
        raise InvalidArgumentError(f"{what}: expected a number, found {short_repr(value)}")
    try:
        number = float(value)
    except OverflowError as error:
        raise InvalidArgumentError(f"{what}: {short_repr(value)} is too large") from error
    if math.isnan(number):
        raise InvalidArgumentError(f"{what}: expected a number, found {number}")
    _require_range(number, what, least, most)
    return number


def check_switch(value: object, *, what: str) -> bool:
    """Return whether something is on.

    Raises
    ------
    InvalidArgumentError
        The value is no bool: a text such as "no" would count as true.
    """
    if not isinstance(value, bool | np.bool_):
        raise InvalidArgumentError(f"{what}: expected a bool, found {short_repr(value)}")
    return bool(value)


def _require_range(value: float, what: str, least: float | None, most: float | None) -> None:
    below, above = least is not None and value < least, most is not None and value > most
    if below or above:
        wanted = f"at least {least}" if most is None else f"{least} to {most}"
        raise InvalidArgumentError(f"{what}: expected {wanted}, found {short_repr(value)}")
