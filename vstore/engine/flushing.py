"""Counters and hits into the file: one commit that adds what a handle has counted to what is there.

Not part of other commits: a search counts something every time, and whoever only reads must not
make a file grow.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from vstore.engine.hit_counts import stored_hits
from vstore.manifest.commit import Operation
from vstore.manifest.edits import put_collection
from vstore.manifest.hits import hits_of, plain_hits
from vstore.manifest.record import append_record, read_record
from vstore.observe.hit_counter import Numbering
from vstore.observe.metrics import Metrics
from vstore.observe.metrics_record import plain_metrics, read_metrics

if TYPE_CHECKING:
    from vstore.engine.open_file import OpenFile
    from vstore.engine.snapshot import Snapshot
    from vstore.manifest.state import StoreState
    from vstore.observe.observer import UnflushedCounts
    from vstore.storage.container import Container


def flush_metrics(open_file: OpenFile) -> bool:
    """Write what was counted since the last time; whether there was a search.

    Raises
    ------
    ReadOnlyError, LockedError, StateError, StorageError, CorruptionError
        Nothing is lost: it is counted still, and can be written later.
    """
    taken: UnflushedCounts | None = None

    def edit(state: StoreState) -> StoreState:
        nonlocal taken
        # In the writer's turn, so that no vacuum comes between counting and writing.
        taken = open_file.observer.take()
        if not taken:
            return state
        return _added(open_file.container, open_file.snapshot, state, taken)

    try:
        open_file.change(edit, Operation("flush_metrics"))
    except BaseException:
        if taken is not None:
            open_file.observer.put_back(taken)
        raise
    assert taken is not None, "the edit was made"
    if not taken:
        open_file.observer.put_back(taken)
        return False
    open_file.observer.flushed(taken)
    return True


def stored_metrics(snapshot: Snapshot) -> Metrics:
    """Return the counters that writers have flushed, up to an epoch.

    Raises
    ------
    CorruptionError
        The record of the counters is damaged.
    """
    ref = snapshot.state.metrics
    if ref is None:
        return Metrics()
    return read_record(snapshot.container, ref, read_metrics, what="metrics")


def _added(
    container: Container, snapshot: Snapshot, state: StoreState, taken: UnflushedCounts
) -> StoreState:
    total = stored_metrics(snapshot)
    total.merge(taken.metrics)
    state = state._replace(metrics=append_record(container, plain_metrics(total)))
    for name, counter in taken.hits.items():
        collection = state.collections.get(name)
        if collection is None or not counter.found.any():
            continue
        if not counter.numbering.same(Numbering(container, collection.created_epoch)):
            continue  # of a collection that was dropped, or of before a vacuum by someone else
        view = snapshot.collection(name)
        end = view.documents.docno_end
        total_hits = stored_hits(snapshot, name) + counter.by_docno(end)
        ref = append_record(container, plain_hits(hits_of(total_hits)))
        state = put_collection(state, collection._replace(hits=ref))
    return state
