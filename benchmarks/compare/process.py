"""New processes that open a saved index, ask, and exit: how long it takes, and how much memory.

``python -m benchmarks.compare.process`` compares vstore, hnswlib and faiss. Cold start: 100,000 x
384, one question, page cache warm, against ``import numpy`` alone. Memory: 100,000 x 768, 1,000
questions.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

import vstore
from benchmarks.compare.data import seeded
from benchmarks.measure import Comparison, report, seconds_of

if TYPE_CHECKING:
    from collections.abc import Callable

ROWS, ROUNDS = 100_000, 15
COLD_MAX, MEMORY_MAX = 1.6, 0.6
# Modules are compiled once, as after any installation.
ENVIRONMENT = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}

READ_RSS = """
import sys
print(open("/proc/self/statm").read().split()[1] if len(sys.argv) > 3 else "")
"""
ASK = {
    "numpy": "import numpy",
    "vstore": """
import sys, numpy as np, vstore
queries = np.load(sys.argv[2])
store = vstore.open(sys.argv[1] + "/index.vstore", mode="r")
docs = store.collection("docs")
for query in queries:
    docs.search(query, version="v", k=10).ids
"""
    + READ_RSS,
    "hnswlib": """
import sys, numpy as np, hnswlib
queries = np.load(sys.argv[2])
index = hnswlib.Index("l2", queries.shape[1])
index.load_index(sys.argv[1] + "/index.hnswlib")
index.set_ef(32)
for query in queries:
    index.knn_query(query, k=10)
"""
    + READ_RSS,
    "faiss": """
import sys, numpy as np, faiss
queries = np.load(sys.argv[2])
index = faiss.read_index(sys.argv[1] + "/index.faiss")
index.hnsw.efSearch = 32
for query in queries:
    index.search(query[None], 10)
"""
    + READ_RSS,
}


def main() -> None:
    """Measure, print and write the JSON."""
    with tempfile.TemporaryDirectory() as folder:
        rows = [*cold_start(Path(folder) / "384"), *memory(Path(folder) / "768")]
    report("compare-process", f"New processes, {ROWS:,} vectors", rows)


def saved(folder: Path, dimension: int, questions: int) -> Path:
    """Write the indexes and the questions."""
    import faiss
    import hnswlib

    folder.mkdir()
    vectors, queries = seeded(ROWS, dimension)
    with vstore.open(folder / "index.vstore") as store:
        docs = store.create_collection("docs")
        docs.create_version("v", vstore.EmbeddingSpec("m", dimension, metric="l2"))
        docs.upsert(list(range(ROWS)), vectors={"v": vectors})
    index = hnswlib.Index("l2", dimension)
    index.init_index(ROWS, M=16, ef_construction=200)
    index.add_items(vectors)
    index.save_index(str(folder / "index.hnswlib"))
    other = faiss.IndexHNSWFlat(dimension, 16)
    other.hnsw.efConstruction = 200
    other.add(vectors)
    faiss.write_index(other, str(folder / "index.faiss"))
    np.save(folder / "queries.npy", queries[:questions])
    return folder / "queries.npy"


def ask(name: str, folder: Path, queries: Path, *more: str) -> str:
    """Run a process and return what it prints."""
    done = subprocess.run(
        [sys.executable, "-c", ASK[name], str(folder), str(queries), *more],
        env=ENVIRONMENT,
        check=True,
        capture_output=True,
        text=True,
    )
    return done.stdout


def cold_start(folder: Path) -> list[Comparison]:
    """Return the wall time of a process that asks one question."""
    queries = saved(folder, 384, 1)
    times: dict[str, list[float]] = {name: [] for name in ASK}
    for _ in range(ROUNDS):
        for name, seconds in times.items():
            run: Callable[[], object] = lambda name=name: ask(name, folder, queries)  # type: ignore[misc]  # noqa: E731
            seconds.append(seconds_of(run))
    medians = {name: statistics.median(seconds) for name, seconds in times.items()}
    ours = medians["vstore"]
    rows = []
    for name, bound in (("numpy", COLD_MAX), ("hnswlib", 1.0), ("faiss", 1.0)):
        label = "import numpy" if name == "numpy" else name
        ratio = ours / medians[name]
        rows.append(
            Comparison(
                "open, ask one question, exit",
                ours * 1e3,
                medians[name] * 1e3,
                label,
                "ms",
                f"<= {bound:g}",
                ratio <= bound,
                ratio,
            )
        )
    return rows


def memory(folder: Path) -> list[Comparison]:
    """Return the resident memory after 1,000 questions."""
    import resource

    queries = saved(folder, 768, 1_000)
    mib = {
        name: int(ask(name, folder, queries, "rss").split()[-1]) * resource.getpagesize() / 2**20
        for name in ("vstore", "hnswlib", "faiss")
    }
    rows = []
    for name, bound in (("hnswlib", f"<= {MEMORY_MAX:g}"), ("faiss", "(shown)")):
        ratio = mib["vstore"] / mib[name]
        passed = name != "hnswlib" or ratio <= MEMORY_MAX
        rows.append(
            Comparison(
                "resident after 1,000 questions",
                mib["vstore"],
                mib[name],
                name,
                "MiB",
                bound,
                passed,
                ratio,
            )
        )
    return rows


if __name__ == "__main__":
    main()
