"""The first graph query ever on a machine: no machine code is there yet, and NumPy answers.

``python -m benchmarks.compare.first_use [ROWSxDIMENSION]``; 20,000 x 64 if not given. Rounds
have a new cache each. Times are from the start of a new process, Python's own start and imports
included, page cache warm: until its first answer, and until kernels are compiled.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.compare.data import seeded
from benchmarks.compare.growth import GRAPH_ROWS_MIN, write
from benchmarks.measure import Comparison, report
from vstore.native import loader

SOURCE, ROUNDS = "20000x64", 3
ANSWER_MAX_S, COMPILED_MAX_S = 1.0, 30.0

# time.monotonic() is one clock for all processes of a machine.
CHILD = """
import json, sys, time
import numpy as np
import vstore
store = vstore.open(sys.argv[1], mode="r")
result = store.collection("docs").search(np.load(sys.argv[2])[0], version="v", k=10)
first = time.monotonic() - float(sys.argv[3])
ids = list(result.ids)
from vstore.native import loader
early = loader.kernels() is not None
while loader.kernels() is None and loader.status()["reason"] == "the compiler is running":
    time.sleep(0.02)
compiled = time.monotonic() - float(sys.argv[3])
again = list(store.collection("docs").search(np.load(sys.argv[2])[0], version="v", k=10).ids)
measured = {"first": first, "compiled": compiled, "early": early, "same": ids == again}
print(json.dumps(measured | loader.status()))
"""


def main() -> None:
    """Measure, print and write the JSON."""
    prebuilt = Path(loader.__file__).parent / "prebuilt"
    if prebuilt.exists() and any(prebuilt.iterdir()):
        raise SystemExit(
            f"{prebuilt} has machine code, so there is no first use to measure; "
            "install with VSTORE_BUILD_NATIVE=off, or pip install -e"
        )
    rows, dimension = map(int, (sys.argv[1:] or [SOURCE])[0].split("x"))
    with tempfile.TemporaryDirectory() as folder:
        runs = measure(Path(folder), rows, dimension)
    title = f"First use, {rows:,} x {dimension}, no machine code yet"
    report("compare-first-use", title, compared(runs))


def measure(folder: Path, rows: int, dimension: int) -> list[dict[str, Any]]:
    """Return what each new process saw."""
    vectors, queries = seeded(rows, dimension)
    path, asked = folder / "first.vstore", folder / "queries.npy"
    version = write(path, vectors, min(GRAPH_ROWS_MIN, rows))
    assert version.graphs == version.segments, "the file must have a graph to ask"
    np.save(asked, queries[:1])
    runs = []
    for number in range(ROUNDS):
        environment = os.environ | {"VSTORE_CACHE_DIR": str(folder / f"cache-{number}")}
        environment.pop("VSTORE_NATIVE", None)
        done = subprocess.run(
            [sys.executable, "-c", CHILD, str(path), str(asked), str(time.monotonic())],
            env=environment,
            check=True,
            capture_output=True,
            text=True,
        )
        runs.append(json.loads(done.stdout))
    return runs


def compared(runs: list[dict[str, Any]]) -> list[Comparison]:
    """Return the rows of the table."""
    answer = statistics.median(run["first"] for run in runs)
    code = statistics.median(run["compiled"] for run in runs)
    numpy_answered = not any(run["early"] for run in runs)
    compiled = all(run["kernels"] != "numpy" for run in runs)
    return [
        Comparison(
            "first answer of a new process",
            answer,
            ANSWER_MAX_S,
            "limit",
            "s",
            "<= 1",
            answer <= ANSWER_MAX_S and numpy_answered,
            answer / ANSWER_MAX_S,
            {"by": "NumPy" if numpy_answered else "machine code that was there"},
        ),
        Comparison(
            "machine code is there",
            code,
            COMPILED_MAX_S,
            "limit",
            "s",
            "<= 1",
            code <= COMPILED_MAX_S and compiled,
            code / COMPILED_MAX_S,
            {} if compiled else {"failed": runs[-1]["reason"]},
        ),
    ]


if __name__ == "__main__":
    main()
