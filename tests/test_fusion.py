"""Fusion rules: exact at both ends of a backfill, no document twice, and values by hand."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.quality.score_sums import dbsf, min_max, zscore
from vstore.errors import InvalidArgumentError
from vstore.query.fusion.reciprocal_rank import rrf
from vstore.query.fusion.slots import Candidates, slots, slots_by_evidence
from vstore.query.ranking import FusedHit, Ranking

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from vstore.types import Array, BoolArray, IntArray

SYMMETRIC = [rrf, zscore, dbsf, min_max]
DEPTH = 50
DOCUMENTS_MAX = 25


def ranking(*keys: int, scores: Sequence[float] | None = None) -> Ranking:
    """Return a list in the given order; scores fall from the length of the list to 1."""
    fallen = np.arange(len(keys), 0, -1) if scores is None else np.array(scores)
    return Ranking(np.array(keys, np.int64), fallen.astype(np.float64))


def keys_of(fused: Sequence[FusedHit]) -> list[int]:
    return [hit.key for hit in fused]


def best(scores: Array, documents: IntArray, count: int) -> Ranking:
    order = documents[np.lexsort((documents, -scores[documents]))][:count]
    return Ranking(order, scores[order])


@dataclass(frozen=True)
class Backfill:
    """Documents 0..m-1 in the middle of a backfill, with their scores for one query.

    ``state`` says of each: 0 old row only, 1 migrated, 2 new row only.
    """

    old_scores: Array
    new_scores: Array
    state: IntArray
    k: int

    @property
    def has_old(self) -> IntArray:
        return np.flatnonzero(self.state != 2)

    @property
    def has_new(self) -> IntArray:
        return np.flatnonzero(self.state != 0)

    @property
    def new_only(self) -> list[int]:
        return [int(key) for key in np.flatnonzero(self.state == 2)]

    @property
    def new_only_share(self) -> float:
        return len(self.new_only) / max(1, int((self.state != 1).sum()))

    def old(self, count: int | None = None) -> Ranking:
        return best(self.old_scores, self.has_old, self.k if count is None else count)

    def new(self, count: int | None = None) -> Ranking:
        return best(self.new_scores, self.has_new, self.k if count is None else count)

    def migrated(self, old: Ranking) -> BoolArray:
        return np.asarray(self.state[old.keys] == 1)

    def slots(self, count: int | None = None) -> list[FusedHit]:
        old = self.old(count)
        return slots(
            old,
            self.new(count),
            self.migrated(old),
            k=self.k,
            new_only=self.new_only,
            new_only_share=self.new_only_share,
        )

    def by_evidence(self) -> list[FusedHit]:
        old, new = self.old(), self.new(max(self.k, DEPTH))
        both = np.flatnonzero(self.state == 1)
        return slots_by_evidence(
            old,
            self.migrated(old),
            Candidates(both, self.old_scores[both], self.new_scores[both]),
            k=self.k,
            depth=DEPTH,
            new=new,
            new_only=self.new_only,
            new_only_share=self.new_only_share,
        )

    def disjoint(self) -> tuple[Ranking, Ranking]:
        old = self.old(DOCUMENTS_MAX)
        return old.where(~self.migrated(old)), self.new(DOCUMENTS_MAX)


@st.composite
def backfills(draw: st.DrawFn, states: Sequence[int] = (0, 1, 2)) -> Backfill:
    state = draw(st.lists(st.sampled_from(states), max_size=DOCUMENTS_MAX))
    # Few distinct scores, so that there are ties.
    scores = st.lists(st.integers(-9, 9), min_size=len(state), max_size=len(state))
    return Backfill(
        np.array(draw(scores), np.float64),
        np.array(draw(scores), np.float64) / 8,
        np.array(state, np.int64),
        draw(st.integers(1, DOCUMENTS_MAX + 5)),
    )


rankings = st.lists(st.integers(0, 15), unique=True, max_size=12).flatmap(
    lambda keys: st.lists(st.integers(-9, 9), min_size=len(keys), max_size=len(keys)).map(
        lambda scores: ranking(*keys, scores=sorted(scores, reverse=True))
    )
)


# Dual read: both ends


@given(backfills(states=(0,)))
def test_slots_by_either_rule_are_the_old_ranking_before_anything_is_migrated(
    backfill: Backfill,
) -> None:
    old = backfill.old()
    expected = [FusedHit(*hit, 0) for hit in zip(old.keys, old.scores, strict=True)]
    assert backfill.slots() == expected
    assert backfill.by_evidence() == expected


@given(backfills(states=(1, 2)))
def test_slots_is_the_new_ranking_after_everything_is_migrated(backfill: Backfill) -> None:
    new = backfill.new()
    assert backfill.slots() == [FusedHit(*hit, 1) for hit in zip(new.keys, new.scores, strict=True)]


@pytest.mark.parametrize("rule", SYMMETRIC)
@given(backfills(states=(0,)), backfills(states=(1, 2)))
def test_symmetric_rules_over_disjoint_lists_are_exact_at_both_ends(
    rule: Callable[..., list[FusedHit]], before: Backfill, after: Backfill
) -> None:
    assert keys_of(rule(before.disjoint(), k=before.k)) == before.old().keys.tolist()
    assert keys_of(rule(after.disjoint(), k=after.k)) == after.new().keys.tolist()


# Dual read: on the way


@given(backfills())
def test_dual_reads_fill_k_and_return_no_document_twice(backfill: Backfill) -> None:
    for fused in (backfill.slots(), backfill.by_evidence()):
        keys = keys_of(fused)
        assert len(set(keys)) == len(keys) == min(backfill.k, len(backfill.state))
        assert all(hit.source == (backfill.state[hit.key] != 0) for hit in fused), (
            "a document was not answered by its newest version"
        )
        for hit in fused:
            scores = (backfill.old_scores, backfill.new_scores)[hit.source]
            assert hit.score == scores[hit.key]


@given(backfills(states=(0, 1)))
def test_unmigrated_documents_keep_their_places(backfill: Backfill) -> None:
    old = backfill.old()
    for fused in (backfill.slots(), backfill.by_evidence()):
        for was, hit in zip(old.keys.tolist(), fused, strict=True):
            assert hit.source == backfill.state[was]
            assert hit.source == 1 or hit.key == was


@given(backfills(states=(0, 1)))
def test_migrated_documents_come_in_new_order(backfill: Backfill) -> None:
    answered = [hit.key for hit in backfill.slots() if hit.source == 1]
    assert answered == backfill.new().keys.tolist()[: len(answered)]


@given(backfills())
def test_the_top_k_of_each_version_is_all_that_slots_needs(backfill: Backfill) -> None:
    assert backfill.slots(count=DOCUMENTS_MAX) == backfill.slots()


@given(backfills())
def test_every_document_is_reachable_by_a_larger_k(backfill: Backfill) -> None:
    everything = Backfill(
        backfill.old_scores, backfill.new_scores, backfill.state, max(len(backfill.state), 1)
    )
    assert sorted(keys_of(everything.slots())) == list(range(len(backfill.state)))
    assert sorted(keys_of(everything.by_evidence())) == list(range(len(backfill.state)))


@given(backfills())
def test_the_order_in_which_candidates_come_does_not_matter(backfill: Backfill) -> None:
    both = np.flatnonzero(backfill.state == 1)[::-1]
    old = backfill.old()
    reversed_candidates = slots_by_evidence(
        old,
        backfill.migrated(old),
        Candidates(both, backfill.old_scores[both], backfill.new_scores[both]),
        k=backfill.k,
        depth=DEPTH,
        new=backfill.new(max(backfill.k, DEPTH)),
        new_only=backfill.new_only,
        new_only_share=backfill.new_only_share,
    )
    assert reversed_candidates == backfill.by_evidence()


def test_slots_by_hand() -> None:
    old = ranking(1, 2, 3, 4, 5)
    migrated = np.array([False, True, False, True, True])
    fused = slots(old, ranking(5, 9, 2, 4), migrated, k=5)
    assert fused == [
        FusedHit(1, 5.0, 0),
        FusedHit(5, 4.0, 1),
        FusedHit(3, 3.0, 0),
        FusedHit(9, 3.0, 1),  # migrated, and not among the old top 5
        FusedHit(2, 2.0, 1),
    ]


def test_slots_by_evidence_by_hand() -> None:
    # Standard scores of 1, 2, 3: old 1.22, 0, -1.22; new -1.34, 1.07, 0.27.
    # So old + 2 * new is -1.45, 2.14, -0.69.
    candidates = Candidates(
        np.array([1, 2, 3]), np.array([30.0, 20.0, 10.0]), np.array([0.0, 0.3, 0.2])
    )
    old = ranking(1, 7, 2, 3)
    fused = slots_by_evidence(
        old, np.array([True, False, True, True]), candidates, k=4, depth=DEPTH
    )
    assert fused == [
        FusedHit(2, 0.3, 1),
        FusedHit(7, 3.0, 0),
        FusedHit(3, 0.2, 1),
        FusedHit(1, 0.0, 1),
    ]


def test_slots_by_evidence_standardises_over_the_best_of_each_version() -> None:
    # Over the two best of each, old gives 1: 1, 2: -1, 3: -19 and new gives 2: 1, 3: -1, 1: -5.
    candidates = Candidates(
        np.array([1, 2, 3]), np.array([30.0, 28.0, 10.0]), np.array([0.0, 0.6, 0.4])
    )
    old = ranking(3, 1, 2)
    fused = slots_by_evidence(old, np.ones(3, np.bool_), candidates, k=3, depth=2)
    assert keys_of(fused) == [2, 1, 3]


# Documents that live only in the new version


def test_new_only_documents_stand_before_the_migrated_one_that_follows_them() -> None:
    old = ranking(1, 2, 3, 4)
    migrated = np.array([False, True, False, True])
    new = ranking(50, 4, 51, 52, 2, 53)
    fused = slots(old, new, migrated, k=8, new_only=[50, 51, 52, 53])
    assert keys_of(fused) == [1, 50, 4, 3, 51, 52, 2, 53]
    assert [hit.source for hit in fused] == [0, 1, 1, 0, 1, 1, 1, 1]
    assert keys_of(slots(old, new, migrated, k=3, new_only=[50, 51, 52, 53])) == [1, 50, 4]


def test_slots_by_evidence_places_new_only_documents_by_their_new_neighbours() -> None:
    old = ranking(1, 2, 3)
    candidates = Candidates(np.array([2, 3]), np.array([9.0, 1.0]), np.array([0.3, 0.2]))
    fused = slots_by_evidence(
        old,
        np.array([False, True, True]),
        candidates,
        k=6,
        depth=DEPTH,
        new=ranking(2, 50, 3, 51, scores=[0.3, 0.25, 0.2, 0.1]),
        new_only=[50, 51],
    )
    assert fused == [
        FusedHit(1, 3.0, 0),
        FusedHit(2, 0.3, 1),
        FusedHit(50, 0.25, 1),
        FusedHit(3, 0.2, 1),
        FusedHit(51, 0.1, 1),
    ]


@pytest.mark.parametrize("k", range(1, 31))
def test_new_only_documents_without_a_slot_get_one_place_in_ten(k: int) -> None:
    old, new = ranking(*range(100)), ranking(*range(200, 220))
    fused = slots(old, new, np.zeros(100, np.bool_), k=k, new_only=range(200, 220))
    alone = [place for place, hit in enumerate(fused, 1) if hit.source == 1]
    expected = [10, 20, 30][: k // 10] if k >= 10 else [k][: k - 1]
    assert alone == expected
    assert [hit.key for hit in fused if hit.source == 0] == list(range(k - len(alone)))


@pytest.mark.parametrize(
    ("share", "sources"), [(0.25, "00010001"), (0.5, "01010101"), (0.75, "01110111")]
)
def test_new_only_documents_without_a_slot_get_their_share(share: float, sources: str) -> None:
    old, new, nobody = ranking(*range(8)), ranking(*range(20, 28)), np.zeros(8, np.bool_)
    fused = slots(old, new, nobody, k=8, new_only=range(20, 28), new_only_share=share)
    assert "".join(str(hit.source) for hit in fused) == sources


def test_new_only_documents_before_a_migrated_one_out_of_sight_are_reachable() -> None:
    old, migrated = ranking(*range(20)), np.arange(20) == 19
    fused = slots(old, ranking(50, 19, 51), migrated, k=10, new_only=[50, 51])
    assert keys_of(fused) == [*range(9), 50]


def test_new_only_documents_do_not_pass_the_last_slot() -> None:
    old = ranking(*range(20))
    fused = slots(old, ranking(11, 50), np.arange(20) == 11, k=15, new_only=[50])
    assert keys_of(fused) == [*range(15)], "place 10 is before the slot of document 11"


# Degenerate lists


def test_a_new_list_that_came_short_leaves_slots_to_the_old_documents() -> None:
    old = ranking(1, 2, 3, 4)
    migrated = np.array([True, True, False, True])
    assert slots(old, ranking(4), migrated, k=4) == [
        FusedHit(4, 1.0, 1),
        FusedHit(1, 4.0, 0),
        FusedHit(3, 2.0, 0),
        FusedHit(2, 3.0, 0),
    ]


def test_new_documents_follow_an_old_list_that_is_shorter_than_k() -> None:
    fused = slots(ranking(1), ranking(2, 3), np.array([False]), k=5)
    assert keys_of(fused) == [1, 2, 3]


def test_empty_lists_give_empty_answers() -> None:
    nothing, nobody = ranking(), np.array([], np.bool_)
    candidates = Candidates(nothing.keys, nothing.scores, nothing.scores)
    assert slots(nothing, nothing, nobody, k=3) == []
    assert slots_by_evidence(nothing, nobody, candidates, k=3, depth=DEPTH) == []
    for rule in SYMMETRIC:
        assert rule([], k=3) == rule([nothing, nothing], k=3) == []


def test_a_document_that_would_come_twice_is_refused() -> None:
    old = ranking(1, 2)
    unmigrated = np.zeros(2, np.bool_)
    with pytest.raises(InvalidArgumentError, match=r"document 2 .* not migrated"):
        slots(old, ranking(2), unmigrated, k=2)
    with pytest.raises(InvalidArgumentError, match=r"document 1 .* new-only"):
        slots(old, ranking(1), ~unmigrated, k=2, new_only=[1])


def test_a_mask_of_another_length_is_refused() -> None:
    with pytest.raises(InvalidArgumentError, match="each of the 2 documents"):
        slots(ranking(1, 2), ranking(), np.zeros(3, np.bool_), k=2)


@pytest.mark.parametrize(
    ("keys", "scores", "problem"),
    [
        ([1, 1], [2.0, 1.0], "twice"),
        ([1, 2], [1.0, 2.0], "ascend"),
        ([1, 2], [1.0], "one length"),
        ([1, 2], [1.0, np.nan], "NaN"),
        ([1, 2], [np.inf, 1.0], "infinite"),
    ],
)
def test_malformed_rankings_are_refused(keys: list[int], scores: list[float], problem: str) -> None:
    with pytest.raises(InvalidArgumentError, match=problem):
        Ranking(np.array(keys), np.array(scores))


# Symmetric rules


def test_rrf_by_hand() -> None:
    fused = rrf([ranking(1, 2, 3), ranking(3, 1)], k=10)
    assert keys_of(fused) == [1, 3, 2]
    assert [hit.score for hit in fused] == pytest.approx([1 / 61 + 1 / 62, 1 / 63 + 1 / 61, 1 / 62])
    assert [hit.source for hit in fused] == [0, 1, 0]
    assert rrf([ranking(1)], k=1, constant=0) == [FusedHit(1, 1.0, 0)]


def test_zscore_by_hand() -> None:
    fused = zscore([ranking(1, 2, scores=[3.0, 1.0]), ranking(2, 3, scores=[0.2, 0.1])], k=3)
    assert keys_of(fused) == [1, 2, 3]
    assert [hit.score for hit in fused] == pytest.approx([1, 0, -1])
    assert [hit.source for hit in fused] == [0, 1, 1]


def test_dbsf_by_hand() -> None:
    fused = dbsf([ranking(1, 2, scores=[3.0, 1.0]), ranking(2, 3, scores=[0.2, 0.1])], k=3)
    # Means 2 and .15, deviations 1 and .05: one deviation is a sixth.
    assert keys_of(fused) == [2, 1, 3]
    assert [hit.score for hit in fused] == pytest.approx([1 / 3 + 2 / 3, 2 / 3, 1 / 3])


def test_dbsf_keeps_the_order_of_outliers() -> None:
    scores = [100.0, 99.0, *[0.0] * 98]
    fused = dbsf([ranking(7, 3, *range(100, 198), scores=scores)], k=2)
    assert keys_of(fused) == [7, 3]
    assert fused[1].score > 1


def test_min_max_by_hand() -> None:
    fused = min_max(
        [ranking(1, 2, 3, scores=[5.0, 4.0, 1.0]), ranking(2, 4, scores=[9.0, 8.0])], k=4
    )
    assert keys_of(fused) == [2, 1, 3, 4]
    assert [hit.score for hit in fused] == pytest.approx([0.75 + 1, 1, 0, 0])
    assert [hit.source for hit in fused] == [1, 0, 0, 1]


@pytest.mark.parametrize(("rule", "score"), [(zscore, 0.0), (dbsf, 0.5), (min_max, 1.0)])
def test_equal_scores_contribute_equally_and_rank_by_key(
    rule: Callable[..., list[FusedHit]], score: float
) -> None:
    # The mean of three times .1 is not .1, so a computed deviation would not be 0.
    fused = rule([ranking(3, 1, 2, scores=[0.1, 0.1, 0.1])], k=3)
    assert fused == [FusedHit(1, score, 0), FusedHit(2, score, 0), FusedHit(3, score, 0)]
    assert rule([ranking(8, scores=[-4.0])], k=3) == [FusedHit(8, score, 0)]


def test_scores_whose_variance_underflows_do_not_divide_by_zero() -> None:
    fused = zscore([ranking(1, 2, scores=[5e-324, 0.0])], k=2)
    assert fused == [FusedHit(1, 0.0, 0), FusedHit(2, 0.0, 0)]


def test_equal_contributions_name_the_earlier_list() -> None:
    assert rrf([ranking(1), ranking(1)], k=1)[0].source == 0


@pytest.mark.parametrize("rule", SYMMETRIC)
@given(st.lists(rankings, max_size=4).flatmap(lambda r: st.tuples(st.just(r), st.permutations(r))))
def test_permuted_lists_give_the_same_ranking_to_the_bit(
    rule: Callable[..., list[FusedHit]], both: tuple[list[Ranking], list[Ranking]]
) -> None:
    first, second = (rule(lists, k=10) for lists in both)
    assert [hit[:2] for hit in first] == [hit[:2] for hit in second]


@pytest.mark.parametrize("rule", SYMMETRIC)
@given(st.lists(rankings, max_size=4), st.integers(1, 20))
def test_symmetric_rules_rank_the_union(
    rule: Callable[..., list[FusedHit]], lists: list[Ranking], k: int
) -> None:
    union = {key for one in lists for key in one.keys.tolist()}
    fused = rule(lists, k=k)
    assert len(set(keys_of(fused))) == len(fused) == min(k, len(union))
    assert fused == sorted(fused, key=lambda hit: (-hit.score, hit.key))
    assert all(hit.key in lists[hit.source].keys for hit in fused)
    assert rule(lists, k=20)[:k] == fused
