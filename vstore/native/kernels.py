"""All numba kernels: graph search and building on byte codes, code scan, exact rescoring.

Read by `compiler` alone; nothing else imports numba. A kernel gets C pointers, makes arrays of them
and calls plain functions over arrays, which tests also run with bounds checks.

Distances. A vector is a code of signed bytes around the mean; a query is the same code plus 128, as
unsigned bytes, since the processor's dot product is unsigned times signed. With half[i] half the
squared length of code i and bias[i] = half[i] + 128 sum(code i), the key ``bias[i] - dot(query,
code i)`` is half the squared distance less the query's own share: an integer, so that every
processor and every order of summation agree. For an inner product the half is left out of the bias.

The graph is HNSW (Malkov and Yashunin 2018, arXiv 1603.09320). It departs from the paper:

- a search keeps one sorted pool of at most ef entries, instead of two heaps, and expands its best
  entry that is not yet expanded. It ends where the paper's ends, and its result is sorted.
- entries are one integer: key, node, and a bit that says it was expanded. Ties go to the lower node.
- nodes are inserted in batches. A batch searches the graph as it stood before, all nodes at once,
  and then links back to its members are merged, by target. So the bytes do not depend on threads.
- node 0 stands on every level, so that the entry point never moves.

What a kernel does not check: that pointers and lengths belong together (`index` does that once).
What it checks, because it comes from a file: every neighbour, row of an upper level and entry point
it follows. Loops over links end: a descent gets closer in every step, a pool grows by unvisited
nodes only.
"""

from __future__ import annotations

import numpy as np
from numba import carray, njit

from vstore.native import arrays, signatures
from vstore.native.instructions import (
    dot,
    half_distances,
    half_products,
    half_to_double,
    prefetch,
    single_distances,
    single_products,
)

NONE = np.uint32(arrays.NONE)
LEVELS_MAX = np.int64(arrays.LEVELS_MAX)
TINY = np.finfo(np.float32).tiny  # stands in for a length of 0
CODE_MAX = np.float32(127.0)
OK, CORRUPT = np.int64(signatures.OK), np.int64(signatures.CORRUPT)

_inner = njit(nogil=True, error_model="numpy")


# Codes and entries.


@_inner
def _fetch(codes, node, size):
    start = np.int64(node) * size
    for line in range(0, size, 64):
        prefetch(codes, start + line)


@_inner
def _key(query, codes, bias, size, node):
    return np.int64(bias[np.uint64(node)]) - np.int64(
        dot(query, codes, np.int64(node) * size, size)
    )


@_inner
def _entry(key, node):
    return (key << 32) | (np.int64(node) << 1)


@_inner
def _node(entry):
    return (entry & np.int64(0xFFFFFFFF)) >> 1


@_inner
def _as_query(codes, size, node, query):
    start = np.int64(node) * size
    for i in range(size):
        query[np.uint64(i)] = np.uint8(codes[np.uint64(start + i)]) ^ np.uint8(128)


@_inner
def _insert(pool, count, room, entry):
    """Insert into a sorted pool; return where and the new count, or (room, count) if too far."""
    place = count
    if count == room:
        place -= 1
        if entry >= pool[np.uint64(place)]:
            return room, count
    else:
        count += 1
    while place > 0 and pool[np.uint64(place - 1)] > entry:
        pool[np.uint64(place)] = pool[np.uint64(place - 1)]
        place -= 1
    pool[np.uint64(place)] = entry
    return place, count


# Searching.


@_inner
def _row(first, upper_rows, node, level):
    """Return the row of a node's links on an upper level, CORRUPT if it has none there."""
    row = np.int64(first[np.uint64(node)]) + level - 1
    if row >= np.int64(first[np.uint64(node + 1)]) or row >= upper_rows:
        return CORRUPT
    return row


@_inner
def _descend(query, codes, bias, size, nodes, upper, width, upper_rows, first, level, node):
    """Return the node of an upper level that no neighbour is closer than."""
    best = _key(query, codes, bias, size, node)
    while True:
        row = _row(first, upper_rows, node, level)
        if row < 0:
            return CORRUPT
        start, before = row * width, node
        for i in range(width):
            neighbour = upper[np.uint64(start + i)]
            if neighbour >= nodes:
                if neighbour == NONE:
                    break
                return CORRUPT
            _fetch(codes, neighbour, size)
        for i in range(width):
            neighbour = upper[np.uint64(start + i)]
            if neighbour == NONE:
                break
            key = _key(query, codes, bias, size, neighbour)
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
def _beam(query, codes, bias, size, nodes, links, width, first, upper_rows, level, start, ef, pool,
          visited, fresh):  # fmt: skip
    """Search one level from a node; the pool then holds the ef closest found, ascending.

    Returns how many those are, and how many distances were computed; CORRUPT and 0 for a bad graph.
    """
    stamp = _next_stamp(visited, nodes)
    visited[np.uint64(start)] = stamp
    pool[0] = _entry(_key(query, codes, bias, size, start), start)
    count, at, distances = np.int64(1), np.int64(0), np.int64(1)
    while at < count:
        entry = pool[np.uint64(at)]
        if entry & 1:
            at += 1
            continue
        pool[np.uint64(at)] = entry | 1
        row = _node(entry) if level == 0 else _row(first, upper_rows, _node(entry), level)
        if row < 0:
            return CORRUPT, np.int64(0)
        # Every line of every unvisited neighbour is asked for before the first one is used.
        base, unvisited = row * width, np.int64(0)
        for i in range(width):
            neighbour = links[np.uint64(base + i)]
            if neighbour >= nodes:
                if neighbour == NONE:
                    break
                return CORRUPT, np.int64(0)
            if visited[np.uint64(neighbour)] != stamp:
                visited[np.uint64(neighbour)] = stamp
                _fetch(codes, neighbour, size)
                fresh[np.uint64(unvisited)] = neighbour
                unvisited += 1
        if level == 0 and at + 1 < count:
            following = _node(pool[np.uint64(at + 1)]) * width * 4
            prefetch(links, following)
            prefetch(links, following + 64)
        at += 1
        distances += unvisited
        for i in range(unvisited):
            neighbour = fresh[np.uint64(i)]
            entry = _entry(_key(query, codes, bias, size, neighbour), neighbour)
            if count < ef or entry < pool[np.uint64(count - 1)]:
                place, count = _insert(pool, count, ef, entry)
                at = min(at, place)
    return count, distances


@_inner
def _enter(query, codes, bias, size, nodes, upper, upper_width, first, entry, level):
    """Return the node from which to search a level, found by descending to the level above it."""
    if entry < 0 or entry >= nodes:
        return CORRUPT
    upper_rows = np.int64(first[np.uint64(nodes)])
    node = entry
    top = np.int64(first[np.uint64(entry + 1)]) - np.int64(first[np.uint64(entry)])
    if top > LEVELS_MAX:
        return CORRUPT
    for above in range(top, level, -1):
        node = _descend(query, codes, bias, size, nodes, upper, upper_width, upper_rows, first,
                        above, node)  # fmt: skip
        if node < 0:
            return CORRUPT
    return node


@_inner
def search_graph(codes, bias, size, nodes, links, width, upper, upper_width, first, entry, pool,
                 visited, fresh, queries, count, ef, found):  # fmt: skip
    """Find for each query the ef closest nodes."""
    upper_rows = np.int64(first[np.uint64(nodes)])
    for number in range(count):
        query = queries[number * size : (number + 1) * size]
        start = _enter(query, codes, bias, size, nodes, upper, upper_width, first, entry, 0)
        if start < 0:
            return CORRUPT
        have, _ = _beam(query, codes, bias, size, nodes, links, width, first, upper_rows, 0, start,
                        ef, pool, visited, fresh)  # fmt: skip
        if have < 0:
            return CORRUPT
        for i in range(ef):
            node = np.uint32(_node(pool[np.uint64(i)])) if i < have else NONE
            found[np.uint64(number * ef + i)] = node
    return OK


@_inner
def _scan(query, codes, bias, size, nodes, wanted, wanted_count, pool, room):
    """Score some nodes; the pool then holds the closest of them, ascending. Returns how many."""
    have = np.int64(0)
    for i in range(wanted_count):
        if i + 8 < wanted_count:
            _fetch(codes, min(wanted[np.uint64(i + 8)], np.uint32(nodes - 1)), size)
        node = wanted[np.uint64(i)]
        if node >= nodes:
            return CORRUPT
        entry = _entry(_key(query, codes, bias, size, node), node)
        if have < room or entry < pool[np.uint64(have - 1)]:
            _, have = _insert(pool, have, room, entry)
    return have


# Building.


@_inner
def _select(codes, bias, half, size, own, pool, count, room, links, base, query):
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
            _fetch(codes, _node(pool[np.uint64(i + 1)]), size)
        _as_query(codes, size, candidate, query)
        mine = np.int64(half[np.uint64(candidate)])
        keeps = True
        for j in range(linked):
            other = np.int64(links[np.uint64(base + j)])
            if mine + _key(query, codes, bias, size, other) < distance:
                keeps = False
                break
        if keeps:
            links[np.uint64(base + linked)] = np.uint32(candidate)
            linked += 1
    return linked


@_inner
def insert_nodes(codes, bias, size, nodes, links, width, upper, upper_width, first, entry, pool,
                 visited, fresh, query, other, half, start, end, ef):  # fmt: skip
    """Give nodes start..end their own links, in the graph of the nodes before them."""
    upper_rows = np.int64(first[np.uint64(nodes)])
    for node in range(start, end):
        _as_query(codes, size, node, query)
        own = np.int64(half[np.uint64(node)])
        levels = np.int64(first[np.uint64(node + 1)]) - np.int64(first[np.uint64(node)])
        near = _enter(query, codes, bias, size, nodes, upper, upper_width, first, entry, levels)
        if near < 0:
            return CORRUPT
        for level in range(levels, -1, -1):
            if level == 0:
                have, _ = _beam(query, codes, bias, size, nodes, links, width, first, upper_rows,
                                level, near, ef, pool, visited, fresh)  # fmt: skip
            else:
                have, _ = _beam(query, codes, bias, size, nodes, upper, upper_width, first,
                                upper_rows, level, near, ef, pool, visited, fresh)  # fmt: skip
            if have < 0:
                return CORRUPT
            near = _node(pool[0])
            if level == 0:
                # Half of the room, as in the paper: the rest is for links back.
                _select(codes, bias, half, size, own, pool, have, upper_width, links,
                        node * width, other)  # fmt: skip
            else:
                row = np.int64(first[np.uint64(node)]) + level - 1
                _select(codes, bias, half, size, own, pool, have, upper_width, upper,
                        row * upper_width, other)  # fmt: skip
    return OK


@_inner
def link_groups(codes, bias, size, nodes, links, width, first, upper_rows, level, pool, query,
                other, half, target, source, starts, group_start, group_end, room):  # fmt: skip
    """Add links from each target back to the sources that chose it; choose anew if too many."""
    for group in range(group_start, group_end):
        edge, stop = starts[np.uint64(group)], starts[np.uint64(group + 1)]
        node = np.int64(target[np.uint64(edge)])
        row = node if level == 0 else _row(first, upper_rows, node, level)
        if row < 0 or node >= nodes:
            return CORRUPT
        base, linked = row * width, np.int64(0)
        while linked < width and links[np.uint64(base + linked)] != NONE:
            linked += 1
        if linked + stop - edge <= width:
            for i in range(edge, stop):
                links[np.uint64(base + linked)] = source[np.uint64(i)]
                linked += 1
            continue
        _as_query(codes, size, node, query)
        for i in range(edge, stop):
            _fetch(codes, source[np.uint64(i)], size)
        have = np.int64(0)
        for i in range(linked):
            neighbour = links[np.uint64(base + i)]
            if neighbour >= nodes:
                return CORRUPT
            _, have = _insert(pool, have, room,
                              _entry(_key(query, codes, bias, size, neighbour), neighbour))  # fmt: skip
        for i in range(edge, stop):
            neighbour = source[np.uint64(i)]
            _, have = _insert(pool, have, room,
                              _entry(_key(query, codes, bias, size, neighbour), neighbour))  # fmt: skip
        linked = _select(codes, bias, half, size, np.int64(half[np.uint64(node)]), pool, have,
                         width, links, base, other)  # fmt: skip
        for i in range(linked, width):
            links[np.uint64(base + i)] = NONE
    return OK


# Exact scores.


@_inner
def _value(vectors, halves, is_half, at):
    if is_half != 0:
        return half_to_double(halves[np.uint64(at)])
    return np.float64(vectors[np.uint64(at)])


@_inner
def _sums(vectors, halves, is_half, base, metric, query, at, length):
    """Sum terms, and squares of the stored vector, over one step, in NumPy's order.

    Eight running sums, added in pairs, then the rest: `numpy` pairwise summation, to the bit.
    """
    whole = length - length % 8
    if whole == 0:
        terms = squares = np.float64(0.0)
    elif is_half == 0:
        if metric == 2:
            terms, squares = single_distances(vectors, 4 * (base + at), query, 8 * at, whole)
        else:
            terms, squares = single_products(vectors, 4 * (base + at), query, 8 * at, whole)
    elif metric == 2:
        terms, squares = half_distances(halves, 2 * (base + at), query, 8 * at, whole)
    else:
        terms, squares = half_products(halves, 2 * (base + at), query, 8 * at, whole)
    for i in range(at + whole, at + length):
        value, wanted = _value(vectors, halves, is_half, base + i), query[np.uint64(i)]
        if metric == 2:
            terms += (value - wanted) * (value - wanted)
        else:
            terms += value * wanted
            squares += value * value
    return terms, squares


@_inner
def _row_sums(vectors, halves, is_half, base, metric, query, steps, steps_count, stack):
    """Sum a row's terms and squares: `steps` says which lengths to sum, and when to add two sums."""
    depth, at = np.int64(0), np.int64(0)
    for i in range(steps_count):
        length = steps[np.uint64(i)]
        if length == 0:
            depth -= 1
            stack[np.uint64(2 * depth - 2)] += stack[np.uint64(2 * depth)]
            stack[np.uint64(2 * depth - 1)] += stack[np.uint64(2 * depth + 1)]
        else:
            products, squares = _sums(vectors, halves, is_half, base, metric, query, at, length)
            stack[np.uint64(2 * depth)] = products
            stack[np.uint64(2 * depth + 1)] = squares
            depth += 1
            at += length
    return stack[0], stack[1]


@_inner
def _encode(query, dimension, mean, scale, unit, product, length, code):
    """Code a query as its vectors were, plus 128; `Quantizer.encode_queries`, to the bit."""
    if product != 0:
        largest = TINY
        for i in range(dimension):
            largest = max(largest, abs(query[np.uint64(i)]))
        factor = CODE_MAX / largest
        for i in range(dimension):
            code[np.uint64(i)] = _byte(query[np.uint64(i)] * factor)
        return
    divisor = max(np.float32(length), TINY) if unit != 0 else np.float32(1.0)
    for i in range(dimension):
        code[np.uint64(i)] = _byte((query[np.uint64(i)] / divisor - mean[np.uint64(i)]) / scale)


@_inner
def _byte(value):
    """Round and clip to -127 to 127, plus 128; in comparisons that LLVM vectorises."""
    value = np.rint(value)
    value = CODE_MAX if value > CODE_MAX else value
    value = -CODE_MAX if value < -CODE_MAX else value
    return np.uint8(np.int32(value) + np.int32(128))


@_inner
def _fetch_row(vectors, halves, is_half, dimension, row):
    start = np.int64(row) * dimension
    if is_half != 0:
        for i in range(0, dimension, 32):
            prefetch(halves, 2 * (start + i))
    else:
        for i in range(0, dimension, 16):
            prefetch(vectors, 4 * (start + i))


@_inner
def _candidates(pool, have, keep, members, starts, has_starts, rows, allowed, allowed_rows,
                filtered, vectors, halves, is_half, dimension, candidate):  # fmt: skip
    """List the rows of the closest allowed nodes, at least ``keep`` if there are, all of a node."""
    count = np.int64(0)
    for i in range(have):
        if count >= keep:
            break
        node = _node(pool[np.uint64(i)])
        if filtered != 0 and allowed[np.uint64(node)] == 0:
            continue
        start, end = node, node + 1
        if has_starts != 0:
            start, end = starts[np.uint64(node)], starts[np.uint64(node + 1)]
        for place in range(start, end):
            row = members[np.uint64(place)]
            if row >= rows:
                return CORRUPT
            if filtered == 0 or allowed_rows[np.uint64(row)] != 0:
                _fetch_row(vectors, halves, is_half, dimension, row)
                candidate[np.uint64(count)] = row
                count += 1
    return count


@_inner
def _rescore(vectors, halves, is_half, dimension, metric, steps, steps_count, stack, wide, length,
             candidate, score, count):  # fmt: skip
    """Score candidates exactly and sort them: best first, then the lower row."""
    for i in range(count):
        row = candidate[np.uint64(i)]
        total, squares = _row_sums(vectors, halves, is_half, np.int64(row) * dimension, metric,
                                   wide, steps, steps_count, stack)  # fmt: skip
        if metric == 0:
            total /= np.sqrt(squares) * length
        elif metric == 2:
            total = -np.sqrt(total)
        score[np.uint64(i)] = total
    _sort(candidate, score, count)


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
def _emit(candidate, score, count, groups, grouped, k, base, out_row, out_score):
    """Return the k best candidates, of a group only the best."""
    kept = np.int64(0)
    for i in range(count):
        if kept == k:
            break
        row = candidate[np.uint64(i)]
        new = True
        if grouped != 0:
            for j in range(kept):
                if groups[np.uint64(out_row[np.uint64(base + j)])] == groups[np.uint64(row)]:
                    new = False
                    break
        if new:
            out_row[np.uint64(base + kept)] = row
            out_score[np.uint64(base + kept)] = score[np.uint64(i)]
            kept += 1
    for i in range(kept, k):
        out_row[np.uint64(base + i)] = NONE
        out_score[np.uint64(base + i)] = -np.inf


@_inner
def answer_queries(codes, bias, size, nodes, links, width, upper, upper_width, first, entry, pool,
                   visited, fresh, code, vectors, halves, rows, dimension, is_half, metric, steps,
                   steps_count, members, starts, has_starts, groups, grouped, mean, scale, unit,
                   product, stack, wide, candidate, score, queries, count, ef, wanted, wanted_count,
                   allowed, allowed_rows, filtered, keep, k, out_row, out_score, distances, reported,
                   report):  # fmt: skip
    """Find for each query the k best rows: by codes first, then by their vectors."""
    upper_rows = np.int64(first[np.uint64(nodes)])
    for i in range(dimension, size):
        code[np.uint64(i)] = np.uint8(128)
    for number in range(count):
        query = queries[number * dimension : (number + 1) * dimension]
        for i in range(dimension):
            wide[np.uint64(i)] = np.float64(query[np.uint64(i)])
        squares, _ = _row_sums(queries, halves, 0, number * dimension, 1, wide, steps, steps_count,
                               stack)  # fmt: skip
        length = np.sqrt(squares)
        _encode(query, dimension, mean, scale, unit, product, length, code)
        if ef == 0:
            computed = wanted_count
            have = _scan(code, codes, bias, size, nodes, wanted, wanted_count, pool, keep)
        else:
            start = _enter(code, codes, bias, size, nodes, upper, upper_width, first, entry, 0)
            if start < 0:
                return CORRUPT
            have, computed = _beam(code, codes, bias, size, nodes, links, width, first, upper_rows,
                                   0, start, ef, pool, visited, fresh)  # fmt: skip
        if have < 0:
            return CORRUPT
        found = _candidates(pool, have, keep, members, starts, has_starts, rows, allowed,
                            allowed_rows, filtered, vectors, halves, is_half, dimension,
                            candidate)  # fmt: skip
        if found < 0:
            return CORRUPT
        _rescore(vectors, halves, is_half, dimension, metric, steps, steps_count, stack, wide,
                 length, candidate, score, found)  # fmt: skip
        _emit(candidate, score, found, groups, grouped, k, number * k, out_row, out_score)
        distances[np.uint64(number)] = computed
        for i in range(report):
            row = candidate[np.uint64(i)] if i < found else NONE
            reported[np.uint64(number * report + i)] = row
    return OK


# The C faces: pointers become arrays.


def search(codes, bias, size, nodes, links, width, upper, upper_width, first, entry,
           pool, visited, fresh, spare, queries, count, ef, found):  # fmt: skip
    firsts = carray(first, (nodes + 1,))
    return search_graph(
        carray(codes, (nodes * size,)), carray(bias, (nodes,)), size, nodes,
        carray(links, (nodes * width,)), width,
        carray(upper, (np.int64(firsts[np.uint64(nodes)]) * upper_width,)), upper_width, firsts,
        entry, carray(pool, (ef + 1,)), carray(visited, (nodes + 1,)), carray(fresh, (width,)),
        carray(queries, (count * size,)), count, ef, carray(found, (count * ef,)),
    )  # fmt: skip


def insert(codes, bias, size, nodes, links, width, upper, upper_width, first, entry,
           pool, visited, fresh, spare,
           half, start, end, ef):  # fmt: skip
    firsts = carray(first, (nodes + 1,))
    spares = carray(spare, (2 * size,))
    return insert_nodes(
        carray(codes, (nodes * size,)), carray(bias, (nodes,)), size, nodes,
        carray(links, (nodes * width,)), width,
        carray(upper, (np.int64(firsts[np.uint64(nodes)]) * upper_width,)), upper_width, firsts, entry,
        carray(pool, (ef + 1,)), carray(visited, (nodes + 1,)), carray(fresh, (width,)),
        spares[:size], spares[size:], carray(half, (nodes,)), start, end, ef,
    )  # fmt: skip


def link_back(codes, bias, size, nodes, links, width, upper, upper_width, first, entry,
              pool, visited, fresh, spare,
              half, level, target, source, starts, group_start, group_end, room):  # fmt: skip
    firsts = carray(first, (nodes + 1,))
    upper_rows = np.int64(firsts[np.uint64(nodes)])
    spares = carray(spare, (2 * size,))
    pointers = starts
    groups = carray(pointers, (group_end + 1,))
    edges = groups[np.uint64(group_end)]
    if level == 0:
        level_links, level_width = carray(links, (nodes * width,)), width
    else:
        level_links, level_width = carray(upper, (upper_rows * upper_width,)), upper_width
    return link_groups(
        carray(codes, (nodes * size,)), carray(bias, (nodes,)), size, nodes, level_links, level_width,
        firsts, upper_rows, level, carray(pool, (room,)), spares[:size], spares[size:],
        carray(half, (nodes,)), carray(target, (edges,)), carray(source, (edges,)), groups,
        group_start, group_end, room,
    )  # fmt: skip


def answer(codes, bias, size, nodes, links, width, upper, upper_width, first, entry,
           pool, visited, fresh, spare,
           vectors, rows, dimension, is_half, metric, steps, steps_count, members, starts,
           has_starts, groups, grouped, mean, scale, unit, product,
           stack, wide, candidate, score,
           queries, count, ef, wanted, wanted_count, allowed, allowed_rows, filtered, keep, k,
           out_row, out_score, distances, reported, report):  # fmt: skip
    firsts = carray(first, (nodes + 1,))
    return answer_queries(
        carray(codes, (nodes * size,)), carray(bias, (nodes,)), size, nodes,
        carray(links, (nodes * width,)), width,
        carray(upper, (np.int64(firsts[np.uint64(nodes)]) * upper_width,)), upper_width, firsts,
        entry, carray(pool, (max(ef, keep) + 1,)), carray(visited, (nodes + 1,)),
        carray(fresh, (width,)), carray(spare, (size,)),
        carray(vectors, (rows * dimension,), np.float32),
        carray(vectors, (rows * dimension,), np.uint16),
        rows, dimension, is_half, metric, carray(steps, (steps_count,)), steps_count,
        carray(members, (rows,)), carray(starts, (nodes + 1,)), has_starts,
        carray(groups, (rows,)), grouped, carray(mean, (dimension,)), scale, unit, product,
        carray(stack, (signatures.STACK,)), carray(wide, (dimension,)),
        carray(candidate, (rows,)), carray(score, (rows,)), carray(queries, (count * dimension,)),
        count, ef, carray(wanted, (wanted_count,)), wanted_count, carray(allowed, (nodes,)),
        carray(allowed_rows, (rows,)), filtered, keep, k, carray(out_row, (count * k,)),
        carray(out_score, (count * k,)), carray(distances, (count,)),
        carray(reported, (count * report,)), report,
    )  # fmt: skip
