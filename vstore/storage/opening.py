"""Opening a store's file: the writer's lock, and what a crash left behind.

Implements `format-spec.md`, "Locking" and "Recovery".
"""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Final

from vstore.errors import LockedError
from vstore.storage.container import Container
from vstore.storage.layout import BLOCKS_START, SLOT_BYTES
from vstore.storage.recovery import choose_slot, creation_interrupted, cut_tail
from vstore.storage.superblock import Superblock, explain_absence

if TYPE_CHECKING:
    from vstore.storage.container import Verify
    from vstore.storage.file import Medium, StorageFile

_POLL_S: Final = 0.01


def open_container(
    medium: Medium,
    *,
    writable: bool,
    create: bool,
    verify: Verify,
    timeout_s: float,
    known: Superblock | None = None,
) -> Container:
    """Open a store's file; a writer also locks it, cuts off an uncommitted tail and mends slots.

    Parameters
    ----------
    known : Superblock, optional
        The state that a reader has of the store that the file must be.

    Raises
    ------
    FileMovedError
        The file is not that store.
    LockedError
        Another writer holds it and did not let go within ``timeout_s``.
    NotFoundError, NotAStoreError, FormatVersionError, CorruptionError, StorageError
        There is no such file; it is no store; it is of another format version; its superblock is
        damaged; the operating system refuses.
    """
    opened: list[StorageFile] = []  # holds a file at once, so that no interrupt leaves it open
    try:
        if writable:
            _lock_current(medium, opened, create=create, timeout_s=timeout_s)
            return _container_to_write(medium, opened[0], create=create, verify=verify)
        opened.append(medium.open(writable=False, create=False))
        slot, superblock, skipped = choose_slot(medium.name, opened[0], writable=False, known=known)
        return Container(
            medium.name,
            opened[0],
            superblock=superblock,
            slot=slot,
            writable=False,
            verify=verify,
            skipped=skipped,
        )
    except BaseException:
        for file in opened:
            file.close()
        raise


def _container_to_write(
    medium: Medium, file: StorageFile, *, create: bool, verify: Verify
) -> Container:
    # The last writer may have died between making or renaming this file and the sync of its entry.
    # A commit into a file whose name a power loss takes back would be lost with it.
    medium.sync_entry()
    if creation_interrupted(file):
        if not create:
            raise explain_absence(file.read(0, BLOCKS_START), medium.name)
        if file.size():
            cut_tail(file, 0)  # durably, or the first attempt could show through the second
        file.truncate(BLOCKS_START)
        return Container(medium.name, file, superblock=None, slot=1, writable=True, verify=verify)
    slot, superblock, skipped = choose_slot(medium.name, file, writable=True)
    if file.size() > superblock.committed_length:
        cut_tail(file, superblock.committed_length)
    else:
        # The last writer may have died before its last sync, or was relaxed. What this one builds
        # on must be durable, the chosen slot above all: the other one will be written.
        file.sync()
    medium.discard_replacement(superblock.file_uuid)
    if skipped is not None or not superblock.settled:
        slot, superblock = _mend(file, slot, superblock)
    return Container(
        medium.name,
        file,
        superblock=superblock,
        slot=slot,
        writable=True,
        verify=verify,
        skipped=skipped,
    )


def _mend(file: StorageFile, slot: int, superblock: Superblock) -> tuple[int, Superblock]:
    """Write the slot that is damaged, lost or older anew; return it and what is in it.

    The chosen slot and all that it names are durable, so that a crash leaves the state what it is.
    Without this a torn slot would look like damage until the next commit, and the only whole one
    could be that of a relaxed commit, which `Container.settle` writes over.
    """
    other, settled = 1 - slot, superblock._replace(durable_length=superblock.committed_length)
    file.write(other * SLOT_BYTES, [settled.encode()])
    file.sync()
    return other, settled


def _lock_current(
    medium: Medium, opened: list[StorageFile], *, create: bool, timeout_s: float
) -> None:
    """Open and lock the file of this place, also when a vacuum replaces it meanwhile.

    Parameters
    ----------
    opened : list
        Takes the file; the caller closes it if this raises.
    """
    deadline = time.monotonic() + timeout_s
    while True:
        opened.append(medium.open(writable=True, create=create))
        remaining_s = deadline - time.monotonic()
        is_locked = opened[0].lock()
        if is_locked and medium.is_current(opened[0]):
            return
        if not is_locked and remaining_s <= 0:
            pid = opened[0].holder()
            own = pid == os.getpid()
            raise LockedError(medium.name, waited_s=timeout_s, pid=pid, own=own)
        opened[0].close()
        opened.clear()
        if not is_locked:
            time.sleep(min(_POLL_S, remaining_s))


def new_container(name: str, file: StorageFile) -> Container:
    """Return a container over an empty file."""
    file.truncate(BLOCKS_START)
    return Container(name, file, superblock=None, slot=1, writable=True, verify="off")
