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
from vstore.native.signatures import CORRUPT, LAYOUTS

if TYPE_CHECKING:
    from collections.abc import Callable

    from vstore.native.arrays import AnswerScratch, GraphArrays, Rows, Scratch
    from vstore.types import Array


class CorruptGraphError(Exception):
    """A graph contradicts itself; the caller knows which file it is from."""


class Question(NamedTuple):
    """What is asked of a graph.

    Attributes
    ----------
    ef : int
        Nodes expanded, at most; 0 to score the wanted nodes.
    kept : int
        Nodes kept, at least ef: the closest of those that were seen, expanded or not.
    refine : int
        Of them, the nodes whose codes are looked at in full, after the half that all are judged by.
    keep : int
        Candidates to score with their vectors.
    k : int
        Rows to return for each query.
    wanted : uint32 (n,) or None
        Nodes, all of them below the number of nodes.
    allowed : bool (nodes,) and bool (rows,), or None
        Nodes and rows that may be returned.
    report : bool
        Whether to say which rows were scored with their vectors, and which nodes were looked at.
    """

    ef: int
    kept: int
    refine: int
    keep: int
    k: int
    wanted: Array | None = None
    allowed: tuple[Array, Array] | None = None
    report: bool = False


NO_NODES: Final = np.zeros(0, np.int64)


class Answers(NamedTuple):
    """Answers to some queries.

    Attributes
    ----------
    row : uint32 (m, k)
        Best first; NONE behind the last.
    score : float64 (m, k)
        As of `reference.exact_scores`; -inf behind the last.
    distances : int64 (m,)
        Distances computed between codes. 0, and no row, for a query that codes cannot express, as
        one that is much longer than all rows: clipping would take more than 1 / `arrays.LOST_SHARE`
        of its squared distance from the mean. Then the segment is to be scanned.
    scored : uint32 (m, any)
        Rows that were scored, if that was asked; NONE behind the last.
    nodes : int64 (any,)
        Nodes that were looked at for a single query, if that was asked.
    """

    row: Array
    score: Array
    distances: Array
    scored: Array
    nodes: Array = NO_NODES


class NativeKernels:
    """Kernels as machine code."""

    name = "native"

    def __init__(self, addresses: Callable[[str], int]) -> None:
        self._addresses = addresses  # keeps the code in memory
        kernel = ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_void_p)
        functions = {name: kernel(addresses(f"vstore_{name}")) for name in LAYOUTS}
        self._search = functions["search"]
        self._insert = functions["insert"]
        self._link_back = functions["link_back"]
        self._answer = functions["answer"]

    def search(self, graph: GraphArrays, scratch: Scratch, queries: Array, *, ef: int) -> Array:
        """Return the ef nodes closest to each query, uint32 (m, ef), NONE behind the last.

        Parameters
        ----------
        queries : int8 (m, size)

        Raises
        ------
        CorruptGraphError
            A link or a level of the graph leads outside it.
        """
        found = np.empty((len(queries), ef), np.uint32)
        asked = (address(queries), len(queries), ef, address(found))
        _call(self._search, (*graph.words, *scratch.words, *asked))
        return found

    def answer(
        self,
        graph: GraphArrays,
        rows: Rows,
        scratch: AnswerScratch,
        queries: Array,
        question: Question,
    ) -> Answers:
        """Find the k best rows for each query: by codes first, then by their vectors.

        Parameters
        ----------
        queries : float32 (m, dimension), C-contiguous

        Raises
        ------
        CorruptGraphError
            A link or a level of the graph leads outside it.
        """
        single = scratch.single
        if len(queries) == 1 and single is not None and single.question is question:
            answers = single.answers
            if answers is None:
                answers = _outputs(scratch, 1, question)
                _fill(scratch, single.query, question, answers)
                single.answers = answers  # not before the block is whole: Ctrl-C may come
            single.query[:] = queries
            _check(self._answer(scratch.address))
            row, score, distances, scored, _ = answers
            return Answers(row.copy(), score.copy(), distances.copy(), scored.copy())
        scratch.single = None  # what the block holds is no longer its, whatever happens below
        answers = _outputs(scratch, len(queries), question)
        _fill(scratch, queries, question, answers)
        _check(self._answer(scratch.address))
        scratch.single = SingleQuery(question, np.empty_like(queries[:1]))
        return answers

    def insert(self, graph: GraphArrays, scratch: Scratch, start: int, end: int, ef: int) -> None:
        """Choose links of nodes start..end in the graph of the nodes before ``start``."""
        _call(self._insert, (*graph.words, *scratch.words, start, end, ef))

    def link_back(
        self,
        graph: GraphArrays,
        scratch: Scratch,
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
        linked = (level, *(address(array) for array in edges), *groups)
        _call(self._link_back, (*graph.words, *scratch.words, *linked))


class SingleQuery:
    """Where a query goes, and its answer comes, if the same is asked of one query again and again.

    Converting six addresses takes longer than copying from the same memory every time.
    """

    __slots__ = ("answers", "query", "question")

    def __init__(self, question: Question, query: Array) -> None:
        self.question = question
        self.query = query
        self.answers: Answers | None = None  # made when the question comes a second time


def _outputs(scratch: AnswerScratch, count: int, question: Question) -> Answers:
    return Answers(
        np.empty((count, question.k), np.uint32),
        np.empty((count, question.k)),
        np.empty(count, np.int64),
        np.empty((count, scratch.room if question.report else 0), np.uint32),
    )


def _fill(scratch: AnswerScratch, queries: Array, question: Question, answers: Answers) -> None:
    """Write what changes from call to call into a block."""
    ef, kept, refine, keep, k, wanted, allowed, _ = question
    scratch.block[scratch.fixed :] = (
        address(queries),
        len(queries),
        ef,
        kept,
        refine,
        keep,
        k,
        0 if wanted is None else address(wanted),
        0 if wanted is None else len(wanted),
        0 if allowed is None else address(allowed[0]),
        0 if allowed is None else address(allowed[1]),
        allowed is not None,
        *(address(array) for array in answers[:4]),
        answers.scored.shape[1],
    )


def _call(kernel: Callable[[int], int], words: tuple[int, ...]) -> None:
    block = np.array(words, np.int64)
    _check(kernel(address(block)))


def _check(status: int) -> None:
    if status == CORRUPT:
        raise CorruptGraphError
