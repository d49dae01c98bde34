"""Which way a segment is searched: pure choices from what was measured and what a scan costs."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from vstore.index.curve import CurvePoint, GraphRecall, RecallCurve, RecallCurves
from vstore.query.paths import Accuracy, PartStatistics, Path, choose_path

ROWS = 100_000


def curve(k: int, keep: int, **recall_by_ef: float) -> RecallCurve:
    """Return a curve; a search of an ef computes twenty times as many distances."""
    points = [
        CurvePoint(int(ef[1:]), recall, 0.0, 20.0 * int(ef[1:]))
        for ef, recall in recall_by_ef.items()
    ]
    return RecallCurve(k, keep, keep + 10, tuple(points))


CURVES = RecallCurves(
    (
        curve(1, 2, _10=0.94, _16=0.96, _32=0.995),
        curve(10, 11, _10=0.90, _32=0.96, _96=0.992),
        curve(100, 110, _100=0.93, _150=0.97, _400=0.995),
        curve(1_000, 1_030, _1000=0.94, _1200=0.96, _2000=0.99),
    )
)


def part(
    *,
    allowed: int | None = None,
    row_bytes: int = 1_536,
    rows: int = ROWS,
    recall: GraphRecall | None = None,
    rows_per_node: float = 1.0,
) -> PartStatistics:
    recall = recall or GraphRecall(CURVES)
    return PartStatistics("s", rows, allowed, row_bytes, rows, 384, rows_per_node, recall)


def chosen(k: int, recall: float = 0.95, *, ef: int | None = None, **what: Any) -> Path:
    return choose_path(part(**what), k, Accuracy(recall, ef_search=ef), native=True)


@pytest.mark.parametrize(("k", "ef"), [(1, 16), (10, 32), (100, 150), (1_000, 1_200)])
def test_a_k_that_was_measured_gets_the_ef_that_was_measured(k: int, ef: int) -> None:
    path = chosen(k)
    assert path.kind == "graph"
    assert path.ef == (32 if k == 1 else ef)  # ten hits are asked as well for one
    assert [at for at, _ in path.measured] == [k]


@pytest.mark.parametrize(("k", "least", "most"), [(5, 32, 32), (40, 128, 150), (300, 450, 1_200)])
def test_a_k_in_between_gets_what_both_neighbours_need(k: int, least: int, most: int) -> None:
    path = chosen(k)
    assert least <= path.ef <= most
    assert len(path.measured) == 2


def test_more_hits_than_were_measured_get_an_ef_in_proportion() -> None:
    assert chosen(3_000, rows=1_000_000).ef == 3 * chosen(1_000, rows=1_000_000).ef
    small = GraphRecall(RecallCurves(CURVES.curves[:3]))
    assert chosen(100, recall=0.95).kind == "graph"
    assert choose_path(part(recall=small), 101, Accuracy(), native=True).kind == "flat"


def test_candidates_beyond_k_are_the_more_that_either_neighbour_needs() -> None:
    copies = RecallCurves(
        (curve(1, 33, _16=1.0), curve(10, 30, _16=1.0), curve(100, 104, _150=1.0))
    )
    many = GraphRecall(copies)
    keeps = {
        k: choose_path(part(recall=many), k, Accuracy(), native=True).keep for k in (1, 4, 10, 30)
    }
    assert keeps == {1: 33, 4: 36, 10: 30, 30: 50}


def test_documents_have_curves_of_their_own() -> None:
    worse = RecallCurves(
        (curve(1, 20, _64=0.96), curve(10, 60, _128=0.96), curve(100, 400, _700=0.96))
    )
    both = part(recall=GraphRecall(CURVES, worse))
    documents, rows = (
        choose_path(both, 10, Accuracy(), native=True, collapse=collapse)
        for collapse in (True, False)
    )
    assert (documents.ef, documents.keep) == (128, 60)
    assert (rows.ef, rows.keep) == (32, 11)


@pytest.mark.parametrize("k", [1, 5, 10, 50])
def test_recall_that_was_not_seen_is_scanned_for(k: int) -> None:
    assert chosen(k, 0.999).kind == "flat"
    assert chosen(k, 1.0).kind == "flat"
    some = choose_path(part(allowed=ROWS // 2), k, Accuracy(0.999), native=True)
    assert some.kind == "flat"  # nor by codes, of which nothing better is known
    nothing = choose_path(part(recall=GraphRecall()), k, Accuracy(0.5), native=True)
    assert nothing.kind == "flat"


def test_a_filter_widens_a_search_by_what_it_leaves_out() -> None:
    half = chosen(10, allowed=ROWS // 2)
    assert half.kind == "graph"
    assert half.ef >= 2 * chosen(10).ef
    assert half.kept >= 2 * half.refine


def test_a_wide_search_scores_more_candidates() -> None:
    narrow, wide = chosen(1, ef=16), chosen(1, ef=1_000)
    assert narrow.keep == CURVES.keep_for(1)
    assert wide.keep >= 100
    assert wide.refine >= 500
    assert wide.kept >= wide.refine


def kind(rows: int, row_bytes: int, **what: Any) -> str:
    return chosen(10, rows=rows, row_bytes=row_bytes, **what).kind


def test_a_scan_costs_by_the_bytes_of_its_rows() -> None:
    """As many rows are scanned or not by how long they are, in whichever precision."""
    assert kind(20_000, 8) == "flat"
    assert kind(20_000, 3_072) == "graph"
    turns = [
        next(n for n in range(100, 200_000, 20) if kind(n, row_bytes) == "graph")
        for row_bytes in (256, 512, 1_024)
    ]
    shares = [longer / shorter for longer, shorter in itertools.pairwise(turns)]
    assert shares == pytest.approx([2, 2], rel=0.1)


def test_few_rows_that_pass_cost_by_their_bytes_too() -> None:
    passing = {bytes_: chosen(10, allowed=2_000, row_bytes=bytes_).kind for bytes_ in (8, 3_072)}
    assert passing == {8: "flat", 3_072: "codes"}


def test_nodes_of_many_rows_are_not_searched_by_codes() -> None:
    """All rows of a node are scored: of three distinct vectors, a third of all."""
    assert chosen(10, rows_per_node=1.0).kind == "graph"
    assert chosen(10, rows_per_node=ROWS / 3).kind == "flat"
