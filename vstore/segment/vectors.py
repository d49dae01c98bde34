"""Rows of one version: batches in memory, sealed segments (`format-spec.md`, "Vector segment").

A row is (docno, chunk number, revision it was made from, vector). A write gives all of a document's
rows of a version at once, so the newest segment that holds a docno holds all its current rows.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from vstore.cached import cached_property
from vstore.deferred import Deferred
from vstore.limits import CHUNKS_MAX
from vstore.segment.pieces import (
    NODE_PIECE_BYTES,
    VECTOR_PIECE_BYTES,
    PieceCheck,
    SearchCheck,
    piece_hashes,
    pieces_of,
)
from vstore.segment.sealed import PiecedArray, SealedSegment, write_segment
from vstore.segment.validation import UNIT_TOLERANCE
from vstore.storage.layout import HASH_BYTES, BlockKind
from vstore.storage.mapping import let_go

if TYPE_CHECKING:
    from collections.abc import Sequence

    from vstore.index.graph import GraphIndex
    from vstore.manifest.spec import EmbeddingSpec
    from vstore.manifest.state import SegmentRef
    from vstore.segment import graphs
    from vstore.storage.container import Container
    from vstore.types import Array, IntArray
else:  # which writes segments, and so imports this
    graphs = Deferred("vstore.segment.graphs")

DTYPES = {"float32": "<f4", "float16": "<f2"}
_UNIT_TOLERANCE = 1.01 * UNIT_TOLERANCE  # what rounding adds is let pass
_ROWS_AT_ONCE = 65_536
NODE_ARRAYS = ("codes.high", "codes.low", "graph.links")  # of `GraphArrays.by_node`


class RowBatch:
    """Rows in memory, sorted by docno and chunk number.

    Attributes
    ----------
    docno, chunk : u32 (n,)
    revision : u64 (n,)
    vectors : float32 or float16 (n, dimension)
    norms : float32 (n,)
        Euclidean length of each vector.
    """

    __slots__ = ("chunk", "docno", "norms", "revision", "vectors")

    def __init__(
        self, docno: Array, chunk: Array, revision: Array, vectors: Array, norms: Array
    ) -> None:
        self.docno, self.chunk, self.revision = docno, chunk, revision
        self.vectors, self.norms = vectors, norms

    def __len__(self) -> int:
        return len(self.docno)

    @property
    def single(self) -> bool:
        """Whether every document has one row here, its chunk number 0."""
        return not self.chunk.any()

    @property
    def row_bytes(self) -> int:
        """Bytes of one vector."""
        return int(self.vectors.shape[1] * self.vectors.itemsize)

    def take(self, rows: IntArray) -> RowBatch:
        """Return a copy of some rows."""
        return RowBatch(
            self.docno[rows],
            self.chunk[rows],
            self.revision[rows],
            self.vectors[rows],
            self.norms[rows],
        )


def row_ahead(made_from: Array, revision: Array) -> int | None:
    """Return the first row made from a revision that its document does not have yet, if any.

    Parameters
    ----------
    made_from, revision : u64 (n,)
        Of each row, and of its document; 0 of a deleted one, whose revision before nobody knows.
    """
    ahead = (made_from > revision) & (revision != 0)
    return int(np.argmax(ahead)) if bool(ahead.any()) else None


def concat_batches(batches: Sequence[RowBatch]) -> RowBatch:
    """Join batches from old to new; of a docno in several the newest one's rows stay."""
    if len(batches) == 1:
        return batches[0]
    docno = np.concatenate([batch.docno for batch in batches])
    age = np.repeat(np.arange(len(batches)), [len(batch) for batch in batches])
    joined = RowBatch(
        docno,
        np.concatenate([batch.chunk for batch in batches]),
        np.concatenate([batch.revision for batch in batches]),
        np.concatenate([batch.vectors for batch in batches]),
        np.concatenate([batch.norms for batch in batches]),
    )
    order = np.lexsort((joined.chunk, age, docno))
    ordered_docno, ordered_age = docno[order], age[order]
    # Sorted by docno and then age: the last row of a docno's run is from its newest batch.
    last = np.append(ordered_docno[1:] != ordered_docno[:-1], [True])
    run = np.cumsum(np.concatenate(([0], last[:-1])))
    newest = ordered_age == ordered_age[last][run]
    order = order[newest]
    if len(order) == len(docno) and bool((order[1:] > order[:-1]).all()):
        return joined
    return joined.take(order)


def seal_rows(
    container: Container, batch: RowBatch, spec: EmbeddingSpec, *, epoch: int
) -> SegmentRef:
    """Write rows as a segment of the version that has this spec."""
    return write_rows(
        container,
        spec,
        epoch=epoch,
        docno=batch.docno,
        chunk=batch.chunk,
        revision=batch.revision,
        norms=batch.norms,
        vectors=batch.vectors,
    )


def write_rows(
    container: Container,
    spec: EmbeddingSpec,
    *,
    epoch: int,
    docno: Array,
    chunk: Array,
    revision: Array,
    norms: Array,
    vectors: Array | PiecedArray,
) -> SegmentRef:
    """Write rows, sorted by docno and chunk number, as a segment."""
    arrays: dict[str, Array | PiecedArray] = {
        "docno": docno.astype("<u4", copy=False),
        "revision": revision.astype("<u8", copy=False),
        "norms": norms.astype("<f4", copy=False),
        "vectors": vectors,
    }
    if chunk.any():
        arrays["chunk"] = chunk.astype("<u4", copy=False)
    return write_segment(
        container,
        "vectors",
        rows=len(docno),
        docno_end=int(docno[-1]) + 1 if len(docno) else 0,
        epoch=epoch,
        attributes={"fingerprint": spec.fingerprint, "dimension": spec.dimension},
        arrays=arrays,
    )


class SearchedArrays(NamedTuple):
    """What a search by a graph reads.

    Attributes
    ----------
    vectors : float32 or float16 (rows, dimension)
    check : SearchCheck
        What is not verified yet, of vectors and graph.
    """

    vectors: Array
    graph: GraphIndex
    check: SearchCheck


class VectorSegment(SealedSegment):
    """A sealed segment of one version's rows."""

    kind = "vectors"

    def __init__(self, container: Container, ref: SegmentRef, spec: EmbeddingSpec) -> None:
        super().__init__(container, ref)
        self.spec = spec
        fingerprint = self.header.attributes.get("fingerprint")
        if type(fingerprint) is not bytes or len(fingerprint) != HASH_BYTES:
            raise self.corrupt("no fingerprint")
        if fingerprint != spec.fingerprint:
            raise self.corrupt("belongs to another version than the manifest says")
        if self.header.attributes.get("dimension") != spec.dimension:
            raise self.corrupt(f"not of {spec.dimension} dimensions")

    @cached_property
    def docno(self) -> Array:
        """Docno of each row, u32 (rows,), ascending."""
        docno = self.array("docno", "<u4", (self.rows,))
        if self.rows and int(docno[-1]) != self.ref.docno_end - 1:
            raise self.corrupt("docnos do not ascend to the segment's end")
        if not bool((docno[1:] >= docno[:-1]).all()):
            raise self.corrupt("docnos do not ascend")
        if self.single and bool((docno[1:] == docno[:-1]).any()):
            raise self.corrupt("several rows of a document, and no chunk numbers")
        return docno

    @cached_property
    def single(self) -> bool:
        """Whether every document has one row here, its chunk number 0."""
        return not self.has("chunk")

    @cached_property
    def chunk(self) -> Array:
        """Chunk number of each row, u32 (rows,)."""
        if self.single:
            return np.zeros(self.rows, np.uint32)
        chunk, docno = self.array("chunk", "<u4", (self.rows,)), self.docno
        if bool(((docno[1:] == docno[:-1]) & (chunk[1:] <= chunk[:-1])).any()):
            raise self.corrupt("chunk numbers do not ascend")
        if self.rows and int(chunk.max()) >= CHUNKS_MAX:
            raise self.corrupt(f"a chunk number above {CHUNKS_MAX - 1}")
        return chunk

    @cached_property
    def revision(self) -> Array:
        """Revision each row was made from, u64 (rows,)."""
        revision = self.array("revision", "<u8", (self.rows,))
        # A row of a later epoch would be fresh once its document has come that far.
        if self.rows and not 0 < int(revision.min()) <= int(revision.max()) <= self.ref.epoch:
            raise self.corrupt(f"rows of other revisions than 1 to {self.ref.epoch}")
        return revision

    @cached_property
    def norms(self) -> Array:
        """Euclidean length of each row, float32 (rows,).

        Scores are made from it, and NaN would win no comparison: the row would be in no answer.

        Raises
        ------
        CorruptionError
            A length that no vector of the version has. Whether it is this row's, `verify` tells.
        """
        norms = self.array("norms", "<f4", (self.rows,))
        if self.rows:
            # A NaN fails every comparison.
            least, most = float(norms.min()), float(norms.max())
            problem = None
            if not (least >= 0 and most < np.inf):
                problem = "no length"
            elif self.spec.metric == "cosine" and not least > 0:
                problem = "no length of a vector that has a direction"
            elif self.spec.normalized and max(1 - least, most - 1) > _UNIT_TOLERANCE:
                problem = "no length of a unit vector"
            if problem is not None:
                raise self.corrupt(f"norms from {least:.4g} to {most:.4g}: one is {problem}")
        return norms

    @cached_property
    def graph(self) -> GraphIndex | None:
        """The graph over the rows, None if the segment has none."""
        return graphs.read_graph(self)

    @cached_property
    def has_graph(self) -> bool:
        """Whether there is a graph of codes that are known; tells without reading it."""
        try:
            return graphs.has_graph(self.header.attributes)
        except ValueError as error:
            raise self.corrupt(str(error)) from error

    @cached_property
    def vectors(self) -> Array:
        """Vectors as stored, (rows, dimension), a view of the file."""
        ref = self.header.arrays.get("vectors")
        if ref is None or ref.dtype not in DTYPES.values():
            raise self.corrupt("no vectors of a known dtype")
        return self.array("vectors", ref.dtype, (self.rows, self.spec.dimension))

    @property
    def row_bytes(self) -> int:
        """Bytes of one vector; tells without reading any."""
        ref = self.header.arrays.get("vectors")
        return 0 if ref is None else self.spec.dimension * np.dtype(ref.dtype).itemsize

    @cached_property
    def searched(self) -> SearchedArrays:
        """What a search by the graph reads, and what verifies it as it is read."""
        shape, check = (self.rows, self.spec.dimension), SearchCheck()
        ref = self.header.arrays.get("vectors")
        if ref is None or ref.dtype not in DTYPES.values():
            raise self.corrupt("no vectors of a known dtype")
        vectors = self.unverified("vectors", ref.dtype, shape)
        graph = graphs.read_graph(self, verified=False)
        assert graph is not None, "only for segments with a graph"
        if not self.container.is_verified(ref.block):
            hashes = self._piece_hashes("vectors.pieces", [vectors], VECTOR_PIECE_BYTES)

            def let_vectors_go() -> None:
                let_go(self.container.read(ref.block, BlockKind.ARRAY, unverified=True))

            check.vectors = PieceCheck([vectors], VECTOR_PIECE_BYTES, hashes, let_go=let_vectors_go)
        arrays = graph.arrays.by_node
        blocks = [self.header.arrays[name].block for name in NODE_ARRAYS]
        if not all(map(self.container.is_verified, blocks)):
            hashes = self._piece_hashes("graph.pieces", arrays, NODE_PIECE_BYTES)
            check.nodes = PieceCheck(arrays, NODE_PIECE_BYTES, hashes)
        return SearchedArrays(vectors, graph, check)

    def verify_nodes(self) -> None:
        """Verify all that `searched` reads of the graph, for searches that read much of it."""
        assert self.graph is not None, "only for segments with a graph"
        self.searched.check.nodes = None

    def _piece_hashes(self, name: str, arrays: Sequence[Array], piece_bytes: int) -> Array:
        return self.array(name, "|u1", (pieces_of(arrays, piece_bytes), HASH_BYTES))

    def require_finite(self) -> None:
        """Look at every component: what is built over them would be built wrong.

        Raises
        ------
        CorruptionError
            A component is NaN or infinite.
        """
        for start in range(0, self.rows, _ROWS_AT_ONCE):
            if not np.isfinite(self.vectors[start : start + _ROWS_AT_ONCE]).all():
                raise self.corrupt("a component that is no finite number")

    def verify(self) -> None:
        """Check hashes, order, norms and graph."""
        super().verify()
        if self.has_graph:
            graphs.check_graph(self)
            arrays = self.graph.arrays.by_node if self.graph else ()
            self._verify_pieces("vectors.pieces", [self.vectors], VECTOR_PIECE_BYTES)
            self._verify_pieces("graph.pieces", arrays, NODE_PIECE_BYTES)
        _ = self.chunk
        _ = self.revision
        self.require_finite()
        for start in range(0, self.rows, _ROWS_AT_ONCE):
            block = self.vectors[start : start + _ROWS_AT_ONCE].astype(np.float64)
            norms = np.sqrt(np.einsum("ij,ij->i", block, block))
            if not np.allclose(
                norms, self.norms[start : start + _ROWS_AT_ONCE], rtol=1e-4, atol=1e-30
            ):
                raise self.corrupt("norms do not belong to the vectors")

    def _verify_pieces(self, name: str, arrays: Sequence[Array], piece_bytes: int) -> None:
        stored = self._piece_hashes(name, arrays, piece_bytes)
        if not np.array_equal(stored, piece_hashes(arrays, piece_bytes)):
            raise self.corrupt(f"{name} do not belong to the arrays")
