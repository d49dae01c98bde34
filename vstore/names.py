"""Names, notes and choices from a caller, checked."""

from __future__ import annotations

import unicodedata
from typing import TYPE_CHECKING, TypeVar

from vstore.errors import InvalidArgumentError, LimitExceededError
from vstore.limits import NAME_BYTES_MAX, REASON_BYTES_MAX

if TYPE_CHECKING:
    from collections.abc import Collection

_Choice = TypeVar("_Choice", bound=str)


def check_name(value: object, *, what: str) -> str:
    """Return the name of a collection, version, field or tag.

    Raises
    ------
    InvalidArgumentError
        It is no text, is empty, is padded with blanks, or has a control character.
    LimitExceededError
        It is longer than `NAME_BYTES_MAX`.
    """
    name = require_text(value, what=what)
    if not name or name != name.strip():
        raise InvalidArgumentError(f"{what}: must not be empty or padded, found {name!r:.60}")
    if any(unicodedata.category(character) in ("Cc", "Cs") for character in name):
        raise InvalidArgumentError(f"{what}: has a control character: {name!r:.60}")
    return _bounded(name, what, NAME_BYTES_MAX, "NAME_BYTES_MAX")


def check_note(value: object, *, what: str) -> str:
    """Return a reason or note."""
    return _bounded(require_text(value, what=what), what, REASON_BYTES_MAX, "REASON_BYTES_MAX")


def require_text(value: object, *, what: str) -> str:
    """Return a name to look up, which may be any text.

    Raises
    ------
    InvalidArgumentError
        It is no str.
    """
    if not isinstance(value, str):
        raise InvalidArgumentError(f"{what}: expected a str, found {value!r:.60}")
    return value if type(value) is str else str.__str__(value)  # of NumPy's, or an enum's, the text


def check_choice(value: object, choices: Collection[_Choice], *, what: str) -> _Choice:
    """Return the one of some texts that a value is.

    Raises
    ------
    InvalidArgumentError
        It is none of them.
    """
    for choice in choices:
        if isinstance(value, str) and value == choice:
            return choice
    raise InvalidArgumentError(f"{what}: expected one of {', '.join(choices)}, found {value!r:.60}")


def _bounded(value: str, what: str, allowed: int, limit: str) -> str:
    try:
        size_bytes = len(value.encode())
    except UnicodeEncodeError as error:
        raise InvalidArgumentError(f"{what}: not valid Unicode ({error})") from error
    if size_bytes > allowed:
        raise LimitExceededError(f"{what} in bytes", limit=limit, found=size_bytes, allowed=allowed)
    return value
