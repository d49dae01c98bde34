"""Opening a store: arguments checked, the file opened, a new one given its first epoch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal, TypeAlias, get_args

from vstore.api.commit_steps import COMMIT_STEPS
from vstore.api.store import Store
from vstore.clock import SystemClock
from vstore.deferred import Deferred
from vstore.engine.indexing import INDEXINGS
from vstore.engine.open_file import DURABILITIES, OpenFile
from vstore.engine.snapshot import SegmentCache, load_snapshot
from vstore.errors import InvalidArgumentError
from vstore.limits import THREADS_MAX
from vstore.names import check_choice, require_text
from vstore.native.flavour import processors
from vstore.numbers import check_number, check_switch, check_whole
from vstore.storage.container import VERIFIES
from vstore.storage.file import Medium, PathMedium, path_text
from vstore.storage.opening import open_container

if TYPE_CHECKING:
    import os

    from vstore.clock import Clock
    from vstore.engine import commit as writer
    from vstore.engine.indexing import Indexing
    from vstore.engine.open_file import Durability
    from vstore.inspection import check
    from vstore.manifest import edits
    from vstore.storage import memory
    from vstore.storage.container import Container, Verify
else:  # not what a search needs
    check = Deferred("vstore.inspection.check")
    edits = Deferred("vstore.manifest.edits")
    memory = Deferred("vstore.storage.memory")
    writer = Deferred("vstore.engine.commit")

OpenMode: TypeAlias = Literal["rw", "r"]
OPEN_MODES: Final[tuple[OpenMode, ...]] = get_args(OpenMode)


def open_store(
    path: str | os.PathLike[str] | Medium,
    *,
    mode: OpenMode = "rw",
    create: bool = True,
    epoch: int | None = None,
    tag: str | None = None,
    verify: Verify = "lazy",
    durability: Durability = "full",
    indexing: Indexing = "inline",
    timeout_s: float = 0.0,
    keep_metrics: bool = False,
    recall_sample: float = 0.0,
    threads: int | None = None,
    clock: Clock | None = None,
) -> Store:
    """Open a store.

    Parameters
    ----------
    path : path-like or Medium
        The file; ``":memory:"`` for a store without one. A leading ``~/`` is the home directory.
        Any other place of bytes that has the methods of `storage.file.Medium` will do, too.
    mode : {"rw", "r"}
        "rw" makes this the one writer; "r" takes no lock and needs no write permission.
    create : bool
        With "rw", make a new store if the file is missing or empty.
    epoch, tag : optional
        Open the store read-only as it was at an epoch.
    verify : {"lazy", "full", "off"}
        Check each block's hash at its first use, all of them now, or none but the manifest's.
    durability : {"full", "relaxed"}
        "full": a commit that returned survives power loss. "relaxed": it survives the death of the
        process; it is synced every second and on close.
    indexing : {"inline", "background", "manual"}
        "inline": a commit that seals or merges enough rows also builds their graph, before it
        returns. "background": a thread merges and builds, and searches scan what has no graph yet.
        "manual": only `Store.optimize` and `Store.vacuum` build graphs: for bulk loads.
    timeout_s : float
        How long to wait for another writer to let go; 0 fails at once.
    keep_metrics : bool
        Flush on close what was counted, hits included; see `Store.flush_metrics`. Writers only.
    recall_sample : float
        Share of searches that are also answered exactly, after the answer was found, to measure the
        recall that users get. Each of them takes as much longer as a scan.
    threads : int, optional
        How many threads share the queries of a batch; one for each processor if not given.
    clock : Clock, optional
        What tells the time of commits, for tests; the operating system's otherwise.

    Raises
    ------
    LockedError
        Another writer holds the store; the message says if that is a handle of this process.
    NotFoundError
        No such file, directory, epoch or tag.
    NotAStoreError, FormatVersionError, CorruptionError
        The file cannot be read as a store.
    StorageError
        The operating system refuses, or the path leads to what is no regular file.
    """
    create = check_switch(create, what="create")
    past = epoch is not None or tag is not None
    medium = _medium_of(path, may_be_new=mode != "r" and create and not past)
    for name, value, choices in (
        ("mode", mode, OPEN_MODES),
        ("verify", verify, VERIFIES),
        ("durability", durability, DURABILITIES),
        ("indexing", indexing, INDEXINGS),
    ):
        check_choice(value, choices, what=name)
    if epoch is not None and tag is not None:
        raise InvalidArgumentError("open: pass epoch or tag, not both")
    timeout_s = check_number(timeout_s, what="timeout_s")
    keep_metrics = check_switch(keep_metrics, what="keep_metrics")
    writable = mode == "rw" and not past
    if keep_metrics and not writable:
        raise InvalidArgumentError("keep_metrics: needs mode='rw', and neither epoch= nor tag=")
    recall_sample = check_number(recall_sample, what="recall_sample", least=0, most=1)
    if threads is None:
        threads = processors()
    threads = check_whole(threads, what="threads", least=1, most=THREADS_MAX)
    if clock is None:
        clock = SystemClock()
    elif not callable(getattr(clock, "now_us", None)):
        raise InvalidArgumentError(f"clock: expected a Clock, found {clock!r:.60}")
    opened: list[Container] = []  # holds it at once, so that no interrupt leaves it open
    try:
        opened.append(
            open_container(
                medium,
                writable=writable,
                create=create and writable,
                verify=verify,
                timeout_s=timeout_s,
            )
        )
        container = opened[0]
        if container.superblock is None:
            snapshot = writer.first_commit(container, time_us=clock.now_us())
        else:
            snapshot = load_snapshot(container, SegmentCache(container), container.manifest_ref())
        store = Store(
            OpenFile(
                medium,
                container,
                snapshot,
                durability=durability,
                indexing=indexing,
                clock=clock,
                steps=COMMIT_STEPS,
                recall_sample=recall_sample,
                threads=threads,
            ),
            keep_metrics=keep_metrics,
        )
        if tag is not None:
            epoch = edits.tagged_epoch(snapshot.state, require_text(tag, what="tag"))
        if epoch is not None:
            store._open_file.pin(epoch)
        if verify == "full":
            check.verify_snapshot(store._open_file.current())
        return store  # noqa: TRY300  # an interrupt before it would leave the store open
    except BaseException:
        for container in opened:
            container.close()
        raise


def _medium_of(path: str | os.PathLike[str] | Medium, *, may_be_new: bool) -> Medium:
    if type(path) is not str and isinstance(path, Medium):
        return path
    place = path_text(path)
    if place != ":memory:":
        return PathMedium(place)
    if not may_be_new:
        raise InvalidArgumentError(
            "a store in memory is new each time it is opened; open ':memory:' with mode='rw', and "
            "without create=False, epoch= and tag="
        )
    return memory.MemoryMedium()
