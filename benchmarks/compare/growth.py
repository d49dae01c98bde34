"""What a query costs as a collection grows.

``python -m benchmarks.compare.growth [ROWS ...]``; 10,000 to 1,000,000 rows of 64 seeded dimensions
if not given. Each collection is the beginning of the largest one, all are asked the same 1,000
questions in one batch, by one thread, for a recall of 0.95, and take turns.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from rich.console import Console
from rich.table import Table

import vstore
from benchmarks.compare.data import K, nearest, recall, seeded
from benchmarks.compare.plot import plot_growth
from benchmarks.measure import RESULTS, alternate, machine, save, timed

if TYPE_CHECKING:
    import numpy.typing as npt

    from vstore.engine.version_info import VersionInfo

SIZES, DIMENSION, RECALL, ROUNDS = (10_000, 30_000, 100_000, 300_000, 1_000_000), 64, 0.95, 9
GRAPH_ROWS_MIN = 10_000  # vstore's default; less only for a quick look at smaller sizes


def main() -> None:
    """Measure, print, write JSON and a plot."""
    sizes = sorted(map(int, sys.argv[1:])) or list(SIZES)
    vectors, queries = seeded(sizes[-1], DIMENSION)
    with tempfile.TemporaryDirectory() as folder:
        report = measure(Path(folder), sizes, vectors, queries)
    save("growth", report)
    plot_growth(report, RESULTS / "growth.png")
    show(report)


def measure(
    folder: Path,
    sizes: list[int],
    vectors: npt.NDArray[np.float32],
    queries: npt.NDArray[np.float32],
) -> dict[str, Any]:
    """Return everything measured, as plain data."""
    asks = {}
    points: list[dict[str, Any]] = []
    stores = []
    for rows in sizes:
        path = folder / f"{rows}.vstore"
        version = write(path, vectors[:rows], min(GRAPH_ROWS_MIN, sizes[0]))
        stores.append(vstore.open(path, mode="r", threads=1))
        docs = stores[-1].collection("docs")

        def ask(docs: vstore.Collection = docs) -> list[vstore.SearchResult]:
            return docs.search_batch(queries, version="v", k=K, recall=RECALL)

        found = np.array([result.ids for result in ask()])
        truth = nearest(vectors[:rows], queries, K)
        points.append(
            {
                "rows": rows,
                "segments": version.segments,
                "graphs": version.graphs,
                "recall": recall(found, truth),
            }
        )
        asks[str(rows)] = timed(ask)
    seconds = alternate(asks, rounds=ROUNDS)
    for store in stores:
        store.close()
    for point in points:
        point["query_us"] = seconds[str(point["rows"])] / len(queries) * 1e6
    times = [point["query_us"] for point in points]
    return {
        "data": f"seeded, {DIMENSION} dimensions",
        "recall_wanted": RECALL,
        "machine": machine(),
        "points": points,
        "fit": fit(sizes, times),
        "rows_ratio": sizes[-1] / sizes[0],
        "time_ratio": times[-1] / times[0],
    }


def write(path: Path, vectors: npt.NDArray[np.float32], graph_rows_min: int) -> VersionInfo:
    """Write a collection and return what there is to know about its version."""
    with vstore.open(path) as store:
        docs = store.create_collection("docs")
        spec = vstore.EmbeddingSpec("m", vectors.shape[1], metric="l2")
        docs.create_version("v", spec, graph_rows_min=graph_rows_min)
        docs.upsert(range(len(vectors)), vectors={"v": vectors})
        return docs.versions["v"]


def fit(sizes: list[int], times_us: list[float]) -> dict[str, float]:
    """Return the line through time against log10 of rows, and the largest share it is off."""
    slope, start = np.polyfit(np.log10(sizes), times_us, 1).tolist()
    off = np.abs(start + slope * np.log10(sizes) - times_us) / times_us
    return {"us_per_tenfold": slope, "us_at_one_row": start, "off_at_most": float(off.max())}


def show(report: dict[str, Any]) -> None:
    """Print the table."""
    table = Table(title=f"{report['data']}, one thread, recall {report['recall_wanted']}")
    for column in ("rows", "us per query", "recall", "segments", "graphs"):
        table.add_column(column, justify="right")
    for point in report["points"]:
        table.add_row(
            f"{point['rows']:,}",
            f"{point['query_us']:.1f}",
            f"{point['recall']:.3f}",
            str(point["segments"]),
            str(point["graphs"]),
        )
    console = Console()
    console.print(table)
    console.print(f"{report['rows_ratio']:.0f} x the rows, {report['time_ratio']:.2f} x the time")


if __name__ == "__main__":
    main()
