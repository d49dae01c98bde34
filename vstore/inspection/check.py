"""Checking a file: every byte, every hash, every invariant. It reports; it does not raise."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from vstore.engine.history import dropped
from vstore.engine.snapshot import SegmentCache, load_snapshot
from vstore.errors import CorruptionError, VstoreError
from vstore.guarding.guard_record import read_guard
from vstore.guarding.loaded_guards import stored_guard
from vstore.inspection.check_documents import check_documents
from vstore.limits import HISTORY_MAX
from vstore.manifest.commit import ancestry
from vstore.manifest.delta import replaces_segments
from vstore.manifest.hits import read_hits
from vstore.manifest.record import read_record, records_of
from vstore.observe.metrics_record import read_metrics
from vstore.query.bridge_record import read_map, stored_bridge
from vstore.segment.columns import FieldType
from vstore.segment.documents import DocumentSegment
from vstore.segment.vectors import VectorSegment
from vstore.storage.container import Container
from vstore.storage.layout import BLOCKS_START, SLOT_BYTES, BlockKind
from vstore.storage.recovery import choose_slot
from vstore.storage.scan import scan_blocks
from vstore.storage.superblock import read_slots

if TYPE_CHECKING:
    from collections.abc import Callable

    from vstore.engine.snapshot import Snapshot
    from vstore.manifest.plain import PlainReader
    from vstore.manifest.state import CollectionState, SegmentRef
    from vstore.storage.block import BlockRef
    from vstore.storage.file import StorageFile


_TORN: Final = (
    "is damaged: an interrupted commit, or corruption. The state is that of the other slot; "
    "open the store for writing, `vstore.open(path)`, to write this one anew"
)
_KINDS: Final = tuple(kind for kind in BlockKind if kind != BlockKind.GRAPH)
RECORDS: Final[dict[str, Callable[[PlainReader], object]]] = {
    "bridge": read_map,
    "guard": read_guard,
    "hits": read_hits,
    "metrics": read_metrics,
}


@dataclass(frozen=True, slots=True)
class Problem:
    """Something that no correct writer wrote.

    Attributes
    ----------
    offset : int | None
        Byte of the file, where it is known.
    """

    offset: int | None
    what: str

    def __str__(self) -> str:
        return self.what if self.offset is None else f"byte {self.offset:,}: {self.what}"


@dataclass(frozen=True, slots=True)
class CheckReport:
    """What a check found.

    Attributes
    ----------
    problems : tuple[Problem, ...]
        Empty for a sound file.
    notes : tuple[str, ...]
        What is unusual but allowed, for example the rest of an interrupted commit.
    epoch : int | None
        Newest epoch, None if no superblock slot is whole.
    epochs : int
        Commits that can be read, back from the newest.
    blocks : int
    size_bytes : int
    """

    problems: tuple[Problem, ...]
    notes: tuple[str, ...]
    epoch: int | None
    epochs: int
    blocks: int
    size_bytes: int

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong."""
        return not self.problems

    def to_dict(self) -> dict[str, object]:
        """Return the report as plain data."""
        return {
            "ok": self.ok,
            "problems": [{"offset": p.offset, "what": p.what} for p in self.problems],
            "notes": list(self.notes),
            "epoch": self.epoch,
            "epochs": self.epochs,
            "blocks": self.blocks,
            "size_bytes": self.size_bytes,
        }


def check_file(name: str, file: StorageFile) -> CheckReport:
    """Verify a file from its slots to the last row of its oldest epoch."""
    problems: list[Problem] = []
    notes: list[str] = []
    size = file.size()
    pair = read_slots(file.read(0, BLOCKS_START))
    for i, (slot, blank) in enumerate(zip(pair.slots, pair.blank, strict=True)):
        if slot is None and not blank:
            problems.append(Problem(i * SLOT_BYTES, f"superblock slot {'AB'[i]} {_TORN}"))
    try:
        index, superblock, skipped = choose_slot(name, file, writable=False)
    except VstoreError as error:
        problems.append(_problem(error))
        return CheckReport(tuple(problems), tuple(notes), None, 0, 0, size)
    if skipped and not problems:
        notes.append(skipped)
    if superblock.epoch > 0 and pair.blank[1 - index]:
        # A vacuumed file has one slot until its next commit, and that slot is A.
        if index == 1:
            problems.append(Problem(0, "superblock slot A is blank"))
        else:
            notes.append("one superblock slot: nothing was committed since a vacuum")
    if size > superblock.committed_length:
        notes.append(f"{size - superblock.committed_length:,} bytes of an interrupted commit")
    blocks = 0
    for block in scan_blocks(file, BLOCKS_START, superblock.committed_length):
        blocks += 1
        if block.problem:
            problems.append(Problem(block.offset, block.problem))
        elif block.kind not in _KINDS and not superblock.has_unknown_features:
            problems.append(Problem(block.offset, f"unknown kind of block {block.kind}"))
    container = Container(
        name, file, superblock=superblock, slot=index, writable=False, verify="lazy"
    )
    epochs = _check_epochs(container, problems)
    return CheckReport(
        tuple(dict.fromkeys(problems)), tuple(notes), superblock.epoch, epochs, blocks, size
    )


def _problem(error: VstoreError) -> Problem:
    if isinstance(error, CorruptionError):
        return Problem(error.offset, error.problem)
    return Problem(None, str(error))


def _check_epochs(container: Container, problems: list[Problem]) -> int:
    """Check the newest state and every full manifest; return how many commits can be read."""
    verified: set[int] = set()
    cache = SegmentCache(container)
    count = 0
    try:
        for ref, commit in ancestry(container, container.manifest_ref(), limit=HISTORY_MAX):
            count += 1
            # Other states have no segment that the later ones lack.
            if count == 1 or commit.kind == "full" or replaces_segments(commit.body):
                newest = count == 1
                _check_state(container, cache, ref, verified, problems, newest=newest)
    except VstoreError as error:
        problems.append(_problem(error))
    return count


def _check_state(
    container: Container,
    cache: SegmentCache,
    ref: BlockRef,
    verified: set[int],
    problems: list[Problem],
    *,
    newest: bool,
) -> None:
    try:
        snapshot = load_snapshot(container, cache, ref)
        if snapshot.state.history is not None:
            listed = dropped(container, snapshot.state.history)
            if listed and listed[0][0] >= snapshot.epoch:
                problem = f"history: epoch {listed[0][0]} before epoch {snapshot.epoch}"
                problems.append(Problem(snapshot.state.history.offset, problem))
    except VstoreError as error:
        problems.append(_problem(error))
        return
    for collection in snapshot.state.collections.values():
        try:
            _check_collection(snapshot, collection, verified)
            if newest:  # docnos and ids of older states are among these, until a vacuum
                check_documents(snapshot, collection.name)
        except VstoreError as error:
            problems.append(_problem(error))
    try:
        _check_records(snapshot, verified)
    except VstoreError as error:
        problems.append(_problem(error))


def _check_collection(snapshot: Snapshot, collection: CollectionState, verified: set[int]) -> None:
    container = snapshot.container
    for ref in collection.segments:
        if ref.header.offset not in verified:
            verified.add(ref.header.offset)
            segment = DocumentSegment(container, ref)
            segment.verify()
            _check_document_segment(segment, ref, collection, snapshot.epoch)
    for version in collection.versions.values():
        for ref in version.segments:
            if ref.header.offset not in verified:
                verified.add(ref.header.offset)
                rows = VectorSegment(container, ref, version.spec)
                rows.verify()
                if sum(block.end - block.offset for block in rows.blocks()) != ref.size_bytes:
                    raise rows.corrupt("the manifest gives it another size")
        _ = snapshot.collection(collection.name).rows(version.label).parts
        if version.guard is not None and version.guard.offset not in verified:
            verified.add(version.guard.offset)
            stored_guard(container, version)


def _check_records(snapshot: Snapshot, verified: set[int]) -> None:
    for collection in snapshot.state.collections.values():
        for bridge in collection.bridges:
            stored_bridge(snapshot.container, collection, bridge)
    for what, ref in records_of(snapshot.state):
        if ref.offset not in verified:
            verified.add(ref.offset)
            read_record(snapshot.container, ref, RECORDS.get(what, lambda plain: plain), what=what)


def _check_document_segment(
    segment: DocumentSegment, ref: SegmentRef, collection: CollectionState, epoch: int
) -> None:
    if sum(block.end - block.offset for block in segment.blocks()) != ref.size_bytes:
        raise segment.corrupt("the manifest gives it another size")
    for name, field_type in segment.field_types.items():
        if FieldType(collection.fields.get(name, "json")) != field_type:
            raise segment.corrupt(f"field {name!r} has another type than the manifest says")
    if segment.rows and int(np.maximum(segment.revision, segment.created).max()) > epoch:
        raise segment.corrupt("a document of a later epoch")


def verify_snapshot(snapshot: Snapshot) -> None:
    """Verify every block and invariant of one state: ``open(verify="full")``.

    Raises
    ------
    CorruptionError
    """
    verified: set[int] = set()
    for collection in snapshot.state.collections.values():
        _check_collection(snapshot, collection, verified)
        check_documents(snapshot, collection.name)
    _check_records(snapshot, verified)
