"""What kernels work on: a graph's arrays, checked once, and the memory that a search needs."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Final

import numpy as np

from vstore.cached import cached_property
from vstore.native.signatures import LAYOUTS, QUESTION, STACK

if TYPE_CHECKING:
    from vstore.native.calls import SingleQuery
    from vstore.types import Array

NONE: Final = 0xFFFFFFFF  # no node: fills the rest of a list
CODE_ALIGNMENT: Final = 128  # bytes: a cache line of each plane, and the widest dot product
LEVELS_MAX: Final = 8  # above the base; with M = 16 the eighth is for four billion nodes
NODES_MAX: Final = 2**31 - 2  # an entry of a pool has 31 bits for its node
WIDTH_MAX: Final = 512  # links of a node
_STAMPS: Final = 256
EXPANDED: Final = 2  # nodes of a pool at once
# Codes express a query of which clipping takes at most 1 / LOST_SHARE of its squared length. Where
# it takes more, graphs that promise recall 0.95 were seen to find 0.93 to 0.78, and less the more
# it takes. Of a graph's own rows 1 in 100 at most loses as much.
LOST_SHARE: Final = 64
WIDE_MAX: Final = 4_096  # the largest component that is looked at, in steps of a code
METRICS: Final = {"cosine": 0, "inner_product": 1, "l2": 2}
_PACKED: Final = 4_096  # codes at once
ALL: Final = slice(None)
_PAIRWISE_MAX: Final = 128  # elements that NumPy sums without halving


class GraphArrays:
    """A navigable graph over byte codes (`format-spec.md`, "Graph").

    Attributes
    ----------
    high, low : uint8 (nodes, size / 2)
        Halves of codes (`pack`); ``size``, bytes of a code, is a multiple of 128.
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

    def __init__(  # noqa: PLR0917 - in the order of `signatures.GRAPH`
        self,
        high: Array,
        low: Array,
        bias: Array,
        links: Array,
        upper: Array,
        first: Array,
        entry: int,
    ) -> None:
        self.high, self.low, self.bias = high, low, bias
        self.links, self.upper, self.first = links, upper, first
        self.entry = entry
        self._check()

    def _check(self) -> None:
        for name, dtype, dimensions in (
            ("high", np.uint8, 2),
            ("low", np.uint8, 2),
            ("bias", np.int32, 1),
            ("links", np.uint32, 2),
            ("upper", np.uint32, 2),
            ("first", np.uint32, 1),
        ):
            array = getattr(self, name)
            if array.dtype != dtype or array.ndim != dimensions or not array.flags.c_contiguous:
                raise ValueError(f"graph: {name} is {array.dtype} {array.shape}")
        nodes, size = len(self.high), self.size
        rows = int(self.first[-1]) if len(self.first) else 0
        if not (
            0 < nodes <= NODES_MAX
            and size > 0
            and size % CODE_ALIGNMENT == 0
            and self.low.shape == self.high.shape
            and len(self.bias) == len(self.links) == nodes
            and len(self.first) == nodes + 1
            and len(self.upper) == rows
            and 0 < self.links.shape[1] <= WIDTH_MAX
            and 0 < self.upper.shape[1] <= self.links.shape[1]
            and 0 <= self.entry < nodes
        ):
            raise ValueError("graph: arrays of different graphs")

    def with_bias(self, bias: Array) -> GraphArrays:
        """Return the same graph under another bias, int32 (nodes,)."""
        return GraphArrays(
            self.high, self.low, bias, self.links, self.upper, self.first, self.entry
        )

    @property
    def nodes(self) -> int:
        """Number of nodes."""
        return len(self.high)

    @property
    def size(self) -> int:
        """Bytes of a code."""
        return 2 * int(self.high.shape[1])

    @property
    def by_node(self) -> tuple[Array, Array, Array]:
        """The large arrays that have a row for each node."""
        return self.high, self.low, self.links

    def codes(self, nodes: Array | slice = ALL) -> Array:
        """Return codes of some nodes, int8 (n, size)."""
        return unpack(self.high[nodes], self.low[nodes])

    @cached_property
    def words(self) -> tuple[int, ...]:
        """The graph as kernels take it (`signatures.GRAPH`); the arrays must stay alive."""
        return (
            address(self.high),
            address(self.low),
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


def pack(codes: Array) -> tuple[Array, Array]:
    """Return the high and the low halves of codes, plus 128, each uint8 (n, size / 2).

    Of every 128 elements, the first 64 are the lower four bits of 64 bytes, the others the upper.

    Parameters
    ----------
    codes : int8 (n, size)
    """
    halves = codes.shape[1] // 2
    high, low = (np.empty((len(codes), halves // 64, 64), np.uint8) for _ in range(2))
    for start in range(0, len(codes), _PACKED):
        some = slice(start, start + _PACKED)
        block = codes[some].view(np.uint8) ^ np.uint8(128)
        pieces = block.reshape(len(block), -1, 2, 64)
        first, second = pieces[:, :, 0], pieces[:, :, 1]
        high[some] = (first >> 4) | (second & 0xF0)
        low[some] = (first & 15) | (second << 4)
    return high.reshape(-1, halves), low.reshape(-1, halves)


def unpack(high: Array, low: Array) -> Array:
    """Return codes from their halves, int8 (n, size): the reverse of `pack`."""
    pieces = np.empty((len(high), high.shape[1] // 64, 2, 64), np.uint8)
    highs, lows = (half.reshape(len(high), -1, 64) for half in (high, low))
    pieces[:, :, 0] = (highs << 4) | (lows & 15)
    pieces[:, :, 1] = (highs & 0xF0) | (lows >> 4)
    return np.asarray((pieces ^ np.uint8(128)).reshape(len(high), -1).view(np.int8))


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

    def __init__(  # noqa: PLR0917 - in the order of `signatures.ROWS`
        self,
        vectors: Array,
        metric: str,
        members: Array,
        starts: Array | None,
        groups: Array | None,
        mean: Array,
        scale: float,
        unit: bool,  # noqa: FBT001
        product: bool,  # noqa: FBT001
    ) -> None:
        self.vectors, self.metric = vectors, metric
        self.members, self.starts, self.groups = members, starts, groups
        self.mean, self.scale = mean, scale
        self.unit, self.product = unit, product

    @cached_property
    def largest_node(self) -> int:
        """Most rows that a node has."""
        return 1 if self.starts is None else int(np.diff(self.starts).max(initial=1))

    @cached_property
    def steps(self) -> Array:
        """See `summation_steps`; held here, since kernels are given its address."""
        return summation_steps(self.vectors.shape[1])

    @cached_property
    def words(self) -> tuple[int, ...]:
        """The rows as kernels take them (`signatures.ROWS`); the arrays must stay alive."""
        steps = self.steps
        return (
            address(self.vectors),
            len(self.vectors),
            self.vectors.shape[1],
            int(self.vectors.dtype == np.float16),
            METRICS[self.metric],
            address(steps),
            len(steps),
            address(self.members),
            0 if self.starts is None else address(self.starts),
            int(self.starts is not None),
            0 if self.groups is None else address(self.groups),
            int(self.groups is not None),
            address(self.mean),
            int(np.float64(self.scale).view(np.int64)),
            int(self.unit),
            int(self.product),
        )


class Scratch:
    """Memory of one thread that searches or builds graphs of up to some size."""

    def __init__(self, nodes: int, size: int, ef: int, *, edges: int = 0) -> None:
        self.ef = ef
        self.room = rounded(max(ef, WIDTH_MAX + edges))
        self.pool, self.refined = np.zeros((2, self.room), np.int64)
        self.visited = np.zeros(nodes + 1, np.uint8)
        self.fresh = np.zeros(EXPANDED * WIDTH_MAX, np.uint32)
        self.entries = np.zeros(EXPANDED * WIDTH_MAX, np.int64)
        self.code, self.other = np.zeros((2, size), np.int8)
        arrays = (self.pool, self.refined, self.visited, self.fresh, self.entries, self.code,
                  self.other)  # fmt: skip
        self.words = (self.room, *(address(array) for array in arrays))

    def make_marks(self) -> None:
        """Make room for the marks of one more query, which `marked` tells then."""
        if self.visited[-1] >= _STAMPS - 2:
            self.visited[:] = 0

    def marked(self) -> Array:
        """Return the nodes that the latest query looked at, on its way down and on the base."""
        visited = self.visited
        return np.flatnonzero(visited[:-1] >= int(visited[-1]) - 1)


class AnswerScratch:
    """Memory of one thread that answers queries; ``block`` is what the kernel is passed."""

    def __init__(self, graph: GraphArrays, rows: Rows, kept: int, keep: int) -> None:
        self.graph = graph
        self.rows = rows
        self.kept = kept
        self.keep = keep
        self.search = Scratch(graph.nodes, graph.size, kept)
        room = self.room = keep + rows.largest_node
        self.stack = np.zeros(STACK)
        self.wide = np.zeros(rows.vectors.shape[1])
        self.candidate = np.zeros(room, np.uint32)
        self.score = np.zeros(room)
        memory = (
            address(self.stack),
            address(self.wide),
            room,
            address(self.candidate),
            address(self.score),
        )
        self.block = np.zeros(len(LAYOUTS["answer"]), np.int64)
        self.fixed = len(self.block) - len(QUESTION)
        self.block[: self.fixed] = (*graph.words, *self.search.words, *rows.words, *memory)
        self.address = address(self.block)
        self.single: SingleQuery | None = None


def rounded(room: int) -> int:
    """Return the room of a pool: kernels move eight entries at once."""
    return -(-room // 8) * 8


def address(array: Array) -> int:
    """Return where an array's first element is."""
    data: int = array.__array_interface__["data"][0]
    return data
