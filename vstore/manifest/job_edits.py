"""Backfill jobs: states and transitions, each a pure function from collection state to state.

::

    (none) -start-> open -finish-> done -start-> open
                    open -stop-> stopped -resume-> open
                    open, stopped -cancel-> cancelled -start-> open
                    done -retry_failed-> stopped

A job does not record what is left to do: a scan over the documents finds that.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal, NamedTuple, TypeAlias

from vstore.errors import LimitExceededError, StateError
from vstore.limits import DEAD_LETTERS_MAX, REASON_BYTES_MAX
from vstore.manifest.job_state import JobState
from vstore.manifest.route_edits import DEFAULT_ROUTE

if TYPE_CHECKING:
    from collections.abc import Collection as Container
    from collections.abc import Mapping

    from vstore.manifest.edits import Moment
    from vstore.manifest.job_state import DeadLetter, JobOrder, JobStatus
    from vstore.manifest.state import CollectionState
    from vstore.types import DocumentId

Transition: TypeAlias = Literal[
    "start", "resume", "record_batch", "stop", "finish", "cancel", "retry_failed"
]
# None: no job. A batch is recorded after a stop too: it was under way, and has been paid for.
LEGAL: Final[Mapping[Transition, tuple[JobStatus | None, ...]]] = {
    "start": (None, "done", "cancelled"),
    "resume": ("open", "stopped"),
    "record_batch": ("open", "stopped"),
    "stop": ("open",),
    "finish": ("open",),
    "cancel": ("open", "stopped"),
    "retry_failed": ("open", "stopped", "done", "cancelled"),
}


class JobSettings(NamedTuple):
    """What a runner asks of a job; `JobState` describes the fields."""

    order: JobOrder = "id"
    order_field: str = ""
    unit: str = ""
    documents_max: int | None = None
    units_max: int | None = None
    cost_max: float | None = None


class BatchRecord(NamedTuple):
    """What one batch did; `JobState` describes the sums that it is added to.

    Attributes
    ----------
    dead : tuple[DeadLetter, ...]
        One for each document that could not be embedded.
    tried : Container[DocumentId]
        Ids of the batch's documents; their older dead letters are dropped.
    """

    done: int
    skipped: int
    units: int = 0
    cost: float = 0.0
    seconds: float = 0.0
    dead: tuple[DeadLetter, ...] = ()
    tried: Container[DocumentId] = ()


def start(
    collection: CollectionState,
    target: str,
    moment: Moment,
    *,
    source: str,
    settings: JobSettings,
) -> CollectionState:
    """Begin to fill a version. Dead letters of an earlier job stay: they count by revision.

    Raises
    ------
    StateError
        The version is retired, or a job that is not over fills it.
    """
    _require_open(collection, target)
    before = collection.jobs.get(target)
    _require(collection, target, "start")
    job = JobState(
        target,
        source,
        "open",
        moment.epoch,
        moment.time_us,
        dead=() if before is None else before.dead,
        **settings._asdict(),
    )
    return _with_job(collection, job)


def resume(
    collection: CollectionState,
    target: str,
    settings: JobSettings,
    *,
    source: str,
) -> CollectionState:
    """Let a job go on, perhaps with other caps or in another order.

    Parameters
    ----------
    source : str
        Version that the runner migrates from. It becomes the job's, if the job has no source or no
        batch so far, as one that a write opened.

    Raises
    ------
    StateError
        The version is retired, or the job has migrated from another source.
    """
    _require_open(collection, target)
    job = _require(collection, target, "resume")
    if job.source and job.batches and job.source != source:
        raise StateError(
            f"the backfill of {target!r} migrates from {job.source!r}, not from {source!r}; "
            "go on with that, or cancel it"
        )
    after = job._replace(status="open", note="", source=source, **settings._asdict())
    return collection if after == job else _with_job(collection, after)


def record_batch(collection: CollectionState, target: str, batch: BatchRecord) -> CollectionState:
    """Add one batch to a job.

    Raises
    ------
    StateError
        The job is over, or the version retired.
    LimitExceededError
        Too many dead letters.
    """
    job = _require(collection, target, "record_batch")
    dead = job.dead
    if dead or batch.dead:
        dead = (*(letter for letter in dead if letter.id not in batch.tried), *batch.dead)
    if len(dead) > DEAD_LETTERS_MAX:
        raise LimitExceededError(
            f"dead letters of the backfill of {target!r}",
            limit="DEAD_LETTERS_MAX",
            found=len(dead),
            allowed=DEAD_LETTERS_MAX,
        )
    after = job._replace(
        batches=job.batches + 1,
        documents_done=job.documents_done + batch.done,
        documents_skipped=job.documents_skipped + batch.skipped,
        units=job.units + batch.units,
        cost=job.cost + batch.cost,
        seconds=job.seconds + batch.seconds,
        dead=dead,
    )
    return _with_job(collection, after)


def stop(collection: CollectionState, target: str, note: str) -> CollectionState:
    """Stop a job, which can go on later; a batch that is under way still comes in.

    Raises
    ------
    StateError
        The job is not open.
    """
    job = _require(collection, target, "stop")
    return _with_job(collection, job._replace(status="stopped", note=cut(note)))


def cancel(collection: CollectionState, target: str, note: str) -> CollectionState:
    """End a job for good; a batch that is under way is thrown away.

    Raises
    ------
    StateError
        The job is over, or has not begun.
    """
    job = _require(collection, target, "cancel")
    return _with_job(collection, job._replace(status="cancelled", note=cut(note)))


def finish(
    collection: CollectionState, target: str, *, dead: tuple[DeadLetter, ...] = ()
) -> CollectionState:
    """Record that nothing is left to do.

    Parameters
    ----------
    dead : tuple[DeadLetter, ...]
        Those letters that still count.

    Raises
    ------
    StateError
        The job is not open.
    """
    job = _require(collection, target, "finish")
    return _with_job(
        collection,
        job._replace(status="done", note="", dead=dead),
    )


def retry_failed(collection: CollectionState, target: str) -> CollectionState:
    """Forget dead letters, so that their documents are tried again by the next run.

    Raises
    ------
    StateError
        The job has not begun.
    """
    job = _require(collection, target, "retry_failed")
    if not job.dead:
        return collection
    after = job._replace(dead=())
    if job.status == "done":  # its counts go on
        after = after._replace(
            status="stopped", note=f"{len(job.dead):,} dead letters are to be tried again"
        )
    return _with_job(collection, after)


def served_source(collection: CollectionState, target: str) -> str:
    """Return the version that serves, as the source of a job; empty if that is the target."""
    route = collection.routes.get(DEFAULT_ROUTE)
    return "" if route is None or route.serving == target else route.serving


def reopened_source(collection: CollectionState, target: str) -> str:
    """Return the source of a job that a write opens: the last job's, or the version that serves.

    So whoever ran the last job goes on with the handle that is there, whatever serves by now.
    """
    before = collection.jobs.get(target)
    known = None if before is None else collection.versions.get(before.source)
    if before is None or known is None or known.retired_us is not None:
        return served_source(collection, target)
    return before.source


def cut(text: str, size_bytes: int = REASON_BYTES_MAX) -> str:
    """Return as much of a text as has so many bytes of UTF-8."""
    return text.encode("utf-8", "replace")[:size_bytes].decode("utf-8", "ignore")


def _require(collection: CollectionState, target: str, transition: Transition) -> JobState:
    job = collection.jobs.get(target)
    status = None if job is None else job.status
    if status not in LEGAL[transition]:
        legal = ", ".join(name for name, states in LEGAL.items() if status in states)
        found = "has not begun" if status is None else f"is {status}"
        raise StateError(
            f"the backfill of {target!r} {found}: cannot {transition}; legal now: {legal}"
        )
    return JobState(target, "", "open", 0, 0) if job is None else job


def _require_open(collection: CollectionState, target: str) -> None:
    if collection.versions[target].retired_us is not None:
        raise StateError(f"version {target!r} is retired")


def _with_job(collection: CollectionState, job: JobState) -> CollectionState:
    return collection._replace(jobs={**collection.jobs, job.target: job})
