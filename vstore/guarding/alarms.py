"""Where what looks suspect is told, and how: the log, and the handle's metrics."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from vstore.engine.handle import Handle
    from vstore.guarding.geometry import Verdict

LOGGER: Final = logging.getLogger("vstore")


def count_suspects(handle: Handle, name: str, amount: int) -> None:
    """Count suspect batches or queries among the handle's metrics."""
    handle.observer.count(name, amount)


def departure_text(verdict: Verdict, *, telling: bool) -> str:
    """Return how far vectors depart, beside what is usual.

    Parameters
    ----------
    telling : bool
        Whether what was learned from everybody's rows may be told in numbers.
    """
    if not telling:
        return f"{verdict.departure:.2f}, more than its vectors have"
    low, high = verdict.expected
    return (
        f"{verdict.departure:.2f}, expected {low:.2f} to {high:.2f}, alarm from {verdict.limit:.2f}"
    )
