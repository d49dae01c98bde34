"""What a migration may do, use and spend."""

from __future__ import annotations

from dataclasses import dataclass

from vstore.errors import InvalidArgumentError
from vstore.numbers import check_number, check_whole


@dataclass(frozen=True, slots=True)
class Caps:
    """What all runs of a migration together may do, use and spend.

    The job stops before it would exceed a cap; a run with a higher cap goes on.

    Attributes
    ----------
    documents : int, optional
        Documents that are embedded.
    units : int, optional
        Units of their `Price`.
    cost : float, optional
        Price of those units. Calls that fail are not counted.
    failures : int
        Documents in a row that fail each by itself: the function is at fault then. The job goes on
        if a document that has vectors can still be embedded.
    """

    documents: int | None = None
    units: int | None = None
    cost: float | None = None
    failures: int = 32


def checked_caps(caps: object) -> Caps:
    """Return caps whose numbers are Python's.

    Raises
    ------
    InvalidArgumentError
        They are no `Caps`, or one is no number or below 0.
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
