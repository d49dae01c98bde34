"""The container: verified blocks and atomic commits over one `StorageFile`.

A commit appends blocks, syncs, writes the older slot, syncs. What stands behind the newest slot's
``committed_length`` belongs to nobody and is cut off by the next writer. Implements
`format-spec.md`, "Writer algorithm".
"""

from __future__ import annotations

import contextlib
import os
import weakref
from typing import TYPE_CHECKING, Final, Literal, TypeAlias, get_args

from blake3 import blake3

from vstore.errors import (
    BlockChecksumError,
    ClosedError,
    CorruptionError,
    FileMovedError,
    ReadOnlyError,
    StorageError,
)
from vstore.limits import VIEW_BYTES_MIN
from vstore.storage.block import BlockRef, decode_frame, encode_frame, padding
from vstore.storage.layout import BLOCKS_START, COMPAT_GRAPHS, FRAME_BYTES, SLOT_BYTES, BlockKind
from vstore.storage.packing import blake3_digest
from vstore.storage.recovery import choose_slot, cut_tail
from vstore.storage.superblock import Superblock, require_successor

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from vstore.storage.file import StorageFile
    from vstore.types import Bytes

Verify: TypeAlias = Literal["lazy", "full", "off"]
VERIFIES: Final[tuple[Verify, ...]] = get_args(Verify)


class Container:
    """One file of a store.

    Attributes
    ----------
    superblock : Superblock | None
        The state; None in a new file, until the first `publish`.
    skipped : str | None
        Why the newest slot was passed over when the file was opened, for people to see.
    """

    def __init__(
        self,
        name: str,
        file: StorageFile,
        *,
        superblock: Superblock | None,
        slot: int,
        writable: bool,
        verify: Verify,
        skipped: str | None = None,
    ) -> None:
        self.name = name
        self._file: Callable[[], StorageFile | None] = lambda: file
        self.superblock = superblock
        self.writable = writable
        self.skipped = skipped
        self.verify: Verify = verify
        self._kept_slot = slot  # the other one is written next
        # Both slots as this handle read or wrote them; whoever else writes changes one.
        self._slots = bytearray(file.read(0, BLOCKS_START)) if writable else bytearray()
        self._tail = superblock.committed_length if superblock else BLOCKS_START
        self._poison: BaseException | None = None
        self._views: dict[int, memoryview] = {}
        self._verified: set[int] = set()

    @property
    def file(self) -> StorageFile:
        """The file; `ClosedError` when `let_go` has left it to snapshots that are gone."""
        file = self._file()
        if file is None:
            raise ClosedError(
                f"{self.name}: a vacuum has replaced the file that this was read from"
            )
        return file

    @file.setter
    def file(self, file: StorageFile) -> None:
        self._file = lambda: file

    def let_go(self) -> None:
        """Leave the file, which a vacuum has replaced, to those who hold it: snapshots and views.

        Results lead here, too, and are kept for long. They need no more than what they have mapped.
        """
        with contextlib.suppress(TypeError):  # a medium's own class may not allow weak references
            self._file = weakref.ref(self.file)

    # Reading.

    @property
    def committed_length(self) -> int:
        """Bytes of the file that belong to the current state."""
        return self.superblock.committed_length if self.superblock else BLOCKS_START

    def read(self, ref: BlockRef, kind: BlockKind, *, unverified: bool = False) -> memoryview:
        """Return a block's payload, verified at its first use.

        Parameters
        ----------
        unverified : bool
            The caller verifies what it uses of the payload.

        Raises
        ------
        CorruptionError
            The reference leaves the committed file, the frame is not the named one, or the payload
            does not have the named hash.
        """
        view = self._views.get(ref.offset)
        if view is None or len(view) != ref.length:
            view = self._load(ref, kind)
        wanted = not unverified and (self.verify != "off" or kind == BlockKind.COMMIT)
        if wanted and ref.offset not in self._verified:
            computed = blake3_digest(view)
            if computed != ref.hash:
                raise BlockChecksumError(
                    self.name, offset=ref.offset, stored=ref.hash, computed=computed
                )
            if ref.length >= VIEW_BYTES_MIN:
                self._verified.add(ref.offset)
        return view

    def is_verified(self, ref: BlockRef) -> bool:
        """Whether nothing of a block needs to be verified any more."""
        return self.verify == "off" or ref.offset in self._verified

    def _load(self, ref: BlockRef, kind: BlockKind) -> memoryview:
        if ref.end > self._tail:
            raise CorruptionError(
                self.name,
                f"reference to {ref.length} bytes leaves the {self._tail} committed bytes",
                offset=ref.offset,
            )
        total = FRAME_BYTES + ref.length
        mapped = ref.length >= VIEW_BYTES_MIN
        if mapped and self.file.size() < ref.offset + total:
            raise CorruptionError(self.name, "the file was cut inside a block", offset=ref.offset)
        whole = (
            self.file.view(ref.offset, total)
            if mapped
            else memoryview(self.file.read(ref.offset, total))
        )
        frame = decode_frame(whole[:FRAME_BYTES])
        if frame is None or len(whole) != total:
            raise CorruptionError(self.name, "no block where one is named", offset=ref.offset)
        if (frame.kind, frame.flags, frame.payload_length, frame.payload_hash) != (
            kind,
            0,
            ref.length,
            ref.hash,
        ):
            raise CorruptionError(self.name, "not the block that is named", offset=ref.offset)
        payload = whole[FRAME_BYTES:]
        if mapped:
            self._views[ref.offset] = payload
        return payload

    def manifest_ref(self) -> BlockRef:
        """Return the reference to the newest commit block."""
        assert self.superblock is not None, "a new file has no manifest yet"
        slot = self.superblock
        return BlockRef(slot.manifest_offset, slot.manifest_length, slot.manifest_hash)

    def forget_views(self, keep: Iterable[int]) -> None:
        """Drop the maps of blocks that are not at one of the given offsets."""
        wanted = set(keep)
        # As a list: a reader's thread may add to it meanwhile.
        self._views = {at: view for at, view in list(self._views.items()) if at in wanted}

    def reload(self) -> bool:
        """Move to the newest committed epoch; False if this is it already.

        Raises
        ------
        FileMovedError
            Anything else than a later state of this store was copied over the file.
        """
        slot, superblock, _ = choose_slot(
            self.name, self.file, writable=self.writable, known=self.superblock
        )
        if self.superblock is not None:
            require_successor(self.name, self.superblock, superblock)
            if superblock.epoch == self.superblock.epoch:
                return False
        self.superblock, self._kept_slot = superblock, slot
        self._tail = superblock.committed_length
        return True

    def holds(self, ref: BlockRef) -> bool:
        """Whether the file has the named block where it is named; only its frame is read."""
        frame = decode_frame(self.file.read(ref.offset, FRAME_BYTES))
        return (
            frame is not None
            and frame.payload_hash == ref.hash
            and frame.payload_length == ref.length
        )

    # Writing.

    def require_own(self) -> None:
        """Refuse to write where somebody else has written; the caller holds the lock.

        Raises
        ------
        FileMovedError
            The superblock slots are not as this handle read or wrote them.
        """
        problem = None
        if self.file.read(0, BLOCKS_START) != self._slots:
            problem = (
                "another program has written over the file while it was open here, as copying a "
                "backup over it does"
            )
        elif self.file.size() < self.committed_length:
            problem = "another program has shortened the file while it was open here"
        if problem is not None:
            error = FileMovedError(self.name, problem)
            self.condemn(error)
            raise error

    @property
    def tail(self) -> int:
        """Offset of the next block."""
        return self._tail

    def append(self, kind: BlockKind, payload: Bytes) -> BlockRef:
        """Write a block behind the last one. It belongs to nobody until `publish`."""
        self.require_healthy()
        length = memoryview(payload).nbytes
        ref = BlockRef(self._tail, length, blake3_digest(memoryview(payload).cast("B")))
        frame = encode_frame(kind, length, ref.hash)
        if length < VIEW_BYTES_MIN:
            self.file.write(ref.offset, [b"".join((frame, payload, padding(length)))])
        else:
            self.file.write(ref.offset, [frame, payload, padding(length)])
        self._tail = ref.end
        return ref

    def append_pieces(self, kind: BlockKind, length: int, pieces: Iterable[Bytes]) -> BlockRef:
        """Write a block whose payload of ``length`` bytes comes in pieces."""
        self.require_healthy()
        hasher = blake3()  # by one thread, see `blake3_digest`
        offset = self._tail + FRAME_BYTES
        for piece in pieces:
            hasher.update(piece)
            self.file.write(offset, [piece])
            offset += memoryview(piece).nbytes
        assert offset == self._tail + FRAME_BYTES + length, "pieces do not add up"
        ref = BlockRef(self._tail, length, hasher.digest())
        self.file.write(offset, [padding(length)])
        self.file.write(ref.offset, [encode_frame(kind, length, ref.hash)])
        self._tail = ref.end
        return ref

    def publish(self, manifest: BlockRef, epoch: int, *, durable: bool = True) -> None:
        """Make the appended blocks the state.

        With ``durable`` the call returns when they survive power loss; without, they survive the
        death of the process, and `settle` makes them durable later.

        Raises
        ------
        StorageError
            The handle is poisoned: whether the commit happened is known after reopening. A failed
            sync is not retried, since the kernel may have dropped the pages it could not write.
        """
        self.require_healthy()
        previous = self.superblock
        superblock = Superblock(
            file_uuid=previous.file_uuid if previous else os.urandom(16),
            epoch=epoch,
            committed_length=self._tail,
            durable_length=self._tail if durable or not previous else previous.durable_length,
            manifest_offset=manifest.offset,
            manifest_length=manifest.length,
            manifest_hash=manifest.hash,
            features_compat=previous.features_compat if previous else COMPAT_GRAPHS,
            features_ro_compat=previous.features_ro_compat if previous else 0,
            features_incompat=previous.features_incompat if previous else 0,
        )
        target = 1 - self._kept_slot
        if durable:
            # Blocks must be durable before the superblock that names them: its own checksum
            # would pass even if what it points at were lost. The slot that stays is durable since
            # it was written, or since the file was opened.
            self._sync()
        try:
            self._write_slot(target, superblock)
            if durable:
                self.file.sync()
                self._kept_slot = target
            self.superblock = superblock
        except BaseException as error:
            # Also for Ctrl-C: the slot may be written, so its blocks must not be cut off.
            self.condemn(error)
            raise

    def _write_slot(self, slot: int, superblock: Superblock) -> None:
        encoded, start = superblock.encode(), slot * SLOT_BYTES
        self.file.write(start, [encoded])
        self._slots[start : start + SLOT_BYTES] = encoded

    def _sync(self) -> None:
        try:
            self.file.sync()
        except StorageError as error:
            self.condemn(error)
            raise

    @property
    def settled(self) -> bool:
        """Whether every commit is durable."""
        return self.superblock is None or self.superblock.settled

    def settle(self) -> None:
        """Make relaxed commits durable."""
        superblock = self.superblock
        if superblock is None or superblock.settled:
            return
        self.require_healthy()
        settled = superblock._replace(durable_length=superblock.committed_length)
        self._sync()
        try:
            # The newest slot is durable now, so the kept one may go: it tells the next reader
            # that there is nothing left to verify.
            self._write_slot(self._kept_slot, settled)
            self.file.sync()
            self.superblock = settled
        except BaseException as error:
            self.condemn(error)
            raise

    def adopt(self, previous: Superblock) -> None:
        """Give a new, empty file the identity of the one it will replace."""
        self.superblock = previous._replace(
            committed_length=BLOCKS_START, durable_length=BLOCKS_START
        )

    def abort(self) -> None:
        """Drop blocks that were appended but not published."""
        if self.closed or self._tail == self.committed_length == self.file.size():
            return
        # The size tells more than the tail: a failed append may have written part of its block.
        self._tail = self.committed_length
        self._views = {at: view for at, view in list(self._views.items()) if at < self._tail}
        self._verified = {at for at in list(self._verified) if at < self._tail}
        if self._poison is None and self.file.size() > self._tail:
            try:
                cut_tail(self.file, self._tail)
            except StorageError as error:
                self.condemn(error)

    def require_healthy(self) -> None:
        """Refuse to write through a read-only or poisoned handle."""
        if not self.writable:
            raise ReadOnlyError(f"{self.name} is open read-only; open it with mode='rw' to write")
        if isinstance(self._poison, FileMovedError):
            raise FileMovedError(self.name, self._poison.problem)
        if self._poison is not None:
            raise StorageError(
                f"{self.name}: an earlier write failed or was interrupted ({self._poison!r}); "
                "close and reopen the store"
            ) from self._poison

    def condemn(self, error: BaseException) -> None:
        """Refuse all further writes through this handle: what is on disk is uncertain."""
        self._poison = error.with_traceback(None)  # whose frames would keep the file open

    def acquit(self) -> None:
        """Take writes again: what was feared did not happen."""
        self._poison = None

    @property
    def poisoned(self) -> bool:
        """Whether a failed write has made this handle read-only."""
        return self._poison is not None

    @property
    def closed(self) -> bool:
        """Whether the file is closed: by `close`, or because this process is a fork."""
        file = self._file()
        return file is None or file.closed

    def close(self) -> None:
        """Release file and lock. Views stay valid."""
        self._views.clear()
        file = self._file()
        if file is not None:
            file.close()
