"""Documents as arrays: what is sealed, and what merging works on."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from vstore.manifest.state import FieldType
from vstore.segment import columns
from vstore.segment.documents import NO_HASH, Blobs
from vstore.segment.ids import EncodedIds, encode_ids, hash_ids, offsets_of
from vstore.segment.sealed import write_segment
from vstore.storage.layout import HASH_BYTES

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from vstore.manifest.state import SegmentRef
    from vstore.segment.columns import Column
    from vstore.segment.document_batch import DocumentBatch
    from vstore.segment.documents import DocumentSegment
    from vstore.segment.sealed import PiecedArray
    from vstore.storage.container import Container
    from vstore.types import Array, IntArray


class DocumentColumns(NamedTuple):
    """Documents sorted by docno, a column of arrays for each attribute."""

    docno: Array  # u32 (n,), strictly ascending
    created: Array  # u64 (n,)
    revision: Array  # u64 (n,)
    ids: EncodedIds
    source_hash: Array | None  # u8 (n, 32), zero for none
    text: Blobs | None
    text_present: Array | None  # u8 (n,)
    fields: Mapping[str, Column]  # those with any value


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


def columns_of_rows(
    segment: DocumentSegment, rows: IntArray, field_types: Mapping[str, str]
) -> DocumentColumns:
    """Return some rows of a segment, in the given order, as columns."""
    ids = segment.encoded_ids
    taken = Blobs(ids.offsets, ids.data).take(rows)
    texts = segment.texts
    own = [(name, segment.column(name)) for name in field_types if name in segment.field_types]
    return DocumentColumns(
        docno=segment.docno[rows],
        created=segment.created[rows],
        revision=segment.revision[rows],
        ids=EncodedIds(ids.kinds[rows], taken.offsets, taken.data),
        source_hash=segment.source_hashes[rows] if segment.has("source_hash") else None,
        text=texts[0].take(rows) if texts else None,
        text_present=texts[1][rows] if texts else None,
        fields={name: column.take(rows) for name, column in own if column is not None},
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


def concat_documents(
    parts: Sequence[DocumentColumns], field_types: Mapping[str, str]
) -> DocumentColumns:
    """Join parts of disjoint docnos, and sort by docno."""
    docno = np.concatenate([part.docno for part in parts])
    order = np.argsort(docno, kind="stable")
    ids = _concat_blobs([Blobs(part.ids.offsets, part.ids.data) for part in parts]).take(order)
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
        texts = [part.text or _no_blobs(len(part.docno)) for part in parts]
        text = _concat_blobs(texts).take(order)
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


def _concat_blobs(parts: Sequence[Blobs]) -> Blobs:
    shifts = np.cumsum([0, *(len(part.data) for part in parts)])
    offsets = [part.offsets[:-1] + shift for part, shift in zip(parts, shifts, strict=False)]
    return Blobs(
        np.concatenate([*offsets, shifts[-1:]]), np.concatenate([part.data for part in parts])
    )


def _no_blobs(count: int) -> Blobs:
    return Blobs(np.zeros(count + 1, np.int64), np.zeros(0, np.uint8))
