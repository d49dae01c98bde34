"""Caps of a backfill: how much of a batch fits, and the note when a cap stops the job."""

from __future__ import annotations

from itertools import accumulate
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

    from vstore.manifest.job_state import JobState


_ROUNDING: Final = 1e-9  # relative, for sums of prices: three times 0.1 is more than 0.3


def fitting(job: JobState, units: Sequence[int], *, price_per_unit: float) -> int:
    """Return the number of leading documents that fit under every cap.

    Parameters
    ----------
    units : sequence of int
        Units of each document.
    """
    fits = len(units)
    if job.documents_max is not None:
        fits = min(fits, max(job.documents_max - job.documents_done, 0))
    for number, total in enumerate(accumulate(units[:fits])):
        too_much = job.units_max is not None and job.units + total > job.units_max
        cost = job.cost + total * price_per_unit
        too_dear = job.cost_max is not None and cost > job.cost_max * (1 + _ROUNDING)
        if too_much or too_dear:
            return number
    return fits


def stop_note(job: JobState, units: int, *, price_per_unit: float, left: int) -> str:
    """Return a note on the cap that a document of ``units`` would exceed, and the work left."""
    unit = job.unit or "units"
    if job.documents_max is not None and job.documents_done >= job.documents_max:
        cap = f"cap of {job.documents_max:,} documents: {job.documents_done:,} done"
    elif job.units_max is not None and job.units + units > job.units_max:
        cap = f"cap of {job.units_max:,} {unit}: {job.units:,} used, the next has {units:,}"
    else:
        cap = (
            f"cap on the cost, {job.cost_max:,.6g}: {job.cost:,.6g} spent, "
            f"the next costs {units * price_per_unit:,.6g}"
        )
    return f"{cap}; {left:,} documents left"
