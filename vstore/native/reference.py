"""The kernels in NumPy: what machine code must give, to the bit, and what runs without it."""

from __future__ import annotations

import bisect
from typing import TYPE_CHECKING

import numpy as np

from vstore.native.arrays import LEVELS_MAX, NONE
from vstore.native.calls import CorruptGraphError, Searched

if TYPE_CHECKING:
    from vstore.native.arrays import GraphArrays, Scratch
    from vstore.types import Array


class ReferenceKernels:
    """The methods of `NativeKernels`, which has their documentation."""

    name = "numpy"

    def search(
        self,
        graph: GraphArrays,
        scratch: Scratch,
        queries: Array,
        *,
        ef: int,
        keep: int,
        allowed: Array | None = None,
    ) -> Searched:
        """Search a graph."""
        found = np.full((len(queries), keep), NONE, np.uint32)
        counters = np.zeros((len(queries), 2), np.int64)
        for i, query in enumerate(queries):
            pool, distances = _beam(graph, query, _enter(graph, query, 0), 0, ef)
            nodes = np.array([node for _, node in pool], np.uint32)
            if allowed is not None:
                nodes = nodes[allowed[nodes] != 0]
            found[i, : min(keep, len(nodes))] = nodes[:keep]
            counters[i] = distances, len(nodes)
        return Searched(found, counters[:, 0], counters[:, 1])

    def insert(
        self, graph: GraphArrays, scratch: Scratch, half: Array, start: int, end: int, ef: int
    ) -> None:
        """Choose links of nodes."""
        room = graph.upper.shape[1]
        for node in range(start, end):
            query = _as_query(graph.codes[node])
            first = int(graph.first[node])
            levels = int(graph.first[node + 1]) - first
            near = _enter(graph, query, levels)
            for level in range(levels, -1, -1):
                pool, _ = _beam(graph, query, near, level, ef)
                near = pool[0][1]
                row = graph.links[node] if level == 0 else graph.upper[first + level - 1]
                chosen = _select(graph, half, node, pool, room)
                row[: len(chosen)] = chosen

    def link_back(
        self,
        graph: GraphArrays,
        scratch: Scratch,
        half: Array,
        level: int,
        edges: tuple[Array, Array, Array],
        groups: tuple[int, int],
    ) -> None:
        """Link targets back to their sources."""
        target, source, starts = edges
        for group in range(*groups):
            new = source[starts[group] : starts[group + 1]]
            node = int(target[starts[group]])
            row = _links(graph, node, level)
            old = row[row != NONE]
            both = np.append(old, new)
            if len(both) > len(row):
                keys = _keys(graph, _as_query(graph.codes[node]), both)
                pool = sorted(zip(keys.tolist(), both.tolist(), strict=True))[: scratch.room]
                both = np.array(_select(graph, half, node, pool, len(row)), np.uint32)
            row[: len(both)] = both
            row[len(both) :] = NONE

    def scan_codes(self, graph: GraphArrays, wanted: Array, queries: Array, keep: int) -> Array:
        """Return the closest of some nodes."""
        found = np.full((len(queries), keep), NONE, np.uint32)
        for i, query in enumerate(queries):
            order = np.lexsort((wanted, _keys(graph, query, wanted)))[:keep]
            found[i, : len(order)] = wanted[order]
        return found

    def rescore(
        self,
        vectors: Array,
        metric: str,
        steps: Array,
        queries: Array,
        lengths: Array,
        row: Array,
    ) -> Array:
        """Score rows exactly and sort them."""
        score = np.full(row.shape, -np.inf)
        for i, query in enumerate(queries):
            rows = row[i][row[i] != NONE]
            if len(rows) and rows.max() >= len(vectors):
                raise CorruptGraphError
            scores = exact_scores(vectors[rows], query, metric, float(lengths[i]))
            order = np.lexsort((rows, -scores))
            row[i, : len(rows)], score[i, : len(rows)] = rows[order], scores[order]
        return score


def exact_scores(vectors: Array, query: Array, metric: str, length: float) -> Array:
    """Score a few rows in float64, in an order that depends on nothing but the dimension.

    Parameters
    ----------
    vectors : (n, dimension), any float dtype
    query : (dimension,)
    metric : {"cosine", "inner_product", "l2"}
    length : float
        The query's Euclidean length; used for cosine.

    Returns
    -------
    float64 (n,)
        Cosine similarity, inner product, or minus the Euclidean distance.
    """
    rows, target = vectors.astype(np.float64), query.astype(np.float64)
    if metric == "l2":
        difference = rows - target
        return np.asarray(-np.sqrt((difference * difference).sum(axis=1)))
    products = (rows * target).sum(axis=1)
    if metric == "inner_product":
        return np.asarray(products)
    with np.errstate(divide="ignore", invalid="ignore"):  # a crafted file may have zeros
        return np.asarray(products / (np.sqrt((rows * rows).sum(axis=1)) * length))


def _as_query(code: Array) -> Array:
    return np.asarray(code.view(np.uint8) ^ np.uint8(128))


def _keys(graph: GraphArrays, query: Array, nodes: Array) -> Array:
    products = graph.codes[nodes].astype(np.int64) @ query.astype(np.int64)
    return np.asarray(graph.bias[nodes].astype(np.int64) - products)


def _links(graph: GraphArrays, node: int, level: int) -> Array:
    if level == 0:
        return np.asarray(graph.links[node])
    row = int(graph.first[node]) + level - 1
    if row >= min(int(graph.first[node + 1]), len(graph.upper)):
        raise CorruptGraphError
    return np.asarray(graph.upper[row])


def _neighbours(graph: GraphArrays, node: int, level: int) -> Array:
    links = _links(graph, node, level)
    end = np.flatnonzero(links == NONE)
    links = links[: end[0]] if len(end) else links
    if len(links) and int(links.max()) >= graph.nodes:
        raise CorruptGraphError
    return links


def _enter(graph: GraphArrays, query: Array, level: int) -> int:
    node = graph.entry
    top = int(graph.first[node + 1]) - int(graph.first[node])
    if top > LEVELS_MAX:
        raise CorruptGraphError
    for above in range(top, level, -1):
        best = int(_keys(graph, query, np.array([node]))[0])
        while True:
            neighbours = _neighbours(graph, node, above)
            if not len(neighbours):
                break
            keys = _keys(graph, query, neighbours)
            closest = int(keys.argmin())
            if keys[closest] >= best:
                break
            best, node = int(keys[closest]), int(neighbours[closest])
    return node


def _beam(
    graph: GraphArrays, query: Array, start: int, level: int, ef: int
) -> tuple[list[tuple[int, int]], int]:
    """Return the ef closest found as (key, node), ascending, and the distances computed."""
    visited = {start}
    pool = [(int(_keys(graph, query, np.array([start]))[0]), start)]
    expanded: set[int] = set()
    at, distances = 0, 1
    while at < len(pool):
        node = pool[at][1]
        at += 1
        if node in expanded:
            continue
        expanded.add(node)
        new = []
        for neighbour in _neighbours(graph, node, level).tolist():
            if neighbour not in visited:
                visited.add(neighbour)
                new.append(neighbour)
        distances += len(new)
        keys = _keys(graph, query, np.array(new, np.int64)).tolist() if new else []
        for entry in zip(keys, new, strict=True):
            if len(pool) < ef or entry < pool[-1]:
                place = bisect.bisect(pool, entry)
                pool.insert(place, entry)
                del pool[ef:]
                at = min(at, place)
    return pool, distances


def _select(
    graph: GraphArrays, half: Array, node: int, pool: list[tuple[int, int]], room: int
) -> list[int]:
    """Choose links: a candidate closer to the node than to every node already chosen."""
    chosen: list[int] = []
    for key, candidate in pool:
        if len(chosen) == room:
            break
        distance = key + int(half[node])
        if chosen:
            query = _as_query(graph.codes[candidate])
            between = int(half[candidate]) + _keys(graph, query, np.array(chosen))
            if bool((between < distance).any()):
                continue
        chosen.append(candidate)
    return chosen
