"""Collections: the handle through which documents and vectors are written, read and searched."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vstore.api.collection_guards import CollectionGuards
from vstore.deferred import Deferred
from vstore.manifest.spec import suggest_label
from vstore.numbers import check_switch
from vstore.searching.parameters import (
    Mode,
    Queries,
    Query,
    SearchOptions,
    check_family,
    check_k,
    keys_of,
    several_queries,
    wanted_of,
)
from vstore.searching.search import ask, explain, search, search_one
from vstore.writing.drawn import drawn

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from vstore.engine import hit_counts, version_info
    from vstore.manifest.spec import EmbeddingSpec
    from vstore.manifest.state import Provenance, StalePolicy, StorageType
    from vstore.query.filter import Where
    from vstore.query.fusion import FusionName
    from vstore.searching import epoch_comparison, hits, result_batch
    from vstore.searching.results import SearchResult
    from vstore.types import DocumentId, Metadata
    from vstore.writing import draft as drafts
    from vstore.writing import schema, text_upserts
    from vstore.writing.counts import DeleteCounts, UpsertCounts, VectorCounts
else:  # not what a search needs
    epoch_comparison = Deferred("vstore.searching.epoch_comparison")
    hit_counts = Deferred("vstore.engine.hit_counts")
    hits = Deferred("vstore.searching.hits")
    drafts = Deferred("vstore.writing.draft")
    result_batch = Deferred("vstore.searching.result_batch")
    schema = Deferred("vstore.writing.schema")
    text_upserts = Deferred("vstore.writing.text_upserts")
    version_info = Deferred("vstore.engine.version_info")


class Collection(CollectionGuards):
    """A named corpus of documents and its embedding versions.

    A handle holds no data: reads see the store's current snapshot (or the one the handle is pinned
    to), writes are transactions of their own. Made by ``Store.collection()``.
    """

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
        mode: Mode | None = None,
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
        VersionMismatchError, InvalidVectorError, InvalidArgumentError, FilterError, NotFoundError,
        StateError, CorruptionError
        """
        k = check_k(k)
        wanted = wanted_of(recall, exact=exact, ef_search=ef_search)
        options = SearchOptions(
            version,
            k,
            where,
            mode,
            old_version,
            fusion,
            collapse,
            wanted,
            keys_of(None if key is None else (key,)),
            check_family(family),
        )
        return ask(self._handle, query, options)

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
            version,
            k,
            where,
            mode,
            old_version,
            fusion,
            collapse,
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
        mode: Mode | None = None,
        old_version: str | None = None,
        fusion: FusionName | None = None,
        collapse: bool = True,
        recall: float | None = None,
        exact: bool = False,
        ef_search: int | None = None,
    ) -> hits.Explanation:
        """Return the plan of a search; with ``analyze`` run it and add what happened."""
        k = check_k(k)
        wanted = wanted_of(recall, exact=exact, ef_search=ef_search)
        options = SearchOptions(version, k, where, mode, old_version, fusion, collapse, wanted)
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
        mode: Mode | None = None,
        old_version: str | None = None,
        fusion: FusionName | None = None,
        recall: float | None = None,
        ef_search: int | None = None,
    ) -> epoch_comparison.EpochComparison:
        """Ask a question at two epochs, and tell which hits changed and why; see `search`.

        Parameters
        ----------
        before, after : int
            Epochs; ``after`` is the current one if not given. ``Store.history`` lists them.
        version : str, optional
            Without it each epoch answers by the route that it had, so that a query may need
            vectors of several versions.

        Raises
        ------
        NotFoundError
            The file no longer has an epoch, or the collection or version was not there yet.
        """
        k = check_k(k)
        wanted = wanted_of(recall, exact=False, ef_search=ef_search)
        options = SearchOptions(version, k, where, mode, old_version, fusion, wanted=wanted)
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
