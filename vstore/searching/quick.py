"""The same question again: by vectors, one filter, one graph a version, without detours.

A program asks thousands of single questions with the same options, and then what `search` does in
Python takes longer than the search. What depends on the options and the snapshot alone is
remembered with the snapshot's view; any question that differs in kind goes the long way. Both give
the same results, counters and traces (`tests/test_quick_search.py`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from vstore.deferred import Deferred
from vstore.engine.filtering import bound_filter
from vstore.engine.snapshot import matching_documents
from vstore.native import loader
from vstore.native.arrays import NONE
from vstore.native.calls import CorruptGraphError
from vstore.observe.traced import TracedBatch
from vstore.query.execution import MatchedExecution
from vstore.query.fetching import FetchedBatch, SearchedPart, VersionRead
from vstore.query.filtered import filtered
from vstore.query.plan import DualRead
from vstore.searching.resolving import route_for
from vstore.searching.results import Searched, SearchResult
from vstore.segment.validation import SQUARE_UNDERFLOW
from vstore.segment.vectors import VectorSegment

if TYPE_CHECKING:
    from collections.abc import Sequence

    from vstore.engine.handle import Handle
    from vstore.engine.snapshot import CollectionView
    from vstore.guarding import query_check
    from vstore.index.construction import Kernels
    from vstore.query import beside as two_versions
    from vstore.query import filter as filters
    from vstore.query import fused_execution
    from vstore.query.execution import Execution
    from vstore.searching import recall_check
    from vstore.searching.parameters import Query, SearchOptions
    from vstore.types import Array, BoolArray
else:  # what a search of one version without a filter does not need
    filters = Deferred("vstore.query.filter")
    fused_execution = Deferred("vstore.query.fused_execution")
    two_versions = Deferred("vstore.query.beside")
    recall_check = Deferred("vstore.searching.recall_check")


class _QuickRead:
    """One version's side of such a search: all that it needs but the query."""

    def __init__(self, view: CollectionView, label: str, part: SearchedPart) -> None:
        version, rows = view.version(label), part.rows
        assert part.question is not None
        self.label = label
        self.table = view.rows(label)
        self.metric = version.spec.metric
        self._shape = (version.spec.dimension,)
        segment = self.table.parts[part.number].rows
        assert isinstance(segment, VectorSegment)
        _, self._graph, self._check = segment.searched
        self._rows = self._graph.rows_of(
            rows.vectors, self.metric, None if rows.distinct else rows.groups
        )
        self._question = part.question
        self._reporting = part.question._replace(report=True)
        self._at = np.full((1, part.question.k), part.number)
        self._docno = segment.docno
        # Made by the search that is remembered, if the version knows what its queries are like.
        self.check: query_check.QueryCheck | None = view.query_checks.get(label)

    def __call__(self, kernels: Kernels, query: object) -> FetchedBatch | None:
        """Return the best of the version; None if the question has to go the long way."""
        if (
            type(query) is not np.ndarray  # a masked array, for one
            or query.shape != self._shape
            or query.dtype != np.float32
            or not query.flags.c_contiguous
            or not SQUARE_UNDERFLOW < float(np.vdot(query, query)) < np.inf
        ):
            return None
        check = self._check
        if check.is_worth_all:
            return None
        question = self._question if check.complete else self._reporting
        try:
            answered = self._graph.answer(
                kernels, self._rows, query[None], question, mark=check.marks
            )
        except CorruptGraphError:
            return None
        row = answered.row
        if row[0, -1] == NONE:
            return None
        if question.report and check.damage(answered.scored, answered.nodes) is not None:
            return None
        return FetchedBatch(
            self._docno[row].astype(np.int64),
            self._at,
            row.astype(np.int64),
            answered.score,
            full=True,
        )


class QuickSearch:
    """All that a search needs but its query: of one version, or of two by slots."""

    def __init__(
        self,
        handle: Handle,
        options: SearchOptions,
        searched: Searched,
        parts: Sequence[SearchedPart],
    ) -> None:
        view, batch = searched.view, searched.batch
        self._name = handle.name
        self._observer = handle.observer
        self._clock = handle.clock
        self._epoch = batch.epoch
        self._view = view
        self._options = options
        self._k = options.k
        self._tenant, _ = route_for(view, bound_filter(view, options.where))
        self._tally = None
        if not handle.is_pinned:  # searches of an older state find nothing for hits to count
            self._tally = self._observer.tally(
                batch, k=options.k, view=view, tenant=self._tenant, family=options.family
            )
        self._plan = batch.plan
        self._versions = batch.versions
        self._matches = batch.matches
        self._reads = [
            _QuickRead(view, label, part) for label, part in zip(batch.versions, parts, strict=True)
        ]

    def __call__(self, query: Query) -> SearchResult | None:
        """Answer one question; None if it has to go the long way."""
        started = self._clock.monotonic_s()
        kernels = loader.kernels()
        if kernels is None:
            return None
        # A bare array has to say its version, and what else a mapping has is looked at, too.
        if type(query) is dict:
            if len(query) != len(self._reads):
                return None
        elif self._options.version is None or len(self._reads) > 1:
            return None
        queries: list[Array] = []
        batches = []
        for read in self._reads:
            one: Any = query.get(read.label) if type(query) is dict else query
            batch = read(kernels, one)
            if batch is None:
                return None
            queries.append(one)
            batches.append(batch)
        execution = self._executed(batches)
        if execution is None:
            return None
        summaries = execution.summaries
        traced = TracedBatch(
            self._name,
            self._epoch,
            self._plan,
            self._versions,
            self._matches,
            self._clock.monotonic_s() - started,
            summaries,
        )
        tally = self._tally
        label = None if tally is None else tally.label
        if tally is None or label is None or summaries.whole(self._k) != label:
            self._observer.record(
                traced,
                k=self._k,
                view=self._view,
                docnos=None if tally is None else execution.docnos(),
                tenant=self._tenant,
                family=self._options.family,
            )
        elif tally.repeat(traced.seconds, batches[0].docno):
            self._observer.called(tally)
        if self._observer.sampler is not None:
            self._compare(queries, execution, traced)
        noted = []
        for read, one in zip(self._reads, queries, strict=True):
            mine = None if read.check is None else read.check.one(one)
            if mine is not None:
                noted.append(mine)
        return SearchResult(Searched(self._view, execution, traced, tuple(noted)), 0)

    def _executed(self, batches: list[FetchedBatch]) -> Execution | None:
        if len(batches) == 1:
            return MatchedExecution(self._reads[0].table, batches[0])
        old, new = self._reads
        sides = fused_execution.Sides((old.table, new.table), (batches[0], batches[1]))
        return fused_execution.fused_slots(sides, new.table.has_fresh, self._k)

    def _compare(self, queries: Sequence[Array], execution: Execution, traced: TracedBatch) -> None:
        bound = bound_filter(self._view, self._options.where)
        recall_check.compare(
            self._observer,
            traced,
            execution,
            [
                VersionRead(read.table, read.metric, query[None])
                for read, query in zip(self._reads, queries, strict=True)
            ],
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


def _searched_part(
    view: CollectionView, options: SearchOptions, label: str, mask: BoolArray | None
) -> SearchedPart | None:
    """Return the one part that was searched by machine code; None if that is not how it was."""
    table = view.rows(label)
    key = (options.k, options.collapse, options.wanted, False)  # as in `fetching.fetch`
    found = filtered(table, mask).searches.find(key)
    if found is None or found[0] or len(found[1]) != 1 or view.version(label).spec.normalized:
        return None
    chosen: SearchedPart = found[1][0]
    part = table.parts[chosen.number]
    if part.live is not None or part.fresh is not None or not isinstance(part.rows, VectorSegment):
        return None
    return chosen


def remember(handle: Handle, options: SearchOptions, result: SearchResult) -> None:
    """Remember how a question was answered, if the next one like it can be answered so."""
    searched = result.searched
    assert isinstance(searched, Searched), "it was searched just now"
    view, batch = searched.view, searched.batch
    # The view is of its own epoch: a commit may have been made since.
    if batch.mode not in ("matched", "dual") or handle.view() is not view:
        return
    bound = bound_filter(view, options.where)
    _, route = route_for(view, bound)
    if options.version is None and route is not None and (route.mode == "canary" or route.shadow):
        return
    matching = None if bound is None else matching_documents(view, bound)
    masks = [matching]
    if isinstance(batch.plan, DualRead):
        both = two_versions.beside(*(view.rows(label) for label in batch.versions))
        if batch.plan.fusion != "slots" or both.new_only:
            return
        masks.append(both.eligible(matching))
    parts: list[SearchedPart] = []
    for label, mask in zip(batch.versions, masks, strict=True):
        part = _searched_part(view, options, label, mask)
        if part is None:
            return
        parts.append(part)
    view.quick.put(quick_key(options), QuickSearch(handle, options, searched, parts))
