"""Bulk ingest of 100,000 x 384 float32, against writing and syncing the same bytes."""

from __future__ import annotations

import os
import tempfile
import time
from pathlib import Path

import numpy as np

import vstore
from benchmarks.measure import Comparison, alternate, report

ROWS, DIMENSION, ROUNDS, FLOOR = 100_000, 384, 7, 0.5


def main() -> None:
    vectors = np.random.default_rng(0).standard_normal((ROWS, DIMENSION)).astype(np.float32)
    text_ids = [f"doc-{i:07d}" for i in range(ROWS)]
    metadata = {"tenant": [f"tenant-{i % 50}" for i in range(ROWS)], "year": [2000] * ROWS}
    spec = vstore.EmbeddingSpec("benchmark", DIMENSION)
    with tempfile.TemporaryDirectory() as folder:
        path, raw_path = Path(folder) / "ingest.vstore", Path(folder) / "raw.bin"

        def ingest(*, with_metadata: bool) -> float:
            path.unlink(missing_ok=True)
            with vstore.open(path, indexing="manual") as store:
                docs = store.create_collection("docs", fields={"tenant": "keyword", "year": "int"})
                docs.create_version("v1", spec)
                started = time.perf_counter()
                docs.upsert(
                    text_ids,
                    vectors={"v1": vectors},
                    metadata=metadata if with_metadata else None,
                )
                return time.perf_counter() - started

        def raw() -> float:
            raw_path.unlink(missing_ok=True)
            started = time.perf_counter()
            fd = os.open(raw_path, os.O_CREAT | os.O_RDWR | getattr(os, "O_BINARY", 0))
            rest = memoryview(vectors).cast("B")
            while rest:
                rest = rest[os.write(fd, rest[: 1 << 24]) :]
            os.fsync(fd)
            os.close(fd)
            return time.perf_counter() - started

        seconds = alternate(
            {
                "vectors": lambda: ingest(with_metadata=False),
                "raw": raw,
                "metadata": lambda: ingest(with_metadata=True),
            },
            rounds=ROUNDS,
        )
    megabytes = vectors.nbytes / 1e6
    rows = []
    for name, label in (("vectors", "ids and vectors"), ("metadata", "and two metadata fields")):
        ratio = seconds["raw"] / seconds[name]
        rows.append(
            Comparison(
                label,
                megabytes / seconds[name],
                megabytes / seconds["raw"],
                "write + fsync",
                "MB/s",
                f">= {FLOOR}" if name == "vectors" else "(shown)",
                ratio >= FLOOR or name != "vectors",
                ratio,
            )
        )
    report("ingest", f"Bulk ingest, one commit, no graph, {ROWS:,} x {DIMENSION} float32", rows)


if __name__ == "__main__":
    main()
