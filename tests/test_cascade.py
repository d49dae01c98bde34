"""Cascade: candidates of the old version, rescored by the new one where it can."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vstore.errors import InvalidArgumentError
from vstore.query.fusion.cascade import cascade
from vstore.query.ranking import FusedHit, Ranking

CANDIDATES_MAX = 20


def ranking(scores: list[int]) -> Ranking:
    ordered = np.array(sorted(scores, reverse=True), np.float64)
    return Ranking(np.arange(len(scores)), ordered)


lists = st.lists(st.integers(-9, 9), max_size=CANDIDATES_MAX).map(ranking)


@given(lists, st.integers(1, CANDIDATES_MAX))
def test_nothing_migrated_is_the_old_ranking(old: Ranking, k: int) -> None:
    fused = cascade(old, np.zeros(len(old), bool), np.zeros(0), k=k)
    expected = [
        FusedHit(*hit, 0) for hit in zip(old.keys.tolist(), old.scores.tolist(), strict=True)
    ]
    assert fused == expected[:k]


@given(lists, st.data())
def test_unmigrated_candidates_keep_their_places(old: Ranking, data: st.DataObject) -> None:
    count = len(old)
    migrated = np.array(data.draw(st.lists(st.booleans(), min_size=count, max_size=count)), bool)
    moved = int(migrated.sum())
    scores = np.array(
        data.draw(st.lists(st.integers(-9, 9), min_size=moved, max_size=moved)), float
    )
    fused = cascade(old, migrated, scores, k=CANDIDATES_MAX)
    assert sorted(hit.key for hit in fused) == old.keys.tolist()
    for place, (hit, is_moved) in enumerate(zip(fused, migrated.tolist(), strict=True)):
        assert hit.source == int(is_moved)
        assert is_moved or hit.key == place


def test_both_versions_order_what_is_migrated() -> None:
    old = Ranking(np.arange(5), np.array([5.0, 4, 3, 2, 1]))
    new_scores = np.array([0.1, 0.9, 0.2])  # of 0, 2 and 4
    fused = cascade(old, np.array([True, False, True, False, True]), new_scores, k=5)
    assert [hit.key for hit in fused] == [2, 1, 0, 3, 4]
    alone = cascade(
        old, np.array([True, False, True, False, True]), new_scores, k=5, new_weight=1e6
    )
    assert [hit.key for hit in alone] == [2, 1, 4, 3, 0]
    assert [hit.score for hit in alone] == [0.9, 4, 0.2, 2, 0.1]


def test_everything_migrated_and_only_the_new_version_asked_is_its_order() -> None:
    old = Ranking(np.arange(30), np.arange(30, 0, -1, dtype=np.float64))
    new_scores = np.random.default_rng(0).random(30)
    fused = cascade(old, np.ones(30, bool), new_scores, k=30, new_weight=1e9)
    assert [hit.key for hit in fused] == np.argsort(-new_scores).tolist()


def test_scores_that_are_not_one_for_each_are_refused() -> None:
    old = Ranking(np.arange(3), np.array([3.0, 2, 1]))
    with pytest.raises(InvalidArgumentError, match=r"2 scores .* 1 migrated"):
        cascade(old, np.array([True, False, False]), np.zeros(2), k=3)
