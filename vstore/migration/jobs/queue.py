"""What a backfill has left to do, and in which order: a scan over the documents, nothing stored."""

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
        What is to be embedded, first things first.
    dead : tuple[DeadLetter, ...]
        Letters that count: their documents have the revision that failed.
    blocked : int
        Documents whose vectors are to be mapped, from vectors that are not there.
    """

    docnos: IntArray
    dead: tuple[DeadLetter, ...]
    blocked: int

    @property
    def left(self) -> int:
        """Documents without vectors that no letter is about."""
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
    """Return what is left to do at a snapshot.

    Parameters
    ----------
    view : CollectionView
        Of the collection at that snapshot.
    target : str
        Version.
    mapped_from : str
        Version whose vectors are needed; empty if none are.
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
        # What a user wrote since the job began, and is not found in the new version until it is
        # embedded, goes before what was there.
        since = view.documents.revision[docnos] > job.started_epoch
        docnos = np.concatenate((docnos[since], docnos[~since]))
    return Queue(docnos, dead, blocked)


def counting(
    view: CollectionView, letters: tuple[DeadLetter, ...], lacking: BoolArray
) -> tuple[DeadLetter, ...]:
    """Return the letters that are about documents which lack vectors, as they are now.

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
    """Refuse an order that documents do not have.

    Raises
    ------
    InvalidArgumentError
        There is no such order, or the field does not fit it.
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
    """Return keys for `numpy.lexsort`, the first one last; documents without a value come last."""
    if not field:
        # Inverted rather than negated: exact for every unsigned number.
        return docnos, ~stored_hits(snapshot, view.whole.state.name)[docnos]
    values, missing = field_values(view, field)
    keys = values[docnos]
    if order == "hot":
        keys = -keys if keys.dtype.kind == "f" else ~keys
    return docnos, keys, missing[docnos]


def field_values(view: CollectionView, name: str) -> tuple[Array, BoolArray]:
    """Return by docno a number that orders documents by a field, and which have no value.

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
        found_values: Array = column.codes.astype(np.int64)  # of a sorted dictionary
    elif isinstance(column, NumericColumn):
        found_values = column.values
    else:
        raise InvalidArgumentError(f"field {name!r}: {kind} values have no order")
    keys = np.zeros(view.documents.docno_end, found_values.dtype)
    missing = np.ones(view.documents.docno_end, np.bool_)
    # Segments come oldest first, so the newest of several records of a document stays.
    keys[docnos] = found_values
    missing[docnos] = ~column.exists()
    return keys, missing
