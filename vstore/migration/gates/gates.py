"""Gates: conditions for a version to serve alone.

Each returns its measurement and the amount of evidence. No gate passes without evidence. One
exception: in a collection without any document, every version has full coverage, because nothing
can be lost.
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
    """Result of one gate.

    Attributes
    ----------
    name : str
    measured, required : float
    evidence : int
        Number of documents, hits or queries measured, see ``unit``.
    at_most : bool
        Whether ``required`` is a maximum, not a minimum.
    detail : str
        Details of the measurement, for people.
    unit : str
        Unit of ``evidence``.
    conclusive : bool
        False without enough evidence: the measurement is then meaningless, and the gate does not
        pass.
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
        """Whether the gate allows the cutover."""
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
    """Queries with relevance judgments, for the quality gate.

    Attributes
    ----------
    queries : mapping of version label to (n, dimension)
        The same queries, embedded for each of the two versions compared: arrays, `Embeddings`, or
        iterables of vectors.
    judgments : sequence of mapping of id to gain, n of them
        In the order of the queries; any iterable. Gains are finite and at least 0; those above 0
        count, and their documents must exist, with ids of the collection's own type.
    margin : float
        Largest loss in mean nDCG at k that the new version may have, 0 to 1.
    k : int
    """

    queries: Mapping[str, Array]
    judgments: Judgments
    margin: float = 0.01
    k: int = 10

    def __post_init__(self) -> None:
        # Iterated more than once: by `Routes.check_gates`, and then by `Routes.cutover`.
        queries: object = self.queries
        if isinstance(queries, Mapping):
            queries = {label: _kept(vectors) for label, vectors in queries.items()}
        object.__setattr__(self, "queries", queries)
        object.__setattr__(self, "judgments", _kept(self.judgments))


def _kept(values: object) -> object:
    return drawn_copies(values) if isinstance(values, Iterator) else values


@dataclass(frozen=True, slots=True)
class Gates:
    """Bounds that a version must meet to serve alone; None for no bound. Shares are 0 to 1.

    A gate with nothing to measure does not pass, whatever its bound: a tenant without documents, a
    version without rows, no counted traffic, judged queries that find nothing.

    Attributes
    ----------
    coverage : float
        Least share of live documents with fresh vectors. In a collection with documents, the
        version must be able to return at least one, even if the bound is 0.
    traffic_coverage : float or None
        Least share of hits on documents with fresh vectors.
    stale : float or None
        Greatest share of live documents whose vectors are all of an older revision.
    dead_letters : int or None
        Greatest number of documents that could not be embedded; at least 0.
    recall : float or None
        Least recall at 10 of graph searches against exact ones, with stored vectors as queries.
    quality : Judged or None
        The version must not be worse than the serving one, with statistical significance: at least
        five queries must find a document that was judged good.
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
    """Return the result of a gate for which any evidence is enough."""
    return GateResult(
        name, measured, required, evidence, at_most, detail, unit, conclusive=evidence > 0
    )


def coverage_gate(
    coverage: Coverage, *, required: float, returnable: int, is_empty: bool
) -> GateResult:
    """Compare coverage with the required one.

    Parameters
    ----------
    returnable : int
        Live documents with rows that a search may return, stale ones where those are served.
    is_empty : bool
        Whether the whole collection has no document.
    """
    detail = f"{coverage.fresh:,} of {coverage.live:,} documents"
    if coverage.live and not returnable:  # a version that finds nothing does not pass even at 0
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
    """Compare the difference in judged quality with the margin.

    The lower end of the difference's confidence interval must not be below minus the margin, so too
    few judged queries do not pass. Queries whose judged documents neither version finds are no
    evidence, however many.
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
        conclusive=test.passed or test.low < -test.margin,  # the latter fails by its measurement
    )
