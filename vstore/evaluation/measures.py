"""How good ranked answers are: nDCG and recall by judgments, recall against exact search.

A query with nothing to find has no quality: the measure refuses it, the mean over queries leaves it
out. Answers hold each document once (search with chunks collapsed), since a document found twice
would gain twice.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from vstore.errors import InvalidArgumentError

if TYPE_CHECKING:
    from collections.abc import Collection, Hashable, Iterable, Mapping, Sequence

Id = TypeVar("Id", bound="Hashable")


class ScoredIds(NamedTuple):
    """One answer, best first.

    Attributes
    ----------
    ids : sequence
    scores : sequence of float
        As ``ids``; larger is better.
    """

    ids: Sequence[Hashable]
    scores: Sequence[float]


def ndcg_at_k(ranked: Sequence[Id], judgments: Mapping[Id, float], *, k: int) -> float:
    """Return the normalised discounted cumulative gain of one answer's first k documents.

    The gain is the judgment itself, divided by log2(rank + 1), ranks from 1; the ideal answer has
    all judged documents in descending order. So does trec_eval from release 9 (``ndcg_cut``)
    and with it BEIR. Järvelin and Kekäläinen, ACM TOIS 20(4), 2002, with the later discount;
    the variant with gain 2**judgment - 1 differs for graded judgments only.

    Parameters
    ----------
    ranked : sequence
        Ids, best first; short answers are not padded.
    judgments : mapping of id to gain
        Ids that are missing, or not above 0, gain nothing.
    k : int
        At least 1.

    Returns
    -------
    float
        In [0, 1].

    Raises
    ------
    InvalidArgumentError
        If no judgment is above 0, ``ranked`` has an id twice, or k is below 1.
    """
    _check(ranked, k)
    ideal = sorted((gain for gain in judgments.values() if gain > 0), reverse=True)
    if not ideal:
        raise InvalidArgumentError("nDCG: no judgment is above 0, so there is nothing to find")
    found = [max(judgments.get(document, 0.0), 0.0) for document in ranked[:k]]
    return _discounted(found) / _discounted(ideal[:k])


def _discounted(gains: Iterable[float]) -> float:
    return math.fsum(gain / math.log2(rank + 1) for rank, gain in enumerate(gains, 1))


def recall_at_k(ranked: Sequence[Id], relevant: Collection[Id], *, k: int) -> float:
    """Return the share of the relevant documents among one answer's first k.

    Of all relevant documents, as trec_eval's ``recall``: with more than k it cannot reach 1.

    Parameters
    ----------
    ranked : sequence
        Ids, best first.
    relevant : collection
        Ids judged above 0. Of a mapping the keys count, whatever their values.
    k : int
        At least 1.

    Raises
    ------
    InvalidArgumentError
        If nothing is relevant, ``ranked`` has an id twice, or k is below 1.
    """
    _check(ranked, k)
    wanted = frozenset(relevant)
    if not wanted:
        raise InvalidArgumentError("recall: no document is relevant, so there is nothing to find")
    return len(wanted.intersection(ranked[:k])) / len(wanted)


def recall_against_exact(
    found: ScoredIds, exact: ScoredIds, *, k: int, tolerance: float = 0.0
) -> float:
    """Return the share of the exact top k that an approximate search found; ties count.

    A hit counts if it is in the exact top k, or scores no less than the k-th best: which of several
    equally good documents comes back is no error. ann-benchmarks counts by distance likewise
    (Aumüller, Bernhardsson, Faithfull, Information Systems 87, 2020).

    Parameters
    ----------
    found : ScoredIds
        The approximate answer.
    exact : ScoredIds
        The exact answer for the same query, filter and version. With fewer than k documents it is
        taken for complete: there is nothing else to find.
    k : int
        At least 1.
    tolerance : float
        How far below the k-th best score a hit still ties; for scores of different kernels.

    Returns
    -------
    float
        In [0, 1]; 1 if the exact answer is empty, since nothing was missed.

    Raises
    ------
    InvalidArgumentError
        If an answer has an id twice or not one score per id, or k is below 1.
    """
    for answer in (found, exact):
        _check(answer.ids, k)
        if len(answer.ids) != len(answer.scores):
            raise InvalidArgumentError(
                f"recall: {len(answer.ids)} ids but {len(answer.scores)} scores"
            )
    best = frozenset(exact.ids[:k])
    if not best:
        return 1.0
    worst = exact.scores[k - 1] - tolerance if len(exact.ids) >= k else math.inf
    hits = sum(
        document in best or score >= worst
        for document, score in zip(found.ids[:k], found.scores[:k], strict=True)
    )
    return hits / len(best)


def mean_ndcg_at_k(
    ranked: Sequence[Sequence[Id]], judgments: Sequence[Mapping[Id, float]], *, k: int
) -> float:
    """Return the mean nDCG@k over the queries that have a judgment above 0."""
    return _mean(
        ndcg_at_k(answer, gains, k=k)
        for answer, gains in zip(ranked, judgments, strict=True)
        if any(gain > 0 for gain in gains.values())
    )


def mean_recall_at_k(
    ranked: Sequence[Sequence[Id]], relevant: Sequence[Collection[Id]], *, k: int
) -> float:
    """Return the mean recall@k over the queries that have a relevant document."""
    return _mean(
        recall_at_k(answer, wanted, k=k)
        for answer, wanted in zip(ranked, relevant, strict=True)
        if len(wanted)
    )


def _mean(values: Iterable[float]) -> float:
    measured = list(values)
    if not measured:
        raise InvalidArgumentError("mean: no query has anything to find")
    return math.fsum(measured) / len(measured)


def _check(ranked: Sequence[Hashable], k: int) -> None:
    if k < 1:
        raise InvalidArgumentError(f"k={k}; expected at least 1")
    if len(set(ranked)) != len(ranked):
        raise InvalidArgumentError("an answer has an id twice; search with chunks collapsed")
