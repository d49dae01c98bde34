"""A clock that goes on only when it is told to, and its sleep."""

from __future__ import annotations

from vstore.clock import Clock

START_US = 1_767_225_600_000_000  # 2026-01-01


class HandClock(Clock):
    """Wall and monotonic time move together, by `advance` and by `sleep`."""

    def __init__(self) -> None:
        self.elapsed_s = 0.0
        self.slept: list[float] = []

    def now_us(self) -> int:
        return START_US + int(self.elapsed_s * 1e6)

    def monotonic_s(self) -> float:
        return self.elapsed_s

    def advance(self, seconds: float) -> None:
        self.elapsed_s += seconds

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.advance(seconds)
