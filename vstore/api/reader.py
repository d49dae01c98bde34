"""Readers: a store at one epoch."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vstore.api.collection import Collection
from vstore.engine.open_handle import OpenHandle, opening

if TYPE_CHECKING:
    from vstore.api.store import Store
    from vstore.engine.snapshot import Snapshot


class Reader(OpenHandle):
    """The store at one epoch, read-only. Made by ``Store.snapshot``."""

    def __init__(self, store: Store, snapshot: Snapshot) -> None:
        self._store = store
        self._snapshot = snapshot

    def _elsewhere(self) -> str:
        return opening(self._store.path, f".snapshot({self.epoch})")

    @property
    def epoch(self) -> int:
        """The epoch."""
        return self._snapshot.epoch

    @property
    def collections(self) -> tuple[str, ...]:
        """Names of the collections.

        Raises
        ------
        ClosedError
            The store is closed, or was opened by a parent process.
        """
        self._store._open_file.current()
        return tuple(self._snapshot.state.collections)

    def collection(self, name: str) -> Collection:
        """Return a handle whose reads see this epoch.

        Raises
        ------
        NotFoundError
            There is no such collection at this epoch.
        ClosedError
            The store is closed, or was opened by a parent process.
        """
        self._store._open_file.current()
        self._snapshot.collection(name)
        return Collection(self._store, self._store._handle(name).pinned_to(self._snapshot))
