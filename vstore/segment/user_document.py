"""Documents as users see them."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import TYPE_CHECKING

from vstore.manifest.state import FieldType
from vstore.segment.column_types import copied_json, timestamp_to_datetime

if TYPE_CHECKING:
    from collections.abc import Mapping

    from vstore.segment.documents import DocumentRecord
    from vstore.types import DocumentId


@dataclass(frozen=True, slots=True)
class Document:
    """One document at one epoch.

    Attributes
    ----------
    id : str or int
    created : int
        Epoch of the commit that added it.
    revision : int
        Epoch of the commit that last changed its source.
    source_hash : bytes | None
        32 bytes.
    metadata : Mapping
        Values by field; missing ones have no entry. Timestamps are aware UTC datetimes.
    text : str | None
    """

    id: DocumentId
    created: int
    revision: int
    source_hash: bytes | None
    metadata: Mapping[str, object]
    text: str | None

    def to_dict(self) -> dict[str, object]:
        """Return everything as plain data: the hash in hex digits, times in ISO 8601."""
        return {
            "id": self.id,
            "created": self.created,
            "revision": self.revision,
            "source_hash": None if self.source_hash is None else self.source_hash.hex(),
            "metadata": {
                name: value.isoformat() if isinstance(value, dt.datetime) else copied_json(value)
                for name, value in self.metadata.items()
            },
            "text": self.text,
        }


def document_of(record: DocumentRecord, field_types: Mapping[str, FieldType]) -> Document:
    """Return a record in the form users see."""
    return Document(
        id=record.id,
        created=record.created,
        revision=record.revision,
        source_hash=record.source_hash,
        metadata={
            name: _user_value(field_types[name], value) for name, value in record.metadata.items()
        },
        text=record.text,
    )


def _user_value(field_type: FieldType, value: object) -> object:
    if field_type == FieldType.TIMESTAMP and isinstance(value, int):
        return timestamp_to_datetime(value)
    if field_type == FieldType.KEYWORDS and isinstance(value, tuple):
        return list(value)
    if field_type == FieldType.JSON:
        return copied_json(value)
    return value
