"""Exclusion of concurrent backfills in this process: each job of an open file has at most one run.

The writer's lock keeps runners in other processes out, and a killed runner leaves nothing behind:
the job is in the file, and the next runner resumes at once. Inside a process a run takes a turn, as
a write does: neither an interrupt nor a thread's end leaves the turn taken.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypeVar

from vstore.engine.turns import Turn, Turns
from vstore.errors import LockedError, StateError

if TYPE_CHECKING:
    from collections.abc import Callable

    from vstore.engine.handle import Handle

_T = TypeVar("_T")
_WAIT_S: Final = 0.01  # for a run that is just ending


class _TurnsOfJobs:
    """The turns of an open file's jobs, by collection and version."""

    def __init__(self) -> None:
        self._by_job: dict[tuple[str, str], Turns] = {}

    def of(self, handle: Handle, target: str) -> Turns:
        return self._by_job.setdefault((handle.name, target), Turns(handle.file.name))


def run_alone(handle: Handle, target: str, body: Callable[[], _T]) -> _T:
    """Call ``body`` as the only run of a version's backfill, and return its result.

    Raises
    ------
    StateError
        The job is already being run by another thread, or by this one, from inside its own
        embedding function.
    """
    turns = handle.file.companions.of(_TurnsOfJobs).of(handle, target)
    turn = Turn()
    try:
        try:
            _take(turns, turn, target)
            return body()
        finally:
            turn.end()
    finally:
        turn.end()


def _take(turns: Turns, turn: Turn, target: str) -> None:
    try:
        turns.give(turn, timeout_s=_WAIT_S)
    except (StateError, LockedError):
        raise StateError(
            f"the backfill of {target!r} is being run by another thread of this process, or by "
            "this one further up; wait until that run returns, or stop it"
        ) from None
