"""Jobs as pure functions: which transitions are legal, what they keep, who may make them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.small_store import spec
from vstore.errors import LeaseError, LimitExceededError, StateError
from vstore.limits import REASON_BYTES_MAX
from vstore.manifest import job_edits as jobs
from vstore.manifest.edits import Moment
from vstore.manifest.job_edits import BatchRecord, JobSettings, Lease
from vstore.manifest.job_state import DeadLetter
from vstore.manifest.state import CollectionState, VersionState
from vstore.migration.jobs import caps

if TYPE_CHECKING:
    from collections.abc import Callable

    from vstore.manifest.job_state import JobState, JobStatus

NEW = "new"
ME, OTHER = "me", "other"
HANDLE = jobs.handle_owner(5)
EMPTY = CollectionState(
    "docs", 1, 1, versions={NEW: VersionState(NEW, spec(), created_epoch=1, created_us=1)}
)
STATUSES: list[JobStatus | None] = [None, "running", "stopped", "done", "cancelled"]


def lease(owner: str = ME, until_us: int = 100, handle: str = HANDLE) -> Lease:
    return Lease(owner, until_us, handle)


def letter(id_: int, error: str = "ValueError: no") -> DeadLetter:
    return DeadLetter(id_, 1, 1, 1, error)


def begun(state: CollectionState = EMPTY, **settings: int) -> CollectionState:
    return jobs.start(state, NEW, Moment(3, 30), source="old", settings=JobSettings(**settings))  # type: ignore[arg-type]


STEPS: dict[str, Callable[[CollectionState], CollectionState]] = {
    "start": begun,
    "resume": lambda state: jobs.resume(state, NEW, JobSettings(), lease(), source="old", now_us=0),
    "record_batch": lambda state: jobs.record_batch(
        state, NEW, BatchRecord(2, 1, 10, 0.5, 1.5), lease(), now_us=0
    ),
    "stop": lambda state: jobs.stop(state, NEW, "for a while"),
    "finish": lambda state: jobs.finish(state, NEW),
    "cancel": lambda state: jobs.cancel(state, NEW, "no more"),
    "retry_failed": lambda state: jobs.retry_failed(state, NEW),
}
# Written down once more, not read from `jobs.LEGAL`: where each step leads, or that it is illegal.
LEADS: dict[str, dict[JobStatus | None, JobStatus]] = {
    "start": {None: "running", "done": "running", "cancelled": "running"},
    "resume": {"running": "running", "stopped": "running"},
    "record_batch": {"running": "running", "stopped": "stopped"},
    "stop": {"running": "stopped"},
    "finish": {"running": "done"},
    "cancel": {"running": "cancelled", "stopped": "cancelled"},
    "retry_failed": {s: s for s in ("running", "stopped", "done", "cancelled")},
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
        # Nobody holds what is not running.
        assert after.status == "running" or not after.owner
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


# Leases.


def record(state: CollectionState, who: Lease, now_us: int, *, keep: bool = True) -> JobState:
    return jobs.record_batch(state, NEW, BatchRecord(1, 0), who, now_us=now_us, keep=keep).jobs[NEW]


def held(by: str = OTHER, until_us: int = 50) -> CollectionState:
    job = begun().jobs[NEW]._replace(owner=by, lease_until_us=until_us)
    return EMPTY._replace(jobs={NEW: job})


def test_a_lease_is_recorded_and_renewed_with_each_batch() -> None:
    job = record(begun(), lease(until_us=100), 10)
    assert (job.owner, job.lease_until_us) == (ME, 100)
    job = record(EMPTY._replace(jobs={NEW: job}), lease(until_us=170), 99)
    assert (job.owner, job.lease_until_us) == (ME, 170)
    last = record(EMPTY._replace(jobs={NEW: job}), lease(until_us=200), 150, keep=False)
    assert (last.owner, last.lease_until_us, last.batches) == ("", 0, 3)


def test_a_lease_keeps_others_out_until_it_expires() -> None:
    with pytest.raises(LeaseError, match=r"run by 'other'.*1970-01-01") as caught:
        record(held(), lease(), 49)
    assert (caught.value.owner, caught.value.until_us) == (OTHER, 50)
    with pytest.raises(LeaseError):
        jobs.resume(held(), NEW, JobSettings(), lease(), source="old", now_us=49)
    assert record(held(), lease(), 50).owner == ME
    assert (
        jobs.resume(held(), NEW, JobSettings(), lease(), source="old", now_us=50).jobs[NEW].owner
        == OTHER
    )


def test_the_lease_of_a_handle_dies_with_it() -> None:
    earlier = held(by=jobs.handle_owner(4), until_us=2**60)
    assert record(earlier, lease(), 10).owner == ME
    assert record(earlier, lease(HANDLE), 10).owner == HANDLE
    with pytest.raises(LeaseError):  # of this very handle: it is alive
        record(held(by=HANDLE, until_us=2**60), lease(), 10)


def test_only_ones_own_lease_is_let_go() -> None:
    assert jobs.release(held(), NEW, ME) == held()
    assert jobs.release(held(), NEW, OTHER).jobs[NEW].owner == ""
    assert jobs.release(EMPTY, NEW, OTHER) == EMPTY


def test_a_lease_beyond_all_calendars_can_be_told() -> None:
    with pytest.raises(LeaseError, match="us after 1970"):
        record(held(until_us=2**64 - 1), lease(), 0)


# What transitions keep.


def test_a_batch_replaces_what_older_letters_said_of_its_documents() -> None:
    state = begun()
    for dead, tried in (((1, 2, 3), range(9)), ((2,), (1, 2)), ((), (3,))):
        batch = BatchRecord(0, 0, dead=tuple(map(letter, dead)), tried=tried)
        state = jobs.record_batch(state, NEW, batch, lease(), now_us=0)
    assert [one.id for one in state.jobs[NEW].dead] == [2]


def test_too_many_dead_letters_are_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vstore.manifest.job_edits.DEAD_LETTERS_MAX", 2)
    batch = BatchRecord(0, 0, dead=tuple(map(letter, range(3))))
    with pytest.raises(LimitExceededError, match="DEAD_LETTERS_MAX"):
        jobs.record_batch(begun(), NEW, batch, lease(), now_us=0)


def test_dead_letters_outlive_their_job_until_they_are_retried() -> None:
    batch = BatchRecord(4, 0, dead=(letter(1),))
    state = jobs.record_batch(begun(), NEW, batch, lease(), now_us=0)
    done = jobs.finish(state, NEW, dead=state.jobs[NEW].dead)
    again = begun(done).jobs[NEW]
    assert (again.documents_done, again.dead) == (0, (letter(1),))
    retried = jobs.retry_failed(done, NEW).jobs[NEW]
    assert (retried.status, retried.dead, retried.documents_done) == ("stopped", (), 4)
    resumed = jobs.resume(
        EMPTY._replace(jobs={NEW: retried}),
        NEW,
        JobSettings(documents_max=9),
        lease(),
        source="old",
        now_us=0,
    ).jobs[NEW]
    assert (resumed.documents_done, resumed.documents_max, resumed.note) == (4, 9, "")
    cancelled = jobs.cancel(state, NEW, "")
    assert jobs.retry_failed(cancelled, NEW).jobs[NEW].status == "cancelled"


def test_resuming_what_runs_already_changes_nothing() -> None:
    state = begun()
    assert jobs.resume(state, NEW, JobSettings(), lease(), source="old", now_us=0) is state
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
            lease(),
            source="old",
            now_us=0,
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
        assert "_max" in note
        assert note.endswith("; 7 documents left")
