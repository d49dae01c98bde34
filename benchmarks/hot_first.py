"""How much of the traffic a half-done migration serves: hot documents first, against by number.

10 % of the documents take 80 % of the queries: a seeded Zipf distribution with the exponent that
makes it so. The store orders the migration by the hits in its own record, and after each batch says
how much of that traffic is covered. Queries of a later day, drawn anew, tell how much of *theirs*
is. Nothing is timed here.

    python -m benchmarks.hot_first
"""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

import vstore
from benchmarks.compare.plot import picture
from benchmarks.measure import RESULTS, Comparison, machine, report, save
from vstore.manifest.edits import put_collection
from vstore.manifest.hits import hits_of, plain_hits
from vstore.manifest.record import append_record

if TYPE_CHECKING:
    from collections.abc import Sequence

    from vstore.manifest.job_state import JobOrder
    from vstore.manifest.state import StoreState
    from vstore.types import Array

SEED = 20_261_125
DIMENSION = 8
HOT_SHARE, HOT_TRAFFIC = 0.1, 0.8
QUERIES = 1_000_000


def popularity(documents: int, rng: np.random.Generator) -> Array:
    """Return the share of queries that each document takes, in random order."""
    low, high = 0.0, 4.0
    ranks = np.arange(1, documents + 1, dtype=np.float64)
    for _ in range(60):  # bisection for the exponent: a larger one makes a hotter head
        middle = (low + high) / 2
        weights = ranks**-middle / (ranks**-middle).sum()
        hot = weights[: int(documents * HOT_SHARE)].sum()
        low, high = (middle, high) if hot < HOT_TRAFFIC else (low, middle)
    return rng.permutation(ranks**-high / (ranks**-high).sum())


def make_store(hits: Array) -> vstore.Collection:
    docs = vstore.open(":memory:").create_collection("docs")
    for label in ("old", "new"):
        docs.create_version(label, vstore.EmbeddingSpec(label, DIMENSION), graph_rows_min=None)
    rows = np.random.default_rng(0).standard_normal((len(hits), DIMENSION)).astype(np.float32)
    docs.upsert(list(range(len(hits))), vectors={"old": rows})
    with docs.store.transaction() as tx:
        ref = append_record(docs.store._open_file.current().container, plain_hits(hits_of(hits)))

        def put(state: StoreState) -> StoreState:
            return put_collection(state, state.collections["docs"]._replace(hits=ref))

        tx._draft.edit(put, name="hits", note="")
    return docs


class Curve(NamedTuple):
    """Share of the work, and of the traffic that is covered: as counted, and of a later day."""

    work: list[float]
    counted: list[float]
    later: list[float]


def curve(hits: Array, later: Array, order: JobOrder, batches: int) -> Curve:
    """Migrate, and look after each batch."""
    docs = make_store(hits)
    points = Curve([0.0], [0.0], [0.0])

    def embed(batch: Sequence[vstore.Document]) -> Array:
        return np.ones((len(batch), DIMENSION), np.float32)

    def note(*_: int) -> None:
        covered = docs.coverage("new", weighted=True)
        points.work.append(covered.share)
        points.counted.append(covered.traffic_share)
        fresh = docs._handle.view().rows("new").has_fresh  # ids were given by docno
        points.later.append(float(later[fresh].sum() / later.sum()))

    size = max(len(hits) // batches, 1)
    docs.migrate("old", "new", embed, order=order, calls=vstore.Calls(batch_size=size)).run(
        progress=note
    )
    return points


def area(work: list[float], covered: list[float]) -> float:
    """Return the area under a curve, by trapezoids; 0.5 is what an order by chance would have."""
    x, y = np.array(work), np.array(covered)
    return float(np.sum(np.diff(x) * (y[1:] + y[:-1]) / 2))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--documents", type=int, default=100_000)
    parser.add_argument("--batches", type=int, default=200)
    arguments = parser.parse_args()
    rng = np.random.default_rng(SEED)
    shares = popularity(arguments.documents, rng)
    hits, later = (rng.multinomial(QUERIES, shares).astype(np.uint64) for _ in range(2))
    hot = curve(hits, later, "hot", arguments.batches)
    plain = curve(hits, later, "id", arguments.batches)
    rows = []
    for name, least, ours, baseline in (
        ("traffic as counted", 0.8, hot.counted, plain.counted),
        ("traffic of a later day", None, hot.later, plain.later),
    ):
        at = [float(np.interp(0.1, c.work, y)) for c, y in ((hot, ours), (plain, baseline))]
        rows.append(_row(f"{name}, covered at 10 % of the work", *at, least))
        areas = area(hot.work, ours), area(plain.work, baseline)
        rows.append(_row(f"{name}, area under it against work", *areas, None))
    title = f"Traffic covered, {arguments.documents:,} documents, 10 % of them take 80 %"
    report("hot_first", title, rows)
    curves = {"hot first": hot, "by number": plain}
    document: dict[str, Any] = {
        "name": "hot_first",
        "title": title,
        "machine": machine(),
        "seed": SEED,
        "rows": [vars(row) for row in rows],
        "curves": {name: _thinned(points) for name, points in curves.items()},
    }
    save("hot_first", document)
    with picture(RESULTS / "hot_first.png") as axes:
        for name, points in curves.items():
            under = area(points.work, points.counted)
            axes.plot(points.work, points.counted, label=f"{name}, area {under:.3f}")
        under = area(hot.work, hot.later)
        axes.plot(hot.work, hot.later, "--", label=f"hot first, a later day, area {under:.3f}")
        axes.set(xlabel="share of the documents migrated", ylabel="share of the traffic covered",
                 title=title)  # fmt: skip


def _thinned(points: Curve) -> dict[str, list[float]]:
    step = max(len(points.work) // 50, 1)
    return {
        name: [round(value, 5) for value in values[::step]]
        for name, values in points._asdict().items()
    }


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
