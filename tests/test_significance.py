"""Paired tests: shown where it is so, not where it is luck, and the same for the same seed."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vstore.errors import InvalidArgumentError
from vstore.evaluation.significance import better_than, not_worse

FALSE_ALARMS_MAX = 0.08  # of 400 tests at alpha 0.05: nearly three standard errors above it
COVERED_MIN = 0.90  # of 200 intervals at 95 %


def queries(count: int, *, better_by: float = 0.0, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Return two measures whose queries differ far more from each other than the systems do."""
    rng = np.random.default_rng(seed)
    difficulty = rng.uniform(0.1, 0.9, count)
    noise = rng.normal(0, 0.05, (2, count))
    return difficulty + noise[0], difficulty + noise[1] + better_by


def test_a_small_difference_shows_although_queries_differ_much() -> None:
    found = not_worse(*queries(300, better_by=0.02), margin=0.0)
    assert found.passed
    assert found.low > 0
    assert found.difference == pytest.approx(0.02, abs=0.01)


def test_the_other_direction_does_not_pass() -> None:
    new, old = queries(300, better_by=0.02)
    found = not_worse(old, new, margin=0.0)
    assert not found.passed
    assert found.p_value > 0.99
    assert found.high < 0


def test_slightly_worse_passes_with_a_margin_above_it_only() -> None:
    old, new = queries(300, better_by=-0.01, seed=1)
    assert not_worse(old, new, margin=0.03).passed
    assert not not_worse(old, new, margin=0.0).passed


def test_equal_systems_pass_with_a_margin_and_not_without() -> None:
    old, _ = queries(50)
    assert not_worse(old, old, margin=0.01).passed
    without = not_worse(old, old, margin=0.0)
    assert without.p_value == 1
    assert (without.difference, without.low, without.high) == (0, 0, 0)


def test_too_few_queries_show_nothing() -> None:
    assert not_worse([0.1] * 4, [0.9] * 4, margin=0.0).p_value == 1 / 16
    assert not not_worse([0.1] * 4, [0.9] * 4, margin=0.0).passed


@given(st.lists(st.integers(-5, 5), min_size=2, max_size=7), st.integers(0, 3))
def test_few_queries_are_counted_exactly(differences: list[int], margin: int) -> None:
    shifted = [difference + margin for difference in differences]
    patterns = list(itertools.product((1, -1), repeat=len(shifted)))
    as_good = sum(
        sum(sign * value for sign, value in zip(pattern, shifted, strict=True)) >= sum(shifted)
        for pattern in patterns
    )
    found = not_worse(np.zeros(len(shifted)), differences, margin=margin, resamples=50)
    assert found.p_value == as_good / len(patterns)


def test_drawn_patterns_agree_with_counted_ones() -> None:
    old, new = queries(13, better_by=0.015, seed=1)
    counted = not_worse(old, new, margin=0.0).p_value
    # Differences of 0 change no sum, and take it past what is counted.
    drawn = not_worse([*old, 0.0], [*new, 0.0], margin=0.0, resamples=40_000).p_value
    assert 0.01 < counted < 0.03
    assert drawn == pytest.approx(counted, abs=0.005)


def test_false_alarms_are_as_rare_as_alpha_says() -> None:
    alarms = [
        not_worse(*queries(40, seed=seed), margin=0.0, resamples=200, seed=seed).passed
        for seed in range(400)
    ]
    assert 0 < np.mean(alarms) <= FALSE_ALARMS_MAX


def test_intervals_hold_what_they_say() -> None:
    held = []
    for seed in range(200):
        values = np.random.default_rng(seed).normal(0.3, 0.1, 40)
        found = not_worse(np.zeros(40), values, margin=0.0, alpha=0.025, resamples=200, seed=seed)
        held.append(found.low <= 0.3 <= found.high)
    assert np.mean(held) >= COVERED_MIN


def test_of_several_contenders_the_better_one_is_found() -> None:
    old, new = queries(200, better_by=0.02)
    tests = better_than(old, {"better": new, "equal": old, "worse": old - 0.1})
    assert [name for name, test in tests.items() if test.passed] == ["better"]
    assert tests["better"].difference == pytest.approx(float((new - old).mean()))
    assert tests["equal"].p_value > 0.5
    assert tests["worse"].p_value == pytest.approx(1)
    assert better_than(old, {}) == {}


def test_one_contender_is_tested_as_by_itself() -> None:
    old, new = queries(12, better_by=0.02, seed=3)
    alone = better_than(old, {"new": new})["new"]
    assert alone.p_value == not_worse(old, new, margin=0.0).p_value


def test_many_contenders_need_more_evidence_and_copies_do_not() -> None:
    old, new = queries(100, better_by=0.012, seed=2)
    alone = better_than(old, {"new": new})["new"].p_value
    copies = better_than(old, {"new": new, **{str(i): new for i in range(20)}})["new"].p_value
    others = {
        str(i): queries(100, seed=50 + i)[1] - queries(100, seed=50 + i)[0] for i in range(20)
    }
    crowd = better_than(old, {"new": new, **{name: old + d for name, d in others.items()}})["new"]
    assert copies == pytest.approx(alone, abs=0.01)
    assert crowd.p_value > 3 * alone


def test_luck_among_many_contenders_is_as_rare_as_alpha_says() -> None:
    alarms = []
    for seed in range(200):
        rng = np.random.default_rng(seed)
        tries = {str(i): rng.normal(size=30) for i in range(8)}
        found = better_than(np.zeros(30), tries, resamples=200, seed=seed)
        alarms.append(any(test.passed for test in found.values()))
    assert 0 < np.mean(alarms) <= 0.1  # of 200 at 5 %: three standard errors above it


def test_the_same_seed_gives_the_same_figures() -> None:
    old, new = queries(60, better_by=0.01)
    assert not_worse(old, new, margin=0.0, seed=3) == not_worse(old, new, margin=0.0, seed=3)
    assert not_worse(old, new, margin=0.0, seed=3) != not_worse(old, new, margin=0.0, seed=4)


def test_it_says_what_it_found() -> None:
    text = str(not_worse(*queries(300, better_by=0.02), margin=0.005))
    assert "over 300 queries" in text
    assert "not worse by 0.005" in text
    assert text.endswith("passed")


@pytest.mark.parametrize(
    ("old", "new", "options", "message"),
    [
        ([0.1], [0.2], {}, "1 queries"),
        ([0.1, 0.2], [0.2], {}, "shapes"),
        ([[0.1, 0.2]], [[0.2, 0.1]], {}, "shapes"),
        ([0.1, float("nan")], [0.2, 0.1], {}, "NaN"),
        ([0.1, 0.2], [0.2, float("inf")], {}, "infinite"),
        ([0.1, 0.2], [0.2, 0.1], {"margin": -0.1}, "margin"),
        ([0.1, 0.2], [0.2, 0.1], {"margin": float("nan")}, "margin"),
        ([0.1, 0.2], [0.2, 0.1], {"alpha": 0.0}, "alpha"),
        ([0.1, 0.2], [0.2, 0.1], {"resamples": 0}, "resamples"),
    ],
)
def test_what_cannot_be_tested_is_refused(
    old: list[float], new: list[float], options: dict[str, float], message: str
) -> None:
    with pytest.raises(InvalidArgumentError, match=message):
        not_worse(old, new, **{"margin": 0.0, **options})  # type: ignore[arg-type]
