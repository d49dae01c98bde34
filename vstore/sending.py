"""What an error may carry to another process: what comes back from a pickle, told without one."""

from __future__ import annotations

import sys
from types import FunctionType
from typing import Final

_PLAIN: Final = (bool, int, float, str, bytes)


def sendable(value: object, sound: type) -> object:
    """Return a value, or what can be said of it if it would not come back from a pickle.

    Parameters
    ----------
    sound : type
        Instances of it see to themselves.
    """
    if _is_sendable(value, sound):
        return value
    name = f"{type(value).__module__}.{type(value).__qualname__}"
    if isinstance(value, BaseException):
        return Exception(f"{name}: {value}")
    return f"<{name}, which cannot be pickled>"


def _is_sendable(value: object, sound: type) -> bool:
    kind = type(value)
    if value is None or kind in _PLAIN or isinstance(value, sound):
        return True
    if isinstance(value, dict) and kind is dict:
        return all(_is_sendable(one, sound) for one in (*value, *value.values()))
    if isinstance(value, list | tuple | set | frozenset) and kind.__module__ == "builtins":
        return all(_is_sendable(one, sound) for one in value)
    if isinstance(value, type | FunctionType):
        return _is_importable(value)
    import copy  # which makes an object as a pickle does, from the same parts; few errors are sent

    try:
        copy.deepcopy(value)
    except Exception:  # whatever its own code raises
        return False
    if isinstance(value, BaseException) and not all(
        _is_sendable(one, sound) for one in (*value.args, *vars(value).values())
    ):
        return False
    return _is_importable(kind)


def _is_importable(value: type | FunctionType) -> bool:
    found: object = sys.modules.get(value.__module__)
    for name in value.__qualname__.split("."):
        found = getattr(found, name, None)
    return found is value
