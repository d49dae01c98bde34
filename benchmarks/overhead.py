"""What is added to a single query: counters, hits by document, traces.

Each kind of overhead is a function that returns rows; `main` reports them all. Times are of the
processor, since what is sought is a few percent.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import numpy as np

import vstore
from benchmarks.measure import Comparison, alternate, report
from vstore.companions import Companions
from vstore.native import loader
from vstore.observe.traced import TracedBatch
from vstore.query.summary import MatchedSummaries

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

ROWS, FEW, DIMENSION, K, ROUNDS, QUERIES = 50_000, 1_000, 384, 10, 31, 2_000
WATCHING_MAX = 1.05  # times a query that nobody watches


class Blind:
    """An observer that looks away."""

    sampler = None

    label = None
    listed = True

    def record(self, *_: Any, **__: Any) -> None:
        """Forget it."""

    def tally(self, *_: Any, **__: Any) -> Blind:
        return self

    def repeat(self, *_: Any) -> bool:
        return False


def main() -> None:
    if loader.kernels(wait=True) is None:
        raise SystemExit(f"no machine code here: {loader.status()['reason']}")
    rows = []
    with vstore.open(":memory:") as store:
        for name, count in (("by a graph", ROWS), ("by a scan", FEW)):
            docs, queries = collection(store, name, count)
            rows += watching(docs, queries, f"metrics, hits and traces; {count:,} rows {name}")
    report("overhead", f"Overheads of one query, {DIMENSION} dimensions, k = {K}, one thread", rows)


def collection(store: vstore.Store, name: str, count: int) -> tuple[vstore.Collection, np.ndarray]:
    """Return a collection of clustered vectors, and queries like them."""
    rng = np.random.default_rng(0)
    centres = 1.5 * rng.standard_normal((200, 24))
    spread = rng.standard_normal((24, DIMENSION))
    every = count + QUERIES
    latent = rng.standard_normal((every, 24)) + centres[rng.integers(0, 200, every)]
    vectors = latent @ spread + 0.3 * rng.standard_normal((every, DIMENSION))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    vectors = vectors.astype(np.float32)
    docs = store.create_collection(name)
    docs.create_version("v1", vstore.EmbeddingSpec("benchmark", DIMENSION))
    docs.upsert(list(range(count)), vectors={"v1": vectors[:count]})
    return docs, vectors[count:]


def watching(docs: vstore.Collection, queries: np.ndarray, name: str) -> list[Comparison]:
    """Measure counters, hits and traces: the observer, folding included, and making the trace."""
    file, blind = docs._handle.file, Blind()
    observer = file.observer

    def run(watcher: object) -> Callable[[], float]:
        def once() -> float:
            # A prepared search keeps the tally of its observer: it is prepared anew.
            file.observer = watcher  # type: ignore[assignment]
            docs._handle.view().companions = Companions()
            for query in queries[:2]:
                docs.search(query, version="v1", k=K)
            search = docs.search
            started = time.process_time()
            for query in queries:
                search(query, version="v1", k=K)
            if watcher is observer:
                observer.fold()
            return (time.process_time() - started) / len(queries)

        return once

    seconds = alternate(
        {"watched": run(observer), "blind": run(blind), "trace": lambda: tracing(docs)},
        rounds=ROUNDS,
    )
    file.observer = observer
    unwatched = seconds["blind"] - seconds["trace"]
    ratio = seconds["watched"] / unwatched
    return [
        Comparison(
            name,
            seconds["watched"] * 1e6,
            unwatched * 1e6,
            "neither counted nor traced",
            "us",
            f"<= {WATCHING_MAX}",
            ratio <= WATCHING_MAX,
            ratio,
            {
                "record_us": (seconds["watched"] - seconds["blind"]) * 1e6,
                "trace_us": seconds["trace"] * 1e6,
            },
        )
    ]


def tracing(docs: vstore.Collection) -> float:
    """Return the seconds that a query takes for what only its trace needs."""
    clock, plan = (
        docs.store._open_file.clock,
        docs.explain(np.ones(DIMENSION, np.float32), version="v1").plan,
    )
    versions, summaries = ("v1",), MatchedSummaries("v1", [K], None)
    started = time.process_time()
    for _ in range(QUERIES):
        begun = clock.monotonic_s()
        TracedBatch("docs", 1, plan, versions, None, clock.monotonic_s() - begun, summaries)
    return (time.process_time() - started) / QUERIES


if __name__ == "__main__":
    main()
