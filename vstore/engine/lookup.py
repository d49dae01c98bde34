"""Lazy mappings by name, which raise `NotFoundError` for a missing name."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import TYPE_CHECKING, TypeVar, overload

from vstore.engine.open_handle import OpenHandle
from vstore.errors import NotFoundError

if TYPE_CHECKING:
    from collections.abc import Iterator

_Value = TypeVar("_Value")
_Other = TypeVar("_Other")


class Lookup(OpenHandle, Mapping[str, _Value]):
    """A mapping whose values are made on demand; a missing name raises `NotFoundError`."""

    __slots__ = ()

    def _elsewhere(self) -> str:
        return "Send the path, and open the store in the worker"

    @abstractmethod
    def _names(self) -> tuple[str, ...]:
        """Return the names, in order of creation."""

    def __iter__(self) -> Iterator[str]:
        return iter(self._names())

    def __len__(self) -> int:
        return len(self._names())

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and name in self._names()

    @overload
    def get(self, name: str, /) -> _Value | None: ...
    @overload
    def get(self, name: str, /, default: _Value | _Other) -> _Value | _Other: ...
    def get(self, name: str, /, default: object = None) -> object:
        """Return the value of a name, or the default if there is none."""
        try:
            return self[name]
        except NotFoundError:
            return default

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: {', '.join(map(repr, self._names())) or 'none'}>"
