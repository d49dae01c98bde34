"""Views of a collection inside a scope: the only place where a scope is applied.

A `ScopedView` has the interface of a `CollectionView`, and behaves as if the collection had only
the documents inside the scope: others have no id, no revision, no rows, no dead letter, no route,
and are in no count. Code that uses a handle's view (`Handle.view_at`) cannot forget the scope; code
that needs the whole collection says so, by ``view.whole``. Writes check the scope in
`writing.scope`, because they also see a transaction's uncommitted changes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from vstore.cached import cached_property
from vstore.deferred import Deferred
from vstore.engine.snapshot import CollectionView, matching_documents
from vstore.manifest.job_state import JobState
from vstore.segment.document_table import DocumentTable
from vstore.segment.documents import DELETED
from vstore.segment.row_table import RowPart, RowTable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from vstore.manifest import route_edits as routing
    from vstore.manifest.state import CollectionState, RouteState, VersionState
    from vstore.query import implied_values as slices
    from vstore.query.filter import Filter
    from vstore.segment.document_table import Predicate
    from vstore.types import Array, BoolArray, DocumentId, IntArray
else:  # loaded late: a search that names its version does not need these
    routing = Deferred("vstore.manifest.route_edits")
    slices = Deferred("vstore.query.implied_values")


class ScopedDocuments(DocumentTable):
    """The documents inside a scope; docnos are the collection's.

    Parameters
    ----------
    inside : bool (docno_end,)
        Mask of live documents inside the scope.
    """

    def __init__(self, whole: DocumentTable, inside: BoolArray) -> None:
        super().__init__(whole.sealed, whole.memtable, whole.field_types)
        self._whole = whole
        self._inside = inside

    @cached_property
    def revision(self) -> Array:
        """Current revision by docno, u64 (docno_end,); 0 for all but live documents inside."""
        return np.where(self._inside, self._whole.revision, np.uint64(DELETED))

    @cached_property
    def live_count(self) -> int:
        """Number of live documents inside."""
        return int(np.count_nonzero(self._inside))

    def find(self, ids: Sequence[DocumentId]) -> IntArray:
        """Return the docno of each id; -1 if no live document inside has the id."""
        found = self._whole.find(ids)
        known = found >= 0
        known[known] = self._inside[found[known]]
        return np.where(known, found, -1)

    def mask(self, predicate: Predicate) -> BoolArray:
        """Return the mask of live documents inside that match, bool (docno_end,)."""
        return np.asarray(self._whole.mask(predicate) & self._inside)


class ScopedRows(RowTable):
    """The rows of a version whose documents are inside a scope.

    Segments, graphs, and the times of sealing, merging and dropping depend on all rows, so they are
    not told.
    """

    tells_parts = False

    def __init__(self, view: CollectionView, version: VersionState, inside: BoolArray) -> None:
        sealed = view.cache.rows(version, view.state.segments)
        super().__init__(version.label, sealed, view.memtable, view.documents)
        self._whole = view.rows(version.label)
        self._stored_row_bytes = version.row_bytes
        self._inside = inside

    @cached_property
    def parts(self) -> list[RowPart]:
        """Parts with rows that may be served, oldest first."""
        parts = []
        for part in self._whole.parts:
            live = self._inside[part.rows.docno]
            if part.live is not None:
                live &= part.live
            if live.any():
                parts.append(part._replace(live=None if live.all() else live))
        return parts

    @cached_property
    def has_fresh(self) -> BoolArray:
        """By docno, whether a document inside has fresh rows, bool (docno_end,)."""
        return np.asarray(self._whole.has_fresh & self._inside)

    @cached_property
    def has_served(self) -> BoolArray:
        """By docno, whether a document inside has rows that may be served, bool (docno_end,)."""
        return np.asarray(self._whole.has_served & self._inside)

    @cached_property
    def has_rows(self) -> BoolArray:
        """By docno, whether a document inside has any rows, bool (docno_end,)."""
        return np.asarray(self._whole.has_rows & self._inside)

    @cached_property
    def fresh_count(self) -> int:
        """Number of documents inside with fresh rows."""
        return int(np.count_nonzero(self.has_fresh))

    @property
    def sealed_bytes(self) -> int:
        """Bytes of the vectors of documents inside, sealed or not."""
        return self._stored_row_bytes * self.served_rows

    @property
    def has_chunks(self) -> bool:
        """Whether any document inside has several rows."""
        return self.served_rows > int(np.count_nonzero(self.has_served))

    @property
    def stale(self) -> BoolArray:
        """By docno, whether stale rows of a document inside are served, bool (docno_end,).

        Unserved stale rows do not count: when a merge drops them depends on documents outside.
        """
        return np.asarray(self.has_served & ~self.has_fresh)

    @property
    def norms(self) -> list[Array]:
        """Lengths of the vectors of documents inside, by part."""
        return [
            part.rows.norms if part.live is None else part.rows.norms[part.live]
            for part in self.parts
        ]


class ScopedView(CollectionView):
    """One collection at one epoch, confined to the documents inside a scope.

    Parameters
    ----------
    scope : Filter
        Bound to the fields at that epoch.
    """

    def __init__(self, whole: CollectionView, scope: Filter) -> None:
        self._whole = whole
        self._begin(whole.memtable, whole.cache, whole.field_types, scope)

    @property
    def whole(self) -> CollectionView:
        """View of the whole collection; must not leak into a scoped handle's answers."""
        return self._whole

    @cached_property
    def inside(self) -> BoolArray:
        """Mask of live documents inside the scope, bool (docno_end,)."""
        assert self.scope is not None
        return matching_documents(self._whole, self.scope)

    @cached_property
    def documents(self) -> DocumentTable:
        """The documents inside the scope."""
        return ScopedDocuments(self._whole.documents, self.inside)

    def version(self, label: str) -> VersionState:
        """Return a version's state; see `CollectionView.version`."""
        return self._whole.version(label)

    def _made_table(self, version: VersionState) -> RowTable:
        return ScopedRows(self._whole, version, self.inside)

    @cached_property
    def state(self) -> CollectionState:
        """The collection's state, without facts about documents and tenants outside."""
        state = self._whole.state
        return state._replace(
            routes=self._routes(state),
            jobs={target: self._job(job) for target, job in state.jobs.items()},
            bridges=tuple(
                bridge._replace(recall=0.0, documents_fit=0, documents_held=0)
                for bridge in state.bridges
            ),
            choices=tuple(choice._replace(queries=0, coverage=0.0) for choice in state.choices),
        )

    def has_own_route(self, key: str) -> bool:
        """Whether a route, and so its recorded evidence, is of the documents inside alone."""
        assert self.scope is not None
        return self.scope.nodes == 1 and key in self._own_keys

    def may_tell_route(self, key: str, bound: Filter) -> bool:
        """Whether a search may use a route: it applies to documents inside the scope."""
        return not key or key in self._own_keys or bool(matching_documents(self, bound).any())

    @cached_property
    def _own_keys(self) -> frozenset[str]:
        """Keys of the routes of tenants that all documents inside belong to."""
        assert self.scope is not None
        values = set(slices.implied_values(self.scope))
        if len({name for name, _ in values}) < len(values):  # two values of a field: empty scope
            return frozenset()
        return frozenset(routing.route_key(name, value) for name, value in values)

    def _routes(self, state: CollectionState) -> dict[str, RouteState]:
        """Return the default route, and the tenant's own if there is one."""
        return {
            key: route if self.has_own_route(key) else route._replace(evidence=())
            for key, route in state.routes.items()
            if key == routing.DEFAULT_ROUTE or key in self._own_keys
        }

    def _job(self, job: JobState) -> JobState:
        """Return a job with its progress inside; other counters and the note concern all."""
        known = self.documents.find([letter.id for letter in job.dead]).tolist()
        return JobState(
            job.target,
            job.source,
            job.status,
            job.started_epoch,
            job.started_us,
            documents_done=self.rows(job.target).fresh_count,
            order=job.order,
            order_field=job.order_field,
            unit=job.unit,
            dead=tuple(letter for letter, docno in zip(job.dead, known, strict=True) if docno >= 0),
        )
