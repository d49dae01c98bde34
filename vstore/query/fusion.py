"""Fusion: pure functions from ranked lists to one list. They know nothing of stores.

Two families:

- `rrf`, `zscore`, `dbsf`, `min_max` treat all lists alike and add up a document's contributions.
- `slots` and `evidence` are for a dual read: an *old* version that ranks every document with an old
  row, and a *new* one that ranks those already migrated. Both leave alone what is not migrated.

A dual read feeds the first family `disjoint` lists, so that each document speaks through its newest
version. Then every rule here but `evidence` gives exactly the old ranking before the first document
is migrated, and exactly the new one after the last. (Equal scores count as ranked by key.)

Lists are trusted to be what they are called; only what would put a document twice into an answer is
refused. ``k`` is at least 1.
"""

from __future__ import annotations

import math
from collections import deque
from typing import TYPE_CHECKING, Final, Literal, NamedTuple, TypeAlias

import numpy as np

from vstore.errors import InvalidArgumentError
from vstore.query.ranking import Fused as Fused
from vstore.query.ranking import Ranking as Ranking

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from vstore.types import Array, BoolArray, IntArray

FusionName: TypeAlias = Literal["slots", "evidence", "rrf", "zscore", "dbsf", "minmax"]
DUAL_FUSIONS: Final[tuple[FusionName, ...]] = (
    "slots",
    "evidence",
    "rrf",
    "zscore",
    "dbsf",
    "minmax",
)

RRF_CONSTANT: Final = 60  # the value of the paper `rrf` names
NEW_WEIGHT: Final = 2.0  # of the new version's standard score in `evidence`
_DBSF_SIGMAS: Final = 3.0
# At least one place in ten for documents that live only in the new version and that no slot places.
# Alternating instead lost .047 nDCG@10 on SciFact where 1 % of the documents are new-only and none
# is migrated; one in ten never lost .001 against leaving them out.
_UNPLACED_EVERY: Final = 10
_NOT_MIGRATED: Final = "not migrated, and in the new one"


class Candidates(NamedTuple):
    """Migrated documents with their scores in both versions, in any order.

    Attributes
    ----------
    keys : int64 (m,)
        The union of the best migrated documents of the old version and those of the new one.
    old_scores, new_scores : float64 (m,)
    """

    keys: IntArray
    old_scores: Array
    new_scores: Array


def rrf(rankings: Sequence[Ranking], *, k: int, constant: float = RRF_CONSTANT) -> list[Fused]:
    """Fuse by reciprocal rank: the sum of ``1 / (constant + rank)``, ranks from 1.

    Cormack, Clarke, Buettcher: Reciprocal rank fusion outperforms Condorcet and individual rank
    learning methods, SIGIR 2009. Deaf to scores, and to how much longer one list is than another.
    """
    return _summed(rankings, lambda r: 1.0 / (constant + np.arange(1, len(r) + 1)), k)


def zscore(rankings: Sequence[Ranking], *, k: int) -> list[Fused]:
    """Fuse by the sum of standard scores, each list by its own mean and standard deviation.

    A list of one document, or of equal scores, contributes 0 for each.
    """
    return _summed(rankings, lambda r: _standardised(r.scores, r.scores), k)


def dbsf(rankings: Sequence[Ranking], *, k: int) -> list[Fused]:
    """Distribution-based score fusion: the sum of scores scaled so that mean -/+ 3 sigma are 0, 1.

    Mazzeschi, 2023 (github.com/atlantis-nova/hybrid-dbsf); Qdrant's ``dbsf``. As in both, scores
    beyond 3 sigma are not clipped: that would tie a list's best documents. So over disjoint lists
    the order is that of `zscore`. Where lists overlap a document gains from every list it is in. A
    list of one document, or of equal scores, contributes 0.5 for each. Sigma is the population's.
    """
    return _summed(
        rankings,
        lambda r: 0.5 + _standardised(r.scores, r.scores) / (2 * _DBSF_SIGMAS),
        k,
    )


def min_max(rankings: Sequence[Ranking], *, k: int) -> list[Fused]:
    """Fuse by the sum of scores scaled so that each list's worst is 0 and its best 1 (CombSUM).

    Fox and Shaw, TREC-2, 1994, with the scaling of Lee, SIGIR 1997. A list of one document, or of
    equal scores, contributes 1 for each: nothing in it is worse than its best.
    """
    return _summed(rankings, _scaled, k)


def _scaled(ranking: Ranking) -> Array:
    low, high = ranking.scores.min(), ranking.scores.max()
    if high == low:
        return np.ones(len(ranking))
    return np.asarray((ranking.scores - low) / (high - low))


def _standardised(scores: Array, reference: Array) -> Array:
    # Equal scores are asked for by comparison: their computed deviation need not be 0.
    if not len(reference) or reference.min() == reference.max():
        return np.zeros(len(scores))
    deviation = reference.std()
    if deviation == 0:  # distinct scores so close that their variance underflows
        return np.zeros(len(scores))
    return np.asarray((scores - reference.mean()) / deviation)


def _summed(
    rankings: Sequence[Ranking], contribution: Callable[[Ranking], Array], k: int
) -> list[Fused]:
    """Order by summed contributions, then by key; the largest one names the source.

    The earlier list is the source of equal contributions. Lists can be permuted without moving a
    sum by a bit, hence ``fsum``.
    """
    shares: dict[int, list[tuple[float, int]]] = {}
    for source, ranking in enumerate(rankings):
        if not len(ranking):
            continue
        gains = contribution(ranking).tolist()
        for key, gain in zip(ranking.keys.tolist(), gains, strict=True):
            shares.setdefault(key, []).append((gain, -source))
    fused = [
        Fused(key, math.fsum(gain for gain, _ in given), -max(given)[1])
        for key, given in shares.items()
    ]
    return sorted(fused, key=lambda hit: (-hit.score, hit.key))[:k]


def disjoint(old: Ranking, new: Ranking, migrated: BoolArray) -> tuple[Ranking, Ranking]:
    """Return the old list without its migrated documents, and the new list.

    Parameters
    ----------
    migrated : bool, as ``old.keys``
    """
    unmigrated = old.where(~migrated)
    _check_apart(unmigrated.keys, new.keys.tolist(), _NOT_MIGRATED)
    return unmigrated, new


def slots(
    old: Ranking,
    new: Ranking,
    migrated: BoolArray,
    *,
    k: int,
    new_only: Collection[int] = (),
    new_only_share: float = 0.0,
) -> list[Fused]:
    """Keep the old ranking's slots, and fill those of migrated documents in the new order.

    The i-th migrated document of the old ranking gives its place to the i-th migrated document of
    the new one. That needs the old top k and the new top k, no parameter and no training, and works
    across dimensions and metrics.

    A document that lives only in the new version stands right before the migrated document that
    follows it in the new ranking, and moves what comes behind by one place. If that document's slot
    is not in the old top k, nothing says where the new-only document belongs among the unmigrated
    ones behind the last slot, least of all if nothing is migrated yet. There such documents get
    their share of the places and at least one in ten, or the last one if k is smaller (never the
    first): no answer loses much, and none of them is out of reach.

    If the new list is shorter than the slots (it has fewer than k of the migrated documents, as
    after a search that gave up), the migrated documents it lacks fill the slots that are left, by
    their old vectors. If the old list has fewer than k documents, the rest of the new one follows.

    Parameters
    ----------
    old : Ranking
        All documents that have old rows, or their top k.
    new : Ranking
        Migrated documents and those that live only in the new version, or their top k.
    migrated : bool, as ``old.keys``
        Which documents of the old ranking have fresh new rows.
    new_only : collection of int
        Which documents of ``new`` have no old rows.
    new_only_share : float
        Share of the new-only documents in all that are not migrated, in [0, 1]; 0 if unknown.

    Raises
    ------
    InvalidArgumentError
        If ``new`` or ``new_only`` has a document that the old ranking says it cannot have.
    """
    answers = _hits(new.keys, new.scores, 1)
    alone = frozenset(new_only)
    return _filled(old, answers, migrated, k=k, alone=alone, share=new_only_share)


def evidence(
    old: Ranking,
    migrated: BoolArray,
    candidates: Candidates,
    *,
    k: int,
    depth: int,
    new: Ranking | None = None,
    new_only: Collection[int] = (),
    new_only_share: float = 0.0,
) -> list[Fused]:
    """Keep the old ranking's slots, and fill them by the evidence of both versions.

    Migrated documents are ordered by their old plus `NEW_WEIGHT` times their new standard score.
    Exactly the old ranking before anything is migrated, but not the new one after: each version
    knows something that the other does not, and at full coverage that is no less true.

    Parameters
    ----------
    old, migrated
        As for `slots`.
    candidates : Candidates
        The ``depth`` (or k, if more) best migrated documents of each version.
    depth : int
        How many of the best scores of each version give its mean and deviation; about 50.
    new, new_only, new_only_share
        As for `slots`. Only to place documents that live in the new version alone, by its rule:
        before the candidate that follows them there.
    """
    alone = frozenset(new_only)
    combined = _against_best(candidates.old_scores, depth) + NEW_WEIGHT * _against_best(
        candidates.new_scores, depth
    )
    order = np.lexsort((candidates.keys, -combined))
    answers = _hits(candidates.keys[order], candidates.new_scores[order], 1)
    if new is not None and alone:
        answers = _with_new_only(answers, _hits(new.keys, new.scores, 1), alone)
    return _filled(old, answers, migrated, k=k, alone=alone, share=new_only_share)


def _against_best(scores: Array, depth: int) -> Array:
    return _standardised(scores, np.sort(scores)[::-1][:depth])


def _hits(keys: IntArray, scores: Array, source: int) -> list[Fused]:
    return [
        Fused(key, score, source) for key, score in zip(keys.tolist(), scores.tolist(), strict=True)
    ]


def _with_new_only(answers: list[Fused], new: list[Fused], alone: frozenset[int]) -> list[Fused]:
    """Put new-only documents before the answer that follows them in the new ranking."""
    answering = {answer.key for answer in answers}
    before: dict[int, list[Fused]] = {}
    waiting: list[Fused] = []
    for hit in new:
        if hit.key in alone:
            waiting.append(hit)
        elif hit.key in answering:
            before[hit.key], waiting = waiting, []
    merged = [hit for answer in answers for hit in (*before.get(answer.key, ()), answer)]
    return merged + waiting


def _filled(
    old: Ranking,
    answers: list[Fused],
    migrated: BoolArray,
    *,
    k: int,
    alone: frozenset[int],
    share: float,
) -> list[Fused]:
    """Fill the slots of the old top k with the answers, in their order; see `slots`."""
    old.check_mask(migrated)
    answering = {answer.key for answer in answers}
    _check_apart(old.keys[~migrated], answering, _NOT_MIGRATED)
    _check_apart(old.keys, alone, "but is called new-only")

    head, moved = _hits(old.keys[:k], old.scores[:k], 0), migrated[:k].tolist()
    unanswered = [
        hit
        for hit, is_moved in zip(head, moved, strict=True)
        if is_moved and hit.key not in answering
    ]
    queue = deque(answers + unanswered)
    slots_end = max((i for i, is_moved in enumerate(moved, 1) if is_moved), default=0)
    fused: list[Fused] = []
    for hit, is_moved in zip(head[:slots_end], moved, strict=False):
        if not is_moved:
            fused.append(hit)
            continue
        fused += _taken_new_only(queue, alone)
        if queue:
            fused.append(queue.popleft())
    unplaced = _taken_new_only(queue, alone)
    fused += _shared(head[slots_end:], unplaced, places_before=len(fused), k=k, share=share)
    return [*fused, *queue][:k]


def _shared(
    unmigrated: list[Fused], unplaced: list[Fused], *, places_before: int, k: int, share: float
) -> list[Fused]:
    """Merge unmigrated documents and those without a slot, each in their order; see `slots`."""
    rate = max(share, 1 / max(2, min(k, _UNPLACED_EVERY)))
    places, others = deque(unmigrated), deque(unplaced)
    merged: list[Fused] = []
    while places and others:
        end = places_before + len(merged) + 1
        granted = int(end * rate) - int(places_before * rate)
        is_granted = granted > len(unplaced) - len(others)
        merged.append((others if is_granted else places).popleft())
    return [*merged, *places, *others]


def _taken_new_only(queue: deque[Fused], alone: frozenset[int]) -> list[Fused]:
    """Take the new-only documents off the front of the queue."""
    taken = []
    while queue and queue[0].key in alone:
        taken.append(queue.popleft())
    return taken


def _check_apart(old_keys: IntArray, others: Collection[int], contradiction: str) -> None:
    both = set(old_keys.tolist()).intersection(others)
    if both:
        raise InvalidArgumentError(
            f"dual read: document {min(both)} is in the old ranking, {contradiction}; "
            "it would be returned twice"
        )
