"""Which other version of a store some vectors are like: what an error about them can say."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from vstore.errors import CorruptionError, InvalidArgumentError
from vstore.guarding.geometry import ROWS_MIN, learn, suspect
from vstore.guarding.learning import current_rows
from vstore.guarding.loaded_guards import guard_of

if TYPE_CHECKING:
    from vstore.engine.snapshot import Snapshot
    from vstore.guarding.geometry import GeometryStatistics, Kind
    from vstore.manifest.state import VersionState
    from vstore.types import Array

_FITS_MAX: Final = 0.8  # departure; of unrelated vectors it is 1, of other topics mostly less
_LEARNED_ROWS: Final = 1_024
_VERSIONS_MAX: Final = 64  # to look at


def which_fits(
    snapshot: Snapshot, vectors: Array, *, of: tuple[str, str], kind: Kind, beyond: bool = True
) -> str | None:
    """Return which version vectors fit best, for a message; None if they fit none well.

    Of the same collection rather than of another one.

    Parameters
    ----------
    of : (collection, label)
        The version that they do not fit.
    beyond : bool
        Whether to look at other collections, too.
    """
    best: tuple[bool, float, str] | None = None
    others = [
        (name, version)
        for name, collection in snapshot.state.collections.items()
        for version in collection.versions.values()
        if (beyond or name == of[0])
        and (name, version.label) != of
        and version.spec.dimension == vectors.shape[1]
    ]
    for name, version in others[:_VERSIONS_MAX]:
        statistics = _statistics(snapshot, name, version)
        if statistics is None or not statistics.informative:
            continue
        verdict = suspect(statistics, vectors, kind=kind)
        if verdict.suspicious or verdict.departure > _FITS_MAX:
            continue
        place = "" if name == of[0] else f" of collection {name!r}"
        found = f"version {version.label!r}{place} (departure {verdict.departure:.2f})"
        candidate = name != of[0], verdict.departure, found
        best = candidate if best is None else min(best, candidate)
    return None if best is None else best[2]


def _statistics(snapshot: Snapshot, name: str, version: VersionState) -> GeometryStatistics | None:
    """Return what is known of a version, if need be learned from the rows it has so far."""
    try:
        known = guard_of(snapshot, version).record.geometry
        if known is not None:
            return known
        sample, rows = current_rows(snapshot.collection(name), version.label, most=_LEARNED_ROWS)
        return learn(sample) if rows >= ROWS_MIN else None
    except (CorruptionError, InvalidArgumentError):  # it is only to help
        return None
