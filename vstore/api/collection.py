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
from vstore.guarding import spec_check
from vstore.manifest.spec import EmbeddingSpec
from vstore.names import require_text
from vstore.numbers import check_switch
from vstore.searching.parameters import search_options, several_queries
from vstore.searching.search import explain, search, search_one
from vstore.writing.drawn import drawn

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from vstore.api.store import Store
    from vstore.embedding import calls as calling
    from vstore.embedding import spending
    from vstore.embedding.calls import Calls
    from vstore.embedding.spending import Price
    from vstore.engine import filtering, reading
    from vstore.engine import versions as versioned
    from vstore.engine.coverage import Coverage
    from vstore.engine.handle import Handle
    from vstore.engine.version_info import VersionInfo
    from vstore.engine.versions import Versions
    from vstore.guarding import guards as guarding
    from vstore.guarding.guards import Guards
    from vstore.manifest.job_state import JobOrder
    from vstore.manifest.state import Provenance, StalePolicy, StorageType
    from vstore.migration import migrations
    from vstore.migration.gates import measurements
    from vstore.migration.jobs import migration as migrating
    from vstore.migration.jobs import options as job_options
    from vstore.migration.jobs.migration import Migration
    from vstore.migration.jobs.options import Caps
    from vstore.migration.migrations import Migrations
    from vstore.migration.routes import routes as routing
    from vstore.migration.routes.routes import Routes
    from vstore.query.filter import Filter, Where
    from vstore.query.reads import Read
    from vstore.searching import epoch_comparison, hits, result_batch
    from vstore.searching.parameters import Queries, Query, Recall
    from vstore.searching.results import SearchResult
    from vstore.segment.user_document import Document
    from vstore.types import Array, DocumentId, Metadata
    from vstore.writing import draft as drafts
    from vstore.writing import given_vectors, schema, text_upserts
    from vstore.writing.counts import DeleteCounts, UpsertCounts, VectorCounts
    from vstore.writing.vector_sources import Embed, MapRows
else:  # not what a search needs
    calling = Deferred("vstore.embedding.calls")
    drafts = Deferred("vstore.writing.draft")
    epoch_comparison = Deferred("vstore.searching.epoch_comparison")
    filtering = Deferred("vstore.engine.filtering")
    given_vectors = Deferred("vstore.writing.given_vectors")
    guarding = Deferred("vstore.guarding.guards")
    hits = Deferred("vstore.searching.hits")
    job_options = Deferred("vstore.migration.jobs.options")
    measurements = Deferred("vstore.migration.gates.measurements")
    migrating = Deferred("vstore.migration.jobs.migration")
    migrations = Deferred("vstore.migration.migrations")
    reading = Deferred("vstore.engine.reading")
    result_batch = Deferred("vstore.searching.result_batch")
    routing = Deferred("vstore.migration.routes.routes")
    schema = Deferred("vstore.writing.schema")
    spending = Deferred("vstore.embedding.spending")
    text_upserts = Deferred("vstore.writing.text_upserts")
    versioned = Deferred("vstore.engine.versions")


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
        bound = self._handle.version
        version = "" if bound is None else f", version={bound!r}"
        return f"{type(self).__name__}({self.name!r}{scope}{version})"

    def _elsewhere(self) -> str:
        handle = self._handle
        pinned = "" if handle.pinned is None else f".snapshot({handle.pinned.epoch})"
        bound = "" if handle.version is None else f".at({handle.version!r})"
        scope = "" if handle.scope is None else ", scoped by the same filter"
        return opening(self.store.path, f"{pinned}.collection({self.name!r}){bound}{scope}")

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

    def at(self, version: str | EmbeddingSpec) -> Self:
        """Return a handle bound to a version, which is meant wherever none is named.

        Through it searches read that version whatever the route says, and bare arrays are its
        vectors, also in `upsert`. A program that has one model need not repeat the label, and
        still a vector is never taken for one of a version that nobody named.

        Parameters
        ----------
        version : str or EmbeddingSpec
            Its label, or its spec, of which a program with an embedder need not know the label.

        Raises
        ------
        NotFoundError
            The collection has no version of that label.
        VersionMismatchError, StateError
            The collection has no version of that spec, nor of one declared to be the same; it has
            one that is retired, or no version yet.
        """
        snapshot = self._handle.snapshot()
        view = self._handle.view_at(snapshot)
        if isinstance(version, EmbeddingSpec):
            found = spec_check.version_of(view.whole.state, version, snapshot.state, where="at")
        else:
            found = view.version(require_text(version, what="version"))
        return type(self)(self.store, self._handle.bound(found))

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

    def get_vectors(self, id_: DocumentId, version: str | None = None) -> Array:
        """Return a document's vectors of a version exactly as stored, (chunks, dimension).

        Parameters
        ----------
        version : str, optional
            Its label; only a handle bound to a version (see `at`) goes without.

        Raises
        ------
        NotFoundError
            No such document or version, or it has no vectors that may be served.
        """
        return reading.get_vectors(self._handle, id_, self._handle.label(version))

    def vectors(
        self, version: str | None = None, where: Where = None
    ) -> Iterator[tuple[list[DocumentId], Array, Array, Array]]:
        """Iterate over a version's served rows in batches, on the snapshot of this call.

        Each batch is a tuple:

        ids : list
            Document of each row.
        chunks : u32 (n,)
        revisions : u64 (n,)
        vectors : (n, dimension)
            Exactly as stored.

        Raises
        ------
        NotFoundError
            The collection has no such version.
        """
        return reading.vectors(self._handle, self._handle.label(version), where)

    def coverage(
        self, version: str | None = None, where: Where = None, *, weighted: bool = False
    ) -> Coverage:
        """Return how many live documents have fresh vectors in a version.

        Parameters
        ----------
        weighted : bool
            Also how much of the traffic, by the hits of documents that the store has counted.

        Raises
        ------
        NotFoundError
            The collection has no such version.
        """
        label = self._handle.label(version)
        return measurements.coverage(self._handle, label, where, weighted=weighted)

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
    ) -> VersionInfo:
        """Declare an embedding version. The first one serves at once, others by ``routes.cutover``.

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
        return self.versions[label]

    @property
    def versions(self) -> Versions:
        """All versions by label, in the order of their making, as they are now."""
        return versioned.Versions(self._handle.view())

    # Writing. Each call is one commit; a transaction makes several one.

    def upsert(
        self,
        ids: Iterable[DocumentId],
        *,
        vectors: object = None,
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
        calls: Calls | None = None,
        progress: Callable[[int, int], None] | None = None,
        trust_geometry: bool = False,
        on_error: text_upserts.OnError = "raise",
    ) -> UpsertCounts:
        """Embed texts and upsert them, one commit per batch; see `text_upserts.upsert_texts`."""
        return text_upserts.upsert_texts(
            self._handle,
            ids,
            texts,
            embedder=embedder,
            metadata=metadata,
            calls=calling.Calls() if calls is None else calls,
            progress=progress,
            trust_geometry=trust_geometry,
            on_error=on_error,
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
        ids: Iterable[DocumentId],
        vectors: object,
        *,
        version: str | None = None,
        revisions: Iterable[int] | None = None,
        trust_geometry: bool = False,
    ) -> VectorCounts:
        """Give documents their vectors of a version; see `Transaction.add_vectors`."""
        label = given_vectors.label_of_vectors(self._handle, version, vectors)
        given, made_from = (drawn(ids), drawn(vectors)), drawn(revisions)
        return drafts.write(
            self._handle.file,
            lambda draft: draft.add_vectors(
                self._handle,
                label,
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
        read: Read | None = None,
        k: int = 10,
        where: Where = None,
        recall: Recall | None = None,
        collapse: bool = True,
        key: str | None = None,
        family: str = "",
    ) -> SearchResult:
        """Find the k nearest documents.

        Parameters
        ----------
        query : str, array (dimension,), Embeddings, or mapping of label to one of the latter two
            Text needs an embedder, see ``Store.register_embedder``; a bare array needs ``version``,
            or a handle bound to one; a read of two versions needs a vector for each, so text or a
            mapping.
        version : str, optional
            The version to read. Without it the collection's route decides.
        read : Dual, Cascade or Bridge, optional
            Read two versions together, or one with the queries of another.
        k : int
            Hits wanted; `min(k, matches)` are returned.
        where : Filter or dict, optional
        recall : float or EfSearch, optional
            Share of the true k nearest that is wanted, on average; 0.95 if not given. Segments with
            a graph are searched as widely as gave that at this k, or at those next to it, when the
            graph was measured; they are scanned where nothing did. Of 1, every vector is scored.
            An `EfSearch` follows graphs with just that size of the pool of candidates.
        collapse : bool
            One hit per document, its best chunk; False for one hit per chunk, of one version.
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
            A version that is read is retired, the collection has no version yet, or ``read`` leaves
            out its old version and only its new one serves.
        CorruptionError
            A block that the search reads fails its checksum.
        """
        options = search_options(
            self._handle,
            version=version,
            read=read,
            k=k,
            where=where,
            recall=recall,
            collapse=collapse,
            keys=None if key is None else (key,),
            family=family,
        )
        return search_one(self._handle, query, options)

    def search_batch(
        self,
        queries: Queries,
        *,
        version: str | None = None,
        read: Read | None = None,
        k: int = 10,
        where: Where = None,
        recall: Recall | None = None,
        collapse: bool = True,
        keys: Sequence[str] | None = None,
        family: str = "",
    ) -> result_batch.SearchResults:
        """Run many searches at once, queries (m, dimension); see `search`.

        They share the threads that the store was opened with.

        Parameters
        ----------
        keys : sequence of str, optional
            One for each query.
        """
        options = search_options(
            self._handle,
            version=version,
            read=read,
            k=k,
            where=where,
            recall=recall,
            collapse=collapse,
            keys=keys,
            family=family,
            threads=self._handle.file.threads,
        )
        queries = several_queries(queries)
        return result_batch.SearchResults(search(self._handle, queries, options))

    def explain(
        self,
        query: Query,
        *,
        analyze: bool = False,
        version: str | None = None,
        read: Read | None = None,
        k: int = 10,
        where: Where = None,
        recall: Recall | None = None,
        collapse: bool = True,
        key: str | None = None,
    ) -> hits.Explanation:
        """Return the plan of a search; with ``analyze`` run it and add what happened.

        Of a canary it is the plan of the version that `search` would send this query, or ``key``,
        to, and says what share of the queries goes there. What it raises is what `search` does.
        """
        options = search_options(
            self._handle,
            version=version,
            read=read,
            k=k,
            where=where,
            recall=recall,
            collapse=collapse,
            keys=None if key is None else (key,),
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
        read: Read | None = None,
        k: int = 10,
        where: Where = None,
        recall: Recall | None = None,
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
        options = search_options(
            self._handle,
            version=version,
            read=read,
            k=k,
            where=where,
            recall=recall,
            keys=None if key is None else (key,),
        )
        until = self._handle.snapshot().epoch if after is None else after
        return epoch_comparison.compare_epochs(
            self._handle, query, options, before=before, after=until
        )

    # Versions: how documents get their vectors, who is served by which, and what is refused.

    def migrate(
        self,
        source: str,
        target: str,
        embed: Embed | None = None,
        *,
        from_vectors: MapRows | None = None,
        order: JobOrder | None = None,
        order_field: str | None = None,
        caps: Caps | None = None,
        price: Price | None = None,
        calls: Calls | None = None,
        check: Callable[[Array], object] | None = None,
        isolate: bool = True,
    ) -> Migration:
        """Return a handle on the durable job that fills one version from another.

        Its ``plan()``, ``run()`` and ``status()`` do what they say; `Migration` has the options.
        """
        return migrating.Migration(
            self._handle,
            source,
            target,
            embed,
            from_vectors=from_vectors,
            order=order,
            order_field=order_field,
            caps=job_options.Caps() if caps is None else caps,
            price=spending.Price() if price is None else price,
            calls=calling.Calls() if calls is None else calls,
            check=check,
            isolate=isolate,
        )

    @property
    def migration(self) -> Migrations:
        """What a migration needs besides its job: what is pending, dual writes, bridges."""
        return migrations.Migrations(self._handle)

    @property
    def routes(self) -> Routes:
        """Which versions answer a query that names none, and all changes of that."""
        return routing.Routes(self._handle)

    @property
    def guards(self) -> Guards:
        """What each version knows of its own space, and what becomes of vectors unlike it."""
        return guarding.Guards(self._handle)
