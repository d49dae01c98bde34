"""Caps of a migration, checked."""

from __future__ import annotations

from dataclasses import dataclass

from vstore.errors import InvalidArgumentError
from vstore.numbers import check_number, check_whole


@dataclass(frozen=True, slots=True)
class Caps:
    """Upper bounds on the documents, units and cost of all runs of a migration together.

    The job stops before it would exceed a cap; a run with a higher cap resumes it.

    Attributes
    ----------
    documents : int, optional
        Documents embedded.
    units : int, optional
        Units of the `Price`.
    cost : float, optional
        Price of those units. Failed calls do not count.
    failures : int
        Documents in a row that fail one by one, after which the function is at fault. The job
        continues if a document that has vectors can still be embedded.
    """

    documents: int | None = None
    units: int | None = None
    cost: float | None = None
    failures: int = 32


def checked_caps(caps: object) -> Caps:
    """Return caps as Python numbers.

    Raises
    ------
    InvalidArgumentError
        The argument is not a `Caps`, or a cap is not a number or is below its minimum.
    """
    if not isinstance(caps, Caps):
        raise InvalidArgumentError(f"caps: expected Caps, found {caps!r:.60}")
    cost = caps.cost
    if cost is not None:
        cost = check_number(cost, what="caps: cost", least=0.0, most=1e18)
    failures = check_whole(caps.failures, what="caps: failures", least=1)
    return Caps(_whole(caps.documents, "documents"), _whole(caps.units, "units"), cost, failures)


def _whole(value: int | None, name: str) -> int | None:
    if value is None:
        return None
    return check_whole(value, what=f"caps: {name}", least=0, most=2**53)
