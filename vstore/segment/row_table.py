"""All rows of one version at one epoch, and which of them may be served.

A row is *current* if no newer batch of its version holds its document, and *fresh* if besides its
document is alive and still at the revision the row was made from. Both are computed here, from
revisions, and stored nowhere (derive, don't flag). So a late row can never come back.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from vstore.cached import cached_property
from vstore.companions import Companions
from vstore.errors import CorruptionError
from vstore.index.ranges import expand_ranges
from vstore.segment.documents import DELETED
from vstore.segment.vectors import RowBatch, VectorSegment, row_ahead

if TYPE_CHECKING:
    from vstore.segment.document_table import DocumentTable, SealedDocuments
    from vstore.segment.memtable import Memtable
    from vstore.types import Array, BoolArray


class RowPart(NamedTuple):
    """Some rows of a version: a sealed segment, or the memtable's.

    Attributes
    ----------
    rows : VectorSegment | RowBatch
    live : bool (n,) or None
        Which rows may be served; None if all.
    fresh : bool (n,) or None
        Which of those are fresh; None if all. Differs from ``live`` under stale policy "serve".
    """

    rows: VectorSegment | RowBatch
    live: BoolArray | None
    fresh: BoolArray | None

    @property
    def name(self) -> str:
        """What plans and traces call it."""
        if isinstance(self.rows, VectorSegment):
            return f"segment@{self.rows.ref.header.offset}"
        return "memtable"


class Masks(NamedTuple):
    """Which rows of a part may be served, which of those are fresh, and whether that is all."""

    live: BoolArray
    fresh: BoolArray
    all_live: bool
    all_fresh: bool

    @classmethod
    def of(cls, live: BoolArray, fresh: BoolArray) -> Masks:
        """Return the masks and whether they hide nothing."""
        return cls(live, fresh, bool(live.all()), bool(fresh.all()))

    def part(self, rows: VectorSegment | RowBatch) -> RowPart:
        """Return the part with these masks."""
        return RowPart(
            rows, None if self.all_live else self.live, None if self.all_fresh else self.fresh
        )


class SealedRows:
    """Sealed segments of a version over sealed documents; shared by successive snapshots."""

    def __init__(
        self,
        segments: tuple[VectorSegment, ...],
        documents: SealedDocuments,
        *,
        serve_stale: bool,
    ) -> None:
        self.segments = segments
        self.documents = documents
        self.serve_stale = serve_stale

    @cached_property
    def current(self) -> list[BoolArray]:
        """By segment, which rows no newer segment replaces."""
        masks = [np.ones(segment.rows, np.bool_) for segment in self.segments]
        for i, segment in enumerate(self.segments):
            for newer in self.segments[i + 1 :]:
                _clear(masks[i], segment.docno, newer.docno)
        return masks

    @cached_property
    def masks(self) -> list[Masks]:
        """By segment, which rows may be served and which of those are fresh."""
        result = []
        for segment, current in zip(self.segments, self.current, strict=True):
            if segment.ref.docno_end > self.documents.docno_end:
                raise segment.corrupt("rows of documents that do not exist")
            docno, made_from = segment.docno, segment.revision
            fresh = current & (self.documents.revision[docno] == made_from) & (made_from != DELETED)
            live = fresh
            if self.serve_stale:
                alive = self.documents.revision[docno] != DELETED
                live = current & alive & (made_from >= self.documents.created[docno])
            result.append(Masks.of(live, fresh))
        return result


class RowTable:
    """The rows of one version at one epoch.

    Attributes
    ----------
    companions : Companions
        What higher floors keep for as long as the table lives, such as masks of filters.
    tells_parts : bool
        Whether users are told of its parts: inside a scope they depend on what is outside.
    """

    tells_parts = True

    def __init__(
        self, label: str, sealed: SealedRows, memtable: Memtable, documents: DocumentTable
    ) -> None:
        self.label = label
        self._sealed = sealed
        self._memtable = memtable
        self._documents = documents
        self.companions = Companions()

    @cached_property
    def parts(self) -> list[RowPart]:
        """All parts, oldest first."""
        batch = self._memtable.batch(self.label)
        changed = bool(self._memtable.documents) or batch is not None
        parts = []
        for i, segment in enumerate(self._sealed.segments):
            masks = self._patched(i, batch) if changed else self._sealed.masks[i]
            parts.append(masks.part(segment))
        if batch is not None:
            revision = self._documents.revision[batch.docno]
            ahead = row_ahead(batch.revision, revision)
            if ahead is not None:  # of a sealed document: others were checked when they were read
                raise self._documents.corrupt(
                    f"a row of {self.label!r} made from revision {batch.revision[ahead]} of "
                    f"document {batch.docno[ahead]}, which is at {revision[ahead]}"
                )
            fresh = (revision == batch.revision) & (revision != DELETED)
            live = fresh
            if self._sealed.serve_stale:
                created = np.fromiter(map(self._created, batch.docno.tolist()), np.uint64)
                live = (revision != DELETED) & (batch.revision >= created)
            parts.append(Masks.of(live, fresh).part(batch))
        return parts

    @cached_property
    def has_graphs(self) -> bool:
        """Whether any part can be searched by a graph."""
        return any(
            isinstance(part.rows, VectorSegment) and part.rows.has_graph for part in self.parts
        )

    def keep_chunks(self) -> None:
        """Map the chunk numbers, which stay when the file is closed."""
        for segment in self._sealed.segments:
            if not segment.single:
                with contextlib.suppress(CorruptionError):  # whoever looks at a hit is told
                    _ = segment.chunk

    def _created(self, docno: int) -> int:
        record = self._memtable.documents.get(docno)
        return int(self._documents.sealed.created[docno]) if record is None else record.created

    def _patched(self, number: int, batch: RowBatch | None) -> Masks:
        """Apply what the memtable says to a sealed segment's masks."""
        segment, masks = self._sealed.segments[number], self._sealed.masks[number]
        docno = segment.docno
        changed, created, revisions = self._memtable.revisions()
        wanted = changed.astype(docno.dtype)  # else searchsorted would convert the whole column
        starts = np.searchsorted(docno, wanted)
        rows, owner = expand_ranges(starts, np.searchsorted(docno, wanted, side="right"))
        if not len(rows) and batch is None:
            return masks
        fresh = masks.fresh.copy()
        current = self._sealed.current[number][rows]
        made_from, revision = segment.revision[rows], revisions[owner]
        alive = current & (revision != DELETED)
        fresh[rows] = alive & (made_from == revision)
        live = fresh
        if self._sealed.serve_stale:
            live = masks.live.copy()
            live[rows] = alive & (made_from >= created[owner])
        if batch is not None:
            _clear(live, docno, batch.docno)
            _clear(fresh, docno, batch.docno)
        return Masks.of(live, fresh)

    @cached_property
    def has_fresh(self) -> BoolArray:
        """By docno, whether the document has fresh rows, bool (docno_end,)."""
        return self._by_docno([(part.rows.docno, part.fresh) for part in self.parts])

    @cached_property
    def has_served(self) -> BoolArray:
        """By docno, whether the document has rows that may be served, bool (docno_end,)."""
        return self._by_docno([(part.rows.docno, part.live) for part in self.parts])

    @cached_property
    def has_rows(self) -> BoolArray:
        """By docno, whether there are rows at all, stale ones included, bool (docno_end,)."""
        return self._by_docno([(part.rows.docno, None) for part in self.parts])

    def _by_docno(self, marked: list[tuple[Array, BoolArray | None]]) -> BoolArray:
        result = np.zeros(self._documents.docno_end, np.bool_)
        for docno, mask in marked:
            result[docno if mask is None else docno[mask]] = True
        return result

    @cached_property
    def fresh_count(self) -> int:
        """Number of documents with fresh rows."""
        if all(part.rows.single for part in self.parts):  # then a fresh row is a document
            return sum(
                len(part.rows.docno) if part.fresh is None else int(np.count_nonzero(part.fresh))
                for part in self.parts
            )
        return int(np.count_nonzero(self.has_fresh))

    @cached_property
    def served_by_part(self) -> list[int]:
        """Number of rows a search may return, by part."""
        return [
            len(part.rows.docno) if part.live is None else int(np.count_nonzero(part.live))
            for part in self.parts
        ]

    @property
    def served_rows(self) -> int:
        """Number of rows a search may return."""
        return sum(self.served_by_part)

    @property
    def sealed_bytes(self) -> int:
        """Bytes of the file that sealed segments take."""
        return sum(segment.ref.size_bytes for segment in self._sealed.segments)

    @property
    def norms(self) -> list[Array]:
        """Lengths of all vectors, by part."""
        return [part.rows.norms for part in self.parts]

    @property
    def has_chunks(self) -> bool:
        """Whether any document may have several rows."""
        return not all(part.rows.single for part in self.parts)

    @property
    def stale(self) -> BoolArray:
        """By docno, whether the document has rows and none is fresh, bool (docno_end,)."""
        return np.asarray(self.has_rows & ~self.has_fresh)

    def rows_of(self, docno: int) -> list[tuple[RowPart, int]]:
        """Return part and row of each served row of a document, by chunk number."""
        for part in reversed(self.parts):
            wanted = np.uint32(docno)
            start = int(np.searchsorted(part.rows.docno, wanted))
            end = int(np.searchsorted(part.rows.docno, wanted, side="right"))
            rows = [r for r in range(start, end) if part.live is None or part.live[r]]
            if rows:
                return [(part, row) for row in rows]
        return []


def _clear(mask: BoolArray, docno: Array, replaced: Array) -> None:
    """Clear the mask at every row whose docno (ascending) is among the replaced (ascending)."""
    if not len(docno) or not len(replaced) or replaced[0] > docno[-1] or replaced[-1] < docno[0]:
        return
    starts = np.searchsorted(docno, replaced)
    rows, _ = expand_ranges(starts, np.searchsorted(docno, replaced, side="right"))
    mask[rows] = False
