"""Recall against queries per second, one thread, and building with two: vstore and its peers.

``python -m benchmarks.compare.search SOURCE [LIBRARY ...]``; SOURCE as in `data.load`. Libraries
take turns at every width of search; medians are compared at equal recall, between the points that
were measured. What is not installed, or fails, is listed with the reason.
"""

from __future__ import annotations

import statistics
import sys
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks.compare.data import Data, K, file_name, load, recall
from benchmarks.compare.peer import EF_GRID, PACKAGES, Peer
from benchmarks.compare.peers import built, every, installed
from benchmarks.compare.plot import plot_curves
from benchmarks.measure import RESULTS, machine, save, seconds_of

RECALLS = (0.90, 0.95, 0.99)
ROUNDS, SINGLE_QUERIES, BUILD_THREADS = 5, 300, 2


def main() -> None:
    """Measure, print, write JSON and a plot."""
    source, *only = sys.argv[1:]
    data = load(source)
    peers, missing = installed(every(), ["vstore", *only] if only else None)
    report = compare(data, peers, missing)
    name = f"compare-{file_name(data)}"
    save(name, report)
    plot_curves(report, RESULTS / f"{name}.png")
    show(report)


def compare(data: Data, peers: list[Peer], missing: dict[str, str]) -> dict[str, Any]:
    """Return everything measured, as plain data."""
    builds, memory_mib, failed = built(peers, data.vectors, BUILD_THREADS)
    curves: dict[str, list[dict[str, float]]] = {peer.name: [] for peer in peers}
    for ef in EF_GRID:
        asked = {
            peer.name: (peer, data.queries[: peer.queries_max])
            for peer in peers
            if ef in peer.widths
        }
        times: dict[str, list[float]] = {name: [] for name in asked}
        found = {}
        for name, (peer, queries) in asked.items():
            peer.tune(ef)
            found[name] = recall(peer.search(queries), data.truth[: len(queries)])
        for _ in range(ROUNDS):
            for name, (peer, queries) in asked.items():
                times[name].append(seconds_of(lambda: peer.search(queries)))
        for name, seconds in times.items():
            qps = len(asked[name][1]) / statistics.median(seconds)
            curves[name].append({"ef": ef, "recall": found[name], "qps": qps})
    return {
        "data": data.name,
        "machine": machine(PACKAGES),
        "build_s": builds,
        "memory_mib": memory_mib,
        "not_shown": missing | failed,
        "curves": curves,
        "qps_at": {
            str(wanted): {name: qps_at(curve, wanted) for name, curve in curves.items()}
            for wanted in RECALLS
        },
        "single_us": single(data, peers, curves),
    }


def qps_at(curve: list[dict[str, float]], wanted: float) -> float | None:
    """Return the queries per second at a recall: log-linear between points; None if not reached."""
    before: dict[str, float] | None = None
    for point in curve:
        if point["recall"] >= wanted:
            if before is None or point["recall"] == before["recall"]:
                return point["qps"]
            share = (wanted - before["recall"]) / (point["recall"] - before["recall"])
            low, high = np.log(before["qps"]), np.log(point["qps"])
            return float(np.exp(low + share * (high - low)))
        before = point
    return None


def single(
    data: Data, peers: list[Peer], curves: dict[str, list[dict[str, float]]]
) -> dict[str, float]:
    """Return the median time of one question at recall 0.95, in turns, in microseconds."""
    asked = {}
    for peer in peers:
        ef = next((p["ef"] for p in curves[peer.name] if p["recall"] >= 0.95), None)
        if ef is not None:
            peer.tune(int(ef))
            asked[peer.name] = peer
    times: dict[str, list[float]] = {name: [] for name in asked}
    for query in data.queries[:SINGLE_QUERIES]:
        for name, peer in asked.items():
            times[name].append(seconds_of(lambda peer=peer: peer.search_one(query)))  # type: ignore[misc]
    return {name: statistics.median(seconds) * 1e6 for name, seconds in times.items()}


def not_shown(report: dict[str, Any]) -> list[str]:
    """Return what is not in the table, and why; older reports do not say."""
    reasons = report.get("not_shown", {})
    return [f"not shown: {name}, {reason}" for name, reason in reasons.items()]


def show(report: dict[str, Any]) -> None:
    """Print the table."""
    table = Table(title=f"{report['data']}, k = {K}, one thread")
    for column in ("library", *(f"QPS at {r}" for r in RECALLS), "build s", "one query us"):
        table.add_column(column, justify="left" if column == "library" else "right")
    for name in report["curves"]:
        speeds = [report["qps_at"][str(wanted)][name] for wanted in RECALLS]
        table.add_row(
            name,
            *("-" if qps is None else f"{qps:,.0f}" for qps in speeds),
            f"{report['build_s'][name]:.1f}",
            f"{report['single_us'][name]:.0f}" if name in report["single_us"] else "-",
        )
    console = Console()
    console.print(table)
    for note in not_shown(report):
        console.print(note)


if __name__ == "__main__":
    main()
