"""The values of the last few keys, for what is asked again and again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

RECENT: Final = 4

Key = TypeVar("Key")
Value = TypeVar("Value")


class Recent(Generic[Key, Value]):
    """The values of the last few keys."""

    def __init__(self, most: int = RECENT) -> None:
        self._most = most
        self._values: dict[Key, Value] = {}

    def get(self, key: Key, make: Callable[[], Value]) -> Value:
        """Return a key's value, made if it is not there. Safe to use from many threads."""
        value = self._values.pop(key, None)
        if value is None:
            value = make()
        self._values[key] = value
        for oldest in list(self._values)[: -self._most]:
            self._values.pop(oldest, None)
        return value
