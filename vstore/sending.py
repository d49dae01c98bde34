"""What an error may carry to another process: what comes back from a pickle, told without one."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from types import FunctionType
from typing import Final

_PLAIN: Final = (bool, int, float, str, bytes)
_PARTS_MAX: Final = 200  # of a value; errors that hold more are told in words
_PROTOCOL: Final = 4  # of pickles: what it asks objects for


def sendable(value: object, sound: type) -> object:
    """Return a value, or what can be said of it if it would not come back from a pickle.

    Parameters
    ----------
    sound : type
        Instances of it see to themselves.
    """
    if _is_sendable(value, sound, {}):
        return value
    name = f"{type(value).__module__}.{type(value).__qualname__}"
    if isinstance(value, BaseException):
        return Exception(f"{name}: {value}")
    return f"<{name}, which cannot be pickled>"


def _is_sendable(value: object, sound: type, seen: dict[int, object]) -> bool:
    """Whether a pickle would take a value, and give it back.

    Parameters
    ----------
    seen : dict of id to object
        What is being looked at already, and held so that no other object gets its id.
    """
    kind = type(value)
    if value is None or kind in _PLAIN or isinstance(value, sound) or id(value) in seen:
        return True
    if len(seen) == _PARTS_MAX:
        return False
    seen[id(value)] = value
    if isinstance(value, dict) and kind is dict:
        return all(_is_sendable(one, sound, seen) for one in (*value, *value.values()))
    if isinstance(value, list | tuple | set | frozenset) and kind.__module__ == "builtins":
        return all(_is_sendable(one, sound, seen) for one in value)
    if isinstance(value, type | FunctionType):
        return _is_importable(value)
    import copy  # which makes an object as a pickle does, from the same parts; few errors are sent

    try:
        copy.deepcopy(value)
        parts = value.__reduce_ex__(_PROTOCOL)
    except Exception:  # whatever its own code raises
        return False
    if not _is_importable(kind):
        return False
    # A copy shares functions, also those that no other process could find by their name.
    return isinstance(parts, str) or all(_is_sendable(one, sound, seen) for one in _listed(parts))


def _listed(parts: tuple[object, ...]) -> Iterator[object]:
    """Yield what an object is made from again: arguments, state, and items."""
    for part in parts[1:]:
        yield from part if isinstance(part, Iterator) else (part,)


def _is_importable(value: type | FunctionType) -> bool:
    found: object = sys.modules.get(value.__module__)
    for name in value.__qualname__.split("."):
        found = getattr(found, name, None)
    return found is value
