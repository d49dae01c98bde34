"""Jobs as pure functions: which transitions are legal, and what they keep."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.small_store import spec
from vstore.errors import LimitExceededError, StateError
from vstore.limits import REASON_BYTES_MAX
from vstore.manifest import job_edits as jobs
from vstore.manifest.edits import Moment
from vstore.manifest.job_edits import BatchRecord, JobSettings
from vstore.manifest.job_state import DeadLetter
from vstore.manifest.state import CollectionState, VersionState
from vstore.migration.jobs import caps

if TYPE_CHECKING:
    from collections.abc import Callable

    from vstore.manifest.job_state import JobState, JobStatus

NEW = "new"
EMPTY = CollectionState(
    "docs", 1, 1, versions={NEW: VersionState(NEW, spec(), created_epoch=1, created_us=1)}
)
STATUSES: list[JobStatus | None] = [None, "open", "stopped", "done", "cancelled"]


def letter(id_: int, error: str = "ValueError: no") -> DeadLetter:
    return DeadLetter(id_, 1, 1, 1, error)


def begun(state: CollectionState = EMPTY, **settings: int) -> CollectionState:
    return jobs.start(state, NEW, Moment(3, 30), source="old", settings=JobSettings(**settings))  # type: ignore[arg-type]


STEPS: dict[str, Callable[[CollectionState], CollectionState]] = {
    "start": begun,
    "resume": lambda state: jobs.resume(state, NEW, JobSettings(), source="old"),
    "record_batch": lambda state: jobs.record_batch(state, NEW, BatchRecord(2, 1, 10, 0.5, 1.5)),
    "stop": lambda state: jobs.stop(state, NEW, "for a while"),
    "finish": lambda state: jobs.finish(state, NEW),
    "cancel": lambda state: jobs.cancel(state, NEW, "no more"),
    "retry_failed": lambda state: jobs.retry_failed(state, NEW),
}
# Written down once more, not read from `jobs.LEGAL`: where each step leads, or that it is illegal.
LEADS: dict[str, dict[JobStatus | None, JobStatus]] = {
    "start": {None: "open", "done": "open", "cancelled": "open"},
    "resume": {"open": "open", "stopped": "open"},
    "record_batch": {"open": "open", "stopped": "stopped"},
    "stop": {"open": "stopped"},
    "finish": {"open": "done"},
    "cancel": {"open": "cancelled", "stopped": "cancelled"},
    "retry_failed": {s: s for s in ("open", "stopped", "done", "cancelled")},
}


def job_of(state: CollectionState) -> JobState | None:
    return state.jobs.get(NEW)


@given(st.lists(st.sampled_from(sorted(STEPS)), max_size=40))
def test_any_sequence_of_transitions_is_as_the_table_says(names: list[str]) -> None:
    state, batches = EMPTY, 0
    for name in names:
        before = job_of(state)
        status = None if before is None else before.status
        if status not in LEADS[name]:
            with pytest.raises(StateError, match=rf"{status or 'not begun'}.*cannot {name}; legal"):
                STEPS[name](state)
            continue
        state = STEPS[name](state)
        after = job_of(state)
        assert after is not None
        assert after.status == LEADS[name][status]
        batches = 0 if name == "start" else batches + (name == "record_batch")
        assert (after.batches, after.documents_done, after.documents_skipped) == (
            batches,
            2 * batches,
            batches,
        )
        assert (after.units, after.cost, after.seconds) == (
            10 * batches,
            0.5 * batches,
            1.5 * batches,
        )
        assert (after.note != "") == (after.status in ("stopped", "cancelled"))


@pytest.mark.parametrize("status", STATUSES)
def test_the_error_names_the_state_and_what_is_legal(status: JobStatus | None) -> None:
    state = EMPTY
    if status is not None:
        job = begun().jobs[NEW]._replace(status=status)
        state = state._replace(jobs={NEW: job})
    for name, step in STEPS.items():
        if status in LEADS[name]:
            step(state)
            continue
        legal = ", ".join(other for other in STEPS if status in LEADS[other])
        found = "has not begun" if status is None else f"is {status}"
        with pytest.raises(StateError) as caught:
            step(state)
        assert str(caught.value) == (
            f"the backfill of 'new' {found}: cannot {name}; legal now: {legal}"
        )


# What transitions keep.


def test_a_batch_replaces_what_older_letters_said_of_its_documents() -> None:
    state = begun()
    for dead, tried in (((1, 2, 3), range(9)), ((2,), (1, 2)), ((), (3,))):
        batch = BatchRecord(0, 0, dead=tuple(map(letter, dead)), tried=tried)
        state = jobs.record_batch(state, NEW, batch)
    assert [one.id for one in state.jobs[NEW].dead] == [2]


def test_too_many_dead_letters_are_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vstore.manifest.job_edits.DEAD_LETTERS_MAX", 2)
    batch = BatchRecord(0, 0, dead=tuple(map(letter, range(3))))
    with pytest.raises(LimitExceededError, match="DEAD_LETTERS_MAX"):
        jobs.record_batch(begun(), NEW, batch)


def test_dead_letters_outlive_their_job_until_they_are_retried() -> None:
    batch = BatchRecord(4, 0, dead=(letter(1),))
    state = jobs.record_batch(begun(), NEW, batch)
    done = jobs.finish(state, NEW, dead=state.jobs[NEW].dead)
    again = begun(done).jobs[NEW]
    assert (again.documents_done, again.dead) == (0, (letter(1),))
    retried = jobs.retry_failed(done, NEW).jobs[NEW]
    assert (retried.status, retried.dead, retried.documents_done) == ("stopped", (), 4)
    resumed = jobs.resume(
        EMPTY._replace(jobs={NEW: retried}),
        NEW,
        JobSettings(documents_max=9),
        source="old",
    ).jobs[NEW]
    assert (resumed.documents_done, resumed.documents_max, resumed.note) == (4, 9, "")
    cancelled = jobs.cancel(state, NEW, "")
    assert jobs.retry_failed(cancelled, NEW).jobs[NEW].status == "cancelled"


def test_resuming_what_runs_already_changes_nothing() -> None:
    state = begun()
    assert jobs.resume(state, NEW, JobSettings(), source="old") is state
    assert jobs.retry_failed(state, NEW) is state


def test_a_retired_version_is_not_filled() -> None:
    version = EMPTY.versions[NEW]._replace(retired_us=1)
    state = EMPTY._replace(versions={NEW: version})
    with pytest.raises(StateError, match="retired"):
        begun(state)
    with pytest.raises(StateError, match="retired"):
        jobs.resume(
            begun()._replace(versions={NEW: version}),
            NEW,
            JobSettings(),
            source="old",
        )


@given(st.text(max_size=3_000))
def test_a_note_is_cut_between_characters(note: str) -> None:
    kept = jobs.stop(begun(), NEW, note * 3).jobs[NEW].note
    assert len(kept.encode()) <= REASON_BYTES_MAX
    assert (note * 3).encode("utf-8", "replace").decode().startswith(kept)


# Caps.


@given(
    st.lists(st.integers(0, 20), max_size=20),
    st.none() | st.integers(0, 20),
    st.none() | st.integers(0, 200),
    st.none() | st.integers(0, 100),
)
def test_as_many_documents_fit_as_exceed_no_cap(
    units: list[int], documents_max: int | None, units_max: int | None, cost_max: int | None
) -> None:
    job = begun().jobs[NEW]._replace(
        documents_done=3, units=40, cost=20.0, documents_max=documents_max, units_max=units_max,
        cost_max=cost_max,
    )  # fmt: skip

    def exceeds(count: int) -> bool:
        total = sum(units[:count])
        return (
            (documents_max is not None and 3 + count > documents_max)
            or (units_max is not None and 40 + total > units_max)
            or (cost_max is not None and 20 + total / 2 > cost_max)
        )

    fits = caps.fitting(job, units, price_per_unit=0.5)
    assert fits == 0 or not exceeds(fits)
    assert fits == len(units) or exceeds(fits + 1)
    if fits < len(units) and not fits:
        note = caps.stop_note(job, units[0], price_per_unit=0.5, left=7)
        assert note.startswith("cap o")
        assert note.endswith("; 7 documents left")
