"""What a version's space is like, learned from its own rows in the commit that makes them enough.

A function of the rows alone: they are read again at 256, 1,024 and 4,096 of them, and from then on
what was learned stays, so that a space which is mixed little by little does not become its own
measure.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

import numpy as np

from vstore.errors import CorruptionError, StateError
from vstore.guarding.alarms import LOGGER
from vstore.guarding.geometry import ROWS_MAX, ROWS_MIN, learn
from vstore.guarding.guard_changes import change_guard, with_guard
from vstore.guarding.guard_record import Guard
from vstore.guarding.loaded_guards import guard_of
from vstore.guarding.mistakes import name_mistake
from vstore.manifest.commit import Operation
from vstore.manifest.edits import put_collection
from vstore.segment.memtable import EMPTY

if TYPE_CHECKING:
    from collections.abc import Mapping

    from vstore.engine.handle import Handle
    from vstore.engine.snapshot import CollectionView, Snapshot
    from vstore.manifest.state import StoreState, VersionState
    from vstore.segment.changes import CollectionChanges
    from vstore.segment.vectors import RowBatch
    from vstore.types import Array

STAGES: Final = (256, 1_024, ROWS_MAX)
_STEPS: Final = 4  # looks between a number of rows and twice as many


def learned(
    snapshot: Snapshot, state: StoreState, changes: Mapping[str, CollectionChanges]
) -> StoreState:
    """Return a state whose versions have learned from what a commit adds.

    Parameters
    ----------
    snapshot : Snapshot
        Before the commit; records are appended to its container.
    """
    for name, change in changes.items():
        for label, batch in change.rows.items():
            if _may_be_due(snapshot, name, label, len(batch)):
                state = _with_learned(snapshot, state, name, label, batch)
    return state


def _may_be_due(snapshot: Snapshot, name: str, label: str, added: int) -> bool:
    """Whether so many rows are enough to look which of them are current: that takes a scan.

    Rows that replace others count here and not there, so it is looked again at every quarter of a
    doubling.
    """
    collection = snapshot.state.collections.get(name)
    version = None if collection is None else collection.versions.get(label)
    if version is None:
        return False
    unsealed = snapshot.memtables.get(name, EMPTY).rows.get(label, ())
    before = sum(ref.rows for ref in version.segments) + sum(map(len, unsealed))
    return _step(before + added) > _step(before)


def _step(rows: int) -> int:
    return -1 if rows < STAGES[0] else math.floor(_STEPS * math.log2(rows / STAGES[0]))


def _with_learned(
    snapshot: Snapshot, state: StoreState, name: str, label: str, batch: RowBatch
) -> StoreState:
    collection = state.collections[name]
    version = collection.versions[label]
    try:
        guard = guard_of(snapshot, version).record
    except CorruptionError as error:
        LOGGER.warning("version %r learns nothing: %s", label, error)
        return state
    if guard.policy == "off" or guard.learned_at >= STAGES[-1]:
        return state
    sample, rows = current_rows(snapshot.collection(name), label, batch)
    if not any(guard.learned_at < stage <= rows for stage in STAGES):
        return state
    after = _relearned(guard, sample, rows)
    if after is guard:
        return state
    if guard.geometry is None:
        _hint(version, sample)
    versions = {**collection.versions, label: with_guard(snapshot.container, version, after)}
    return put_collection(state, collection._replace(versions=versions))


def _relearned(guard: Guard, sample: Array, rows: int) -> Guard:
    if np.count_nonzero(sample.any(axis=1)) < ROWS_MIN:  # all but a few are zeros
        return guard
    return guard._replace(geometry=learn(sample), learned_at=min(rows, STAGES[-1]))


def _hint(version: VersionState, sample: Array) -> None:
    spec = version.spec
    mistake = name_mistake(None, sample, metric=spec.metric, normalized=spec.normalized)
    if mistake is not None and mistake.kind == "metric":
        LOGGER.warning("version %r: %s", version.label, mistake.sentence)


def relearn(handle: Handle, label: str) -> None:
    """Learn a version's geometry anew from the rows it has now.

    Raises
    ------
    StateError
        It has too few of them.
    """
    handle.require_unscoped("relearn")
    view = handle.view()
    version = view.version(label)
    sample, rows = current_rows(view, label)
    fresh = _relearned(Guard(version.spec.dimension), sample, rows)
    if fresh.geometry is None:
        raise StateError(
            f"version {label!r}: expected at least {ROWS_MIN} rows to learn from, found {rows}"
        )
    change_guard(
        handle,
        label,
        lambda guard: guard._replace(geometry=fresh.geometry, learned_at=fresh.learned_at),
        Operation("relearn_guard", f"{label}: {rows:,} rows"),
        replacing=True,
    )


def current_rows(
    view: CollectionView, label: str, added: RowBatch | None = None, *, most: int = ROWS_MAX
) -> tuple[Array, int]:
    """Return an even sample of a version's rows that may be served, and how many there are.

    Parameters
    ----------
    added : RowBatch, optional
        Rows that a commit is about to add, in place of what their documents have.

    Returns
    -------
    vectors : float32 (n, dimension)
    rows : int
    """
    found: list[tuple[Array, Array]] = []
    for part in view.rows(label).parts:
        docno = part.rows.docno
        current = np.ones(len(docno), np.bool_) if part.live is None else part.live
        if added is not None and len(added):
            current = current & ~np.isin(docno, added.docno)
        found.append((part.rows.vectors, np.flatnonzero(current)))
    if added is not None:
        found.append((added.vectors, np.arange(len(added))))
    rows = sum(len(numbers) for _, numbers in found)
    picked = np.linspace(0, max(0, rows - 1), min(rows, most)).astype(np.int64)
    sample, start = [], 0
    for vectors, numbers in found:
        end = start + len(numbers)
        here = picked[(picked >= start) & (picked < end)] - start
        sample.append(vectors[numbers[here]].astype(np.float32))
        start = end
    if not sample:
        return np.zeros((0, view.version(label).spec.dimension), np.float32), 0
    return np.concatenate(sample), rows
