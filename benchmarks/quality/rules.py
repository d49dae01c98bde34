"""Every way to answer during a migration."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from benchmarks.quality.expected_gain import expected_gain
from benchmarks.quality.moment import Moment, scored
from benchmarks.quality.pairs import K
from benchmarks.quality.score_sums import dbsf, zscore
from vstore.query.fusion.cascade import cascade
from vstore.query.fusion.imputed import EVIDENCE_SHARE, IMPUTED_DEPTH, NO_IMPUTATION, imputed
from vstore.query.fusion.reciprocal_rank import rrf
from vstore.query.fusion.slots import slots, slots_by_evidence

if TYPE_CHECKING:
    from collections.abc import Callable

    from benchmarks.quality.moment import Learnt, VersionAnswer
    from vstore.query.ranking import FusedHit

    Answers = list[list[int]]
    Rule = Callable[[VersionAnswer, Learnt, float], list[FusedHit]]


def _imputed(
    one: VersionAnswer, learnt: Learnt, coverage: float, **options: float
) -> list[FusedHit]:
    return imputed(*scored(one), k=K, coverage=coverage, imputation=learnt.imputation, **options)


RULES: dict[str, Rule] = {
    "rrf": lambda one, _, __: rrf([one.left, one.new], k=K),
    "dbsf": lambda one, _, __: dbsf([one.left, one.new], k=K),
    "zscore": lambda one, _, __: zscore([one.left, one.new], k=K),
    "slots": lambda one, _, __: slots(one.old, one.new, one.migrated, k=K),
    "evidence": lambda one, _, coverage: imputed(
        *scored(one), k=K, coverage=coverage, imputation=NO_IMPUTATION, new_share=EVIDENCE_SHARE
    ),
    "evidence, slots kept": lambda one, _, __: slots_by_evidence(
        *scored(one), k=K, depth=IMPUTED_DEPTH
    ),
    "expected-gain": lambda one, learnt, coverage: expected_gain(
        one.old, one.new, one.migrated, k=K, coverage=coverage, curve=learnt.curve
    ),
    "expected-gain, all trust": lambda one, learnt, coverage: expected_gain(
        one.old, one.new, one.migrated, k=K, coverage=coverage, curve=learnt.curve, trust=1.0
    ),
    "imputed": _imputed,
    "imputed, new double": lambda one, learnt, coverage: _imputed(
        one, learnt, coverage, new_share=2 / 3
    ),
    "imputed, exact at 100 %": lambda one, learnt, coverage: _imputed(
        one, learnt, coverage, new_share=1.0
    ),
}
# Asked with a query for the old version that the new version's query was blended into.
BRIDGED = ("slots", "evidence", "imputed", "imputed, new double", "imputed, exact at 100 %")
CHOICES = (
    "slots",
    "evidence",
    "expected-gain",
    "imputed",
    "imputed, new double",
    "rrf",
    "dbsf",
    "zscore",
    "bridged slots",
    "bridged evidence",
    "bridged imputed",
    "bridged imputed, new double",
)


def answers_of_all(moment: Moment) -> dict[str, Answers]:
    """Answer all queries by every rule."""
    pair = moment.pair
    own = moment.fetch(pair.old_queries, pair.new_queries)
    learnt = moment.learn(own)
    answers = _single(moment) | {
        name: _answers(rule, own, learnt, moment.coverage) for name, rule in RULES.items()
    }
    answers["cascade"] = [
        _keys(cascade(one.old, one.migrated, _new_scores(one, by_new), k=K))
        for one, by_new in zip(own, pair.new_queries @ pair.new_documents.T, strict=True)
    ]
    blended, blended_learnt = own, learnt
    if moment.to_new is not None and not moment.moved.all():
        queries = moment.to_new.blended(pair.old_queries, pair.new_queries)
        blended = moment.fetch(queries, pair.new_queries)
        blended_learnt = moment.learn(blended)
    for name in BRIDGED:
        answers[f"bridged {name}"] = _answers(RULES[name], blended, blended_learnt, moment.coverage)
    return answers | _one_query_vector(moment)


def _answers(rule: Rule, fetched: list[VersionAnswer], learnt: Learnt, coverage: float) -> Answers:
    return [_keys(rule(one, learnt, coverage)) for one in fetched]


def _keys(fused: list[FusedHit]) -> list[int]:
    return [hit.key for hit in fused]


def _new_scores(one: VersionAnswer, by_new: np.ndarray) -> np.ndarray:
    return by_new[one.old.keys[one.migrated]].astype(np.float64)


def _single(moment: Moment) -> dict[str, Answers]:
    """Answer without a dual read: by either version, or, by mistake, by both in one index."""
    pair = moment.pair
    old = pair.old_queries @ pair.old_documents.T
    new = pair.new_queries @ pair.new_documents.T
    answers = {"old alone": _top(old), "new alone": _top(np.where(moment.moved, new, -np.inf))}
    if pair.old_documents.shape == pair.new_documents.shape:
        wrong = pair.new_queries @ pair.old_documents.T
        answers["silent mixture"] = _top(np.where(moment.moved, new, wrong))
    return answers


def _top(scores: np.ndarray) -> Answers:
    best = np.argsort(-scores, axis=1, kind="stable")[:, :K]
    return [
        [key for key in row if scores[query, key] > -np.inf]
        for query, row in enumerate(best.tolist())
    ]


def _one_query_vector(moment: Moment) -> dict[str, Answers]:
    """Answer queries that have the vector of one version only, through a bridge."""
    pair, answers = moment.pair, {}
    if moment.to_new is not None:
        fetched = moment.fetch(pair.old_queries, moment.to_new.apply(pair.old_queries))
        answers["bridge, only old query"] = _answers(
            RULES["slots"], fetched, moment.learn(fetched), moment.coverage
        )
    if moment.to_old is not None:
        fetched = moment.fetch(moment.to_old.apply(pair.new_queries), pair.new_queries)
        answers["bridge, only new query"] = _answers(
            RULES["slots"], fetched, moment.learn(fetched), moment.coverage
        )
    return answers
