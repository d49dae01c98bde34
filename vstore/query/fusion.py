"""Fusion: pure functions from ranked lists to one list. They know nothing of stores.

Two families:

- `rrf`, `zscore`, `dbsf`, `min_max` treat all lists alike and add up a document's contributions.
- `slots` and `evidence` are for a dual read: an *old* version that ranks every document, and a
  *new* one that ranks those already migrated. Both keep the old ranking of what is not migrated.

A dual read feeds the first family `disjoint` lists, so that each document speaks through its newest
version; then every rule here but `evidence` is exactly the old ranking before the first document
is migrated and exactly the new one behind the last.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal, NamedTuple, TypeAlias

import numpy as np

from vstore.errors import InvalidArgumentError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from vstore.types import Array, BoolArray, IntArray

FusionName: TypeAlias = Literal["slots", "evidence", "rrf", "zscore", "dbsf", "minmax"]

RRF_CONSTANT: Final = 60  # Cormack, Clarke, Buettcher, SIGIR 2009
NEW_WEIGHT: Final = 2.0  # of the new version's standardised score in `evidence`
_DBSF_SIGMAS: Final = 3.0


@dataclass(frozen=True, slots=True)
class Ranking:
    """Documents of one list, best first.

    Attributes
    ----------
    keys : int64 (m,)
        Each document once.
    scores : float64 (m,)
        Not ascending.
    """

    keys: IntArray
    scores: Array

    def __post_init__(self) -> None:
        if len(self.keys) != len(self.scores):
            raise InvalidArgumentError(
                f"Ranking: {len(self.keys)} keys but {len(self.scores)} scores"
            )
        if len(np.unique(self.keys)) != len(self.keys):
            raise InvalidArgumentError("Ranking: a key comes twice")

    def __len__(self) -> int:
        return len(self.keys)

    def where(self, mask: BoolArray) -> Ranking:
        """Return the documents at which the mask (m,) is set."""
        return Ranking(self.keys[mask], self.scores[mask])


class Fused(NamedTuple):
    """One document of a fused list.

    Attributes
    ----------
    key : int
    score : float
        What the rule ordered it by; of `slots` its score in the list it came from.
    source : int
        Index of the list whose vector answers for it: 0 old, 1 new.
    """

    key: int
    score: float
    source: int


def rrf(rankings: Sequence[Ranking], *, k: int, constant: int = RRF_CONSTANT) -> list[Fused]:
    """Reciprocal rank fusion: sum of ``1 / (constant + rank)``, ranks from 1."""
    return _sum(rankings, lambda r: 1.0 / (constant + np.arange(1, len(r) + 1)), k)


def zscore(rankings: Sequence[Ranking], *, k: int) -> list[Fused]:
    """Sum of standard scores, each list by its own mean and deviation."""
    return _sum(rankings, lambda r: _standardised(r.scores, r.scores), k)


def dbsf(rankings: Sequence[Ranking], *, k: int) -> list[Fused]:
    """Distribution-based score fusion: mean -/+ 3 deviations become 0 and 1 (Mazzeschi 2023)."""
    return _sum(
        rankings,
        lambda r: np.clip(0.5 + _standardised(r.scores, r.scores) / (2 * _DBSF_SIGMAS), 0, 1),
        k,
    )


def min_max(rankings: Sequence[Ranking], *, k: int) -> list[Fused]:
    """Sum of scores scaled so that each list's worst is 0 and its best 1."""
    return _sum(rankings, _scaled, k)


def _scaled(ranking: Ranking) -> Array:
    low, high = ranking.scores.min(), ranking.scores.max()
    if high == low:
        return np.ones(len(ranking))
    return np.asarray((ranking.scores - low) / (high - low))


def _standardised(scores: Array, reference: Array) -> Array:
    deviation = reference.std()
    if not deviation:
        return np.zeros(len(scores))
    return np.asarray((scores - reference.mean()) / deviation)


def _sum(
    rankings: Sequence[Ranking], contribution: Callable[[Ranking], Array], k: int
) -> list[Fused]:
    totals: dict[int, float] = {}
    best: dict[int, tuple[float, int]] = {}
    for source, ranking in enumerate(rankings):
        if not len(ranking):
            continue
        gains = contribution(ranking).tolist()
        for key, gain in zip(ranking.keys.tolist(), gains, strict=True):
            totals[key] = totals.get(key, 0.0) + gain
            if key not in best or gain > best[key][0]:
                best[key] = (gain, source)
    order = sorted(totals, key=lambda key: (-totals[key], key))
    return [Fused(key, totals[key], best[key][1]) for key in order[:k]]


def disjoint(old: Ranking, new: Ranking, migrated: BoolArray) -> tuple[Ranking, Ranking]:
    """Return the two lists without the migrated documents of the old one.

    Parameters
    ----------
    migrated : bool, as ``old.keys``
    """
    return old.where(~migrated), new


def slots(
    old: Ranking,
    new: Ranking,
    migrated: BoolArray,
    *,
    k: int,
    new_only: Collection[int] = (),
) -> list[Fused]:
    """Keep the old ranking's slots, and fill those of migrated documents in the new order.

    The i-th migrated document of the old ranking gives its place to the i-th migrated document of
    the new one. It needs the old top k and at most k of the new, no parameter and no training, and
    works across dimensions and metrics.

    A document that lives only in the new version stands right before the migrated document that
    follows it in the new ranking. If the old top k has no migrated document to say where that is,
    the best such document that outranks all migrated ones takes the last place; if nothing at all
    is migrated, old and new documents alternate. So none is out of reach.

    Parameters
    ----------
    old : Ranking
        All documents that have old rows; its first k are used.
    new : Ranking
        Migrated documents, and those that live only in the new version.
    migrated : bool, as ``old.keys``
        Which documents of the old ranking have fresh new rows.
    new_only : collection of int
        Keys of ``new`` without old rows.
    """
    alone = frozenset(new_only)
    head = [
        Fused(key, score, 0)
        for key, score in zip(old.keys[:k].tolist(), old.scores[:k].tolist(), strict=True)
    ]
    moved = migrated[:k].tolist()
    answers = [
        Fused(key, score, 1)
        for key, score in zip(new.keys.tolist(), new.scores.tolist(), strict=True)
    ]
    if answers and all(answer.key in alone for answer in answers):
        return _alternated(head, answers)[:k]
    fused: list[Fused] = []
    at = 0
    for place, is_moved in zip(head, moved, strict=True):
        if not is_moved:
            fused.append(place)
            continue
        while at < len(answers):
            at += 1
            fused.append(answers[at - 1])
            if answers[at - 1].key not in alone:
                break
    fused += answers[at:]
    if not any(moved) and len(fused) > k and answers and answers[0].key in alone:
        fused[k - 1] = answers[0]
    return fused[:k]


def _alternated(first: list[Fused], second: list[Fused]) -> list[Fused]:
    shared = min(len(first), len(second))
    pairs = zip(first, second, strict=False)
    return [item for pair in pairs for item in pair] + first[shared:] + second[shared:]


@dataclass(frozen=True, slots=True)
class Candidates:
    """Migrated documents with their scores in both versions.

    Attributes
    ----------
    keys : int64 (m,)
        The best migrated documents of the old version and those of the new one.
    old_scores, new_scores : float64 (m,)
    """

    keys: IntArray
    old_scores: Array
    new_scores: Array


def evidence(
    old: Ranking,
    migrated: BoolArray,
    candidates: Candidates,
    *,
    k: int,
    depth: int,
    new: Ranking | None = None,
    new_only: Collection[int] = (),
) -> list[Fused]:
    """Keep the old ranking's slots, and fill them by the evidence of both versions.

    Each version's scores are standardised over its ``depth`` best migrated documents; the new one
    counts double. Best quality while both versions know something the other does not, also at full
    coverage, where it is therefore not the new version's ranking.

    Parameters
    ----------
    old, migrated
        As for `slots`.
    candidates : Candidates
    depth : int
        Documents over which scores are standardised.
    new, new_only
        The new version's ranking, only to place documents that live there alone; by `slots`' rule.
    """
    alone = frozenset(new_only)
    combined = _standardised(
        candidates.old_scores, np.sort(candidates.old_scores)[::-1][:depth]
    ) + NEW_WEIGHT * _standardised(
        candidates.new_scores, np.sort(candidates.new_scores)[::-1][:depth]
    )
    order = np.lexsort((candidates.keys, -combined))
    keys, scores = candidates.keys[order], combined[order]
    if new is not None and alone:
        keys, scores = _with_new_only(keys, scores, new, alone)
    return slots(old, Ranking(keys, scores), migrated, k=k, new_only=alone)


def _with_new_only(
    keys: IntArray, scores: Array, new: Ranking, alone: frozenset[int]
) -> tuple[IntArray, Array]:
    """Put documents of the new version alone before the candidate that follows them there."""
    waiting: list[int] = []
    before: dict[int, list[int]] = {}
    for key in new.keys.tolist():
        if key in alone:
            waiting.append(key)
        else:
            before[key] = waiting
            waiting = []
    merged: list[tuple[int, float]] = []
    for key, score in zip(keys.tolist(), scores.tolist(), strict=True):
        merged += [(lone, score) for lone in before.get(key, ())]
        merged.append((key, score))
    merged += [(lone, merged[-1][1] if merged else 0.0) for lone in waiting]
    return np.array([m[0] for m in merged], np.int64), np.array([m[1] for m in merged])
