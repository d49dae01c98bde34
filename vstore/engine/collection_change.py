"""A change of one collection's state, as a commit of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vstore.errors import ScopeError
from vstore.manifest.edits import put_collection

if TYPE_CHECKING:
    from collections.abc import Callable

    from vstore.api.collection import Collection
    from vstore.manifest.commit import Operation
    from vstore.manifest.state import CollectionState, StoreState


def change_collection(
    collection: Collection,
    edit: Callable[[CollectionState], CollectionState],
    operation: Operation,
) -> None:
    """Commit what an edit makes of the collection's state; nothing if it returns it as it is.

    Parameters
    ----------
    edit : callable
        Runs under the writer lock: what it measures cannot change before the commit.

    Raises
    ------
    ReadOnlyError, NotFoundError, ScopeError, StorageError
    """
    require_unscoped(collection, operation.name)

    def whole(state: StoreState) -> StoreState:
        before = state.collections[collection.name]
        after = edit(before)
        return state if after is before else put_collection(state, after)

    collection.store.change(whole, operation)


def require_unscoped(collection: Collection, what: str) -> None:
    """Refuse what concerns the whole collection through a handle that sees a part of it.

    Raises
    ------
    ReadOnlyError, NotFoundError, ScopeError
    """
    collection.require_writable()
    require_whole(collection, what)


def require_whole(collection: Collection, what: str) -> None:
    """Refuse what is about the whole collection through a handle that sees a part of it.

    Raises
    ------
    ScopeError
    """
    if collection.scope is not None:
        raise ScopeError(
            f"{what}: not through a scoped handle, since it concerns documents outside "
            f"{collection.scope_text!r:.200} too; use Store.collection({collection.name!r})"
        )
