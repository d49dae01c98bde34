"""Recall of bridges: the share of their own neighbours that mapped queries find."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from vstore.errors import InvalidArgumentError
from vstore.migration.gates.gates import GateResult, gate
from vstore.query.bridge_map import as_matrix

if TYPE_CHECKING:
    from vstore.manifest.spec import Metric
    from vstore.query.bridge_map import BridgeMap
    from vstore.types import Array

RECALL_K: Final = 10
_SCORES_MAX: Final = 1 << 22  # scores held at once while recall is measured


def bridge_gate(bridge: BridgeMap, *, required: float, queries: int | None = None) -> GateResult:
    """Compare a bridge's recall with the required one.

    Parameters
    ----------
    queries : int, optional
        Number of queries that the recall was measured with; None for the held-out documents.
    """
    evidence, unit = (bridge.held_out, "documents") if queries is None else (queries, "queries")
    return gate("bridge recall", bridge.recall, required, evidence=evidence, unit=unit)


def bridge_recall(
    bridge: BridgeMap, source_queries: Array, target_queries: Array, documents: Array
) -> float:
    """Return recall@10 of mapped queries against the target's own exact neighbours.

    With real queries, this is better evidence than `BridgeMap.recall`, for which the map is both
    fitted and measured on documents.

    Parameters
    ----------
    source_queries : float (n, source dimension)
        At least one.
    target_queries : float (n, target dimension)
        The same queries in the target space; for cosine, of unit length.
    documents : float (m, target dimension)
        Target vectors to search, likewise; at least one.

    Raises
    ------
    InvalidArgumentError
        If the shapes do not match, or there are no queries or no documents.
    """
    target_queries = as_matrix(target_queries, bridge.target_dimension)
    documents = as_matrix(documents, bridge.target_dimension)
    if len(source_queries) != len(target_queries) or not len(source_queries) or not len(documents):
        raise InvalidArgumentError(
            f"bridge recall: {len(source_queries)} queries of the source, {len(target_queries)} of "
            f"the target, {len(documents)} documents; expected as many of the one as of the other, "
            "at least one, and something to find"
        )
    return neighbour_recall(
        bridge.apply(source_queries), target_queries, documents, metric=bridge.metric
    )


def neighbour_recall(mapped: Array, own: Array, documents: Array, *, metric: Metric) -> float:
    """Return the mean share of each query's own exact top 10 in its mapped exact top 10.

    For cosine all vectors have unit length. Ties at the tenth place count as found.
    """
    k = min(RECALL_K, len(documents))
    # The only term of the squared distance, besides the product, that depends on the document.
    penalty = (documents**2).sum(axis=1) / 2 if metric == "l2" else np.zeros(len(documents))
    step = max(1, _SCORES_MAX // len(documents))
    found = 0
    for start in range(0, len(own), step):
        scores = own[start : start + step] @ documents.T - penalty
        guessed = mapped[start : start + step] @ documents.T - penalty
        top = np.argpartition(-guessed, k - 1, axis=1)[:, :k]
        kth = np.partition(scores, -k, axis=1)[:, -k]
        found += int((np.take_along_axis(scores, top, axis=1) >= kth[:, None]).sum())
    return found / (k * len(own))
