"""Where what looks suspect is told: the log, and the handle's metrics."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from vstore.engine.handle import Handle

LOGGER: Final = logging.getLogger("vstore")


def count_suspects(handle: Handle, name: str, amount: int) -> None:
    """Count suspect batches or queries among the handle's metrics."""
    handle.observer.count(name, amount)
