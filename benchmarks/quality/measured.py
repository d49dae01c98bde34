"""From answers to figures: means, their intervals, and what must hold."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.quality.moment import Moment
from benchmarks.quality.pairs import K
from benchmarks.quality.rules import CHOICES, answers_of_all
from vstore.evaluation.choice import choose_fusion
from vstore.evaluation.measures import ndcg_at_k, recall_at_k

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.quality.pairs import ModelPair
    from benchmarks.quality.rules import Answers
    from vstore.types import Array

COVERAGES = (0.0, 0.1, 0.25, 0.5, 0.75, 0.9, 1.0)
RESAMPLES = 1_000
SLOTS_BELOW_LINE_MAX = 0.02
SLOTS_BELOW_OLD_MAX = 0.005
EVIDENCE_FROM = 0.5


@dataclass(frozen=True)
class Values:
    """nDCG@10 and recall@10 of one rule at one coverage: float (seeds, queries)."""

    ndcg: Array
    recall: Array


def measure(pair: ModelPair, seeds: int) -> dict[str, Any]:
    """Measure all rules at all coverages; orders of backfill differ by seed."""
    ends = {
        end: {rule: _values(pair, [given]) for rule, given in _answers(pair, end, 0).items()}
        for end in (0.0, 1.0)
    }
    old, new = ends[0.0]["old alone"].ndcg[0], ends[1.0]["new alone"].ndcg[0]
    points, chosen = [], {}
    for coverage in COVERAGES:
        if coverage in ends:
            values = ends[coverage]
        else:
            runs = [_answers(pair, coverage, seed) for seed in range(seeds)]
            chosen[str(coverage)] = dict(
                Counter(rule for run in runs for rule in run.pop("chosen"))
            )
            values = {rule: _values(pair, [run[rule] for run in runs]) for rule in runs[0]}
        line = (1 - coverage) * old + coverage * new
        points.append(
            {
                "coverage": coverage,
                "line": float(line.mean()),
                "rules": {rule: _figures(one, line) for rule, one in values.items()},
            }
        )
    return {
        "pair": pair.name,
        "role": pair.role,
        "documents": len(pair.old_documents),
        "queries": len(pair.gains),
        "seeds": seeds,
        "points": points,
        "chosen": chosen,
    }


def _answers(pair: ModelPair, coverage: float, seed: int) -> dict[str, Any]:
    moment = Moment.of(pair, coverage, seed)
    answers: dict[str, Any] = answers_of_all(moment)
    if 0 < coverage < 1:
        answers["auto"], answers["chosen"] = _auto(moment, answers, seed)
    return answers


def _auto(moment: Moment, answers: dict[str, Answers], seed: int) -> tuple[Answers, list[str]]:
    """Answer each half of the queries by the rule that the other half's judgments choose."""
    gains = moment.pair.gains
    order = np.random.default_rng(1_000 + seed).permutation(len(gains)).tolist()
    halves = order[: len(order) // 2], order[len(order) // 2 :]
    auto: dict[int, list[int]] = {}
    rules = []
    for asked, judged in (halves, halves[::-1]):
        choice = choose_fusion(
            {rule: [answers[rule][i] for i in judged] for rule in CHOICES},
            [gains[i] for i in judged],
            coverage=moment.coverage,
            k=K,
        )
        rules.append(choice.rule)
        auto |= {i: answers[choice.rule][i] for i in asked}
    return [auto[i] for i in range(len(gains))], rules


def _values(pair: ModelPair, runs: Sequence[Answers]) -> Values:
    return Values(
        np.array(
            [[ndcg_at_k(a, g, k=K) for a, g in zip(run, pair.gains, strict=True)] for run in runs]
        ),
        np.array(
            [[recall_at_k(a, g, k=K) for a, g in zip(run, pair.gains, strict=True)] for run in runs]
        ),
    )


def _figures(values: Values, line: Array) -> dict[str, float | list[float]]:
    return {
        "ndcg": float(values.ndcg.mean()),
        "ndcg_interval": _interval(values.ndcg),
        "recall": float(values.recall.mean()),
        "recall_interval": _interval(values.recall),
        "to_line": float((values.ndcg - line).mean()),
        "to_line_interval": _interval(values.ndcg - line),
    }


def _interval(values: Array) -> list[float]:
    """Return the 95 % bootstrap interval of the mean; seeds and queries are both drawn again."""
    rng = np.random.default_rng(0)
    seeds, queries = values.shape
    means = []
    for _ in range(RESAMPLES):
        drawn = values[rng.integers(0, seeds, seeds)].mean(axis=0)
        means.append(drawn[rng.integers(0, queries, queries)].mean())
    return np.quantile(means, (0.025, 0.975)).tolist()


def checks(report: dict[str, Any]) -> list[dict[str, Any]]:
    """Return what must hold of a real pair, with the worst of what was measured."""
    points = report["points"]
    old = points[0]["rules"]["old alone"]["ndcg"]

    def worst(rule: str, least_coverage: float = 0.0) -> float:
        return min(
            point["rules"][rule]["to_line"]
            for point in points
            if least_coverage <= point["coverage"] <= 1
        )

    found = [
        ("evidence against the line, from 50 % on", worst("evidence", EVIDENCE_FROM), 0.0),
        ("slots against the line", worst("slots"), -SLOTS_BELOW_LINE_MAX),
        (
            "slots against old alone",
            min(point["rules"]["slots"]["ndcg"] for point in points) - old,
            -SLOTS_BELOW_OLD_MAX,
        ),
        (
            "imputed, new double, against the line, from 50 % on",
            worst("imputed, new double", EVIDENCE_FROM),
            0.0,
        ),
        ("bridged imputed against the line", worst("bridged imputed"), 0.0),
    ]
    return [
        {"what": what, "measured": value, "at_least": bound, "passed": value >= bound - 1e-9}
        for what, value, bound in found
    ]
