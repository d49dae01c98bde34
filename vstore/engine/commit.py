"""One commit: from changed state and changed documents to a published epoch.

A small commit is one delta block. When the memtable is full, or the commit itself is large, the
commit seals the memtable and its own changes into segments, makes due merges, and writes a full
manifest.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from vstore.engine.snapshot import SegmentCache, Snapshot
from vstore.errors import LimitExceededError
from vstore.limits import MANIFEST_BYTES_MAX, SEAL_BYTES, SEAL_COMMITS, SEAL_DOCUMENTS
from vstore.manifest import delta
from vstore.manifest.codec import plain_store
from vstore.manifest.commit import Commit, Operation
from vstore.manifest.state import CollectionState, SegmentRef, StoreState
from vstore.segment.changes import CollectionChanges
from vstore.segment.compaction import (
    drop_dead,
    index_version,
    merge_documents,
    merge_version,
    no_kernels,
)
from vstore.segment.document_batch import batch_of
from vstore.segment.document_columns import columns_of, seal_documents
from vstore.segment.memtable import EMPTY, Memtable
from vstore.segment.replay import plain_documents, plain_rows
from vstore.segment.vectors import seal_rows
from vstore.storage.layout import BlockKind

if TYPE_CHECKING:
    from collections.abc import Mapping

    from vstore.segment.compaction import FindKernels
    from vstore.storage.block import BlockRef
    from vstore.storage.container import Container

    Changes = Mapping[str, CollectionChanges]


def first_commit(container: Container, *, time_us: int) -> Snapshot:
    """Publish epoch 0 of a new file: an empty store."""
    return _publish_full(
        container,
        SegmentCache(container),
        StoreState(),
        epoch=0,
        time_us=time_us,
        operation=Operation("create"),
        previous=None,
        durable=True,
    )


def commit(
    snapshot: Snapshot,
    state: StoreState,
    changes: Changes,
    operation: Operation,
    *,
    time_us: int,
    durable: bool,
    checkpoint: bool = False,
    upkeep: bool = False,
    kernels: FindKernels | None = no_kernels,
) -> Snapshot:
    """Publish the next epoch and return it.

    Parameters
    ----------
    kernels : callable
        Returns the kernels that build due graphs, if the commit seals. None leaves the merging of
        vectors and their graphs to the upkeep thread.
    checkpoint : bool
        Seal the memtable and write a full manifest, however small the commit.
    upkeep : bool
        Like ``checkpoint``, and merge in every collection, not only in changed ones.

    Raises
    ------
    StorageError
        Nothing was committed, unless the container is poisoned: then reopening shows whether.
    """
    container = snapshot.container
    try:
        if checkpoint or upkeep or _must_seal(snapshot, changes):
            return _commit_sealed(
                snapshot,
                state,
                changes,
                operation,
                time_us,
                durable=durable,
                kernels=kernels,
                upkeep=upkeep,
            )
        try:
            return _commit_delta(snapshot, state, changes, operation, time_us, durable=durable)
        except LimitExceededError:  # large metadata or many collections, which `_must_seal` ignores
            return _commit_sealed(
                snapshot, state, changes, operation, time_us, durable=durable, kernels=kernels
            )
    except BaseException:
        container.abort()
        raise


def _must_seal(snapshot: Snapshot, changes: Changes) -> bool:
    if snapshot.depth + 1 > SEAL_COMMITS:
        return True
    sizes = [
        (memtable.entries + len(change), memtable.size_bytes + change.size_bytes)
        for name, change in changes.items()
        for memtable in (snapshot.memtables.get(name, EMPTY),)
    ]
    return any(entries > SEAL_DOCUMENTS or size > SEAL_BYTES for entries, size in sizes)


def _commit_delta(
    snapshot: Snapshot,
    state: StoreState,
    changes: Changes,
    operation: Operation,
    time_us: int,
    *,
    durable: bool,
) -> Snapshot:
    record = Commit(
        kind="delta",
        epoch=snapshot.epoch + 1,
        time_us=time_us,
        operation=operation,
        previous=snapshot.tip,
        base=snapshot.base,
        depth=snapshot.depth + 1,
        body=delta.difference(snapshot.state, state),
        documents=plain_documents(changes),
        rows=plain_rows(changes),
    )
    tip = append_commit(snapshot.container, record)
    snapshot.container.publish(tip, record.epoch, durable=durable)
    memtables = dict(snapshot.memtables)
    for name, change in changes.items():
        memtables[name] = memtables.get(name, EMPTY).with_changes(change)
    return Snapshot(
        container=snapshot.container,
        cache=snapshot.cache,
        tip=tip,
        base=snapshot.base,
        depth=record.depth,
        epoch=record.epoch,
        time_us=time_us,
        state=state,
        memtables=memtables,
    )


def _commit_sealed(
    snapshot: Snapshot,
    state: StoreState,
    changes: Changes,
    operation: Operation,
    time_us: int,
    *,
    durable: bool,
    kernels: FindKernels | None,
    upkeep: bool = False,
) -> Snapshot:
    epoch = snapshot.epoch + 1
    container = snapshot.container
    collections = dict(state.collections)
    for name, collection in state.collections.items():
        memtable = snapshot.memtables.get(name, EMPTY)
        change = changes.get(name)
        if change is not None and len(change) <= SEAL_DOCUMENTS:
            memtable, change = memtable.with_changes(change), None
        sealed = seal_memtable(container, collection, memtable, epoch=epoch)
        if change is not None:
            sealed = _seal(container, sealed, change, epoch=epoch)
        if sealed is not collection or upkeep:
            sealed = _merged(container, sealed, epoch=epoch, kernels=kernels)
        collections[name] = _indexed(container, sealed, epoch=epoch, kernels=kernels)
    published = _publish_full(
        container,
        snapshot.cache,
        state._replace(collections=collections),
        epoch=epoch,
        time_us=time_us,
        operation=operation,
        previous=snapshot.tip,
        durable=durable,
    )
    published.cache.prune(published.state)
    return published


def seal_memtable(
    container: Container, collection: CollectionState, memtable: Memtable, *, epoch: int
) -> CollectionState:
    """Write a memtable as segments; return the same collection if the memtable is empty."""
    rows = {label: memtable.batch(label) for label in memtable.rows}
    changes = CollectionChanges(
        dict(memtable.documents),
        {label: batch for label, batch in rows.items() if batch is not None},
    )
    return _seal(container, collection, changes, epoch=epoch)


def _seal(
    container: Container, collection: CollectionState, changes: CollectionChanges, *, epoch: int
) -> CollectionState:
    segments: tuple[SegmentRef, ...] = collection.segments
    versions = dict(collection.versions)
    for label, batch in changes.rows.items():
        if len(batch) and label in versions:
            version = versions[label]
            ref = seal_rows(container, batch, version.spec, epoch=epoch)
            versions[label] = version._replace(segments=(*version.segments, ref))
    batches = [*changes.bulk, *([batch_of(changes.documents)] if changes.documents else [])]
    for documents in batches:
        columns = columns_of(documents, collection.fields)
        docno_end = int(columns.docno[-1]) + 1
        ref = seal_documents(container, columns, docno_end=docno_end, epoch=epoch)
        segments = (*segments, ref)
    if segments is collection.segments and versions == collection.versions:
        return collection
    return collection._replace(segments=segments, versions=versions)


def _merged(
    container: Container, collection: CollectionState, *, epoch: int, kernels: FindKernels | None
) -> CollectionState:
    # Versions first: the old document segments decide which of their rows are dead.
    versions = dict(collection.versions)
    if kernels is not None:
        for label, version in collection.versions.items():
            for step in (merge_version, drop_dead):
                segments = step(
                    container, version, collection.segments, epoch=epoch, kernels=kernels
                )
                version = version._replace(segments=segments)
            versions[label] = version
    segments = merge_documents(container, collection.segments, collection.fields, epoch=epoch)
    if versions == collection.versions and segments == collection.segments:
        return collection
    return collection._replace(versions=versions, segments=segments)


def _indexed(
    container: Container, collection: CollectionState, *, epoch: int, kernels: FindKernels | None
) -> CollectionState:
    """Build the graphs that are due."""
    if kernels is None:
        return collection
    versions = {
        label: version._replace(segments=index_version(container, version, kernels, epoch=epoch))
        for label, version in collection.versions.items()
    }
    return collection if versions == collection.versions else collection._replace(versions=versions)


def _publish_full(
    container: Container,
    cache: SegmentCache,
    state: StoreState,
    *,
    epoch: int,
    time_us: int,
    operation: Operation,
    previous: BlockRef | None,
    durable: bool,
) -> Snapshot:
    record = Commit(
        kind="full",
        epoch=epoch,
        time_us=time_us,
        operation=operation,
        previous=previous,
        base=None,
        depth=0,
        body=plain_store(state),
    )
    tip = append_commit(container, record)
    container.publish(tip, epoch, durable=durable)
    return Snapshot(
        container=container,
        cache=cache,
        tip=tip,
        base=tip,
        depth=0,
        epoch=epoch,
        time_us=time_us,
        state=state,
        memtables={},
    )


def append_commit(container: Container, record: Commit) -> BlockRef:
    """Append a commit block; it becomes the state only with `Container.publish`.

    Raises
    ------
    LimitExceededError
        The commit is longer than `MANIFEST_BYTES_MAX`.
    """
    payload = record.encode()
    if len(payload) > MANIFEST_BYTES_MAX:
        raise LimitExceededError(
            "commit in bytes",
            limit="MANIFEST_BYTES_MAX",
            found=len(payload),
            allowed=MANIFEST_BYTES_MAX,
        )
    return container.append(BlockKind.COMMIT, payload)
