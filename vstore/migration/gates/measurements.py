"""Measurements for the gates of a cutover. The gates themselves are pure: `gates.gates`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from vstore.engine.coverage import Coverage
from vstore.engine.filtering import bound_filter, passing
from vstore.engine.hit_counts import stored_hits
from vstore.errors import InvalidArgumentError
from vstore.evaluation.measures import ScoredIds, ndcg_at_k, recall_against_exact
from vstore.evaluation.significance import not_worse
from vstore.migration.gates.gates import coverage_gate, gate, quality_gate
from vstore.migration.gates.judged_documents import require_documents
from vstore.migration.gates.judged_queries import checked_queries
from vstore.migration.jobs.queue import counting
from vstore.numbers import check_switch
from vstore.query.paths import ANY, EXACT, Accuracy
from vstore.searching.parameters import SearchOptions
from vstore.searching.preparing import run
from vstore.searching.resolving import VersionChoice
from vstore.searching.result_batch import SearchResults
from vstore.searching.results import together

if TYPE_CHECKING:
    from vstore.engine.handle import Handle
    from vstore.engine.snapshot import CollectionView, Snapshot
    from vstore.migration.gates.gates import GateResult, Gates, Judged
    from vstore.query.filter import Where
    from vstore.types import Array, BoolArray

_RECALL_QUERIES: Final = 100
_RECALL_K: Final = 10


def coverage(
    handle: Handle, version: str, where: Where = None, *, weighted: bool = False
) -> Coverage:
    """Return a version's coverage of live documents (that pass a filter).

    With ``weighted``, the hits of these documents are counted too.
    """
    snapshot = handle.snapshot()
    view = handle.view_at(snapshot)
    view.version(version)
    weighted = check_switch(weighted, what="weighted")
    if where is None and not weighted:
        return Coverage(view.rows(version).fresh_count, view.documents.live_count)
    mask = passing(view, where)
    return _coverage(snapshot, view, version, mask, weighted=weighted)


def _coverage(
    snapshot: Snapshot, view: CollectionView, version: str, mask: BoolArray, *, weighted: bool
) -> Coverage:
    covered = mask & view.rows(version).has_fresh
    hits = stored_hits(snapshot, view.whole.state.name) if weighted else None
    return Coverage(
        int(np.count_nonzero(covered)),
        int(np.count_nonzero(mask)),
        0 if hits is None else int(hits[covered].sum()),
        0 if hits is None else int(hits[mask].sum()),
    )


def cutover_gates(handle: Handle, version: str, gates: Gates) -> list[GateResult]:
    """Measure every gate that needs no search, at the newest snapshot."""
    snapshot = handle.file.current()
    view = handle.view_at(snapshot)
    mask, table = passing(view, None), view.rows(version)
    weighted = gates.traffic_coverage is not None
    reached = _coverage(snapshot, view, version, mask, weighted=weighted)
    is_empty = handle.scope is None and not view.documents.live_count
    returnable = int(np.count_nonzero(mask & table.has_served))
    results = [
        coverage_gate(reached, required=gates.coverage, returnable=returnable, is_empty=is_empty)
    ]
    if gates.traffic_coverage is not None:
        detail = f"{reached.hits_fresh:,} of {reached.hits:,} hits"
        found = gate(
            "traffic_coverage",
            reached.traffic_share,
            gates.traffic_coverage,
            evidence=reached.hits,
            detail=detail,
            unit="counted hits",
        )
        results.append(found)
    if gates.stale is not None:
        with_rows = int(np.count_nonzero(mask & table.has_rows))
        stale = int(np.count_nonzero(mask & table.has_rows & ~table.has_fresh))
        results.append(
            gate(
                "stale",
                stale / reached.live if reached.live else 0.0,
                gates.stale,
                evidence=with_rows,
                at_most=True,
                detail=f"{stale:,} of {reached.live:,} documents",
                unit="documents with vectors",
            )
        )
    if gates.dead_letters is not None:
        dead = _dead_letters(view, version, mask)
        results.append(
            gate(
                "dead_letters",
                dead,
                gates.dead_letters,
                evidence=reached.fresh + dead,
                at_most=True,
                unit="documents tried",
            )
        )
    return results


def _dead_letters(view: CollectionView, version: str, mask: BoolArray) -> int:
    """Count the documents that a job could not embed in their current revision."""
    job = view.state.jobs.get(version)
    if job is None:
        return 0
    letters = counting(view, job.dead, mask & ~view.rows(version).has_fresh)
    return len(letters)


def search_gates(handle: Handle, version: str, gates: Gates, *, served: str) -> list[GateResult]:
    """Measure the gates that need searches.

    Parameters
    ----------
    served : str
        The serving version, for comparison of quality.

    Raises
    ------
    InvalidArgumentError
        The numbers of queries and judgments differ, or a judged document does not exist.
    """
    results = []
    if gates.recall is not None:
        measured, asked = graph_recall(handle, version)
        results.append(
            gate("recall", measured, gates.recall, evidence=asked, unit="vectors asked with")
        )
    if gates.quality is not None:
        results.append(_quality(handle, version, served, gates.quality))
    return results


def graph_recall(handle: Handle, version: str) -> tuple[float, int]:
    """Return recall at 10 against exact search, with a sample of a version's vectors as queries.

    Returns
    -------
    recall : float
        0 without a sample.
    asked : int
        Number of vectors in the sample.
    """
    sample = _sampled_vectors(handle, version)
    if not len(sample):
        return 0.0, 0
    exact = _asked(handle, sample, version, k=_RECALL_K, accuracy=EXACT)
    found = _asked(handle, sample, version, k=_RECALL_K)
    recalls = [
        recall_against_exact(
            ScoredIds(mine.ids, [hit.score for hit in mine]),
            ScoredIds(best.ids, [hit.score for hit in best]),
            k=_RECALL_K,
        )
        for mine, best in zip(found, exact, strict=True)
    ]
    return float(np.mean(recalls)), len(sample)


def _asked(
    handle: Handle, queries: Array, version: str, *, k: int, accuracy: Accuracy = ANY
) -> SearchResults:
    """Search one version, uncounted: a gate's searches are not traffic."""
    snapshot = handle.snapshot()
    bound = bound_filter(handle.view_at(snapshot), None)
    options = SearchOptions(version, k, accuracy=accuracy)
    resolved = VersionChoice("matched", version)
    searched = run(handle, snapshot, queries, options, resolved, bound, counted=False)
    return SearchResults([together(searched)])


def _sampled_vectors(handle: Handle, version: str) -> Array:
    """Return vectors spread over a version's rows, float32 (at most `_RECALL_QUERIES`, d)."""
    view = handle.view()
    taken = []
    for part in view.rows(version).parts:
        rows = np.arange(len(part.rows.docno)) if part.live is None else np.flatnonzero(part.live)
        taken.append((part.rows.vectors, rows))
    count = sum(len(rows) for _, rows in taken)
    chosen = np.unique(np.linspace(0, count - 1, min(count, _RECALL_QUERIES)).astype(np.int64))
    vectors, before = [], 0
    for array, rows in taken:
        mine = chosen[(chosen >= before) & (chosen < before + len(rows))] - before
        vectors.append(array[rows[mine]].astype(np.float32))
        before += len(rows)
    dimension = view.version(version).spec.dimension
    return np.concatenate([np.zeros((0, dimension), np.float32), *vectors])


def _quality(handle: Handle, version: str, served: str, judged: Judged) -> GateResult:
    snapshot = handle.snapshot()
    view = handle.view_at(snapshot)
    versions = [view.version(label) for label in (served, version)]
    queries = checked_queries(judged.queries, versions, snapshot.state, where="quality gate")
    if {len(its_queries) for its_queries in queries} != {len(judged.judgments)}:
        raise InvalidArgumentError(
            "quality gate: expected as many queries for each version as judgments "
            f"({len(judged.judgments):,})"
        )
    require_documents(view, judged.judgments, where="quality gate")
    useful = [i for i, gains in enumerate(judged.judgments) if any(g > 0 for g in gains.values())]
    old, new = (
        [
            ndcg_at_k(result.ids, judged.judgments[i], k=judged.k)
            for i, result in zip(
                useful,
                _asked(handle, its_queries[useful], label, k=judged.k),
                strict=True,
            )
        ]
        for label, its_queries in zip((served, version), queries, strict=True)
    )
    return quality_gate(not_worse(old, new, margin=judged.margin), k=judged.k)
