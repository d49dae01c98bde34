"""Named tuples made quickly are named tuples."""

from __future__ import annotations

import pickle
from typing import Any

import pytest

from vstore.named import NamedTuple


class Point(NamedTuple):
    """A place."""

    x: int
    y: int
    label: str = "here"

    @property
    def total(self) -> int:
        return self.x + self.y

    @classmethod
    def origin(cls) -> Point:
        return cls(0, 0)


def test_they_are_what_typing_makes() -> None:
    point = Point(1, y=2)
    assert point == (1, 2, "here") == tuple(point)
    assert (Point._fields, Point._field_defaults) == (("x", "y", "label"), {"label": "here"})
    assert point._replace(x=5) == Point(5, 2)
    assert point._asdict() == {"x": 1, "y": 2, "label": "here"}
    assert (point.total, Point.origin().total) == (3, 0)
    assert repr(point) == "Point(x=1, y=2, label='here')"
    assert (Point.__doc__, Point.__name__) == ("A place.", "Point")
    assert (Point.__module__, Point.__qualname__) == (__name__, "Point")
    assert Point.__annotations__ == {"x": "int", "y": "int", "label": "str"}
    assert pickle.loads(pickle.dumps(point)) == point
    assert not hasattr(point, "__dict__")
    match point:
        case Point(x, y):
            assert (x, y) == (1, 2)


def test_what_typing_refuses_is_refused() -> None:
    with pytest.raises(TypeError):
        Point(1)  # type: ignore[call-arg]
    with pytest.raises(AttributeError):
        Point(1, 2).x = 3  # type: ignore[misc]
    made: Any = NamedTuple
    wrong = {
        "__annotations__": {"a": "int", "b": "int"},
        "a": 1,
        "__module__": "",
        "__qualname__": "",
    }
    with pytest.raises(TypeError, match="follows"):
        type(made)("Wrong", (made,), wrong)
