"""Running a plan over the rows of one snapshot."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

import numpy as np

from vstore.deferred import Deferred
from vstore.index.ranges import expand_ranges
from vstore.query.fetching import Fetched, fetch
from vstore.query.plan import DualRead
from vstore.query.planner import EVIDENCE_DEPTH
from vstore.query.summary import ListedSummaries, MatchedSummaries, QuerySummary

if TYPE_CHECKING:
    from collections.abc import Sequence

    from vstore.native import reference
    from vstore.query import fusion
    from vstore.query.fetching import FetchedBatch, VersionRead
    from vstore.query.plan import PlanNode
    from vstore.query.summary import Summaries
    from vstore.segment.row_table import RowTable
    from vstore.types import BoolArray, IntArray
else:  # only a dual read needs them
    fusion = Deferred("vstore.query.fusion")
    reference = Deferred("vstore.native.reference")

SCORE_FUSION_DEPTH: Final = 100  # hits per version whose scores a score-based rule normalises


class RowHit(NamedTuple):
    """One hit, before it has an id."""

    docno: int
    chunk: int
    score: float
    version: str
    revision: int
    stale: bool


class Executed(NamedTuple):
    """Hits of one query, and how many rows each version gave to get them."""

    hits: list[RowHit]
    fetched: dict[str, int]


class Execution(Protocol):
    """What a plan gave to each of some queries; hits are made when they are asked for."""

    @property
    def summaries(self) -> Summaries:
        """What observers keep of it."""
        ...

    def hits(self, query: int) -> list[RowHit]:
        """Return one query's hits."""
        ...

    def docnos(self) -> IntArray:
        """Return the documents of all hits, query by query."""
        ...


class ListedExecution:
    """Hits that are there already: of a dual read."""

    def __init__(self, executed: list[Executed]) -> None:
        self._executed = executed
        self.summaries: Summaries = ListedSummaries(
            [
                QuerySummary(
                    one.fetched,
                    dict(Counter(hit.version for hit in one.hits)),
                    sum(hit.stale for hit in one.hits),
                )
                for one in executed
            ]
        )

    def hits(self, query: int) -> list[RowHit]:
        """Return one query's hits."""
        return self._executed[query].hits

    def docnos(self) -> IntArray:
        """Return the documents of all hits, query by query."""
        return np.array([hit.docno for one in self._executed for hit in one.hits], np.int64)


class MatchedExecution:
    """Arrays of hits of one version: a batch of thousands makes no object that nobody looks at."""

    def __init__(self, table: RowTable, batch: FetchedBatch) -> None:
        self._table = table
        self._batch = batch
        self._counts = batch.counts()
        self.summaries: Summaries = MatchedSummaries(table.label, self._counts, self._stale())

    def _stale(self) -> list[int] | None:
        """Count each query's hits that are not fresh; None if all are."""
        stale: IntArray | None = None
        for number, part in enumerate(self._table.parts):
            if part.fresh is not None:
                mine = (self._batch.part == number) & (self._batch.docno >= 0)
                found = (mine & ~part.fresh[np.where(mine, self._batch.row, 0)]).sum(axis=1)
                stale = found if stale is None else stale + found
        return None if stale is None else stale.tolist()

    def hits(self, query: int) -> list[RowHit]:
        """Return one query's hits."""
        return _hits(self._table, self._batch.one(query))

    def docnos(self) -> IntArray:
        """Return the documents of all hits, query by query."""
        return np.asarray(self._batch.docno[self._batch.docno >= 0])


def execute(
    plan: PlanNode,
    reads: Sequence[VersionRead],
    matching: BoolArray | None,
    *,
    k: int,
    collapse: bool,
) -> Execution:
    """Run a plan for each query.

    Parameters
    ----------
    reads : sequence of VersionRead
        As `plan.versions`: one, or in a dual read the old and the new one.
    matching : bool (docno_end,) or None
        Documents that pass the filter.
    """
    if not isinstance(plan, DualRead):
        return MatchedExecution(reads[0].table, fetch(reads[0], matching, k, collapse=collapse))
    old, new = reads
    if plan.fusion == "slots":
        return ListedExecution(_slots(old, new, matching, k))
    if plan.fusion == "evidence":
        return ListedExecution(_evidence(old, new, matching, k))
    return ListedExecution(_disjoint(plan.fusion, old, new, matching, k))


def _fetch(read: VersionRead, matching: BoolArray | None, k: int) -> list[Fetched]:
    """Return the k best documents of a version for each query."""
    return list(fetch(read, matching, k).each())


def _hits(table: RowTable, fetched: Fetched) -> list[RowHit]:
    return [
        _hit(table, *place)
        for place in zip(
            fetched.docno.tolist(),
            fetched.part.tolist(),
            fetched.row.tolist(),
            fetched.score.tolist(),
            strict=True,
        )
    ]


def _hit(table: RowTable, docno: int, number: int, row: int, score: float) -> RowHit:
    part = table.parts[number]
    return RowHit(
        docno=docno,
        chunk=0 if part.rows.single else int(part.rows.chunk[row]),
        score=score,
        version=table.label,
        revision=int(part.rows.revision[row]),
        stale=part.fresh is not None and not bool(part.fresh[row]),
    )


def _restricted(matching: BoolArray | None, mask: BoolArray) -> BoolArray:
    return mask if matching is None else matching & mask


def _fused_hits(
    fused: Sequence[tuple[int, float, int]],
    sides: Sequence[tuple[RowTable, Fetched]],
) -> list[RowHit]:
    places = [{docno: i for i, docno in enumerate(fetched.docno.tolist())} for _, fetched in sides]
    hits = []
    for docno, _, source in fused:
        table, fetched = sides[source]
        i = places[source][docno]
        hits.append(
            _hit(table, docno, int(fetched.part[i]), int(fetched.row[i]), float(fetched.score[i]))
        )
    return hits


def _slots(
    old: VersionRead, new: VersionRead, matching: BoolArray | None, k: int
) -> list[Executed]:
    migrated = new.table.has_fresh
    in_old = old.table.has_served
    share = _new_only_share(old, new)
    results = []
    from_olds = _fetch(old, matching, k)
    from_news = _fetch(new, _eligible(old, new, matching), k)
    for from_old, from_new in zip(from_olds, from_news, strict=True):
        fused = fusion.slots(
            from_old.ranking(),
            from_new.ranking(),
            migrated[from_old.docno],
            k=k,
            new_only=from_new.docno[~in_old[from_new.docno]].tolist(),
            new_only_share=share,
        )
        results.append(
            Executed(
                _fused_hits(fused, [(old.table, from_old), (new.table, from_new)]),
                {old.table.label: len(from_old.docno), new.table.label: len(from_new.docno)},
            )
        )
    return results


def _eligible(old: VersionRead, new: VersionRead, matching: BoolArray | None) -> BoolArray:
    """Return by docno what the new version may answer for.

    Documents with fresh new rows, and those that only it can show. A document whose new rows are
    stale is answered by the old version.
    """
    mine = new.table.has_fresh | (new.table.has_served & ~old.table.has_served)
    return _restricted(matching, mine)


def _new_only_share(old: VersionRead, new: VersionRead) -> float:
    """Return the share of documents only the new version has in all that are not migrated."""
    in_old = old.table.has_served
    alone = int(np.count_nonzero(new.table.has_served & ~in_old))
    if not alone:
        return 0.0
    return alone / (alone + int(np.count_nonzero(in_old & ~new.table.has_fresh)))


def _evidence(
    old: VersionRead, new: VersionRead, matching: BoolArray | None, k: int
) -> list[Executed]:
    migrated, in_old = new.table.has_fresh, old.table.has_served
    share = _new_only_share(old, new)
    depth = max(k, EVIDENCE_DEPTH)
    all_old = _fetch(old, matching, k)
    moved_old = _fetch(old, _restricted(matching, migrated), depth)
    all_new = _fetch(new, _eligible(old, new, matching), depth)
    results = []
    for i, (from_old, from_moved, from_new) in enumerate(
        zip(all_old, moved_old, all_new, strict=True)
    ):
        both = from_new.docno[in_old[from_new.docno]]
        keys = np.union1d(from_moved.docno, both)
        scored_old, scored_new = _score(old, i, keys), _score(new, i, keys)
        new_only = from_new.docno[~in_old[from_new.docno]].tolist()
        fused = fusion.evidence(
            from_old.ranking(),
            migrated[from_old.docno],
            fusion.Candidates(keys, scored_old.score, scored_new.score),
            k=k,
            depth=EVIDENCE_DEPTH,
            new=from_new.ranking(),
            new_only=new_only,
            new_only_share=share,
        )
        answers = _joined(scored_new, from_new)
        results.append(
            Executed(
                _fused_hits(fused, [(old.table, from_old), (new.table, answers)]),
                {
                    old.table.label: len(from_old.docno) + len(from_moved.docno),
                    new.table.label: len(from_new.docno),
                },
            )
        )
    return results


def _score(read: VersionRead, query: int, docnos: IntArray) -> Fetched:
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


def _disjoint(
    rule: str, old: VersionRead, new: VersionRead, matching: BoolArray | None, k: int
) -> list[Executed]:
    """Fuse the unmigrated documents of the old version and those the new one answers for."""
    depth = max(k, SCORE_FUSION_DEPTH)
    eligible = _eligible(old, new, None)
    from_olds = _fetch(old, _restricted(matching, ~eligible), depth)
    from_news = _fetch(new, _restricted(matching, eligible), depth)
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
