"""The kernels in NumPy: what machine code must give, to the bit, and what runs without it."""

from __future__ import annotations

import bisect
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from vstore.native.arrays import EXPANDED, LEVELS_MAX, LOST_SHARE, NONE, WIDE_MAX, rounded
from vstore.native.calls import Answers, CorruptGraphError

if TYPE_CHECKING:
    from vstore.native.arrays import AnswerScratch, GraphArrays, Rows, Scratch
    from vstore.native.calls import Question
    from vstore.types import Array


class ReferenceKernels:
    """The methods of `NativeKernels`, which has their documentation."""

    name = "numpy"

    def search(self, graph: GraphArrays, scratch: Scratch, queries: Array, *, ef: int) -> Array:
        """Return the ef nodes closest to each query."""
        found = np.full((len(queries), ef), NONE, np.uint32)
        for i, code in enumerate(queries):
            query = _query(code)
            pool, _ = _beam(graph, query, _enter(graph, query, 0), 0, ef, rounded(ef))
            nodes = [node for _, node in pool[:ef]]
            found[i, : len(nodes)] = nodes
        return found

    def answer(
        self,
        graph: GraphArrays,
        rows: Rows,
        scratch: AnswerScratch,
        queries: Array,
        question: Question,
    ) -> Answers:
        """Find the k best rows for each query."""
        answers = Answers(
            np.full((len(queries), question.k), NONE, np.uint32),
            np.full((len(queries), question.k), -np.inf),
            np.zeros(len(queries), np.int64),
            np.full((len(queries), scratch.room if question.report else 0), NONE, np.uint32),
        )
        for i, query in enumerate(queries):
            encoded = _encode(rows, graph.size, query)
            if encoded is None:
                continue
            code = _query(encoded)
            room = rounded(question.kept)
            if question.ef:
                pool, distances = _beam(graph, code, _enter(graph, code, 0), 0, question.ef, room)
                nodes = np.array([node for _, node in pool])
            else:
                assert question.wanted is not None
                order = np.lexsort((question.wanted, _coarse(graph, code, question.wanted)))
                nodes = question.wanted[order[:room]]
                distances = len(question.wanted)
            nodes = _refined(graph, code, _only_allowed(rows, nodes, question))
            found = np.array(_candidates(rows, nodes.tolist(), question), np.int64)
            scores = exact_scores(rows.vectors[found], query, rows.metric)
            best = np.lexsort((found, -scores))
            if rows.groups is not None:
                _, first = np.unique(rows.groups[found[best]], return_index=True)
                best = best[np.sort(first)]
            best = best[: question.k]
            answers.row[i, : len(best)] = found[best]
            answers.score[i, : len(best)] = scores[best]
            answers.distances[i] = distances
            if question.report:
                answers.scored[i, : len(found)] = found[np.lexsort((found, -scores))]
        return answers

    def insert(self, graph: GraphArrays, scratch: Scratch, start: int, end: int, ef: int) -> None:
        """Choose links of nodes."""
        room = graph.upper.shape[1]
        for node in range(start, end):
            query = _as_query(graph, node)
            first = int(graph.first[node])
            levels = int(graph.first[node + 1]) - first
            near = _enter(graph, query, levels)
            for level in range(levels, -1, -1):
                pool, _ = _beam(graph, query, near, level, ef, rounded(ef))
                nodes = _refined(graph, query, np.array([node for _, node in pool]))
                near = int(nodes[0])
                row = graph.links[node] if level == 0 else graph.upper[first + level - 1]
                chosen = _select(graph, node, nodes, room)
                row[: len(chosen)] = chosen

    def link_back(
        self,
        graph: GraphArrays,
        scratch: Scratch,
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
                near = _refined(graph, _as_query(graph, node), both)[: scratch.room]
                both = np.array(_select(graph, node, near, len(row)), np.uint32)
            row[: len(both)] = both
            row[len(both) :] = NONE


def exact_scores(vectors: Array, query: Array, metric: str) -> Array:
    """Score a few rows in float64, in an order that depends on nothing but the dimension.

    Parameters
    ----------
    vectors : (n, dimension), any float dtype
    query : (dimension,)
    metric : {"cosine", "inner_product", "l2"}

    Returns
    -------
    float64 (n,)
        Cosine similarity in [-1, 1], inner product, or minus the Euclidean distance; never -0.0.
    """
    rows, target = vectors.astype(np.float64), query.astype(np.float64)
    if metric == "l2":
        difference = rows - target
        return np.asarray(0.0 - np.sqrt((difference * difference).sum(axis=1)))
    products = (rows * target).sum(axis=1) + 0.0
    if metric == "inner_product":
        return np.asarray(products)
    lengths = np.sqrt((rows * rows).sum(axis=1)) * length_of(query)
    with np.errstate(divide="ignore", invalid="ignore"):  # a crafted file may have zeros
        cosines = products / lengths
    # Rounding puts a vector's cosine with itself beyond 1 by a few units in the last place. Not by
    # `np.clip`, whose call takes as long as scoring a dozen rows.
    np.minimum(cosines, 1.0, out=cosines)
    return np.asarray(np.maximum(cosines, -1.0, out=cosines))


def length_of(query: Array) -> float:
    """Return the Euclidean length of a vector."""
    wide = query.astype(np.float64)
    return float(np.sqrt((wide * wide).sum()))


def _encode(rows: Rows, size: int, query: Array) -> Array | None:
    """Code a query as its vectors were; None if clipping takes away too much of it."""
    code = np.zeros(size, np.int8)
    if rows.product:
        largest = np.maximum(np.abs(query).max(), np.finfo(np.float32).tiny)
        scaled = query * (np.float32(127) / largest)
    else:
        scaled = query
        if rows.unit:
            scaled = query / np.maximum(np.float32(length_of(query)), np.finfo(np.float32).tiny)
        scaled = (scaled - rows.mean) / np.float32(rows.scale)
    code[: len(query)] = np.clip(np.rint(scaled), -127, 127)
    if rows.product:
        return code
    kept = code[: len(query)].astype(np.int64)
    lost = np.clip(np.rint(scaled), -WIDE_MAX, WIDE_MAX).astype(np.int64) - kept
    return code if (lost * lost).sum() * LOST_SHARE <= (kept * kept).sum() else None


def _only_allowed(rows: Rows, nodes: Array, question: Question) -> Array:
    """Return the first nodes that have rows which may be returned."""
    if question.allowed is not None:
        nodes = nodes[question.allowed[0][nodes] != 0]
    if rows.starts is not None:
        nodes = nodes[rows.starts[nodes] < rows.starts[nodes.astype(np.int64) + 1]]
    return np.asarray(nodes[: question.refine])


def _candidates(rows: Rows, nodes: list[int], question: Question) -> list[int]:
    found: list[int] = []
    for node in nodes:
        if len(found) >= question.keep:
            break
        start, end = (node, node + 1) if rows.starts is None else rows.starts[node : node + 2]
        for row in rows.members[start:end].tolist():
            if row >= len(rows.vectors):
                raise CorruptGraphError
            if question.allowed is None or question.allowed[1][row]:
                found.append(row)
    return found


class _Query(NamedTuple):
    """A code as `_product` takes it: for the lower and the upper four bits of each byte."""

    lower: Array
    upper: Array
    shift: int  # 128 times the sum of the code


def _query(code: Array) -> _Query:
    pieces = code.reshape(-1, 2, 64).astype(np.float64)
    return _Query(pieces[:, 0].ravel(), pieces[:, 1].ravel(), 128 * int(pieces.sum()))


def _as_query(graph: GraphArrays, node: int) -> _Query:
    return _query(graph.codes(slice(node, node + 1))[0])


def _product(query: _Query, plane: Array) -> Array:
    """Return dot products with half bytes, int64; float64 holds them exactly."""
    products = (plane & 15) @ query.lower + (plane >> 4) @ query.upper
    return np.asarray(products.astype(np.int64))


def _coarse(graph: GraphArrays, query: _Query, nodes: Array) -> Array:
    """Return keys by the high halves of codes."""
    return np.asarray(graph.bias[nodes] + query.shift - 16 * _product(query, graph.high[nodes]))


def _keys(graph: GraphArrays, query: _Query, nodes: Array) -> Array:
    return np.asarray(_coarse(graph, query, nodes) - _product(query, graph.low[nodes]))


def _refined(graph: GraphArrays, query: _Query, nodes: Array) -> Array:
    """Return nodes in the order of their full keys."""
    return np.asarray(nodes[np.lexsort((nodes, _keys(graph, query, nodes)))])


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


def _enter(graph: GraphArrays, query: _Query, level: int) -> int:
    node = graph.entry
    top = int(graph.first[node + 1]) - int(graph.first[node])
    if top > LEVELS_MAX:
        raise CorruptGraphError
    for above in range(top, level, -1):
        best = int(_coarse(graph, query, np.array([node]))[0])
        while True:
            neighbours = _neighbours(graph, node, above)
            if not len(neighbours):
                break
            keys = _coarse(graph, query, neighbours)
            closest = int(keys.argmin())
            if keys[closest] >= best:
                break
            best, node = int(keys[closest]), int(neighbours[closest])
    return node


def _beam(
    graph: GraphArrays, query: _Query, start: int, level: int, ef: int, room: int
) -> tuple[list[tuple[int, int]], int]:
    """Return the closest found as (coarse key, node), ascending, and the distances computed."""
    visited = {start}
    pool = [(int(_coarse(graph, query, np.array([start]))[0]), start)]
    expanded: set[int] = set()
    at, distances = 0, 1
    while True:
        new: list[int] = []
        before = len(expanded)
        while at < min(len(pool), ef) and len(expanded) < before + EXPANDED:
            node = pool[at][1]
            at += 1
            if node in expanded:
                continue
            expanded.add(node)
            for neighbour in _neighbours(graph, node, level).tolist():
                if neighbour not in visited:
                    visited.add(neighbour)
                    new.append(neighbour)
        if len(expanded) == before:
            break
        distances += len(new)
        keys = _coarse(graph, query, np.array(new, np.int64)).tolist() if new else []
        pool = sorted([*pool, *zip(keys, new, strict=True)])[:room]
        if new:
            at = min(at, bisect.bisect_left(pool, min(zip(keys, new, strict=True))))
    return pool, distances


def _select(graph: GraphArrays, node: int, nodes: Array, room: int) -> list[int]:
    """Choose links: a candidate closer to the node than to every node already chosen."""
    distances = _keys(graph, _as_query(graph, node), nodes) + int(graph.bias[node])
    chosen: list[int] = []
    for distance, candidate in zip(distances.tolist(), nodes.tolist(), strict=True):
        if len(chosen) == room:
            break
        if chosen:
            between = _keys(graph, _as_query(graph, candidate), np.array(chosen))
            if bool((between + int(graph.bias[candidate]) < distance).any()):
                continue
        chosen.append(candidate)
    return chosen
