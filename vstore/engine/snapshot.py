"""Snapshots: the whole store at one epoch, immutable, readable without locks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from vstore.cached import cached_property
from vstore.companions import Companions
from vstore.deferred import Deferred
from vstore.engine.replaying import replayed
from vstore.errors import CorruptionError, NotFoundError
from vstore.manifest.commit import Commit, Place, chain
from vstore.manifest.state import FieldType
from vstore.names import require_text
from vstore.recent import Recent
from vstore.segment.document_table import DocumentTable, SealedDocuments
from vstore.segment.documents import DocumentSegment
from vstore.segment.memtable import EMPTY, Memtable
from vstore.segment.row_table import RowTable, SealedRows
from vstore.segment.vectors import VectorSegment

if TYPE_CHECKING:
    from collections.abc import Mapping

    from vstore.engine import scoped_view
    from vstore.manifest.state import CollectionState, SegmentRef, StoreState, VersionState
    from vstore.observe import hit_counter
    from vstore.observe.hit_counter import Numbering
    from vstore.query import filter_evaluation
    from vstore.query.filter import Filter
    from vstore.storage.block import BlockRef
    from vstore.storage.container import Container
    from vstore.types import BoolArray
else:  # loaded late: a search without a filter does not need these
    filter_evaluation = Deferred("vstore.query.filter_evaluation")
    hit_counter = Deferred("vstore.observe.hit_counter")
    scoped_view = Deferred("vstore.engine.scoped_view")


_SCOPES: Final = 8  # cached views; each takes a byte for each document, and for each row read


class SegmentCache:
    """Cache of one file's opened segments, shared by the snapshots of a handle.

    Attributes
    ----------
    companions : Companions
        Objects that higher layers keep for as long as the file is open.
    """

    def __init__(self, container: Container) -> None:
        self.container = container
        self._documents: dict[tuple[int, ...], SealedDocuments] = {}
        self._rows: dict[tuple[object, ...], SealedRows] = {}
        self._segments: dict[int, DocumentSegment | VectorSegment] = {}
        self.companions = Companions()

    def documents(self, refs: tuple[SegmentRef, ...]) -> SealedDocuments:
        """Return the sealed documents of a collection."""
        key = tuple(ref.header.offset for ref in refs)
        documents = self._documents.get(key)
        if documents is None:
            documents = SealedDocuments(tuple(self._document(ref) for ref in refs))
            self._documents[key] = documents  # not read back: a writer may prune meanwhile
        return documents

    def rows(self, version: VersionState, documents: tuple[SegmentRef, ...]) -> SealedRows:
        """Return the sealed rows of a version."""
        key = (
            tuple(ref.header.offset for ref in version.segments),
            tuple(ref.header.offset for ref in documents),
            version.stale_policy,
        )
        rows = self._rows.get(key)
        if rows is None:
            rows = SealedRows(
                tuple(self._vector(ref, version) for ref in version.segments),
                self.documents(documents),
                serve_stale=version.stale_policy == "serve",
            )
            self._rows[key] = rows
        return rows

    def _document(self, ref: SegmentRef) -> DocumentSegment:
        segment = self._segments.get(ref.header.offset)
        if not isinstance(segment, DocumentSegment):
            segment = self._segments[ref.header.offset] = DocumentSegment(self.container, ref)
        return segment

    def _vector(self, ref: SegmentRef, version: VersionState) -> VectorSegment:
        segment = self._segments.get(ref.header.offset)
        if not isinstance(segment, VectorSegment):
            segment = VectorSegment(self.container, ref, version.spec)
            self._segments[ref.header.offset] = segment
        return segment

    def prune(self, state: StoreState) -> None:
        """Drop segments that the state does not name; older snapshots keep theirs alive."""
        wanted: set[int] = set()
        for collection in state.collections.values():
            wanted.update(ref.header.offset for ref in collection.segments)
            for version in collection.versions.values():
                wanted.update(ref.header.offset for ref in version.segments)
        # Lists: a reader's thread may add entries during the iteration.
        documents = {k: v for k, v in list(self._documents.items()) if wanted.issuperset(k)}
        segments = {k: v for k, v in list(self._segments.items()) if k in wanted}
        alive = {id(known) for known in documents.values()}
        self._rows = {k: v for k, v in list(self._rows.items()) if id(v.documents) in alive}
        self._documents, self._segments = documents, segments
        self.container.forget_views(
            block.offset for segment in segments.values() for block in segment.blocks()
        )


class CollectionView:
    """One collection at one epoch; `scoped_view.ScopedView` is confined to some of its documents.

    Attributes
    ----------
    scope : Filter | None
        Filter that confines the view; None for all documents.
    companions : Companions
        Objects that higher layers keep for as long as the view lives, such as prepared searches.
    """

    def __init__(self, state: CollectionState, memtable: Memtable, cache: SegmentCache) -> None:
        field_types = {name: FieldType(value) for name, value in state.fields.items()}
        self._known = state, DocumentTable(cache.documents(state.segments), memtable, field_types)
        self._begin(memtable, cache, field_types)

    def _begin(
        self,
        memtable: Memtable,
        cache: SegmentCache,
        field_types: dict[str, FieldType],
        scope: Filter | None = None,
    ) -> None:
        self.memtable = memtable
        self.cache = cache
        self._file = cache.container.file  # keeps the file open, see `Container.let_go`
        self.field_types = field_types
        self.scope = scope
        self._tables: dict[str, RowTable] = {}
        self.companions = Companions()
        self.matching: Recent[object, BoolArray] = Recent()  # cache of masks by filter

    @cached_property
    def state(self) -> CollectionState:
        """The collection's state in the manifest."""
        return self._known[0]

    @cached_property
    def documents(self) -> DocumentTable:
        """The collection's documents."""
        return self._known[1]

    @property
    def whole(self) -> CollectionView:
        """View of the whole collection: this one, if it has no scope."""
        return self

    def has_own_route(self, key: str) -> bool:
        """Whether a route, and so its recorded evidence, is of this view's documents alone."""
        return True

    def version(self, label: str) -> VersionState:
        """Return a version's state.

        Raises
        ------
        NotFoundError
            The collection has no such version.
        """
        version = self.state.versions.get(require_text(label, what="version label"))
        if version is None:
            known = ", ".join(self.state.versions) or "none"
            raise NotFoundError(
                f"collection {self.state.name!r} has no version {label!r}; it has: {known}"
            )
        return version

    def may_tell_route(self, key: str, bound: Filter) -> bool:
        """Whether a search may use a route, and name it."""
        return True

    @property
    def live_count(self) -> int:
        """Number of live documents."""
        return self.documents.live_count

    @property
    def numbering(self) -> Numbering:
        """Identity of the docnos."""
        return hit_counter.Numbering(self.cache.container, self.state.created_epoch)

    def rows(self, label: str) -> RowTable:
        """Return the rows of a version."""
        version = self.version(label)
        table = self._tables.get(label)
        if table is None:
            table = self._tables[label] = self._made_table(version)
        return table

    def _made_table(self, version: VersionState) -> RowTable:
        sealed = self.cache.rows(version, self.state.segments)
        return RowTable(version.label, sealed, self.memtable, self.documents)


def matching_documents(view: CollectionView, bound: Filter) -> BoolArray:
    """Return the mask of live documents that pass a bound filter; cached, so read-only."""

    def predicate(column: object, count: int) -> BoolArray:
        return filter_evaluation.evaluate(bound, column, count)  # type: ignore[arg-type]  # see Predicate

    return view.matching.get(bound, lambda: view.documents.mask(predicate))


class Snapshot:
    """The store at one epoch; it never changes.

    Attributes
    ----------
    tip : BlockRef
        The epoch's commit block.
    base : BlockRef
        The full manifest that the tip's deltas build on; the tip itself if it is one.
    depth : int
        Number of deltas since the full manifest.
    """

    def __init__(
        self,
        *,
        container: Container,
        cache: SegmentCache,
        tip: BlockRef,
        base: BlockRef,
        depth: int,
        epoch: int,
        time_us: int,
        state: StoreState,
        memtables: Mapping[str, Memtable],
    ) -> None:
        self.container = container
        self._file = container.file  # keeps the file open, see `Container.let_go`
        self.cache = cache
        self.tip = tip
        self.base = base
        self.depth = depth
        self.epoch = epoch
        self.time_us = time_us
        self.state = state
        self.memtables = memtables
        self._views: dict[str, CollectionView] = {}
        # Cached here, not in the whole view: a part refers to its whole, and a reference cycle
        # would keep both, and their mappings, until the garbage collector runs.
        self._parts: Recent[tuple[str, Filter], CollectionView] = Recent(_SCOPES)

    @property
    def place(self) -> Place:
        """Place of the snapshot's commit in the chain."""
        return Place(self.tip, self.epoch, self.time_us, self.base, self.depth)

    def collection(self, name: str) -> CollectionView:
        """Return the view of a collection.

        Raises
        ------
        NotFoundError
            There is no such collection at this epoch.
        """
        view = self._views.get(name) if type(name) is str else None
        if view is None:
            state = self.state.collections.get(require_text(name, what="collection name"))
            if state is None:
                known = ", ".join(self.state.collections) or "none"
                raise NotFoundError(
                    f"{self.container.name}: no collection {name!r}; there are: {known}"
                )
            view = CollectionView(state, self.memtables.get(name, EMPTY), self.cache)
            self._views[name] = view
        return view

    def part(self, name: str, scope: Filter) -> CollectionView:
        """Return the view of a collection inside a scope.

        Parameters
        ----------
        scope : Filter
            Bound to the collection's fields at this epoch.
        """
        whole = self.collection(name)
        return self._parts.get((name, scope), lambda: scoped_view.ScopedView(whole, scope))


def load_snapshot(
    container: Container, cache: SegmentCache, tip: BlockRef, *, known: Snapshot | None = None
) -> Snapshot:
    """Read the state at a commit; ``known`` is an older snapshot of the same file to start from.

    Raises
    ------
    CorruptionError
        A commit is damaged, or contradicts earlier commits.
    """
    commits = chain(container, tip, known=known.place if known else None)
    if not commits:
        assert known is not None, "a chain is empty only where it starts at its end"
        return known
    last, slot = commits[-1], container.superblock
    if slot is not None and tip == container.manifest_ref() and last.epoch != slot.epoch:
        problem = f"commit of epoch {last.epoch} under a superblock of epoch {slot.epoch}"
        raise CorruptionError(container.name, problem, offset=tip.offset)
    return snapshot_after(container, cache, tip, commits, known=known)


def snapshot_after(
    container: Container,
    cache: SegmentCache,
    tip: BlockRef,
    commits: list[Commit],
    *,
    known: Snapshot | None,
) -> Snapshot:
    """Return the snapshot after a chain of commits.

    Parameters
    ----------
    commits : list
        As `chain` returns them, the last one at ``tip``.
    known : Snapshot, optional
        The snapshot before the commits, if they do not start with a full manifest.

    Raises
    ------
    CorruptionError
        The commits contradict each other, or the known snapshot.
    """
    last = commits[-1]
    try:
        state, memtables = replayed(commits, known)
    except ValueError as error:
        raise CorruptionError(container.name, str(error), offset=tip.offset) from error
    return Snapshot(
        container=container,
        cache=cache,
        tip=tip,
        base=last.base or tip,
        depth=last.depth,
        epoch=last.epoch,
        time_us=last.time_us,
        state=state,
        memtables=memtables,
    )
