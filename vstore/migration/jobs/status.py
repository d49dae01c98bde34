"""Reports on a migration: estimate, result of a run, and progress."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from vstore.manifest.job_state import JobState

if TYPE_CHECKING:
    from vstore.engine.coverage import Coverage
    from vstore.manifest.job_edits import JobSettings
    from vstore.manifest.job_state import JobStatus
    from vstore.migration.jobs.queue import Queue


@dataclass(frozen=True, slots=True)
class MigrationPlan:
    """The remaining work of a migration, with estimates of cost and time.

    Attributes
    ----------
    documents : int
        Documents to embed.
    blocked : int
        Documents that cannot be mapped yet, because they lack vectors in the source version.
    failed : int
        Dead letters, which are left out.
    units : int
        Units of all documents to embed; exact if `units_exact`, else estimated from a sample.
    unit : str
    cost : float
    seconds : float or None
        Estimated from the measured calls; None without any.
    sample : int
        Documents that were embedded to measure, and discarded.
    sample_without_text : int
        Sampled documents without the text that an `Embedder` needs: the same share of all will
        become dead letters. The estimates count them as no work.
    """

    documents: int
    blocked: int
    failed: int
    units: int
    units_exact: bool
    unit: str
    cost: float
    seconds: float | None
    sample: int
    sample_without_text: int = 0


@dataclass(frozen=True, slots=True)
class BackfillReport:
    """Result of one run.

    Attributes
    ----------
    done, skipped : int
        Documents written, and documents that changed while their vectors were made.
    batches : int
    coverage : Coverage
        Coverage after the last batch.
    failed : int
        Current dead letters after the run: documents that cannot be embedded in this revision.
    left : int
        Documents without fresh vectors, dead letters excluded.
    status : {"open", "stopped", "done", "cancelled"}
        Status of the job after the run. Never "done" if the run had documents to embed and
        embedded none.
    note : str
        Reason for a stop.
    """

    done: int
    skipped: int
    batches: int
    coverage: Coverage
    failed: int = 0
    left: int = 0
    status: JobStatus = "open"
    note: str = ""

    @property
    def finished(self) -> bool:
        """Whether nothing is left to do, and nothing failed."""
        return self.coverage.complete


@dataclass(frozen=True, slots=True)
class MigrationStatus:
    """Progress of a migration.

    Attributes
    ----------
    status : {"open", "stopped", "done", "cancelled"} or None
        None before the job began. "open" means that the job is not over, not that a runner is
        alive.
    done, skipped : int
        Documents written so far, and documents that had changed when their vectors came. Through a
        scoped handle, ``done`` counts the documents inside with fresh vectors; all other counters
        of the job, which are of the whole collection, are 0, None or empty.
    left : int
        Documents to embed, dead letters excluded.
    failed : int
        Current dead letters: their documents have not changed since.
    documents_per_s, eta_s : float or None
        From all batches so far, by the time spent making vectors; None before the first.
    note : str
        Reason for a stop.
    """

    status: JobStatus | None
    done: int
    left: int
    failed: int
    skipped: int
    batches: int
    unit: str
    units: int
    cost: float
    seconds: float
    documents_per_s: float | None
    eta_s: float | None
    documents_max: int | None
    units_max: int | None
    cost_max: float | None
    note: str
    coverage: Coverage


def status_of(
    job: JobState | None, queue: Queue, covered: Coverage, settings: JobSettings
) -> MigrationStatus:
    """Return a job's progress; before it begins, with the settings that it would begin with."""
    known = job or JobState("", "", "open", 0, 0, **settings._asdict())
    tried = known.documents_done + known.documents_skipped
    rate = tried / known.seconds if tried and known.seconds else None
    return MigrationStatus(
        status=None if job is None else job.status,
        done=known.documents_done,
        left=queue.left,
        failed=len(queue.dead),
        skipped=known.documents_skipped,
        batches=known.batches,
        unit=known.unit,
        units=known.units,
        cost=known.cost,
        seconds=known.seconds,
        documents_per_s=rate,
        eta_s=None if rate is None else queue.left / rate,
        documents_max=known.documents_max,
        units_max=known.units_max,
        cost_max=known.cost_max,
        note=known.note,
        coverage=covered,
    )
