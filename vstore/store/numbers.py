"""Numbers from a caller, checked."""

from __future__ import annotations

import math

import numpy as np

from vstore.errors import InvalidArgumentError
from vstore.segment.column_types import short_repr


def check_whole(
    value: object, *, what: str, least: int | None = None, most: int | None = None
) -> int:
    """Return a whole number; a bool is none.

    Raises
    ------
    InvalidArgumentError
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


def check_batch_size(value: object) -> None:
    """Refuse a size no batch can have.

    Raises
    ------
    InvalidArgumentError
    """
    if type(value) is not int or value < 1:
        raise InvalidArgumentError(f"batch_size: expected an int >= 1, found {value!r}")


def _require_range(value: float, what: str, least: float | None, most: float | None) -> None:
    below, above = least is not None and value < least, most is not None and value > most
    if below or above:
        wanted = f"at least {least}" if most is None else f"{least} to {most}"
        raise InvalidArgumentError(f"{what}: expected {wanted}, found {short_repr(value)}")
