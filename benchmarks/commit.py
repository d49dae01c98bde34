"""One document per commit, against two bare syncs; and what many such commits cost in bytes."""

from __future__ import annotations

import os
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np

import vstore
from benchmarks.measure import Comparison, report

COMMITS, DIMENSION = 10_000, 384
LATENCY_MAX, GROWTH_MAX, OVERHEAD_BYTES, REOPEN_MAX_S = 2.5, 3.0, 1024, 0.1


def main() -> None:
    vectors = np.random.default_rng(0).standard_normal((COMMITS, DIMENSION)).astype(np.float32)
    ours, bare = [], []
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "commit.vstore"
        fd = os.open(Path(folder) / "bare.bin", os.O_CREAT | os.O_RDWR)
        with vstore.open(path) as store:
            docs = store.create_collection("docs", fields={"tenant": "keyword"})
            docs.create_version("v1", vstore.EmbeddingSpec("benchmark", DIMENSION))
            start_bytes = path.stat().st_size
            for i in range(COMMITS):
                started = time.perf_counter()
                docs.upsert(
                    [f"doc-{i}"], vectors={"v1": vectors[i : i + 1]}, metadata=[{"tenant": "acme"}]
                )
                ours.append(time.perf_counter() - started)
                if i % 4 == 0:  # in turns, but not as often: the file system is shared
                    started = time.perf_counter()
                    os.pwrite(fd, vectors[i].tobytes(), 8192 + i * 2048)
                    os.fsync(fd)
                    os.pwrite(fd, bytes(4096), (i // 4 % 2) * 4096)
                    os.fsync(fd)
                    bare.append(time.perf_counter() - started)
            segments = docs.versions["v1"].segments
        os.close(fd)
        grown = path.stat().st_size - start_bytes
        reopenings = []
        for _ in range(7):
            started = time.perf_counter()
            with vstore.open(path):
                reopenings.append(time.perf_counter() - started)
        payload = vectors.nbytes + sum(len(f"doc-{i}") + len("acme") for i in range(COMMITS))
    latency, two_syncs = statistics.median(ours), statistics.median(bare)
    allowed = GROWTH_MAX * payload + OVERHEAD_BYTES * COMMITS
    reopening = statistics.median(reopenings)
    rows = [
        Comparison(
            "single-document commit, p50",
            latency * 1e6,
            two_syncs * 1e6,
            "two fsyncs",
            "us",
            f"<= {LATENCY_MAX}",
            latency <= LATENCY_MAX * two_syncs,
            latency / two_syncs,
            {"p99_us": sorted(ours)[int(len(ours) * 0.99)] * 1e6},
        ),
        Comparison(
            f"growth over {COMMITS:,} commits",
            grown / 1e6,
            payload / 1e6,
            "payload",
            "MB",
            "<= 3x + 1 KiB each",
            grown <= allowed,
            grown / payload,
            {"segments": segments},
        ),
        Comparison(
            "reopening after them",
            reopening * 1e3,
            REOPEN_MAX_S * 1e3,
            "limit",
            "ms",
            "<= 1",
            reopening <= REOPEN_MAX_S,
            reopening / REOPEN_MAX_S,
        ),
    ]
    report("commit", f"Small commits, {DIMENSION} dimensions, full durability", rows)


if __name__ == "__main__":
    main()
