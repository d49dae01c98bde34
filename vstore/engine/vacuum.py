"""Vacuum: replaces the file by a new one with live data only (`format-spec.md`, "Vacuum")."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from itertools import compress, islice
from typing import TYPE_CHECKING

import numpy as np

from vstore.engine.commit import append_commit, seal_memtable
from vstore.engine.history import dropped
from vstore.engine.lineage import require_in_place
from vstore.engine.snapshot import SegmentCache, Snapshot, load_snapshot
from vstore.errors import StateError
from vstore.limits import HISTORY_MAX, MANIFEST_BYTES_MAX
from vstore.manifest.codec import plain_store
from vstore.manifest.commit import Commit, Operation, ancestry, read_commit
from vstore.manifest.hits import hits_of, plain_hits, read_hits
from vstore.manifest.record import append_record, read_record, with_records
from vstore.segment.compaction import extended_graph, graph_of, takes_graph
from vstore.segment.document_batch import batch_of
from vstore.segment.document_columns import (
    columns_of,
    columns_of_rows,
    concat_documents,
    seal_documents,
)
from vstore.segment.documents import DELETED, DocumentSegment, newest_rows
from vstore.segment.merging import merge_rows
from vstore.segment.sealed import SealedSegment, copy_segment
from vstore.segment.vectors import DTYPES, VectorSegment
from vstore.storage.layout import BlockKind
from vstore.storage.opening import new_container
from vstore.storage.packing import pack

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from vstore.engine.snapshot import CollectionView
    from vstore.manifest.state import (
        CollectionState,
        SegmentRef,
        StoreState,
        VersionState,
    )
    from vstore.segment.compaction import FindKernels
    from vstore.storage.block import BlockRef
    from vstore.storage.container import Container, Verify
    from vstore.storage.file import Medium, StorageFile
    from vstore.types import Array

_HISTORY_KEPT = min(100_000, HISTORY_MAX)  # commits listed in the history record


@dataclass(frozen=True, slots=True)
class VacuumReport:
    """Result of a vacuum.

    Attributes
    ----------
    bytes_before, bytes_after : int
    epochs_kept : tuple[int, ...]
        Older epochs that stay readable, with all their data, including data deleted since.
    """

    bytes_before: int
    bytes_after: int
    epochs_kept: tuple[int, ...]


def vacuum(
    medium: Medium,
    snapshot: Snapshot,
    *,
    keep_epochs: Sequence[int],
    time_us: int,
    find: Callable[[int], Snapshot],
    verify: Verify,
    kernels: FindKernels,
    opened: list[StorageFile],
) -> tuple[Container, Snapshot, VacuumReport, Mapping[str, Array]]:
    """Rewrite a store; the caller has the writer's turn.

    Parameters
    ----------
    find : callable
        Returns the snapshot of an older epoch.
    kernels : callable
        Returns the kernels that build graphs.
    opened : list
        Gets the new file as soon as it is opened, so that the caller closes it after an interrupt.

    Returns
    -------
    Container, Snapshot, VacuumReport
    Mapping[str, u32 (documents,)]
        By collection, the old docno of each live document by new docno.

    Raises
    ------
    StorageError
        The old file is unchanged, and the handle still works, unless the new file was put in place
        but could not be made durable: then the handle is poisoned.
    CorruptionError
        A block to be copied is damaged; damage is not carried into a new file.
    FileMovedError
        The path no longer names the open file; the file that it names is not touched.
    """
    old = snapshot.container
    policy, old.verify = old.verify, "lazy"
    try:
        # Segments are opened again: under verify="off", those in use were never verified.
        current = load_snapshot(old, SegmentCache(old), snapshot.tip)
        pinned = {tag.epoch for tag in current.state.tags.values()} | set(keep_epochs)
        kept = sorted(pinned)
        assert old.superblock is not None, "an opened store has one"
        file_uuid = old.superblock.file_uuid
        opened.append(medium.open_replacement(file_uuid))
        replacement = opened[-1]
        try:
            new = new_container(medium.name, replacement)
            new.adopt(old.superblock)
            previous = _copy_epochs(new, [find(epoch) for epoch in kept])
            tip, renumbered = _write_current(new, current, previous, time_us, kernels)
            new.publish(tip, current.epoch + 1)
            require_in_place(medium, old)
        except BaseException:
            replacement.close()
            medium.discard_replacement(file_uuid)
            raise
    finally:
        old.verify = policy
    # Once the new file has the store's name, writes to the old one would be lost. Refuse them
    # before, so that Ctrl-C at that moment does no harm.
    old.condemn(StateError("a vacuum has replaced this file"))
    try:
        new.file = medium.replace(old.file, replacement)
    except BaseException:
        replacement.close()  # releases its lock: the error may keep the file alive for long
        if not old.closed and medium.is_current(old.file):  # nothing was replaced
            old.acquit()
            medium.discard_replacement(file_uuid)
        raise
    new.verify = verify
    report = VacuumReport(old.committed_length, new.committed_length, tuple(kept))
    return new, load_snapshot(new, SegmentCache(new), tip), report, renumbered


def _copy_epochs(new: Container, snapshots: Sequence[Snapshot]) -> BlockRef | None:
    """Copy older epochs, oldest first, each as a full manifest; return the last commit."""
    copied: dict[int, SegmentRef] = {}
    records: dict[int, BlockRef] = {}

    def copy(segment: SealedSegment) -> SegmentRef:
        at = segment.ref.header.offset
        if at not in copied:
            copied[at] = copy_segment(new, segment)
        return copied[at]

    def copy_record(container: Container, ref: BlockRef) -> BlockRef:
        if ref.offset not in records:
            records[ref.offset] = _copied_record(new, container, ref)
        return records[ref.offset]

    previous: BlockRef | None = None
    for snapshot in snapshots:
        collections = {}
        metrics = snapshot.state.metrics
        for name, state in snapshot.state.collections.items():
            container = snapshot.container
            versions = {
                label: version._replace(
                    segments=tuple(
                        copy(VectorSegment(container, ref, version.spec))
                        for ref in version.segments
                    ),
                )
                for label, version in state.versions.items()
            }
            moved = with_records(
                state._replace(
                    versions=versions,
                    segments=tuple(copy(DocumentSegment(container, ref)) for ref in state.segments),
                ),
                partial(copy_record, container),
            )
            memtable = snapshot.collection(name).memtable
            collections[name] = seal_memtable(new, moved, memtable, epoch=snapshot.epoch)
        original = read_commit(snapshot.container, snapshot.tip)
        previous = _append_full(
            new,
            snapshot.state._replace(
                collections=collections,
                history=None,
                metrics=metrics and copy_record(snapshot.container, metrics),
            ),
            epoch=snapshot.epoch,
            time_us=snapshot.time_us,
            operation=original.operation,
            previous=previous,
        )
    return previous


def _copied_record(new: Container, container: Container, ref: BlockRef) -> BlockRef:
    return new.append(BlockKind.RECORD, container.read(ref, BlockKind.RECORD))


def _write_current(
    new: Container,
    current: Snapshot,
    previous: BlockRef | None,
    time_us: int,
    kernels: FindKernels,
) -> tuple[BlockRef, dict[str, Array]]:
    epoch = current.epoch + 1
    collections, renumbered = {}, {}
    for name in current.state.collections:
        view = current.collection(name)
        state, alive = _compacted(new, view, epoch=epoch, time_us=time_us, kernels=kernels)
        renumbered[name] = alive
        state = _without_letters(_without_expired(state, time_us), view)
        hits = _counted_again(new, current.container, state.hits, alive)
        copy = partial(_copied_record, new, current.container)
        collections[name] = with_records(state._replace(hits=None), copy)._replace(hits=hits)
    history = new.append(BlockKind.HISTORY, pack(_remembered(current)))
    metrics = current.state.metrics
    if metrics is not None:
        metrics = _copied_record(new, current.container, metrics)
    tip = _append_full(
        new,
        current.state._replace(collections=collections, history=history, metrics=metrics),
        epoch=epoch,
        time_us=time_us,
        operation=Operation("vacuum"),
        previous=previous,
    )
    return tip, renumbered


def _remembered(current: Snapshot) -> list[object]:
    """Return all commits, newest first: those in the file, and those dropped by earlier vacuums."""
    container = current.container
    walked = [
        (commit.epoch, commit.time_us, commit.operation)
        for _, commit in ancestry(container, current.tip, limit=_HISTORY_KEPT)
    ]
    seen = {epoch for epoch, _, _ in walked}
    if current.state.history is not None:
        older = dropped(container, current.state.history)
        walked += [entry for entry in older if entry[0] not in seen]
    walked.sort(key=lambda entry: -entry[0])
    remembered: list[object] = [
        [epoch, time_us, [operation.name, operation.note, dict(operation.counts)]]
        for epoch, time_us, operation in islice(walked, _HISTORY_KEPT)
    ]
    while len(pack(remembered)) > MANIFEST_BYTES_MAX:
        remembered = remembered[: len(remembered) // 2]
    return remembered


def _compacted(
    new: Container, view: CollectionView, *, epoch: int, time_us: int, kernels: FindKernels
) -> tuple[CollectionState, Array]:
    """Write a collection's live documents and served rows, with docnos renumbered without gaps.

    Returns
    -------
    CollectionState
    u32 (documents,)
        Old docno of each document, by new docno.
    """
    state, table = view.state, view.documents
    segments = table.sealed.segments
    parts = []
    replaced = np.zeros(table.docno_end, np.bool_)
    replaced[list(view.memtable.documents)] = True
    for segment, keep in zip(segments, newest_rows(segments), strict=True):
        alive = keep & (segment.revision != DELETED) & ~replaced[segment.docno]
        parts.append(columns_of_rows(segment, np.flatnonzero(alive), state.fields))
    recent = {d: r for d, r in view.memtable.documents.items() if r.revision != DELETED}
    if recent:
        parts.append(columns_of(batch_of(recent), state.fields))
    count = sum(len(part.docno) for part in parts)
    if not count:
        empty = {label: v._replace(segments=()) for label, v in state.versions.items()}
        return state._replace(segments=(), versions=empty), np.zeros(0, np.uint32)
    columns = concat_documents(parts, state.fields)
    renumbered = np.zeros(table.docno_end, np.uint32)
    alive_docnos = columns.docno
    renumbered[alive_docnos] = np.arange(count, dtype=np.uint32)
    columns = columns._replace(docno=np.arange(count, dtype=np.uint32))
    documents = seal_documents(new, columns, docno_end=count, epoch=epoch)
    versions = {
        label: version._replace(
            segments=()
            if _expired(version, time_us)
            else _compacted_rows(new, view, version, renumbered, epoch=epoch, kernels=kernels),
        )
        for label, version in state.versions.items()
    }
    return state._replace(segments=(documents,), versions=versions), alive_docnos


def _counted_again(
    new: Container, old: Container, ref: BlockRef | None, alive: Array
) -> BlockRef | None:
    """Write the hits of live documents, by their new docnos."""
    if ref is None:
        return None
    hits = read_record(old, ref, read_hits, what="hits")
    end = int(alive[-1]) + 1 if len(alive) else 0
    return append_record(new, plain_hits(hits_of(hits.by_docno(end)[alive])))


def _without_expired(state: CollectionState, time_us: int) -> CollectionState:
    """Drop guards and bridges of versions whose rows are dropped."""
    gone = {label for label, version in state.versions.items() if _expired(version, time_us)}
    versions = {
        label: version._replace(guard=None) if label in gone else version
        for label, version in state.versions.items()
    }
    bridges = tuple(b for b in state.bridges if not gone & {b.source, b.target})
    return state._replace(versions=versions, bridges=bridges)


def _without_letters(state: CollectionState, view: CollectionView) -> CollectionState:
    """Drop the dead letters of deleted documents: ids, and errors that may quote the documents."""
    jobs = {}
    for label, job in state.jobs.items():
        docnos = view.documents.find([letter.id for letter in job.dead])
        alive = [d >= 0 and view.documents.revision[d] != DELETED for d in docnos.tolist()]
        jobs[label] = job._replace(dead=tuple(compress(job.dead, alive)))
    return state._replace(jobs=jobs)


def _expired(version: VersionState, time_us: int) -> bool:
    retired = version.retired_us
    return retired is not None and time_us >= retired + version.retire_grace_s * 1_000_000


def _compacted_rows(
    new: Container,
    view: CollectionView,
    version: VersionState,
    renumbered: Array,
    *,
    epoch: int,
    kernels: FindKernels,
) -> tuple[SegmentRef, ...]:
    parts = view.rows(version.label).parts
    kept = [
        np.arange(len(part.rows.docno)) if part.live is None else np.flatnonzero(part.live)
        for part in parts
    ]
    merged = merge_rows(
        new,
        [part.rows for part in parts],
        kept,
        version.spec,
        dtype=DTYPES[version.storage],
        epoch=epoch,
        renumbered=renumbered,
    )
    if merged is None:
        return ()
    ref = merged.ref
    if takes_graph(version, ref.rows):
        # A code reveals much of its vector, so codes of deleted vectors must not stay.
        before = extended_graph([part.rows for part in parts], merged, whole=True)
        ref = graph_of(new, version, ref, kernels, epoch=epoch, before=before)
    return (ref,)


def _append_full(
    new: Container,
    state: StoreState,
    *,
    epoch: int,
    time_us: int,
    operation: Operation,
    previous: BlockRef | None,
) -> BlockRef:
    return append_commit(
        new,
        Commit(
            kind="full",
            epoch=epoch,
            time_us=time_us,
            operation=operation,
            previous=previous,
            base=None,
            depth=0,
            body=plain_store(state),
        ),
    )
