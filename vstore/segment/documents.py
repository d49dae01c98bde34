"""Documents: the record of one, and sealed segments of many (`format-spec.md`, "Document segment").

A segment holds whole records, sorted by docno. Where several segments hold a docno the newest one
is right. Revision 0 says that the document is deleted; its id keeps the docno until a vacuum.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from vstore.cached import cached_property
from vstore.deferred import Deferred
from vstore.errors import CorruptionError
from vstore.manifest.plain import U64_MAX
from vstore.manifest.state import FieldType
from vstore.segment.ids import (
    EncodedIds,
    decode_id,
    decode_ids,
    encode_ids,
    hash_ids,
    integer_ids,
    offsets_of,
)
from vstore.segment.sealed import SealedSegment
from vstore.storage.layout import HASH_BYTES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from vstore.manifest.state import SegmentRef
    from vstore.segment import columns
    from vstore.segment.columns import Column
    from vstore.segment.ids import U64Array
    from vstore.storage.container import Container
    from vstore.types import Array, BoolArray, DocumentId, IntArray
else:  # what a search without a filter does not need
    columns = Deferred("vstore.segment.columns")

DELETED = 0  # the revision of a tombstone
NO_HASH = bytes(HASH_BYTES)
TEXT_ARRAYS = frozenset(("text_offsets", "text_bytes", "text_present"))
_IDS_MANY = 256


class DocumentRecord(NamedTuple):
    """One document at one epoch.

    Attributes
    ----------
    created : int
        Epoch of the commit that added it, again if it had been deleted.
    revision : int
        Epoch of the commit that last changed its source; 0 once it is deleted.
    source_hash : bytes | None
        What the source hashed to, 32 bytes.
    metadata : dict
        Canonical values by field; a missing field has no entry.
    """

    id: DocumentId
    created: int
    revision: int
    source_hash: bytes | None
    metadata: dict[str, object]
    text: str | None

    @property
    def life(self) -> tuple[int, int]:
        """When it was created, and its revision."""
        return self.created, self.revision


def life_problem(created: int, revision: int, epoch: int) -> str | None:
    """Return what is impossible about a document's epochs in the state of an epoch, if anything."""
    if not 1 <= created <= epoch or revision > epoch:
        return f"created at {created}, changed at {revision}, in the state of epoch {epoch}"
    if revision != DELETED and created > revision:
        return f"created at {created}, after its last change at {revision}"
    return None


def succession_problem(before: tuple[int, int], after: tuple[int, int]) -> str | None:
    """Return what is impossible about a document that was so, and is so after a later commit.

    Parameters
    ----------
    before, after : (created, revision)
        A deletion keeps when a document was created; one that is written again is created anew.
    """
    if after[0] < before[0]:
        return f"created at {before[0]}, and later at {after[0]}"
    if DELETED != after[1] < before[1]:
        return f"changed at {before[1]}, and later at {after[1]}"
    return None


class Blobs(NamedTuple):
    """Byte strings of varying length: int64 ``offsets`` (n + 1,) into u8 ``data``."""

    offsets: Array
    data: Array

    def get(self, row: int) -> bytes:
        """Return one string's bytes."""
        return self.data[int(self.offsets[row]) : int(self.offsets[row + 1])].tobytes()

    def take(self, rows: IntArray) -> Blobs:
        """Return the strings of some rows, runs of neighbours copied at once."""
        lengths = (self.offsets[rows + 1] - self.offsets[rows]).astype(np.int64)
        offsets = offsets_of(lengths)
        breaks = np.flatnonzero(np.diff(rows) != 1) + 1
        first = np.concatenate(([0], breaks)) if len(rows) else breaks
        last = np.concatenate((breaks, [len(rows)])) if len(rows) else breaks
        starts = self.offsets[rows[first]].tolist()
        ends = self.offsets[rows[last - 1] + 1].tolist()
        runs = [self.data[start:end] for start, end in zip(starts, ends, strict=True)]
        return Blobs(offsets, np.concatenate(runs) if runs else self.data[:0])

    def problem(self, rows: int) -> str | None:
        """Return what is wrong with the offsets, if anything is."""
        offsets = self.offsets
        if len(offsets) != rows + 1 or offsets[0] != 0 or offsets[-1] != len(self.data):
            return "offsets do not span the data"
        if len(offsets) > 1 and bool((offsets[1:] < offsets[:-1]).any()):
            return "offsets decrease"
        return None


class DocumentSegment(SealedSegment):
    """A sealed document segment. Rows are positions in it, not docnos."""

    kind = "documents"

    def __init__(self, container: Container, ref: SegmentRef) -> None:
        super().__init__(container, ref)
        self._columns: dict[str, Column | None] = {}
        self._ids_asked = 0
        self._ids_kept = False
        self.field_types = self._read_field_types()  # of the fields that have any value here
        docno = self.array("docno", "<u4", (self.rows,))
        if self.rows and not (
            bool((docno[1:] > docno[:-1]).all()) and int(docno[-1]) == ref.docno_end - 1
        ):
            raise self.corrupt("docnos do not ascend to the segment's end")
        self.docno = docno
        # With strictly ascending docnos the ends decide whether row numbers are docnos.
        self.dense = bool(self.rows) and int(docno[0]) == 0 and int(docno[-1]) == self.rows - 1

    @cached_property
    def created(self) -> Array:
        """Epochs at which the documents were added, u64 (rows,)."""
        created = self.array("created", "<u8", (self.rows,))
        if self.rows and not 0 < int(created.min()) <= int(created.max()) <= self.ref.epoch:
            raise self.corrupt(f"documents created at other epochs than 1 to {self.ref.epoch}")
        return created

    @cached_property
    def revision(self) -> Array:
        """Revisions, u64 (rows,); 0 where the document is deleted."""
        revision = self.array("revision", "<u8", (self.rows,))
        if self.rows and int(revision.max()) > self.ref.epoch:
            raise self.corrupt(f"documents of later epochs than {self.ref.epoch}")
        return revision

    def rows_of(self, docnos: Array) -> IntArray:
        """Return the row of each docno, -1 where this segment has none."""
        if self.dense:
            return np.where(docnos < self.rows, docnos.astype(np.int64), -1)
        docnos = docnos.astype(self.docno.dtype)  # else searchsorted would convert the whole column
        rows = np.searchsorted(self.docno, docnos)
        inside = rows < self.rows
        found = np.zeros(len(docnos), np.bool_)
        found[inside] = self.docno[rows[inside]] == docnos[inside]
        return np.where(found, rows, -1)

    def find(self, ids: Sequence[DocumentId], hashes: U64Array) -> IntArray:
        """Return the docno of each id, -1 where this segment has none."""
        index = self.array("id_hash", "<u8", (self.rows,))
        order = self.array("id_order", "<u4", (self.rows,))
        starts = np.searchsorted(index, hashes)
        ends = np.searchsorted(index, hashes, side="right")
        found = np.full(len(ids), -1, np.int64)
        for i in np.flatnonzero(ends > starts).tolist():
            for entry in range(int(starts[i]), int(ends[i])):
                row = int(order[entry])
                if row >= self.rows:
                    raise self.corrupt(f"id index names row {row}")
                if self.id(row) == ids[i]:
                    found[i] = self.docno[row]
                    break
        return found

    def id(self, row: int) -> DocumentId:
        """Return the id of a row."""
        ids = self.encoded_ids
        data = ids.data[int(ids.offsets[row]) : int(ids.offsets[row + 1])].tobytes()
        try:
            return decode_id(int(ids.kinds[row]), data)
        except ValueError as error:
            raise self.corrupt(f"id of row {row}: {error}") from error

    def ids(self, rows: IntArray) -> list[DocumentId]:
        """Return the ids of some rows."""
        self._ids_asked += len(rows)
        # To see that all are integers takes as long as to decode thousands.
        if self._ids_asked >= _IDS_MANY and self.integer_ids is not None:
            numbers: list[DocumentId] = self.integer_ids[rows].tolist()
            return numbers
        try:
            return decode_ids(self.encoded_ids, rows)
        except ValueError as error:
            raise self.corrupt(f"ids: {error}") from error

    def keep_ids(self) -> None:
        """Map the ids, which stay when the file is closed."""
        if not self._ids_kept:
            self._ids_kept = True
            with contextlib.suppress(CorruptionError):  # whoever looks at an id is told
                _ = self.encoded_ids

    @cached_property
    def encoded_ids(self) -> EncodedIds:
        """All ids as they stand in the file."""
        kinds = self.array("id_kinds", "|u1", (self.rows,))
        return EncodedIds(kinds, *self._blobs("id_offsets", "id_bytes"))

    @cached_property
    def integer_ids(self) -> IntArray | None:
        """All ids, int64 (rows,), if they are integers."""
        return integer_ids(self.encoded_ids)

    def source_hash(self, row: int) -> bytes | None:
        """Return a row's source hash, None if it has none."""
        if not self.has("source_hash"):
            return None
        stored = self.source_hashes[row].tobytes()
        return None if stored == NO_HASH else stored

    @cached_property
    def source_hashes(self) -> Array:
        """All source hashes, u8 (rows, 32)."""
        return self.array("source_hash", "|u1", (self.rows, HASH_BYTES))

    @cached_property
    def texts(self) -> tuple[Blobs, Array] | None:
        """All texts and which rows have one; None if no row has."""
        # Kept, for its offsets are checked whole, and a backfill asks for one text at a time.
        if not self.has("text_offsets"):
            return None
        present = self.array("text_present", "|u1", (self.rows,))
        return self._blobs("text_offsets", "text_bytes"), present

    def text(self, row: int) -> str | None:
        """Return a row's text, None if it has none."""
        texts = self.texts
        if texts is None or not texts[1][row]:
            return None
        try:
            return texts[0].get(row).decode()
        except UnicodeDecodeError as error:
            raise self.corrupt(f"text of row {row}: {error}") from error

    def _read_field_types(self) -> dict[str, FieldType]:
        types = self.header.attributes.get("fields")
        if not isinstance(types, dict):
            raise self.corrupt("no field types")
        try:
            return {str(name): FieldType(value) for name, value in types.items()}
        except ValueError as error:
            raise self.corrupt(str(error)) from error

    def column(self, name: str) -> Column | None:
        """Return a field's column, None if no document here has a value for it."""
        if name not in self._columns:
            field_type = self.field_types.get(name)
            self._columns[name] = None if field_type is None else self._column(name, field_type)
        return self._columns[name]

    def _column(self, name: str, field_type: FieldType) -> Column:
        arrays = {
            part: self.array(f"field.{name}.{part}", dtype, (None,))
            for part, dtype in columns.ARRAY_DTYPES[field_type].items()
        }
        try:
            return columns.column_from_arrays(field_type, arrays, count=self.rows)
        except ValueError as error:
            raise self.corrupt(f"field {name!r}: {error}") from error

    def record(self, row: int) -> DocumentRecord:
        """Return a row's whole record."""
        metadata = {}
        for name in self.field_types:
            column = self.column(name)
            value = None if column is None else self._value(name, column, row)
            if value is not None:
                metadata[name] = value
        created, revision = int(self.created[row]), int(self.revision[row])
        problem = life_problem(created, revision, U64_MAX)
        if problem is not None:
            raise self.corrupt(f"document of row {row}: {problem}")
        return DocumentRecord(
            id=self.id(row),
            created=created,
            revision=revision,
            source_hash=self.source_hash(row),
            metadata=metadata,
            text=self.text(row),
        )

    def _value(self, name: str, column: Column, row: int) -> object:
        try:
            return column.normalized(row)
        except ValueError as error:
            raise self.corrupt(f"field {name!r} of row {row}: {error}") from error

    def _blobs(self, offsets: str, data: str) -> Blobs:
        blobs = Blobs(
            self.array(offsets, "<i8", (self.rows + 1,)), self.array(data, "|u1", (None,))
        )
        problem = blobs.problem(self.rows)
        if problem:
            raise self._blob_error(offsets, problem)
        return blobs

    def _blob_error(self, name: str, problem: str) -> CorruptionError:
        return self.corrupt(f"array {name!r}: {problem}")

    def verify(self) -> None:
        """Check hashes, and every value of every document."""
        super().verify()
        parts = {name for name in self.header.arrays if name in TEXT_ARRAYS}
        if parts and parts != TEXT_ARRAYS:
            raise self.corrupt(f"{', '.join(sorted(parts))} without the other arrays of texts")
        for row in range(self.rows):
            record = self.record(row)
            bare = record.source_hash is None and record.text is None and not record.metadata
            if record.revision == DELETED and not bare:
                raise self.corrupt(f"row {row}: deleted, but with a hash, metadata or a text")
        texts = self.texts
        if texts is not None:
            blobs, present = texts
            lengths = np.diff(blobs.offsets)
            if self.rows and (int(present.max()) > 1 or bool(lengths[present == 0].any())):
                raise self.corrupt("texts of documents that have none")
        ids = decode_ids(self.encoded_ids, np.arange(self.rows))  # each record had its own
        index, order = (
            self.array("id_hash", "<u8", (self.rows,)),
            self.array("id_order", "<u4", (self.rows,)),
        )
        hashes = hash_ids(encode_ids(ids))
        if not (
            len(set(ids)) == self.rows
            and np.array_equal(np.sort(order), np.arange(self.rows))
            and np.array_equal(index, np.sort(hashes))
            and np.array_equal(index, hashes[order])
        ):
            raise self.corrupt("the id index does not find every document")


def newest_rows(segments: Sequence[DocumentSegment]) -> list[BoolArray]:
    """Return, for segments from old to new, which rows no newer segment replaces."""
    kept: list[BoolArray] = []
    for i, segment in enumerate(segments):
        keep = np.ones(segment.rows, np.bool_)
        for newer in segments[i + 1 :]:
            rows = segment.rows_of(newer.docno)
            keep[rows[rows >= 0]] = False
        kept.append(keep)
    return kept
