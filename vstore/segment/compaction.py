"""Which segments to merge, and merging them.

Tiered: a segment's tier is the logarithm of its rows; as soon as the newest segments up to some
tier are `MERGE_FANOUT` many they become one. Each row is then rewritten once per tier, and the
number of segments grows with the logarithm of the rows. Only neighbours in age are merged, so that
"the newest segment that holds a docno" keeps its meaning.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from vstore.deferred import Deferred
from vstore.limits import DEAD_SHARE_MAX, MERGE_FANOUT, SEAL_DOCUMENTS
from vstore.native.arrays import NONE
from vstore.segment.document_columns import columns_of_rows, concat_documents, seal_documents
from vstore.segment.document_table import SealedDocuments
from vstore.segment.documents import DocumentSegment, newest_rows
from vstore.segment.merging import merge_rows
from vstore.segment.row_table import SealedRows
from vstore.segment.vectors import DTYPES, VectorSegment

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from vstore.index import building
    from vstore.index.building import ExtendableGraph
    from vstore.index.construction import Kernels
    from vstore.manifest.state import SegmentRef, VersionState
    from vstore.segment import graphs
    from vstore.segment.merging import Merge, MergedRows
    from vstore.segment.vectors import RowBatch
    from vstore.storage.container import Container
else:  # most commits need none
    building = Deferred("vstore.index.building")
    graphs = Deferred("vstore.segment.graphs")


FindKernels: TypeAlias = "Callable[[int], Kernels | None]"  # for a graph of so many rows


def no_kernels(_rows: int) -> None:
    """Build no graph."""


def merge_start(rows: Sequence[int]) -> int | None:
    """Return the index from which segments, oldest first, become one; None to leave them.

    Examples
    --------
    >>> merge_start([90_000, *[1_000] * 7]), merge_start([90_000, *[1_000] * 8])
    (None, 1)
    """
    start: int | None = None
    tier = 0
    sizes = list(rows)
    while True:
        first = len(sizes)
        while first > 0 and _tier(sizes[first - 1]) <= tier:
            first -= 1
        if len(sizes) - first >= MERGE_FANOUT:
            sizes[first:] = [sum(sizes[first:])]
            start = first
        elif first == 0:
            return start
        tier += 1


def _tier(rows: int) -> int:
    tier, limit = 0, SEAL_DOCUMENTS * MERGE_FANOUT // 2
    while rows > limit:
        tier, limit = tier + 1, limit * MERGE_FANOUT
    return tier


def merge_documents(
    container: Container,
    segments: Sequence[SegmentRef],
    field_types: Mapping[str, str],
    *,
    epoch: int,
) -> tuple[SegmentRef, ...]:
    """Return the segments after any merge that is due, written to the container."""
    start = merge_start([ref.rows for ref in segments])
    if start is None:
        return tuple(segments)
    loaded = [DocumentSegment(container, ref) for ref in segments[start:]]
    kept = [np.flatnonzero(keep) for keep in newest_rows(loaded)]
    columns = concat_documents(
        [columns_of_rows(s, rows, field_types) for s, rows in zip(loaded, kept, strict=True)],
        field_types,
    )
    docno_end = max(ref.docno_end for ref in segments[start:])
    return (
        *segments[:start],
        seal_documents(container, columns, docno_end=docno_end, epoch=epoch),
    )


def merge_version(
    container: Container,
    version: VersionState,
    documents: Sequence[SegmentRef],
    *,
    epoch: int,
    kernels: FindKernels,
) -> tuple[SegmentRef, ...]:
    """Return a version's segments after any merge that is due; rows never served again go.

    Parameters
    ----------
    kernels : callable
        Returns what builds the graph of a merged segment; None to build none.
    """
    start = merge_start([ref.rows for ref in version.segments])
    if start is None:
        return version.segments
    sealed = _sealed(container, version, documents)
    merged = _merge(container, version, sealed, slice(start, None), kernels, epoch=epoch)
    return (*version.segments[:start], *merged)


def drop_dead(
    container: Container,
    version: VersionState,
    documents: Sequence[SegmentRef],
    *,
    epoch: int,
    kernels: FindKernels,
) -> tuple[SegmentRef, ...]:
    """Return a version's segments after those of mostly dead rows were written without them."""
    sealed = _sealed(container, version, documents)
    segments: list[SegmentRef] = []
    for number, ref in enumerate(version.segments):
        if mostly_dead(sealed, number):
            only = slice(number, number + 1)
            segments += _merge(container, version, sealed, only, kernels, epoch=epoch)
        else:
            segments.append(ref)
    return tuple(segments)


def mostly_dead(sealed: SealedRows, number: int) -> bool:
    """Whether so many rows of a segment may never be served again that it is worth writing anew."""
    rows = sealed.segments[number].rows
    dead = rows - int(np.count_nonzero(sealed.masks[number].live))
    return rows >= SEAL_DOCUMENTS and dead > DEAD_SHARE_MAX * rows


def _sealed(
    container: Container, version: VersionState, documents: Sequence[SegmentRef]
) -> SealedRows:
    return SealedRows(
        tuple(VectorSegment(container, ref, version.spec) for ref in version.segments),
        SealedDocuments(tuple(DocumentSegment(container, ref) for ref in documents)),
        serve_stale=version.stale_policy == "serve",
    )


def _merge(
    container: Container,
    version: VersionState,
    sealed: SealedRows,
    which: slice,
    kernels: FindKernels,
    *,
    epoch: int,
) -> tuple[SegmentRef, ...]:
    """Write the rows of some segments that may be served as one, with a graph if it is due."""
    segments = sealed.segments[which]
    merged = merge_rows(
        container,
        segments,
        [np.flatnonzero(masks.live) for masks in sealed.masks[which]],
        version.spec,
        dtype=DTYPES[version.storage],
        epoch=epoch,
    )
    if merged is None:
        return ()
    if not takes_graph(version, merged.ref.rows):
        return (merged.ref,)
    before = extended_graph(segments, merged)
    return (graph_of(container, version, merged.ref, kernels, epoch=epoch, before=before),)


def index_version(
    container: Container, version: VersionState, kernels: FindKernels, *, epoch: int
) -> tuple[SegmentRef, ...]:
    """Return a version's segments after those that are due a graph have got one."""
    return tuple(
        graph_of(container, version, ref, kernels, epoch=epoch)
        if takes_graph(version, ref.rows)
        else ref
        for ref in version.segments
    )


def takes_graph(version: VersionState, rows: int) -> bool:
    """Whether so many rows are enough for a graph, by the version's settings."""
    settings = version.graph
    return settings is not None and version.retired_us is None and rows >= max(1, settings.rows_min)


def graph_of(
    container: Container,
    version: VersionState,
    ref: SegmentRef,
    kernels: FindKernels,
    *,
    epoch: int,
    before: ExtendableGraph | None = None,
) -> SegmentRef:
    """Return a segment with a graph; as it is if it has one, or nothing can build one."""
    segment = VectorSegment(container, ref, version.spec)
    found = None if segment.has_graph else kernels(ref.rows)
    if found is None or version.graph is None:
        return ref
    index = graphs.build_graph(container.name, segment, version, found, before=before)
    return graphs.write_graph(container, segment, index, epoch=epoch)


def extended_graph(
    segments: Sequence[VectorSegment | RowBatch], merged: MergedRows | Merge, *, whole: bool = False
) -> ExtendableGraph | None:
    """Return the largest graph of some merged segments, to be extended by the other rows.

    With ``whole``, None if a row of it is not among the merged ones.

    Raises
    ------
    CorruptionError
        The levels of its nodes do not ascend.
    """
    with_graph = [
        (segment.rows, number)
        for number, segment in enumerate(segments)
        if isinstance(segment, VectorSegment) and segment.has_graph
    ]
    if not with_graph:
        return None
    _, number = max(with_graph)
    segment = segments[number]
    assert isinstance(segment, VectorSegment)
    graph = segment.graph
    assert graph is not None
    if bool((graph.arrays.first[1:] < graph.arrays.first[:-1]).any()):
        raise segment.corrupt("graph: levels do not ascend")
    node = np.full(len(merged.row), NONE, np.uint32)
    mine = merged.source == number
    if whole and (graph.ghosts or np.count_nonzero(mine) < segment.rows):
        return None
    node[mine] = graph.node[merged.row[mine]]
    return building.ExtendableGraph(graph, node)
