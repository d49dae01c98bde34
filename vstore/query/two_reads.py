"""Reads of two versions, run: what each version gives, and how they become one list."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from vstore.fusions import BRIDGED
from vstore.index.ranges import expand_ranges
from vstore.native import reference
from vstore.query import fusion
from vstore.query.beside import Beside, beside
from vstore.query.cascade import CASCADE_DEPTH, cascade
from vstore.query.execution import (
    Executed,
    ListedExecution,
    RowHit,
    reciprocal_ranks,
    row_hit,
)
from vstore.query.fetching import Fetched, FetchedBatch, fetch
from vstore.query.fused_execution import Sides, fused_slots
from vstore.query.imputed import EVIDENCE_SHARE, IMPUTED_DEPTH, NEW_SHARE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from vstore.query.execution import Execution
    from vstore.query.fetching import VersionRead
    from vstore.segment.row_table import RowTable
    from vstore.types import BoolArray, IntArray

SCORE_FUSION_DEPTH: Final = 100  # hits per version whose scores a score-based rule normalises


class TwoReads(NamedTuple):
    """Two versions to be read for some queries.

    Attributes
    ----------
    matching : bool (docno_end,) or None
        Documents that pass the filter.
    coverage : float
        Share of live documents with fresh rows in the new version.
    curve : tuple[float, ...]
        What the rule has learnt, see `FusionChoice`; empty if nothing.
    """

    old: VersionRead
    new: VersionRead
    matching: BoolArray | None
    k: int
    coverage: float
    curve: tuple[float, ...] = ()

    @property
    def beside(self) -> Beside:
        """What the two say of each other."""
        return beside(self.old.table, self.new.table)


def executed(rule: str, reads: TwoReads) -> Execution:
    """Run a dual read by a fusion rule; of a bridged one the old queries are blended already."""
    rule = rule.removeprefix(BRIDGED)
    if rule == "slots":
        return _slots(reads)
    return ListedExecution(fused(rule, reads))


def fused(rule: str, reads: TwoReads) -> list[Executed]:
    """Run a dual read by a fusion rule, query by query."""
    if rule == "slots":
        return _slots_by_query(reads, *_fetched_for_slots(reads))
    if rule == "evidence":
        return _imputed(reads, EVIDENCE_SHARE, fusion.NO_IMPUTATION)
    if rule == "imputed":
        return _imputed(reads, NEW_SHARE, learnt_imputation(reads.curve))
    if rule == "expected-gain":
        return _expected_gain(reads)
    return _disjoint(rule, reads)


def _fetch(read: VersionRead, matching: BoolArray | None, k: int) -> list[Fetched]:
    """Return the k best documents of a version for each query."""
    return list(fetch(read, matching, k).each())


def _fused_hits(
    fused: Sequence[tuple[int, float, int]],
    sides: Sequence[tuple[RowTable, Fetched]],
) -> list[RowHit]:
    """Return hits in their order, with the similarities of all documents that a side scored."""
    places = [{docno: i for i, docno in enumerate(fetched.docno.tolist())} for _, fetched in sides]
    hits = []
    for (docno, _, source), score in zip(fused, reciprocal_ranks(len(fused)).tolist(), strict=True):
        table, fetched = sides[source]
        i = places[source][docno]
        hit = row_hit(
            table, docno, int(fetched.part[i]), int(fetched.row[i]), float(fetched.score[i])
        )
        similarities = {
            side.label: float(found.score[place[docno]])
            for (side, found), place in zip(sides, places, strict=True)
            if docno in place
        }
        hits.append(hit._replace(score=score, similarities=similarities))
    return hits


def _slots(reads: TwoReads) -> Execution:
    old, new = reads.old.table, reads.new.table
    batches = _fetched_for_slots(reads)
    if not reads.beside.new_only:
        whole = fused_slots(Sides((old, new), batches), new.has_fresh, reads.k)
        if whole is not None:
            return whole
    return ListedExecution(_slots_by_query(reads, *batches))


def _fetched_for_slots(reads: TwoReads) -> tuple[FetchedBatch, FetchedBatch]:
    old, new, matching, k = reads[:4]
    return fetch(old, matching, k), fetch(new, reads.beside.eligible(matching), k)


def _slots_by_query(
    reads: TwoReads, from_olds: FetchedBatch, from_news: FetchedBatch
) -> list[Executed]:
    old, new, k = reads.old, reads.new, reads.k
    two = reads.beside
    results = []
    for from_old, from_new in zip(from_olds.each(), from_news.each(), strict=True):
        fused = fusion.slots(
            from_old.ranking(),
            from_new.ranking(),
            two.migrated[from_old.docno],
            k=k,
            new_only=from_new.docno[~two.in_old[from_new.docno]].tolist(),
            new_only_share=two.new_only_share,
        )
        results.append(
            Executed(
                _fused_hits(fused, [(old.table, from_old), (new.table, from_new)]),
                {old.table.label: len(from_old.docno), new.table.label: len(from_new.docno)},
            )
        )
    return results


def score(read: VersionRead, query: int, docnos: IntArray) -> Fetched:
    """Score documents of a version exactly, each by its best row; all have served rows there."""
    part, row = np.zeros(len(docnos), np.int64), np.zeros(len(docnos), np.int64)
    score = np.full(len(docnos), -np.inf)
    for number, rows_part in enumerate(read.table.parts):
        stored = rows_part.rows.docno
        wanted = docnos.astype(stored.dtype)  # else searchsorted would convert the whole column
        starts = np.searchsorted(stored, wanted)
        rows, owner = expand_ranges(starts, np.searchsorted(stored, wanted, side="right"))
        if rows_part.live is not None:
            rows, owner = rows[rows_part.live[rows]], owner[rows_part.live[rows]]
        scores = reference.exact_scores(
            rows_part.rows.vectors[rows], read.queries[query], read.metric
        )
        order = np.lexsort((rows, -scores, owner))
        mine, first = np.unique(owner[order], return_index=True)
        best = order[first]
        part[mine], row[mine], score[mine] = number, rows[best], scores[best]
    return Fetched(docnos, part, row, score)


def _joined(first: Fetched, second: Fetched) -> Fetched:
    """Return the documents of both; a document in both is the same row in both."""
    return Fetched(*(np.concatenate(pair) for pair in zip(first, second, strict=True)))


def _imputed(reads: TwoReads, new_share: float, imputation: fusion.Imputation) -> list[Executed]:
    """Fuse by the evidence of both versions, the missing half of it estimated."""
    old, new, matching, k = reads[:4]
    two = reads.beside
    migrated, in_old = two.migrated, two.in_old
    share, depth = two.new_only_share, max(k, IMPUTED_DEPTH)
    all_old = _fetch(old, matching, depth)
    all_new = _fetch(new, two.eligible(matching), depth)
    results = []
    for i, (from_old, from_new) in enumerate(zip(all_old, all_new, strict=True)):
        both = from_new.docno[in_old[from_new.docno]]
        keys = np.union1d(from_old.docno[migrated[from_old.docno]], both)
        scored_old, scored_new = score(old, i, keys), score(new, i, keys)
        ordered = fusion.imputed(
            from_old.ranking(),
            migrated[from_old.docno],
            fusion.Candidates(keys, scored_old.score, scored_new.score),
            k=k,
            coverage=reads.coverage,
            imputation=imputation,
            new_share=new_share,
            new=from_new.ranking(),
            new_only=from_new.docno[~in_old[from_new.docno]].tolist(),
            new_only_share=share,
        )
        sides = [
            (old.table, _joined(scored_old, from_old)),
            (new.table, _joined(scored_new, from_new)),
        ]
        hits = _fused_hits(ordered, sides)
        results.append(Executed(hits, _counts(old, new, from_old, from_new)))
    return results


def learnt_imputation(curve: tuple[float, ...]) -> fusion.Imputation:
    """Return the imputation that a choice has recorded."""
    if len(curve) < 3:
        return fusion.NO_IMPUTATION
    return fusion.Imputation(curve[0], max(curve[1], 0.0), np.sort(np.array(curve[2:])), 0, 0)


def _expected_gain(reads: TwoReads) -> list[Executed]:
    """Fuse by what documents gain in the new version, or can be expected to."""
    old, new, matching, k = reads[:4]
    migrated = new.table.has_fresh
    curve = learnt_curve(reads.curve)
    results = []
    from_olds = _fetch(old, matching, k)
    from_news = _fetch(new, reads.beside.eligible(matching), k)
    for from_old, from_new in zip(from_olds, from_news, strict=True):
        ordered = fusion.expected_gain(
            from_old.ranking(),
            from_new.ranking(),
            migrated[from_old.docno],
            k=k,
            coverage=reads.coverage,
            curve=curve,
        )
        hits = _fused_hits(ordered, [(old.table, from_old), (new.table, from_new)])
        results.append(Executed(hits, _counts(old, new, from_old, from_new)))
    return results


def learnt_curve(curve: tuple[float, ...]) -> fusion.GainCurve:
    """Return the curve of expected gains that a choice has recorded."""
    if not curve:
        return fusion.NO_CURVE
    gains = np.minimum.accumulate(np.clip(np.array(curve), 1e-12, 1))
    return fusion.GainCurve(np.arange(1, len(gains) + 1), gains, 0, 0)


def cascaded(reads: TwoReads) -> list[Executed]:
    """Let the new version order those candidates of the old one that it has."""
    old, new, matching, k = reads[:4]
    migrated = new.table.has_fresh
    results = []
    for i, from_old in enumerate(_fetch(old, matching, max(k, CASCADE_DEPTH))):
        moved = migrated[from_old.docno]
        from_new = score(new, i, from_old.docno[moved])
        ordered = cascade(from_old.ranking(), moved, from_new.score, k=k)
        hits = _fused_hits(ordered, [(old.table, from_old), (new.table, from_new)])
        results.append(Executed(hits, _counts(old, new, from_old, from_new)))
    return results


def _counts(
    old: VersionRead, new: VersionRead, from_old: Fetched, from_new: Fetched
) -> dict[str, int]:
    return {old.table.label: len(from_old.docno), new.table.label: len(from_new.docno)}


def _disjoint(rule: str, reads: TwoReads) -> list[Executed]:
    """Fuse the unmigrated documents of the old version and those the new one answers for."""
    old, new, matching, k = reads[:4]
    depth = max(k, SCORE_FUSION_DEPTH)
    from_olds = _fetch(old, reads.beside.left(matching), depth)
    from_news = _fetch(new, reads.beside.eligible(matching), depth)
    functions = {
        "rrf": fusion.rrf,
        "zscore": fusion.zscore,
        "dbsf": fusion.dbsf,
        "minmax": fusion.min_max,
    }
    results = []
    for from_old, from_new in zip(from_olds, from_news, strict=True):
        fused = functions[rule]([from_old.ranking(), from_new.ranking()], k=k)
        results.append(
            Executed(
                _fused_hits(fused, [(old.table, from_old), (new.table, from_new)]),
                {old.table.label: len(from_old.docno), new.table.label: len(from_new.docno)},
            )
        )
    return results
