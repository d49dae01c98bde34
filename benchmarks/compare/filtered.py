"""Search among the rows that pass a filter: 50, 10, 1 and 0.1 % of them.

``python -m benchmarks.compare.filtered [SOURCE [LIBRARY ...]]``; SOURCE as in `data.load`, 100,000
x 384 if not given. Each row has a random label below 1,000, and the filter is ``label < n``. vstore
is asked for its default recall; the others are searched at growing widths until recall@10, against
exact filtered search, is 0.95, and shown at that width. Then all take turns: 200 questions at once,
and one at a time. What cannot be asked so is listed with the reason.
"""

from __future__ import annotations

import statistics
import sys
from typing import TYPE_CHECKING, Any

import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks.compare.data import Data, K, file_name, load, nearest, recall
from benchmarks.compare.databases import Lancedb, QdrantEdge, SqliteVec, Zvec
from benchmarks.compare.peer import PACKAGES, Peer
from benchmarks.compare.peers import Faiss, Hnswlib, Vstore, built, installed
from benchmarks.compare.plot import plot_filtered
from benchmarks.measure import RESULTS, machine, save, seconds_of

if TYPE_CHECKING:
    import numpy.typing as npt

SOURCE, LABELS, BELOW = "100000x384", 1_000, (500, 100, 10, 1)
WIDTHS = (10, 20, 40, 80, 160, 320, 640)
RECALL, QUERIES, SINGLE_QUERIES, ROUNDS, BUILD_THREADS = 0.95, 200, 50, 5, 2
CANNOT = {
    "usearch": "its Python interface takes no filter",
    "svs": "its Python interface takes no filter",
    "vsag": "its Python interface takes no filter",
}


def main() -> None:
    """Measure, print, write JSON and a plot."""
    source, *only = sys.argv[1:] or [SOURCE]
    every = [Vstore(), Hnswlib(), Faiss(codes=False), QdrantEdge(), Lancedb(), Zvec(), SqliteVec()]
    peers, missing = installed(every, ["vstore", *only] if only else None)
    data = load(source)
    report = compare(data, peers, missing if only else missing | CANNOT)
    name = f"filtered-{file_name(data)}"
    save(name, report)
    plot_filtered(report, RESULTS / f"{name}.png")
    show(report)


def compare(data: Data, peers: list[Peer], missing: dict[str, str]) -> dict[str, Any]:
    """Return everything measured, as plain data."""
    labels = np.random.default_rng(7).integers(0, LABELS, len(data.vectors))
    for peer in peers:
        peer.labels = labels
    builds, _, failed = built(peers, data.vectors, BUILD_THREADS)
    queries = data.queries[:QUERIES]
    results = {}
    for below in BELOW:
        rows = np.flatnonzero(labels < below)
        truth = rows[nearest(data.vectors[rows], queries, K)]
        results[f"{100 * below / LABELS:g}"] = among(below, queries, truth, peers)
    return {
        "data": data.name,
        "machine": machine(PACKAGES),
        "build_s": builds,
        "not_shown": missing | failed,
        "results": results,
    }


def among(
    below: int, queries: npt.NDArray[np.float32], truth: npt.NDArray[np.int64], peers: list[Peer]
) -> dict[str, dict[str, Any]]:
    """Return recall and speed of each at one filter."""
    found = {}
    for peer in peers:
        peer.allow(below)
        found[peer.name] = narrowest(peer, queries, truth)
    # vstore is what this is about: also if its promise is not kept, its speed is shown.
    timed = [peer for peer in peers if found[peer.name]["reached"] or isinstance(peer, Vstore)]
    batch: dict[str, list[float]] = {peer.name: [] for peer in timed}
    single: dict[str, list[float]] = {peer.name: [] for peer in timed}
    for _ in range(ROUNDS):
        for peer in timed:
            asked = queries[: peer.queries_max]
            batch[peer.name].append(seconds_of(lambda: peer.search(asked)) / len(asked))
        for peer in timed:
            asked = queries[:SINGLE_QUERIES]
            each = seconds_of(lambda: [peer.search_one(query) for query in asked]) / len(asked)
            single[peer.name].append(each)
    for name, seconds in batch.items():
        found[name]["qps"] = 1 / statistics.median(seconds)
        found[name]["single_us"] = statistics.median(single[name]) * 1e6
    return found


def narrowest(
    peer: Peer, queries: npt.NDArray[np.float32], truth: npt.NDArray[np.int64]
) -> dict[str, Any]:
    """Find the first width that reaches the recall, or else the best.

    A peer that reaches it stays tuned to it.
    """
    best: dict[str, Any] = {"ef": None, "recall": 0.0, "reached": False}
    asked = queries[: peer.queries_max]
    for ef in widths(peer):
        try:
            if ef is not None:
                peer.tune(ef)
            reached = recall(peer.search(asked), truth[: len(asked)])
        except RuntimeError as error:  # hnswlib, where it finds fewer than it was asked for
            best["error"] = f"ef {ef}: {error}"
            continue
        if reached > best["recall"]:
            best |= {"ef": ef, "recall": reached, "reached": reached >= RECALL}
        if best["reached"]:
            break
    return best


def widths(peer: Peer) -> tuple[int | None, ...]:
    """Return the widths to try; None for one that chooses its own, or has none."""
    if isinstance(peer, Vstore):
        peer.ef = None
        return (None,)
    return WIDTHS if len(peer.widths) > 1 else (None,)


def show(report: dict[str, Any]) -> None:
    """Print the table."""
    table = Table(title=f"{report['data']}, k = {K}, one thread: QPS (recall, width), one query")
    for column in ("library", *(f"{percent} % pass" for percent in report["results"])):
        table.add_column(column, justify="left" if column == "library" else "right")
    for name in report["build_s"]:
        table.add_row(name, *(cell(row[name]) for row in report["results"].values()))
    console = Console(width=160)
    console.print(table)
    for note in notes(report):
        console.print(note)


def notes(report: dict[str, Any]) -> list[str]:
    """Return what a table does not say, also for README.md."""
    missing = [f"not shown: {name}, {reason}" for name, reason in report["not_shown"].items()]
    errors = [
        f"{name}, {percent} % pass: {found['error']}"
        for percent, row in report["results"].items()
        for name, found in row.items()
        if "error" in found and not found["reached"]
    ]
    return missing + errors


def cell(found: dict[str, Any]) -> str:
    """Return what a table says of one library at one filter."""
    width = "" if found["ef"] is None else f", ef {found['ef']}"
    if "qps" not in found:
        return f"not reached: {found['recall']:.3f}{width}"
    mark = "" if found["reached"] else " not reached"
    speed = f"{found['qps']:,.0f} ({found['recall']:.3f}{mark}{width})"
    return f"{speed}, {found['single_us']:,.0f} us"


if __name__ == "__main__":
    main()
