"""A segment's graph: codes to navigate by, and which row each node is."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from vstore.cached import cached_property
from vstore.deferred import Deferred
from vstore.native.arrays import AnswerScratch, Rows

if TYPE_CHECKING:
    from vstore.index import resolution
    from vstore.index.construction import Kernels
    from vstore.index.curve import GraphRecall
    from vstore.index.quantizer import Quantizer
    from vstore.manifest.spec import Metric
    from vstore.native.arrays import GraphArrays
    from vstore.native.calls import Answers, Question
    from vstore.types import Array
else:  # what a search without a filter does not need
    resolution = Deferred("vstore.index.resolution")


class GraphIndex:  # no dataclass, nor are its arrays: each process would make them anew
    """A graph that can be searched.

    Attributes
    ----------
    members : uint32 (rows,)
        Rows, by node. Rows of equal codes share a node: as neighbours of each other they would take
        up all their links. A node without a row is passed through and not returned.
    starts : int64 (nodes + 1,) or None
        Where each node's rows begin; None if each has one.
    """

    def __init__(
        self,
        arrays: GraphArrays,
        quantizer: Quantizer,
        members: Array,
        starts: Array | None,
        recall: GraphRecall,
        *,
        M: int,
        ef_construction: int,
    ) -> None:
        self.arrays, self.quantizer = arrays, quantizer
        self.members, self.starts = members, starts
        self.recall = recall
        self.M, self.ef_construction = M, ef_construction
        self._scratches: list[AnswerScratch] = []
        self._rows: dict[bool, Rows] = {}

    def answer(
        self,
        kernels: Kernels,
        rows: Rows,
        queries: Array,
        question: Question,
        *,
        mark: bool = False,
    ) -> Answers:
        """Return the k best rows for each query.

        Parameters
        ----------
        rows : Rows
            Made by `rows_of`.
        queries : float32 (m, dimension), C-contiguous
        mark : bool
            Tell which nodes were looked at; for one query, whose question is to report.

        Raises
        ------
        CorruptGraphError
            Arrays of the graph contradict each other.
        """
        scratch = self._scratch(rows, question)
        try:
            if mark:
                scratch.search.make_marks()
            answered = kernels.answer(self.arrays, rows, scratch, queries, question)
            if not mark or not answered.distances[0]:
                return answered
            return answered._replace(nodes=scratch.search.marked())
        finally:
            self._scratches.append(scratch)

    def rows_of(self, vectors: Array, metric: Metric, groups: Array | None) -> Rows:
        """Return the segment's rows as kernels take them; always the same for a segment.

        Parameters
        ----------
        groups : uint32 (rows,) or None
            Of rows with the same number only the best is returned.
        """
        known = self._rows.get(groups is None)
        if known is not None:
            return known
        quantizer = self.quantizer
        mean, scale, unit = quantizer.mean, quantizer.scale, quantizer.unit
        length = float(np.linalg.norm(vectors[0].astype(np.float64))) if len(vectors) else 0.0
        if metric == "inner_product" and quantizer.space == "euclidean" and length > 0:
            # Rows are of one length, and no query's length changes their order: so queries are
            # encoded at length 1, and none is clipped or rounded away.
            mean = (mean / length).astype(np.float32)
            scale, unit = float(np.float32(scale / length)), True
        return self._rows.setdefault(
            groups is None,
            Rows(
                vectors,
                metric,
                self.members,
                self.starts,
                groups,
                mean,
                scale,
                unit,
                quantizer.space == "product",
            ),
        )

    def allowed_nodes(self, allowed: Array) -> Array:
        """Return by node, bool (nodes,), whether one of the allowed rows is its."""
        nodes = np.zeros(self.arrays.nodes, np.bool_)
        nodes[self.node[allowed]] = True
        return nodes

    @cached_property
    def node(self) -> Array:
        """Node of each row, uint32 (rows,)."""
        nodes = np.arange(self.arrays.nodes, dtype=np.uint32)
        node = np.zeros(len(self.members), np.uint32)
        in_order = nodes if self.starts is None else np.repeat(nodes, np.diff(self.starts))
        node[self.members] = in_order
        return node

    @cached_property
    def rows_per_node(self) -> float:
        """Rows of the node of a row, in the mean over rows."""
        if self.starts is None:
            return 1.0
        counts = np.diff(self.starts).astype(np.float64)
        return float((counts * counts).sum() / max(1.0, counts.sum()))

    @cached_property
    def crowded_share(self) -> float:
        """Share of rows that may have near-copies, at most; see `resolution.crowded_share`."""
        return resolution.crowded_share(self.arrays, self.node)

    @cached_property
    def ghosts(self) -> int:
        """Number of nodes without a row."""
        return 0 if self.starts is None else int(np.count_nonzero(np.diff(self.starts) == 0))

    def _scratch(self, rows: Rows, question: Question) -> AnswerScratch:
        """Return memory that no other thread uses; it goes back to the list afterwards."""
        kept = question.kept
        while self._scratches:
            try:
                scratch = self._scratches.pop()
            except IndexError:  # another thread was faster
                break
            if scratch.rows is rows and scratch.kept >= kept and scratch.keep >= question.keep:
                return scratch
        return AnswerScratch(self.arrays, rows, kept, question.keep)
