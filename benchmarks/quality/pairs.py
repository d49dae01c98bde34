"""Pairs of models over the same judged documents: real ones, and simulated ones."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.make_demo_data import read_judgments
from vstore.demo.corpus import load_scifact
from vstore.evaluation.measures import mean_ndcg_at_k
from vstore.query.bridge_map import unit_rows

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from vstore.types import FloatArray

K = 10
TRUNCATED = {"SciFact": 24, "Cranfield": 12}  # dimensions of LSA that are left: nDCG@10 .15 and .20


@dataclass(frozen=True)
class ModelPair:
    """One collection under an old and a new model; all vectors have unit length, or are 0.

    ``gains`` has the judgments of each query, by document number. ``role``: "real" or "simulated"
    pairs are those that rules were made with, "unseen" ones were looked at only afterwards.
    """

    name: str
    role: str
    old_documents: FloatArray
    new_documents: FloatArray
    old_queries: FloatArray
    new_queries: FloatArray
    gains: list[dict[int, float]]

    def ndcg(self, queries: FloatArray, documents: FloatArray) -> float:
        best = np.argsort(-(queries @ documents.T), axis=1, kind="stable")[:, :K]
        return mean_ndcg_at_k(best.tolist(), self.gains, k=K)


def pairs(data: Path | None) -> Iterator[ModelPair]:
    """Yield all pairs: of the packaged data, or of a folder with `scifact` and `cranfield`."""
    if data is None:
        yield from _variants(_packaged(), "SciFact")
        return
    for name, judgments in (("SciFact", "qrels.test.tsv"), ("Cranfield", "qrels.tsv")):
        folder = data / name.lower()
        real = _stored(folder, f"{name}, LSA-384 to MiniLM", judgments, "lsa384", "minilm384")
        yield from _variants(real, name)
        smaller = _stored(folder, f"{name}, LSA-256 to MiniLM", judgments, "lsa256", "minilm384")
        yield replace(smaller, role="unseen")


def _variants(real: ModelPair, collection: str) -> Iterator[ModelPair]:
    yield real
    yield replace(
        real,
        name=f"{collection}, old truncated",
        role="simulated",
        old_documents=_truncated(real.old_documents, TRUNCATED[collection]),
        old_queries=_truncated(real.old_queries, TRUNCATED[collection]),
    )
    if collection == "SciFact":
        yield replace(
            real,
            name=f"{collection}, old with noise",
            role="simulated",
            old_documents=_noisy(real.old_documents, 1.2, seed=3),
            old_queries=_noisy(real.old_queries, 1.2, seed=4),
        )
        yield _no_better(real, collection)
    yield replace(
        real,
        name=f"{collection}, backwards: MiniLM to LSA-384",
        role="unseen",
        old_documents=real.new_documents,
        old_queries=real.new_queries,
        new_documents=real.old_documents,
        new_queries=real.old_queries,
    )


def _no_better(real: ModelPair, collection: str) -> ModelPair:
    """Add so much noise to the new space that it is as good as the old one."""
    wanted = real.ndcg(real.old_queries, real.old_documents)

    def noisy(sigma: float) -> ModelPair:
        return replace(
            real,
            name=f"{collection}, new with noise: no better",
            role="simulated",
            new_documents=_noisy(real.new_documents, sigma, seed=1),
            new_queries=_noisy(real.new_queries, sigma, seed=2),
        )

    sigma = _bisected(
        lambda sigma: noisy(sigma).ndcg(noisy(sigma).new_queries, noisy(sigma).new_documents),
        wanted,
    )
    return noisy(sigma)


def _bisected(falling: Callable[[float], float], wanted: float) -> float:
    low, high = 0.0, 3.0
    for _ in range(10):
        middle = (low + high) / 2
        low, high = (middle, high) if falling(middle) > wanted else (low, middle)
    return (low + high) / 2


def _truncated(vectors: FloatArray, dimensions: int) -> FloatArray:
    kept = vectors.copy()
    kept[:, dimensions:] = 0  # not cut off, so that old and new can still be mixed up
    return unit_rows(kept)


def _noisy(vectors: FloatArray, sigma: float, *, seed: int) -> FloatArray:
    """Add noise whose length is sigma, on average."""
    noise = np.random.default_rng(seed).standard_normal(vectors.shape, np.float32)
    return unit_rows(vectors + sigma / np.sqrt(vectors.shape[1]) * noise)


def _packaged() -> ModelPair:
    demo = load_scifact()
    number = {id_: i for i, id_ in enumerate(demo.document_ids)}
    return ModelPair(
        name="SciFact, LSA-384 to MiniLM",
        role="real",
        old_documents=demo.old_documents,
        new_documents=demo.new_documents,
        old_queries=demo.old_queries,
        new_queries=demo.new_queries,
        gains=[
            {number[id_]: float(gain) for id_, gain in gains.items()} for gains in demo.judgments
        ],
    )


def _stored(folder: Path, name: str, judgments: str, old: str, new: str) -> ModelPair:
    with np.load(folder / "vectors.npz", allow_pickle=False) as arrays:
        number = {id_: i for i, id_ in enumerate(arrays["doc_ids"].tolist())}
        query_ids: list[str] = arrays["query_ids"].tolist()
        vectors = {
            side: unit_rows(arrays[f"{model}_{kind}"].astype(np.float32))
            for model, kind, side in (
                (old, "docs", "old_documents"),
                (new, "docs", "new_documents"),
                (old, "queries", "old_queries"),
                (new, "queries", "new_queries"),
            )
        }
    gains = [
        {number[id_]: float(gain) for id_, gain in of_query.items() if id_ in number and gain > 0}
        for of_query in read_judgments(folder / judgments, query_ids)
    ]
    judged = [i for i, of_query in enumerate(gains) if of_query]
    for side in ("old_queries", "new_queries"):
        vectors[side] = vectors[side][judged]
    return ModelPair(name=name, role="real", gains=[gains[i] for i in judged], **vectors)
