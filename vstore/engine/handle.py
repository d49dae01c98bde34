"""Handles: a collection of an open file, at a snapshot, inside a scope. Services take these.

A handle never changes. Everything that is asked of the collection is asked of its `Handle.view`,
which knows nothing of what is outside the scope; what concerns the whole collection is refused
through a scoped handle by `Handle.require_unscoped` and `Handle.require_whole`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol
from weakref import ref

from vstore.deferred import Deferred
from vstore.errors import InvalidArgumentError, ReadOnlyError, ScopeError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from vstore.clock import Clock
    from vstore.embedding.embedder import Embeddings
    from vstore.embedding.registry import EmbedderRegistry
    from vstore.engine.open_file import OpenFile
    from vstore.engine.snapshot import CollectionView, Snapshot
    from vstore.manifest import edits
    from vstore.manifest.commit import Operation
    from vstore.manifest.edits import Moment
    from vstore.manifest.state import CollectionState, StoreState, VersionState
    from vstore.observe.observer import Observer
    from vstore.query import filter as filters
    from vstore.query.filter import Filter
else:  # not what a search needs
    edits = Deferred("vstore.manifest.edits")
    filters = Deferred("vstore.query.filter")


class Handle:
    """A collection of an open file, as a caller may see it. Immutable.

    Attributes
    ----------
    file : OpenFile
    name : str
        The collection's.
    embedders : EmbedderRegistry
        Of the store that the handle was made by.
    scope : Filter | None
        Which documents every read and write stays inside; None for all.
    pinned : Snapshot | None
        What it reads, unless that is the newest snapshot.
    version : str | None
        Label of the version that is meant where none is named.
    """

    __slots__ = ("_bound_scope", "_seen", "embedders", "file", "name", "pinned", "scope", "version")

    def __init__(
        self,
        file: OpenFile,
        name: str,
        embedders: EmbedderRegistry,
        *,
        scope: Filter | None = None,
        pinned: Snapshot | None = None,
        version: str | None = None,
    ) -> None:
        self.file = file
        self.name = name
        self.embedders = embedders
        self.scope = scope
        self.pinned = pinned
        self.version = version
        self._bound_scope: tuple[object, Filter] | None = None
        # The latest scoped view, held by the snapshot that it is of, not by this handle.
        self._seen: ref[CollectionView] | None = None

    def within(self, scope: Filter) -> Handle:
        """Return a handle inside a scope, which has this one's in it already."""
        return self._but(scope=scope)

    def at(self, snapshot: Snapshot) -> Handle:
        """Return the same handle, pinned to a snapshot."""
        return self._but(pinned=snapshot)

    def bound(self, label: str) -> Handle:
        """Return the same handle, bound to a version."""
        return self._but(version=label)

    def _but(
        self,
        *,
        scope: Filter | None = None,
        pinned: Snapshot | None = None,
        version: str | None = None,
    ) -> Handle:
        return Handle(
            self.file,
            self.name,
            self.embedders,
            scope=self.scope if scope is None else scope,
            pinned=self.pinned if pinned is None else pinned,
            version=self.version if version is None else version,
        )

    def label(self, version: str | None) -> str:
        """Return the label of the version that is meant.

        Raises
        ------
        InvalidArgumentError
            None is named, and the handle is bound to none.
        """
        found = self.version if version is None else version
        if found is None:
            raise InvalidArgumentError(
                f"version: collection {self.name!r} expects a label, and found none; name one, or "
                "bind a handle to it: docs.at(label)"
            )
        return found

    @property
    def clock(self) -> Clock:
        """The open file's clock."""
        return self.file.clock

    @property
    def observer(self) -> Observer:
        """What counts the searches of the open file."""
        return self.file.observer

    @property
    def is_pinned(self) -> bool:
        """Whether it reads an older epoch, or would if one were committed now."""
        return self.pinned is not None

    @property
    def scope_text(self) -> str:
        """The scope as text, empty without one."""
        return "" if self.scope is None else filters.describe(self.scope)

    # Reading.

    def snapshot(self) -> Snapshot:
        """Return the snapshot that reads see now.

        Raises
        ------
        ClosedError
            The store is closed, or was opened by a parent process.
        """
        newest = self.file.current()  # which a closed store, or a fork's, does not have
        return newest if self.pinned is None else self.pinned

    def view(self) -> CollectionView:
        """Return the collection at that snapshot, inside the scope.

        Raises
        ------
        ClosedError
            The store is closed, or was opened by a parent process.
        NotFoundError
            The collection was dropped.
        """
        return self.view_at(self.snapshot())

    def view_at(self, snapshot: Snapshot) -> CollectionView:
        """Return the collection at a snapshot, inside the scope."""
        whole = snapshot.collection(self.name)
        if self.scope is None:
            return whole
        seen = None if self._seen is None else self._seen()
        if seen is None or seen.whole is not whole:
            seen = snapshot.part(self.name, self.bound_scope(whole))
            self._seen = ref(seen)
        return seen

    def bound_scope(self, view: CollectionView) -> Filter:
        """Return the scope, bound to the fields as they are in a view."""
        assert self.scope is not None, "only for scoped handles"
        if self._bound_scope is None or self._bound_scope[0] != view.field_types:
            self._bound_scope = (view.field_types, filters.bind(self.scope, view.field_types))
        return self._bound_scope[1]

    def embed_queries(self, version: VersionState, texts: Sequence[str]) -> Embeddings:
        """Return stamped vectors of query texts for a version; see `EmbedderRegistry`."""
        accepted = self.file.current().state.equivalent(version.spec.fingerprint)
        return self.embedders.embed_queries(version, accepted, texts)

    # Writing.

    def require_writable(self) -> None:
        """Refuse to write through a handle on an older epoch.

        Raises
        ------
        ReadOnlyError, NotFoundError
            The handle reads an older epoch; the collection was dropped.
        """
        self.snapshot().collection(self.name)  # raises if the collection was dropped
        if self.pinned is not None:
            raise ReadOnlyError(
                f"this handle on {self.name!r} reads epoch {self.pinned.epoch}; "
                "write through Store.collection()"
            )

    def require_unscoped(self, what: str) -> None:
        """Refuse to write what concerns the whole collection through a scoped handle.

        Raises
        ------
        ReadOnlyError, NotFoundError, ScopeError
            The handle reads an older epoch; the collection was dropped; the handle is scoped.
        """
        self.require_writable()
        self.require_whole(what)

    def require_whole(self, what: str) -> None:
        """Refuse what is about the whole collection through a handle that sees a part of it.

        Raises
        ------
        ScopeError
            The handle is scoped.
        """
        if self.scope is not None:
            raise ScopeError(
                f"{what}: not through a scoped handle, since it concerns documents outside "
                f"{self.scope_text!r:.200} too; use Store.collection({self.name!r})"
            )

    def moment(self, reason: str = "") -> Moment:
        """Return the epoch and time of the commit being made."""
        return self.file.moment(reason)

    def change(
        self, edit: Callable[[CollectionState], CollectionState], operation: Operation
    ) -> None:
        """Commit what an edit makes of the collection's state; nothing if it returns it as it is.

        Parameters
        ----------
        edit : callable
            Runs under the writer lock: what it measures cannot change before the commit.

        Raises
        ------
        ReadOnlyError, NotFoundError, ScopeError, StorageError
            The handle reads an older epoch; the collection was dropped; the handle is scoped; the
            operating system refuses to write.
        """
        self.require_unscoped(operation.name)
        self.change_part(edit, operation)

    def change_part(
        self, edit: Callable[[CollectionState], CollectionState], operation: Operation
    ) -> None:
        """Commit an edit as `change` does, also through a scoped handle: of what is the scope's."""

        def whole(state: StoreState) -> StoreState:
            before = state.collections[self.name]
            after = edit(before)
            return state if after is before else edits.put_collection(state, after)

        self.file.change(whole, operation)


class HandleOwner(Protocol):
    """What stands for a collection towards its users."""

    @property
    def _handle(self) -> Handle: ...


def handle_of(owner: HandleOwner) -> Handle:
    """Return the handle of what users hold."""
    return owner._handle
