"""What a dual read takes against the slower one of its two single reads.

``python -m benchmarks.dual_read [ROWS]``; 100,000 documents if not given, half of them migrated,
two seeded spaces of 384 and 256 dimensions, graphs in both. One question at a time and in batches,
in turns, medians.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

import vstore
from benchmarks.compare.data import seeded
from benchmarks.measure import Comparison, report, seconds_of

ROWS, DIMENSIONS, SHARE = 100_000, (384, 256), 0.5
K, SINGLES, BATCH, ROUNDS = 10, 300, 500, 7
RULES = ("slots", "evidence", "imputed", "rrf")
LATENCY_MAX = 2.2


def main() -> None:
    """Measure, print and write the JSON."""
    rows = int(sys.argv[1]) if len(sys.argv) > 1 else ROWS
    with tempfile.TemporaryDirectory() as folder:
        comparisons = measure(Path(folder) / "dual.vstore", rows)
    report("dual_read", f"Dual reads, {rows:,} documents, half of them migrated", comparisons)


def filled(store: vstore.Store, rows: int) -> tuple[vstore.Collection, dict[str, Any]]:
    """Make two versions of the same documents, the second one of half of them."""
    docs = store.create_collection("docs")
    queries = {}
    moved = np.flatnonzero(np.random.default_rng(0).random(rows) < SHARE)
    for label, dimension in zip(("old", "new"), DIMENSIONS, strict=True):
        vectors, asked = seeded(rows, dimension)
        docs.create_version(label, vstore.EmbeddingSpec(label, dimension))
        if label == "old":
            docs.upsert(list(range(rows)), vectors={label: vectors})
        else:
            docs.add_vectors(moved.tolist(), vectors[moved], version=label)
        queries[label] = asked[:BATCH]
    store.optimize()
    return docs, queries


def measure(path: Path, rows: int) -> list[Comparison]:
    """Return each rule's time against the slower single read."""
    with vstore.open(path, threads=1) as store:
        docs, queries = filled(store, rows)

        def single(label: str) -> Any:
            return lambda i: docs.search(queries[label][i], version=label, k=K).ids

        def dual(rule: str) -> Any:
            def ask(i: int) -> Any:
                query = {label: vectors[i] for label, vectors in queries.items()}
                named: Any = rule
                return docs.search(query, read=vstore.Dual("new", fusion=named), k=K).ids

            return ask

        def batch(**options: Any) -> Any:
            return lambda: [r.ids for r in docs.search_batch(k=K, **options)]

        asked = {"old": single("old"), "new": single("new")} | {r: dual(r) for r in RULES}
        times: dict[str, list[float]] = {name: [] for name in asked}
        for turn in range(SINGLES):
            for name, ask in asked.items():
                times[name].append(seconds_of(lambda ask=ask, turn=turn: ask(turn)))  # type: ignore[misc]
        batches = {
            "old": batch(queries=queries["old"], version="old"),
            "new": batch(queries=queries["new"], version="new"),
        } | {
            rule: batch(queries=queries, read=vstore.Dual("new", fusion=rule))  # type: ignore[arg-type]
            for rule in RULES
        }
        totals: dict[str, list[float]] = {name: [] for name in batches}
        for _ in range(ROUNDS):
            for name, run in batches.items():
                totals[name].append(seconds_of(run) / BATCH)
    found = []
    for what, measured in (("one question", times), ("of a batch", totals)):
        medians = {name: statistics.median(values) * 1e6 for name, values in measured.items()}
        slower = max(medians["old"], medians["new"])
        for rule in RULES:
            ratio = medians[rule] / slower
            found.append(
                Comparison(
                    f"{what}, {rule}",
                    medians[rule],
                    slower,
                    "slower single read",
                    "us",
                    f"<= {LATENCY_MAX}",
                    ratio <= LATENCY_MAX,
                    ratio,
                )
            )
    return found


if __name__ == "__main__":
    main()
