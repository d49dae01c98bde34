"""What kernels are passed: one block of 64-bit words, whose layout this is.

Every kernel is a C function of the block's address that returns a status as i64: `OK`, or `CORRUPT`
for a graph that contradicts itself. One argument, since sixty cost seven microseconds to convert.
A name with a star is the address of an array; a name with a tilde is a float64; all else is i64.
None of the kernels allocates, raises, or writes outside its outputs.
"""

from __future__ import annotations

from collections import namedtuple
from typing import Final

OK: Final = 0
CORRUPT: Final = -1
STACK: Final = 64  # partial sums: two for each halving of the dimension, 65,535 needs 20

# A graph (`arrays.GraphArrays`).
GRAPH: Final = (
    "high*",  # u8 (nodes, size / 2): high halves of codes
    "low*",  # u8 (nodes, size / 2): low halves
    "bias*",  # i32 (nodes,)
    "size",  # bytes of a code, a multiple of 128
    "nodes",
    "links*",  # u32 (nodes, width)
    "width",
    "upper*",  # u32 (upper rows, upper_width)
    "upper_width",
    "first*",  # u32 (nodes + 1,): row of each node's level 1 in upper
    "entry",
)
# Memory of one thread (`arrays.Scratch`).
SCRATCH: Final = (
    "room",  # of both pools, a multiple of 8
    "pool*",  # i64 (room,)
    "refined*",  # i64 (room,)
    "visited*",  # u8 (nodes + 1,); the last is the stamp of the latest search
    "fresh*",  # u32 (EXPANDED width,)
    "entries*",  # i64 (EXPANDED width,)
    "code*",  # i8 (size,)
    "other*",  # i8 (size,)
)
# The rows of the segment, and how vectors became codes (`arrays.Rows`, `index.quantizer`).
ROWS: Final = (
    "vectors*",  # (rows, dimension), f32 or f16
    "rows",
    "dimension",
    "is_half",  # 1 if f16
    "metric",  # 0 cosine, 1 inner product, 2 l2
    "steps*",  # i64: steps of the summation (`arrays.summation_steps`)
    "steps_count",
    "members*",  # u32 (rows,): rows by node
    "starts*",  # i64 (nodes + 1,): where each node's begin
    "has_starts",  # 0 if there are none: each node has one row
    "groups*",  # u32 (rows,)
    "grouped",  # 1 to return one row of a group only
    "mean*",  # f32 (dimension,)
    "scale~",
    "unit",  # 1 if vectors were scaled to length 1
    "product",  # 1 for the product space
    "stack*",  # f64 (STACK,): partial sums
    "wide*",  # f64 (dimension,): a query
    "candidate_room",
    "candidate*",  # u32 (candidate_room,)
    "score*",  # f64 (candidate_room,): of each candidate
)
QUESTION: Final = (
    "queries*",  # f32 (count, dimension)
    "count",
    "ef",  # 0 to score the wanted nodes instead
    "kept",  # nodes of the pool, at least ef
    "refine",  # of them, those whose low halves are looked at
    "keep",  # candidates to score with their vectors
    "k",
    "wanted*",  # u32 (wanted_count,): nodes
    "wanted_count",
    "allowed*",  # u8 (nodes,), read if `filtered` is not 0
    "allowed_rows*",  # u8 (rows,), likewise
    "filtered",
    "out_row*",  # u32 (count, k), NONE behind the last
    "out_score*",  # f64 (count, k), best first
    "distances*",  # i64 (count,)
    "reported*",  # u32 (count, report): candidates scored, NONE behind the last
    "report",  # 0 to leave them out
)

LAYOUTS: Final[dict[str, tuple[str, ...]]] = {
    "search": (
        *GRAPH,
        *SCRATCH,
        "queries*",  # i8 (count, size)
        "count",
        "ef",
        "found*",  # u32 (count, ef): nodes, closest first, NONE behind the last
    ),
    "insert": (*GRAPH, *SCRATCH, "start", "end", "ef"),  # nodes start..end get their own links
    "link_back": (
        *GRAPH,
        *SCRATCH,
        "level",
        "target*",  # u32 (edges,), ascending
        "source*",  # u32 (edges,)
        "starts*",  # i64 (groups + 1,): edges of one target
        "group_start",
        "group_end",
    ),
    "answer": (*GRAPH, *SCRATCH, *ROWS, *QUESTION),
}


def places(kernel: str) -> tuple[int, ...]:
    """Return the place of each word of a kernel's block, by its name."""
    names = [name.rstrip("*~") for name in LAYOUTS[kernel]]
    return namedtuple("Places", names)(*range(len(names)))
