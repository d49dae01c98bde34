"""Merging segments of one version's rows: what is kept of each, in the order of one segment."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from vstore.segment.sealed import PiecedArray
from vstore.segment.vectors import RowBatch, VectorSegment, write_rows

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from vstore.manifest.spec import EmbeddingSpec
    from vstore.manifest.state import SegmentRef
    from vstore.storage.container import Container
    from vstore.types import Array, IntArray


class MergedRows(NamedTuple):
    """A merged segment, and where each of its rows was before.

    Attributes
    ----------
    source : int64 (rows,)
        Number of the segment.
    row : int64 (rows,)
        Row in it.
    """

    ref: SegmentRef
    source: IntArray
    row: IntArray


class Merge:
    """The kept rows of some segments or batches, in the order of one segment.

    Parameters
    ----------
    kept : sequence of int64 arrays
        Rows to keep of each segment; no docno in two of them.
    dtype : {"<f4", "<f2"}

    Attributes
    ----------
    source, row : int64 (rows,)
        As in `MergedRows`.
    """

    def __init__(
        self,
        segments: Sequence[VectorSegment | RowBatch],
        kept: Sequence[IntArray],
        *,
        dimension: int,
        dtype: str,
    ) -> None:
        self._parts = list(zip(segments, kept, strict=True))
        self._shape = (sum(len(rows) for rows in kept), dimension)
        self._dtype = dtype
        nothing = np.zeros(0, np.uint32)
        docno = np.concatenate([nothing, *(s.docno[rows] for s, rows in self._parts)])
        chunk = np.concatenate([nothing, *(s.chunk[rows] for s, rows in self._parts)])
        self._order = np.lexsort((chunk, docno))
        self.docno, self.chunk = docno[self._order], chunk[self._order]
        numbers = np.repeat(np.arange(len(kept)), [len(rows) for rows in kept])
        self.source = numbers[self._order]
        self.row = np.concatenate([np.zeros(0, np.int64), *kept])[self._order]

    def __len__(self) -> int:
        return len(self._order)

    @property
    def revision(self) -> Array:
        """Revisions, u64 (rows,)."""
        return self._gathered([segment.revision for segment, _ in self._parts])

    @property
    def norms(self) -> Array:
        """Lengths, float32 (rows,)."""
        return self._gathered([segment.norms for segment, _ in self._parts])

    def _gathered(self, arrays: Sequence[Array]) -> Array:
        kept = [array[rows] for array, (_, rows) in zip(arrays, self._parts, strict=True)]
        return np.concatenate(kept)[self._order]

    @property
    def vectors(self) -> PiecedArray:
        """Vectors, a piece at a time."""
        return PiecedArray(self._dtype, self._shape, self._pieces())

    def _pieces(self) -> Iterator[Array]:
        rows, dimension = self._shape
        step = max(1, (16 << 20) // (dimension * 4))
        for start in range(0, rows, step):
            piece = np.empty((min(step, rows - start), dimension), self._dtype)
            here = self.source[start : start + step]
            for i, (segment, _) in enumerate(self._parts):
                mine = here == i
                if mine.any():
                    rows_here = self.row[start : start + step][mine]
                    piece[mine] = segment.vectors[rows_here]
                    if not np.isfinite(piece[mine]).all():
                        assert isinstance(segment, VectorSegment), "batches were checked"
                        raise segment.corrupt("a component that is no finite number")
            yield piece

    def batch(self) -> RowBatch:
        """Return the rows in memory."""
        vectors, at = np.empty(self._shape, self._dtype), 0
        for piece in self._pieces():
            vectors[at : at + len(piece)] = piece
            at += len(piece)
        return RowBatch(self.docno, self.chunk, self.revision, vectors, self.norms)


def merge_rows(
    container: Container,
    segments: Sequence[VectorSegment | RowBatch],
    kept: Sequence[IntArray],
    spec: EmbeddingSpec,
    *,
    dtype: str,
    epoch: int,
    renumbered: Array | None = None,
) -> MergedRows | None:
    """Write the kept rows of some segments or batches as one segment; None if there are none.

    Parameters
    ----------
    kept, dtype
        See `Merge`.
    renumbered : u32 (docno_end,), optional
        New docno by old one; it must not change their order.
    """
    merge = Merge(segments, kept, dimension=spec.dimension, dtype=dtype)
    if not len(merge):
        return None
    ref = write_rows(
        container,
        spec,
        epoch=epoch,
        docno=merge.docno if renumbered is None else renumbered[merge.docno],
        chunk=merge.chunk,
        revision=merge.revision,
        norms=merge.norms,
        vectors=merge.vectors,
    )
    return MergedRows(ref, merge.source, merge.row)
