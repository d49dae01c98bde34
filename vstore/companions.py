"""What higher floors keep beside an object of a lower one, for as long as that object lives."""

from __future__ import annotations

from typing import TypeVar

T = TypeVar("T")


class Companions:
    """At most one object of each class, made when it is first asked for.

    A snapshot's view knows nothing of searches, yet the searches that were prepared for it should
    go when it goes. So the view owns this, and `searching` keeps an object of its own class in it.
    """

    __slots__ = ("_made",)

    def __init__(self) -> None:
        self._made: dict[type, object] = {}

    def of(self, kind: type[T]) -> T:
        """Return the object of a class, made without arguments if there is none yet.

        Safe to use from many threads: all get the same object.
        """
        found = self._made.get(kind)
        if not isinstance(found, kind):
            found = self._made.setdefault(kind, kind())
            assert isinstance(found, kind)
        return found
