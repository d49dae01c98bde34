"""Gates: what must hold before a version may serve alone.

Each returns what it measured, and how much evidence that stands on. No gate passes without any.
Only of a collection that has no document at all it is known that a version covers it: the first
document is yet to come, and nothing can be lost.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from vstore.segment.copies import drawn_copies

if TYPE_CHECKING:
    from vstore.engine.coverage import Coverage
    from vstore.evaluation.significance import PairedTest
    from vstore.types import Array, Judgments


@dataclass(frozen=True, slots=True)
class GateResult:
    """What one gate found.

    Attributes
    ----------
    name : str
    measured, required : float
    evidence : int
        How many documents, hits or queries it was measured on, see ``unit``.
    at_most : bool
        Whether ``required`` is the most that is allowed, not the least.
    detail : str
        What else the measurement says, for people.
    unit : str
        What ``evidence`` counts.
    conclusive : bool
        False if there is no or too little evidence: what is measured means nothing then, and the
        gate does not pass.
    """

    name: str
    measured: float
    required: float
    evidence: int
    at_most: bool = False
    detail: str = ""
    unit: str = "documents"
    conclusive: bool = True

    @property
    def passed(self) -> bool:
        """Whether the gate lets the cutover pass."""
        if not self.conclusive:
            return False
        if self.at_most:
            return self.measured <= self.required
        return self.measured >= self.required

    def __str__(self) -> str:
        verdict = "passed" if self.passed else "failed"
        found, wanted = self._text(self.measured), self._text(self.required)
        most = "at most " if self.at_most else ""
        detail = f" ({self.detail})" if self.detail else ""
        why = ""
        if not self.conclusive:
            little = "no evidence" if not self.evidence else "too little evidence"
            why = f" for {little}: {self.evidence:,} {self.unit}"
        return f"{self.name} {found}, required {most}{wanted}: {verdict}{why}{detail}"

    def _text(self, value: float) -> str:
        if self.name == "dead_letters":
            return f"{value:,.0f}"
        return f"{value:+.4f}" if self.name == "quality" else f"{value:.2%}"


@dataclass(frozen=True, slots=True)
class Judged:
    """Queries with what people found right, for the quality gate.

    Attributes
    ----------
    queries : mapping of version label to (n, dimension)
        The same queries, embedded for each of the two versions that are compared: arrays,
        `Embeddings`, or iterables of vectors.
    judgments : sequence of mapping of id to gain, n of them
        In the order of the queries; any iterable. Gains are finite and at least 0, and those above
        0 count. Their documents must be there, with ids of the collection's own type.
    margin : float
        How much worse in mean nDCG at k the new version may be, 0 to 1.
    k : int
    """

    queries: Mapping[str, Array]
    judgments: Judgments
    margin: float = 0.01
    k: int = 10

    def __post_init__(self) -> None:
        # Looked at more than once: by `Routes.check_gates`, and then by `Routes.cutover`.
        queries: object = self.queries
        if isinstance(queries, Mapping):
            queries = {label: _kept(vectors) for label, vectors in queries.items()}
        object.__setattr__(self, "queries", queries)
        object.__setattr__(self, "judgments", _kept(self.judgments))


def _kept(values: object) -> object:
    return drawn_copies(values) if isinstance(values, Iterator) else values


@dataclass(frozen=True, slots=True)
class Gates:
    """What must hold before a version may serve alone; None for what need not. Shares are 0 to 1.

    A gate that has nothing to measure does not pass, whatever it asks for: a tenant without
    documents, a version without rows, no counted traffic, judged queries that find nothing.

    Attributes
    ----------
    coverage : float
        Least share of live documents with fresh vectors. Of a collection with documents a version
        must have some that it can return, even if 0 is asked for.
    traffic_coverage : float or None
        Least share of hits that were of such documents.
    stale : float or None
        Most share of live documents whose vectors are all of an older revision.
    dead_letters : int or None
        Most documents that could not be embedded; at least 0.
    recall : float or None
        Least recall at 10 of searches by graph against exact ones, asked with stored vectors.
    quality : Judged or None
        Not worse than the version that serves, with statistical significance: at least five
        queries must find something that was judged good.
    """

    coverage: float = 1.0
    traffic_coverage: float | None = None
    stale: float | None = None
    dead_letters: int | None = None
    recall: float | None = None
    quality: Judged | None = None


def gate(
    name: str,
    measured: float,
    required: float,
    *,
    evidence: int,
    unit: str = "documents",
    at_most: bool = False,
    detail: str = "",
) -> GateResult:
    """Return the result of a gate that any evidence is enough for."""
    return GateResult(
        name, measured, required, evidence, at_most, detail, unit, conclusive=evidence > 0
    )


def coverage_gate(
    coverage: Coverage, *, required: float, returnable: int, is_empty: bool
) -> GateResult:
    """Measure coverage against the least that is allowed.

    Parameters
    ----------
    returnable : int
        Live documents with rows that a search may return, stale ones where those are served.
    is_empty : bool
        The whole collection has no document.
    """
    detail = f"{coverage.fresh:,} of {coverage.live:,} documents"
    if coverage.live and not returnable:  # measured, but a version that finds nothing covers none
        return gate(
            "coverage",
            coverage.share,
            required,
            evidence=0,
            unit="documents that it can return",
            detail=detail,
        )
    conclusive = coverage.live > 0 or is_empty
    return GateResult(
        "coverage",
        coverage.share,
        required,
        coverage.live,
        detail=detail,
        conclusive=conclusive,
    )


def quality_gate(test: PairedTest, *, k: int) -> GateResult:
    """Measure the difference in judged quality against the margin.

    It is the lower end of the difference's confidence interval that must not be below: too few
    judged queries to tell is not a pass, and of queries whose judged documents neither version
    finds there may be any number.
    """
    detail = (
        f"nDCG@{k} {test.old_mean:.4f} -> {test.new_mean:.4f} over {test.queries:,} queries, "
        f"{test.evidence:,} of which find a judged document, "
        f"difference {test.difference:+.4f}, at least {test.low:+.4f}, p {test.p_value:.4f}"
    )
    return GateResult(
        "quality",
        test.low,
        -test.margin,
        test.evidence,
        detail=detail,
        unit="judged queries that find something",
        conclusive=test.passed or test.low < -test.margin,  # the latter fails by what it measured
    )
