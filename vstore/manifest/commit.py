"""Commit blocks: one per epoch, a delta or a full manifest (`format-spec.md`, "Commit").

The superblock names the newest. A delta names the commit before it and the full manifest it counts
from, so a state is a full manifest and the deltas on top of it, and older epochs are found by going
back from full manifest to full manifest.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple, TypeAlias

from vstore.errors import CorruptionError
from vstore.frozen import FrozenDict
from vstore.limits import DELTA_CHAIN_MAX, NAME_BYTES_MAX, REASON_BYTES_MAX
from vstore.manifest.plain import U64_MAX, PlainReader
from vstore.storage.block import BlockRef, ref_to_list
from vstore.storage.layout import BlockKind
from vstore.storage.packing import pack, unpack

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from vstore.storage.container import Container

CommitKind: TypeAlias = Literal["delta", "full"]
_COUNTS_MAX = 64


class Operation(NamedTuple):
    """What a commit did, in a person's words: the history's entry.

    Attributes
    ----------
    name : str
        For example ``"upsert"`` or ``"cutover"``.
    note : str
        A person's reason, or empty.
    counts : Mapping[str, int]
        For example ``{"documents": 12}``.
    """

    name: str
    note: str = ""
    counts: Mapping[str, int] = FrozenDict({})


class Commit(NamedTuple):
    """One commit block.

    Attributes
    ----------
    previous : BlockRef | None
        The commit before; None for the first of a file.
    base : BlockRef | None
        Of a delta: the full manifest it counts from.
    depth : int
        Deltas since that full manifest, this one included; 0 for a full one.
    body : object
        The full manifest, or the edits.
    documents, rows : object
        Of a delta: changes to the memtable, decoded by `segment.replay`.
    """

    kind: CommitKind
    epoch: int
    time_us: int
    operation: Operation
    previous: BlockRef | None
    base: BlockRef | None
    depth: int
    body: object
    documents: object = FrozenDict({})
    rows: object = FrozenDict({})

    def encode(self) -> bytes:
        """Return the block's payload."""
        operation = self.operation
        # Cut, since a label may stand before a reason; the whole reason is where it belongs.
        note = operation.note.encode()[:REASON_BYTES_MAX].decode(errors="ignore")
        value: dict[str, object] = {
            "kind": self.kind,
            "epoch": self.epoch,
            "time_us": self.time_us,
            "operation": [operation.name, note, dict(operation.counts)],
            "previous": None if self.previous is None else ref_to_list(self.previous),
        }
        if self.kind == "full":
            value["manifest"] = self.body
        else:
            value["base"] = None if self.base is None else ref_to_list(self.base)
            value["depth"] = self.depth
            if self.body:
                value["edits"] = self.body
            if self.documents:
                value["documents"] = self.documents
            if self.rows:
                value["rows"] = self.rows
        return pack(value)


def read_commit(container: Container, ref: BlockRef) -> Commit:
    """Read a commit block.

    Raises
    ------
    CorruptionError
        The block is damaged, or is no commit.
    """
    try:
        return _decode(unpack(container.read(ref, BlockKind.COMMIT)))
    except ValueError as error:
        raise CorruptionError(container.name, f"commit: {error}", offset=ref.offset) from error


def _decode(value: object) -> Commit:
    plain = PlainReader(value, "commit")
    full = plain.choice("kind", ("delta", "full")) == "full"
    return Commit(
        kind="full" if full else "delta",
        epoch=plain.integer("epoch"),
        time_us=plain.integer("time_us"),
        operation=read_operation(plain.raw("operation"), "commit.operation"),
        previous=plain.optional_ref("previous"),
        base=None if full else plain.ref("base"),
        depth=0 if full else plain.integer("depth", minimum=1, maximum=DELTA_CHAIN_MAX),
        body=plain.raw("manifest") if full else plain.raw("edits", default=[]),
        documents=plain.raw("documents", default={}),
        rows=plain.raw("rows", default={}),
    )


def read_operation(value: object, where: str) -> Operation:
    """Check an operation from a file."""
    if not isinstance(value, list) or len(value) != 3:
        raise ValueError(f"{where}: expected [name, note, counts]")
    plain = PlainReader({"name": value[0], "note": value[1], "counts": value[2]}, where)
    return Operation(
        name=plain.text("name", bytes_max=NAME_BYTES_MAX),
        note=plain.text("note", bytes_max=REASON_BYTES_MAX),
        counts=plain.mapping("counts", _read_count, count_max=_COUNTS_MAX),
    )


def _read_count(_name: str, value: object, where: str) -> int:
    if type(value) is not int or not 0 <= value <= U64_MAX:
        raise ValueError(f"{where}: expected a count")
    return value


class Place(NamedTuple):
    """Where a commit stands in its chain.

    Attributes
    ----------
    base : BlockRef
        The chain's full commit: its own block if it is one.
    """

    ref: BlockRef
    epoch: int
    time_us: int
    base: BlockRef
    depth: int


def _place(ref: BlockRef, commit: Commit) -> Place:
    return Place(ref, commit.epoch, commit.time_us, commit.base or ref, commit.depth)


def _require_follows(container: Container, newer: Commit, older: Place) -> None:
    """Refuse a commit that does not follow the one that it names as the one before it.

    Raises
    ------
    CorruptionError
        Epochs, times, depths or bases do not fit.
    """
    problem = None
    if newer.epoch <= older.epoch or newer.time_us < older.time_us:
        problem = "commits are out of order"
    elif newer.kind == "delta" and (newer.epoch, newer.depth) != (older.epoch + 1, older.depth + 1):
        problem = f"a delta of depth {newer.depth} on a commit of depth {older.depth}"
    elif newer.kind == "delta" and newer.base != older.base:
        problem = "not the base of its delta"
    if problem is not None:
        problem = f"{problem}: epoch {newer.epoch} follows epoch {older.epoch}"
        raise CorruptionError(container.name, problem, offset=older.ref.offset)


def chain(container: Container, tip: BlockRef, *, known: Place | None = None) -> list[Commit]:
    """Return the commits that make up the state at ``tip``, oldest first.

    They start with a full manifest, or right behind ``known``, a commit whose state the caller has.

    Raises
    ------
    CorruptionError
        A block is damaged, or a commit does not follow the one before it.
    """
    commits: list[Commit] = []
    ref = tip
    while known is None or ref != known.ref:
        commit = read_commit(container, ref)
        if commits:
            _require_follows(container, commits[-1], _place(ref, commit))
        commits.append(commit)
        if commit.kind == "full":
            return commits[::-1]
        if commit.previous is None:
            raise CorruptionError(container.name, "a delta without a base", offset=ref.offset)
        ref = commit.previous
    if commits:
        _require_follows(container, commits[-1], known)
    return commits[::-1]


def ancestry(
    container: Container, tip: BlockRef, *, limit: int
) -> Iterator[tuple[BlockRef, Commit]]:
    """Yield commits from the newest back, at most ``limit``.

    Raises
    ------
    CorruptionError
        As `chain`.
    """
    ref: BlockRef | None = tip
    newer: Commit | None = None
    for _ in range(limit):
        if ref is None:
            return
        commit = read_commit(container, ref)
        if newer is not None:
            _require_follows(container, newer, _place(ref, commit))
        yield ref, commit
        ref, newer = commit.previous, commit


def find_epoch(container: Container, tip: BlockRef, epoch: int, *, limit: int) -> BlockRef | None:
    """Return the commit of an epoch, None if the file no longer has it.

    Whole chains that start behind the epoch are skipped through their base.

    Raises
    ------
    CorruptionError
        As `chain`.
    """
    ref: BlockRef | None = tip
    newer: Commit | None = None
    for _ in range(limit):
        if ref is None:
            return None
        commit = read_commit(container, ref)
        if newer is not None:
            _require_follows(container, newer, _place(ref, commit))
        if commit.epoch == epoch:
            return ref
        if commit.epoch < epoch:
            return None
        ref, newer = commit.previous, commit
        if commit.base is not None and commit.base != ref:
            base = read_commit(container, commit.base)
            if (base.kind, base.epoch) != ("full", commit.epoch - commit.depth):
                problem = f"not the base of the delta of epoch {commit.epoch}"
                raise CorruptionError(container.name, problem, offset=commit.base.offset)
            if base.epoch >= epoch:
                ref, newer = commit.base, None
    return None
