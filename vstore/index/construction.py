"""Building a graph, or extending one: batches of nodes, the same bytes on any number of threads.

A batch is at most 2 % of the graph so far. Its nodes search the graph as it was before it, in
parallel; then the links back to them are merged, grouped by target (the prefix doubling of
ParlayANN, Manohar et al. 2024, arXiv 2305.04359). Nodes of one batch do not see each other, so that
rows come in a shuffled order: stored documents are often sorted by topic, and a batch of one topic
would leave its members unlinked (WordNet in its own order loses 4 points of recall).
"""

from __future__ import annotations

import itertools
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Final

import numpy as np

from vstore.native.arrays import LEVELS_MAX, NONE, GraphArrays, Scratch

if TYPE_CHECKING:
    from collections.abc import Callable

    from vstore.native.calls import NativeKernels
    from vstore.native.reference import ReferenceKernels
    from vstore.types import Array

    Kernels = NativeKernels | ReferenceKernels

_BATCH_SHARE: Final = 50  # a batch is at most one fiftieth of the graph
_BATCH_MAX: Final = 20_000
_ALONE: Final = 8  # batches below this are not worth a second thread
_TASKS_PER_THREAD: Final = 8
_FRONT: Final = 1 << 14  # nodes whose links are followed at once, for memory
_EDGES_MAX: Final = 4_096  # links back to one node that are considered in one batch


def shuffled(rows: int) -> Array:
    """Return row numbers in the order in which they become nodes, uint32 (rows,)."""
    return np.asarray(np.argsort(mixed(np.arange(rows, dtype=np.uint64)), kind="stable")).astype(
        np.uint32
    )


def levels_of(start: int, end: int, M: int) -> Array:
    """Return the level of nodes start..end, uint8: geometric, as in the paper; node 0 on top."""
    uniform = (mixed(np.arange(start, end, dtype=np.uint64) + 2**63) >> 11) * 2.0**-53
    levels = np.minimum(-np.log(uniform + 2.0**-54) / np.log(M), LEVELS_MAX).astype(np.uint8)
    if start == 0:
        levels[0] = LEVELS_MAX
    return np.asarray(levels)


def mixed(numbers: Array) -> Array:
    """Mix 64-bit integers, uint64 to uint64: SplitMix64 (Steele et al. 2014)."""
    with np.errstate(over="ignore"):
        mixed = numbers * np.uint64(0x9E3779B97F4A7C15)
        mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return np.asarray(mixed ^ (mixed >> np.uint64(31)))


class GrowingGraph:
    """A graph that grows over codes that are all there, under the Euclidean distance.

    Its memory is allocated once, for all codes: as `grow` returns parts of it, a graph that was
    returned is not to be searched after the next call.

    Parameters
    ----------
    codes : uint8 (nodes, size / 2), twice
        High and low halves, in the order of insertion; the first ones those of ``before``, if
        given.
    half : int32 (nodes,)
        Half of each code's squared length.
    M : int
        Links of a node on an upper level; twice as many on the base.
    ef_construction : int
        Candidates among which a new node's links are chosen.
    before : GraphArrays, optional
        A graph to extend.
    """

    def __init__(
        self,
        codes: tuple[Array, Array],
        half: Array,
        *,
        M: int,
        ef_construction: int,
        kernels: Kernels,
        threads: int = 1,
        before: GraphArrays | None = None,
    ) -> None:
        nodes = len(half)
        old_levels = (
            np.zeros(0, np.int64) if before is None else np.diff(before.first.astype(np.int64))
        )
        self._levels = np.append(old_levels, levels_of(len(old_levels), nodes, M))
        self._whole = GraphArrays(
            *codes,
            half,
            np.full((nodes, 2 * M), NONE, np.uint32),
            np.full((int(self._levels.sum()), M), NONE, np.uint32),
            np.append(0, np.cumsum(self._levels)).astype(np.uint32),
            entry=0 if before is None else before.entry,
        )
        self._done = 1
        if before is not None:
            self._done = before.nodes
            self._whole.links[: before.nodes] = before.links
            self._whole.upper[: len(before.upper)] = before.upper
        self._kernels = kernels
        self._ef = ef_construction
        self._scratches = [
            Scratch(nodes, self._whole.size, ef_construction, edges=_EDGES_MAX)
            for _ in range(threads)
        ]

    def grow(self, nodes: int) -> GraphArrays:
        """Return the graph of the first ``nodes`` codes."""
        graph = self._part(nodes)
        for scratch in self._scratches:
            scratch.visited[:] = 0  # the latest mark stands behind the last node, now another one
        with ThreadPoolExecutor(len(self._scratches)) as pool:
            workers = _Workers(pool, self._scratches)
            batches = _Batches(graph, self._levels, self._kernels, workers)
            while self._done < nodes:
                start = self._done
                end = min(nodes, start + max(1, min(start // _BATCH_SHARE, _BATCH_MAX)))
                batches.insert(start, end, self._ef)
                batches.link_back(start, end)
                self._done = end
        connect(graph, self._kernels, self._scratches[0])
        return graph

    def _part(self, nodes: int) -> GraphArrays:
        whole = self._whole
        first = whole.first[: nodes + 1]
        return GraphArrays(
            whole.high[:nodes],
            whole.low[:nodes],
            whole.bias[:nodes],
            whole.links[:nodes],
            whole.upper[: int(first[-1])],
            first,
            entry=whole.entry,
        )


class _Workers:
    """Threads, each with memory of its own, that share pieces of work."""

    def __init__(self, pool: ThreadPoolExecutor, scratches: list[Scratch]) -> None:
        self._pool = pool
        self._scratches = scratches

    def run(self, task: Callable[[Scratch, int, int], None], count: int) -> None:
        """Do 0..count, in pieces."""
        if count < _ALONE or len(self._scratches) == 1:
            task(self._scratches[0], 0, count)
            return
        pieces = min(count, len(self._scratches) * _TASKS_PER_THREAD)
        edges = np.linspace(0, count, pieces + 1).astype(np.int64).tolist()
        waiting = iter(list(itertools.pairwise(edges)))

        def work(scratch: Scratch) -> None:
            for start, end in waiting:  # a list's iterator hands out each piece once
                task(scratch, start, end)

        list(self._pool.map(work, self._scratches))


class _Batches:
    """A graph that grows by batches of nodes."""

    def __init__(
        self,
        graph: GraphArrays,
        levels: Array,
        kernels: Kernels,
        workers: _Workers,
    ) -> None:
        self._graph = graph
        self._levels = levels
        self._kernels = kernels
        self._workers = workers

    def insert(self, start: int, end: int, ef: int) -> None:
        """Choose the links of nodes start..end, in the graph before them."""

        def task(scratch: Scratch, first: int, last: int) -> None:
            self._kernels.insert(self._graph, scratch, start + first, start + last, ef)

        self._workers.run(task, end - start)

    def link_back(self, start: int, end: int) -> None:
        """Link the nodes that nodes start..end have chosen back to them."""
        for level in range(int(self._levels[start:end].max()) + 1):
            self._link_back_level(start, end, level)

    def _link_back_level(self, start: int, end: int, level: int) -> None:
        graph = self._graph
        source = start + np.flatnonzero(self._levels[start:end] >= level)
        if level == 0:
            target = graph.links[start:end]
        else:
            target = graph.upper[graph.first[source].astype(np.int64) + level - 1]
        linked = target != NONE
        sources = np.repeat(source.astype(np.uint32), linked.sum(axis=1))
        targets = target[linked]
        if not len(targets):
            return
        order = np.argsort(targets, kind="stable")
        targets, sources = targets[order], sources[order]
        starts = np.flatnonzero(np.append([True], targets[1:] != targets[:-1]))
        starts = np.append(starts, len(targets)).astype(np.int64)

        def task(scratch: Scratch, first: int, last: int) -> None:
            edges = (targets, sources, starts)
            self._kernels.link_back(graph, scratch, level, edges, (first, last))

        self._workers.run(task, len(starts) - 1)


def connect(graph: GraphArrays, kernels: Kernels, scratch: Scratch) -> None:
    """Give every node a path from the entry point: pruning may leave some without a link to them.

    A tree of paths is kept; an unreached node takes the place of a link that is not in the tree.
    """
    reached = np.zeros(graph.nodes, np.bool_)
    kept = np.zeros(graph.links.shape, np.bool_)  # links of the tree
    _reach(graph, np.array([graph.entry]), reached, kept)
    for node in np.flatnonzero(~reached).tolist():
        if reached[node]:  # by way of another one
            continue
        near = graph.links[node]
        near = near[near != NONE]
        query = graph.codes(slice(node, node + 1))
        ef = scratch.ef
        found = kernels.search(graph, scratch, query, ef=ef)[0]
        for other in (*near[reached[near]].tolist(), *found[found != NONE].tolist()):
            free = np.flatnonzero(~kept[other])
            if len(free):
                empty = free[graph.links[other, free] == NONE]
                place = empty[0] if len(empty) else free[-1]
                graph.links[other, place] = node
                kept[other, place] = True
                _reach(graph, np.array([node]), reached, kept)
                break


def unreached(graph: GraphArrays) -> int:
    """Count the nodes to which no path leads from the entry point on the base level."""
    reached = np.zeros(graph.nodes, np.bool_)
    _reach(graph, np.array([graph.entry]), reached, None)
    return int(np.count_nonzero(~reached))


def _reach(graph: GraphArrays, front: Array, reached: Array, kept: Array | None) -> None:
    """Mark what can be reached from some nodes, and the links by which it was first reached."""
    reached[front] = True
    while len(front):
        found = [
            _step(graph, front[start : start + _FRONT], reached, kept)
            for start in range(0, len(front), _FRONT)
        ]
        front = np.sort(np.concatenate(found))


def _step(graph: GraphArrays, front: Array, reached: Array, kept: Array | None) -> Array:
    """Mark what is one link further, and return it."""
    links = graph.links[front]
    places = np.flatnonzero(links != NONE)
    targets = links.ravel()[places]
    new = ~reached[targets]
    places, targets = places[new], targets[new]
    targets, first = np.unique(targets, return_index=True)
    if kept is not None:
        row, column = np.divmod(places[first], links.shape[1])
        kept[front[row], column] = True
    reached[targets] = True
    return targets
