"""A backfill in words."""

from vstore.cli.plain_text import counted, one_line
from vstore.manifest.job_state import JobState


def job_facts(job: JobState) -> dict[str, object]:
    """Return how far a backfill is, what it cost, and what holds it up."""
    shown: dict[str, object] = {
        "backfill": f"{job.status}, {counted(job.batches, 'batch')}, "
        f"{counted(job.documents_done, 'document')} done, "
        f"{job.documents_skipped:,} skipped; began at epoch {job.started_epoch}",
        "backfill from": f"{job.source or 'no version'}, by {_order(job)}",
    }
    if job.units or job.cost or job.seconds:
        shown["spent"] = (
            f"{job.units:,} {job.unit or 'units'}, {job.cost:,.6g}, {job.seconds:,.1f} s"
        )
    caps = {
        "documents": job.documents_max,
        job.unit or "units": job.units_max,
        "cost": job.cost_max,
    }
    if any(cap is not None for cap in caps.values()):
        shown["caps"] = ", ".join(
            f"{cap:,} {name}" for name, cap in caps.items() if cap is not None
        )
    if job.note:
        shown[job.status] = job.note
    if job.dead:
        last = job.dead[-1]
        shown["dead letters"] = f"{len(job.dead):,}, the last one {last.id!r}: {last.error}"
    return {name: one_line(str(value)) for name, value in shown.items()}


def _order(job: JobState) -> str:
    if job.order == "field":
        return job.order_field
    if job.order == "hot":
        return f"{job.order_field}, the largest first" if job.order_field else "hits"
    return "number"
