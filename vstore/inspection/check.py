"""Checking a file: every byte, every hash, every invariant. It reports; it does not raise."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from vstore.engine.history import dropped
from vstore.engine.snapshot import SegmentCache, load_snapshot, snapshot_after
from vstore.errors import CorruptionError, VstoreError
from vstore.guarding.guard_record import read_guard
from vstore.guarding.loaded_guards import stored_guard
from vstore.inspection.check_documents import (
    UnsealedRows,
    changed_collections,
    check_documents,
    require_lives,
    require_revisions,
)
from vstore.limits import HISTORY_MAX
from vstore.manifest.commit import ancestry
from vstore.manifest.delta import replaces_segments
from vstore.manifest.hits import read_hits
from vstore.manifest.record import read_record, records_of
from vstore.manifest.state import FieldType
from vstore.observe.metrics_record import read_metrics
from vstore.query.bridge_record import read_map, stored_bridge
from vstore.segment.documents import DocumentSegment
from vstore.segment.vectors import VectorSegment
from vstore.storage.container import Container
from vstore.storage.layout import BLOCKS_START, SLOT_BYTES, BlockKind
from vstore.storage.recovery import choose_slot
from vstore.storage.scan import scan_blocks
from vstore.storage.superblock import read_slots

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from vstore.engine.snapshot import Snapshot
    from vstore.manifest.commit import Commit
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
    """Check the state of every commit; return how many can be read."""
    checker = _StateChecker(container, problems)
    chain: list[_Link] = []  # commits whose base is yet to come, newest first
    epochs: set[int] = set()
    try:
        for ref, commit in ancestry(container, container.manifest_ref(), limit=HISTORY_MAX):
            if not epochs:
                checker.newest(ref)
            epochs.add(commit.epoch)
            chain.append(_Link(ref, commit))
            if commit.kind == "full":
                checker.chain(chain[::-1])
                chain.clear()
    except VstoreError as error:
        problems.append(_problem(error))
    else:
        if len(epochs) < HISTORY_MAX:
            checker.tags(epochs)
    return len(epochs)


class _Link(NamedTuple):
    """A commit of a chain, and where it is."""

    ref: BlockRef
    commit: Commit

    @property
    def whole(self) -> bool:
        """Whether its state may have segments that later ones lack."""
        return self.commit.kind == "full" or replaces_segments(self.commit.body)


class _StateChecker:
    """Checks the states of one file, each segment and record once."""

    def __init__(self, container: Container, problems: list[Problem]) -> None:
        self._container, self._problems = container, problems
        self._cache = SegmentCache(container)
        self._verified: set[int] = set()
        self._newest: Snapshot | None = None

    def newest(self, ref: BlockRef) -> None:
        """Check the newest state, read as whoever opens the file reads it."""
        with self._noted():
            self._newest = load_snapshot(self._container, self._cache, ref)
        if self._newest is not None:
            self._check(self._newest, newest=True)

    def chain(self, links: list[_Link]) -> None:
        """Check the states of a chain, oldest first: each follows from the one before it."""
        snapshot: Snapshot | None = None
        unsealed = UnsealedRows()
        for link in links:
            try:
                snapshot = snapshot_after(
                    self._container, self._cache, link.ref, [link.commit], known=snapshot
                )
            except VstoreError as error:
                self._problems.append(_problem(error))
                return  # nor can those behind it be read
            if link.whole:
                self._check(snapshot, newest=False)
                for name in snapshot.state.collections:
                    with self._noted():
                        require_revisions(snapshot, name)
            for name in changed_collections(link.commit):
                with self._noted():
                    unsealed.follow(snapshot, name, link.commit)
        assert snapshot is not None, "a chain has a full manifest"
        for name in snapshot.state.collections:
            with self._noted():
                require_lives(snapshot, name)

    def tags(self, epochs: set[int]) -> None:
        """Check that the file has every epoch that the newest state tags."""
        tags = {} if self._newest is None else self._newest.state.tags
        for name, tag in tags.items():
            if tag.epoch not in epochs:
                problem = f"tag {name!r} names epoch {tag.epoch}, which the file does not have"
                self._problems.append(Problem(None, problem))

    def _check(self, snapshot: Snapshot, *, newest: bool) -> None:
        """Check what a state names: segments, records and the history."""
        for check in (_check_history, _check_records):
            with self._noted():
                check(snapshot, self._verified)
        for collection in snapshot.state.collections.values():
            with self._noted():
                _check_collection(snapshot, collection, self._verified)
                if newest:  # docnos and ids of older states are among these, until a vacuum
                    check_documents(snapshot, collection.name)

    @contextmanager
    def _noted(self) -> Iterator[None]:
        try:
            yield
        except VstoreError as error:
            self._problems.append(_problem(error))


def _check_history(snapshot: Snapshot, _verified: set[int]) -> None:
    ref = snapshot.state.history
    if ref is not None:
        listed = dropped(snapshot.container, ref)
        if listed and listed[0][0] >= snapshot.epoch:
            problem = f"history: epoch {listed[0][0]} before epoch {snapshot.epoch}"
            raise CorruptionError(snapshot.container.name, problem, offset=ref.offset)


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


def _check_records(snapshot: Snapshot, verified: set[int]) -> None:
    for collection in snapshot.state.collections.values():
        for bridge in collection.bridges:
            stored_bridge(snapshot.container, collection, bridge)
        for version in collection.versions.values():
            if version.guard is not None and version.guard.offset not in verified:
                stored_guard(snapshot.container, version)  # which has the version's dimension
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
        A block is damaged, or contradicts another.
    """
    verified: set[int] = set()
    for collection in snapshot.state.collections.values():
        _check_collection(snapshot, collection, verified)
        check_documents(snapshot, collection.name)
    _check_records(snapshot, verified)
