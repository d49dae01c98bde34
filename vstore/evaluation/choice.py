"""Choosing a fusion rule by what it is worth on judged queries, at the coverage of the day.

No rule is best for all pairs of models, and which one is shows in judgments only: where two
versions disagree, nothing but a judgment says which is right. People's clicks will do.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeVar

from vstore.errors import InvalidArgumentError
from vstore.evaluation.measures import ndcg_at_k
from vstore.evaluation.significance import ALPHA, QUERIES_MIN, PairedTest, better_than
from vstore.fusions import DEFAULT_FUSION

if TYPE_CHECKING:
    from collections.abc import Hashable, Mapping, Sequence

Id = TypeVar("Id", bound="Hashable")

K: Final = 10


@dataclass(frozen=True, slots=True)
class MeasuredRule:
    """One rule's worth.

    Attributes
    ----------
    rule : str
    ndcg : float
        Mean nDCG@k.
    against_default : PairedTest
        The default rule is its ``old``; its p-value allows for the number of rules tried.
    """

    rule: str
    ndcg: float
    against_default: PairedTest

    @property
    def better(self) -> bool:
        """Whether it is shown to be better than the default rule."""
        return self.against_default.passed


@dataclass(frozen=True, slots=True)
class RuleChoice:
    """What was measured, and chosen.

    Attributes
    ----------
    rule : str
        The rule to use.
    default : str
    default_ndcg : float
    measured : tuple of MeasuredRule
        All others, best first.
    queries : int
        Those with something to find.
    found : int
        Those for which a rule found something of it; the others tell nothing.
    k : int
    coverage : float
        At which it was measured; the choice is good near it.
    """

    rule: str
    default: str
    default_ndcg: float
    measured: tuple[MeasuredRule, ...]
    queries: int
    found: int
    k: int
    coverage: float

    @property
    def reason(self) -> str:
        """Why this rule, in one line."""
        where = (
            f"nDCG@{self.k} over {self.queries:,} judged queries, {self.found:,} of which find a "
            f"judged document, at {self.coverage:.1%} coverage"
        )
        for one in self.measured:
            if one.rule == self.rule:
                return (
                    f"{self.rule} {one.ndcg:.4f}, {self.default} {self.default_ndcg:.4f} (p "
                    f"{one.against_default.p_value:.4f}): {where}"
                )
        return f"{self.default} {self.default_ndcg:.4f}, and no rule is shown to be better: {where}"


def choose_fusion(
    answers: Mapping[str, Sequence[Sequence[Id]]],
    judgments: Sequence[Mapping[Id, float]],
    *,
    coverage: float,
    default: str = DEFAULT_FUSION,
    k: int = K,
    alpha: float = ALPHA,
    seed: int = 0,
) -> RuleChoice:
    """Measure rules on judged queries, and choose.

    The default stands unless another rule is shown to be better, by `better_than`: trying many
    rules does not make luck look like merit. Of those shown to be better the one with the largest
    mean is chosen.

    Parameters
    ----------
    answers : mapping of rule to answers
        Each rule's ranked ids, one list per query, all at the same coverage.
    judgments : sequence of mapping of id to gain
        One per query; what people clicked has gain 1, and favours the rule whose answers they
        were shown. Queries without a gain above 0 are left out.
    coverage : float
        Recorded with the choice.
    default : str
        One of the rules.
    k, alpha, seed
        Of nDCG@k and `better_than`.

    Raises
    ------
    InvalidArgumentError
        If the default has no answers, a rule's answers are not one per query, fewer than two
        queries have anything to find, or no rule finds any of it.
    """
    if default not in answers:
        raise InvalidArgumentError(
            f"fusion: no answers of the default {default!r}; found {', '.join(answers) or 'none'}"
        )
    for rule, given in answers.items():
        if len(given) != len(judgments):
            raise InvalidArgumentError(
                f"fusion: {len(given):,} answers of {rule!r}; expected one for each of the "
                f"{len(judgments):,} judged queries"
            )
    judged = [i for i, gains in enumerate(judgments) if any(gain > 0 for gain in gains.values())]
    if len(judged) < QUERIES_MIN:
        raise InvalidArgumentError(
            f"fusion: {len(judged)} of {len(judgments):,} queries have a gain above 0; expected at "
            f"least {QUERIES_MIN}, and some hundreds to see small differences"
        )
    values = {
        rule: [ndcg_at_k(given[i], judgments[i], k=k) for i in judged]
        for rule, given in answers.items()
    }
    found = sum(any(per_query) for per_query in zip(*values.values(), strict=True))
    if not found:
        raise InvalidArgumentError(
            f"fusion: no rule finds a document that was judged good, for none of {len(judged):,} "
            "queries, so that nothing was measured; do the judgments name the answers' documents?"
        )
    others = {rule: given for rule, given in values.items() if rule != default}
    tests = better_than(values[default], others, alpha=alpha, seed=seed)
    measured = [MeasuredRule(rule, test.new_mean, test) for rule, test in tests.items()]
    measured.sort(key=lambda one: -one.ndcg)
    return RuleChoice(
        rule=next((one.rule for one in measured if one.better), default),
        default=default,
        default_ndcg=sum(values[default]) / len(judged),
        measured=tuple(measured),
        queries=len(judged),
        found=found,
        k=k,
        coverage=coverage,
    )
