"""One large collection: building it, its size, its memory, and its speed at three recalls.

``python -m benchmarks.compare.scale [ROWSxDIMENSION] [--with-hnswlib]``; 1,000,000 x 128 seeded if
not given. Vectors are written to a file first, and each step is a process of its own that maps it,
so that the memory of a step is what that step needs. Page cache warm.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

import vstore
from benchmarks.compare.data import K, nearest, recall, seeded
from benchmarks.compare.peers import Hnswlib
from benchmarks.compare.process import ask
from benchmarks.measure import alternate, machine, save, seconds_of, timed

SOURCE, RECALLS, ROUNDS, OPEN_ROUNDS = "1000000x128", (0.90, 0.95, 0.99), 5, 5
PEAK_MAX = 2.0  # of the raw vectors
GRAPH_ROWS_MIN = 10_000  # vstore's default; less only for a quick look at fewer rows
BUILD_THREADS = 2
HNSWLIB_WIDTHS = (10, 16, 24, 32, 48, 64, 96, 128, 200, 300, 400)

# The imports of NumPy and of vstore's front are outside, what vstore defers is inside.
FIRST = """
import sys, time
import numpy as np, vstore
query = np.load(sys.argv[2])[0]
started = time.perf_counter()
store = vstore.open(sys.argv[1], mode="r")
store.collection("docs").search(query, version="v", k=10).ids
print(time.perf_counter() - started)
"""


def main() -> None:
    """Measure, print and write the JSON; or take one step, in a process of its own."""
    parser = argparse.ArgumentParser()
    parser.add_argument("source", nargs="?", default=SOURCE)
    parser.add_argument("--with-hnswlib", action="store_true")
    parser.add_argument("--step", choices=STEPS, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.step:
        print(json.dumps(STEPS[given.step](given.folder, given)))
        return
    with tempfile.TemporaryDirectory() as folder:
        report = measure(Path(folder), given)
    save(f"scale-{given.source}", report)
    show(report)


def measure(folder: Path, given: argparse.Namespace) -> dict[str, Any]:
    """Return everything measured, as plain data."""
    subprocess.run([sys.executable, "-m", "vstore", "warmup"], check=True, capture_output=True)
    raw = in_process("make", folder, given)
    built = in_process("build", folder, given)
    first = [
        float(printed(FIRST, folder / "index.vstore", folder / "queries.npy"))
        for _ in range(OPEN_ROUNDS)
    ]
    pages = int(ask("vstore", folder, folder / "queries.npy", "rss").split()[-1])
    size_bytes = (folder / "index.vstore").stat().st_size
    measured = {
        "data": f"seeded, {built['rows']:,} x {built['dimension']}",
        "machine": machine(("hnswlib",)),
        "raw_mib": raw["raw_mib"],
        "ingest_s": built["ingest_s"],
        "graph_s": built["graph_s"],
        "segments": built["segments"],
        "graphs": built["graphs"],
        "file_mib": size_bytes / 2**20,
        "peak_mib": built["peak_mib"],
        "peak_before_mib": built["before_mib"],
        "peak_private_mib": built["peak_private_mib"],
        "peak_bound": PEAK_MAX,
        "peak_passed": (built["peak_private_mib"] or built["peak_mib"]) + raw["raw_mib"]
        <= PEAK_MAX * raw["raw_mib"],
        "first_answer_ms": statistics.median(first) * 1e3,
        "resident_mib": pages * resource.getpagesize() / 2**20,
    }
    return in_process("speed", folder, given) | measured


def in_process(step: str, folder: Path, given: argparse.Namespace) -> dict[str, Any]:
    """Take a step in a new process; add the most private memory that was seen meanwhile, in MiB."""
    command = [sys.executable, "-m", "benchmarks.compare.scale", given.source]
    command += ["--step", step, "--folder", str(folder)]
    if given.with_hnswlib:
        command.append("--with-hnswlib")
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        most = 0.0
        while process.poll() is None:
            most = max(most, private_mib(process.pid))
            time.sleep(0.02)
        output, _ = process.communicate()
    if process.returncode:
        raise SystemExit(f"the step {step!r} failed with exit code {process.returncode}")
    done: dict[str, Any] = json.loads(output.splitlines()[-1])
    return done | {"peak_private_mib": most}


def private_mib(pid: int) -> float:
    """Return a process's memory without pages of files; 0 where that is not known."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0.0
    return sum(int(line.split()[1]) for line in lines if line.startswith("RssAnon")) / 1024


def printed(script: str, *arguments: Path) -> str:
    """Run a script in a new process and return what it prints."""
    command = [sys.executable, "-c", script, *map(str, arguments)]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


# The steps.


def make(folder: Path, given: argparse.Namespace) -> dict[str, Any]:
    """Write vectors, queries and the right answers."""
    rows, dimension = map(int, given.source.split("x"))
    vectors, queries = seeded(rows, dimension)
    np.save(folder / "vectors.npy", vectors)
    np.save(folder / "queries.npy", queries)
    np.save(folder / "truth.npy", nearest(vectors, queries, K))
    return {"raw_mib": vectors.nbytes / 2**20}


def build(folder: Path, given: argparse.Namespace) -> dict[str, Any]:
    """Write a store in one call, then its graph."""
    vectors = np.load(folder / "vectors.npy", mmap_mode="r")
    rows, dimension = vectors.shape
    before = peak_mib()
    with vstore.open(folder / "index.vstore", indexing="manual") as store:
        docs = store.create_collection("docs")
        spec = vstore.EmbeddingSpec("m", dimension, metric="l2")
        docs.create_version("v", spec, graph_rows_min=min(GRAPH_ROWS_MIN, rows))
        ingest_s = seconds_of(lambda: docs.upsert(range(rows), vectors={"v": vectors}))
        graph_s = seconds_of(store.optimize)
        version = docs.versions["v"]
    return {
        "rows": rows,
        "dimension": dimension,
        "ingest_s": ingest_s,
        "graph_s": graph_s,
        "segments": version.segments,
        "graphs": version.graphs,
        "before_mib": before,
        "peak_mib": peak_mib(),
    }


def peak_mib() -> float:
    """Return the most memory this process ever had, pages of mapped files counted.

    On Linux that is at least what the parent had when it started this process: a parent that
    measures must be small.
    """
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**20 if sys.platform == "darwin" else 2**10)


def speed(folder: Path, given: argparse.Namespace) -> dict[str, Any]:
    """Search at each recall, in turns, by one thread."""
    queries, truth = np.load(folder / "queries.npy"), np.load(folder / "truth.npy")
    store = vstore.open(folder / "index.vstore", mode="r", threads=1)
    docs = store.collection("docs")

    def search(wanted: float) -> np.ndarray:
        found = docs.search_batch(queries, version="v", k=K, recall=wanted)
        return np.array([result.ids for result in found])

    reached = {wanted: recall(search(wanted), truth) for wanted in RECALLS}
    contenders = {f"vstore {wanted}": timed(lambda w=wanted: search(w)) for wanted in RECALLS}  # type: ignore[misc]
    other: dict[float, dict[str, Any]] = {}
    build_s = None
    if given.with_hnswlib:
        peer = Hnswlib()
        vectors = np.load(folder / "vectors.npy", mmap_mode="r")
        build_s = seconds_of(lambda: peer.build(vectors, BUILD_THREADS))
        for wanted in RECALLS:
            other[wanted] = at_recall(peer, queries, truth, reached[wanted])
            contenders[f"hnswlib {wanted}"] = timed(
                lambda ef=other[wanted]["ef"]: at_width(peer, ef, queries)  # type: ignore[misc]
            )
    seconds = alternate(contenders, rounds=ROUNDS)
    store.close()
    for wanted, found in other.items():
        found["qps"] = len(queries) / seconds[f"hnswlib {wanted}"]
    ours = {
        str(wanted): {
            "recall": reached[wanted],
            "qps": len(queries) / seconds[f"vstore {wanted}"],
        }
        for wanted in RECALLS
    }
    hnswlib = {str(wanted): found for wanted, found in other.items()}
    return {"speed": ours, "hnswlib": hnswlib, "hnswlib_build_s": build_s}


def at_width(peer: Hnswlib, ef: int, queries: np.ndarray) -> Any:
    """Search at a width."""
    peer.tune(ef)
    return peer.search(queries)


def at_recall(
    peer: Hnswlib, queries: np.ndarray, truth: np.ndarray, wanted: float
) -> dict[str, Any]:
    """Return the first width that reaches a recall, or else the widest."""
    found: dict[str, Any] = {}
    for ef in HNSWLIB_WIDTHS:
        found = {"ef": ef, "recall": recall(at_width(peer, ef, queries), truth)}
        if found["recall"] >= wanted:
            break
    return found


STEPS = {"make": make, "build": build, "speed": speed}


def show(report: dict[str, Any]) -> None:
    """Print the table."""
    table = Table(title=report["data"])
    for column in ("what", "measured", "against raw vectors", "must be", ""):
        table.add_column(column, justify="left" if column == "what" else "right")
    for row in rows_of(report):
        table.add_row(*row)
    Console(width=140).print(table)


def rows_of(report: dict[str, Any]) -> list[tuple[str, str, str, str, str]]:
    """Return the rows of the table as text, also for README.md."""
    raw = report["raw_mib"]

    def size(what: str, mib: float, bound: str = "(shown)", verdict: str = "") -> Any:
        return (what, f"{mib:,.0f} MiB", f"{mib / raw:.2f}", bound, verdict)

    def plain(what: str, measured: str) -> Any:
        return (what, measured, "", "(shown)", "")

    verdict = "ok" if report["peak_passed"] else "missed"
    rows = [
        plain("ingest, one call", f"{report['ingest_s']:.1f} s"),
        plain(f"graphs ({report['graphs']})", f"{report['graph_s']:.1f} s"),
        size(
            "peak memory of both, vectors given included",
            report["peak_private_mib"] + raw,
            "<= 2",
            verdict,
        ),
        size("the same with all pages of mapped files", report["peak_mib"]),
        size("file", report["file_mib"]),
        plain("open and first answer, new process", f"{report['first_answer_ms']:.0f} ms"),
        size("resident after 1,000 single questions", report["resident_mib"]),
    ]
    for wanted, found in report["speed"].items():
        measured = f"{found['qps']:,.0f} QPS at {found['recall']:.4f}"
        other = report["hnswlib"].get(wanted)
        if other:
            measured += f" (hnswlib {other['qps']:,.0f} at {other['recall']:.4f}, ef {other['ef']})"
        rows.append(plain(f"recall {wanted} wanted, one thread", measured))
    if report["hnswlib_build_s"] is not None:
        rows.append(plain("hnswlib's build", f"{report['hnswlib_build_s']:.1f} s"))
    return rows


if __name__ == "__main__":
    main()
