"""How to search one segment: scan its vectors, scan its codes, or follow its graph. Pure.

Costs are nanoseconds on a processor of 2023, from `benchmarks/`; only their order matters. A search
by codes is worth it from a few thousand rows on; a graph as soon as it computes fewer distances
than there are rows to score.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

from vstore.index.curve import FACTOR_EF
from vstore.limits import POOL_MAX
from vstore.named import NamedTuple

if TYPE_CHECKING:
    from vstore.index.curve import RecallCurve

PathKind: TypeAlias = Literal["flat", "codes", "graph"]
RECALL_DEFAULT: Final = 0.95
_FLAT_BYTES_PER_NS: Final = 20.0
_GATHERED_BYTES_PER_NS: Final = 4.0  # of few rows among many
_FEW: Final = 0.05
_CODES_SPARE: Final = 2
_PASSING_SPARE: Final = 2


class Wanted(NamedTuple):
    """What a caller asks of a search besides k.

    Attributes
    ----------
    recall : float
        Share of the true k best that is wanted, on average.
    exact : bool
        Scan the vectors, whatever it costs.
    ef_search : int | None
        Follow graphs with just this ef.
    threads : int
        How many threads share the queries.
    """

    recall: float = RECALL_DEFAULT
    exact: bool = False
    ef_search: int | None = None
    threads: int = 1


ANY: Final = Wanted()  # of a caller who says nothing


class PartStatistics(NamedTuple):
    """What there is to know of a segment, or of the memtable.

    Attributes
    ----------
    rows : int
        Rows of it.
    allowed : int | None
        Rows that may be returned; None if all may.
    row_bytes : int
        Of one stored vector.
    single : bool
        Whether every document has one row.
    nodes, code_bytes : int
        Of its graph; 0 without one.
    served : int
        Rows a search may return, before the filter.
    """

    name: str
    rows: int
    allowed: int | None
    row_bytes: int
    single: bool = True
    nodes: int = 0
    code_bytes: int = 0
    curve: RecallCurve | None = None
    served: int = 0


class Path(NamedTuple):
    """How one segment is searched.

    Attributes
    ----------
    ef : int
        Nodes that a graph search expands, at most; 0 otherwise.
    kept : int
        Nodes kept of those that were seen, 0 for a flat scan.
    refine : int
        Of them, those that pass and whose codes are looked at in full.
    keep : int
        Candidates by codes that are scored again with their vectors, 0 for a flat scan.
    recall : float
        What was measured for it; 1 for a flat scan.
    cost : float
        An estimate, in distances computed.
    """

    kind: PathKind
    ef: int
    kept: int
    refine: int
    keep: int
    recall: float
    cost: float
    reason: str


FLAT: Final = Path("flat", 0, 0, 0, 0, 1.0, 0.0, "no graph")


def choose_path(part: PartStatistics, k: int, wanted: Wanted, *, native: bool) -> Path:
    """Return how to search a segment for k hits.

    Parameters
    ----------
    native : bool
        Whether there is machine code; without, graphs are followed only if the caller says so.
    """
    flat = Path("flat", 0, 0, 0, 0, 1.0, float(part.rows), "")
    if part.curve is None or not part.nodes:
        return _with(flat, "no graph")
    if wanted.exact:
        return _with(flat, "exact=True")
    if wanted.ef_search is not None:
        ef = max(wanted.ef_search, k)
        if ef > POOL_MAX:
            return _with(flat, f"k is above {POOL_MAX:,}")
        return _graph(part, ef, k, f"ef_search={wanted.ef_search}")
    if not native:
        return _with(flat, "no machine code here (yet)")
    flat_ns = _flat_ns(part)
    best, best_ns = _with(flat, "cheaper than the graph"), flat_ns
    if part.allowed is not None:
        # All of them are scored, where a graph leaves out some that codes would mistake for near.
        keep = _CODES_SPARE * part.curve.keep_for(k)
        refine = min(POOL_MAX, _CODES_SPARE * _refined(k, part))
        codes_ns = part.allowed * (8 + part.code_bytes / 80)
        if codes_ns < best_ns and refine < min(part.allowed, POOL_MAX):
            reason = f"{part.allowed:,} rows pass: scoring their codes is cheaper than the graph"
            best = Path("codes", 0, refine, refine, keep, 1.0, float(part.allowed), reason)
            best_ns = codes_ns
    measured = part.curve.ef_for(wanted.recall, k)
    if measured is None:
        if best.kind == "flat":
            return _with(flat, f"the graph was not seen to reach recall {wanted.recall:g}")
        return best
    asked = measured if part.single else 2 * measured
    if part.allowed is not None:
        if not part.allowed:
            return best
        asked = -(-asked * part.nodes // part.allowed)
    reason = f"recall {wanted.recall:g} was measured at ef {measured}"
    graph = _graph(part, asked, k, reason)
    if asked < min(part.nodes, POOL_MAX) and graph.cost * (20 + part.code_bytes / 24) < best_ns:
        return graph
    return best


def _graph(part: PartStatistics, ef: int, k: int, reason: str) -> Path:
    assert part.curve is not None
    share = 1.0 if part.allowed is None else max(1, part.allowed) / max(1, part.nodes)
    recall = part.curve.recall_at(max(1, int(ef * min(1.0, share))))
    keep = part.curve.keep_for(k) * (1 if part.single else 3)
    refine = _refined(k, part, ef * min(1.0, share))
    # Of what is seen, only a share passes; twice that, since near each other they may be fewer.
    kept = max(ef, refine if share >= 1 else math.ceil(_PASSING_SPARE * refine / share))
    distances = part.curve.distances_at(ef)
    return Path("graph", ef, min(kept, POOL_MAX), refine, keep, recall, distances, reason)


def _refined(k: int, part: PartStatistics, ef: float = FACTOR_EF) -> int:
    """Return how many nodes to look at in full; more if documents have several rows."""
    assert part.curve is not None
    return min(POOL_MAX, part.curve.refine_for(k, ef) * (1 if part.single else 3))


def _flat_ns(part: PartStatistics) -> float:
    if part.allowed is not None and part.allowed <= _FEW * part.rows:
        return part.allowed * part.row_bytes / _GATHERED_BYTES_PER_NS
    return part.rows * part.row_bytes / _FLAT_BYTES_PER_NS


def _with(path: Path, reason: str) -> Path:
    return Path(
        path.kind, path.ef, path.kept, path.refine, path.keep, path.recall, path.cost, reason
    )
