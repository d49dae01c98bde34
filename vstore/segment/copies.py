"""Copies of what a caller's iterator yields, each made before the next is drawn.

A generator may fill the same array, or dict, again for each row. What a sequence holds is not
copied: its rows are all there at the same time.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np


def drawn_copies(values: Iterable[Any]) -> list[Any]:
    """Return what an iterator yields, and what can be changed as copies."""
    return [_copy(value) for value in values]


def _copy(value: object) -> object:
    if value is None or isinstance(value, str | bytes | int | float | np.generic):
        return value
    if isinstance(value, np.ndarray):
        return value.copy()
    if isinstance(value, Mapping):
        return {name: _copy(one) for name, one in value.items()}
    if isinstance(value, list | Iterator):
        return drawn_copies(value)
    if type(value) is tuple:
        return tuple(drawn_copies(value))
    if callable(clone := getattr(value, "clone", None)):  # a tensor
        return clone()
    try:
        return np.array(memoryview(value))  # type: ignore[arg-type]  # which says whether it can
    except TypeError:
        return np.array(value) if hasattr(value, "__array__") else value
