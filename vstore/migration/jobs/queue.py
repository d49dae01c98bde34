"""The remaining work of a backfill, in order: found by a scan over the documents, not stored."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from vstore.engine.hit_counts import stored_hits
from vstore.errors import InvalidArgumentError
from vstore.manifest.job_state import JOB_ORDERS
from vstore.manifest.state import FieldType
from vstore.names import check_choice
from vstore.segment import columns
from vstore.segment.keyword_columns import KeywordColumn
from vstore.segment.scalar_columns import NumericColumn

if TYPE_CHECKING:
    from collections.abc import Mapping

    from vstore.engine.snapshot import CollectionView, Snapshot
    from vstore.manifest.job_state import DeadLetter, JobOrder, JobState
    from vstore.types import Array, BoolArray, IntArray

_NUMERIC: Final = (FieldType.INT, FieldType.FLOAT, FieldType.TIMESTAMP)


class Queue(NamedTuple):
    """Documents without fresh vectors in a version.

    Attributes
    ----------
    docnos : int64 (n,)
        Documents to embed, in order.
    dead : tuple[DeadLetter, ...]
        Current dead letters: their documents still have the revision that failed.
    blocked : int
        Documents whose vectors should be mapped, but that lack fresh vectors to map.
    """

    docnos: IntArray
    dead: tuple[DeadLetter, ...]
    blocked: int

    @property
    def left(self) -> int:
        """Number of documents without vectors, dead letters excluded."""
        return len(self.docnos) + self.blocked


def scan(
    snapshot: Snapshot,
    view: CollectionView,
    target: str,
    *,
    order: JobOrder,
    order_field: str,
    job: JobState | None,
    mapped_from: str,
) -> Queue:
    """Return the remaining work at a snapshot.

    Parameters
    ----------
    view : CollectionView
        View of the collection at the snapshot.
    target : str
        Version to fill.
    mapped_from : str
        Version whose vectors are mapped; empty if documents are embedded.
    """
    lacking = (view.documents.revision != 0) & ~view.rows(target).has_fresh
    dead = () if job is None else counting(view, job.dead, lacking)
    if dead:
        lacking[view.documents.find([letter.id for letter in dead])] = False
    blocked = 0
    if mapped_from:
        mappable = lacking & view.rows(mapped_from).has_fresh
        blocked = int(np.count_nonzero(lacking) - np.count_nonzero(mappable))
        lacking = mappable
    docnos = np.flatnonzero(lacking)
    if order != "id" and len(docnos):
        docnos = docnos[np.lexsort(_keys(snapshot, view, docnos, order, order_field))]
    if job is not None and view.state.dual_write == "queue" and len(docnos):
        # Documents written since the job began go first: the new version cannot find them until
        # they are embedded.
        since = view.documents.revision[docnos] > job.started_epoch
        docnos = np.concatenate((docnos[since], docnos[~since]))
    return Queue(docnos, dead, blocked)


def counting(
    view: CollectionView, letters: tuple[DeadLetter, ...], lacking: BoolArray
) -> tuple[DeadLetter, ...]:
    """Return the dead letters of documents that lack vectors and still have the failed revision.

    Parameters
    ----------
    lacking : bool (docno_end,)
    """
    if not letters:
        return ()
    docnos = view.documents.find([letter.id for letter in letters])
    return tuple(
        letter
        for letter, docno in zip(letters, docnos.tolist(), strict=True)
        if docno >= 0 and lacking[docno] and int(view.documents.revision[docno]) == letter.revision
    )


def check_order(order: object, field: object, fields: Mapping[str, FieldType]) -> None:
    """Check an order and its field.

    Raises
    ------
    InvalidArgumentError
        The order is unknown, or the field does not fit it.
    """
    check_choice(order, JOB_ORDERS, what="order")
    if field is None:
        if order == "field":
            raise InvalidArgumentError("order='field' needs order_field=, the field to go by")
        return
    if order == "id":
        raise InvalidArgumentError("order_field: order='id' has none; use order='field' or 'hot'")
    kind = fields.get(field) if isinstance(field, str) else None
    allowed = _NUMERIC if order == "hot" else (FieldType.KEYWORD, *_NUMERIC)
    if kind not in allowed:
        wanted = ", ".join(allowed)
        found = f"no field {field!r:.60}" if kind is None else f"{field!r:.60}, a {kind} field"
        raise InvalidArgumentError(f"order_field: expected a field of {wanted}; found {found}")


def _keys(
    snapshot: Snapshot, view: CollectionView, docnos: IntArray, order: JobOrder, field: str
) -> tuple[Array, ...]:
    """Return keys for `numpy.lexsort`, primary key last; documents without a value sort last."""
    if not field:
        # Inverted rather than negated: exact for every unsigned number.
        return docnos, ~stored_hits(snapshot, view.whole.state.name)[docnos]
    values, missing = field_values(view, field)
    keys = values[docnos]
    if order == "hot":
        keys = -keys if keys.dtype.kind == "f" else ~keys
    return docnos, keys, missing[docnos]


def field_values(view: CollectionView, name: str) -> tuple[Array, BoolArray]:
    """Return sort keys of a field by docno, and the mask of documents without a value.

    Raises
    ------
    InvalidArgumentError
        The field's values have no order.
    """
    kind = view.field_types[name]
    parts, places = [], []
    for segment in view.documents.sealed.segments:
        found = segment.column(name)
        parts.append(columns.missing_column(kind, segment.rows) if found is None else found)
        places.append(segment.docno)
    recent = view.documents.memtable.documents
    values = [record.metadata.get(name) for record in recent.values()]
    parts.append(columns.build_column(kind, values))
    places.append(np.fromiter(recent, np.int64, len(recent)))
    column, docnos = columns.concat_columns(kind, parts), np.concatenate(places)
    if isinstance(column, KeywordColumn):
        found_values: Array = column.codes.astype(np.int64)  # ordered: the dictionary is sorted
    elif isinstance(column, NumericColumn):
        found_values = column.values
    else:
        raise InvalidArgumentError(f"field {name!r}: {kind} values have no order")
    keys = np.zeros(view.documents.docno_end, found_values.dtype)
    missing = np.ones(view.documents.docno_end, np.bool_)
    # Segments come oldest first, so the newest record of a document wins.
    keys[docnos] = found_values
    missing[docnos] = ~column.exists()
    return keys, missing
