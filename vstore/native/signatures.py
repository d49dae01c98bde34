"""The kernels' names and C signatures: what is compiled, found by the loader, and called.

A pointer is written with a star: ``u8*``. Every kernel returns a status as i64: `OK`, or `CORRUPT`
for a graph that contradicts itself. None of them allocates, raises, or writes outside its outputs.
"""

from __future__ import annotations

from typing import Final

OK: Final = 0
CORRUPT: Final = -1
STACK: Final = 64  # partial sums: two for each halving of the dimension, 65,535 needs 20

# A graph is always passed as these, in this order (`index.graph.Graph`).
GRAPH: Final = (
    "i8*",  # codes (nodes, size)
    "i32*",  # bias (nodes,)
    "i64",  # size: bytes of a code, a multiple of 64
    "i64",  # nodes
    "u32*",  # links (nodes, width)
    "i64",  # width
    "u32*",  # upper (upper_rows, upper_width)
    "i64",  # upper_width
    "u32*",  # first (nodes + 1,): row of each node's level 1 in upper
    "i64",  # entry point
)
# Memory of one thread, in this order (`index.graph.Scratch`).
SCRATCH: Final = (
    "i64*",  # pool (ef + 1,)
    "u8*",  # visited (nodes + 1,); the last is the stamp of the latest search
    "u32*",  # fresh (width,)
    "u8*",  # two codes (2, size)
)

SIGNATURES: Final[dict[str, tuple[str, ...]]] = {
    "search": (
        *GRAPH,
        *SCRATCH,
        "u8*",  # queries (count, size)
        "i64",  # count
        "i64",  # ef
        "u8*",  # allowed (nodes,), read if the next is not 0
        "i64",  # filtered
        "u32*",  # found (count, keep): nodes, best first, NONE behind the last
        "i64",  # keep
        "i64*",  # counters (count, 2): distances computed, allowed nodes in the pool
    ),
    "insert": (
        *GRAPH,
        *SCRATCH,
        "i32*",  # half (nodes,)
        "i64",  # start
        "i64",  # end: nodes start..end get their own links, upper and base
        "i64",  # ef_construction
    ),
    "link_back": (
        *GRAPH,
        *SCRATCH,
        "i32*",  # half (nodes,)
        "i64",  # level
        "u32*",  # target (edges,), ascending
        "u32*",  # source (edges,)
        "i64*",  # starts (groups + 1,): edges of one target
        "i64",  # group_start
        "i64",  # group_end
        "i64",  # room of the pool
    ),
    "scan_codes": (
        "i8*",  # codes (nodes, size)
        "i32*",  # bias (nodes,)
        "i64",  # size
        "u32*",  # wanted (count,): nodes to score
        "i64",  # wanted_count
        "i64",  # nodes
        "u8*",  # queries (count, size)
        "i64",  # count
        "i64*",  # pool (keep,)
        "u32*",  # found (count, keep)
        "i64",  # keep
    ),
    "rescore": (
        "void*",  # vectors (rows, dimension), f32 or f16
        "i64",  # rows
        "i64",  # dimension
        "i64",  # 1 if f16
        "i64",  # metric: 0 cosine, 1 inner product, 2 l2
        "i64*",  # steps of the summation (`index.rescoring.summation_steps`)
        "i64",  # steps_count
        "f64*",  # stack of partial sums (STACK,)
        "f64*",  # queries (count, dimension)
        "f64*",  # lengths (count,): of the queries, for cosine
        "i64",  # count
        "u32*",  # row (count, keep), sorted in place, best first; NONE behind the last
        "f64*",  # score (count, keep)
        "i64",  # keep
    ),
}
