"""A segment's graph: codes to navigate by, and which row each node is."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from vstore.index import construction, curve, quantizer
from vstore.index.curve import CurvePoint, RecallCurve
from vstore.index.flat import ScanPart, scan
from vstore.index.ranges import expand_ranges
from vstore.index.rescoring import rescore
from vstore.native.arrays import NONE, GraphArrays, Scratch
from vstore.native.flavour import processors

if TYPE_CHECKING:
    from vstore.index.construction import Kernels
    from vstore.index.quantizer import Quantizer
    from vstore.manifest.spec import Metric
    from vstore.native.calls import Searched
    from vstore.types import Array

_GHOST_SHARE_MAX: Final = 0.2  # a graph with more of them is built anew, not extended
_EXTENDED_SHARE_MIN: Final = 0.5  # a graph of fewer of the rows is not worth keeping
_SCALE_DRIFT_MAX: Final = 1.3  # new rows that need another scale need other codes


@dataclass(frozen=True, eq=False)
class GraphIndex:
    """A graph that can be searched.

    Attributes
    ----------
    node : uint32 (rows,)
        Node of each row; a row that has none yet has a number beyond them. Rows of equal codes
        share a node: as neighbours of each other they would take up all their links. A node without
        a row is passed through and not returned.
    """

    arrays: GraphArrays
    quantizer: Quantizer
    node: Array
    curve: RecallCurve
    M: int
    ef_construction: int
    _scratches: list[Scratch] = field(default_factory=list, repr=False)

    def search(
        self, kernels: Kernels, queries: Array, *, ef: int, keep: int, allowed: Array | None = None
    ) -> tuple[Array, Searched]:
        """Return for each query the rows of the ``keep`` closest allowed nodes of the ef closest.

        Parameters
        ----------
        queries : float32 (m, dimension)
        allowed : bool (rows,), optional

        Returns
        -------
        uint32 (m, keep), and what the search counted
            Rows, NONE behind the last; by codes, so in about their order.
        """
        permitted = self._permitted(allowed)
        scratch = self._scratch(ef)
        try:
            searched = kernels.search(
                self.arrays,
                scratch,
                self.quantizer.encode_queries(queries),
                ef=ef,
                keep=keep,
                allowed=permitted,
            )
        finally:
            self._scratches.append(scratch)
        return self._rows(searched.found, allowed), searched

    def scan(self, kernels: Kernels, queries: Array, *, keep: int, allowed: Array | None) -> Array:
        """Score all allowed nodes by their codes; return rows as `search` does."""
        permitted = self._permitted(allowed)
        wanted = np.arange(self.arrays.nodes) if permitted is None else np.flatnonzero(permitted)
        found = kernels.scan_codes(
            self.arrays, wanted.astype(np.uint32), self.quantizer.encode_queries(queries), keep
        )
        return self._rows(found, allowed)

    @cached_property
    def _members(self) -> tuple[Array, Array | None]:
        """Rows by node, and where each node's begin; None for one row each."""
        nodes = self.arrays.nodes
        known = np.flatnonzero(self.node < nodes)
        if len(known) == nodes:
            rows = np.full(nodes, NONE, np.uint32)
            rows[self.node[known]] = known
            if not (rows == NONE).any():
                return rows, None
        starts = np.append(0, np.cumsum(np.bincount(self.node[known], minlength=nodes)))
        return known[np.argsort(self.node[known], kind="stable")].astype(np.uint32), starts

    @cached_property
    def ghosts(self) -> int:
        """Number of nodes without a row."""
        starts = self._members[1]
        return 0 if starts is None else int(np.count_nonzero(starts[1:] == starts[:-1]))

    def _permitted(self, allowed: Array | None) -> Array | None:
        """Return by node whether it may be returned; None if all may."""
        if allowed is None and not self.ghosts:
            return None
        permitted = np.zeros(self.arrays.nodes, np.bool_)
        permitted[self.node if allowed is None else self.node[allowed]] = True
        return permitted

    def _rows(self, found: Array, allowed: Array | None) -> Array:
        """Return the rows of nodes, (m, at least keep); of a node all that are allowed."""
        rows, starts = self._members
        missing = found == NONE
        at = np.where(missing, 0, found)
        if starts is None:
            result = rows[at]
            result[missing] = NONE
            return np.asarray(result)
        counts = np.where(missing, 0, starts[at + 1] - starts[at])
        # Nodes behind those that have rows enough are left out.
        counts[np.cumsum(counts, axis=1) - counts >= found.shape[1]] = 0
        lists = []
        for line, lengths in zip(at, counts, strict=True):
            used = lengths > 0
            mine, _ = expand_ranges(starts[line[used]], starts[line[used]] + lengths[used])
            members = rows[mine]
            lists.append(members if allowed is None else members[allowed[members]])
        result = np.full((len(found), max([found.shape[1], *map(len, lists)])), NONE, np.uint32)
        for line, members in zip(result, lists, strict=True):
            line[: len(members)] = members
        return result

    def _scratch(self, ef: int) -> Scratch:
        """Return memory that no other thread uses; it goes back to the list afterwards."""
        while self._scratches:
            try:
                scratch = self._scratches.pop()
            except IndexError:  # another thread was faster
                break
            if scratch.ef >= ef:
                return scratch
        return Scratch(self.arrays.nodes, self.arrays.size, ef)


class Extended(NamedTuple):
    """A graph to be extended.

    Attributes
    ----------
    node : uint32 (rows,)
        The node that each of the new rows has in it already, NONE for those that have none.
    """

    graph: GraphIndex
    node: Array


def build_index(
    vectors: Array,
    norms: Array,
    metric: Metric,
    *,
    M: int,
    ef_construction: int,
    kernels: Kernels,
    threads: int | None = None,
    before: Extended | None = None,
) -> GraphIndex:
    """Return a graph over all rows, with its measured recall; the same for any number of threads.

    Parameters
    ----------
    vectors : float32 or float16 (rows, dimension)
    norms : float32 (rows,)
    threads : int, optional
        One for each processor if not given.
    before : Extended, optional
        A graph that has many of the rows already; it is used if that is worth it.
    """
    fitted = quantizer.fit(vectors, metric)
    if before is not None and _worth_extending(before, fitted, M):
        fitted, old = before.graph.quantizer, before.graph.arrays.codes
        node, added = before.node.copy(), np.flatnonzero(before.node == NONE)
    else:
        before, old = None, np.zeros((0, fitted.size), np.int8)
        node, added = np.full(len(vectors), NONE, np.uint32), np.arange(len(vectors))
    added = added[construction.shuffled(len(added))]
    codes, node[added] = distinct(
        old, fitted.encode(vectors)[added] if before is None else fitted.encode(vectors[added])
    )
    half = quantizer.half_lengths(codes)
    bias = quantizer.bias_of(codes, half)
    order = quantizer.bias_of(codes, None) if fitted.space == "product" else bias

    def grown(nodes: int, arrays: GraphArrays | None) -> GraphArrays:
        return construction.build(
            codes[:nodes],
            half[:nodes],
            bias[:nodes],
            M=M,
            ef_construction=ef_construction,
            kernels=kernels,
            threads=threads or processors(),
            before=arrays,
        )

    def searchable(arrays: GraphArrays, measured: RecallCurve) -> GraphIndex:
        return GraphIndex(
            replace(arrays, bias=order[: arrays.nodes]), fitted, node, measured, M, ef_construction
        )

    arrays = None if before is None else before.graph.arrays
    done = 0 if arrays is None else arrays.nodes
    # The last nodes to come are asked for before they are there: questions that are like the rows,
    # and not among them.
    held_out = min(curve.SAMPLE_ROWS, (len(codes) - done) // 2)
    measured = RecallCurve(()) if before is None else before.graph.curve
    if held_out >= min(curve.SAMPLE_ROWS, len(codes) // 2):
        arrays = grown(len(codes) - held_out, arrays)
        known = node < arrays.nodes
        asked = added[~known[added]][: curve.SAMPLE_ROWS]
        everything = np.arange(len(vectors), dtype=np.uint32)
        part = ScanPart(vectors, norms, everything, distinct=True, allowed=known)
        measured = measure(searchable(arrays, measured), part, metric, kernels, asked)
    return searchable(grown(len(codes), arrays), measured)


def distinct(old: Array, new: Array) -> tuple[Array, Array]:
    """Return the distinct codes, the old ones first, and which of them each new code is, uint32."""
    codes = np.concatenate([old, new])
    words = codes.view(np.uint64)
    with np.errstate(over="ignore"):
        factors = construction.mixed(np.arange(words.shape[1], dtype=np.uint64)) | np.uint64(1)
        hashes = np.zeros(len(codes), np.uint64)
        for column, factor in zip(words.T, factors, strict=True):
            hashes = (hashes ^ column) * factor
            hashes ^= hashes >> np.uint64(29)
    _, first, group = np.unique(hashes, return_index=True, return_inverse=True)
    representative = first[group]
    copies = np.flatnonzero(representative != np.arange(len(codes)))
    same = (codes[copies] == codes[representative[copies]]).all(axis=1)
    representative[copies[~same]] = copies[~same]  # equal hashes of different codes
    is_node = representative == np.arange(len(codes))
    number = np.cumsum(is_node) - 1
    kept = codes if is_node.all() else codes[is_node]
    return kept, number[representative[len(old) :]].astype(np.uint32)


def _worth_extending(before: Extended, fitted: Quantizer, M: int) -> bool:
    index, old = before.graph, before.graph.quantizer
    nodes, rows = index.arrays.nodes, len(before.node)
    used = np.zeros(nodes, np.bool_)
    used[before.node[before.node != NONE]] = True
    alive = int(np.count_nonzero(used))
    return bool(
        index.M == M
        and nodes - alive <= _GHOST_SHARE_MAX * nodes
        and np.count_nonzero(before.node != NONE) >= _EXTENDED_SHARE_MIN * rows
        and (old.space, old.unit, old.spare) == (fitted.space, fitted.unit, fitted.spare)
        and old.scale <= fitted.scale * _SCALE_DRIFT_MAX
        and fitted.scale <= old.scale * _SCALE_DRIFT_MAX
        and fitted.radius <= old.radius * _SCALE_DRIFT_MAX
    )


def measure(
    index: GraphIndex, part: ScanPart, metric: Metric, kernels: Kernels, asked: Array
) -> RecallCurve:
    """Measure recall at 10 against exact search.

    Parameters
    ----------
    part : ScanPart
        All rows, of which those are allowed that the graph has.
    asked : int64 (m,)
        Rows to search for, which it does not have.
    """
    assert part.allowed is not None
    queries = part.vectors[asked].astype(np.float32)
    k = min(curve.K, int(np.count_nonzero(part.allowed)))
    exact = scan([part], queries, metric, k)
    worst = np.array([found.score[-1] for found in exact])
    points = []
    for ef in curve.EF_GRID:
        rows, searched = index.search(kernels, queries, ef=ef, keep=min(ef, 2 * k))
        scores = rescore(kernels, part.vectors, queries, metric, rows)[:, :k]
        recall = float((scores >= worst[:, None]).mean())
        points.append(CurvePoint(ef, recall, float(searched.distances.mean())))
        if recall == 1.0:
            break
    return RecallCurve(tuple(points))
