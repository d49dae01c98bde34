"""Checks that a path still names the open store, and not another store or a copy of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vstore.engine.history import dropped
from vstore.engine.snapshot import SegmentCache, Snapshot, load_snapshot
from vstore.errors import FileMovedError, NotFoundError, StorageError
from vstore.limits import HISTORY_MAX
from vstore.manifest.commit import find_epoch, read_commit
from vstore.storage.opening import open_container
from vstore.storage.superblock import require_successor

if TYPE_CHECKING:
    from vstore.storage.container import Container
    from vstore.storage.file import Medium


def require_in_place(
    medium: Medium, container: Container, *, lost: str = "Nothing was written"
) -> None:
    """Refuse to write to a file that its path no longer names, or that was overwritten.

    Parameters
    ----------
    lost : str
        The error's sentence on the fate of the data.

    Raises
    ------
    FileMovedError
        The file was renamed, removed, replaced, or overwritten.
    """
    if not medium.is_current(container.file):
        raise FileMovedError(
            medium.name,
            "the path no longer names the file that is open: it was renamed, removed or replaced",
            lost=lost,
        )
    container.require_own()


def newest(medium: Medium, known: Snapshot) -> Snapshot:
    """Return the newest snapshot of a reader's store, if need be from a vacuum's new file.

    Raises
    ------
    FileMovedError
        The path names nothing, no store, another store, or a copy without the known commit.
    StorageError
        The operating system cannot open or read the file now.
    CorruptionError, FormatVersionError
        The file is this store, but is damaged, or of a format that this vstore does not read.
    """
    try:
        return _newest(medium, known)
    except FileMovedError as error:
        raise FileMovedError(
            error.path, error.problem, lost=f"This handle stays at epoch {known.epoch}"
        ) from None


def _newest(medium: Medium, known: Snapshot) -> Snapshot:
    container = known.container
    if not medium.is_current(container.file):
        return _replaced(medium, known)
    container.reload()
    # Compare with the snapshot, not with the previous superblock: an earlier call may have read the
    # superblock, and failed after that.
    tip = container.manifest_ref()
    if tip == known.tip:
        return known
    if not container.holds(known.tip):
        raise _other_history(medium.name, known)
    return load_snapshot(container, known.cache, tip, known=known)


def _replaced(medium: Medium, known: Snapshot) -> Snapshot:
    before = known.container.superblock
    assert before is not None, "an opened store has one"
    try:
        container = open_container(
            medium,
            writable=False,
            create=False,
            verify=known.container.verify,
            timeout_s=0,
            known=before,
        )
    except NotFoundError:
        raise FileMovedError(
            medium.name, "the file that was open was renamed or removed, and nothing is there now"
        ) from None
    except FileMovedError:
        raise
    except StorageError as error:
        # Too many open files, or a failing disk, do not mean that the file is another one.
        if isinstance(error.__cause__, OSError) and not isinstance(
            error.__cause__, PermissionError
        ):
            raise
        raise FileMovedError(medium.name, f"the path names another file now: {error}") from error
    try:
        now = container.superblock
        assert now is not None, "an opened store has one"
        require_successor(medium.name, before, now)
        snapshot = load_snapshot(container, SegmentCache(container), container.manifest_ref())
        if not _descends(snapshot, known):
            raise _other_history(medium.name, known)
    except BaseException:
        container.close()
        raise
    return snapshot


def _descends(snapshot: Snapshot, known: Snapshot) -> bool:
    """Whether a vacuumed file's snapshot descends from a known one; True if neither is provable."""
    container = snapshot.container
    ref = find_epoch(container, snapshot.tip, known.epoch, limit=HISTORY_MAX)
    if ref is not None:
        return read_commit(container, ref).time_us == known.time_us
    history = snapshot.state.history
    entries = [] if history is None else dropped(container, history)
    times = {time_us for epoch, time_us, _ in entries if epoch == known.epoch}
    return not times or known.time_us in times


def _other_history(name: str, known: Snapshot) -> FileMovedError:
    return FileMovedError(
        name,
        f"the file is a copy of the store now in which epoch {known.epoch}, which was open here, "
        "is of another commit",
    )
