"""How to search one segment: scan its vectors, scan its codes, or follow its graph. Pure.

Costs are nanoseconds on a 2023 processor, from `benchmarks/`; only their order matters. Scanning
codes pays off from a few thousand rows on; a graph pays off when it computes fewer distances than
there are rows to score.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final, Literal, NamedTuple, TypeAlias

from vstore.limits import POOL_MAX

if TYPE_CHECKING:
    from vstore.index.curve import GraphRecall, RecallCurves

PathKind: TypeAlias = Literal["flat", "codes", "graph"]
RECALL_DEFAULT: Final = 0.95
_FLAT_BYTES_PER_NS: Final = 20.0
_GATHERED_BYTES_PER_NS: Final = 4.0  # for few rows gathered from many
_FEW: Final = 0.05
_CODES_SPARE: Final = 2
_PASSING_SPARE: Final = 2
_RESCORED_NS: Final = 100.0  # per candidate, in addition to reading its vector
# Shares of the passing nodes, where the caller chose ef; the measured counts are the minimum.
_REFINED_BY_HAND: Final = 1 / 2
_KEPT_BY_HAND: Final = 1 / 8


class Accuracy(NamedTuple):
    """Accuracy options of a search, and its threads.

    Attributes
    ----------
    recall : float
        Wanted mean share of the true k best; at 1, vectors are scanned.
    ef_search : int | None
        Follow graphs with exactly this ef.
    threads : int
        Number of threads that share the queries.
    """

    recall: float = RECALL_DEFAULT
    ef_search: int | None = None
    threads: int = 1


ANY: Final = Accuracy()  # the default
EXACT: Final = Accuracy(recall=1.0)  # for the ground truth of comparisons


class PartStatistics(NamedTuple):
    """Statistics of a segment, or of the memtable.

    Attributes
    ----------
    rows : int
        All rows.
    allowed : int | None
        Rows that may be returned; None if all may.
    row_bytes : int
        Bytes of one stored vector.
    nodes, code_bytes : int
        Number of graph nodes, and bytes of one code; 0 without a graph.
    rows_per_node : float
        Mean number of rows that share a row's node, including the row itself.
    recall : GraphRecall | None
        Measured recall of the graph; None without one.
    served : int
        Rows that a search may return, before the filter.
    resolved : float
        Share of the passing rows whose passing neighbours codes tell apart.
    """

    name: str
    rows: int
    allowed: int | None
    row_bytes: int
    nodes: int = 0
    code_bytes: int = 0
    rows_per_node: float = 1.0
    recall: GraphRecall | None = None
    served: int = 0
    resolved: float = 1.0


class Path(NamedTuple):
    """How one segment is searched.

    Attributes
    ----------
    ef : int
        Pool size of a graph search: the most nodes that it expands; 0 otherwise.
    kept : int
        Number of visited nodes to keep; 0 for a flat scan.
    refine : int
        Number of kept nodes that pass and whose full codes are scored.
    keep : int
        Number of candidates that are rescored with their vectors; 0 for a flat scan.
    measured : tuple[tuple[int, float], ...]
        For a graph: pairs of k and measured recall, at this k or at the two next to it.
    cost : float
        Estimated number of distances computed.
    """

    kind: PathKind
    ef: int
    kept: int
    refine: int
    keep: int
    measured: tuple[tuple[int, float], ...]
    cost: float
    reason: str


FLAT: Final = Path("flat", 0, 0, 0, 0, (), 0.0, "no graph")


def choose_path(
    part: PartStatistics, k: int, accuracy: Accuracy, *, native: bool, collapse: bool = True
) -> Path:
    """Return how to search a segment for k hits.

    Parameters
    ----------
    native : bool
        Whether compiled kernels are available; without them, graphs are followed only on request.
    collapse : bool
        Whether hits are documents rather than rows.
    """
    flat = FLAT._replace(cost=float(part.rows))
    if part.recall is None or not part.nodes:
        return flat
    if accuracy.recall >= 1:
        return flat._replace(reason="recall=1: no sample of queries proves that a graph finds all")
    curves = part.recall.of(collapse=collapse)
    if accuracy.ef_search is not None:
        if curves.ef_for(RECALL_DEFAULT, k) is None:
            reason = f"the graph was not seen to reach recall {RECALL_DEFAULT:g} at k={k:,}"
            return flat._replace(reason=reason)
        # Enlarge the pool in inverse proportion to the share that passes.
        ef = math.ceil(max(accuracy.ef_search, k) / _share(part))
        if ef > POOL_MAX or ef >= part.nodes:
            return flat._replace(reason=f"ef {accuracy.ef_search} of so few is a scan")
        return _by_hand(_graph(part, curves, ef, k), part, accuracy.ef_search)
    if not native:
        return flat._replace(reason="no machine code here (yet)")
    if part.resolved < accuracy.recall:
        return flat._replace(reason="codes tell too few of the rows that pass apart")
    share = _share(part)
    # The k best of a share of the rows are among the k / share best of all.
    reach = max(k, min(k / share, curves.curves[-1].k if curves.curves else 0))
    efs = [curves.ef_for(accuracy.recall, at) for at in (k, reach)]
    if None in efs:
        reason = f"the graph was not seen to reach recall {accuracy.recall:g} at k={k:,}"
        return flat._replace(reason=reason)
    own, wide = (ef for ef in efs if ef is not None)
    best, best_ns = flat._replace(reason="cheaper than the graph"), _flat_ns(part)
    if part.allowed is not None:
        codes = _codes(part, curves, k)
        codes_ns = part.allowed * (8 + part.code_bytes / 80) + _rescoring_ns(part, codes)
        if codes_ns < best_ns and codes.refine < min(part.allowed, POOL_MAX):
            best, best_ns = codes, codes_ns
    asked = max(math.ceil(own / share), wide)
    graph = _graph(part, curves, asked, k)
    graph_ns = graph.cost * (20 + part.code_bytes / 24) + _rescoring_ns(part, graph)
    if asked < min(part.nodes, POOL_MAX) and graph_ns < best_ns:
        measured = " and ".join(f"k={at:,}" for at, _ in graph.measured) or "a smaller k"
        reason = f"recall {accuracy.recall:g} was measured at {measured}: ef {own}"
        return graph._replace(reason=reason)
    return best


def _graph(part: PartStatistics, curves: RecallCurves, ef: int, k: int) -> Path:
    share = _share(part)
    passing = max(1.0, ef * share)
    keep = curves.keep_for(k, share)
    refine = min(POOL_MAX, curves.refine_for(k, passing, share))
    # Only a share of the visited nodes pass; doubled, because passing ones may be rarer nearby.
    kept = max(ef, refine if share >= 1 else math.ceil(_PASSING_SPARE * refine / share))
    measured, distances = curves.recalls_at(passing, k), curves.distances_at(ef)
    return Path("graph", ef, min(kept, POOL_MAX), refine, keep, measured, distances, "")


def _by_hand(path: Path, part: PartStatistics, ef_search: int) -> Path:
    """Return a graph search whose numbers of candidates grow with its ef."""
    passing = path.ef * _share(part)
    refine = max(path.refine, math.ceil(passing * _REFINED_BY_HAND))
    keep = max(path.keep, math.ceil(passing * _KEPT_BY_HAND))
    reason = f"EfSearch({ef_search})"
    return path._replace(refine=refine, keep=keep, kept=max(path.kept, refine), reason=reason)


def _codes(part: PartStatistics, curves: RecallCurves, k: int) -> Path:
    # Twice as many as for a graph: a scan scores all rows, also those that codes mistake for near
    # and a graph would not reach.
    share = _share(part)
    keep = _CODES_SPARE * curves.keep_for(k, share)
    refine = min(POOL_MAX, _CODES_SPARE * curves.refine_for(k, share=share))
    reason = f"{part.allowed:,} rows pass: scoring their codes is cheaper than the graph"
    return Path("codes", 0, refine, refine, keep, (), float(part.allowed or 0), reason)


def _share(part: PartStatistics) -> float:
    """Return the share of a part's rows that may be returned, above 0."""
    return 1.0 if part.allowed is None else min(1.0, max(1, part.allowed) / max(1, part.rows))


def _rescoring_ns(part: PartStatistics, path: Path) -> float:
    """Estimate the time to rescore candidates with their vectors, all rows of each node."""
    rows = path.keep + part.rows_per_node - 1
    return rows * (_RESCORED_NS + part.row_bytes / _GATHERED_BYTES_PER_NS)


def _flat_ns(part: PartStatistics) -> float:
    if part.allowed is not None and part.allowed <= _FEW * part.rows:
        return part.allowed * part.row_bytes / _GATHERED_BYTES_PER_NS
    return part.rows * part.row_bytes / _FLAT_BYTES_PER_NS
