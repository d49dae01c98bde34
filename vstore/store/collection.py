"""Collections: the handle through which documents and vectors are written, read and searched."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from vstore.deferred import Deferred
from vstore.errors import (
    InvalidArgumentError,
    LimitExceededError,
    NotFoundError,
    ReadOnlyError,
)
from vstore.limits import EF_MAX, FIELDS_MAX, GRAPH_M_MAX, GRAPH_M_MIN, SEGMENT_ROWS_MAX
from vstore.manifest.commit import Operation
from vstore.manifest.spec import require_spec, suggest_label
from vstore.manifest.state import (
    PROVENANCES,
    STALE_POLICIES,
    STORAGE_TYPES,
    GraphSettings,
    Provenance,
    StalePolicy,
    StorageType,
    VersionState,
)
from vstore.segment.column_types import UINT64_MAX, FieldType
from vstore.segment.documents import DELETED
from vstore.segment.ids import validate_ids
from vstore.store.names import check_name
from vstore.store.numbers import check_whole
from vstore.store.search import (
    Explanation,
    Mode,
    Queries,
    Query,
    SearchOptions,
    SearchResult,
    Where,
    bound_filter,
    explain,
    matching_documents,
    one_query,
    search,
    wanted_of,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from vstore.manifest import edits
    from vstore.manifest.spec import EmbeddingSpec
    from vstore.manifest.state import RouteState, StoreState
    from vstore.migration import routing
    from vstore.migration.gates import Coverage, GateResult
    from vstore.query import filter as filters
    from vstore.query.filter import Filter
    from vstore.query.fusion import FusionName
    from vstore.segment.row_table import RowTable
    from vstore.store import document as documents
    from vstore.store import migrating, quick, version_info
    from vstore.store.document import Document
    from vstore.store.embedder import Embedder
    from vstore.store.migrating import BackfillReport, Embed
    from vstore.store.snapshot import CollectionView, Snapshot
    from vstore.store.store import Store
    from vstore.store.transaction import DeleteCounts, UpsertCounts, VectorCounts
    from vstore.types import Array, BoolArray, DocumentId
else:  # not what a search needs
    documents = Deferred("vstore.store.document")
    edits = Deferred("vstore.manifest.edits")
    filters = Deferred("vstore.query.filter")
    migrating = Deferred("vstore.store.migrating")
    routing = Deferred("vstore.migration.routing")
    quick = Deferred("vstore.store.quick")
    version_info = Deferred("vstore.store.version_info")

_EXPORT_ROWS = 4_096


class Collection:
    """A named corpus of documents and its embedding versions.

    A handle holds no data: reads see the store's current snapshot (or the one the handle is pinned
    to), writes are transactions of their own. Made by ``Store.collection()``.
    """

    def __init__(
        self,
        store: Store,
        name: str,
        *,
        scope: Filter | None = None,
        pinned: Snapshot | None = None,
    ) -> None:
        self.store = store
        self.name = name
        self._scope = scope
        self._pinned = pinned
        self._bound_scope: tuple[object, Filter] | None = None

    def __repr__(self) -> str:
        scope = f", scope={self.scope_text}" if self.scope is not None else ""
        return f"Collection({self.name!r}{scope})"

    @property
    def scope(self) -> Filter | None:
        """The filter that every read and write through this handle stays inside; None for all."""
        return self._scope

    # Where reads come from.

    def snapshot(self) -> Snapshot:
        """Return the snapshot reads see now."""
        return self.store.current() if self._pinned is None else self._pinned

    def require_writable(self) -> None:
        """Refuse to write through a handle on an older epoch.

        Raises
        ------
        ReadOnlyError, NotFoundError
        """
        self.view()  # raises if the collection was dropped
        if self._pinned is not None:
            raise ReadOnlyError(
                f"this handle on {self.name!r} reads epoch {self._pinned.epoch}; "
                "write through Store.collection()"
            )

    def view(self) -> CollectionView:
        """Return the collection at that snapshot."""
        return self.snapshot().collection(self.name)

    def scoped(self, where: Where) -> Collection:
        """Return a handle confined to the documents that pass a filter.

        Every read and write through it stays inside, also by id, and what would touch the whole
        collection is refused. Scopes of scopes are combined. It guards against mistakes, not
        against code that means harm: that has ``handle.store`` and with it the whole collection.

        Raises
        ------
        FilterError
        """
        bound = bound_filter(self.view(), where)
        if bound is None:
            raise InvalidArgumentError("scoped: expected a filter, found None")
        tree = bound if self.scope is None else self.scope & bound
        return Collection(self.store, self.name, scope=tree, pinned=self._pinned)

    @property
    def scope_text(self) -> str:
        """The scope as text, empty without one."""
        return "" if self.scope is None else filters.describe(self.scope)

    def bound_scope(self, view: CollectionView) -> Filter:
        """Return the scope, bound to the fields as they are at a snapshot."""
        assert self.scope is not None, "only for scoped handles"
        if self._bound_scope is None or self._bound_scope[0] != view.field_types:
            self._bound_scope = (view.field_types, filters.bind(self.scope, view.field_types))
        return self._bound_scope[1]

    def mask(self, view: CollectionView, where: Where) -> BoolArray:
        """Return by docno which live documents pass a filter, inside the scope."""
        bound = bound_filter(view, where)
        if self.scope is not None:
            scope = self.bound_scope(view)
            bound = scope if bound is None else scope & bound
        if bound is None:
            return np.asarray(view.documents.revision != DELETED)
        return matching_documents(view, bound)

    # Schema.

    @property
    def fields(self) -> dict[str, str]:
        """Metadata fields and their types."""
        return dict(self.view().state.fields)

    def add_field(self, name: str, field_type: str) -> None:
        """Declare a metadata field; documents that are there lack it."""
        self._require_unscoped("add_field")
        checked = check_fields({check_name(name, what="field name"): field_type})

        def edit(state: StoreState) -> StoreState:
            return edits.put_collection(
                state, edits.add_fields(state.collections[self.name], checked)
            )

        self.store.change(edit, Operation("add_field", f"{self.name}.{name}: {field_type}"))

    def create_version(
        self,
        label: str,
        spec: EmbeddingSpec,
        *,
        storage: StorageType = "float32",
        stale_policy: StalePolicy = "hide",
        provenance: Provenance = "embedded",
        retire_grace_s: int = 0,
        M: int = 16,
        ef_construction: int = 200,
        graph_rows_min: int | None = 10_000,
    ) -> version_info.VersionInfo:
        """Declare an embedding version. The first one serves at once, others by `cutover`.

        Parameters
        ----------
        label : str
            For people; `suggest_label` proposes one.
        storage : {"float32", "float16"}
            How vectors are stored; float16 halves the space and keeps about three digits.
        stale_policy : {"hide", "serve"}
            Whether vectors of an older revision of their document may be returned, marked stale.
        provenance : {"embedded", "mapped"}
            Whether a model made the vectors, or a map from another version's.
        retire_grace_s : int
            How long after retirement a vacuum keeps the vectors.
        M, ef_construction : int
            Links of a graph's nodes, and candidates among which they are chosen. More gives better
            graphs that are slower to build.
        graph_rows_min : int or None
            Segments of at least so many rows get a graph; None for exact scans only.

        Raises
        ------
        AlreadyExistsError
            The label is taken, or another version of the collection has this geometry.
        """
        self._require_unscoped("create_version")
        check_name(label, what="version label")
        _require_choice("storage", storage, STORAGE_TYPES)
        _require_choice("stale_policy", stale_policy, STALE_POLICIES)
        _require_choice("provenance", provenance, PROVENANCES)
        require_spec(spec, what="spec")
        check_whole(retire_grace_s, what="retire_grace_s", least=0, most=UINT64_MAX)

        settings = _graph_settings(M, ef_construction, graph_rows_min)

        def edit(state: StoreState) -> StoreState:
            moment = self.store.moment()
            version = VersionState(
                label,
                spec,
                moment.epoch,
                moment.time_us,
                storage,
                stale_policy,
                provenance,
                retire_grace_s,
                graph=settings,
            )
            collection = edits.create_version(state.collections[self.name], version)
            if not collection.routes:
                collection = routing.first_route(collection, label, moment)
            return edits.put_collection(state, collection)

        self.store.change(edit, Operation("create_version", label))
        return self.version(label)

    def suggest_label(self, spec: EmbeddingSpec) -> str:
        """Propose a label from collection, model, preprocessing and today's date."""
        return suggest_label(self.name, spec, date=self.store.today())

    def version(self, label: str) -> version_info.VersionInfo:
        """Return what there is to know about a version.

        Raises
        ------
        NotFoundError
        """
        return version_info.version_info(self.view(), label)

    @property
    def versions(self) -> tuple[version_info.VersionInfo, ...]:
        """All versions, in the order of their making."""
        view = self.view()
        return tuple(version_info.version_info(view, label) for label in view.state.versions)

    # Writing. Each call is one commit; a transaction makes several one.

    def upsert(
        self,
        ids: Sequence[DocumentId],
        *,
        vectors: Mapping[str, object] | None = None,
        metadata: Sequence[Mapping[str, object]] | Mapping[str, Sequence[object]] | None = None,
        texts: Sequence[str | None] | None = None,
        source_hashes: Sequence[bytes | str | None] | None = None,
        force: bool = False,
    ) -> UpsertCounts:
        """Add or change documents; see `Transaction.upsert`."""
        with self.store.transaction() as tx:
            tx.one_call = True
            return tx.upsert(
                self,
                ids,
                vectors=vectors,
                metadata=metadata,
                texts=texts,
                source_hashes=source_hashes,
                force=force,
            )

    def upsert_texts(
        self,
        ids: Iterable[DocumentId],
        texts: Iterable[str],
        *,
        embedder: Embedder,
        metadata: Sequence[Mapping[str, object]] | Mapping[str, Sequence[object]] | None = None,
        batch_size: int = 256,
        progress: Callable[[int, int], None] | None = None,
    ) -> UpsertCounts:
        """Embed texts and upsert them, one commit per batch; see `migrating.upsert_texts`."""
        return migrating.upsert_texts(
            self,
            ids,
            texts,
            embedder=embedder,
            metadata=metadata,
            batch_size=batch_size,
            progress=progress,
        )

    def update_metadata(
        self,
        ids: Sequence[DocumentId],
        metadata: Sequence[Mapping[str, object]] | Mapping[str, Sequence[object]],
    ) -> int:
        """Set fields of documents; see `Transaction.update_metadata`."""
        with self.store.transaction() as tx:
            return tx.update_metadata(self, ids, metadata)

    def delete(
        self, ids: Sequence[DocumentId] | None = None, *, where: Where = None
    ) -> DeleteCounts:
        """Delete documents by id or by filter; see `Transaction.delete`."""
        with self.store.transaction() as tx:
            return tx.delete(self, ids, where=where)

    def add_vectors(
        self,
        version: str,
        ids: Sequence[DocumentId],
        vectors: object,
        *,
        revisions: Sequence[int] | None = None,
    ) -> VectorCounts:
        """Give documents their vectors of a version; see `Transaction.add_vectors`."""
        with self.store.transaction() as tx:
            tx.one_call = True
            return tx.add_vectors(self, version, ids, vectors, revisions=revisions)

    # Reading.

    def __len__(self) -> int:
        view = self.view()
        if self.scope is None:
            return view.documents.live_count
        return int(np.count_nonzero(self.mask(view, None)))

    def __contains__(self, id_: object) -> bool:
        try:
            checked = validate_ids([id_])  # type: ignore[list-item]  # that is the question
        except (InvalidArgumentError, LimitExceededError):
            return False  # no document can have it
        return self.get(checked[0]) is not None

    def get(self, id_: DocumentId) -> Document | None:
        """Return a document, None if there is none (inside the scope)."""
        return self.get_many([id_])[0]

    def get_many(self, ids: Sequence[DocumentId]) -> list[Document | None]:
        """Return documents in the order of their ids, None where there is none.

        An id may come more than once.
        """
        view = self.view()
        mask = None if self.scope is None else self.mask(view, None)
        result: list[Document | None] = []
        for docno in view.documents.find(validate_ids(ids, unique=False)).tolist():
            known = docno >= 0 and (mask is None or bool(mask[docno]))
            record = view.documents.record(docno) if known else None
            alive = record is not None and record.revision != DELETED
            result.append(
                documents.document_of(record, view.field_types) if alive and record else None
            )
        return result

    def documents(self, where: Where = None) -> Iterator[Document]:
        """Iterate over the documents that pass a filter, on the snapshot of this call."""
        view = self.view()
        docnos = np.flatnonzero(self.mask(view, where)).tolist()
        return (
            documents.document_of(view.documents.record(docno), view.field_types)
            for docno in docnos
        )

    def ids(self, where: Where = None) -> list[DocumentId]:
        """Return the ids of the documents that pass a filter."""
        view = self.view()
        return [view.documents.id(d) for d in np.flatnonzero(self.mask(view, where)).tolist()]

    def get_vectors(self, id_: DocumentId, version: str) -> Array:
        """Return a document's vectors of a version exactly as stored, (chunks, dimension).

        Raises
        ------
        NotFoundError
            No such document, or it has no vectors that may be served.
        """
        view = self.view()
        docno = int(view.documents.find(validate_ids([id_]))[0])
        if docno >= 0 and (self.scope is None or self.mask(view, None)[docno]):
            places = view.rows(version).rows_of(docno)
            if places:
                return np.stack([part.rows.vectors[row] for part, row in places])
        view.version(version)
        raise NotFoundError(f"no vectors of {id_!r:.80} in version {version!r}")

    def get_vector(self, id_: DocumentId, version: str, *, chunk: int = 0) -> Array:
        """Return one vector exactly as stored, (dimension,); see `get_vectors`."""
        check_whole(chunk, what="chunk")
        vectors = self.get_vectors(id_, version)
        if not 0 <= chunk < len(vectors):
            raise NotFoundError(f"{id_!r:.80} has {len(vectors)} chunks, no chunk {chunk}")
        return np.asarray(vectors[chunk])

    def vectors(
        self, version: str, where: Where = None
    ) -> Iterator[tuple[list[DocumentId], Array, Array, Array]]:
        """Iterate over a version's served rows in batches, on the snapshot of this call.

        Each batch is a tuple:

        ids : list
            Document of each row.
        chunks : u32 (n,)
        revisions : u64 (n,)
        vectors : (n, dimension)
            Exactly as stored.
        """
        view = self.view()
        mask = None if where is None and self.scope is None else self.mask(view, where)
        return _exported(view, view.rows(version), mask)

    # Searching.

    def search(
        self,
        query: Query,
        *,
        version: str | None = None,
        k: int = 10,
        where: Where = None,
        mode: Mode | None = None,
        old_version: str | None = None,
        fusion: FusionName | None = None,
        collapse: bool = True,
        recall: float | None = None,
        exact: bool = False,
        ef_search: int | None = None,
    ) -> SearchResult:
        """Find the k nearest documents.

        Parameters
        ----------
        query : str, array (dimension,), Embeddings, or mapping of label to one of the latter two
            Text needs an embedder, see ``Store.register_embedder``; a bare array needs ``version``;
            a dual read needs a vector for each version, so text or a mapping.
        version : str, optional
            The version to read. Without it the collection's route decides.
        k : int
            Hits wanted; `min(k, matches)` are returned.
        where : Filter or dict, optional
        mode : {"matched", "dual"}, optional
            "dual" reads ``old_version`` and ``version`` and fuses them. "matched" without
            ``version`` reads the version of the query's stamp.
        fusion : {"slots", "evidence", "rrf", "zscore", "dbsf", "minmax"}, optional
            Rule of a dual read, only for one; default: the route's, or "slots".
        collapse : bool
            One hit per document, its best chunk; False for one hit per chunk, of one version.
        recall : float, optional
            Share of the true k nearest that is wanted, on average; 0.95 if not given. Segments with
            a graph are searched as widely as gave that when the graph was measured.
        exact : bool
            Score every vector instead.
        ef_search : int, optional
            Follow graphs with just this size of the pool of candidates.

        Raises
        ------
        VersionMismatchError, InvalidVectorError, InvalidArgumentError, FilterError, NotFoundError,
        StateError, CorruptionError
        """
        wanted = wanted_of(recall, exact=exact, ef_search=ef_search)
        options = SearchOptions(version, k, where, mode, old_version, fusion, collapse, wanted)
        if self._scope is not None or not isinstance(query, np.ndarray):
            return search(self, one_query(query), options)[0]
        try:
            known: quick.QuickSearch | None = self.view().quick.find(quick.quick_key(options))
        except TypeError:  # an option that cannot be hashed
            return search(self, one_query(query), options)[0]
        found = None if known is None else known(query)
        if found is None:
            found = search(self, one_query(query), options)[0]
            quick.remember(self, options, found)
        return found

    def search_batch(
        self,
        queries: Queries,
        *,
        version: str | None = None,
        k: int = 10,
        where: Where = None,
        mode: Mode | None = None,
        old_version: str | None = None,
        fusion: FusionName | None = None,
        collapse: bool = True,
        recall: float | None = None,
        exact: bool = False,
        ef_search: int | None = None,
        threads: int | None = None,
    ) -> list[SearchResult]:
        """Run many searches at once, queries (m, dimension); see `search`.

        Parameters
        ----------
        threads : int, optional
            How many threads follow graphs; one for each processor if not given.
        """
        wanted = wanted_of(recall, exact=exact, ef_search=ef_search, threads=threads)
        options = SearchOptions(version, k, where, mode, old_version, fusion, collapse, wanted)
        return search(self, queries, options)

    def explain(
        self,
        query: Query,
        *,
        analyze: bool = False,
        version: str | None = None,
        k: int = 10,
        where: Where = None,
        mode: Mode | None = None,
        old_version: str | None = None,
        fusion: FusionName | None = None,
        collapse: bool = True,
        recall: float | None = None,
        exact: bool = False,
        ef_search: int | None = None,
    ) -> Explanation:
        """Return the plan of a search; with ``analyze`` run it and add what happened."""
        wanted = wanted_of(recall, exact=exact, ef_search=ef_search)
        options = SearchOptions(version, k, where, mode, old_version, fusion, collapse, wanted)
        if not analyze:
            return explain(self, query, options)
        result = search(self, one_query(query), options)[0]
        return Explanation(result.plan, result.trace.actuals())

    # Migrating; see `migrating` for the details.

    @property
    def route(self) -> RouteState:
        """Which version, or versions, answer a query that names none."""
        return routing.current_route(self.view().state)

    def coverage(self, version: str, where: Where = None) -> Coverage:
        """Return how many live documents have fresh vectors in a version."""
        return migrating.coverage(self, version, where)

    def pending(self, version: str, *, limit: int | None = None) -> list[Document]:
        """Return live documents without fresh vectors in a version: the regeneration queue."""
        return migrating.pending(self, version, limit=limit)

    def backfill(
        self,
        version: str,
        embed: Embed,
        *,
        batch_size: int = 256,
        batches_max: int | None = None,
        progress: Callable[[int, int], None] | None = None,
    ) -> BackfillReport:
        """Fill a version from the documents, one commit per batch; see `migrating.backfill`."""
        return migrating.backfill(
            self,
            version,
            embed,
            batch_size=batch_size,
            batches_max=batches_max,
            progress=progress,
        )

    def read_both(self, version: str, *, fusion: FusionName = "slots", reason: str = "") -> None:
        """Route to a dual read of the serving version and this one."""
        migrating.read_both(self, version, fusion=fusion, reason=reason)

    def cutover(
        self,
        version: str,
        *,
        min_coverage: float = 1.0,
        force: bool = False,
        reason: str = "",
    ) -> list[GateResult]:
        """Let a version serve alone, if its gates pass; see `migrating.cutover`."""
        return migrating.cutover(
            self, version, min_coverage=min_coverage, force=force, reason=reason
        )

    def rollback(self, *, reason: str = "") -> None:
        """Return to the version that served before, in one commit."""
        migrating.rollback(self, reason=reason)

    def retire(self, version: str, *, reason: str = "") -> None:
        """End a version: no more writes or queries; a vacuum drops its vectors."""
        migrating.retire(self, version, reason=reason)

    def _require_unscoped(self, what: str) -> None:
        self.require_writable()
        if self.scope is not None:
            raise InvalidArgumentError(f"{what}: not through a scoped handle")


def _exported(
    view: CollectionView, table: RowTable, mask: BoolArray | None
) -> Iterator[tuple[list[DocumentId], Array, Array, Array]]:
    for part in table.parts:
        rows = np.arange(len(part.rows.docno))
        keep = np.ones(len(rows), np.bool_) if part.live is None else part.live.copy()
        if mask is not None:
            keep &= mask[part.rows.docno]
        rows = rows[keep]
        for start in range(0, len(rows), _EXPORT_ROWS):
            some = rows[start : start + _EXPORT_ROWS]
            ids = [view.documents.id(docno) for docno in part.rows.docno[some].tolist()]
            yield ids, part.rows.chunk[some], part.rows.revision[some], part.rows.vectors[some]


def check_fields(fields: Mapping[str, str]) -> dict[str, str]:
    """Return metadata fields, checked.

    Raises
    ------
    InvalidArgumentError, LimitExceededError
    """
    checked: dict[str, str] = {}
    if not isinstance(fields, Mapping):
        raise InvalidArgumentError(f"fields: expected a mapping of name to type: {fields!r:.60}")
    for name, field_type in fields.items():
        check_name(name, what="field name")
        try:
            checked[name] = str(FieldType(field_type))
        except ValueError as error:
            known = ", ".join(FieldType)
            raise InvalidArgumentError(
                f"field {name!r}: expected one of {known}, found {field_type!r:.60}"
            ) from error
    edits.require_count("fields", len(checked), "FIELDS_MAX", FIELDS_MAX)
    return checked


def _require_choice(what: str, value: object, choices: tuple[object, ...]) -> None:
    if value not in choices:
        raise InvalidArgumentError(
            f"{what}: expected one of {', '.join(map(str, choices))}, found {value!r:.60}"
        )


def _graph_settings(M: int, ef_construction: int, rows_min: int | None) -> GraphSettings | None:
    for name, value, least, most in (
        ("M", M, GRAPH_M_MIN, GRAPH_M_MAX),
        ("ef_construction", ef_construction, 1, EF_MAX),
        ("graph_rows_min", 0 if rows_min is None else rows_min, 0, SEGMENT_ROWS_MAX),
    ):
        if type(value) is not int or not least <= value <= most:
            raise InvalidArgumentError(f"{name}: expected {least} to {most:,}, found {value!r:.60}")
    return None if rows_min is None else GraphSettings(M, ef_construction, rows_min)
