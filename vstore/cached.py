"""`functools.cached_property` without its lock.

Python 3.11 has one lock for each such attribute, shared by all instances: stores would wait for
each other, and a child that is forked while another thread computes a value would wait for ever.
Two threads may compute a value here; what is cached is the same whoever did.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Generic, Self, TypeVar, overload

if TYPE_CHECKING:
    from collections.abc import Callable

_Value = TypeVar("_Value")


class cached_property(Generic[_Value]):  # noqa: N801 - it stands for the standard library's
    """A property that is computed once for each instance."""

    def __init__(self, compute: Callable[[Any], _Value]) -> None:
        self._compute = compute
        self.__doc__ = compute.__doc__

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    @overload
    def __get__(self, instance: None, owner: type | None = None) -> Self: ...

    @overload
    def __get__(self, instance: object, owner: type | None = None) -> _Value: ...

    def __get__(self, instance: object | None, owner: type | None = None) -> Self | _Value:
        if instance is None:
            return self
        value = self._compute(instance)
        # Looked up before this descriptor from now on, since it has no ``__set__``.
        instance.__dict__[self._name] = value
        return value
