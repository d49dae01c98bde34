"""What every commit of documents does besides: dual-write policies, and what versions learn."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from vstore.deferred import Deferred

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from vstore.engine.open_file import CommitStep
    from vstore.engine.snapshot import Snapshot
    from vstore.guarding import learning
    from vstore.manifest import edits
    from vstore.manifest.edits import Moment
    from vstore.manifest.state import StoreState
    from vstore.segment.changes import CollectionChanges
    from vstore.writing import dual_write
else:  # not what a search needs
    dual_write = Deferred("vstore.writing.dual_write")
    edits = Deferred("vstore.manifest.edits")
    learning = Deferred("vstore.guarding.learning")


def _by_policy(
    snapshot: Snapshot,
    state: StoreState,
    changes: Mapping[str, CollectionChanges],
    moment: Callable[[], Moment],
) -> StoreState:
    for name, change in changes.items():
        collection = state.collections[name]
        if collection.dual_write != "allow":
            state = edits.put_collection(state, dual_write.applied(collection, change, moment()))
    return state


def _learned(
    snapshot: Snapshot,
    state: StoreState,
    changes: Mapping[str, CollectionChanges],
    moment: Callable[[], Moment],
) -> StoreState:
    if not any(change.rows for change in changes.values()):
        return state
    return learning.learned(snapshot, state, changes)


COMMIT_STEPS: Final[tuple[CommitStep, ...]] = (_by_policy, _learned)
