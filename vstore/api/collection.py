"""Collections: the handle through which documents and vectors are written, read and searched.

Every verb is one call into the package that does the work: ``engine`` reads, ``writing`` writes,
``searching`` searches, ``migration`` moves from version to version, ``guarding`` keeps versions
apart. What is said here is what users are told.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

from vstore.deferred import Deferred
from vstore.engine.open_handle import OpenHandle, opening
from vstore.errors import InvalidArgumentError
from vstore.fusions import DEFAULT_FUSION
from vstore.manifest.spec import suggest_label
from vstore.numbers import check_switch
from vstore.searching.parameters import (
    Queries,
    Query,
    SearchOptions,
    check_collapse,
    check_family,
    check_k,
    keys_of,
    label_of,
    several_queries,
    wanted_of,
)
from vstore.searching.search import explain, search, search_one
from vstore.writing.drawn import drawn

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from typing import Unpack

    from vstore.api.store import Store
    from vstore.embedding.embedder import Embedder, Embeddings
    from vstore.engine import filtering, hit_counts, reading, version_info
    from vstore.engine.coverage import Coverage
    from vstore.engine.handle import Handle
    from vstore.evaluation.choice import RuleChoice
    from vstore.fusions import FusionName
    from vstore.guarding import canary_checks, guard_changes, learning
    from vstore.guarding.canary_checks import CanaryReport
    from vstore.guarding.guard_changes import GuardInfo
    from vstore.guarding.guard_record import GeometryPolicy
    from vstore.manifest.job_state import BridgeKind
    from vstore.manifest.spec import EmbeddingSpec
    from vstore.manifest.state import (
        DualWrite,
        Provenance,
        RouteState,
        SearchMode,
        StalePolicy,
        StorageType,
    )
    from vstore.migration.bridges import bridges
    from vstore.migration.gates import gates as gating
    from vstore.migration.gates import measurements as gate_measurements
    from vstore.migration.gates.gates import GateResult, Gates
    from vstore.migration.jobs import backfill as backfilling
    from vstore.migration.jobs import migration as migrating
    from vstore.migration.jobs.migration import Migration
    from vstore.migration.jobs.options import MigrationOptions
    from vstore.migration.jobs.status import BackfillReport
    from vstore.migration.routes import changes as routes
    from vstore.migration.routes import fusion_choice
    from vstore.observe.shadow import ShadowReport
    from vstore.query.bridge import Bridge
    from vstore.query.filter import Filter, Where
    from vstore.searching import epoch_comparison, hits, result_batch
    from vstore.searching.results import SearchResult
    from vstore.segment.user_document import Document
    from vstore.types import Array, DocumentId, Judgments, Metadata
    from vstore.writing import draft as drafts
    from vstore.writing import dual_write, schema, text_upserts
    from vstore.writing.counts import DeleteCounts, UpsertCounts, VectorCounts
    from vstore.writing.vector_sources import Embed
else:  # not what a search needs
    backfilling = Deferred("vstore.migration.jobs.backfill")
    bridges = Deferred("vstore.migration.bridges.bridges")
    canary_checks = Deferred("vstore.guarding.canary_checks")
    drafts = Deferred("vstore.writing.draft")
    dual_write = Deferred("vstore.writing.dual_write")
    epoch_comparison = Deferred("vstore.searching.epoch_comparison")
    filtering = Deferred("vstore.engine.filtering")
    fusion_choice = Deferred("vstore.migration.routes.fusion_choice")
    gate_measurements = Deferred("vstore.migration.gates.measurements")
    gating = Deferred("vstore.migration.gates.gates")
    guard_changes = Deferred("vstore.guarding.guard_changes")
    hit_counts = Deferred("vstore.engine.hit_counts")
    hits = Deferred("vstore.searching.hits")
    learning = Deferred("vstore.guarding.learning")
    migrating = Deferred("vstore.migration.jobs.migration")
    reading = Deferred("vstore.engine.reading")
    result_batch = Deferred("vstore.searching.result_batch")
    routes = Deferred("vstore.migration.routes.changes")
    schema = Deferred("vstore.writing.schema")
    text_upserts = Deferred("vstore.writing.text_upserts")
    version_info = Deferred("vstore.engine.version_info")


class Collection(OpenHandle):
    """A named corpus of documents and its embedding versions.

    A handle holds no data: reads see the store's current snapshot (or the one that the handle is
    pinned to), writes are transactions of their own. Made by ``Store.collection()``.

    A scoped handle (see `scoped`) has everything of the documents inside its scope alone. What
    changes routes changes the default one; through a handle that is scoped to one value of one
    keyword field, ``docs.scoped(field("tenant") == "acme")``, that tenant's own. What concerns
    every document, as runs of backfills and bridges do, is refused there with a `ScopeError`.
    """

    def __init__(self, store: Store, handle: Handle) -> None:
        self.store = store
        self._handle = handle

    def __repr__(self) -> str:
        scope = f", scope={self._handle.scope_text}" if self.scope is not None else ""
        return f"{type(self).__name__}({self.name!r}{scope})"

    def _elsewhere(self) -> str:
        handle = self._handle
        pinned = "" if handle.pinned is None else f".snapshot({handle.pinned.epoch})"
        scope = "" if handle.scope is None else ", scoped by the same filter"
        return opening(self.store.path, f"{pinned}.collection({self.name!r}){scope}")

    @property
    def name(self) -> str:
        """The collection's name."""
        return self._handle.name

    @property
    def scope(self) -> Filter | None:
        """The filter that every read and write through this handle stays inside; None for all."""
        return self._handle.scope

    def scoped(self, where: Where) -> Self:
        """Return a handle confined to the documents that pass a filter.

        Every read and write through it stays inside, also by id; counts, plans, jobs and routes are
        of what is inside; and what would touch the whole collection is refused with a `ScopeError`.
        Scopes of scopes are combined. It guards against mistakes, not against code that means harm:
        that has ``handle.store`` and with it the whole collection.

        An id is one document's in the whole collection. Who may choose ids freely can tell that one
        is taken outside, since it cannot be written, and nothing else about it. Where that is too
        much, make ids of the tenant's name and the rest, or of random numbers.

        Raises
        ------
        FilterError
            It is no filter, or asks for what the fields do not have.
        """
        if where is None:
            raise InvalidArgumentError("scoped: expected a filter, found None")
        tree = filtering.bound_filter(self._handle.view(), where)  # with the scope there is
        assert tree is not None, "there is a filter"
        return type(self)(self.store, self._handle.within(tree))

    # Reading.

    def __len__(self) -> int:
        return self._handle.view().live_count

    def __contains__(self, id_: object) -> bool:
        return reading.contains(self._handle, id_)

    def get(self, id_: DocumentId) -> Document | None:
        """Return a document, None if there is none (inside the scope)."""
        return reading.get_many(self._handle, [id_])[0]

    def get_many(self, ids: Iterable[DocumentId]) -> list[Document | None]:
        """Return documents in the order of their ids, None where there is none.

        An id may come more than once. Of a set the order is the one it is iterated in.
        """
        return reading.get_many(self._handle, ids)

    def documents(self, where: Where = None) -> Iterator[Document]:
        """Iterate over the documents that pass a filter, on the snapshot of this call."""
        return reading.documents(self._handle, where)

    def ids(self, where: Where = None) -> list[DocumentId]:
        """Return the ids of the documents that pass a filter."""
        return reading.ids(self._handle, where)

    def get_vectors(self, id_: DocumentId, version: str) -> Array:
        """Return a document's vectors of a version exactly as stored, (chunks, dimension).

        Raises
        ------
        NotFoundError
            No such document, or it has no vectors that may be served.
        """
        return reading.get_vectors(self._handle, id_, version)

    def get_vector(self, id_: DocumentId, version: str, *, chunk: int = 0) -> Array:
        """Return one vector exactly as stored, (dimension,); see `get_vectors`."""
        return reading.get_vector(self._handle, id_, version, chunk)

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
        return reading.vectors(self._handle, version, where)

    # Schema.

    @property
    def fields(self) -> dict[str, str]:
        """Metadata fields and their types."""
        return dict(self._handle.view().state.fields)

    def add_field(self, name: str, field_type: str, *, exist_ok: bool = False) -> None:
        """Declare a metadata field; documents that are there lack it.

        Parameters
        ----------
        exist_ok : bool
            Leave a field of this name and type as it is.

        Raises
        ------
        AlreadyExistsError
            The collection has the field; with ``exist_ok``, of another type.
        """
        schema.add_field(self._handle, name, field_type, exist_ok=exist_ok)

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
        exist_ok: bool = False,
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
        exist_ok : bool
            Return a version that was declared exactly so, if there is one.

        Raises
        ------
        AlreadyExistsError
            The label is taken, or another version of the collection has this geometry. With
            ``exist_ok`` the message names what differs.
        """
        schema.create_version(
            self._handle,
            label,
            spec,
            storage=storage,
            stale_policy=stale_policy,
            provenance=provenance,
            retire_grace_s=retire_grace_s,
            M=M,
            ef_construction=ef_construction,
            graph_rows_min=graph_rows_min,
            exist_ok=exist_ok,
        )
        return self.version(label)

    def suggest_label(self, spec: EmbeddingSpec) -> str:
        """Propose a label from collection, model, preprocessing and today's date."""
        return suggest_label(self.name, spec, date=self.store._today())

    def version(self, label: str) -> version_info.VersionInfo:
        """Return what there is to know about a version.

        Raises
        ------
        NotFoundError
            The collection has no such version, or was dropped.
        """
        return version_info.version_info(self._handle.view(), label)

    @property
    def versions(self) -> tuple[version_info.VersionInfo, ...]:
        """All versions, in the order of their making."""
        view = self._handle.view()
        return tuple(version_info.version_info(view, label) for label in view.state.versions)

    # Writing. Each call is one commit; a transaction makes several one.

    def upsert(
        self,
        ids: Iterable[DocumentId],
        *,
        vectors: Mapping[str, object] | None = None,
        metadata: Metadata | None = None,
        texts: Iterable[str | None] | None = None,
        source_hashes: Iterable[bytes | str | None] | None = None,
        force: bool = False,
        trust_geometry: bool = False,
    ) -> UpsertCounts:
        """Add or change documents; see `Transaction.upsert`."""
        ids, vectors, metadata = drawn(ids), drawn(vectors), drawn(metadata)
        texts, source_hashes = drawn(texts), drawn(source_hashes)
        return drafts.write(
            self._handle.file,
            lambda draft: draft.upsert(
                self._handle,
                ids,
                vectors=vectors,
                metadata=metadata,
                texts=texts,
                source_hashes=source_hashes,
                force=force,
                trust_geometry=trust_geometry,
            ),
            one_call=True,
        )

    def upsert_texts(
        self,
        ids: Iterable[DocumentId],
        texts: Iterable[str],
        *,
        embedder: text_upserts.Embedders,
        metadata: Metadata | None = None,
        batch_size: int = 256,
        progress: Callable[[int, int], None] | None = None,
        trust_geometry: bool = False,
        on_error: text_upserts.OnError = "raise",
        retries: int = 0,
        timeout_s: float | None = None,
        rate_per_s: float | None = None,
    ) -> UpsertCounts:
        """Embed texts and upsert them, one commit per batch; see `text_upserts.upsert_texts`."""
        return text_upserts.upsert_texts(
            self._handle,
            ids,
            texts,
            embedder=embedder,
            metadata=metadata,
            batch_size=batch_size,
            progress=progress,
            trust_geometry=trust_geometry,
            on_error=on_error,
            retries=retries,
            timeout_s=timeout_s,
            rate_per_s=rate_per_s,
        )

    def update_metadata(
        self,
        ids: Iterable[DocumentId],
        metadata: Metadata,
    ) -> int:
        """Set fields of documents; see `Transaction.update_metadata`."""
        given = drawn(ids), drawn(metadata)
        return drafts.write(
            self._handle.file, lambda draft: draft.update_metadata(self._handle, *given)
        )

    def delete(
        self, ids: Iterable[DocumentId] | None = None, *, where: Where = None
    ) -> DeleteCounts:
        """Delete documents by id or by filter; see `Transaction.delete`."""
        given = drawn(ids)
        return drafts.write(
            self._handle.file, lambda draft: draft.delete(self._handle, given, where=where)
        )

    def add_vectors(
        self,
        version: str,
        ids: Iterable[DocumentId],
        vectors: object,
        *,
        revisions: Iterable[int] | None = None,
        trust_geometry: bool = False,
    ) -> VectorCounts:
        """Give documents their vectors of a version; see `Transaction.add_vectors`."""
        given, made_from = (drawn(ids), drawn(vectors)), drawn(revisions)
        return drafts.write(
            self._handle.file,
            lambda draft: draft.add_vectors(
                self._handle,
                version,
                *given,
                revisions=made_from,
                trust_geometry=trust_geometry,
            ),
            one_call=True,
        )

    # Searching.

    def search(
        self,
        query: Query,
        *,
        version: str | None = None,
        k: int = 10,
        where: Where = None,
        mode: SearchMode | None = None,
        old_version: str | None = None,
        fusion: FusionName | None = None,
        collapse: bool = True,
        recall: float | None = None,
        exact: bool = False,
        ef_search: int | None = None,
        key: str | None = None,
        family: str = "",
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
        mode : {"matched", "dual", "cascade", "bridge"}, optional
            "dual" reads ``old_version`` and ``version`` and fuses them. "cascade" lets ``version``
            order what ``old_version`` found. "bridge" reads ``version`` with queries of
            ``old_version``, mapped. "matched" without ``version`` reads the version of the query's
            stamp.
        fusion : FusionName, optional
            Rule of a dual read, only for one; default: the route's, or "slots". "auto" is the one
            that `choose_fusion` chose.
        collapse : bool
            One hit per document, its best chunk; False for one hit per chunk, of one version.
        recall : float, optional
            Share of the true k nearest that is wanted, on average; 0.95 if not given. Segments with
            a graph are searched as widely as gave that at this k, or at those next to it, when the
            graph was measured; they are scanned where nothing did, and for a recall of 1.
        exact : bool
            Score every vector instead.
        ef_search : int, optional
            Follow graphs with just this size of the pool of candidates, of which more are scored
            with their vectors the larger it is.
        key : str, optional
            Whose query it is. A canary sends the same key to the same version; without one, the
            same query: a text, and the vector that the serving version's registered embedder makes
            of it, are the same.
        family : str
            What kind of query it is, for the metrics.

        Raises
        ------
        InvalidArgumentError, InvalidVectorError, FilterError
            An argument is not what it should be, options contradict each other, a vector is not
            finite, or the filter asks for what the fields do not have.
        MissingQueryVectorError
            The query has no vector of a version that is read, and no embedder makes one.
        VersionMismatchError
            The query's stamp or dimension is not that of the version, or it is a bare array without
            ``version``.
        NotFoundError
            No such version, or the collection was dropped.
        StateError
            A version that is read is retired, or the collection has no version yet.
        CorruptionError
            A block that the search reads fails its checksum.
        """
        k = check_k(k)
        wanted = wanted_of(recall, exact=exact, ef_search=ef_search)
        options = SearchOptions(
            label_of(version),
            k,
            where,
            mode,
            label_of(old_version),
            fusion,
            check_collapse(collapse),
            wanted,
            keys_of(None if key is None else (key,)),
            check_family(family),
        )
        return search_one(self._handle, query, options)

    def search_batch(
        self,
        queries: Queries,
        *,
        version: str | None = None,
        k: int = 10,
        where: Where = None,
        mode: SearchMode | None = None,
        old_version: str | None = None,
        fusion: FusionName | None = None,
        collapse: bool = True,
        recall: float | None = None,
        exact: bool = False,
        ef_search: int | None = None,
        threads: int | None = None,
        keys: Sequence[str] | None = None,
        family: str = "",
    ) -> result_batch.SearchResults:
        """Run many searches at once, queries (m, dimension); see `search`.

        Parameters
        ----------
        threads : int, optional
            How many threads follow graphs; one for each processor if not given.
        keys : sequence of str, optional
            One for each query.
        """
        k = check_k(k)
        wanted = wanted_of(recall, exact=exact, ef_search=ef_search, threads=threads)
        options = SearchOptions(
            label_of(version),
            k,
            where,
            mode,
            label_of(old_version),
            fusion,
            check_collapse(collapse),
            wanted,
            keys_of(keys),
            check_family(family),
        )
        queries = several_queries(queries)
        return result_batch.SearchResults(search(self._handle, queries, options))

    def explain(
        self,
        query: Query,
        *,
        analyze: bool = False,
        version: str | None = None,
        k: int = 10,
        where: Where = None,
        mode: SearchMode | None = None,
        old_version: str | None = None,
        fusion: FusionName | None = None,
        collapse: bool = True,
        recall: float | None = None,
        exact: bool = False,
        ef_search: int | None = None,
        key: str | None = None,
    ) -> hits.Explanation:
        """Return the plan of a search; with ``analyze`` run it and add what happened.

        Of a canary it is the plan of the version that `search` would send this query, or ``key``,
        to, and says what share of the queries goes there.
        """
        k = check_k(k)
        wanted = wanted_of(recall, exact=exact, ef_search=ef_search)
        options = SearchOptions(
            label_of(version),
            k,
            where,
            mode,
            label_of(old_version),
            fusion,
            check_collapse(collapse),
            wanted,
            keys_of(None if key is None else (key,)),
        )
        if not check_switch(analyze, what="analyze"):
            return explain(self._handle, query, options)
        result = search_one(self._handle, query, options)
        return hits.Explanation(result.plan, result.trace.actuals())

    def compare_epochs(
        self,
        query: Query,
        *,
        before: int,
        after: int | None = None,
        version: str | None = None,
        k: int = 10,
        where: Where = None,
        mode: SearchMode | None = None,
        old_version: str | None = None,
        fusion: FusionName | None = None,
        recall: float | None = None,
        ef_search: int | None = None,
        key: str | None = None,
    ) -> epoch_comparison.EpochComparison:
        """Ask a question at two epochs, and tell which hits changed and why; see `search`.

        Parameters
        ----------
        before, after : int
            Epochs; ``after`` is the current one if not given. ``Store.history`` lists them.
        version : str, optional
            Without it each epoch answers by the route that it had, so that a query may need
            vectors of several versions. A canary sends the query, or ``key``, as `search` does.

        Raises
        ------
        NotFoundError
            The file no longer has an epoch, or the collection or version was not there yet.
        """
        k = check_k(k)
        wanted = wanted_of(recall, exact=False, ef_search=ef_search)
        options = SearchOptions(
            label_of(version),
            k,
            where,
            mode,
            label_of(old_version),
            fusion,
            wanted=wanted,
            keys=keys_of(None if key is None else (key,)),
        )
        until = self._handle.snapshot().epoch if after is None else after
        return epoch_comparison.compare_epochs(
            self._handle, query, options, before=before, after=until
        )

    def hits(self) -> dict[DocumentId, int]:
        """Return how often live documents were found, of those that were, most often first.

        Searches through handles on older epochs do not count. What `Store.flush_metrics` wrote is
        in the file; what this handle has counted since is added, and lost when it is closed.
        """
        return hit_counts.hits_by_id(self._handle)

    # Migrating.

    @property
    def route(self) -> RouteState:
        """Which version, or versions, answer a query that names none; of a tenant, in its scope."""
        return routes.route(self._handle)

    @property
    def routes(self) -> dict[str, RouteState]:
        """All routes: the default one under ``""``, others under ``"field=value"``.

        Through a scoped handle the default one, and the one of the tenant that it is scoped to.
        """
        return routes.routes(self._handle)

    def coverage(self, version: str, where: Where = None, *, weighted: bool = False) -> Coverage:
        """Return how many live documents have fresh vectors in a version.

        Parameters
        ----------
        weighted : bool
            Also how much of the traffic, by the hits of documents that the store has counted.
        """
        return gate_measurements.coverage(self._handle, version, where, weighted=weighted)

    def pending(self, version: str, *, limit: int | None = None) -> list[Document]:
        """Return live documents without fresh vectors in a version: the regeneration queue."""
        return backfilling.pending(self._handle, version, limit=limit)

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
            self._handle,
            version,
            embed,
            batch_size=batch_size,
            batches_max=batches_max,
            progress=progress,
        )

    def migrate(
        self,
        source: str,
        target: str,
        embed: Embed | None = None,
        **options: Unpack[MigrationOptions],
    ) -> Migration:
        """Return a handle on the durable job that fills one version from another.

        Its ``plan()``, ``run()`` and ``status()`` do what they say; `Migration` has the options.
        """
        return migrating.Migration(self._handle, source, target, embed, **options)

    @property
    def dual_write(self) -> DualWrite:
        """What a write may do that has vectors for some of the versions in use only."""
        return self._handle.view().state.dual_write

    def set_dual_write(self, policy: DualWrite, *, reason: str = "") -> None:
        """Say what becomes of a write that lacks vectors of a version in use.

        Parameters
        ----------
        policy : {"allow", "queue", "require"}
            "allow" counts the gap. "queue" opens a backfill for the version at once, in the same
            commit, whose runner takes such documents first. "require" refuses the write. In use are
            the versions that routes read, read before, or shadow, and those that a migration fills
            or has filled, until they are retired. Under "queue" and "require" vectors that come
            without text and hash count as a change of the source; see `Transaction.upsert`.
        """
        dual_write.set_policy(self._handle, policy, reason=reason)

    def read_both(
        self,
        version: str,
        *,
        fusion: FusionName = DEFAULT_FUSION,
        force: bool = False,
        reason: str = "",
        by: str = "",
    ) -> None:
        """Route to a dual read of the serving version and this one.

        Parameters
        ----------
        force : bool
            In a scope: make the route although the tenant has no document yet, which is otherwise
            refused with a `StateError`; recorded with ``reason``, which it needs.
        """
        routes.read_both(self._handle, version, fusion=fusion, force=force, reason=reason, by=by)

    def read_cascade(
        self, version: str, *, force: bool = False, reason: str = "", by: str = ""
    ) -> None:
        """Route to what the serving version finds, ordered by this one where it has the vectors.

        ``force`` is as for `read_both`.
        """
        routes.read_cascade(self._handle, version, force=force, reason=reason, by=by)

    def read_canary(
        self, version: str, *, percent: int, force: bool = False, reason: str = "", by: str = ""
    ) -> None:
        """Let a version answer a share of the queries; the same ones each time.

        ``force`` is as for `read_both`.
        """
        routes.read_canary(
            self._handle, version, percent=percent, force=force, reason=reason, by=by
        )

    def read_bridge(
        self, version: str, *, source: str, force: bool = False, reason: str = "", by: str = ""
    ) -> None:
        """Let a version serve, also queries of another one, mapped by a fitted bridge.

        ``force`` is as for `read_both`.
        """
        routes.read_bridge(self._handle, version, source=source, force=force, reason=reason, by=by)

    def shadow(
        self,
        version: str | None,
        *,
        percent: int = 100,
        force: bool = False,
        reason: str = "",
        by: str = "",
    ) -> None:
        """Also ask a version, for a share of the queries, and compare; None to stop.

        The comparison is `shadow_reports`; answers are not touched. ``force`` is as for
        `read_both`.
        """
        routes.shadow(self._handle, version, percent=percent, force=force, reason=reason, by=by)

    @property
    def shadow_reports(self) -> list[ShadowReport]:
        """What shadow reads through this store's handle found; in a scope, those of its route."""
        reports, view = self._handle.observer.shadows.reports(), self._handle.view()
        return [
            report
            for report in reports
            if report.key.collection == self.name and view.has_own_route(report.key.route)
        ]

    def fit_bridge(
        self,
        source: str,
        target: str,
        *,
        min_recall: float = 0.8,
        kinds: Sequence[BridgeKind] | None = None,
        documents_max: int = 20_000,
        seed: int = 0,
        queries: Mapping[str, Array] | None = None,
    ) -> Bridge:
        """Fit a map from queries of one version to another's, and store it; see `bridges.fit`.

        Parameters
        ----------
        queries : mapping of label to (n, dimension), optional
            Real queries, embedded for both: then they are what the gate measures. Documents that
            were held back find more of their neighbours, mapped, than queries do.

        Raises
        ------
        GateError
            What is measured does not find ``min_recall`` of its own 10 neighbours, mapped.
        StateError
            Too few documents have vectors of both versions, or a version is retired.
        """
        return bridges.fit(
            self._handle,
            source,
            target,
            min_recall=min_recall,
            kinds=kinds,
            documents_max=documents_max,
            seed=seed,
            queries=queries,
        )

    def choose_fusion(
        self,
        version: str,
        *,
        old_version: str,
        queries: Mapping[str, Array],
        judgments: Judgments,
    ) -> RuleChoice:
        """Measure fusion rules on judged queries; ``fusion="auto"`` is then the one chosen.

        Parameters
        ----------
        queries : mapping of label to (n, dimension)
            The same queries, embedded for both versions: arrays, `Embeddings`, or iterables of
            vectors.
        judgments : iterable of mapping of id to gain, n of them
            People's judgments; or what they clicked, with gain 1.
        """
        return fusion_choice.choose(self._handle, old_version, version, queries, judgments)

    def check_gates(self, version: str, gates: Gates | None = None) -> list[GateResult]:
        """Measure what a cutover would, and change nothing."""
        chosen = gating.Gates() if gates is None else gates
        return routes.check_gates(self._handle, version, chosen)

    def cutover(
        self,
        version: str,
        *,
        min_coverage: float | None = None,
        gates: Gates | None = None,
        force: bool = False,
        reason: str = "",
        by: str = "",
    ) -> list[GateResult]:
        """Let a version serve alone, if its gates pass, in one commit.

        Parameters
        ----------
        min_coverage : float, default 1
            Short for ``gates=Gates(coverage=...)``; with ``gates`` it is refused.
        gates : Gates, optional
        force : bool
            Go on in spite of gates that fail; recorded with ``reason``, which it needs, and ``by``.

        Returns
        -------
        list of GateResult
            What each gate measured; kept with the route.

        Raises
        ------
        GateError
            A gate does not pass and ``force`` was not given.
        StateError
            The version serves already, or is retired.
        """
        chosen = routes.gates_of(min_coverage, gates)
        return routes.cutover(
            self._handle, version, gates=chosen, force=force, reason=reason, by=by
        )

    def rollback(self, *, reason: str = "", by: str = "") -> Coverage:
        """Return to the version that served before, in one commit.

        Returns
        -------
        Coverage
            Of that version: documents written without its vectors since are not found by it, until
            a backfill.
        """
        return routes.rollback(self._handle, reason=reason, by=by)

    def follow_default(self, *, reason: str = "") -> None:
        """Drop the own route of the tenant that this handle is scoped to."""
        routes.follow_default(self._handle, reason=reason)

    def retire(self, version: str, *, reason: str = "") -> None:
        """End a version: no more writes or queries; a vacuum drops its vectors."""
        routes.retire(self._handle, version, reason=reason)

    # Guarding.

    def guard(self, version: str) -> GuardInfo:
        """Return what a version knows about its own space.

        Raises
        ------
        NotFoundError
            The collection has no such version.
        CorruptionError
            What the version knows fails its checksum; `relearn_geometry` replaces it.
        ScopeError
            The handle is scoped, and what was learned is of everybody's documents.
        """
        return guard_changes.guard_info(self._handle, version)

    def set_canaries(
        self, version: str, texts: Sequence[str], *, vectors: Embedder | Embeddings | Array
    ) -> None:
        """Keep some texts with their vectors; `verify_embedder` embeds them again later.

        An embedder of the version is verified before it writes, once per handle, and refused if it
        makes other vectors of them now. A dozen texts as the collection has them will do. Every
        embedder that writes to the version gets them, also one that writes through a scoped handle:
        where tenants bring their own, texts of one tenant are no canaries.

        Parameters
        ----------
        texts : sequence of str
            At most 64, of at most 16 KiB each. None at all: the version has no canaries any more.
        vectors : Embedder, Embeddings, or array (n, dimension)
            What makes them, or what it made: as documents, after the spec's document prompt.

        Raises
        ------
        InvalidArgumentError, InvalidVectorError, LimitExceededError
            Texts and vectors are not as many, a vector is no vector of the version, or there are
            too many texts or one is too long.
        VersionMismatchError
            The stamp is not that of the version.
        NotFoundError
            The collection has no such version.
        ScopeError
            The handle is scoped, and canaries are everybody's.
        """
        canary_checks.set_canaries(self._handle, version, texts, vectors)

    def verify_embedder(
        self, embedder: Embedder, version: str | None = None, *, raise_on_drift: bool = False
    ) -> CanaryReport:
        """Embed a version's canaries again, and compare them with what they were.

        Parameters
        ----------
        version : str, optional
            Default: the one that has the embedder's spec. Any other can be named, to see whether a
            provider only renamed a model; then ``Store.declare_equivalent``.
        raise_on_drift : bool

        Raises
        ------
        EmbedderDriftError
            The verdict is not "same", and ``raise_on_drift``.
        StateError
            The version has no canaries.
        VersionMismatchError
            No version has the embedder's spec, and none was named.
        ScopeError
            The handle is scoped, and the canaries are everybody's.
        """
        return canary_checks.verify_embedder(
            self._handle, embedder, version, raise_on_drift=raise_on_drift
        )

    def set_geometry_policy(
        self, version: str, policy: GeometryPolicy, *, reason: str = ""
    ) -> None:
        """Say what becomes of vectors that look like those of another space.

        Parameters
        ----------
        policy : {"refuse", "flag", "off"}
            "refuse" raises `SuspectGeometryError` for batches once the version has learned from
            1,024 rows, and flags before. "flag" logs a warning and counts. "off" looks at nothing.
            Queries are flagged or not looked at.
        """
        guard_changes.set_policy(self._handle, version, policy, reason=reason)

    def relearn_geometry(self, version: str) -> None:
        """Learn what a version's space is like anew, from the rows that it has now.

        What was learned stays otherwise from 4,096 rows on. For a version whose first rows were not
        of its model, or whose guard is damaged: then it loses its canaries, too.

        Raises
        ------
        StateError
            It has fewer than 32 rows.
        """
        learning.relearn(self._handle, version)
