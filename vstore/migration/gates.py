"""Gates: what must hold before a version may serve alone. Each returns what it measured."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Coverage:
    """How much of a collection a version covers, in documents.

    Attributes
    ----------
    fresh : int
        Live documents with rows made from their current revision.
    live : int
    """

    fresh: int
    live: int

    @property
    def share(self) -> float:
        """Fresh documents of live documents; 1 for an empty collection."""
        return self.fresh / self.live if self.live else 1.0

    @property
    def complete(self) -> bool:
        """Whether no live document lacks fresh rows."""
        return self.fresh == self.live


@dataclass(frozen=True, slots=True)
class GateResult:
    """What one gate found."""

    name: str
    measured: float
    required: float

    @property
    def passed(self) -> bool:
        """Whether the gate lets the cutover pass."""
        return self.measured >= self.required

    def __str__(self) -> str:
        verdict = "passed" if self.passed else "failed"
        return f"{self.name} {self.measured:.2%}, required {self.required:.2%}: {verdict}"


def coverage_gate(coverage: Coverage, *, required: float) -> GateResult:
    """Measure coverage against the least that is allowed."""
    return GateResult("coverage", coverage.share, required)
