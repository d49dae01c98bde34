"""What dual reads fetch at one moment of a migration, and what is learnt from it.

In place of a store: exact search over arrays, by the product's own rules.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from benchmarks.quality.expected_gain import GainCurve, Observation, fit_gain_curve
from vstore.errors import StateError
from vstore.migration.bridges.fitting import fit_bridge
from vstore.query.fusion.imputed import IMPUTED_DEPTH, Imputation, ScoredQuery, fit_imputation
from vstore.query.fusion.slots import Candidates
from vstore.query.ranking import Ranking

if TYPE_CHECKING:
    from benchmarks.quality.pairs import ModelPair
    from vstore.query.bridge_map import BridgeMap
    from vstore.types import Array, BoolArray, FloatArray, IntArray

DEPTH = 100
BRIDGE_PAIRS_MAX = 1_500  # enough here, and a tenth of the time of all of them


class VersionAnswer(NamedTuple):
    """One query's lists: of the old version all and only the unmigrated, of the new one all."""

    old: Ranking
    migrated: BoolArray
    left: Ranking
    new: Ranking
    candidates: Candidates


@dataclass(frozen=True)
class Learnt:
    """What rules learn from recent queries: here those that are asked, without their judgments."""

    curve: GainCurve
    imputation: Imputation


@dataclass(frozen=True)
class Moment:
    """A pair of models with some documents migrated, in a random order."""

    pair: ModelPair
    moved: BoolArray

    @classmethod
    def of(cls, pair: ModelPair, coverage: float, seed: int) -> Moment:
        count = len(pair.old_documents)
        moved = np.zeros(count, bool)
        moved[np.random.default_rng(seed).permutation(count)[: round(coverage * count)]] = True
        return cls(pair, moved)

    @property
    def coverage(self) -> float:
        return float(self.moved.mean())

    @cached_property
    def to_new(self) -> BridgeMap | None:
        """A bridge from the old space to the new one; None as long as there are too few pairs."""
        return self._bridge(self.pair.old_documents, self.pair.new_documents)

    @cached_property
    def to_old(self) -> BridgeMap | None:
        return self._bridge(self.pair.new_documents, self.pair.old_documents)

    def _bridge(self, source: FloatArray, target: FloatArray) -> BridgeMap | None:
        both = np.flatnonzero(self.moved)
        sample = np.random.default_rng(0).permutation(both)[:BRIDGE_PAIRS_MAX]
        try:
            return fit_bridge(source[sample], target[sample])
        except StateError:
            return None

    def fetch(self, old_queries: FloatArray, new_queries: FloatArray) -> list[VersionAnswer]:
        """Ask both versions all queries."""
        old_scores = (old_queries @ self.pair.old_documents.T).astype(np.float64)
        new_scores = (new_queries @ self.pair.new_documents.T).astype(np.float64)
        moved, left = np.flatnonzero(self.moved), np.flatnonzero(~self.moved)
        everything = np.arange(len(self.moved))
        fetched = []
        for by_old, by_new in zip(old_scores, new_scores, strict=True):
            old = _best(by_old, everything, DEPTH)
            migrated = self.moved[old.keys]
            new = _best(by_new, moved, DEPTH)
            both = np.union1d(
                old.keys[:IMPUTED_DEPTH][migrated[:IMPUTED_DEPTH]], new.keys[:IMPUTED_DEPTH]
            )
            candidates = Candidates(both, by_old[both], by_new[both])
            fetched.append(
                VersionAnswer(old, migrated, _best(by_old, left, DEPTH), new, candidates)
            )
        return fetched

    def learn(self, fetched: list[VersionAnswer]) -> Learnt:
        seen = [one for one in fetched if len(one.new)]
        return Learnt(
            fit_gain_curve(
                [Observation(one.old, one.migrated, one.new, self.coverage) for one in seen]
            ),
            fit_imputation([scored(one) for one in seen]),
        )


def scored(one: VersionAnswer) -> ScoredQuery:
    """Cut what was fetched to the depth of `imputed`."""
    old = Ranking(one.old.keys[:IMPUTED_DEPTH], one.old.scores[:IMPUTED_DEPTH])
    return ScoredQuery(old, one.migrated[:IMPUTED_DEPTH], one.candidates)


def _best(scores: Array, documents: IntArray, count: int) -> Ranking:
    mine = scores[documents]
    if count < len(documents):
        top = np.argpartition(-mine, count - 1)[:count]
        documents, mine = documents[top], mine[top]
    order = np.lexsort((documents, -mine))
    return Ranking(documents[order], mine[order])
