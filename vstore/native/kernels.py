"""All numba kernels: graph search and building on byte codes, code scan, exact rescoring.

Read by `compiler` alone; nothing else imports numba. A kernel gets one block of words, in the order
of `signatures`; it makes arrays of the addresses and calls functions over arrays, which tests also
run with bounds checks.

Distances. A vector is a code of signed bytes around the mean, c. Stored is u = c + 128, as two
planes: the high halves of all bytes, and the low halves. A search reads the high plane, half the
memory, and looks at the low halves of the best few only. With half[i] half the squared length of
code i, and shift 128 times the sum of a query's code q, the key ``half[i] + shift - q . u[i]`` is
half the squared distance less the query's own share: an integer, so that every processor and every
order of summation agree. For an inner product the half is left out. The coarse key is the same with
the low halves taken as zero.

The graph is HNSW (Malkov and Yashunin 2018, arXiv 1603.09320). It departs from the paper:

- a search keeps one sorted pool instead of two heaps, and expands its best entry that is not yet
  expanded, of the first ef. It ends where the paper's ends, and its result is sorted. The pool may
  have more room than ef: entries behind are not expanded, only looked at again in the end.
- entries are one integer: key, node, and a bit that says it was expanded. Ties go to the lower node.
- nodes are inserted in batches. A batch searches the graph as it stood before, all nodes at once,
  and then links back to its members are merged, by target. So the bytes do not depend on threads.
- node 0 stands on every level, so that the entry point never moves.

What a kernel does not check: that addresses and lengths belong together (`index` does that once).
What it checks, because it comes from a file: every neighbour, row of an upper level and entry point
it follows. Loops over links end: a descent gets closer in every step, a pool grows by unvisited
nodes only.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numba import carray, njit

from vstore.native import arrays, signatures
from vstore.native.instructions import (
    dot,
    half_distances,
    half_products,
    half_to_double,
    insert_entry,
    pointer,
    prefetch,
    single_distances,
    single_products,
)

NONE = np.uint32(arrays.NONE)
LEVELS_MAX = np.int64(arrays.LEVELS_MAX)
TINY = np.finfo(np.float32).tiny  # stands in for a length of 0
CODE_MAX = np.float32(127.0)
WIDE_MAX = np.float32(arrays.WIDE_MAX)
LOST_SHARE = np.int64(arrays.LOST_SHARE)
NO_ENTRY = np.int64(2**63 - 1)  # behind all entries; odd, as if expanded
FETCHED = np.int64(1024)  # bytes of a vector
EXPANDED = np.int64(arrays.EXPANDED)
UNMARKED = np.uint8(0)
OK, CORRUPT = np.int64(signatures.OK), np.int64(signatures.CORRUPT)

_inner = njit(nogil=True, error_model="numpy", _nrt=False)  # counts no references
_view = njit(nogil=True, error_model="numpy")


class Graph(NamedTuple):
    """`arrays.GraphArrays`, flat."""

    high: Any
    low: Any
    bias: Any
    size: Any
    nodes: Any
    links: Any
    width: Any
    upper: Any
    upper_width: Any
    first: Any
    entry: Any


class Memory(NamedTuple):
    """`arrays.Scratch`."""

    pool: Any
    refined: Any
    visited: Any
    fresh: Any
    entries: Any
    code: Any
    other: Any


class Rows(NamedTuple):
    """`arrays.Rows` and the memory to score them."""

    vectors: Any
    halves: Any
    count: Any
    dimension: Any
    is_half: Any
    metric: Any
    steps: Any
    steps_count: Any
    members: Any
    starts: Any
    has_starts: Any
    groups: Any
    grouped: Any
    mean: Any
    scale: Any
    unit: Any
    product: Any
    stack: Any
    wide: Any
    candidate: Any
    score: Any


class Question(NamedTuple):
    """`calls.Question` and its queries."""

    queries: Any
    count: Any
    ef: Any
    kept: Any
    refine: Any
    keep: Any
    k: Any
    wanted: Any
    wanted_count: Any
    allowed: Any
    allowed_rows: Any
    filtered: Any


class Answer(NamedTuple):
    """`calls.Answers`."""

    row: Any
    score: Any
    distances: Any
    reported: Any
    report: Any


class Query(NamedTuple):
    """A query's code, int8, and 128 times its sum."""

    code: Any
    shift: Any


# Codes and entries.


@_inner
def _fetch(plane, node, size):
    """Ask for a node's half code."""
    start = np.int64(node) * (size >> 1)
    for line in range(0, size >> 1, 64):
        prefetch(plane, start + line)


@_inner
def _coarse(query, graph, node):
    """Return a node's key by the high halves of its code."""
    product = dot(query.code, graph.high, np.int64(node) * (graph.size >> 1), graph.size)
    return np.int64(graph.bias[np.uint64(node)]) + query.shift - (np.int64(product) << 4)


@_inner
def _low(query, graph, node):
    """Return what the low halves of a node's code take from its coarse key."""
    return np.int64(dot(query.code, graph.low, np.int64(node) * (graph.size >> 1), graph.size))


@_inner
def _key(query, graph, node):
    return _coarse(query, graph, node) - _low(query, graph, node)


@_inner
def _entry(key, node):
    return (key << 32) | (np.int64(node) << 1)


@_inner
def _node(entry):
    return (entry & np.int64(0xFFFFFFFF)) >> 1


@_inner
def _as_query(graph, node, code):
    """Make a node's code a query."""
    start, total = np.int64(node) * (graph.size >> 1), np.int32(0)
    for block in range(0, graph.size, 128):
        for i in range(64):
            at = np.uint64(start + (block >> 1) + i)
            high, low = np.int32(graph.high[at]), np.int32(graph.low[at])
            first = ((high & 15) << 4 | (low & 15)) - 128
            second = ((high >> 4) << 4 | (low >> 4)) - 128
            code[np.uint64(block + i)] = np.int8(first)
            code[np.uint64(block + 64 + i)] = np.int8(second)
            total += np.int32(first + second)
    return Query(code, np.int64(total) << 7)


@_inner
def _clear(pool, room):
    for i in range(room):
        pool[np.uint64(i)] = NO_ENTRY


# Searching.


@_inner
def _row(graph, node, level):
    """Return the row of a node's links on an upper level, CORRUPT if it has none there."""
    row = np.int64(graph.first[np.uint64(node)]) + level - 1
    if row >= np.int64(graph.first[np.uint64(node + 1)]):
        return CORRUPT
    return row if row < np.int64(graph.first[np.uint64(graph.nodes)]) else CORRUPT


@_inner
def _descend(query, graph, level, node, visited, mark):
    """Return the node of an upper level that no neighbour is closer than."""
    best, width = _coarse(query, graph, node), graph.upper_width
    while True:
        row = _row(graph, node, level)
        if row < 0:
            return CORRUPT
        start, before = row * width, node
        for i in range(width):
            neighbour = graph.upper[np.uint64(start + i)]
            if neighbour >= graph.nodes:
                if neighbour == NONE:
                    break
                return CORRUPT
            _fetch(graph.high, neighbour, graph.size)
            prefetch(graph.bias, 4 * np.int64(neighbour))
        for i in range(width):
            neighbour = graph.upper[np.uint64(start + i)]
            if neighbour == NONE:
                break
            if mark != 0:
                visited[np.uint64(neighbour)] = mark
            key = _coarse(query, graph, neighbour)
            if key < best:
                best, node = key, np.int64(neighbour)
        if node == before:
            return node


@_inner
def _next_stamp(visited, nodes):
    """Return a mark that no node has yet; clears the marks once in 255 searches."""
    stamp = np.uint8(visited[np.uint64(nodes)] + np.uint8(1))
    if stamp == 0:
        for i in range(nodes):
            visited[np.uint64(i)] = np.uint8(0)
        stamp = np.uint8(1)
    visited[np.uint64(nodes)] = stamp
    return stamp


@_inner
def _beam(query, graph, links, width, level, start, ef, room, memory):
    """Search one level from a node; the pool then holds the closest found, by coarse key.

    Returns how many distances were computed; CORRUPT for a bad graph. What a branch would decide
    differently every time is done without one: a wrong guess costs as much as a distance.
    """
    pool, visited, fresh, entries = memory.pool, memory.visited, memory.fresh, memory.entries
    stamp = _next_stamp(visited, graph.nodes)
    _clear(pool, room)
    visited[np.uint64(start)] = stamp
    pool[0] = _entry(_coarse(query, graph, start), start)
    at, distances = np.int64(0), np.int64(1)
    while at < ef:
        # The next few at once: their links and codes are then on their way together.
        expanded, unvisited = np.int64(0), np.int64(0)
        while at < ef and expanded < EXPANDED:
            entry = pool[np.uint64(at)]
            if entry == NO_ENTRY:
                break
            at += 1
            if entry & 1:
                continue
            pool[np.uint64(at - 1)] = entry | 1
            expanded += 1
            row = _node(entry) if level == 0 else _row(graph, _node(entry), level)
            if row < 0:
                return CORRUPT
            base = row * width
            for i in range(width):
                neighbour = links[np.uint64(base + i)]
                if neighbour >= graph.nodes:
                    if neighbour == NONE:
                        break
                    return CORRUPT
                fresh[np.uint64(unvisited)] = neighbour
                unvisited += np.int64(visited[np.uint64(neighbour)] != stamp)
                visited[np.uint64(neighbour)] = stamp
        if expanded == 0:
            break
        # Every line of every unvisited neighbour is asked for before the first one is used.
        for i in range(unvisited):
            neighbour = fresh[np.uint64(i)]
            _fetch(graph.high, neighbour, graph.size)
            prefetch(graph.bias, 4 * np.int64(neighbour))
        if level == 0:
            for i in range(at, min(at + EXPANDED, room)):
                following = _node(pool[np.uint64(i)]) * width * 4
                prefetch(links, following)
                prefetch(links, following + 64)
        distances += unvisited
        worst, closer, best = pool[np.uint64(room - 1)], np.int64(0), NO_ENTRY
        last = pool[np.uint64(ef - 1)]  # what is behind it is not expanded
        for i in range(unvisited):
            neighbour = fresh[np.uint64(i)]
            entry = _entry(_coarse(query, graph, neighbour), neighbour)
            entries[np.uint64(closer)] = entry
            closer += np.int64(entry < worst)
            best = min(best, entry)
        for i in range(closer):
            entry = entries[np.uint64(i)]
            if level == 0 and entry < last:
                following = _node(entry) * width * 4
                prefetch(links, following)
                prefetch(links, following + 64)
            insert_entry(pool, room, entry)
        while at > 0 and pool[np.uint64(at - 1)] >= best:
            at -= 1
    return distances


@_inner
def _count(pool, room):
    """Return how many entries a pool has."""
    count = room
    while count > 0 and pool[np.uint64(count - 1)] == NO_ENTRY:
        count -= 1
    return count


@_inner
def _refine(query, graph, memory, count):
    """Order the first of the pool by their full keys."""
    pool, refined = memory.pool, memory.refined
    room = _rounded(count)
    _clear(refined, room)
    for i in range(count):
        _fetch(graph.low, _node(pool[np.uint64(i)]), graph.size)
    for i in range(count):
        entry = pool[np.uint64(i)]
        key = (entry >> 32) - _low(query, graph, _node(entry))
        insert_entry(refined, room, _entry(key, _node(entry)))


@_inner
def _rounded(room):
    """Return the next multiple of the entries that `insert_entry` moves at once."""
    return (room + 7) & ~np.int64(7)


@_inner
def _enter(query, graph, level, visited, mark):
    """Return the node from which to search a level, found by descending to the level above it.

    Nodes that were looked at are marked, unless the mark is 0.
    """
    node = graph.entry
    if node < 0 or node >= graph.nodes:
        return CORRUPT
    top = np.int64(graph.first[np.uint64(node + 1)]) - np.int64(graph.first[np.uint64(node)])
    if top > LEVELS_MAX:
        return CORRUPT
    if mark != 0:
        visited[np.uint64(node)] = mark
    for above in range(top, level, -1):
        node = _descend(query, graph, above, node, visited, mark)
        if node < 0:
            return CORRUPT
    return node


@_inner
def search_graph(graph, memory, queries, count, ef, found):
    """Find for each query the ef closest nodes, by coarse key."""
    for number in range(count):
        code, total = queries[number * graph.size : (number + 1) * graph.size], np.int64(0)
        for i in range(graph.size):
            total += np.int64(code[np.uint64(i)])
        query = Query(code, total << 7)
        start = _enter(query, graph, 0, memory.visited, UNMARKED)
        if start < 0:
            return CORRUPT
        room = _rounded(ef)
        if _beam(query, graph, graph.links, graph.width, 0, start, ef, room, memory) < 0:
            return CORRUPT
        have = _count(memory.pool, room)
        for i in range(ef):
            node = np.uint32(_node(memory.pool[np.uint64(i)])) if i < have else NONE
            found[np.uint64(number * ef + i)] = node
    return OK


@_inner
def _scan(query, graph, wanted, wanted_count, pool, room):
    """Score some nodes; the pool then holds the closest of them."""
    _clear(pool, room)
    for i in range(wanted_count):
        if i + 8 < wanted_count:
            ahead = min(wanted[np.uint64(i + 8)], np.uint32(graph.nodes - 1))
            _fetch(graph.high, ahead, graph.size)
        node = wanted[np.uint64(i)]
        if node >= graph.nodes:
            return CORRUPT
        entry = _entry(_coarse(query, graph, node), node)
        if entry < pool[np.uint64(room - 1)]:
            insert_entry(pool, room, entry)
    return OK


# Building: under the Euclidean distance, so that ``bias`` is half of each code's squared length.


@_inner
def _select(graph, own, pool, count, room, links, base, code):
    """Choose links among sorted candidates: the paper's heuristic, algorithm 4.

    A candidate is linked if it is closer to the node than to every node already linked.
    """
    linked = np.int64(0)
    for i in range(count):
        if linked >= room:
            break
        candidate = _node(pool[np.uint64(i)])
        distance = (pool[np.uint64(i)] >> 32) + own
        if i + 1 < count:
            _fetch(graph.high, _node(pool[np.uint64(i + 1)]), graph.size)
            _fetch(graph.low, _node(pool[np.uint64(i + 1)]), graph.size)
        query = _as_query(graph, candidate, code)
        mine = np.int64(graph.bias[np.uint64(candidate)])
        keeps = True
        for j in range(linked):
            other = np.int64(links[np.uint64(base + j)])
            if mine + _key(query, graph, other) < distance:
                keeps = False
                break
        if keeps:
            links[np.uint64(base + linked)] = np.uint32(candidate)
            linked += 1
    return linked


@_inner
def insert_nodes(graph, memory, start, end, ef):
    """Give nodes start..end their own links, in the graph of the nodes before them."""
    for node in range(start, end):
        query = _as_query(graph, node, memory.code)
        own = np.int64(graph.bias[np.uint64(node)])
        bottom = np.int64(graph.first[np.uint64(node)])
        levels = np.int64(graph.first[np.uint64(node + 1)]) - bottom
        near = _enter(query, graph, levels, memory.visited, UNMARKED)
        if near < 0:
            return CORRUPT
        # On the base, half of the room is kept for links back, as in the paper.
        room, space = graph.upper_width, _rounded(ef)
        for level in range(levels, -1, -1):
            if level == 0:
                status = _beam(query, graph, graph.links, graph.width, 0, near, ef, space, memory)
            else:
                status = _beam(query, graph, graph.upper, room, level, near, ef, space, memory)
            if status < 0:
                return CORRUPT
            have = _count(memory.pool, space)
            _refine(query, graph, memory, have)
            near = _node(memory.refined[0])
            if level == 0:
                links, base = graph.links, node * graph.width
            else:
                links, base = graph.upper, (bottom + level - 1) * room
            _select(graph, own, memory.refined, have, room, links, base, memory.other)
    return OK


@_inner
def link_groups(graph, memory, level, target, source, starts, group_start, group_end, room):
    """Add links from each target back to the sources that chose it; choose anew if too many."""
    pool = memory.pool
    for group in range(group_start, group_end):
        edge, stop = starts[np.uint64(group)], starts[np.uint64(group + 1)]
        node = np.int64(target[np.uint64(edge)])
        row = node if level == 0 else _row(graph, node, level)
        if row < 0 or node >= graph.nodes:
            return CORRUPT
        if level == 0:
            links, width = graph.links, graph.width
        else:
            links, width = graph.upper, graph.upper_width
        base, linked = row * width, np.int64(0)
        while linked < width and links[np.uint64(base + linked)] != NONE:
            linked += 1
        if linked + stop - edge <= width:
            for i in range(edge, stop):
                links[np.uint64(base + linked)] = source[np.uint64(i)]
                linked += 1
            continue
        query = _as_query(graph, node, memory.code)
        for i in range(edge, stop):
            _fetch(graph.high, source[np.uint64(i)], graph.size)
            _fetch(graph.low, source[np.uint64(i)], graph.size)
        have = min(room, linked + stop - edge)
        space = _rounded(have)
        _clear(pool, space)
        for i in range(linked):
            neighbour = links[np.uint64(base + i)]
            if neighbour >= graph.nodes:
                return CORRUPT
            insert_entry(pool, space, _entry(_key(query, graph, neighbour), neighbour))
        for i in range(edge, stop):
            neighbour = source[np.uint64(i)]
            insert_entry(pool, space, _entry(_key(query, graph, neighbour), neighbour))
        own = np.int64(graph.bias[np.uint64(node)])
        linked = _select(graph, own, pool, have, width, links, base, memory.other)
        for i in range(linked, width):
            links[np.uint64(base + i)] = NONE
    return OK


# Exact scores.


@_inner
def _value(vectors, rows, is_half, at):
    if is_half != 0:
        return half_to_double(rows.halves[np.uint64(at)])
    return np.float64(vectors[np.uint64(at)])


@_inner
def _sums(vectors, rows, is_half, base, metric, at, length):
    """Sum terms, and squares of the stored vector, over one step, in NumPy's order.

    Eight running sums, added in pairs, then the rest: `numpy` pairwise summation, to the bit.
    """
    query = rows.wide
    whole = length - length % 8
    if whole == 0:
        terms = squares = np.float64(0.0)
    elif is_half == 0:
        if metric == 2:
            terms, squares = single_distances(vectors, 4 * (base + at), query, 8 * at, whole)
        else:
            terms, squares = single_products(vectors, 4 * (base + at), query, 8 * at, whole)
    elif metric == 2:
        terms, squares = half_distances(rows.halves, 2 * (base + at), query, 8 * at, whole)
    else:
        terms, squares = half_products(rows.halves, 2 * (base + at), query, 8 * at, whole)
    for i in range(at + whole, at + length):
        value, wanted = _value(vectors, rows, is_half, base + i), query[np.uint64(i)]
        if metric == 2:
            terms += (value - wanted) * (value - wanted)
        else:
            terms += value * wanted
            squares += value * value
    return terms, squares


@_inner
def _row_sums(vectors, rows, is_half, base, metric):
    """Sum terms and squares: `rows.steps` says which lengths to sum, and when to add two sums."""
    stack, depth, at = rows.stack, np.int64(0), np.int64(0)
    for i in range(rows.steps_count):
        length = rows.steps[np.uint64(i)]
        if length == 0:
            depth -= 1
            stack[np.uint64(2 * depth - 2)] += stack[np.uint64(2 * depth)]
            stack[np.uint64(2 * depth - 1)] += stack[np.uint64(2 * depth + 1)]
        else:
            products, squares = _sums(vectors, rows, is_half, base, metric, at, length)
            stack[np.uint64(2 * depth)] = products
            stack[np.uint64(2 * depth + 1)] = squares
            depth += 1
            at += length
    return stack[0], stack[1]


@_inner
def _length(rows, query):
    """Return a query's Euclidean length, as `reference.length_of` does; the query is in ``rows.wide``."""
    squares, _ = _row_sums(query, rows, np.int64(0), np.int64(0), np.int64(1))
    return np.sqrt(squares)


@_inner
def _encode(rows, query, length, size, code):
    """Code a query as its vectors were (`Quantizer.encode`, to the bit); return if codes express it.

    They do not if clipping takes too much of it, see `Answers.distances`: counted in whole numbers,
    whose sums do not depend on their order.
    """
    total = np.int32(0)
    kept, lost = np.int64(0), np.int64(0)
    if rows.product != 0:
        largest = TINY
        for i in range(rows.dimension):
            largest = max(largest, abs(query[np.uint64(i)]))
        factor = CODE_MAX / largest
        for i in range(rows.dimension):
            code[np.uint64(i)] = _byte(query[np.uint64(i)] * factor)
    else:
        divisor = max(np.float32(length), TINY) if rows.unit != 0 else np.float32(1.0)
        for i in range(rows.dimension):
            centred = query[np.uint64(i)] / divisor - rows.mean[np.uint64(i)]
            value = centred / rows.scale
            byte = _byte(value)
            beyond = np.int64(_rounded_within(value, WIDE_MAX)) - np.int64(byte)
            code[np.uint64(i)] = byte
            kept += np.int64(byte) * np.int64(byte)
            lost += beyond * beyond
    for i in range(rows.dimension, size):
        code[np.uint64(i)] = np.int8(0)
    for i in range(size):
        total += np.int32(code[np.uint64(i)])
    return Query(code, np.int64(total) << 7), lost * LOST_SHARE <= kept


@_inner
def _byte(value):
    """Return a component as a signed byte."""
    return np.int8(_rounded_within(value, CODE_MAX))


@_inner
def _rounded_within(value, most):
    """Round and clip to -most to most; in comparisons that LLVM vectorises."""
    value = np.rint(value)
    value = most if value > most else value
    value = -most if value < -most else value
    return np.int32(value)


@_inner
def _fetch_row(rows, row):
    """Ask for the beginning of a vector; the processor sees by itself that the rest is wanted."""
    start = np.int64(row) * rows.dimension
    if rows.is_half != 0:
        for i in range(0, min(rows.dimension, FETCHED // 2), 32):
            prefetch(rows.halves, 2 * (start + i))
    else:
        for i in range(0, min(rows.dimension, FETCHED // 4), 16):
            prefetch(rows.vectors, 4 * (start + i))


@_inner
def _only_allowed(rows, question, pool, have):
    """Move the first of the pool whose rows may be returned to its front; return how many."""
    if question.filtered == 0 and rows.has_starts == 0:
        return min(have, question.refine)
    count = np.int64(0)
    for i in range(have):
        if count >= question.refine:
            break
        node = _node(pool[np.uint64(i)])
        if question.filtered != 0 and question.allowed[np.uint64(node)] == 0:
            continue
        if rows.has_starts != 0 and (
            rows.starts[np.uint64(node)] == rows.starts[np.uint64(node + 1)]
        ):
            continue
        pool[np.uint64(count)] = pool[np.uint64(i)]
        count += 1
    return count


@_inner
def _candidates(rows, question, pool, have):
    """List the rows of the closest nodes, at least ``keep`` if there are, all of a node."""
    count = np.int64(0)
    for i in range(have):
        if count >= question.keep:
            break
        node = _node(pool[np.uint64(i)])
        start, end = node, node + 1
        if rows.has_starts != 0:
            start, end = rows.starts[np.uint64(node)], rows.starts[np.uint64(node + 1)]
        for place in range(start, end):
            row = rows.members[np.uint64(place)]
            if row >= rows.count:
                return CORRUPT
            if question.filtered == 0 or question.allowed_rows[np.uint64(row)] != 0:
                _fetch_row(rows, row)
                rows.candidate[np.uint64(count)] = row
                count += 1
    return count


@_inner
def _rescore(rows, length, count):
    """Score candidates exactly and sort them: best first, then the lower row."""
    for i in range(count):
        base = np.int64(rows.candidate[np.uint64(i)]) * rows.dimension
        total, squares = _row_sums(rows.vectors, rows, rows.is_half, base, rows.metric)
        if rows.metric == 2:
            total = 0.0 - np.sqrt(total)  # of 0 not -0.0
        else:
            total += 0.0  # -0.0 becomes 0.0
        if rows.metric == 0:
            total /= np.sqrt(squares) * length
            total = 1.0 if total > 1.0 else total
            total = -1.0 if total < -1.0 else total
        rows.score[np.uint64(i)] = total
    _sort(rows.candidate, rows.score, count)


@_inner
def _sort(candidate, score, count):
    """Sort in place, the best first, then the lower row: Shell's sort with Knuth's gaps.

    Nearly always there are a dozen; but a node may have any number of rows.
    """
    gap = np.int64(1)
    while gap < count // 3:
        gap = 3 * gap + 1
    while gap > 0:
        for i in range(gap, count):
            row, total = candidate[np.uint64(i)], score[np.uint64(i)]
            place = i
            while place >= gap and (
                score[np.uint64(place - gap)] < total
                or (
                    score[np.uint64(place - gap)] == total
                    and candidate[np.uint64(place - gap)] > row
                )
            ):
                score[np.uint64(place)] = score[np.uint64(place - gap)]
                candidate[np.uint64(place)] = candidate[np.uint64(place - gap)]
                place -= gap
            score[np.uint64(place)], candidate[np.uint64(place)] = total, row
        gap //= 3


@_inner
def _emit(rows, count, k, base, answer):
    """Return the k best candidates, of a group only the best."""
    kept = np.int64(0)
    for i in range(count):
        if kept == k:
            break
        row = rows.candidate[np.uint64(i)]
        new = True
        if rows.grouped != 0:
            for j in range(kept):
                other = answer.row[np.uint64(base + j)]
                if rows.groups[np.uint64(other)] == rows.groups[np.uint64(row)]:
                    new = False
                    break
        if new:
            answer.row[np.uint64(base + kept)] = row
            answer.score[np.uint64(base + kept)] = rows.score[np.uint64(i)]
            kept += 1
    for i in range(kept, k):
        answer.row[np.uint64(base + i)] = NONE
        answer.score[np.uint64(base + i)] = -np.inf


@_inner
def answer_queries(graph, memory, rows, question, answer):
    """Find for each query the k best rows: by codes first, then by their vectors."""
    room = _rounded(question.kept)
    for number in range(question.count):
        asked = question.queries[number * rows.dimension : (number + 1) * rows.dimension]
        for i in range(rows.dimension):
            rows.wide[np.uint64(i)] = np.float64(asked[np.uint64(i)])
        length = _length(rows, asked)
        query, is_expressed = _encode(rows, asked, length, graph.size, memory.code)
        status = computed = have = np.int64(0)
        if is_expressed:
            if question.ef == 0:
                computed = question.wanted_count
                status = _scan(query, graph, question.wanted, computed, memory.pool, room)
            else:
                mark = UNMARKED
                if answer.report != 0:
                    mark = _next_stamp(memory.visited, graph.nodes)
                start = _enter(query, graph, 0, memory.visited, mark)
                if start < 0:
                    return CORRUPT
                status = computed = _beam(query, graph, graph.links, graph.width, 0, start,
                                          question.ef, room, memory)  # fmt: skip
            if status < 0:
                return CORRUPT
            have = _only_allowed(rows, question, memory.pool, _count(memory.pool, room))
        _refine(query, graph, memory, have)
        found = _candidates(rows, question, memory.refined, have)
        if found < 0:
            return CORRUPT
        _rescore(rows, length, found)
        _emit(rows, found, question.k, number * question.k, answer)
        answer.distances[np.uint64(number)] = computed
        for i in range(answer.report):
            row = rows.candidate[np.uint64(i)] if i < found else NONE
            answer.reported[np.uint64(number * answer.report + i)] = row
    return OK


# The C faces: a block of words becomes arrays and numbers.

SEARCH, INSERT = signatures.places("search"), signatures.places("insert")
LINK_BACK, ANSWER = signatures.places("link_back"), signatures.places("answer")
WORDS = len(ANSWER)  # of the largest block; an array's length is not checked


@_view
def _graph(words):
    size, nodes = words[ANSWER.size], words[ANSWER.nodes]
    width, upper_width = words[ANSWER.width], words[ANSWER.upper_width]
    first = carray(pointer(words[ANSWER.first]), (nodes + 1,), np.uint32)
    upper_rows = np.int64(first[np.uint64(nodes)])
    return Graph(
        carray(pointer(words[ANSWER.high]), (nodes * (size >> 1),), np.uint8),
        carray(pointer(words[ANSWER.low]), (nodes * (size >> 1),), np.uint8),
        carray(pointer(words[ANSWER.bias]), (nodes,), np.int32),
        size,
        nodes,
        carray(pointer(words[ANSWER.links]), (nodes * width,), np.uint32),
        width,
        carray(pointer(words[ANSWER.upper]), (upper_rows * upper_width,), np.uint32),
        upper_width,
        first,
        words[ANSWER.entry],
    )


@_view
def _memory(words, graph):
    room = words[ANSWER.room]
    return Memory(
        carray(pointer(words[ANSWER.pool]), (room,), np.int64),
        carray(pointer(words[ANSWER.refined]), (room,), np.int64),
        carray(pointer(words[ANSWER.visited]), (graph.nodes + 1,), np.uint8),
        carray(pointer(words[ANSWER.fresh]), (EXPANDED * graph.width,), np.uint32),
        carray(pointer(words[ANSWER.entries]), (EXPANDED * graph.width,), np.int64),
        carray(pointer(words[ANSWER.code]), (graph.size,), np.int8),
        carray(pointer(words[ANSWER.other]), (graph.size,), np.int8),
    )


@_view
def _rows(words, graph, scale):
    count, dimension = words[ANSWER.rows], words[ANSWER.dimension]
    steps, room = words[ANSWER.steps_count], words[ANSWER.candidate_room]
    return Rows(
        carray(pointer(words[ANSWER.vectors]), (count * dimension,), np.float32),
        carray(pointer(words[ANSWER.vectors]), (count * dimension,), np.uint16),
        count,
        dimension,
        words[ANSWER.is_half],
        words[ANSWER.metric],
        carray(pointer(words[ANSWER.steps]), (steps,), np.int64),
        steps,
        carray(pointer(words[ANSWER.members]), (count,), np.uint32),
        carray(pointer(words[ANSWER.starts]), (graph.nodes + 1,), np.int64),
        words[ANSWER.has_starts],
        carray(pointer(words[ANSWER.groups]), (count,), np.uint32),
        words[ANSWER.grouped],
        carray(pointer(words[ANSWER.mean]), (dimension,), np.float32),
        scale,
        words[ANSWER.unit],
        words[ANSWER.product],
        carray(pointer(words[ANSWER.stack]), (signatures.STACK,), np.float64),
        carray(pointer(words[ANSWER.wide]), (dimension,), np.float64),
        carray(pointer(words[ANSWER.candidate]), (room,), np.uint32),
        carray(pointer(words[ANSWER.score]), (room,), np.float64),
    )


@_view
def _question(words, graph, rows):
    count, wanted = words[ANSWER.count], words[ANSWER.wanted_count]
    return Question(
        carray(pointer(words[ANSWER.queries]), (count * rows.dimension,), np.float32),
        count,
        words[ANSWER.ef],
        words[ANSWER.kept],
        words[ANSWER.refine],
        words[ANSWER.keep],
        words[ANSWER.k],
        carray(pointer(words[ANSWER.wanted]), (wanted,), np.uint32),
        wanted,
        carray(pointer(words[ANSWER.allowed]), (graph.nodes,), np.uint8),
        carray(pointer(words[ANSWER.allowed_rows]), (rows.count,), np.uint8),
        words[ANSWER.filtered],
    )


def search(block):
    words = carray(block, (WORDS,), np.int64)
    graph = _graph(words)
    count, ef = words[SEARCH.count], words[SEARCH.ef]
    queries = carray(pointer(words[SEARCH.queries]), (count * graph.size,), np.int8)
    found = carray(pointer(words[SEARCH.found]), (count * ef,), np.uint32)
    return search_graph(graph, _memory(words, graph), queries, count, ef, found)


def insert(block):
    words = carray(block, (WORDS,), np.int64)
    graph = _graph(words)
    start, end, ef = words[INSERT.start], words[INSERT.end], words[INSERT.ef]
    return insert_nodes(graph, _memory(words, graph), start, end, ef)


def link_back(block):
    words = carray(block, (WORDS,), np.int64)
    graph, last = _graph(words), words[LINK_BACK.group_end]
    starts = carray(pointer(words[LINK_BACK.starts]), (last + 1,), np.int64)
    edges = starts[np.uint64(last)]
    return link_groups(
        graph,
        _memory(words, graph),
        words[LINK_BACK.level],
        carray(pointer(words[LINK_BACK.target]), (edges,), np.uint32),
        carray(pointer(words[LINK_BACK.source]), (edges,), np.uint32),
        starts,
        words[LINK_BACK.group_start],
        last,
        words[LINK_BACK.room],
    )


def answer(block):
    words = carray(block, (WORDS,), np.int64)
    reals = carray(block, (WORDS,), np.float64)
    graph = _graph(words)
    rows = _rows(words, graph, np.float32(reals[ANSWER.scale]))
    question = _question(words, graph, rows)
    count, k, report = question.count, question.k, words[ANSWER.report]
    answers = Answer(
        carray(pointer(words[ANSWER.out_row]), (count * k,), np.uint32),
        carray(pointer(words[ANSWER.out_score]), (count * k,), np.float64),
        carray(pointer(words[ANSWER.distances]), (count,), np.int64),
        carray(pointer(words[ANSWER.reported]), (count * report,), np.uint32),
        report,
    )
    return answer_queries(graph, _memory(words, graph), rows, question, answers)
