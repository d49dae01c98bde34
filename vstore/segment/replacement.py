"""Merges and graphs that are made beside the writer, and only put in place by it.

What takes long, gathering rows and building a graph, reads segments of one snapshot, which never
change. What is written afterwards takes their place as long as they are still neighbours in the
version's list: commits in between only added newer segments behind them, and rows that died since
are dead in the new segment as well, since that is derived.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from vstore.deferred import Deferred
from vstore.segment.compaction import (
    extended_graph,
    merge_start,
    mostly_dead,
    takes_graph,
)
from vstore.segment.merging import Merge
from vstore.segment.vectors import DTYPES, RowBatch, VectorSegment, seal_rows

if TYPE_CHECKING:
    from vstore.index.building import ExtendableGraph
    from vstore.index.graph import GraphIndex
    from vstore.manifest.state import SegmentRef, VersionState
    from vstore.segment import graphs
    from vstore.segment.compaction import FindKernels
    from vstore.segment.row_table import SealedRows
    from vstore.storage.container import Container
else:  # most commits need none
    graphs = Deferred("vstore.segment.graphs")


class Replacement(NamedTuple):
    """What comes in place of some segments.

    Attributes
    ----------
    old : tuple[SegmentRef, ...]
        Neighbours in the version's list.
    rows : RowBatch | None
        Their rows, as one segment; None to leave them as they are.
    graph : GraphIndex | None
    """

    old: tuple[SegmentRef, ...]
    rows: RowBatch | None
    graph: GraphIndex | None


def find_replacement(
    version: VersionState, sealed: SealedRows, kernels: FindKernels
) -> Replacement | None:
    """Return the next replacement that is due, made in memory; None if nothing is.

    It depends on nothing but the version and the sealed rows.
    """
    start = merge_start([ref.rows for ref in version.segments])
    if start is not None:
        return _merged(version, sealed, slice(start, None), kernels)
    for number, ref in enumerate(version.segments):
        if mostly_dead(sealed, number):
            return _merged(version, sealed, slice(number, number + 1), kernels)
        segment = sealed.segments[number]
        if takes_graph(version, ref.rows) and not segment.has_graph:
            graph = _graph(version, segment, segment, kernels)
            if graph is not None:
                return Replacement((ref,), None, graph)
    return None


def _merged(
    version: VersionState, sealed: SealedRows, which: slice, kernels: FindKernels
) -> Replacement:
    segments = sealed.segments[which]
    kept = [np.flatnonzero(masks.live) for masks in sealed.masks[which]]
    dtype = DTYPES[version.storage]
    merge = Merge(segments, kept, dimension=version.spec.dimension, dtype=dtype)
    rows, graph = merge.batch(), None
    if takes_graph(version, len(rows)):
        before = extended_graph(segments, merge)
        graph = _graph(version, segments[0], rows, kernels, before=before)
    return Replacement(version.segments[which], rows, graph)


def _graph(
    version: VersionState,
    segment: VectorSegment,
    rows: VectorSegment | RowBatch,
    kernels: FindKernels,
    *,
    before: ExtendableGraph | None = None,
) -> GraphIndex | None:
    found = kernels(len(rows.docno))
    if found is None:
        return None
    return graphs.build_graph(segment.container.name, rows, version, found, before=before)


def replace_segments(
    container: Container, version: VersionState, replacement: Replacement, *, epoch: int
) -> tuple[SegmentRef, ...] | None:
    """Write a replacement and return the version's segments with it.

    None if the version's segments are no longer those that it was made from, or it is retired.
    """
    old, rows, graph = replacement
    if version.retired_us is not None:
        return None
    places = [i for i, ref in enumerate(version.segments) if ref == old[0]]
    if not places or version.segments[places[0] : places[0] + len(old)] != old:
        return None
    start = places[0]
    new: tuple[SegmentRef, ...] = old
    if rows is not None:
        new = (seal_rows(container, rows, version.spec, epoch=epoch),) if len(rows) else ()
    if graph is not None and new:
        segment = VectorSegment(container, new[0], version.spec)
        new = (graphs.write_graph(container, segment, graph, epoch=epoch),)
    return (*version.segments[:start], *new, *version.segments[start + len(old) :])
