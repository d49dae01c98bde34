"""The values of the last few keys, for what is asked again and again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

RECENT: Final = 4  # masks are as long as a collection

Key = TypeVar("Key")
Value = TypeVar("Value")


class Recent(Generic[Key, Value]):
    """The values of the last few keys."""

    def __init__(self, most: int = RECENT) -> None:
        self._most = most
        self._values: dict[Key, Value] = {}

    def __len__(self) -> int:
        return len(self._values)

    def find(self, key: Key) -> Value | None:
        """Return a key's value, None if it is not there."""
        return self._values.get(key)

    def get(self, key: Key, make: Callable[[], Value]) -> Value:
        """Return a key's value, made if it is not there. Safe to use from many threads."""
        value = self._values.pop(key, None)
        return self.put(key, make() if value is None else value)

    def put(self, key: Key, value: Value) -> Value:
        """Give a key a value, and forget the oldest key if there are too many."""
        self._values[key] = value
        for oldest in list(self._values)[: -self._most]:
            self._values.pop(oldest, None)
        return value
