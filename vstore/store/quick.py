"""The same question again: one vector, one version, one filter, one graph, without detours.

A program asks thousands of single questions with the same options, and then what `search` does in
Python takes longer than the search. What depends on the options and the snapshot alone is
remembered with the snapshot's view; any question that differs in kind goes the long way. Both give
the same results, counters and traces (`tests/test_quick_search.py`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from vstore.deferred import Deferred
from vstore.native import loader
from vstore.native.arrays import NONE
from vstore.native.calls import CorruptGraphError
from vstore.observe.traced import TracedBatch
from vstore.query.execution import MatchedExecution
from vstore.query.fetching import FetchedBatch, VersionRead
from vstore.query.filtered import Filtered, filtered
from vstore.segment.validation import SQUARE_UNDERFLOW
from vstore.segment.vectors import VectorSegment
from vstore.store.resolving import route_for
from vstore.store.results import Searched, SearchResult
from vstore.store.search import bound_filter, matching_documents

if TYPE_CHECKING:
    from vstore.query import filter as filters
    from vstore.store import query_check, recall_check
    from vstore.store.collection import Collection
    from vstore.store.search_options import SearchOptions
    from vstore.store.snapshot import CollectionView
    from vstore.types import Array
else:  # what a search without a filter does not need
    filters = Deferred("vstore.query.filter")
    recall_check = Deferred("vstore.store.recall_check")


class QuickSearch:
    """All that a search needs but its query."""

    def __init__(self, collection: Collection, options: SearchOptions, searched: Searched) -> None:
        assert options.version is not None
        view, batch = searched.view, searched.batch
        self._name = collection.name
        self._observer = collection.store.observer
        self._clock = collection.store.clock
        self._epoch = batch.epoch
        self._view = view
        self._options = options
        self._k = options.k
        self._tenant, _ = route_for(view, bound_filter(view, options.where))
        self._tally = None
        if not collection.is_pinned:  # searches of an older state find nothing for hits to count
            self._tally = self._observer.tally(
                batch, k=options.k, view=view, tenant=self._tenant, family=options.family
            )
        self._plan = batch.plan
        self._table = view.rows(options.version)
        self._versions = (options.version,)
        version = view.version(options.version)
        self._shape = (version.spec.dimension,)
        self._matches = batch.matches
        _, ((self._number, part, _, self._question),) = _chosen(view, options)
        segment = self._table.parts[self._number].rows
        assert isinstance(segment, VectorSegment)
        _, self._graph, self._check = segment.searched
        self._metric = version.spec.metric
        self._rows = self._graph.rows_of(
            part.vectors, self._metric, None if part.distinct else part.groups
        )
        self._reporting = self._question._replace(report=True)
        self._at = np.full((1, options.k), self._number)
        self._docno = segment.docno
        # Made by the search that is remembered, if the version knows what its queries are like.
        self._check_query: query_check.QueryCheck | None = view.query_checks.get(options.version)

    def __call__(self, query: Array) -> SearchResult | None:
        """Answer one question; None if it has to go the long way."""
        started = self._clock.monotonic_s()
        kernels = loader.kernels()
        if (
            kernels is None
            or type(query) is not np.ndarray  # a masked array, for one
            or query.shape != self._shape
            or query.dtype != np.float32
            or not query.flags.c_contiguous
            or not SQUARE_UNDERFLOW < float(np.vdot(query, query)) < np.inf
        ):
            return None
        question = self._question if self._check.complete else self._reporting
        try:
            answered = self._graph.answer(kernels, self._rows, query[None], question)
        except CorruptGraphError:
            return None
        row = answered.row
        if row[0, -1] == NONE:
            return None
        if question.report and self._check.damage(answered.scored, answered.nodes) is not None:
            return None
        batch = FetchedBatch(
            self._docno[row].astype(np.int64),
            self._at,
            row.astype(np.int64),
            answered.score,
            full=True,
        )
        execution = MatchedExecution(self._table, batch)
        traced = TracedBatch(
            self._name,
            self._epoch,
            self._plan,
            self._versions,
            self._matches,
            self._clock.monotonic_s() - started,
            execution.summaries,
        )
        tally = self._tally
        if tally is None or execution.summaries.whole(self._k) != tally.label:
            self._observer.record(
                traced,
                k=self._k,
                view=self._view,
                docnos=None if tally is None else batch.docno,
                tenant=self._tenant,
                family=self._options.family,
            )
        elif tally.repeat(traced.seconds, batch.docno):
            self._observer.called(tally)
        if self._observer.sampler is not None:
            self._compare(query, execution, traced)
        noted = None if self._check_query is None else self._check_query.one(query)
        return SearchResult(
            Searched(self._view, execution, traced, () if noted is None else (noted,)), 0
        )

    def _compare(self, query: Array, execution: MatchedExecution, traced: TracedBatch) -> None:
        bound = bound_filter(self._view, self._options.where)
        recall_check.compare(
            self._observer,
            traced,
            execution,
            [VersionRead(self._table, self._metric, query[None])],
            None if bound is None else matching_documents(self._view, bound),
            k=self._k,
            collapse=self._options.collapse,
            tenant=self._tenant,
            family=self._options.family,
        )


def quick_key(options: SearchOptions) -> object:
    """Return under what a question is remembered.

    Raises
    ------
    TypeError
        No question that was answered has such options, or the filter cannot be a key.
    """
    if type(options.k) is not int:  # True is 1, and refused
        raise TypeError
    if options.where is None:
        return options
    if not isinstance(options.where, filters.Filter):
        raise TypeError
    return options, repr(options.where)  # 1 and True are equal, and not as good in every field


def passing_of(view: CollectionView, options: SearchOptions) -> Filtered:
    """Return which rows may be returned; made before, by the search that is remembered."""
    assert options.version is not None
    bound = bound_filter(view, options.where)
    matching = None if bound is None else matching_documents(view, bound)
    return filtered(view.rows(options.version), matching)


def _chosen(view: CollectionView, options: SearchOptions) -> tuple[Any, Any]:
    """Return the parts that were scanned and those searched by machine code, if that is known."""
    key = (options.k, options.collapse, options.wanted, False)  # as in `fetching.fetch`
    return passing_of(view, options).searches.find(key) or ((), ())


def remember(collection: Collection, options: SearchOptions, result: SearchResult) -> None:
    """Remember how a question was answered, if the next one like it can be answered so."""
    view = result.searched.view  # of its own epoch: a commit may have been made since
    if options.version is None or options.mode is not None or collection.view() is not view:
        return
    version, table = view.version(options.version), view.rows(options.version)
    scanned, by_codes = _chosen(view, options)
    if scanned or len(by_codes) != 1 or version.spec.normalized:
        return
    part = table.parts[by_codes[0].number]
    if part.live is not None or part.fresh is not None or not isinstance(part.rows, VectorSegment):
        return
    view.quick.put(quick_key(options), QuickSearch(collection, options, result.searched))
