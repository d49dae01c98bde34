"""The graph of a vector segment: arrays and parameters in its header (`format-spec.md`, "Graph").

A graph comes with a new header, which names the segment's arrays where they are and the graph's.
"""

from __future__ import annotations

import math
from itertools import pairwise
from typing import TYPE_CHECKING, Final, get_args

import numpy as np

from vstore.deferred import Deferred
from vstore.errors import CorruptionError
from vstore.index.curve import (
    KS,
    POINTS_MAX,
    SPARE_MAX,
    CurvePoint,
    GraphRecall,
    RecallCurve,
    RecallCurves,
)
from vstore.index.graph import GraphIndex
from vstore.index.quantizer import Quantizer, Space, half_lengths
from vstore.limits import EF_MAX, GRAPH_M_MIN
from vstore.manifest.plain import PlainReader
from vstore.native.arrays import NONE, WIDTH_MAX, GraphArrays
from vstore.native.calls import CorruptGraphError
from vstore.segment.pieces import NODE_PIECE_BYTES, VECTOR_PIECE_BYTES, piece_hashes
from vstore.segment.sealed import write_segment
from vstore.segment.vectors import NODE_ARRAYS, VectorSegment

if TYPE_CHECKING:
    from collections.abc import Mapping

    from vstore.index import building, construction
    from vstore.index.building import ExtendableGraph
    from vstore.index.construction import Kernels
    from vstore.manifest.state import SegmentRef, VersionState
    from vstore.segment.vectors import RowBatch
    from vstore.storage.container import Container
    from vstore.types import Array
else:  # a search needs none
    building = Deferred("vstore.index.building")
    construction = Deferred("vstore.index.construction")

_SPARE_MAX: Final = 1 << 16
CODES_KIND: Final = "int8"  # of `quantizer.Quantizer`; a graph of other codes is ignored
_KIND_BYTES_MAX: Final = 64


def build_graph(
    name: str,
    rows: VectorSegment | RowBatch,
    version: VersionState,
    kernels: Kernels,
    *,
    before: ExtendableGraph | None = None,
) -> GraphIndex:
    """Build the graph of some rows of the file ``name``, in memory.

    Raises
    ------
    CorruptionError
        The graph to extend contradicts itself, or a component is no finite number.
    """
    assert version.graph is not None
    if isinstance(rows, VectorSegment):
        rows.require_finite()
    try:
        return building.build_index(
            rows.vectors,
            rows.norms,
            version.spec.metric,
            M=version.graph.M,
            ef_construction=version.graph.ef_construction,
            kernels=kernels,
            docno=None if rows.single else rows.docno,
            before=before,
        )
    except CorruptGraphError as error:
        raise CorruptionError(name, "graph: a link or level leads nowhere") from error


def write_graph(
    container: Container, segment: VectorSegment, index: GraphIndex, *, epoch: int
) -> SegmentRef:
    """Write the graph of a segment, and return the segment with it."""
    quantizer, arrays = index.quantizer, index.arrays
    attributes = {
        **segment.header.attributes,
        "codes": {
            "kind": CODES_KIND,
            "space": quantizer.space,
            "unit": quantizer.unit,
            "scale": quantizer.scale,
            "radius": quantizer.radius,
            "spare": quantizer.spare,
        },
        "graph": {
            "M": index.M,
            "ef_construction": index.ef_construction,
            "entry": arrays.entry,
            "recall": _curves_to_plain(index.recall.rows),
            "document_recall": None
            if index.recall.documents is None
            else _curves_to_plain(index.recall.documents),
        },
    }
    return write_segment(
        container,
        "vectors",
        rows=segment.rows,
        docno_end=segment.ref.docno_end,
        epoch=epoch,
        attributes=attributes,
        arrays={
            **segment.header.arrays,
            "vectors.pieces": piece_hashes([segment.vectors], VECTOR_PIECE_BYTES),
            "codes.mean": quantizer.mean.astype("<f4", copy=False),
            "codes.high": arrays.high,
            "codes.low": arrays.low,
            "codes.bias": arrays.bias.astype("<i4", copy=False),
            **_stored_members(index),
            "graph.links": arrays.links.astype("<u4", copy=False),
            "graph.upper": arrays.upper.astype("<u4", copy=False),
            "graph.first": arrays.first.astype("<u4", copy=False),
            "graph.pieces": piece_hashes(arrays.by_node, NODE_PIECE_BYTES),
        },
    )


def _stored_members(index: GraphIndex) -> dict[str, Array]:
    stored = {"graph.members": index.members.astype("<u4", copy=False)}
    if index.starts is not None:
        stored["graph.starts"] = index.starts.astype("<i8", copy=False)
    return stored


def read_graph(segment: VectorSegment, *, verified: bool = True) -> GraphIndex | None:
    """Return a segment's graph, None if it has none of codes that are known.

    Parameters
    ----------
    verified : bool
        False if the caller verifies `NODE_ARRAYS`, as it uses them.

    Raises
    ------
    CorruptionError
        Its arrays or parameters contradict each other. What the links say is checked as they are
        followed.
    """
    try:
        if not has_graph(segment.header.attributes):
            return None
        return _read_graph(segment, verified=verified)
    except ValueError as error:
        raise segment.corrupt(str(error)) from error


def has_graph(attributes: Mapping[str, object]) -> bool:
    """Whether a segment has a graph of codes that are known; of others it is only slower.

    Raises
    ------
    ValueError
        There is a graph, and its codes do not say of which kind they are.
    """
    if "graph" not in attributes:
        return False
    codes = PlainReader(attributes.get("codes"), "codes")
    return codes.text("kind", bytes_max=_KIND_BYTES_MAX) == CODES_KIND


def _read_graph(segment: VectorSegment, *, verified: bool) -> GraphIndex:
    if verified:
        segment.load_beside(*NODE_ARRAYS)
    by_node = segment.array if verified else segment.unverified
    plain = PlainReader(segment.header.attributes.get("codes"), "codes")
    scale, radius = _real(plain.raw("scale")), _real(plain.raw("radius"))
    quantizer = Quantizer(
        space=plain.choice("space", get_args(Space)),
        unit=plain.boolean("unit"),
        mean=segment.array("codes.mean", "<f4", (segment.spec.dimension,)),
        scale=scale,
        radius=radius,
        spare=plain.integer("spare", maximum=_SPARE_MAX),
    )
    if scale <= 0 or radius < 0 or not np.isfinite(quantizer.mean).all():
        raise ValueError("codes: impossible scale, radius or mean")
    high = by_node("codes.high", "|u1", (None, quantizer.size // 2))
    nodes = len(high)
    plain = PlainReader(segment.header.attributes["graph"], "graph")
    M = plain.integer("M", minimum=GRAPH_M_MIN, maximum=WIDTH_MAX // 2)
    arrays = GraphArrays(
        high,
        by_node("codes.low", "|u1", (nodes, quantizer.size // 2)),
        segment.array("codes.bias", "<i4", (nodes,)),
        by_node("graph.links", "<u4", (nodes, 2 * M)),
        segment.array("graph.upper", "<u4", (None, M)),
        segment.array("graph.first", "<u4", (nodes + 1,)),
        entry=plain.integer("entry"),
    )
    members = segment.array("graph.members", "<u4", (segment.rows,))
    if segment.rows and int(members.max()) >= segment.rows:
        raise ValueError("graph: a row that does not exist")
    starts = None
    if segment.has("graph.starts"):
        starts = segment.array("graph.starts", "<i8", (nodes + 1,))
        if starts[0] != 0 or starts[-1] != segment.rows or bool((starts[1:] < starts[:-1]).any()):
            raise ValueError("graph: rows and nodes do not belong together")
    elif nodes != segment.rows:
        raise ValueError("graph: as many nodes as rows, or starts")
    return GraphIndex(
        arrays,
        quantizer,
        members,
        starts,
        GraphRecall(
            _read_curves(plain, "recall"),
            _read_curves(plain, "document_recall")
            if plain.raw("document_recall") is not None
            else None,
        ),
        M=M,
        ef_construction=plain.integer("ef_construction", minimum=1, maximum=EF_MAX),
    )


def _curves_to_plain(curves: RecallCurves) -> list[object]:
    return [[k, keep, refine, [list(p) for p in points]] for k, keep, refine, points in curves[0]]


def _read_curves(plain: PlainReader, name: str) -> RecallCurves:
    curves = plain.sequence(name, _read_curve, count_max=len(KS))
    if tuple(curve.k for curve in curves) != KS[: len(curves)]:
        raise ValueError(f"graph.{name}: expected a curve for each of {KS} up to some k")
    return RecallCurves(curves)


def _read_curve(value: object, where: str) -> RecallCurve:
    if (
        not isinstance(value, list)
        or len(value) != 4
        or not all(type(number) is int and number > 0 for number in value[:3])
        or not all(value[0] <= number <= value[0] + SPARE_MAX for number in value[1:3])
        or not isinstance(value[3], list)
        or not 0 < len(value[3]) <= POINTS_MAX
    ):
        raise ValueError(f"{where}: expected [k, keep, refine, points]")
    k, keep, refine = value[:3]
    points = tuple(_read_point(point, where) for point in value[3])
    if any(after.ef <= before.ef for before, after in pairwise(points)):
        raise ValueError(f"{where}: ef does not ascend")
    return RecallCurve(k, keep, refine, points)


def _read_point(value: object, where: str) -> CurvePoint:
    if (
        not isinstance(value, list)
        or len(value) != 4
        or type(value[0]) is not int
        or not 0 < value[0] <= EF_MAX
    ):
        raise ValueError(f"{where}: expected [ef, recall, error, distances]")
    point = CurvePoint(value[0], *(_real(number) for number in value[1:]))
    if not (0 <= point.recall <= 1 and point.error >= 0 and point.distances >= 0):
        raise ValueError(f"{where}: recall {point.recall}, {point.distances} distances")
    return point


def _real(value: object) -> float:
    if type(value) is not float or not math.isfinite(value):
        raise ValueError("expected a finite number")
    return value


def check_graph(segment: VectorSegment) -> None:
    """Check everything of a graph that can be checked without building it again.

    Raises
    ------
    CorruptionError
        Nodes, links, levels or rows contradict each other.
    """
    index = segment.graph
    if index is None:
        return
    problem = _contradiction(index)
    if problem is not None:
        raise segment.corrupt(f"graph: {problem}")


def _contradiction(index: GraphIndex) -> str | None:
    arrays, nodes = index.arrays, index.arrays.nodes
    rows = len(index.members)
    if bool((index.members >= rows).any()) or len(np.unique(index.members)) != rows:
        return "a row of no node, or of two"
    if bool((np.diff(arrays.first.astype(np.int64)) < 0).any()):
        return "levels do not ascend"
    half = half_lengths(arrays.codes())
    if not np.array_equal(half if index.quantizer.space == "euclidean" else 0 * half, arrays.bias):
        return "bias does not belong to the codes"
    for name, links in (("links", arrays.links), ("upper", arrays.upper)):
        used = links != NONE
        if bool((links[used] >= nodes).any()):
            return f"{name} to nodes that do not exist"
        if bool((used[:, 1:] & ~used[:, :-1]).any()):
            return f"{name} with gaps"
    if construction.unreached(arrays):
        return "nodes that no path reaches"
    return None
