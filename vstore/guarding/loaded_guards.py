"""The guards of versions, as a handle knows them: loaded once, whatever is committed since."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from vstore.deferred import Deferred
from vstore.errors import CorruptionError
from vstore.recent import Recent
from vstore.storage.block import BlockRef

if TYPE_CHECKING:
    from vstore.engine.snapshot import SegmentCache, Snapshot
    from vstore.guarding import guard_record, watch
    from vstore.guarding.guard_record import Guard
    from vstore.guarding.watch import Watch
    from vstore.manifest import record as records
    from vstore.manifest.state import VersionState
    from vstore.query.filter import Filter
    from vstore.storage.container import Container
else:  # not what it takes to see that no guard was loaded yet
    guard_record = Deferred("vstore.guarding.guard_record")
    records = Deferred("vstore.manifest.record")
    watch = Deferred("vstore.guarding.watch")


_GUARDS: Final = 64  # versions in use; each takes about 130 KB
_SCOPES: Final = 64  # whose latest vectors are kept apart; each takes about 130 KB


class LoadedGuard:
    """A version's guard, and the latest vectors that were said to be of the version.

    Attributes
    ----------
    queries, written : Watch | None
        None where there is nothing to judge by.
    """

    def __init__(self, record: Guard) -> None:
        self.record = record
        judged = record.geometry is not None and record.policy != "off"
        self.queries: Watch | None = None
        self.written: Watch | None = None
        if judged and record.geometry is not None:
            self.queries = watch.Watch(record.geometry, "query")
            self.written = watch.Watch(record.geometry, "documents")
        self._scoped: Recent[Filter, LoadedGuard] = Recent(_SCOPES)

    def within(self, scope: Filter | None) -> LoadedGuard:
        """Return the guard with the latest vectors of a scope: no tenant is told of another's."""
        if scope is None:
            return self
        return self._scoped.get(scope, lambda: LoadedGuard(self.record))


class _LoadedGuards(Recent[BlockRef, "LoadedGuard | CorruptionError"]):
    """The guards of an open file by their records, or why one cannot be read."""

    def __init__(self) -> None:
        super().__init__(_GUARDS)


def is_loaded(cache: SegmentCache, version: VersionState) -> bool:
    """Whether a version's guard was read already, through any snapshot of the file."""
    ref = version.guard
    return ref is not None and cache.companions.of(_LoadedGuards).find(ref) is not None


def guard_of(snapshot: Snapshot, version: VersionState) -> LoadedGuard:
    """Return the guard of a version at a snapshot; see `guard_in`."""
    return guard_in(snapshot.cache, version)


def guard_in(cache: SegmentCache, version: VersionState) -> LoadedGuard:
    """Return the guard of a version; one that knows nothing if it has none.

    Raises
    ------
    CorruptionError
        Its bytes are damaged, or it is another version's.
    """
    ref = version.guard
    if ref is None:
        return LoadedGuard(guard_record.Guard(version.spec.dimension))
    guards = cache.companions.of(_LoadedGuards)
    known = guards.get(ref, lambda: _loaded(cache.container, version))
    if isinstance(known, CorruptionError):
        raise CorruptionError(known.path, known.problem, offset=known.offset)
    return known


def _loaded(container: Container, version: VersionState) -> LoadedGuard | CorruptionError:
    """Return a guard, or why there is none: searches ask again and again."""
    try:
        return LoadedGuard(stored_guard(container, version))
    except CorruptionError as error:
        return error


def stored_guard(container: Container, version: VersionState) -> Guard:
    """Read the guard that a version has.

    Raises
    ------
    CorruptionError
        Its bytes are damaged, or it is another version's.
    """
    ref = version.guard
    assert ref is not None, "asked of versions that have one"
    guard = records.read_record(container, ref, guard_record.read_guard, what="guard")
    if guard.dimension != version.spec.dimension:
        problem = f"a guard of {guard.dimension} dimensions, of a version of another number"
        raise CorruptionError(container.name, problem, offset=ref.offset)
    return guard
