"""Fusion rules for dual reads that keep the slots of migrated documents in the old ranking.

`slots` fills them in the new version's order, `slots_by_evidence` in an order by both versions'
scores. Neither moves unmigrated documents.
"""

from __future__ import annotations

import math
from collections import deque
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from vstore.query.fusion.standard_scores import standardised
from vstore.query.ranking import FusedHit, check_apart, hits

if TYPE_CHECKING:
    from collections.abc import Collection

    from vstore.query.ranking import Ranking
    from vstore.types import Array, BoolArray, IntArray

NEW_WEIGHT: Final = 2.0  # of the new standard score, where a document has both
# New-only documents that no slot places get at least one place in ten. Alternating instead lost
# .047 nDCG@10 on SciFact where 1 % of the documents are new-only and none is migrated; one in ten
# never lost .001 against leaving them out.
_UNPLACED_EVERY: Final = 10


class Candidates(NamedTuple):
    """Migrated documents with their scores in both versions, in any order.

    Attributes
    ----------
    keys : int64 (m,)
        The union of the best migrated documents of both versions.
    old_scores, new_scores : float64 (m,)
    """

    keys: IntArray
    old_scores: Array
    new_scores: Array


def slots(
    old: Ranking,
    new: Ranking,
    migrated: BoolArray,
    *,
    k: int,
    new_only: Collection[int] = (),
    new_only_share: float = 0.0,
) -> list[FusedHit]:
    """Keep the old ranking's slots, and fill those of migrated documents in the new order.

    The i-th migrated document of the old ranking gives its place to the i-th migrated document of
    the new one. The rule needs the old top k and the new top k, no parameters and no training, and
    works across dimensions and metrics.

    A new-only document (one that lives only in the new version) stands right before the migrated
    document that follows it in the new ranking, and moves later documents down by one place. If
    that migrated document's slot is not in the old top k, the new-only document's place among the
    unmigrated documents after the last slot is unknown, above all if nothing is migrated yet. Such
    new-only documents get their share of those places and at least one in ten, or the last one if
    k is smaller (never the first): no answer loses much, and every new-only document can be found.

    If the new list is shorter than the slots (for example because a search gave up), the migrated
    documents missing from it fill the remaining slots, by their old vectors. If the old list has
    fewer than k documents, the rest of the new list follows.

    Parameters
    ----------
    old : Ranking
        All documents with old rows, or their top k.
    new : Ranking
        Migrated and new-only documents, or their top k.
    migrated : bool, as ``old.keys``
        Whether a document of the old ranking has fresh new rows.
    new_only : collection of int
        Documents of ``new`` without old rows.
    new_only_share : float
        New-only documents, as a share of all that are not migrated, in [0, 1]; 0 if unknown.

    Raises
    ------
    InvalidArgumentError
        If ``new`` has a document that is unmigrated in ``old``, or ``new_only`` one of ``old``.
    """
    answers = hits(new.keys, new.scores, 1)
    alone = frozenset(new_only)
    return _filled(old, answers, migrated, k=k, alone=alone, share=new_only_share)


def slots_by_evidence(
    old: Ranking,
    migrated: BoolArray,
    candidates: Candidates,
    *,
    k: int,
    depth: int,
    new_weight: float = NEW_WEIGHT,
    new: Ranking | None = None,
    new_only: Collection[int] = (),
    new_only_share: float = 0.0,
) -> list[FusedHit]:
    """Keep the old ranking's slots, and fill them by the evidence of both versions.

    Migrated documents are ordered by old standard score plus ``new_weight`` times new standard
    score. The result is exactly the old ranking before anything is migrated, but not the new one
    after: each version has evidence that the other lacks, at full coverage too.

    Used by `imputed.imputed` when there is no candidate, and by cascades.

    Parameters
    ----------
    old, migrated
        As for `slots`.
    candidates : Candidates
        The ``depth`` (or k, if more) best migrated documents of each version.
    depth : int
        Number of best scores of each version to compute mean and deviation from; about 50.
    new_weight : float
        At least 0; infinite for the new version alone. The default is right where the new version
        is somewhat better than the old one.
    new, new_only, new_only_share
        As for `slots`. They only place new-only documents: before the candidate that follows in
        the new ranking.
    """
    alone = frozenset(new_only)
    combined = _against_best(candidates.new_scores, depth)
    if not math.isinf(new_weight):
        combined = _against_best(candidates.old_scores, depth) + new_weight * combined
    order = np.lexsort((candidates.keys, -combined))
    answers = hits(candidates.keys[order], candidates.new_scores[order], 1)
    if new is not None and alone:
        answers = with_new_only(answers, hits(new.keys, new.scores, 1), alone)
    return _filled(old, answers, migrated, k=k, alone=alone, share=new_only_share)


def _against_best(scores: Array, depth: int) -> Array:
    return standardised(scores, np.sort(scores)[::-1][:depth])


def with_new_only(
    answers: list[FusedHit], new: list[FusedHit], alone: frozenset[int]
) -> list[FusedHit]:
    """Put new-only documents before the answer that follows them in the new ranking."""
    answering = {answer.key for answer in answers}
    before: dict[int, list[FusedHit]] = {}
    waiting: list[FusedHit] = []
    for hit in new:
        if hit.key in alone:
            waiting.append(hit)
        elif hit.key in answering:
            before[hit.key], waiting = waiting, []
    merged = [hit for answer in answers for hit in (*before.get(answer.key, ()), answer)]
    return merged + waiting


def _filled(
    old: Ranking,
    answers: list[FusedHit],
    migrated: BoolArray,
    *,
    k: int,
    alone: frozenset[int],
    share: float,
) -> list[FusedHit]:
    """Fill the slots of the old top k with the answers, in their order; see `slots`."""
    old.check_mask(migrated)
    answering = {answer.key for answer in answers}
    check_apart(old.keys[~migrated], answering)
    check_apart(old.keys, alone, "but is called new-only")

    head, moved = hits(old.keys[:k], old.scores[:k], 0), migrated[:k].tolist()
    unanswered = [
        hit
        for hit, is_moved in zip(head, moved, strict=True)
        if is_moved and hit.key not in answering
    ]
    queue = deque(answers + unanswered)
    slots_end = max((i for i, is_moved in enumerate(moved, 1) if is_moved), default=0)
    fused: list[FusedHit] = []
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
    unmigrated: list[FusedHit],
    unplaced: list[FusedHit],
    *,
    places_before: int,
    k: int,
    share: float,
) -> list[FusedHit]:
    """Merge unmigrated and unplaced new-only documents, each in their order; see `slots`."""
    rate = max(share, 1 / max(2, min(k, _UNPLACED_EVERY)))
    places, others = deque(unmigrated), deque(unplaced)
    merged: list[FusedHit] = []
    while places and others:
        end = places_before + len(merged) + 1
        granted = int(end * rate) - int(places_before * rate)
        is_granted = granted > len(unplaced) - len(others)
        merged.append((others if is_granted else places).popleft())
    return [*merged, *places, *others]


def _taken_new_only(queue: deque[FusedHit], alone: frozenset[int]) -> list[FusedHit]:
    """Take the new-only documents off the front of the queue."""
    taken = []
    while queue and queue[0].key in alone:
        taken.append(queue.popleft())
    return taken
