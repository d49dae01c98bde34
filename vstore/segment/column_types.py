"""Types of metadata fields, and the one canonical Python value of each thing a user may store.

=========  =========================================  ======================  ==================
Type       Accepted                                   Canonical               Returned to users
=========  =========================================  ======================  ==================
keyword    ``str``                                    ``str``                 ``str``
keywords   list or tuple of ``str``                   ``tuple[str, ...]``     ``list[str]``
int        integer of 64 bits, or float that is one   ``int``                 ``int``
float      finite float of 64 bits, or integer that   ``float``               ``float``
           is one; -0.0 is 0.0
bool       ``bool``, which is no number               ``bool``                ``bool``
timestamp  aware ``datetime``, or microseconds        ``int`` microseconds    aware UTC datetime
json       any JSON value                             a copy                  a copy
=========  =========================================  ======================  ==================

``None`` is the missing value of every type. NumPy scalars count as the Python scalars they hold,
``datetime64`` as a time in UTC, except inside json: there they are refused, unless they are
Python's too (``float64`` and ``str_``). What is finer than a microsecond is cut off.
Columns are built from canonical values only, so equal values give equal bytes. Two JSON objects
whose keys come in a different order are different values: the order a user wrote is kept.
"""

from __future__ import annotations

import datetime as dt
import math
from typing import TYPE_CHECKING, Final, Literal, NamedTuple, TypeAlias

import numpy as np

from vstore import limits
from vstore.errors import InvalidArgumentError
from vstore.manifest.plain import U64_MAX
from vstore.manifest.state import FieldType
from vstore.shown import short_repr

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

ComparisonOperator: TypeAlias = Literal["==", "<", "<=", ">", ">="]

INT64_MIN: Final = -(2**63)
INT64_MAX: Final = 2**63 - 1

_EPOCH: Final = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
_PLAIN: Final = (str, int, float, bool)
_MICROSECOND: Final = dt.timedelta(microseconds=1)
# Years 1 to 9999: a stored timestamp that `datetime` cannot hold could never be given back.
TIMESTAMP_MIN_US: Final = (dt.datetime.min.replace(tzinfo=dt.UTC) - _EPOCH) // _MICROSECOND
TIMESTAMP_MAX_US: Final = (dt.datetime.max.replace(tzinfo=dt.UTC) - _EPOCH) // _MICROSECOND


class FieldTraits(NamedTuple):
    """What tells the fields of one type from others; how they are stored is in `columns`.

    Attributes
    ----------
    expected : str
        Type and values, for messages.
    canonical : callable
        Returns the one value that is stored of all equal ones, or raises `_RejectedError`.
    operators : tuple[str, ...]
        Of filters.
    """

    expected: str
    canonical: Callable[[object], object]
    operators: tuple[str, ...]


def normalize_value(field: str, field_type: FieldType, value: object) -> object:
    """Return the canonical value that a column of `field_type` stores.

    Parameters
    ----------
    field : str
        Name of the field, for the message.
    field_type : FieldType
    value : object
        What the user gave; ``None`` is missing and stays ``None``.

    Raises
    ------
    InvalidArgumentError
        `value` is not of the field's type. No value is ever coerced, except an integer to the float
        that is equal to it, and such a float to an integer. None is rounded.
    """
    if value is None:
        return None
    try:
        return FIELD_TRAITS[field_type].canonical(value)
    except _RejectedError as rejected:
        raise InvalidArgumentError(
            f"field {field!r} expects {FIELD_TRAITS[field_type].expected}, "
            f"found {type(value).__name__} {short_repr(value)}{rejected}"
        ) from None


def timestamp_to_datetime(microseconds: int) -> dt.datetime:
    """Return the aware UTC datetime of microseconds since 1970; exact, no float on the way."""
    return _EPOCH + dt.timedelta(microseconds=microseconds)


def copied_json(value: object) -> object:
    """Return a copy of a JSON value, of Python's own types as it would come back from a file.

    What the caller does to theirs must not change a store; nor may an answer depend on whether the
    store was reopened, as it would with a NumPy scalar, a member of an enum, or an ordered dict.
    """
    if value is None or type(value) in _PLAIN:
        return value
    if isinstance(value, dict):
        return {str.__str__(key): copied_json(item) for key, item in value.items()}
    if isinstance(value, list):
        return [copied_json(item) for item in value]
    if isinstance(value, str):
        return str.__str__(value)
    return int(value) if isinstance(value, int) else float(value)  # type: ignore[arg-type]


def json_problem(value: object) -> str | None:
    """Return what keeps `value` from being a JSON value vstore can store, or None.

    Tuples, sets, bytes and dates are refused rather than turned into something that would come
    back different. The walk is iterative and bounded, so neither deep nor cyclic values overflow.
    """
    pending: list[tuple[object, int]] = [(value, 0)]
    visited = 0
    while pending:
        item, depth = pending.pop()
        visited += 1
        if isinstance(item, dict):
            for key in item:
                if not isinstance(key, str):
                    return f"object keys are str, not {type(key).__name__} {short_repr(key)}"
                if not _is_unicode(key):
                    return f"the key {short_repr(key)} is not valid Unicode"
            children: Collection[object] = item.values()
        elif isinstance(item, list):
            children = item
        else:
            problem = _json_scalar_problem(item)
            if problem is not None:
                return problem
            continue
        if depth == limits.NESTING_MAX:
            return f"nested deeper than {limits.NESTING_MAX} (limits.NESTING_MAX)"
        # Every item packs to one byte or more, so a larger count cannot fit in the metadata.
        if visited + len(pending) + len(children) > limits.METADATA_BYTES_MAX:
            return f"more than {limits.METADATA_BYTES_MAX:,} items (limits.METADATA_BYTES_MAX)"
        pending.extend((child, depth + 1) for child in children)
    return None


class _RejectedError(Exception):
    """A value is not of the type; the text is a hint to append to the message, or empty."""


def _json_scalar_problem(item: object) -> str | None:
    if item is None or isinstance(item, bool):
        return None
    if isinstance(item, str):
        return None if _is_unicode(item) else f"{short_repr(item)} is not valid Unicode"
    if isinstance(item, int):
        fits = INT64_MIN <= item <= U64_MAX
        return None if fits else f"{short_repr(item)} does not fit in 64 bits"
    if isinstance(item, float):
        return None if math.isfinite(item) else f"{item} is not a JSON number"
    hint = "; its .item() may be one" if isinstance(item, np.generic) else ""
    return f"{type(item).__name__} {short_repr(item)} is not a JSON value{hint}"


def _is_unicode(text: str) -> bool:
    if text.isascii():
        return True
    try:
        text.encode()
    except UnicodeEncodeError:  # a lone surrogate
        return False
    return True


def _keyword(value: object) -> str:
    if not isinstance(value, str):
        raise _RejectedError
    if not _is_unicode(value):
        raise _RejectedError(": a lone surrogate cannot be stored as UTF-8")
    return str.__str__(value)  # of an enum member, its text; str() would give its name


def _keywords(value: object) -> tuple[str, ...]:
    if isinstance(value, str):
        raise _RejectedError(": wrap a single keyword in a list")
    if isinstance(value, np.ndarray) and value.ndim == 1:
        value = value.tolist()
    if not isinstance(value, list | tuple):
        raise _RejectedError
    try:
        return tuple(map(_keyword, value))
    except _RejectedError as rejected:
        raise _RejectedError(str(rejected) or ": every item must be a str") from None


def _int(value: object) -> int:
    if isinstance(value, bool | np.bool_):
        raise _RejectedError(": a bool is not an int")
    if isinstance(value, float | np.floating):
        if not value.is_integer():
            raise _RejectedError(": it is no whole number")
    elif not isinstance(value, int | np.integer):
        raise _RejectedError
    number = int(value)
    if not INT64_MIN <= number <= INT64_MAX:
        raise _RejectedError(": does not fit in 64 bits")
    return number


def _float(value: object) -> float:
    if isinstance(value, bool | np.bool_):
        raise _RejectedError(": a bool is not a number")
    if not isinstance(value, int | float | np.integer | np.floating):
        raise _RejectedError
    try:
        number = float(value)
    except OverflowError:
        raise _RejectedError(": does not fit in 64 bits") from None
    if not math.isfinite(number):
        raise _RejectedError(": store None for a missing number")
    # Python compares integers and floats exactly, which NumPy's integers do not.
    if number != (int(value) if isinstance(value, np.integer) else value):
        raise _RejectedError(
            f": no float of 64 bits is this number, the nearest is {number!r}; pass float(value) "
            "if that will do, or declare the field an int"
        )
    return number + 0.0  # -0.0 becomes 0.0: they are equal, so their bytes must be


def _bool(value: object) -> bool:
    if not isinstance(value, bool | np.bool_):
        raise _RejectedError
    return bool(value)


def _timestamp(value: object) -> int:
    if isinstance(value, np.datetime64):
        microseconds = _microseconds(value)
    elif isinstance(value, dt.datetime):
        if value != value:  # pandas' NaT
            raise _RejectedError(": store None for a missing time")
        if value.utcoffset() is None:
            raise _RejectedError(": it has no timezone; pass tzinfo=datetime.UTC")
        microseconds = (value - _EPOCH) // _MICROSECOND
    elif isinstance(value, int | np.integer) and not isinstance(value, bool):
        microseconds = int(value)
    else:
        raise _RejectedError
    if not TIMESTAMP_MIN_US <= microseconds <= TIMESTAMP_MAX_US:
        raise _RejectedError(": outside the years 1 to 9999 (UTC)")
    return microseconds


def _microseconds(value: np.datetime64) -> int:
    if np.isnat(value):
        raise _RejectedError(": store None for a missing time")
    try:
        year = 1970 + int(value.astype("M8[Y]").astype(np.int64))
        if dt.MINYEAR <= year <= dt.MAXYEAR:  # else its microseconds may overflow
            return int(value.astype("M8[us]").astype(np.int64))
    except OverflowError:  # units between which NumPy cannot convert
        raise _RejectedError(
            f": its unit is {np.datetime_data(value)[0]}; convert it to microseconds"
        ) from None
    raise _RejectedError(": outside the years 1 to 9999 (UTC)")


def _json(value: object) -> object:
    problem = json_problem(value)
    if problem is not None:
        raise _RejectedError(f": {problem}")
    return copied_json(value)


_ORDERED: Final = ("==", "<", "<=", ">", ">=", "in", "exists")
FIELD_TRAITS: Final[Mapping[FieldType, FieldTraits]] = {
    FieldType.KEYWORD: FieldTraits("keyword (a str)", _keyword, _ORDERED),  # by code point
    FieldType.KEYWORDS: FieldTraits("keywords (a list of str)", _keywords, ("contains", "exists")),
    FieldType.INT: FieldTraits("int (64 bits)", _int, _ORDERED),
    FieldType.FLOAT: FieldTraits("float (finite)", _float, _ORDERED),
    FieldType.BOOL: FieldTraits("bool", _bool, ("==", "in", "exists")),
    FieldType.TIMESTAMP: FieldTraits(
        "timestamp (a timezone-aware datetime, or int microseconds since 1970)",
        _timestamp,
        _ORDERED,
    ),
    FieldType.JSON: FieldTraits(
        "json (dict, list, str, int, float, bool or None)", _json, ("exists",)
    ),
}
