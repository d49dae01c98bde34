"""A migration as whoever watches it sees it: what it would take, what a run did, how far it is."""

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
    """What a migration has to do, and an estimate of what that takes.

    Attributes
    ----------
    documents : int
        To be embedded.
    blocked : int
        Documents that cannot be mapped yet, for want of vectors in the source version.
    failed : int
        Dead letters, which are left out.
    units : int
        Of all of them; exact if `units_exact`, else from a sample.
    unit : str
    cost : float
    seconds : float or None
        From the calls measured; None without any.
    sample : int
        Documents that were embedded to measure, and thrown away.
    sample_without_text : int
        Documents that were to be, and have no text, which an `Embedder` needs: as many in a
        hundred will become dead letters. The estimates count them as no work.
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
    """What one run did.

    Attributes
    ----------
    done, skipped : int
        Documents written, and documents that changed while their vectors were made.
    batches : int
    coverage : Coverage
        After the last batch.
    failed : int
        Dead letters that count afterwards: documents that cannot be embedded as they are.
    left : int
        Documents without fresh vectors that no dead letter is about.
    status : {"open", "stopped", "done", "cancelled"}
        Of the job, afterwards. Never "done" by a run that had documents to embed and embedded none.
    note : str
        Why it stopped.
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
    """How far a migration is.

    Attributes
    ----------
    status : {"open", "stopped", "done", "cancelled"} or None
        None before it began. "open" means that there may be more to do, whether or not a runner is
        alive.
    done, skipped : int
        Documents written so far, and documents that had changed when their vectors came. Through a
        scoped handle ``done`` are the documents inside that have fresh vectors, and what else the
        job counts, which is of all documents, is 0, None or empty.
    left : int
        Documents to embed, without dead letters.
    failed : int
        Dead letters that count: their documents have not changed since.
    documents_per_s, eta_s : float or None
        From all batches so far, by the time that making vectors took; None before the first.
    note : str
        Why it stopped.
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
    """Return how far a job is; one that has not begun has the settings it would begin with."""
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
