"""Flushing: one commit that adds a handle's counters and hits to those in the file.

Other commits do not flush: every search counts something, and searches alone must not make a file
grow.
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
    """Write the counts since the last flush; return whether there were any searches.

    Raises
    ------
    ReadOnlyError, LockedError, StateError, StorageError, CorruptionError
        The counters could not be written. They are kept, and can be flushed later.
    """
    observer, before = open_file.observer, -1
    searched = False

    def edit(state: StoreState) -> StoreState:
        nonlocal before, searched
        # During the writer's turn, so that no vacuum comes between counting and writing.
        before = open_file.snapshot.epoch
        taken = observer.take()
        searched = bool(taken)
        if not searched:
            return state
        return _added(open_file.container, open_file.snapshot, state, taken)

    try:
        open_file.change(edit, Operation("flush_metrics"))
    except BaseException:
        # An interrupt may have come after the commit: then the file has the counts.
        superblock = open_file.container.superblock
        if superblock is not None and 0 <= before < superblock.epoch:
            observer.flushed()
        else:
            observer.put_back()
        raise
    if searched:
        observer.flushed()
    else:
        observer.put_back()
    return searched


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
            continue  # counted before a drop of the collection, or another process's vacuum
        view = snapshot.collection(name)
        end = view.documents.docno_end
        total_hits = stored_hits(snapshot, name) + counter.by_docno(end)
        ref = append_record(container, plain_hits(hits_of(total_hits)))
        state = put_collection(state, collection._replace(hits=ref))
    return state
