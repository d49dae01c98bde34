"""How much of the traffic a half-done migration serves: hot documents first, against by number.

10 % of the documents take 80 % of the queries, seeded, Zipf-like on either side. The store runs the
migration, by the hits in its own record, and after each batch says how much of the traffic is
covered. Nothing is timed here.

    python -m benchmarks.hot_first
"""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

import numpy as np

import vstore
from benchmarks.compare.plot import picture
from benchmarks.measure import RESULTS, Comparison, machine, report, save
from vstore.manifest.edits import put_collection
from vstore.manifest.hits import hits_of, plain_hits
from vstore.manifest.record import append_record

if TYPE_CHECKING:
    from collections.abc import Sequence

    from vstore.manifest.state import JobOrder, StoreState
    from vstore.types import Array

SEED = 20_261_125
DIMENSION = 8
HOT_SHARE, HOT_TRAFFIC = 0.1, 0.8
QUERIES = 1_000_000


def traffic(documents: int, rng: np.random.Generator) -> Array:
    """Return how often each document is found, u64 (documents,)."""
    hot = int(documents * HOT_SHARE)
    weights = np.empty(documents)
    weights[:hot] = _zipf(hot, HOT_TRAFFIC)
    weights[hot:] = _zipf(documents - hot, 1 - HOT_TRAFFIC)
    return rng.multinomial(QUERIES, rng.permutation(weights)).astype(np.uint64)


def _zipf(count: int, total: float) -> Array:
    weights = 1.0 / np.arange(10, count + 10)  # without a few documents that take nearly all
    return np.asarray(weights * total / weights.sum())


def make_store(hits: Array) -> vstore.Collection:
    docs = vstore.open(":memory:").create_collection("docs")
    for label in ("old", "new"):
        docs.create_version(label, vstore.EmbeddingSpec(label, DIMENSION), graph_rows_min=None)
    rows = np.random.default_rng(0).standard_normal((len(hits), DIMENSION)).astype(np.float32)
    docs.upsert(list(range(len(hits))), vectors={"old": rows})
    with docs.store.transaction() as tx:
        ref = append_record(docs.store.current().container, plain_hits(hits_of(hits)))

        def put(state: StoreState) -> StoreState:
            return put_collection(state, state.collections["docs"]._replace(hits=ref))

        tx.edit(put, name="hits", note="")
    return docs


def curve(hits: Array, order: JobOrder, batches: int) -> list[tuple[float, float]]:
    """Return share of the work done and share of the traffic covered, after each batch."""
    docs = make_store(hits)
    points = [(0.0, docs.coverage("new", weighted=True).traffic_share)]

    def embed(batch: Sequence[vstore.Document]) -> Array:
        return np.ones((len(batch), DIMENSION), np.float32)

    def note(*_: int) -> None:
        covered = docs.coverage("new", weighted=True)
        points.append((covered.share, covered.traffic_share))

    size = max(len(hits) // batches, 1)
    docs.migrate("old", "new", embed, order=order, batch_size=size).run(progress=note)
    return points


def area(points: list[tuple[float, float]]) -> float:
    """Return the area under a curve, by trapezoids; 0.5 is what no order at all would have."""
    work, covered = np.array(points).T
    return float(np.sum(np.diff(work) * (covered[1:] + covered[:-1]) / 2))


def at(points: list[tuple[float, float]], work: float) -> float:
    return float(np.interp(work, *np.array(points).T))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--documents", type=int, default=100_000)
    parser.add_argument("--batches", type=int, default=200)
    arguments = parser.parse_args()
    hits = traffic(arguments.documents, np.random.default_rng(SEED))
    curves = {
        "hot first": curve(hits, "hot", arguments.batches),
        "by number": curve(hits, "id", arguments.batches),
    }
    hot, plain = curves["hot first"], curves["by number"]
    rows = [
        _row("traffic covered at 10 % of the work", at(hot, 0.1), at(plain, 0.1), 0.8),
        _row("area under traffic against work", area(hot), area(plain), None),
    ]
    title = f"Traffic covered, {arguments.documents:,} documents, 10 % of them take 80 %"
    report("hot_first", title, rows)
    document: dict[str, Any] = {
        "name": "hot_first",
        "title": title,
        "machine": machine(),
        "seed": SEED,
        "rows": [vars(row) for row in rows],
        "curves": {name: points[:: max(len(points) // 50, 1)] for name, points in curves.items()},
    }
    save("hot_first", document)
    with picture(RESULTS / "hot_first.png") as axes:
        for name, points in curves.items():
            axes.plot(*np.array(points).T, label=f"{name}, area {area(points):.3f}")
        axes.set(xlabel="share of the documents migrated", ylabel="share of the traffic covered",
                 title=title)  # fmt: skip


def _row(name: str, ours: float, baseline: float, least: float | None) -> Comparison:
    return Comparison(
        name=name,
        ours=ours,
        baseline=baseline,
        baseline_name="by number",
        unit="",
        bound="(shown)" if least is None else f">= {least}",
        passed=least is None or ours >= least,
        ratio=ours / baseline,
    )


if __name__ == "__main__":
    main()
