"""Documents from a caller, checked and in canonical form."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence, ValuesView
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from blake3 import blake3

from vstore.embedding.embedder import Embeddings
from vstore.errors import InvalidArgumentError, InvalidVectorError, LimitExceededError
from vstore.limits import CHUNKS_MAX, METADATA_BYTES_MAX, TEXT_BYTES_MAX
from vstore.manifest.state import FieldType
from vstore.segment.columns import normalize_value
from vstore.segment.copies import drawn_copies
from vstore.segment.sequences import one_per_id
from vstore.segment.validation import as_array
from vstore.storage.layout import HASH_BYTES
from vstore.storage.packing import pack

if TYPE_CHECKING:
    from collections.abc import Iterable

    from vstore.types import Array, DocumentId, IntArray, Metadata

_SMALL_TYPES = (FieldType.INT, FieldType.FLOAT, FieldType.BOOL, FieldType.TIMESTAMP)


class DocumentInput(NamedTuple):
    """Columns of an upsert; None for what was not given."""

    ids: list[DocumentId]
    metadata: list[dict[str, object]] | None
    texts: list[str | None] | None
    hashes: list[bytes | None] | None


def document_input(
    field_types: Mapping[str, FieldType],
    ids: list[DocumentId],
    metadata: Metadata | None,
    texts: Iterable[str | None] | None,
    source_hashes: Iterable[bytes | str | None] | None,
) -> DocumentInput:
    """Check everything of an upsert but ids and vectors.

    Raises
    ------
    InvalidArgumentError, LimitExceededError
        A column is not as long as the ids, or has a value of another type; a value is too long.
    """
    count = len(ids)
    rows = None if metadata is None else metadata_rows(field_types, metadata, ids)
    checked_texts = None if texts is None else text_column(texts, count)
    hashes: list[bytes | None] | None = None
    if source_hashes is not None:
        given = one_per_id("source_hashes", source_hashes, count)
        hashes = [_source_hash(i, value) for i, value in enumerate(given)]
    elif checked_texts is not None:
        hashes = [
            None if text is None else blake3(text.encode()).digest() for text in checked_texts
        ]
    return DocumentInput(ids, rows, checked_texts, hashes)


def metadata_rows(
    field_types: Mapping[str, FieldType],
    metadata: Metadata,
    ids: Sequence[DocumentId],
    *,
    keep_none: bool = False,
) -> list[dict[str, object]]:
    """Return canonical metadata, one dict per document.

    Parameters
    ----------
    metadata : sequence of mappings, or mapping of field to sequence
    ids : sequence of str or int
        Whose it is, for messages.
    keep_none : bool
        Keep None values, which an update takes as "remove".
    """
    count = len(ids)
    if isinstance(metadata, Mapping):
        columns = {}
        for name, values in metadata.items():
            column = one_per_id(f"metadata[{name!r:.60}]", values, count)
            columns[name] = _canonical(field_types, name, column, ids)
        rows: list[dict[str, object]] = [{} for _ in range(count)]
        for name, canonical in columns.items():
            for row, value in zip(rows, canonical, strict=True):
                if value is not None or keep_none:
                    row[name] = value
    else:
        rows = []
        for i, given in enumerate(one_per_id("metadata", metadata, count)):
            if not isinstance(given, Mapping):
                raise InvalidArgumentError(
                    f"metadata[{i}]: expected a mapping, found {given!r:.60}"
                )
            row = {}
            for name, value in given.items():
                field_type = _type_of(field_types, name)
                canonical_value = _value(name, field_type, value, i, ids)
                if canonical_value is not None or keep_none:
                    row[name] = canonical_value
            rows.append(row)
    if any(field_type not in _SMALL_TYPES for field_type in field_types.values()):
        for i, row in enumerate(rows):
            require_size(i, row)
    return rows


def _canonical(
    field_types: Mapping[str, FieldType],
    name: str,
    values: Sequence[object],
    ids: Sequence[DocumentId],
) -> list[object]:
    field_type = _type_of(field_types, name)
    dtype = getattr(values, "dtype", None)
    # NumPy's scalars become Python's; but times would become numbers of whatever unit they have.
    if hasattr(values, "tolist") and getattr(dtype, "kind", "") != "M":
        values = values.tolist()
    return [_value(name, field_type, value, i, ids) for i, value in enumerate(values)]


def _value(
    name: str, field_type: FieldType, value: object, i: int, ids: Sequence[DocumentId]
) -> object:
    try:
        return normalize_value(name, field_type, value)
    except InvalidArgumentError as error:
        raise InvalidArgumentError(f"metadata[{i}], of {ids[i]!r:.60}: {error}") from None


def _type_of(field_types: Mapping[str, FieldType], name: str) -> FieldType:
    field_type = field_types.get(name)
    if field_type is None:
        known = ", ".join(field_types) or "none"
        raise InvalidArgumentError(
            f"metadata: no field {name!r:.60}; declared fields: {known}. Add it with add_field()."
        )
    return field_type


def require_size(i: int, row: dict[str, object]) -> None:
    """Refuse a document's metadata that is too large.

    Raises
    ------
    LimitExceededError
        The metadata are longer than `METADATA_BYTES_MAX`.
    """
    # Strings of this many characters cannot pack to more than the limit; others are measured.
    if all(isinstance(v, str | int | float) for v in row.values()) and (
        sum(len(v) for v in row.values() if isinstance(v, str)) < METADATA_BYTES_MAX // 8
    ):
        return
    size_bytes = len(pack(row))
    if size_bytes > METADATA_BYTES_MAX:
        raise LimitExceededError(
            f"metadata[{i}] in bytes",
            limit="METADATA_BYTES_MAX",
            found=size_bytes,
            allowed=METADATA_BYTES_MAX,
        )


def text_column(texts: Iterable[str | None], count: int) -> list[str | None]:
    """Return texts, checked, as plain str.

    Raises
    ------
    InvalidArgumentError, LimitExceededError
        They are not as many as documents, or one is no str; one is too long.
    """
    texts = one_per_id("texts", texts, count)
    for i, text in enumerate(texts):
        if text is None:
            continue
        if not isinstance(text, str):
            raise InvalidArgumentError(f"texts[{i}]: expected a str, found {text!r:.60}")
        if not text.isascii():
            try:
                text.encode()
            except UnicodeEncodeError as error:
                raise InvalidArgumentError(f"texts[{i}]: not valid Unicode ({error})") from error
        if len(text) > TEXT_BYTES_MAX // 4 and len(text.encode()) > TEXT_BYTES_MAX:
            raise LimitExceededError(
                f"texts[{i}] in bytes",
                limit="TEXT_BYTES_MAX",
                found=len(text.encode()),
                allowed=TEXT_BYTES_MAX,
            )
    # Of a subclass, such as NumPy's, the text itself.
    return [None if text is None else str.__str__(text) for text in texts]


def _source_hash(i: int, value: bytes | str | None) -> bytes | None:
    if value is None:
        return None
    if isinstance(value, str):
        return blake3(value.encode("utf-8", "surrogatepass")).digest()
    if not isinstance(value, bytes):
        raise InvalidArgumentError(
            f"source_hashes[{i}]: expected bytes or str, found {value!r:.60}"
        )
    if len(value) == HASH_BYTES and any(value):
        return bytes(value)
    return blake3(value).digest()


def chunked(vectors: object, count: int, *, where: str) -> tuple[object, IntArray | None]:
    """Return the rows of a batch as one matrix, and chunks per document if given by document.

    Parameters
    ----------
    vectors : array, Embeddings, or iterable of ``count`` arrays (chunks, dimension)

    Raises
    ------
    InvalidVectorError
        A document without a chunk; arrays that do not fit together.
    LimitExceededError
        A document with too many chunks.
    """
    stamp = vectors.spec if isinstance(vectors, Embeddings) else None
    rows = _by_document(vectors.vectors if isinstance(vectors, Embeddings) else vectors)

    def stamped(matrix: object) -> object:
        return matrix if stamp is None else Embeddings(stamp, matrix)  # type: ignore[arg-type]  # checked later

    if not isinstance(rows, list | tuple) or not rows:
        return stamped(rows), None
    if _dimensions(rows[0]) != 2:
        return stamped(rows), None
    arrays = [_chunks(array, i, where) for i, array in enumerate(rows)]
    odd = next((i for i, array in enumerate(arrays) if array.ndim != 2), None)
    if odd is not None:
        raise InvalidVectorError(
            f"{where}[{odd}]: expected (chunks, dimension) as of document 0, found shape "
            f"{arrays[odd].shape}",
            row=odd,
        )
    if len(arrays) != count:
        raise InvalidVectorError(f"{where}: expected {count} documents, found {len(arrays)}")
    counts = np.array([len(array) for array in arrays])
    if not counts.all():
        row = int(np.argmin(counts))
        raise InvalidVectorError(f"{where}[{row}]: a document has at least one chunk", row=row)
    if counts.max() > CHUNKS_MAX:
        raise LimitExceededError(
            f"chunks of {where}[{int(np.argmax(counts))}]",
            limit="CHUNKS_MAX",
            found=int(counts.max()),
            allowed=CHUNKS_MAX,
        )
    dimension = arrays[0].shape[1]
    odd = next((i for i, array in enumerate(arrays) if array.shape[1] != dimension), None)
    if odd is not None:
        raise InvalidVectorError(
            f"{where}[{odd}]: expected chunks of {dimension} dimensions as of document 0, found "
            f"{arrays[odd].shape[1]}",
            row=odd,
        )
    return stamped(np.concatenate(arrays)), counts


def _dimensions(rows: object) -> int:
    """Return how many dimensions an array has; 0 of what is none, which is refused later."""
    try:
        return as_array(rows, where="").ndim
    except InvalidVectorError:
        return 0


def _chunks(array: object, i: int, where: str) -> Array:
    try:
        return as_array(array, where=f"{where}[{i}]")
    except InvalidVectorError as error:
        raise InvalidVectorError(str(error), row=i) from error


def _by_document(vectors: object) -> object:
    """Return as a list what is given document by document."""
    if isinstance(vectors, Iterator):
        return drawn_copies(vectors)
    if isinstance(vectors, ValuesView):
        return list(vectors)
    if isinstance(vectors, np.ndarray) and vectors.ndim == 1 and vectors.dtype.kind == "O":
        return list(vectors)  # an array of arrays
    return vectors
