"""Replaying commits on a state: edits of the manifest, and changes of the memtables."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vstore.deferred import Deferred
from vstore.manifest.codec import plain_store, read_store
from vstore.manifest.epochs import require_no_later
from vstore.segment.memtable import EMPTY, Memtable

if TYPE_CHECKING:
    from collections.abc import Mapping

    from vstore.engine.snapshot import Snapshot
    from vstore.manifest import delta
    from vstore.manifest.commit import Commit
    from vstore.manifest.state import StoreState
    from vstore.segment import replay
    from vstore.segment.changes import CollectionChanges
else:  # loaded late: a store without unsealed commits does not need these
    delta = Deferred("vstore.manifest.delta")
    replay = Deferred("vstore.segment.replay")


def replayed(
    commits: list[Commit], known: Snapshot | None
) -> tuple[StoreState, dict[str, Memtable]]:
    """Return the state and the memtables, by collection, after a chain of commits.

    Parameters
    ----------
    commits : list
        Oldest first: from a full manifest on, or directly after the known snapshot.

    Raises
    ------
    ValueError
        The commits contradict each other, or the known snapshot.
    """
    if commits[0].kind == "full":
        state = _edited(commits[0].body, commits)
        memtables: dict[str, Memtable] = {}
    else:
        assert known is not None, "a chain without a full manifest starts from a known state"
        state, memtables = known.state, dict(known.memtables)
        if any(commit.body != [] for commit in commits):
            state = _edited(plain_store(state), commits)
            _require_known_fields(known, state, memtables)
    deltas = [commit for commit in commits if commit.kind == "delta"]
    changes: dict[str, list[CollectionChanges]] = {}
    for commit in deltas:
        found = replay.read_changes(state, commit.documents, commit.rows, epoch=commit.epoch)
        for name, change in found.items():
            changes.setdefault(name, []).append(change)
    for name, list_ in changes.items():
        before = memtables.get(name, EMPTY)
        replay.require_succession(before, list_)
        memtables[name] = before.with_changes(*list_)
        replay.require_known_revisions(memtables[name], list_)
        replay.require_known_documents(state.collections[name], before, list_)
    return state, memtables


def _edited(plain: object, commits: list[Commit]) -> StoreState:
    """Return the state of a manifest after the edits of the commits that are deltas."""
    for commit in commits:
        if commit.kind == "delta":
            if not isinstance(plain, dict):
                raise ValueError("manifest: expected a map")
            delta.apply(plain, commit.body)
    state = read_store(plain)
    require_no_later(state, commits[-1].epoch)
    return state


def _require_known_fields(
    known: Snapshot, state: StoreState, memtables: Mapping[str, Memtable]
) -> None:
    for name in memtables:
        before, now = known.state.collections[name], state.collections.get(name)
        if now is None or not before.fields.items() <= now.fields.items():
            raise ValueError(f"delta: takes away {name!r:.60}, or fields of it, in use")
