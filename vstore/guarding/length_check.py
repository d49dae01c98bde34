"""Rows that are written, checked one by one for lengths that their version's rows do not have."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from vstore.engine.pending import PendingChanges
from vstore.errors import InvalidVectorError
from vstore.guarding.alarms import LOGGER, count_suspects
from vstore.guarding.learning import current_rows
from vstore.guarding.lengths import (
    Lengths,
    are_codes,
    lengths_learned,
    lengths_of,
    likely_cause,
)
from vstore.guarding.loaded_guards import guard_of

if TYPE_CHECKING:
    from vstore.engine.handle import Handle
    from vstore.engine.snapshot import CollectionView, Snapshot
    from vstore.guarding.guard_record import Guard
    from vstore.manifest.state import VersionState
    from vstore.segment.validation import CheckedVectors
    from vstore.types import Array, IntArray

_FEW: Final = 0.01  # more odd rows than this are the version's nature, and only flagged
_STRAYS_MAX: Final = 0.4  # far from one length that the others have, and refused all the same
_SAMPLE: Final = 64  # rows looked at for whether they differ
_DISTINCT_MIN: Final = 16  # of them: equal rows say nothing about a model's lengths
_COPIES: Final = 0.95  # squared length of their mean direction, from which on rows are copies
_BATCHES: Final = 8  # of the transaction so far that are looked at
_NORMS_MAX: Final = 4_096


def check_lengths(
    handle: Handle,
    snapshot: Snapshot,
    pending: PendingChanges,
    version: VersionState,
    checked: CheckedVectors,
    *,
    where: str,
    flagging: bool = True,
) -> None:
    """Refuse or flag rows whose lengths are far from those of the version's rows, and zeros.

    Each row counts by itself, from the first of a call on, once the version has 32 rows: those of
    the store, of the transaction so far, or of the call.

    Parameters
    ----------
    flagging : bool
        Tell of rows that are not refused.

    Raises
    ------
    InvalidVectorError
        A row's length is impossible, and changes what is found. The message names the first.
    CorruptionError
        The version's guard is damaged.
    """
    norms = checked.norms.astype(np.float64)  # multiples of some do not fit float32
    if not len(norms):
        return
    guard = guard_of(snapshot, version).record
    if guard.policy == "off":
        return
    lengths, whole = _known(pending, version, guard, norms)
    if lengths is None:
        zero = np.flatnonzero(norms == 0)
        if len(zero) and flagging:
            _flag(handle, version, zero, norms, where, "All zeros are seldom an embedding.")
        return
    low, high = lengths.usual(version.spec.dimension)
    if low <= norms.min() and norms.max() <= high:
        return
    odd = np.flatnonzero((norms < low) | (norms > high))
    first, telling = int(odd[0]), handle.scope is None
    if _may_refuse(version, guard):
        refused = _impossible(pending, version, checked, norms, lengths, odd, whole=whole)
        if len(refused):
            count_suspects(handle, "suspect_batches", 1)
            row = int(refused[0])
            cause = likely_cause(checked.vectors[row], float(norms[row]), lengths, telling=telling)
            raise InvalidVectorError(
                f"{where}[{row}]: length {norms[row]:.4g}, where rows of version {version.label!r} "
                f"have {lengths.text(telling=telling)}; {len(refused):,} of these are so far off. "
                f"{cause} If it is meant so, pass trust_geometry=True, or "
                f"guards.set_policy({version.label!r}, 'flag').",
                row=row,
            )
    if flagging:
        cause = likely_cause(checked.vectors[first], float(norms[first]), lengths, telling=telling)
        cause = f"Rows of the version have {lengths.text(telling=telling)}. {cause}"
        _flag(handle, version, odd, norms, where, cause)


def require_lengths(handle: Handle, label: str, checked: CheckedVectors) -> None:
    """Refuse what a write would refuse, while it can still be told which document it is of.

    Raises
    ------
    InvalidVectorError, CorruptionError
        A row's length is far from those the version has; the version's guard is damaged.
    """
    snapshot = handle.snapshot()
    pending = PendingChanges(snapshot.collection(handle.name))
    version, where = pending.view.version(label), f"vectors[{label!r}]"
    check_lengths(handle, snapshot, pending, version, checked, where=where, flagging=False)


def _flag(  # noqa: PLR0917 - all of them are in the message
    handle: Handle,
    version: VersionState,
    odd: IntArray,
    norms: Array,
    where: str,
    cause: str,
) -> None:
    count_suspects(handle, "suspect_batches", 1)
    row = int(odd[0])
    LOGGER.warning(
        "%s, version %r: %d rows of odd lengths, the first is row %d of length %.4g. %s",
        where,
        version.label,
        len(odd),
        row,
        norms[row],
        cause,
    )


def _known(
    pending: PendingChanges, version: VersionState, guard: Guard, norms: Array
) -> tuple[Lengths | None, bool]:
    """Return the lengths of the version's rows, and whether they were written by earlier calls."""
    if guard.geometry is not None:
        return lengths_learned(guard.geometry), True
    written = _norms(pending, version)
    earlier = lengths_of(written)
    if earlier is not None:
        return earlier, True
    return lengths_of(np.concatenate([written, norms])), False


def _norms(pending: PendingChanges, version: VersionState) -> Array:
    """Return lengths of a version's rows before this call, the transaction's included."""
    view, label = pending.view, version.label
    if version.segments:
        found = [part.rows.norms for part in view.rows(label).parts]
    else:  # without a look at which are current, which takes longer than the rest
        found = [batch.norms for batch in view.memtable.rows.get(label, ())]
    found += [batch.norms for batch in pending.batches(label)]
    every = np.concatenate(found) if found else np.zeros(0, np.float32)
    return every[:: -(-len(every) // _NORMS_MAX)] if len(every) > _NORMS_MAX else every


def _may_refuse(version: VersionState, guard: Guard) -> bool:
    # Cosine ignores length; a map may leave vectors shorter than the model does.
    return (
        guard.policy == "refuse"
        and version.spec.metric != "cosine"
        and version.provenance != "mapped"
    )


def _impossible(  # noqa: PLR0917 - a step of `check_lengths`, and all that it knows
    pending: PendingChanges,
    version: VersionState,
    checked: CheckedVectors,
    norms: Array,
    lengths: Lengths,
    odd: IntArray,
    *,
    whole: bool,
) -> IntArray:
    """Return which rows are refused, of those that are odd.

    Parameters
    ----------
    norms : float64 (n,)
        Lengths of the call's rows.
    whole : bool
        The lengths are of earlier calls; else the call's own rows are among them.
    """
    sample = _sample(pending, version, checked, odd)
    if not _are_different(sample):
        return odd[:0]
    codes = [i for i in odd.tolist() if norms[i] > lengths.most and are_codes(checked.vectors[i])]
    if codes and whole and not are_codes(sample):
        return np.array(codes)
    if not lengths.telling(version.spec.dimension):
        return odd[:0]
    if not whole:
        few = len(odd) <= max(1.0, _FEW * len(norms))
        if few and lengths.unit:
            return odd
        # Codes of one's own, such as counts of words, may well have a few long rows.
        mixed = lengths.far_share(norms) <= _STRAYS_MAX and not are_codes(sample)
        return odd[lengths.far(norms[odd])] if mixed else odd[:0]
    low, high = lengths.possible()
    refused = odd[(norms[odd] < low) | (norms[odd] > high)]
    zeros = norms[refused] == 0
    if zeros.any() and _has_zeros(pending.view, version.label):
        refused = refused[~zeros]
    return refused


def _has_zeros(view: CollectionView, label: str) -> bool:
    """Whether zeros are usual among a version's rows."""
    norms = [part.rows.norms for part in view.rows(label).parts]
    rows = sum(map(len, norms))
    return sum(int(np.count_nonzero(some == 0)) for some in norms) > _FEW * rows


def _sample(
    pending: PendingChanges, version: VersionState, checked: CheckedVectors, odd: IntArray
) -> Array:
    """Return some rows of the version and of the call, without the odd ones, float32."""
    stored, _ = current_rows(pending.view, version.label, most=_SAMPLE)
    waiting = [batch.vectors[:_SAMPLE] for batch in pending.batches(version.label)[:_BATCHES]]
    others = np.setdiff1d(np.arange(len(checked.norms)), odd)[:_SAMPLE]
    return np.concatenate([stored, *waiting, checked.vectors[others]]).astype(np.float32)


def _are_different(rows: Array) -> bool:
    """Whether rows differ as those of a model do: copies of one, or of a few, tell nothing."""
    if len({row.tobytes() for row in rows}) < _DISTINCT_MIN:
        return False
    rows = rows.astype(np.float64)  # squares of float32 overflow above 1.8e19
    norms = np.linalg.norm(rows, axis=1, keepdims=True)
    mean = (rows / np.where(norms > 0, norms, 1)).mean(axis=0)
    return float(mean @ mean) < _COPIES
