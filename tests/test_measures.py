"""Quality measures against values worked out by hand."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vstore.errors import InvalidArgumentError
from vstore.evaluation.measures import (
    ScoredIds,
    mean_ndcg_at_k,
    mean_recall_at_k,
    ndcg_at_k,
    recall_against_exact,
    recall_at_k,
)

GRADED = {"a": 3, "b": 2, "c": 1, "d": 0, "e": -1}
IDEAL_3 = 3 + 2 / math.log2(3) + 1 / 2  # log2(1 + rank): 1, log2 3, 2
EXACT = ScoredIds(["a", "b", "c", "d"], [0.9, 0.8, 0.7, 0.7])


def test_ndcg_has_linear_gains_and_a_logarithmic_discount() -> None:
    assert ndcg_at_k(["c", "x", "a"], GRADED, k=3) == pytest.approx((1 + 3 / 2) / IDEAL_3)
    assert ndcg_at_k(["x", "b"], GRADED, k=10) == pytest.approx((2 / math.log2(3)) / IDEAL_3)


def test_ndcg_of_one_relevant_document_by_its_rank() -> None:
    answer = ["w", "x", "y", "hit"]
    assert ndcg_at_k(answer, {"hit": 1}, k=4) == pytest.approx(1 / math.log2(5))
    assert ndcg_at_k(answer, {"hit": 1}, k=3) == 0


def test_ndcg_ideal_is_cut_at_k() -> None:
    assert ndcg_at_k(["a"], GRADED, k=1) == 1
    assert ndcg_at_k(["b"], GRADED, k=1) == pytest.approx(2 / 3)


def test_ndcg_ignores_what_is_judged_at_most_zero() -> None:
    assert ndcg_at_k(["d", "e"], GRADED, k=2) == 0
    assert ndcg_at_k(["a", "b", "c", "e"], GRADED, k=4) == 1


@given(
    st.lists(st.integers(0, 12), unique=True),
    st.dictionaries(st.integers(0, 12), st.integers(1, 4), min_size=1),
    st.integers(1, 15),
)
def test_ndcg_lies_between_nothing_and_the_ideal(
    ranked: list[int], judgments: dict[int, int], k: int
) -> None:
    assert 0 <= ndcg_at_k(ranked, judgments, k=k) <= 1 + 1e-12
    ideal = sorted(judgments, key=lambda document: -judgments[document])
    assert ndcg_at_k(ideal, judgments, k=k) == pytest.approx(1)


def test_recall_is_of_all_relevant_documents() -> None:
    assert recall_at_k(["a", "x", "b"], {"a", "b", "c"}, k=3) == pytest.approx(2 / 3)
    assert recall_at_k(["a", "x", "b"], {"a", "b", "c"}, k=2) == pytest.approx(1 / 3)
    assert recall_at_k(["a", "b"], ["a", "b", "c"], k=2) == pytest.approx(2 / 3)


def test_recall_against_exact_counts_ids() -> None:
    assert recall_against_exact(ScoredIds(["a", "x"], [0.9, 0.1]), EXACT, k=2) == 0.5
    assert recall_against_exact(EXACT, EXACT, k=4) == 1


def test_recall_against_exact_counts_ties_of_the_kth_best() -> None:
    found = ScoredIds(["a", "b", "d"], [0.9, 0.8, 0.7])
    assert recall_against_exact(found, EXACT, k=3) == 1
    lower = ScoredIds(["a", "b", "x"], [0.9, 0.8, 0.69])
    assert recall_against_exact(lower, EXACT, k=3) == pytest.approx(2 / 3)
    assert recall_against_exact(lower, EXACT, k=3, tolerance=0.02) == 1


def test_recall_against_exact_of_the_same_ids_needs_no_equal_scores() -> None:
    rounded = ScoredIds(["a", "b"], [0.8999, 0.7999])
    assert recall_against_exact(rounded, EXACT, k=2) == 1


def test_recall_against_a_complete_short_answer_counts_only_its_ids() -> None:
    found = ScoredIds(["a", "x", "b"], [0.9, 0.9, 0.8])
    assert recall_against_exact(found, EXACT, k=10) == 0.5


def test_recall_against_an_empty_exact_answer_is_complete() -> None:
    nothing = ScoredIds([], [])
    assert recall_against_exact(nothing, nothing, k=3) == 1
    assert recall_against_exact(nothing, EXACT, k=3) == 0


def test_means_leave_out_queries_with_nothing_to_find() -> None:
    ranked = [["a"], ["x"], ["a"]]
    assert mean_ndcg_at_k(ranked, [{"a": 1}, {"a": 1}, {"a": 0}], k=1) == 0.5
    assert mean_recall_at_k(ranked, [{"a"}, {"a"}, set()], k=1) == 0.5


def test_nothing_to_find_is_refused() -> None:
    with pytest.raises(InvalidArgumentError, match="nothing to find"):
        ndcg_at_k(["a"], {"a": 0}, k=1)
    with pytest.raises(InvalidArgumentError, match="nothing to find"):
        recall_at_k(["a"], set(), k=1)
    with pytest.raises(InvalidArgumentError, match="no query"):
        mean_ndcg_at_k([["a"]], [{}], k=1)


def test_repeated_ids_and_empty_cuts_are_refused() -> None:
    with pytest.raises(InvalidArgumentError, match="twice"):
        ndcg_at_k(["a", "a"], {"a": 1}, k=2)
    with pytest.raises(InvalidArgumentError, match="k=0"):
        recall_at_k(["a"], {"a"}, k=0)
    with pytest.raises(InvalidArgumentError, match="2 ids but 1 scores"):
        recall_against_exact(ScoredIds(["a", "b"], [1.0]), EXACT, k=2)
