"""Handles: a collection of an open file, at a snapshot, inside a scope; all services take one.

A handle never changes. All reads of the collection go through `Handle.view`, which hides all
documents outside the scope; `Handle.require_unscoped` and `Handle.require_whole` refuse operations
on the whole collection through a scoped handle.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol
from weakref import ref

from vstore.deferred import Deferred
from vstore.errors import InvalidArgumentError, ReadOnlyError, ScopeError, StateError

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
else:  # loaded late: a search does not need these
    edits = Deferred("vstore.manifest.edits")
    filters = Deferred("vstore.query.filter")


class Handle:
    """A collection of an open file, as a caller may see it. Immutable.

    Attributes
    ----------
    file : OpenFile
    name : str
        Name of the collection.
    embedders : EmbedderRegistry
        Embedders of the store that made the handle.
    scope : Filter | None
        Filter that confines every read and write; None for all documents.
    pinned : Snapshot | None
        Snapshot to read; None for the newest.
    """

    __slots__ = ("_bound", "_bound_scope", "_seen", "embedders", "file", "name", "pinned", "scope")

    def __init__(
        self,
        file: OpenFile,
        name: str,
        embedders: EmbedderRegistry,
        *,
        scope: Filter | None = None,
        pinned: Snapshot | None = None,
        bound: VersionState | None = None,
    ) -> None:
        self.file = file
        self.name = name
        self.embedders = embedders
        self.scope = scope
        self.pinned = pinned
        self._bound = bound
        self._bound_scope: tuple[object, Filter] | None = None
        # Cache of the latest scoped view; its snapshot holds the view, this handle does not.
        self._seen: ref[CollectionView] | None = None

    def within(self, scope: Filter) -> Handle:
        """Return a handle with a scope, which must include this handle's."""
        return self._but(scope=scope)

    def pinned_to(self, snapshot: Snapshot) -> Handle:
        """Return the same handle, pinned to a snapshot."""
        return self._but(pinned=snapshot)

    def bound(self, version: VersionState) -> Handle:
        """Return the same handle, bound to a version."""
        return self._but(bound=version)

    @property
    def version(self) -> str | None:
        """Label of the version that is meant if none is named; None if the handle is unbound."""
        return None if self._bound is None else self._bound.label

    def _but(
        self,
        *,
        scope: Filter | None = None,
        pinned: Snapshot | None = None,
        bound: VersionState | None = None,
    ) -> Handle:
        return Handle(
            self.file,
            self.name,
            self.embedders,
            scope=self.scope if scope is None else scope,
            pinned=self.pinned if pinned is None else pinned,
            bound=self._bound if bound is None else bound,
        )

    def label(self, version: str | None) -> str:
        """Return the given label, or else the label that the handle is bound to.

        Raises
        ------
        InvalidArgumentError
            No label is given, and the handle is not bound to a version.
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
        """Observer of the open file, which counts its searches."""
        return self.file.observer

    @property
    def is_pinned(self) -> bool:
        """Whether the handle reads a fixed epoch, and not always the newest."""
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
        newest = self.file.current()  # raises for a closed store, or in a fork
        return newest if self.pinned is None else self.pinned

    def view(self) -> CollectionView:
        """Return the view of the collection that reads see now, inside the scope.

        Raises
        ------
        ClosedError
            The store is closed, or was opened by a parent process.
        NotFoundError
            The collection was dropped.
        """
        return self.view_at(self.snapshot())

    def view_at(self, snapshot: Snapshot) -> CollectionView:
        """Return the view of the collection at a snapshot, inside the scope."""
        whole = self._whole_at(snapshot)
        if self.scope is None:
            return whole
        seen = None if self._seen is None else self._seen()
        if seen is None or seen.whole is not whole:
            seen = snapshot.part(self.name, self.bound_scope(whole))
            self._seen = ref(seen)
        return seen

    def _whole_at(self, snapshot: Snapshot) -> CollectionView:
        """Return the whole collection at a snapshot, once the handle's version is found in it.

        Raises
        ------
        NotFoundError
            The collection was dropped.
        StateError
            It was made again, and the label that the handle is bound to is another version's.
        """
        whole = snapshot.collection(self.name)
        bound = self._bound
        if bound is not None:
            known = whole.state.versions.get(bound.label)
            if known is None or known.spec.fingerprint != bound.spec.fingerprint:
                raise StateError(
                    f"this handle was bound to version {bound.label!r} of {self.name!r}, and that "
                    "label is another version's now; bind a new handle: docs.at(...)"
                )
        return whole

    def bound_scope(self, view: CollectionView) -> Filter:
        """Return the scope, bound to a view's fields."""
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
        self._whole_at(self.snapshot())  # raises if the collection was dropped
        if self.pinned is not None:
            raise ReadOnlyError(
                f"this handle on {self.name!r} reads epoch {self.pinned.epoch}; "
                "write through Store.collection()"
            )

    def require_unscoped(self, what: str) -> None:
        """Refuse to write to the whole collection through a scoped handle.

        Raises
        ------
        ReadOnlyError, NotFoundError, ScopeError
            The handle reads an older epoch; the collection was dropped; the handle is scoped.
        """
        self.require_writable()
        self.require_whole(what)

    def require_whole(self, what: str) -> None:
        """Refuse an operation on the whole collection through a scoped handle.

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
        """Commit an edit of the collection's state; nothing if the edit returns the same object.

        Parameters
        ----------
        edit : callable
            Runs during the writer's turn: its measurements cannot change before the commit.

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
        """Commit an edit as `change` does, but allow a scoped handle, for the scope's own state."""

        def whole(state: StoreState) -> StoreState:
            before = state.collections[self.name]
            after = edit(before)
            return state if after is before else edits.put_collection(state, after)

        self.file.change(whole, operation)


class HandleOwner(Protocol):
    """A public object that wraps a handle."""

    @property
    def _handle(self) -> Handle: ...


def handle_of(owner: HandleOwner) -> Handle:
    """Return the handle of a public object.

    Raises
    ------
    InvalidArgumentError
        It is no collection.
    """
    handle: object = getattr(owner, "_handle", None)  # callers without a type checker pass anything
    if not isinstance(handle, Handle):
        raise InvalidArgumentError(f"collection: expected a Collection, found {owner!r:.60}")
    return handle
