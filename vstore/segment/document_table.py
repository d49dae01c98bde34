"""All documents of a collection at one epoch: sealed segments under a memtable."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from vstore.cached import cached_property
from vstore.deferred import Deferred
from vstore.segment.documents import DELETED, DocumentRecord, DocumentSegment
from vstore.segment.ids import encode_ids, hash_ids

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from vstore.errors import CorruptionError
    from vstore.manifest.state import FieldType
    from vstore.segment import columns
    from vstore.segment.columns import Column
    from vstore.segment.memtable import Memtable
    from vstore.types import Array, BoolArray, DocumentId, IntArray

    # Given a way to get a field's column and the number of rows: which rows match.
    Predicate = Callable[[Callable[[str], Column | None], int], BoolArray]
else:  # what a search without a filter does not need
    columns = Deferred("vstore.segment.columns")


class SealedDocuments:
    """The sealed segments of a collection, oldest first; shared by successive snapshots."""

    def __init__(self, segments: tuple[DocumentSegment, ...]) -> None:
        self.segments = segments
        self.docno_end = max((segment.ref.docno_end for segment in segments), default=0)

    @cached_property
    def whole(self) -> DocumentSegment | None:
        """The segment that has every document at the row of its docno; None if there is none."""
        only = len(self.segments) == 1 and self.segments[0].rows == self.docno_end
        return self.segments[0] if only else None

    @cached_property
    def revision(self) -> Array:
        """Current revision by docno, u64 (docno_end,); 0 where there is no live document."""
        if self.whole is not None:
            return self.whole.revision
        revision = np.zeros(self.docno_end, np.uint64)
        for segment in self.segments:
            revision[segment.docno] = segment.revision
        return revision

    @cached_property
    def created(self) -> Array:
        """Epoch by docno at which the document was added, u64 (docno_end,)."""
        created = np.zeros(self.docno_end, np.uint64)
        for segment in self.segments:
            added, changed = segment.created, segment.revision
            if bool(((added > changed) & (changed != DELETED)).any()):
                raise segment.corrupt("a document that was created after its last change")
            created[segment.docno] = added
        return created

    @cached_property
    def live_count(self) -> int:
        """Number of live documents."""
        return int(np.count_nonzero(self.revision))

    def find(self, ids: Sequence[DocumentId]) -> IntArray:
        """Return the docno of each id, -1 where there is none. Deleted documents keep theirs."""
        found = np.full(len(ids), -1, np.int64)
        if not self.segments or not ids:
            return found
        hashes = hash_ids(encode_ids(ids))
        missing = np.arange(len(ids))
        for segment in reversed(self.segments):
            found[missing] = segment.find([ids[i] for i in missing.tolist()], hashes[missing])
            missing = np.flatnonzero(found < 0)
            if not len(missing):
                break
        return found

    def locate(self, docno: int) -> tuple[DocumentSegment, int] | None:
        """Return the newest segment that has a document, and its row there."""
        for segment in reversed(self.segments):
            row = int(segment.rows_of(np.array([docno]))[0])
            if row >= 0:
                return segment, row
        return None

    def mask(self, predicate: Predicate) -> BoolArray:
        """Return by docno which live documents match."""
        result = np.zeros(self.docno_end, np.bool_)
        for segment in self.segments:
            matches = predicate(segment.column, segment.rows)
            result[segment.docno] = matches & (segment.revision != DELETED)
        return result


class DocumentTable:
    """The documents of one collection at one epoch."""

    def __init__(
        self, sealed: SealedDocuments, memtable: Memtable, field_types: dict[str, FieldType]
    ) -> None:
        for segment in sealed.segments:
            if not segment.field_types.items() <= field_types.items():
                raise segment.corrupt("fields that the manifest does not have")
        self.sealed = sealed
        self.memtable = memtable
        self.field_types = field_types
        self.docno_end = max(sealed.docno_end, memtable.docno_end)

    @cached_property
    def revision(self) -> Array:
        """Current revision by docno, u64 (docno_end,); 0 where there is no live document."""
        docnos, _, revisions = self.memtable.revisions()
        if not len(docnos):
            return self.sealed.revision
        revision = np.zeros(self.docno_end, np.uint64)
        revision[: self.sealed.docno_end] = self.sealed.revision
        revision[docnos] = revisions
        return revision

    def corrupt(self, problem: str) -> CorruptionError:
        """Return an error about what does not fit the sealed documents, of which there are some."""
        return self.sealed.segments[-1].corrupt(problem)

    @cached_property
    def live_count(self) -> int:
        """Number of live documents."""
        docnos, _, revisions = self.memtable.revisions()
        known = docnos[docnos < self.sealed.docno_end]
        replaced = int(np.count_nonzero(self.sealed.revision[known])) if len(known) else 0
        return self.sealed.live_count - replaced + int(np.count_nonzero(revisions))

    def find(self, ids: Sequence[DocumentId]) -> IntArray:
        """Return the docno of each id, -1 where there is none. Deleted documents keep theirs."""
        recent = self.memtable.docnos
        if not recent:
            return self.sealed.find(ids)
        found = np.fromiter((recent.get(value, -1) for value in ids), np.int64, len(ids))
        missing = np.flatnonzero(found < 0)
        if len(missing) and self.sealed.segments:
            found[missing] = self.sealed.find([ids[i] for i in missing.tolist()])
        return found

    def keep_ids(self) -> None:
        """Have all ids at hand for as long as this table lives, whatever becomes of the file."""
        for segment in self.sealed.segments:
            segment.keep_ids()

    def record(self, docno: int) -> DocumentRecord:
        """Return a document's record, deleted or not; the docno must be one of this table."""
        recent = self.memtable.documents.get(docno)
        if recent is not None:
            return recent
        place = self.sealed.locate(docno)
        assert place is not None, f"docno {docno} came from this table"
        segment, row = place
        return segment.record(row)

    def id(self, docno: int) -> DocumentId:
        """Return a document's id."""
        recent = self.memtable.documents.get(docno)
        if recent is not None:
            return recent.id
        place = self.sealed.locate(docno)
        assert place is not None, f"docno {docno} came from this table"
        segment, row = place
        return segment.id(row)

    def ids(self, docnos: IntArray) -> list[DocumentId]:
        """Return the ids of documents, also of thousands at once."""
        if self.sealed.whole is not None and not self.memtable.documents:
            return self.sealed.whole.ids(docnos)
        result: list[DocumentId] = [0] * len(docnos)
        missing = np.arange(len(docnos))
        if self.memtable.documents:
            recent = np.fromiter(self.memtable.documents, np.int64)
            for place in np.flatnonzero(np.isin(docnos, recent)).tolist():
                result[place] = self.memtable.documents[int(docnos[place])].id
            missing = np.flatnonzero(~np.isin(docnos, recent))
        for segment in reversed(self.sealed.segments):
            if not len(missing):
                break
            rows = segment.rows_of(docnos[missing])
            here = rows >= 0
            found = segment.ids(rows[here])
            if len(found) == len(result):
                return found
            for place, id_ in zip(missing[here].tolist(), found, strict=True):
                result[place] = id_
            missing = missing[~here]
        assert not len(missing), "the docnos came from this table"
        return result

    def integer_ids(self, docnos: IntArray) -> IntArray | None:
        """Return the ids of documents, int64, if they are integers side by side; None if not."""
        whole = self.sealed.whole
        if whole is None or whole.integer_ids is None or self.memtable.documents:
            return None
        return np.asarray(whole.integer_ids[docnos])

    def source_hash(self, docno: int) -> bytes | None:
        """Return a document's source hash."""
        recent = self.memtable.documents.get(docno)
        if recent is not None:
            return recent.source_hash
        place = self.sealed.locate(docno)
        return None if place is None else place[0].source_hash(place[1])

    def mask(self, predicate: Predicate) -> BoolArray:
        """Return by docno which live documents match, bool (docno_end,)."""
        sealed = self.sealed.mask(predicate)
        if not self.memtable.documents:
            return sealed
        result = np.zeros(self.docno_end, np.bool_)
        result[: len(sealed)] = sealed
        records = list(self.memtable.documents.values())

        def column(name: str) -> Column | None:
            values = [record.metadata.get(name) for record in records]
            return columns.build_column(self.field_types[name], values)

        alive = np.fromiter((record.revision != DELETED for record in records), np.bool_)
        docnos = np.fromiter(self.memtable.documents, np.int64, len(records))
        result[docnos] = predicate(column, len(records)) & alive
        return result
