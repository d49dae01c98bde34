"""Where what looks suspect is told: the log, and the handle's metrics."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from vstore.api.collection import Collection

LOGGER: Final = logging.getLogger("vstore")


def count_suspects(collection: Collection, name: str, amount: int) -> None:
    """Count suspect batches or queries among the handle's metrics."""
    collection.store.observer.count(name, amount)
