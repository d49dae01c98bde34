"""Padding, replacing and merging the answers of a version's parts."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from vstore.query.fetching import FetchedBatch

if TYPE_CHECKING:
    from collections.abc import Sequence

    from vstore.index.flat import RankedRows
    from vstore.segment.row_table import RowPart
    from vstore.types import Array, IntArray


def padded(
    found: Sequence[RankedRows], numbers: Sequence[int], parts: Sequence[RowPart]
) -> FetchedBatch:
    """Return the results of a scan as arrays, padded to one width for all queries.

    Parameters
    ----------
    numbers : sequence of int
        For each scanned part, its number in ``parts``.
    """
    width = max((len(one.row) for one in found), default=0)
    shape = (len(found), width)
    batch = FetchedBatch(
        np.full(shape, -1), np.zeros(shape, np.int64), np.zeros(shape, np.int64),
        np.full(shape, -np.inf),
    )  # fmt: skip
    for i, one in enumerate(found):
        count = len(one.row)
        for place in np.unique(one.part).tolist():
            mine = np.flatnonzero(one.part == place)
            batch.docno[i, mine] = parts[numbers[place]].rows.docno[one.row[mine]]
            batch.part[i, mine] = numbers[place]
        batch.row[i, :count], batch.score[i, :count] = one.row, one.score
    return batch


def replaced(batch: FetchedBatch, queries: IntArray, other: FetchedBatch) -> FetchedBatch:
    """Return a batch in which the given queries have the answers of another batch.

    Parameters
    ----------
    queries : int64 (len(other),)
        Numbers of the queries to replace.
    """
    width = max(batch.docno.shape[1], other.docno.shape[1])
    fills = (-1, 0, 0, -np.inf)
    result = []
    for mine, theirs, fill in zip(batch[:4], other[:4], fills, strict=True):
        wide = np.full((len(mine), width), fill, mine.dtype)
        wide[:, : mine.shape[1]] = mine
        wide[queries] = fill
        wide[queries, : theirs.shape[1]] = theirs
        result.append(wide)
    return _batch(result)


def best(batches: Sequence[FetchedBatch], parts: Sequence[RowPart], k: int) -> FetchedBatch:
    """Merge the answers of parts; no document is in two of them."""
    columns = zip(*(batch[:4] for batch in batches), strict=True)
    joined = _batch([np.concatenate(arrays, axis=1) for arrays in columns])
    chunk = np.zeros(joined.docno.shape, np.int64)
    for number, part in enumerate(parts):
        if not part.rows.single:
            mine = (joined.part == number) & (joined.docno >= 0)
            chunk[mine] = part.rows.chunk[joined.row[mine]]
    missing = joined.docno < 0
    order = np.lexsort((chunk, joined.docno, -joined.score, missing), axis=1)[:, :k]
    return _batch([np.take_along_axis(array, order, 1) for array in joined[:4]])


def _batch(columns: Sequence[Array]) -> FetchedBatch:
    docno, part, row, score = columns
    return FetchedBatch(docno, part, row, score)
