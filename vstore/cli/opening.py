"""Opening stores: read-only for commands that look, never creating one but in ``init``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vstore.api.opening import open_store
from vstore.errors import InvalidArgumentError, NotFoundError
from vstore.query.filter import field

if TYPE_CHECKING:
    from pathlib import Path

    from vstore.api.collection import Collection
    from vstore.api.store import Store


def open_to_read(path: Path, *, epoch: int | None = None, tag: str | None = None) -> Store:
    """Open a store without taking its lock."""
    require_file(path)
    return open_store(path, mode="r", epoch=epoch, tag=tag)


def open_to_write(path: Path, *, wait: float) -> Store:
    """Open a store that exists as its writer, waiting so many seconds for another one."""
    require_file(path)
    return open_store(path, create=False, timeout_s=wait)


def require_file(path: Path) -> None:
    """Refuse a path where there is nothing.

    Raises
    ------
    NotFoundError
        There is no such file.
    """
    if not path.exists():
        raise NotFoundError(f"{path}: no such file. Make a store with `vstore init {path}`.")


def pick_slice(store: Store, name: str | None, slice_: str | None) -> Collection:
    """Return the collection, confined to one value of a field if that is given.

    Raises
    ------
    InvalidArgumentError, FilterError, NotFoundError
        The slice is not field=value; the field is no keyword; there is no such collection.
    """
    docs = pick_collection(store, name)
    if slice_ is None:
        return docs
    field_name, separator, value = slice_.partition("=")
    if not separator:
        raise InvalidArgumentError(f"--slice: expected FIELD=VALUE, found {slice_!r:.80}")
    return docs.scoped(field(field_name) == value)


def pick_collection(store: Store, name: str | None) -> Collection:
    """Return the collection of that name, or the only one.

    Raises
    ------
    InvalidArgumentError
        No name was given and there are several.
    NotFoundError
        There is no such collection, or none at all.
    """
    if name is not None:
        return store.collection(name)
    if not store.collections:
        raise NotFoundError(
            f"{store.path} has no collection yet; `vstore init {store.path} --collection NAME` "
            "makes one"
        )
    if len(store.collections) > 1:
        raise InvalidArgumentError(
            f"{store.path} has several collections; say which with --collection: "
            f"{', '.join(store.collections)}"
        )
    return store.collection(store.collections[0])
