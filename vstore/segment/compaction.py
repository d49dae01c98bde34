"""Which segments to merge, and merging them.

Tiered: a segment's tier is the logarithm of its rows; as soon as the newest segments up to some
tier are `MERGE_FANOUT` many they become one. Each row is then rewritten once per tier, and the
number of segments grows with the logarithm of the rows. Only neighbours in age are merged, so that
"the newest segment that holds a docno" keeps its meaning.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from vstore.limits import MERGE_FANOUT, SEAL_DOCUMENTS
from vstore.segment.document_table import SealedDocuments
from vstore.segment.documents import (
    DocumentSegment,
    concat_documents,
    newest_rows,
    seal_documents,
)
from vstore.segment.row_table import SealedRows
from vstore.segment.vectors import DTYPES, VectorSegment, merge_rows

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from vstore.manifest.state import SegmentRef, VersionState
    from vstore.storage.container import Container


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
        [s.columns(rows, field_types) for s, rows in zip(loaded, kept, strict=True)], field_types
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
) -> tuple[SegmentRef, ...]:
    """Return a version's segments after any merge that is due; rows never served again go."""
    start = merge_start([ref.rows for ref in version.segments])
    if start is None:
        return version.segments
    sealed = SealedRows(
        tuple(VectorSegment(container, ref, version.spec) for ref in version.segments),
        SealedDocuments(tuple(DocumentSegment(container, ref) for ref in documents)),
        serve_stale=version.stale_policy == "serve",
    )
    kept = [np.flatnonzero(masks.live) for masks in sealed.masks[start:]]
    merged = merge_rows(
        container,
        sealed.segments[start:],
        kept,
        version.spec,
        dtype=DTYPES[version.storage],
        epoch=epoch,
    )
    return version.segments[:start] if merged is None else (*version.segments[:start], merged)
