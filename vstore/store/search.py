"""One search, from the caller's query to the result: resolve, guard, plan, execute, record."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate, pairwise
from typing import TYPE_CHECKING, Literal, NamedTuple, TypeAlias

import numpy as np

from vstore.deferred import Deferred
from vstore.errors import (
    FilterError,
    InvalidArgumentError,
    InvalidVectorError,
    LimitExceededError,
    StateError,
)
from vstore.limits import K_MAX, POOL_MAX, THREADS_MAX
from vstore.manifest.spec import short
from vstore.native import loader
from vstore.native.flavour import processors
from vstore.observe.traced import TracedBatch
from vstore.query.executor import execute
from vstore.query.fetching import VersionRead, part_statistics
from vstore.query.filtered import filtered
from vstore.query.paths import ANY, RECALL_DEFAULT, Wanted
from vstore.query.plan import PlanNode, plan_to_dict, render_plan
from vstore.query.planner import PlanStatistics, SearchRequest, VersionStatistics, plan_search
from vstore.segment.validation import as_array
from vstore.store import guard

if TYPE_CHECKING:
    from vstore.observe.trace import Trace
    from vstore.query import filter as filters
    from vstore.query import filter_evaluation
    from vstore.query import fusion as fusions
    from vstore.query.executor import Execution
    from vstore.query.filter import Filter
    from vstore.query.fusion import FusionName
    from vstore.store import document as documents
    from vstore.store import embedder as embedders
    from vstore.store import recall_check
    from vstore.store.collection import Collection
    from vstore.store.document import Document
    from vstore.store.embedder import Embeddings
    from vstore.store.snapshot import CollectionView, Snapshot
    from vstore.types import Array, BoolArray, DocumentId
else:  # what a search by a vector without a filter does not need
    documents = Deferred("vstore.store.document")
    embedders = Deferred("vstore.store.embedder")
    filters = Deferred("vstore.query.filter")
    filter_evaluation = Deferred("vstore.query.filter_evaluation")
    fusions = Deferred("vstore.query.fusion")
    recall_check = Deferred("vstore.store.recall_check")

Query: TypeAlias = "str | Array | Embeddings | Mapping[str, Array | Embeddings]"
Queries: TypeAlias = "Sequence[str] | Array | Embeddings | Mapping[str, Array | Embeddings]"
Where: TypeAlias = "Filter | Mapping[str, object] | None"
Mode: TypeAlias = Literal["matched", "dual"]


@dataclass(frozen=True, slots=True)
class Hit:
    """One hit.

    Attributes
    ----------
    id : str or int
    score : float
        Cosine similarity, inner product, or minus the Euclidean distance: larger is better. Scores
        of different versions cannot be compared; the order of the hits is the result's.
    version : str
        Version of the vector that was scored.
    chunk : int
    stale : bool
        The vector was made from an older revision of the document.
    """

    id: DocumentId
    score: float
    version: str
    chunk: int = 0
    stale: bool = False
    _docno: int = field(default=-1, repr=False, compare=False)
    _view: CollectionView | None = field(default=None, repr=False, compare=False)

    @property
    def document(self) -> Document:
        """The document, as it stood at the epoch of the search."""
        assert self._view is not None, "made by a search"
        return documents.document_of(
            self._view.documents.record(self._docno), self._view.field_types
        )

    @property
    def metadata(self) -> Mapping[str, object]:
        """The document's metadata."""
        return self.document.metadata

    @property
    def text(self) -> str | None:
        """The document's text."""
        return self.document.text


class SearchResult:
    """Hits, best first, with the plan that found them and a trace of how it went.

    A sequence of `Hit`. Hits and trace are made when they are first looked at.
    """

    __slots__ = ("_hits", "_number", "searched")

    def __init__(self, searched: Searched, number: int) -> None:
        self.searched = searched
        self._number = number
        self._hits: tuple[Hit, ...] | None = None

    @property
    def hits(self) -> tuple[Hit, ...]:
        """The hits, best first."""
        if self._hits is None:
            self._hits = self.searched.hits(self._number)
        return self._hits

    @property
    def plan(self) -> PlanNode:
        """The plan that found them."""
        return self.searched.batch.plan

    @property
    def trace(self) -> Trace:
        """What was read, when, and what came of it."""
        return self.searched.batch.trace(self._number)

    @property
    def ids(self) -> list[DocumentId]:
        """The hits' ids."""
        return self.searched.ids(self._number)

    def explain(self) -> str:
        """Return the plan with what happened, as text."""
        return render_plan(self.plan, self.trace.actuals())

    def __iter__(self) -> Iterator[Hit]:
        return iter(self.hits)

    def __len__(self) -> int:
        return self.searched.batch.summaries.hits(self._number)

    def __getitem__(self, index: int) -> Hit:
        return self.hits[index]

    def __repr__(self) -> str:
        return f"SearchResult({list(self.hits)!r})"


class Searched:
    """A batch of queries after it ran, from which results are made when they are looked at."""

    __slots__ = ("_execution", "_ids", "batch", "view")

    def __init__(self, view: CollectionView, execution: Execution, batch: TracedBatch) -> None:
        self.batch = batch
        self.view = view
        self._execution = execution
        self._ids: list[list[DocumentId]] | None = None

    def ids(self, number: int) -> list[DocumentId]:
        """Return the ids of one query's hits."""
        if self._ids is None:  # of all queries at once, which costs little more than of one
            every = self.view.documents.ids(self._execution.docnos())
            summaries = self.batch.summaries
            ends = accumulate(map(summaries.hits, range(len(summaries))), initial=0)
            self._ids = [every[start:end] for start, end in pairwise(ends)]
        return list(self._ids[number])

    def hits(self, number: int) -> tuple[Hit, ...]:
        """Return one query's hits."""
        view = self.view
        return tuple(
            Hit(
                view.documents.id(hit.docno),
                hit.score,
                hit.version,
                hit.chunk,
                hit.stale,
                hit.docno,
                view,
            )
            for hit in self._execution.hits(number)
        )


@dataclass(frozen=True, slots=True)
class Explanation:
    """A plan, and with ``analyze`` what happened when it ran. Prints as text."""

    plan: PlanNode
    actuals: Mapping[str, object] | None = None

    def __str__(self) -> str:
        return render_plan(self.plan, self.actuals)

    def to_dict(self) -> dict[str, object]:
        """Return plan and actuals as plain data."""
        result: dict[str, object] = {"plan": plan_to_dict(self.plan)}
        if self.actuals is not None:
            result["actuals"] = dict(self.actuals)
        return result


class SearchOptions(NamedTuple):
    """What a caller may say about a search."""

    version: str | None = None
    k: int = 10
    where: Where = None
    mode: Mode | None = None
    old_version: str | None = None
    fusion: FusionName | None = None
    collapse: bool = True
    wanted: Wanted = ANY


class _Prepared(NamedTuple):
    request: SearchRequest
    plan: PlanNode
    reads: list[VersionRead]
    matching: BoolArray | None
    matches: int | None


def wanted_of(
    recall: float | None, *, exact: bool, ef_search: int | None, threads: int | None = 1
) -> Wanted:
    """Return what a caller asks of a search besides k.

    Raises
    ------
    InvalidArgumentError
    """
    if exact + (recall is not None) + (ef_search is not None) > 1:
        raise InvalidArgumentError("recall, exact, ef_search: expected one of them")
    if recall is not None and not _is_share(recall):
        raise InvalidArgumentError(
            f"recall: expected a share above 0 up to 1, found {recall!r:.60}"
        )
    if recall is None and ef_search is None and not exact and threads == 1:
        return ANY
    for name, value, most in (
        ("ef_search", ef_search, POOL_MAX),
        ("threads", threads, THREADS_MAX),
    ):
        if value is not None and not (type(value) is int and 1 <= value <= most):
            raise InvalidArgumentError(f"{name}: expected 1 to {most:,}, found {value!r:.60}")
    return Wanted(
        RECALL_DEFAULT if recall is None else float(recall),
        bool(exact),
        ef_search,
        threads or processors(),
    )


def _is_share(value: object) -> bool:
    return isinstance(value, int | float) and 0 < value <= 1


def search(collection: Collection, queries: Queries, options: SearchOptions) -> list[SearchResult]:
    """Run one search per query, all with the same options, on one snapshot."""
    if isinstance(queries, list | tuple) and not queries:
        return []
    store = collection.store
    started = store.clock.monotonic_s()
    snapshot = collection.snapshot()
    view = snapshot.collection(collection.name)
    prepared = _prepare(collection, snapshot, view, queries, options)
    executed = execute(
        prepared.plan,
        prepared.reads,
        prepared.matching,
        k=prepared.request.k,
        collapse=prepared.request.collapse,
    )
    summaries = executed.summaries
    batch = TracedBatch(
        collection.name,
        snapshot.epoch,
        prepared.plan,
        tuple(read.table.label for read in prepared.reads),
        prepared.matches,
        (store.clock.monotonic_s() - started) / max(1, len(summaries)),
        summaries,
    )
    store.observer.record(
        batch,
        k=prepared.request.k,
        view=view,
        docnos=None if collection.is_pinned else executed.docnos(),
    )
    if store.observer.sampler is not None:
        recall_check.compare(
            store.observer,
            batch,
            executed,
            prepared.reads,
            prepared.matching,
            k=prepared.request.k,
            collapse=prepared.request.collapse,
        )
    searched = Searched(view, executed, batch)
    return [SearchResult(searched, number) for number in range(len(summaries))]


def explain(collection: Collection, query: Query, options: SearchOptions) -> Explanation:
    """Plan one search without running it."""
    snapshot = collection.snapshot()
    view = snapshot.collection(collection.name)
    return Explanation(_prepare(collection, snapshot, view, one_query(query), options).plan)


def one_query(query: Query) -> Queries:
    """Return one query as a batch of one."""
    if type(query) is np.ndarray:  # first, as a search by a vector needs no Embeddings
        return _row(query)
    if isinstance(query, str):
        return [query]
    if isinstance(query, embedders.Embeddings):
        return embedders.Embeddings(query.spec, _row(query.vectors))
    if isinstance(query, Mapping):
        return {
            label: embedders.Embeddings(q.spec, _row(q.vectors))
            if isinstance(q, embedders.Embeddings)
            else _row(q)
            for label, q in query.items()
        }
    return _row(query)


def _row(vector: Array) -> Array:
    array = as_array(vector, where="query")
    if array.ndim != 1:
        raise InvalidVectorError(
            f"query: expected one vector, found shape {array.shape}; use search_batch() for several"
        )
    return array[None]


def bound_filter(view: CollectionView, where: Where) -> Filter | None:
    """Return a caller's filter, checked against the collection's fields."""
    if where is None:
        return None
    if isinstance(where, filters.FieldReference):
        name = where.name
        raise FilterError(f"field({name!r}) is no filter yet: compare it, or ask .exists()")
    tree = where if isinstance(where, filters.Filter) else filters.filter_from_dict(where)
    return filters.bind(tree, view.field_types)


def matching_documents(view: CollectionView, bound: Filter) -> BoolArray:
    """Return by docno which live documents pass a bound filter; not to be written to."""

    def predicate(column: object, count: int) -> BoolArray:
        return filter_evaluation.evaluate(bound, column, count)  # type: ignore[arg-type]  # see Predicate

    return view.matching.get(bound, lambda: view.documents.mask(predicate))


def _prepare(
    collection: Collection,
    snapshot: Snapshot,
    view: CollectionView,
    queries: Queries,
    options: SearchOptions,
) -> _Prepared:
    if type(options.k) is not int or options.k < 1:
        raise InvalidArgumentError(f"k: expected an int >= 1, found {options.k!r}")
    if options.k > K_MAX:
        raise LimitExceededError("k", limit="K_MAX", found=options.k, allowed=K_MAX)
    old, new, fusion, origin = _route(view, queries, options, snapshot)
    if old is None and options.fusion is not None:
        raise InvalidArgumentError(f"fusion: a dual read has one, and this reads {new!r} alone")
    if old is not None and not options.collapse:
        raise InvalidArgumentError(
            f"collapse=False: a dual read (of {old!r} and {new!r}) gives a hit per document; "
            "name one version for a hit per chunk"
        )
    labels = (new,) if old is None else (old, new)
    reads = []
    for label in labels:
        version = view.version(label)
        vectors = _vectors(collection, queries, label, options, view)
        checked = guard.check_queries(
            version, vectors, snapshot.state, where=f"query for {label!r}"
        )
        reads.append(VersionRead(view.rows(label), version.spec.metric, checked, options.wanted))
    if len({len(read.queries) for read in reads}) > 1:
        raise InvalidArgumentError("queries: different numbers of vectors for the two versions")
    matching, where, matches = _filtered(collection, view, options)
    native = loader.kernels() is not None if _has_graphs(reads) else False
    key = (options, labels, fusion, native) if matching is None else None
    known = None if key is None else view.plans.find(key)
    if known is None:
        request = SearchRequest(
            new=new,
            old=old,
            k=options.k,
            fusion=fusion,
            where=where,
            collapse=options.collapse,
            origin=origin,
            wanted=options.wanted,
        )
        statistics = _statistics(view, labels, matching, matches, native=native)
        known = (request, plan_search(request, statistics))
        if key is not None:
            view.plans.put(key, known)
    request, plan = known
    return _Prepared(request, plan, reads, matching, matches)


def _filtered(
    collection: Collection, view: CollectionView, options: SearchOptions
) -> tuple[BoolArray | None, str, int | None]:
    """Return which documents pass filter and scope, by docno, the filter as text, how many pass."""
    if options.where is None and collection.scope is None:
        return None, "", None
    user = bound_filter(view, options.where)
    scope = collection.bound_scope(view) if collection.scope is not None else None
    both = [tree for tree in (scope, user) if tree is not None]
    bound = both[0] & both[1] if len(both) == 2 else both[0]
    matching = matching_documents(view, bound)
    return matching, filters.describe(bound), int(np.count_nonzero(matching))


def _has_graphs(reads: list[VersionRead]) -> bool:
    return any(read.table.has_graphs for read in reads)


def _route(
    view: CollectionView, queries: Queries, options: SearchOptions, snapshot: Snapshot
) -> tuple[str | None, str, str, str]:
    """Return old version, new version, fusion rule, and who decided."""
    if options.fusion is not None and options.fusion not in fusions.DUAL_FUSIONS:
        raise InvalidArgumentError(
            f"fusion: expected one of {', '.join(fusions.DUAL_FUSIONS)}, "
            f"found {options.fusion!r:.60}"
        )
    if options.old_version is not None and options.mode != "dual":
        raise InvalidArgumentError("old_version: needs mode='dual'")
    if options.mode == "dual":
        if options.version is None or options.old_version is None:
            raise InvalidArgumentError("mode='dual': pass version= (new) and old_version=")
        if options.version == options.old_version:
            raise InvalidArgumentError("mode='dual': version and old_version are the same")
        return options.old_version, options.version, options.fusion or "slots", "the caller"
    if options.mode not in (None, "matched"):
        raise InvalidArgumentError(f"mode: expected 'matched' or 'dual', found {options.mode!r}")
    if options.version is not None:
        return None, options.version, "", "the caller"
    route = view.state.routes.get("")
    if route is None:
        raise StateError(f"collection {view.state.name!r} has no version to search yet")
    bare = not isinstance(queries, embedders.Embeddings | Mapping) and not _is_text(queries)
    if bare:
        guard.require_label(None, view.state, where="query")
    if route.mode == "dual" and options.mode is None:
        return route.old_version, route.version, options.fusion or route.fusion, "the route"
    if isinstance(queries, embedders.Embeddings) and options.mode == "matched":
        found = guard.version_of(view.state, queries.spec, snapshot.state, where="query")
        return None, found.label, "", "the query's stamp"
    return None, route.version, "", "the route"


def _is_text(queries: Queries) -> bool:
    return isinstance(queries, list | tuple) and all(isinstance(query, str) for query in queries)


def _vectors(
    collection: Collection,
    queries: Queries,
    label: str,
    options: SearchOptions,
    view: CollectionView,
) -> Array | Embeddings:
    """Return the query vectors for one version."""
    if isinstance(queries, Mapping):
        given = queries.get(label)
        if given is None:
            raise InvalidArgumentError(
                f"query: the search reads version {label!r}, the query has vectors for "
                f"{', '.join(map(repr, queries)) or 'none'}; embed it with "
                f"{view.version(label).spec.model!r} too"
            )
        return given
    if _is_text(queries):
        return collection.store.embed_queries(view.version(label), queries)  # type: ignore[arg-type]
    return queries  # type: ignore[return-value]  # text was handled above


def _statistics(
    view: CollectionView,
    labels: tuple[str, ...],
    matching: BoolArray | None,
    matches: int | None,
    *,
    native: bool,
) -> PlanStatistics:
    versions = {}
    for label in labels:
        version, table = view.version(label), view.rows(label)
        parts, passing = table.parts, filtered(table, matching)
        versions[label] = VersionStatistics(
            label=label,
            fingerprint=short(version.spec.fingerprint),
            parts=tuple(part_statistics(passing, i, part) for i, part in enumerate(parts)),
            rows=table.served_rows,
            multiple_chunks=not all(part.rows.single for part in parts),
            row_bytes=version.spec.dimension * (2 if version.storage == "float16" else 4),
        )
    live = view.documents.live_count
    coverage, new_only = 1.0, 0
    if len(labels) == 2:
        old, new = view.rows(labels[0]), view.rows(labels[1])
        coverage = new.fresh_count / live if live else 1.0
        new_only = int(np.count_nonzero(new.has_served & ~old.has_served))
    return PlanStatistics(versions, live, matches, coverage, new_only, native)
