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
        "u32*",  # found (count, ef): nodes, closest first, NONE behind the last
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
    "answer": (
        *GRAPH,
        *SCRATCH,
        # The rows of the segment (`arrays.Rows`).
        "void*",  # vectors (rows, dimension), f32 or f16
        "i64",  # rows
        "i64",  # dimension
        "i64",  # 1 if f16
        "i64",  # metric: 0 cosine, 1 inner product, 2 l2
        "i64*",  # steps of the summation (`arrays.summation_steps`)
        "i64",  # steps_count
        "u32*",  # members (rows,): rows by node
        "i64*",  # starts (nodes + 1,): where each node's begin
        "i64",  # 0 if there are no starts: each node has one row
        "u32*",  # groups (rows,)
        "i64",  # 1 to return one row of a group only
        # How vectors became codes (`index.quantizer.Quantizer`).
        "f32*",  # mean (dimension,)
        "f32",  # scale
        "i64",  # 1 if vectors were scaled to length 1
        "i64",  # 1 for the product space
        # Memory (`arrays.AnswerScratch`).
        "f64*",  # stack of partial sums (STACK,)
        "f64*",  # wide (dimension,): a query
        "u32*",  # candidate (room,)
        "f64*",  # score of each candidate (room,)
        # The questions.
        "f32*",  # queries (count, dimension)
        "i64",  # count
        "i64",  # ef; 0 to score the wanted nodes instead
        "u32*",  # wanted nodes (wanted_count,)
        "i64",  # wanted_count
        "u8*",  # allowed nodes (nodes,), read if the one after next is not 0
        "u8*",  # allowed rows (rows,), likewise
        "i64",  # filtered
        "i64",  # keep: candidates to score
        "i64",  # k
        "u32*",  # row (count, k), NONE behind the last
        "f64*",  # score (count, k), best first
        "i64*",  # distances (count,)
        "u32*",  # candidates scored (count, report), NONE behind the last
        "i64",  # report; 0 to leave them out
    ),
}
