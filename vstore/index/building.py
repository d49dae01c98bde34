"""Building a segment's graph: over all rows or on from an older graph, with its recall measured."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from vstore.index import construction, measuring, quantizer
from vstore.index.curve import GraphRecall
from vstore.index.graph import GraphIndex
from vstore.native.arrays import NONE, GraphArrays, pack
from vstore.native.flavour import processors

if TYPE_CHECKING:
    from vstore.index.construction import Kernels
    from vstore.index.quantizer import Quantizer
    from vstore.manifest.spec import Metric
    from vstore.types import Array

_GHOST_SHARE_MAX: Final = 0.2  # a graph with more of them is built anew, not extended
_EXTENDED_SHARE_MIN: Final = 0.5  # a graph of fewer of the rows is not worth keeping
_SCALE_DRIFT_MAX: Final = 1.3  # new rows that need another scale need other codes


class ExtendableGraph(NamedTuple):
    """A graph that new rows are added to.

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
    docno: Array | None = None,
    threads: int | None = None,
    before: ExtendableGraph | None = None,
) -> GraphIndex:
    """Return a graph over all rows, with its measured recall; the same for any number of threads.

    Parameters
    ----------
    vectors : float32 or float16 (rows, dimension)
    norms : float32 (rows,)
    docno : uint32 (rows,), optional
        Document of each row, ascending, if some have several.
    threads : int, optional
        One for each processor if not given.
    before : ExtendableGraph, optional
        A graph that has many of the rows already; it is used if that is worth it.
    """
    fitted = quantizer.fit(vectors, metric)
    if before is not None and _worth_extending(before, fitted, M):
        fitted, old = before.graph.quantizer, before.graph.arrays.codes()
        node, added = before.node.copy(), np.flatnonzero(before.node == NONE)
    else:
        before, old = None, np.zeros((0, fitted.size), np.int8)
        node, added = np.full(len(vectors), NONE, np.uint32), np.arange(len(vectors))
    added = added[construction.shuffled(len(added))]
    if before is None:
        places = np.empty(len(added), np.int64)
        places[added] = np.arange(len(added))
        new = fitted.encode(vectors, places)
    else:
        new = fitted.encode(vectors[added])
    codes, node[added] = distinct(old, new)
    half = quantizer.half_lengths(codes)
    planes, count = pack(codes), len(codes)
    del old, new, codes  # as large as the planes, and building takes memory too

    threads = threads or processors()
    arrays = None if before is None else before.graph.arrays
    growing = construction.GrowingGraph(
        planes,
        half,
        M=M,
        ef_construction=ef_construction,
        kernels=kernels,
        threads=threads,
        before=arrays,
    )

    def searchable(arrays: GraphArrays, measured: GraphRecall) -> GraphIndex:
        if fitted.space == "product":  # built by distance, searched by inner product
            arrays = arrays.with_bias(np.zeros_like(arrays.bias))
        members, starts = _members(node, arrays.nodes)
        return GraphIndex(
            arrays, fitted, members, starts, measured, M=M, ef_construction=ef_construction
        )

    done = 0 if arrays is None else arrays.nodes
    measured = GraphRecall() if before is None else before.graph.recall
    held_out = measuring.held_out(len(vectors), len(added))
    if held_out:
        # The last rows to come are asked for before they are there: questions that are like the
        # rows, and not among them. Codes that only they have are the last nodes.
        known = np.ones(len(vectors), np.bool_)
        known[added[-held_out:]] = False
        arrays = growing.grow(max(done, int(node[known].max()) + 1))
        probe = measuring.RecallProbe(vectors, norms, docno, known, added[-held_out:], node)
        partial = searchable(arrays, GraphRecall())
        newest = measuring.measure(partial, probe, metric, kernels, threads)
        # Only new rows were held out; the old ones may be harder to tell apart.
        measured = newest if before is None else measured.merged(newest)
    return searchable(growing.grow(count), measured)


def _members(node: Array, nodes: int) -> tuple[Array, Array | None]:
    """Return rows by node, and where each node's begin; None if each has one.

    Rows whose number is beyond the nodes have none yet.
    """
    known = np.flatnonzero(node < nodes)
    counts = np.bincount(node[known], minlength=nodes)
    members = known[np.argsort(node[known], kind="stable")].astype(np.uint32)
    return members, None if (counts == 1).all() else np.append(0, np.cumsum(counts))


def distinct(old: Array, new: Array) -> tuple[Array, Array]:
    """Return the distinct codes, the old ones first, and which of them each new code is, uint32."""
    codes = np.concatenate([old, new]) if len(old) else new
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


def _worth_extending(before: ExtendableGraph, fitted: Quantizer, M: int) -> bool:
    index, old = before.graph, before.graph.quantizer
    nodes, rows = index.arrays.nodes, len(before.node)
    used = np.zeros(nodes, np.bool_)
    used[before.node[before.node != NONE]] = True
    alive = int(np.count_nonzero(used))
    return bool(
        index.M == M
        and index.recall.rows.curves
        and nodes - alive <= _GHOST_SHARE_MAX * nodes
        and np.count_nonzero(before.node != NONE) >= _EXTENDED_SHARE_MIN * rows
        and (old.space, old.unit, old.spare) == (fitted.space, fitted.unit, fitted.spare)
        and old.scale <= fitted.scale * _SCALE_DRIFT_MAX
        and fitted.scale <= old.scale * _SCALE_DRIFT_MAX
        and fitted.radius <= old.radius * _SCALE_DRIFT_MAX
    )
