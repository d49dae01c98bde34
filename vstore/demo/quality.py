"""What readers get at one moment of the migration, measured on the store as it was then."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from vstore.api.opening import open_store
from vstore.demo.models import COLLECTION, NEW, OLD
from vstore.evaluation.measures import mean_ndcg_at_k, mean_recall_at_k
from vstore.query.reads import Dual

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from vstore.api.collection import Collection
    from vstore.api.store import Store
    from vstore.demo.corpus import ScifactDemo
    from vstore.fusions import FusionName
    from vstore.types import BoolArray, DocumentId

K: Final = 10
METHODS: Final = ("v1 alone", "v2 alone", "mixed", "slots", "evidence")


class Quality(NamedTuple):
    """nDCG@10 and recall@10 by people's judgments, means over the queries."""

    ndcg: float
    recall: float


@dataclass(frozen=True, slots=True)
class Moment:
    """One epoch of the migration.

    Attributes
    ----------
    coverage : float
        Share of documents that version 2 has.
    quality : dict of method to Quality
    explicit, silent : float
        Mixed-version retrieval rate: of the dual reads' answers, the share that came from both
        versions as planned; of all answers, the share that did so unplanned.
    """

    epoch: int
    coverage: float
    quality: dict[str, Quality]
    explicit: float
    silent: float


def judged(corpus: ScifactDemo, ranked: Sequence[Sequence[DocumentId]]) -> Quality:
    """Return the quality of one answer per query."""
    answers = [list(map(str, answer)) for answer in ranked]
    return Quality(
        mean_ndcg_at_k(answers, corpus.judgments, k=K),
        mean_recall_at_k(answers, corpus.judgments, k=K),
    )


def single_read(papers: Collection, corpus: ScifactDemo, label: str) -> Quality:
    """Ask one version all queries, with its own model's vectors."""
    queries = corpus.old_queries if label == OLD else corpus.new_queries
    results = papers.search_batch(queries, version=label, k=K)
    return judged(corpus, [result.ids for result in results])


def dual_read(papers: Collection, corpus: ScifactDemo, fusion: FusionName) -> Quality:
    """Ask both versions all queries, each version with its own model's vectors."""
    results = papers.search_batch(
        {OLD: corpus.old_queries, NEW: corpus.new_queries},
        k=K,
        read=Dual(NEW, old=OLD, fusion=fusion),
    )
    return judged(corpus, [result.ids for result in results])


def measure(path: Path, epoch: int, corpus: ScifactDemo) -> Moment:
    """Open the file as it was at an epoch, and ask all queries in every way there is."""
    with open_store(path, epoch=epoch) as store:
        papers = store.collection(COLLECTION)
        quality = {
            "v1 alone": single_read(papers, corpus, OLD),
            "v2 alone": single_read(papers, corpus, NEW),
            "mixed": mixed_on_purpose(corpus, migrated(papers, corpus)),
        }
        _, silent_matched = _mixed_version_rate(store)
    with open_store(path, epoch=epoch) as store:  # another handle counts from zero
        papers = store.collection(COLLECTION)
        quality["slots"] = dual_read(papers, corpus, "slots")
        quality["evidence"] = dual_read(papers, corpus, "evidence")
        explicit, silent_dual = _mixed_version_rate(store)
        return Moment(
            epoch,
            papers.coverage(NEW).share,
            quality,
            explicit,
            max(silent_matched, silent_dual),
        )


def _mixed_version_rate(store: Store) -> tuple[float, float]:
    rates = store.metrics().to_dict()["mixed_version_rate"]
    assert isinstance(rates, dict)
    return rates["explicit"], rates["silent"]


def migrated(papers: Collection, corpus: ScifactDemo) -> BoolArray:
    """Return by document of the corpus whether version 2 has it."""
    there = {id_ for ids, _, _, _ in papers.vectors(NEW) for id_ in ids}
    return np.array([id_ in there for id_ in corpus.document_ids])


def mixed_on_purpose(corpus: ScifactDemo, moved: BoolArray) -> Quality:
    """Do outside the store what it refuses: new queries over one array of old and new vectors.

    The arrays have equal shapes, so NumPy finds nothing wrong, nor would an index that is handed
    new vectors under old ids.
    """
    index = np.where(moved[:, None], corpus.new_documents, corpus.old_documents)
    best = np.argsort(-(corpus.new_queries @ index.T), axis=1, kind="stable")[:, :K]
    return judged(corpus, [[corpus.document_ids[i] for i in row] for row in best.tolist()])
