"""Modules that are imported when they are first used, for a start as fast as a search needs."""

from __future__ import annotations

import errno
from importlib import import_module
from typing import TYPE_CHECKING, Final

from vstore.errors import StorageError

if TYPE_CHECKING:
    from types import ModuleType

_NO_DESCRIPTOR: Final = (errno.EMFILE, errno.ENFILE)


def imported(name: str) -> ModuleType:
    """Import a module.

    Raises
    ------
    StorageError
        No more files can be opened, and a module is one.
    """
    try:
        return import_module(name)
    except OSError as error:
        if error.errno not in _NO_DESCRIPTOR:
            raise
        raise StorageError(
            f"{name} cannot be imported, which this call needs: {error.strerror}. Close "
            "files or sockets, or raise the limit (ulimit -n), and call it again."
        ) from error


class Deferred:
    """A module in name only, until an attribute is asked for.

    Under ``TYPE_CHECKING`` the module itself is imported, so that types and layers are checked.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._module: ModuleType | None = None

    def __getattr__(self, attribute: str) -> object:
        if self._module is None:
            self._module = imported(self._name)
        value: object = getattr(self._module, attribute)
        return value
