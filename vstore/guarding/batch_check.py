"""Batches that are written, checked against what their version's rows are like."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from vstore.errors import CorruptionError, InvalidVectorError, SuspectGeometryError
from vstore.guarding.alarms import LOGGER, count_suspects, departure_text
from vstore.guarding.fitting_version import which_fits
from vstore.guarding.geometry import suspect
from vstore.guarding.guard_changes import may_refuse
from vstore.guarding.loaded_guards import guard_of
from vstore.guarding.mistakes import name_mistake
from vstore.guarding.watch import EVIDENCE_MIN, LATEST
from vstore.segment.validation import as_array

if TYPE_CHECKING:
    from vstore.engine.handle import Handle
    from vstore.engine.snapshot import Snapshot
    from vstore.guarding.geometry import Verdict
    from vstore.guarding.loaded_guards import LoadedGuard
    from vstore.guarding.mistakes import Mistake
    from vstore.manifest.state import VersionState
    from vstore.types import Array

_STRETCH_ROWS: Final = 128  # judged together: more say no more
_STRETCHES_MAX: Final = 8  # of one batch, so that a part of another model is not averaged away


def check_geometry(
    handle: Handle, snapshot: Snapshot, version: VersionState, vectors: Array, *, where: str
) -> bool:
    """Refuse or flag vectors that cannot be told from another space, or have telling lengths.

    Thirty-two rows refuse; from 8 on they are flagged, since of so few one batch of another topic
    in some hundred is taken for another model. Smaller batches are judged with those before them.

    Parameters
    ----------
    vectors : float16 or float32 (n, dimension)
        As they will be stored.

    Returns
    -------
    bool
        Whether anything was flagged.

    Raises
    ------
    SuspectGeometryError
        They cannot be told from vectors of an unrelated space.
    InvalidVectorError
        Their lengths name a mistake that changes results.
    CorruptionError
        The version's guard is damaged.
    """
    scope = handle.scope
    loaded = guard_of(snapshot, version).within(scope)
    if loaded.written is None or not len(vectors):
        return False
    refusing = may_refuse(version, loaded.record)
    verdict, judged = _judged(loaded, vectors)
    if verdict.suspicious:
        of = (handle.name, version.label)
        fits = which_fits(snapshot, judged, of=of, kind="documents", beyond=scope is None)
        message = _message(version, loaded, verdict, fits, counted=scope is None)
        count_suspects(handle, "suspect_batches", 1)
        if refusing and verdict.rows >= LATEST:
            raise SuspectGeometryError(
                f"{where}: {message} If they are of {version.spec.model!r} all the same, pass "
                f"trust_geometry=True, or guards.set_policy({version.label!r}, 'flag').",
                version=version.label,
                departure=verdict.departure,
                limit=verdict.limit if scope is None else None,
                rows=verdict.rows,
                fits=fits,
            )
        LOGGER.warning("%s: %s", where, message)
        return True
    mistake = _mistake(loaded, version, vectors, telling=scope is None)
    if mistake is not None:
        count_suspects(handle, "suspect_batches", 1)
        if refusing and mistake.changes_results and len(vectors) >= LATEST:
            raise InvalidVectorError(
                f"{where}: {mistake.sentence} If they are meant so, pass trust_geometry=True."
            )
        LOGGER.warning("%s, version %r: %s", where, version.label, mistake.sentence)
    return mistake is not None


def _judged(loaded: LoadedGuard, vectors: Array) -> tuple[Verdict, Array]:
    """Return the worst verdict over a batch, and the vectors that it is of."""
    watch = loaded.written
    assert watch is not None, "asked of versions that have learned"
    if len(vectors) < LATEST:
        kept = vectors.astype(np.float32)
        for vector in kept:
            watch.add(vector)
        verdict = watch.judge()
        # What was written before may be to blame alone.
        return verdict._replace(
            suspicious=verdict.suspicious and watch.departure(kept) > verdict.limit
        ), kept
    count = min(max(1, len(vectors) // (2 * _STRETCH_ROWS)), _STRETCHES_MAX)
    worst: tuple[Verdict, Array] | None = None
    for stretch in np.array_split(np.arange(len(vectors)), count):
        rows = vectors[stretch[:: -(-len(stretch) // _STRETCH_ROWS)]]
        verdict = suspect(watch.statistics, rows, kind="documents")
        if worst is None or verdict.departure - verdict.limit > worst[0].departure - worst[0].limit:
            worst = verdict, rows
        if verdict.suspicious:
            break
    assert worst is not None, "there is a stretch"
    return worst


def _message(
    version: VersionState,
    loaded: LoadedGuard,
    verdict: Verdict,
    fits: str | None,
    *,
    counted: bool,
) -> str:
    geometry = loaded.record.geometry
    assert geometry is not None, "judged by it"
    what = (
        f"They fit {fits}: write them there."
        if fits
        else f"They fit no other version of {version.spec.dimension} dimensions in this "
        f"{'store' if counted else 'collection'}: was the model changed, or the order of its "
        "dimensions?"
    )
    learned = f"; learned from {geometry.rows:,} rows" if counted else ""
    return (
        f"suspect geometry: {verdict.rows} vectors cannot be told from those of a space that has "
        f"nothing to do with version {version.label!r}. Their departure from it is "
        f"{departure_text(verdict, telling=counted)} (unrelated vectors: 1.00{learned}). "
        f"{what}"
    )


def _mistake(
    loaded: LoadedGuard, version: VersionState, vectors: Array, *, telling: bool
) -> Mistake | None:
    if len(vectors) < EVIDENCE_MIN:
        return None
    step = -(-len(vectors) // _STRETCH_ROWS)
    mistake = name_mistake(
        loaded.record.geometry,
        vectors[::step],
        metric=version.spec.metric,
        normalized=version.spec.normalized,
        telling=telling,
    )
    # A hint about the declaration is given once, when the version learns.
    return None if mistake is None or mistake.kind == "metric" else mistake


def explained(
    error: InvalidVectorError,
    snapshot: Snapshot,
    version: VersionState,
    vectors: object,
    *,
    telling: bool,
) -> InvalidVectorError:
    """Return why vectors were refused, with the mistake that it looks like, if any does.

    Parameters
    ----------
    telling : bool
        As `name_mistake` takes it.
    """
    try:
        array = as_array(getattr(vectors, "vectors", vectors), where="vectors")
    except InvalidVectorError:  # which is what the error says already
        return error
    if array.ndim != 2 or array.shape[1] != version.spec.dimension or array.dtype.kind not in "fiu":
        return error
    try:
        statistics = guard_of(snapshot, version).record.geometry
    except CorruptionError:
        statistics = None
    mistake = name_mistake(
        statistics,
        array,
        metric=version.spec.metric,
        normalized=version.spec.normalized,
        telling=telling,
    )
    if mistake is None or mistake.kind == "metric":
        return error
    return InvalidVectorError(f"{error}. {mistake.sentence}", row=error.row)
