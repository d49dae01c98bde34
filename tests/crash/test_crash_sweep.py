"""Power loss behind every operation of a store's whole life, and during every recovery from one.

All or nothing: what is found is the last acknowledged state, or the one in flight.
"""

from __future__ import annotations

import functools
from bisect import bisect_right
from typing import TYPE_CHECKING

import pytest

from tests.crash.recovery import Recoveries, mark, reopen
from tests.crash.workload import WHOLE_LIFE, Dump, Recording, dump, record
from vstore.engine import open_file as open_files
from vstore.testing import DAMAGES, Damage, FaultyMedium, power_losses, survivors

if TYPE_CHECKING:
    from collections.abc import Callable

RANDOM_DAMAGES: tuple[Damage, ...] = ("reordered", "torn512", "torn4096")
SYNC_EVERY = 5
# The always-on part takes every 7th point of the same sweep, and fewer where each is swept again.
SAMPLE_STEP = 7
RELAXED_SAMPLE_STEP = 13
NESTED_SAMPLE_STEP = 71

every_point = pytest.param(1, marks=pytest.mark.slow, id="every point")
sample = pytest.param(SAMPLE_STEP, id="a sample")
relaxed_sample = pytest.param(RELAXED_SAMPLE_STEP, id="a sample")
nested_sample = pytest.param(NESTED_SAMPLE_STEP, id="a sample")


@functools.cache
def full_run() -> Recording:
    return record(FaultyMedium(), WHOLE_LIFE)


def damages(seeds: int) -> list[tuple[Damage, int]]:
    """Return every damage, the random ones with several seeds."""
    return [(d, seed) for d in DAMAGES for seed in range(seeds if d in RANDOM_DAMAGES else 1)]


def acceptable(recording: Recording, position: int) -> list[Dump]:
    """Return the last acknowledged state and the one in flight; none before the first."""
    ends = [acknowledged.position for acknowledged in recording.states]
    done = bisect_right(ends, position)
    first = max(0, done - 1)
    in_flight = done < len(ends) and (not done or ends[done - 1] < position)
    return [s.state for s in recording.states[first : done + in_flight]]


def describe(recording: Recording, position: int, damage: Damage, seed: int) -> str:
    """Say where a crash was, to find it again."""
    done = [s.step for s in recording.states if s.position <= position]
    after = f"after {len(done)} commits, the last {done[-1]!r}" if done else "before any commit"
    last = recording.medium.journal[position - 1][:3] if position else "nothing"
    return f"operation {position} ({last}), {damage}, seed {seed}: {after}"


@pytest.mark.parametrize("step", [sample, every_point])
def test_power_loss_leaves_the_last_acknowledged_state_or_the_one_in_flight(
    step: int, record_property: Callable[[str, object], None]
) -> None:
    recording, recoveries = full_run(), Recoveries(thorough=step == 1)
    for position, damage, seed, image in power_losses(recording.medium, seeds=3, step=step):
        where = describe(recording, position, damage, seed)
        try:
            found = recoveries.of(image)
        except BaseException as error:
            error.add_note(where)
            raise
        allowed = acceptable(recording, position)
        assert found.state in allowed, where
        assert found.stored or position < recording.states[0].position, where
    record_property("points", recoveries.points)


@pytest.mark.parametrize("step", [nested_sample, every_point])
def test_a_crash_during_recovery_changes_nothing(
    step: int, record_property: Callable[[str, object], None]
) -> None:
    recording = full_run()
    survived, recoveries = Recoveries(thorough=False), Recoveries(thorough=step == 1)
    for loss in power_losses(recording.medium, step=step):
        survived.of(loss.file)
    for image, first in survived.distinct():
        medium = FaultyMedium(image)
        store = reopen(medium)
        opened = len(medium.journal)
        mark(store)
        marked = len(medium.journal)
        store.close()
        for position in range(marked + 1):
            allowed = [first.state] if position < marked else []
            allowed += [first.marked] if position > opened else []
            for damage, seed in damages(1):
                again = survivors(medium.journal, position, damage=damage, seed=seed, initial=image)
                found = recoveries.of(again)
                assert found.state in allowed, (
                    f"recovery from epoch {first.state['epoch']} crashed behind operation "
                    f"{position} of {marked}, {damage}, seed {seed}"
                )
    record_property("points", recoveries.points)


@pytest.mark.parametrize("step", [nested_sample, every_point])
def test_power_loss_after_another_writer_took_over_from_a_killed_one(
    step: int, record_property: Callable[[str, object], None]
) -> None:
    """The next writer finds what the dead one had not synced; it must not build on sand."""
    recording, recoveries = full_run(), Recoveries(thorough=step == 1)
    journal = recording.medium.journal
    for killed in range(0, len(journal) + 1, step):
        medium = FaultyMedium.after(journal[:killed])
        store = reopen(medium)
        state = dump(store)
        assert state in acceptable(recording, killed), describe(recording, killed, "kept", 0)
        opened = len(medium.journal)
        mark(store)
        marked_state, marked = dump(store), len(medium.journal)
        for position in range(killed + 1, marked + 1):
            allowed = acceptable(recording, killed) if position < marked else []
            allowed += [marked_state] if position > opened else []
            for damage, seed in damages(1):
                found = recoveries.of(survivors(medium.journal, position, damage=damage, seed=seed))
                assert found.state in allowed, (
                    f"killed at {describe(recording, killed, 'kept', 0)}; power lost behind "
                    f"operation {position - killed} of the next writer, {damage}, seed {seed}"
                )
        store.close()
    record_property("points", recoveries.points)


@functools.cache
def relaxed_run() -> Recording:
    return record(FaultyMedium(), WHOLE_LIFE, durability="relaxed", sync_every=SYNC_EVERY)


@pytest.fixture
def without_timer(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no background sync come in between: the script says when to sync."""
    monkeypatch.setattr(open_files, "RELAXED_SYNC_S", 3_600.0)


@pytest.mark.usefixtures("without_timer")
@pytest.mark.parametrize("step", [relaxed_sample, every_point])
def test_relaxed_power_loss_leaves_an_epoch_not_older_than_the_last_sync(
    step: int, record_property: Callable[[str, object], None]
) -> None:
    recording, recoveries = relaxed_run(), Recoveries(thorough=step == 1)
    for position, damage, seed, image in power_losses(recording.medium, seeds=3, step=step):
        where = describe(recording, position, damage, seed)
        try:
            found = recoveries.of(image)
        except BaseException as error:
            error.add_note(where)
            raise
        synced = [i for i, s in enumerate(recording.states) if s.synced and s.position <= position]
        begun = bisect_right([s.position for s in recording.states], position - 1) + 1
        allowed = [s.state for s in recording.states[synced[-1] if synced else 0 : begun]]
        assert found.state in allowed, where
    record_property("points", recoveries.points)


@pytest.mark.usefixtures("without_timer")
@pytest.mark.parametrize("step", [relaxed_sample, every_point])
def test_relaxed_commits_survive_the_death_of_the_process(
    step: int, record_property: Callable[[str, object], None]
) -> None:
    recording, recoveries = relaxed_run(), Recoveries(thorough=step == 1)
    journal = recording.medium.journal
    for position in range(0, len(journal) + 1, step):
        found = recoveries.of(survivors(journal, position, damage="kept", seed=0))
        where = describe(recording, position, "kept", 0)
        assert found.state in acceptable(recording, position), where
    record_property("points", recoveries.points)


def test_the_script_covers_what_it_says() -> None:
    """Without this the sweep could shrink unnoticed."""
    recording = full_run()
    kinds = {operation.kind for operation in recording.medium.journal}
    assert len(recording.states) >= 40
    assert {"create", "rename", "truncate", "sync_directory"} <= kinds
    assert any(
        len(collection["documents"]) > 1_024
        for state in recording.states
        for collection in state.state["collections"].values()
    )
