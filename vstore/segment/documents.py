"""Documents: the record of one, and sealed segments of many (`format-spec.md`, "Document segment").

A segment holds whole records, sorted by docno. Where several segments hold a docno the newest one
is right. Revision 0 says that the document is deleted; its id keeps the docno until a vacuum.
"""

from __future__ import annotations

from itertools import repeat
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from vstore.deferred import Deferred
from vstore.segment.column_types import FieldType
from vstore.segment.ids import (
    EncodedIds,
    decode_id,
    decode_ids,
    encode_ids,
    hash_ids,
    offsets_of,
)
from vstore.segment.sealed import PiecedArray, SealedSegment, write_segment
from vstore.storage.layout import HASH_BYTES

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from vstore.errors import CorruptionError
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


def concat_blobs(parts: Sequence[Blobs]) -> Blobs:
    """Join the strings of several parts."""
    shifts = np.cumsum([0, *(len(part.data) for part in parts)])
    offsets = [part.offsets[:-1] + shift for part, shift in zip(parts, shifts, strict=False)]
    return Blobs(
        np.concatenate([*offsets, shifts[-1:]]), np.concatenate([part.data for part in parts])
    )


class DocumentColumns(NamedTuple):
    """Documents as columns, sorted by docno: what is sealed, and what merging works on."""

    docno: Array  # u32 (n,), strictly ascending
    created: Array  # u64 (n,)
    revision: Array  # u64 (n,)
    ids: EncodedIds
    source_hash: Array | None  # u8 (n, 32), zero for none
    text: Blobs | None
    text_present: Array | None  # u8 (n,)
    fields: Mapping[str, Column]  # those with any value


class DocumentBatch(NamedTuple):
    """Documents as Python columns, sorted by docno: what records become, and what bulk writes are.

    ``created`` and ``revision`` are u64 (n,); ``docno`` is u32 (n,), strictly ascending.
    """

    docno: Array
    ids: Sequence[DocumentId]
    created: Array
    revision: Array
    hashes: Sequence[bytes | None] | None
    metadata: Sequence[dict[str, object]] | None
    texts: Sequence[str | None] | None

    def records(self) -> list[DocumentRecord]:
        """Return the documents one by one."""
        count = len(self.ids)
        return [
            DocumentRecord(*values)
            for values in zip(
                self.ids,
                self.created.tolist(),
                self.revision.tolist(),
                self.hashes or repeat(None, count),
                self.metadata or repeat({}, count),
                self.texts or repeat(None, count),
                strict=True,
            )
        ]


def batch_of(records: Mapping[int, DocumentRecord]) -> DocumentBatch:
    """Transpose records, keyed by docno."""
    numbers = sorted(records)
    ids, created, revisions, hashes, metadata, texts = zip(
        *[records[docno] for docno in numbers], strict=True
    )
    return DocumentBatch(
        np.array(numbers, np.uint32),
        ids,
        np.array(created, np.uint64),
        np.array(revisions, np.uint64),
        hashes,
        metadata,
        texts,
    )


def columns_of(batch: DocumentBatch, field_types: Mapping[str, str]) -> DocumentColumns:
    """Return documents as the arrays a segment is made of."""
    source_hash = text = text_present = None
    if batch.hashes is not None and any(batch.hashes):
        joined = b"".join([value or NO_HASH for value in batch.hashes])
        source_hash = np.frombuffer(joined, np.uint8).reshape(-1, HASH_BYTES)
    if batch.texts is not None and any(value is not None for value in batch.texts):
        pieces = [b"" if value is None else value.encode() for value in batch.texts]
        offsets = offsets_of([len(piece) for piece in pieces])
        text = Blobs(offsets, np.frombuffer(b"".join(pieces), np.uint8))
        text_present = np.array([value is not None for value in batch.texts], np.uint8)
    fields = {}
    if batch.metadata is not None and any(batch.metadata):
        for name, field_type in field_types.items():
            values = [entry.get(name) for entry in batch.metadata]
            if any(value is not None for value in values):
                fields[name] = columns.build_column(FieldType(field_type), values)
    return DocumentColumns(
        docno=batch.docno,
        created=batch.created,
        revision=batch.revision,
        ids=encode_ids(batch.ids),
        source_hash=source_hash,
        text=text,
        text_present=text_present,
        fields=fields,
    )


def seal_documents(
    container: Container, columns: DocumentColumns, *, docno_end: int, epoch: int
) -> SegmentRef:
    """Write documents as a segment."""
    hashes = hash_ids(columns.ids)
    order = np.argsort(hashes, kind="stable")
    arrays: dict[str, Array | PiecedArray] = {
        "docno": columns.docno,
        "created": columns.created,
        "revision": columns.revision,
        "id_kinds": columns.ids.kinds,
        "id_offsets": columns.ids.offsets,
        "id_bytes": columns.ids.data,
        "id_hash": hashes[order],
        "id_order": order.astype(np.uint32),
    }
    if columns.source_hash is not None:
        arrays["source_hash"] = columns.source_hash
    if columns.text is not None and columns.text_present is not None:
        arrays["text_offsets"] = columns.text.offsets
        arrays["text_bytes"] = columns.text.data
        arrays["text_present"] = columns.text_present
    types: dict[str, str] = {}
    for name, column in columns.fields.items():
        types[name] = str(column.field_type)
        arrays |= {f"field.{name}.{part}": array for part, array in column.arrays().items()}
    return write_segment(
        container,
        "documents",
        rows=len(columns.docno),
        docno_end=docno_end,
        epoch=epoch,
        attributes={"fields": types},
        arrays=arrays,
    )


class DocumentSegment(SealedSegment):
    """A sealed document segment. Rows are positions in it, not docnos."""

    kind = "documents"

    def __init__(self, container: Container, ref: SegmentRef) -> None:
        super().__init__(container, ref)
        self._columns: dict[str, Column | None] = {}
        self._ids: Blobs | None = None
        self.field_types = self._read_field_types()  # of the fields that have any value here
        docno = self.array("docno", "<u4", (self.rows,))
        if self.rows and not (
            bool((docno[1:] > docno[:-1]).all()) and int(docno[-1]) < ref.docno_end
        ):
            raise self.corrupt("docnos do not ascend below the segment's end")
        self.docno = docno
        # With strictly ascending docnos the ends decide whether row numbers are docnos.
        self.dense = bool(self.rows) and int(docno[0]) == 0 and int(docno[-1]) == self.rows - 1

    @property
    def created(self) -> Array:
        """Epochs at which the documents were added, u64 (rows,)."""
        return self.array("created", "<u8", (self.rows,))

    @property
    def revision(self) -> Array:
        """Revisions, u64 (rows,); 0 where the document is deleted."""
        return self.array("revision", "<u8", (self.rows,))

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
        ids = self.encoded_ids()
        data = ids.data[int(ids.offsets[row]) : int(ids.offsets[row + 1])].tobytes()
        try:
            return decode_id(int(ids.kinds[row]), data)
        except ValueError as error:
            raise self.corrupt(f"id of row {row}: {error}") from error

    def ids(self, rows: IntArray) -> list[DocumentId]:
        """Return the ids of some rows."""
        encoded = self.encoded_ids()
        try:
            return decode_ids(encoded, rows)
        except ValueError as error:
            raise self.corrupt(f"ids: {error}") from error

    def encoded_ids(self) -> EncodedIds:
        """Return all ids as they stand in the file."""
        kinds = self.array("id_kinds", "|u1", (self.rows,))
        if self._ids is None:
            self._ids = self._blobs("id_offsets", "id_bytes")
        return EncodedIds(kinds, *self._ids)

    def source_hash(self, row: int) -> bytes | None:
        """Return a row's source hash, None if it has none."""
        if not self.has("source_hash"):
            return None
        stored = self.source_hashes()[row].tobytes()
        return None if stored == NO_HASH else stored

    def source_hashes(self) -> Array:
        """Return all source hashes, u8 (rows, 32)."""
        return self.array("source_hash", "|u1", (self.rows, HASH_BYTES))

    def texts(self) -> tuple[Blobs, Array] | None:
        """Return all texts and which rows have one; None if no row has."""
        if not self.has("text_offsets"):
            return None
        present = self.array("text_present", "|u1", (self.rows,))
        return self._blobs("text_offsets", "text_bytes"), present

    def text(self, row: int) -> str | None:
        """Return a row's text, None if it has none."""
        texts = self.texts()
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
        return DocumentRecord(
            id=self.id(row),
            created=int(self.created[row]),
            revision=int(self.revision[row]),
            source_hash=self.source_hash(row),
            metadata=metadata,
            text=self.text(row),
        )

    def _value(self, name: str, column: Column, row: int) -> object:
        try:
            return column.normalized(row)
        except ValueError as error:
            raise self.corrupt(f"field {name!r} of row {row}: {error}") from error

    def columns(self, rows: IntArray, field_types: Mapping[str, str]) -> DocumentColumns:
        """Return some rows, in the given order, as columns."""
        ids = self.encoded_ids()
        taken = Blobs(ids.offsets, ids.data).take(rows)
        texts = self.texts()
        own = [(name, self.column(name)) for name in field_types if name in self.field_types]
        return DocumentColumns(
            docno=self.docno[rows],
            created=self.created[rows],
            revision=self.revision[rows],
            ids=EncodedIds(ids.kinds[rows], taken.offsets, taken.data),
            source_hash=self.source_hashes()[rows] if self.has("source_hash") else None,
            text=texts[0].take(rows) if texts else None,
            text_present=texts[1][rows] if texts else None,
            fields={name: column.take(rows) for name, column in own if column is not None},
        )

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
        for row in range(self.rows):
            self.record(row)
        ids = [self.id(row) for row in range(self.rows)]
        if self.rows and not np.array_equal(self.find(ids, hash_ids(encode_ids(ids))), self.docno):
            raise self.corrupt("the id index does not find every document")


def concat_documents(
    parts: Sequence[DocumentColumns], field_types: Mapping[str, str]
) -> DocumentColumns:
    """Join parts of disjoint docnos, and sort by docno."""
    docno = np.concatenate([part.docno for part in parts])
    order = np.argsort(docno, kind="stable")
    ids = concat_blobs([Blobs(part.ids.offsets, part.ids.data) for part in parts]).take(order)
    kinds = np.concatenate([part.ids.kinds for part in parts])[order]
    source_hash = text = text_present = None
    if any(part.source_hash is not None for part in parts):
        blank = [np.zeros((len(part.docno), HASH_BYTES), np.uint8) for part in parts]
        source_hash = np.concatenate(
            [
                b if p.source_hash is None else p.source_hash
                for p, b in zip(parts, blank, strict=True)
            ]
        )[order]
    if any(part.text is not None for part in parts):
        text = concat_blobs([part.text or _no_blobs(len(part.docno)) for part in parts]).take(order)
        text_present = np.concatenate(
            [
                np.zeros(len(part.docno), np.uint8)
                if part.text_present is None
                else part.text_present
                for part in parts
            ]
        )[order]
    fields = {}
    for name, type_name in field_types.items():
        if any(name in part.fields for part in parts):
            field_type = FieldType(type_name)
            of_parts = [
                part.fields.get(name) or columns.missing_column(field_type, len(part.docno))
                for part in parts
            ]
            fields[name] = columns.concat_columns(field_type, of_parts).take(order)
    return DocumentColumns(
        docno=docno[order],
        created=np.concatenate([part.created for part in parts])[order],
        revision=np.concatenate([part.revision for part in parts])[order],
        ids=EncodedIds(kinds, ids.offsets, ids.data),
        source_hash=source_hash,
        text=text,
        text_present=text_present,
        fields=fields,
    )


def _no_blobs(count: int) -> Blobs:
    return Blobs(np.zeros(count + 1, np.int64), np.zeros(0, np.uint8))


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
