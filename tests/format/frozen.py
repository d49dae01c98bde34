"""Stores whose bytes depend on nothing but what is written: a frozen clock and a known uuid."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING
from unittest import mock

from vstore.api.opening import open_store
from vstore.storage.file import PathMedium

if TYPE_CHECKING:
    from pathlib import Path

    from vstore import Store

NEW_YEAR_2026_US = 1_767_225_600_000_000
FILE_UUID = bytes(range(16))


class FrozenClock:
    """Starts at a moment and gains a second with each reading of the wall clock."""

    def __init__(self, start_us: int, *, step_us: int = 1_000_000) -> None:
        self._next_us = start_us
        self._step_us = step_us

    def now_us(self) -> int:
        now, self._next_us = self._next_us, self._next_us + self._step_us
        return now

    def monotonic_s(self) -> float:
        return 0.0


def create_store(path: Path, *, step_us: int = 1_000_000) -> Store:
    """Make a store at a path that does not exist yet."""
    clock = FrozenClock(NEW_YEAR_2026_US, step_us=step_us)
    with mock.patch.object(os, "urandom", lambda size: FILE_UUID[:size]):
        return open_store(PathMedium(path), clock=clock)


def reopen_relaxed(path: Path) -> Store:
    """Open it again a day later, under relaxed durability."""
    clock = FrozenClock(NEW_YEAR_2026_US + 86_400_000_000)
    return open_store(PathMedium(path), clock=clock, durability="relaxed")
