"""The kernels as functions over arrays: machine code, called with addresses.

`ReferenceKernels` has the same methods in NumPy and defines what is right. All of them release the
GIL while they run, allocate their outputs here, and believe that their arguments were made by
`index` from checked arrays.
"""

from __future__ import annotations

import ctypes
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from vstore.native.arrays import address
from vstore.native.signatures import CORRUPT, SIGNATURES, STACK

if TYPE_CHECKING:
    from collections.abc import Callable

    from vstore.native.arrays import GraphArrays, Scratch
    from vstore.types import Array

METRICS: Final = {"cosine": 0, "inner_product": 1, "l2": 2}
_SCALARS: Final = {"i64": ctypes.c_int64}


class CorruptGraphError(Exception):
    """A graph contradicts itself; the caller knows which file it is from."""


class Searched(NamedTuple):
    """What a graph search found.

    Attributes
    ----------
    found : uint32 (queries, keep)
        Nodes, closest first; NONE behind the last.
    distances : int64 (queries,)
        Distances computed.
    passing : int64 (queries,)
        Allowed nodes among the ef closest.
    """

    found: Array
    distances: Array
    passing: Array


class NativeKernels:
    """Kernels as machine code."""

    name = "native"

    def __init__(self, addresses: Callable[[str], int]) -> None:
        self._addresses = addresses  # keeps the code in memory
        functions = {}
        for name, arguments in SIGNATURES.items():
            kinds = [_SCALARS.get(argument, ctypes.c_void_p) for argument in arguments]
            functions[name] = ctypes.CFUNCTYPE(ctypes.c_int64, *kinds)(addresses(f"vstore_{name}"))
        self._search = functions["search"]
        self._insert = functions["insert"]
        self._link_back = functions["link_back"]
        self._scan_codes = functions["scan_codes"]
        self._rescore = functions["rescore"]

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
        """Search a graph: for each query the ``keep`` closest allowed nodes among the ef closest.

        Parameters
        ----------
        queries : uint8 (m, size)
        allowed : uint8 or bool (nodes,), optional

        Raises
        ------
        CorruptGraphError
        """
        count = len(queries)
        found = np.empty((count, keep), np.uint32)
        counters = np.empty((count, 2), np.int64)
        _check(
            self._search(
                *graph.arguments,
                *scratch.arguments,
                address(queries),
                count,
                ef,
                0 if allowed is None else address(allowed),
                allowed is not None,
                address(found),
                keep,
                address(counters),
            )
        )
        return Searched(found, counters[:, 0], counters[:, 1])

    def insert(
        self, graph: GraphArrays, scratch: Scratch, half: Array, start: int, end: int, ef: int
    ) -> None:
        """Choose links of nodes start..end in the graph of the nodes before ``start``."""
        _check(self._insert(*graph.arguments, *scratch.arguments, address(half), start, end, ef))

    def link_back(
        self,
        graph: GraphArrays,
        scratch: Scratch,
        half: Array,
        level: int,
        edges: tuple[Array, Array, Array],
        groups: tuple[int, int],
    ) -> None:
        """Link targets back to their sources.

        Parameters
        ----------
        edges : target uint32 (n,) ascending, source uint32 (n,), starts int64 (groups + 1,)
        groups : first and last of the groups to do
        """
        target, source, starts = edges
        _check(
            self._link_back(
                *graph.arguments,
                *scratch.arguments,
                address(half),
                level,
                address(target),
                address(source),
                address(starts),
                *groups,
                scratch.room,
            )
        )

    def scan_codes(self, graph: GraphArrays, wanted: Array, queries: Array, keep: int) -> Array:
        """Return for each query the ``keep`` closest of some nodes, uint32 (m, keep).

        Parameters
        ----------
        wanted : uint32 (n,)
            Nodes, all of them below ``graph.nodes``.
        queries : uint8 (m, size)
        """
        found = np.empty((len(queries), keep), np.uint32)
        pool = np.empty(keep, np.int64)
        _check(
            self._scan_codes(
                *graph.arguments[:3],
                address(wanted),
                len(wanted),
                graph.nodes,
                address(queries),
                len(queries),
                address(pool),
                address(found),
                keep,
            )
        )
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
        """Score rows exactly and sort each query's, best first; return the scores.

        Parameters
        ----------
        vectors : float32 or float16 (n, dimension)
        steps : int64, see `rescoring.summation_steps`
        queries : float64 (m, dimension)
        lengths : float64 (m,)
        row : uint32 (m, keep)
            Sorted in place; NONE behind the last.

        Returns
        -------
        float64 (m, keep)
        """
        score = np.full(row.shape, -np.inf)
        stack = np.empty(STACK)
        _check(
            self._rescore(
                address(vectors),
                len(vectors),
                vectors.shape[1],
                vectors.dtype == np.float16,
                METRICS[metric],
                address(steps),
                len(steps),
                address(stack),
                address(queries),
                address(lengths),
                len(queries),
                address(row),
                address(score),
                row.shape[1],
            )
        )
        return score


def _check(status: int) -> None:
    if status == CORRUPT:
        raise CorruptGraphError
