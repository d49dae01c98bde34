"""Modules that are imported when they are first used, for a start as fast as a search needs."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types import ModuleType


class Deferred:
    """A module in name only, until an attribute is asked for.

    Under ``TYPE_CHECKING`` the module itself is imported, so that types and layers are checked.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._module: ModuleType | None = None

    def __getattr__(self, attribute: str) -> object:
        if self._module is None:
            self._module = import_module(self._name)
        value: object = getattr(self._module, attribute)
        return value
