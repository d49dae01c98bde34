"""What kernels work on: a graph's arrays, checked once, and the memory that a search needs."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, Final

import numpy as np

from vstore.native.signatures import STACK

if TYPE_CHECKING:
    from vstore.types import Array

NONE: Final = 0xFFFFFFFF  # no node: fills the rest of a list
CODE_ALIGNMENT: Final = 64  # bytes: a cache line, and the widest dot product
LEVELS_MAX: Final = 8  # above the base; with M = 16 the eighth is for four billion nodes
NODES_MAX: Final = 2**31 - 2  # an entry of a pool has 31 bits for its node
WIDTH_MAX: Final = 512  # links of a node
METRICS: Final = {"cosine": 0, "inner_product": 1, "l2": 2}
_PAIRWISE_MAX: Final = 128  # elements that NumPy sums without halving


@dataclass(frozen=True, eq=False)
class GraphArrays:
    """A navigable graph over byte codes (`format-spec.md`, "Graph").

    Attributes
    ----------
    codes : int8 (nodes, size)
        ``size`` is a multiple of 64.
    bias : int32 (nodes,)
    links : uint32 (nodes, width)
        Neighbours on the base level, then NONE.
    upper : uint32 (rows, upper_width)
        Neighbours on the levels above; a node has one row for each.
    first : uint32 (nodes + 1,)
        Row in ``upper`` of each node's level 1, and the number of rows.
    entry : int
        Node where a search begins.

    Raises
    ------
    ValueError
        Shapes or dtypes do not belong together. Contents are checked by the kernels as they go.
    """

    codes: Array
    bias: Array
    links: Array
    upper: Array
    first: Array
    entry: int

    def __post_init__(self) -> None:
        for name, dtype, dimensions in (
            ("codes", np.int8, 2),
            ("bias", np.int32, 1),
            ("links", np.uint32, 2),
            ("upper", np.uint32, 2),
            ("first", np.uint32, 1),
        ):
            array = getattr(self, name)
            if array.dtype != dtype or array.ndim != dimensions or not array.flags.c_contiguous:
                raise ValueError(f"graph: {name} is {array.dtype} {array.shape}")
        nodes, size = self.codes.shape
        rows = int(self.first[-1]) if len(self.first) else 0
        if not (
            0 < nodes <= NODES_MAX
            and size > 0
            and size % CODE_ALIGNMENT == 0
            and len(self.bias) == len(self.links) == nodes
            and len(self.first) == nodes + 1
            and len(self.upper) == rows
            and 0 < self.links.shape[1] <= WIDTH_MAX
            and 0 < self.upper.shape[1] <= self.links.shape[1]
            and 0 <= self.entry < nodes
        ):
            raise ValueError("graph: arrays of different graphs")

    @property
    def nodes(self) -> int:
        """Number of nodes."""
        return len(self.codes)

    @property
    def size(self) -> int:
        """Bytes of a code."""
        return int(self.codes.shape[1])

    @cached_property
    def arguments(self) -> tuple[int, ...]:
        """The graph as kernels take it (`signatures.GRAPH`); the arrays must stay alive."""
        return (
            address(self.codes),
            address(self.bias),
            self.size,
            self.nodes,
            address(self.links),
            int(self.links.shape[1]),
            address(self.upper),
            int(self.upper.shape[1]),
            address(self.first),
            self.entry,
        )


@lru_cache(maxsize=64)
def summation_steps(dimension: int) -> Array:
    """Return the order in which NumPy sums a row: lengths to sum, 0 to add the last two sums.

    Examples
    --------
    >>> summation_steps(128).tolist(), summation_steps(300).tolist()
    ([128], [72, 72, 0, 72, 84, 0, 0])
    """
    return np.array(_steps(dimension), np.int64)


def _steps(count: int) -> list[int]:
    if count <= _PAIRWISE_MAX:
        return [count]
    half = count // 2
    half -= half % 8
    return [*_steps(half), *_steps(count - half), 0]


@dataclass(frozen=True, eq=False)
class Rows:
    """The rows that a graph's nodes stand for, and how they became codes.

    Attributes
    ----------
    vectors : float32 or float16 (rows, dimension)
    metric : {"cosine", "inner_product", "l2"}
    members : uint32 (at most rows,)
        Rows by node.
    starts : int64 (nodes + 1,) or None
        Where each node's rows begin; None if each has one.
    groups : uint32 (rows,) or None
        Of rows with the same number only the best is returned.
    mean : float32 (dimension,)
    scale : float
    unit, product : bool
        See `index.quantizer.Quantizer`.
    """

    vectors: Array
    metric: str
    members: Array
    starts: Array | None
    groups: Array | None
    mean: Array
    scale: float
    unit: bool
    product: bool

    @cached_property
    def largest_node(self) -> int:
        """Most rows that a node has."""
        return 1 if self.starts is None else int(np.diff(self.starts).max(initial=1))

    @cached_property
    def arguments(self) -> tuple[int | float, ...]:
        """The rows as kernels take them; the arrays must stay alive."""
        steps = summation_steps(self.vectors.shape[1])
        return (
            address(self.vectors),
            len(self.vectors),
            self.vectors.shape[1],
            self.vectors.dtype == np.float16,
            METRICS[self.metric],
            address(steps),
            len(steps),
            address(self.members),
            0 if self.starts is None else address(self.starts),
            self.starts is not None,
            0 if self.groups is None else address(self.groups),
            self.groups is not None,
            address(self.mean),
            self.scale,
            self.unit,
            self.product,
        )


class Scratch:
    """Memory of one thread that searches or builds graphs of up to some size."""

    def __init__(self, nodes: int, size: int, ef: int, *, edges: int = 0) -> None:
        self.ef = ef
        self.room = max(ef + 1, WIDTH_MAX + edges)
        self.pool = np.zeros(self.room, np.int64)
        self.visited = np.zeros(nodes + 1, np.uint8)
        self.fresh = np.zeros(WIDTH_MAX, np.uint32)
        self.spare = np.zeros((2, size), np.uint8)
        arrays = (self.pool, self.visited, self.fresh, self.spare)
        self.arguments = tuple(address(array) for array in arrays)


class AnswerScratch:
    """Memory of one thread that answers queries."""

    def __init__(self, graph: GraphArrays, rows: Rows, ef: int, keep: int) -> None:
        self.rows = rows
        self.ef = max(ef, keep)
        self.keep = keep
        self.search = Scratch(graph.nodes, graph.size, self.ef)
        room = self.room = keep + rows.largest_node
        self.stack = np.zeros(STACK)
        self.wide = np.zeros(rows.vectors.shape[1])
        self.candidate = np.zeros(room, np.uint32)
        self.score = np.zeros(room)
        own = (self.stack, self.wide, self.candidate, self.score)
        self.arguments = (
            *graph.arguments,
            *self.search.arguments,
            *rows.arguments,
            *(address(array) for array in own),
        )


def address(array: Array) -> int:
    """Return where an array's first element is."""
    data: int = array.__array_interface__["data"][0]
    return data
