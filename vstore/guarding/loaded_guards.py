"""The guards of versions, as a handle knows them: loaded once, whatever is committed since."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from vstore.errors import CorruptionError
from vstore.guarding.guard_record import Guard, read_guard
from vstore.guarding.watch import Watch
from vstore.manifest.record import read_record
from vstore.recent import Recent

if TYPE_CHECKING:
    from vstore.engine.snapshot import Snapshot
    from vstore.manifest.state import VersionState
    from vstore.query.filter import Filter
    from vstore.storage.container import Container


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
        self.queries = Watch(record.geometry, "query") if judged and record.geometry else None
        self.written = Watch(record.geometry, "documents") if judged and record.geometry else None
        self._scoped: Recent[Filter, LoadedGuard] = Recent(_SCOPES)

    def within(self, scope: Filter | None) -> LoadedGuard:
        """Return the guard with the latest vectors of a scope: no tenant is told of another's."""
        if scope is None:
            return self
        return self._scoped.get(scope, lambda: LoadedGuard(self.record))


def guard_of(snapshot: Snapshot, version: VersionState) -> LoadedGuard:
    """Return the guard of a version; one that knows nothing if it has none.

    Raises
    ------
    CorruptionError
        The record of the guard is damaged.
    """
    ref = version.guard
    if ref is None:
        return LoadedGuard(Guard(version.spec.dimension))
    known = snapshot.cache.guards.get(ref, lambda: _loaded(snapshot.container, version))
    if isinstance(known, CorruptionError):
        raise CorruptionError(known.path, known.problem, offset=known.offset)
    assert isinstance(known, LoadedGuard)
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
    guard = read_record(container, ref, read_guard, what="guard")
    if guard.dimension != version.spec.dimension:
        problem = f"a guard of {guard.dimension} dimensions, of a version of another number"
        raise CorruptionError(container.name, problem, offset=ref.offset)
    return guard
