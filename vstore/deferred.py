"""Modules that are imported when they are first used, for a start as fast as a search needs."""

from __future__ import annotations

from importlib import import_module


class Deferred:
    """A module in name only, until an attribute is asked for.

    Under ``TYPE_CHECKING`` the module itself is imported, so that types and layers are checked.
    """

    def __init__(self, name: str) -> None:
        self._name = name

    def __getattr__(self, attribute: str) -> object:
        value: object = getattr(import_module(self._name), attribute)
        setattr(self, attribute, value)
        return value
