"""Choosing a rule: the default, unless another one is shown to be better."""

from __future__ import annotations

import numpy as np
import pytest

from vstore.errors import InvalidArgumentError
from vstore.evaluation.choice import choose_fusion

QUERIES = 120
RELEVANT = 0  # of every query
JUDGED = [{RELEVANT: 1.0}] * QUERIES


def answers(*, good_share: float, seed: int) -> list[list[int]]:
    """Return answers that have the relevant document first, or fifth."""
    good = np.random.default_rng(seed).random(QUERIES) < good_share
    return [[RELEVANT, 1, 2, 3, 4] if one else [1, 2, 3, 4, RELEVANT] for one in good]


def test_a_rule_that_is_clearly_better_is_chosen() -> None:
    given = {
        "slots": answers(good_share=0.3, seed=0),
        "evidence": answers(good_share=0.9, seed=1),
        "rrf": answers(good_share=0.6, seed=2),
    }
    choice = choose_fusion(given, JUDGED, coverage=0.4)
    assert choice.rule == "evidence"
    assert [one.rule for one in choice.measured] == ["evidence", "rrf"]
    assert choice.measured[0].ndcg > choice.measured[1].ndcg > choice.default_ndcg
    assert (choice.coverage, choice.queries, choice.k) == (0.4, QUERIES, 10)
    assert "evidence" in choice.reason
    assert "40.0% coverage" in choice.reason


def test_a_rule_that_is_better_by_luck_is_not_chosen() -> None:
    given = {
        "slots": answers(good_share=0.5, seed=0),
        "evidence": answers(good_share=0.55, seed=3),
    }
    choice = choose_fusion(given, JUDGED, coverage=0.4)
    assert choice.rule == "slots"
    assert not choice.measured[0].better
    assert "no rule is shown to be better" in choice.reason


def test_many_rules_that_are_equally_good_do_not_make_one_look_better() -> None:
    wrong = 0
    for seed in range(12):
        given = {f"rule {i}": answers(good_share=0.5, seed=100 * seed + i) for i in range(8)}
        wrong += choose_fusion(given, JUDGED, coverage=0.5, default="rule 0").rule != "rule 0"
    assert wrong <= 3  # 5 % expected, of 12; without the correction about a third


def test_the_worst_default_is_kept_where_it_is_alone() -> None:
    choice = choose_fusion({"slots": answers(good_share=0.1, seed=0)}, JUDGED, coverage=0.5)
    assert choice.rule == "slots"
    assert choice.measured == ()


def test_queries_without_judgments_are_left_out() -> None:
    given = {"slots": [[1], [2], [3]], "evidence": [[1], [2], [3]]}
    choice = choose_fusion(given, [{1: 1}, {}, {3: 2}], coverage=0.5)
    assert choice.queries == 2
    assert choice.default_ndcg == 1


@pytest.mark.parametrize(
    ("given", "judged", "message"),
    [
        ({"rrf": [[1], [2]]}, [{1: 1}, {2: 1}], "no answers of the default 'slots'"),
        ({"slots": [[1]]}, [{1: 1}, {2: 1}], "1 answers of 'slots'"),
        ({"slots": [[1], [2]]}, [{1: 1}, {2: 0}], "1 of 2 queries"),
    ],
)
def test_what_cannot_be_measured_is_refused(
    given: dict[str, list[list[int]]], judged: list[dict[int, float]], message: str
) -> None:
    with pytest.raises(InvalidArgumentError, match=message):
        choose_fusion(given, judged, coverage=0.5)
