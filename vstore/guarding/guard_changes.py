"""Changing what guards a version, and showing it."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final

from vstore.errors import CorruptionError
from vstore.guarding.guard_record import POLICIES, Guard, plain_guard
from vstore.guarding.loaded_guards import guard_of
from vstore.manifest.commit import Operation
from vstore.manifest.record import append_record
from vstore.names import check_choice, check_note

if TYPE_CHECKING:
    from collections.abc import Callable

    from vstore.engine.handle import Handle
    from vstore.guarding.guard_record import GeometryPolicy
    from vstore.manifest.state import CollectionState, VersionState
    from vstore.storage.container import Container

REFUSE_ROWS: Final = 1_024  # learned from fewer, other topics were taken for another model


def with_guard(container: Container, version: VersionState, guard: Guard) -> VersionState:
    """Return a version with another guard, whose record is appended."""
    return version._replace(guard=append_record(container, plain_guard(guard)))


def change_guard(
    handle: Handle,
    label: str,
    change: Callable[[Guard], Guard],
    operation: Operation,
    *,
    replacing: bool = False,
) -> None:
    """Commit what a function makes of a version's guard.

    Parameters
    ----------
    replacing : bool
        Go on without what the version has if that is damaged.

    Raises
    ------
    NotFoundError, ReadOnlyError, CorruptionError
        The collection has no such version; the handle reads an older epoch; the guard is damaged.
    """
    handle.require_unscoped(operation.name)
    handle.view().version(label)

    def edit(state: CollectionState) -> CollectionState:
        open_file = handle.file
        version = state.versions[label]
        try:
            before = guard_of(open_file.snapshot, version).record
        except CorruptionError:
            if not replacing:
                raise
            before = Guard(version.spec.dimension)
        after = change(before)
        if after is before:
            return state
        versions = {**state.versions, label: with_guard(open_file.container, version, after)}
        return state._replace(versions=versions)

    handle.change(edit, operation)


def check_policy(policy: object) -> GeometryPolicy:
    """Return a policy.

    Raises
    ------
    InvalidArgumentError
        It is none of the policies.
    """
    return check_choice(policy, POLICIES, what="geometry")


def set_policy(handle: Handle, label: str, policy: GeometryPolicy, *, reason: str) -> None:
    """Say what becomes of vectors that look like those of another space."""
    checked, note = check_policy(policy), check_note(reason, what="reason")
    change_guard(
        handle,
        label,
        lambda guard: guard if guard.policy == checked else guard._replace(policy=checked),
        Operation("set_guard_policy", f"{label}: {checked}{note and f' ({note})'}"),
    )


@dataclass(frozen=True, slots=True)
class GuardInfo:
    """What a version knows about its own space.

    Attributes
    ----------
    version : str
    policy : {"refuse", "flag", "off"}
    canaries : tuple[str, ...]
        Texts whose vectors are kept.
    learned_rows : int
        Rows that the geometry was learned from, 0 before there are enough.
    refuses : bool
        Whether it was learned from enough rows to refuse a batch by it.
    informative : bool
        Whether the space has preferred directions, without which nothing can be told.
    lengths : tuple[float, ...]
        Quantiles 0, 0.05, 0.5, 0.95 and 1 of the lengths of those rows; empty before.
    """

    version: str
    policy: GeometryPolicy
    canaries: tuple[str, ...]
    learned_rows: int
    refuses: bool
    informative: bool
    lengths: tuple[float, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return everything as plain data."""
        return asdict(self)


def guard_info(handle: Handle, label: str) -> GuardInfo:
    """Return what a version knows about its own space.

    Raises
    ------
    NotFoundError, CorruptionError
        The collection has no such version; its guard is damaged.
    """
    handle.require_whole("guard")
    version = handle.view().version(label)
    guard = guard_of(handle.snapshot(), version).record
    geometry = guard.geometry
    return GuardInfo(
        label,
        guard.policy,
        () if guard.canaries is None else guard.canaries.texts,
        0 if geometry is None else geometry.rows,
        may_refuse(version, guard),
        geometry is not None and geometry.informative,
        () if geometry is None else tuple(geometry.lengths.tolist()),
    )


def may_refuse(version: VersionState, guard: Guard) -> bool:
    """Whether a batch may be refused by what was learned, or only flagged.

    Never of a version of mapped vectors: a map leaves less of a space than the model fills, so that
    the model's own vectors look strange there.
    """
    return (
        guard.policy == "refuse"
        and guard.learned_at >= REFUSE_ROWS
        and version.provenance != "mapped"
    )
