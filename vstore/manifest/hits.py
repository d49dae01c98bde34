"""How often documents were found: a record of a collection (`format-spec.md`, "Records")."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from vstore.manifest.plain import Plain, PlainReader
    from vstore.types import Array


class Hits(NamedTuple):
    """Hits of documents that were found at all.

    Attributes
    ----------
    docno : u32 (n,)
        Ascending.
    found : u64 (n,)
        Above 0.
    """

    docno: Array
    found: Array

    def by_docno(self, docno_end: int) -> Array:
        """Return hits by docno, u64 (docno_end,)."""
        hits = np.zeros(docno_end, np.uint64)
        known = self.docno < docno_end
        hits[self.docno[known]] = self.found[known]
        return hits


def hits_of(by_docno: Array) -> Hits:
    """Return hits from counts by docno."""
    docno = np.flatnonzero(by_docno)
    return Hits(docno.astype(np.uint32), by_docno[docno].astype(np.uint64))


def plain_hits(hits: Hits) -> Plain:
    """Return hits as structured data."""
    return {
        "docno": hits.docno.astype("<u4").tobytes(),
        "count": hits.found.astype("<u8").tobytes(),
    }


def read_hits(plain: PlainReader) -> Hits:
    """Check hits from a file.

    Raises
    ------
    ValueError
        A value is missing, or is none that vstore writes.
    """
    docno, count = plain.binary("docno"), plain.binary("count")
    if len(docno) % 4 or len(count) != 2 * len(docno):
        raise ValueError(f"{plain.where}: {len(docno)} bytes of docnos, {len(count)} of counts")
    hits = Hits(np.frombuffer(docno, "<u4"), np.frombuffer(count, "<u8"))
    if bool((hits.docno[1:] <= hits.docno[:-1]).any()):
        raise ValueError(f"{plain.where}: docnos do not ascend")
    return hits
