"""What watching costs a single quick query: counters, hits by document, traces.

Each kind of overhead is a function that returns rows; `main` reports them all.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import numpy as np

import vstore
from benchmarks.measure import Comparison, alternate, report
from vstore.native import loader
from vstore.observe.traced import TracedBatch
from vstore.query.summary import MatchedSummaries
from vstore.recent import Recent

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

ROWS, DIMENSION, K, ROUNDS, QUERIES = 50_000, 384, 10, 31, 2_000
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
    with vstore.open(":memory:") as store:
        docs, queries = collection(store)
        rows = [*watching(docs, queries)]
    report("overhead", f"Overheads of one query, {ROWS:,} x {DIMENSION}, k = {K}, one thread", rows)


def collection(store: vstore.Store) -> tuple[vstore.Collection, np.ndarray]:
    """Return a collection of clustered vectors with a graph, and queries like them."""
    rng = np.random.default_rng(0)
    centres = 1.5 * rng.standard_normal((200, 24))
    spread = rng.standard_normal((24, DIMENSION))
    latent = (
        rng.standard_normal((ROWS + QUERIES, 24)) + centres[rng.integers(0, 200, ROWS + QUERIES)]
    )
    noise = 0.3 * rng.standard_normal((ROWS + QUERIES, DIMENSION))
    vectors = (latent @ spread + noise).astype(np.float32)
    docs = store.create_collection("docs")
    docs.create_version("v1", vstore.EmbeddingSpec("benchmark", DIMENSION))
    docs.upsert(list(range(ROWS)), vectors={"v1": vectors[:ROWS]})
    return docs, vectors[ROWS:]


def watching(docs: vstore.Collection, queries: np.ndarray) -> list[Comparison]:
    """Measure counters, hits and traces: the observer, folding included, and making the trace."""
    observer, blind = docs.store.observer, Blind()

    def run(watcher: object) -> Callable[[], float]:
        def once() -> float:
            # A remembered question has the observer of its time; both are remembered anew.
            docs.store.observer = watcher  # type: ignore[assignment]
            docs.view().quick = Recent(16)
            docs.search(queries[0], version="v1", k=K)
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
    docs.store.observer = observer
    unwatched = seconds["blind"] - seconds["trace"]
    ratio = seconds["watched"] / unwatched
    return [
        Comparison(
            "metrics, hits and traces",
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
    clock, plan = docs.store.clock, docs.explain(np.ones(DIMENSION, np.float32), version="v1").plan
    versions, summaries = ("v1",), MatchedSummaries("v1", [K], None)
    started = time.process_time()
    for _ in range(QUERIES):
        begun = clock.monotonic_s()
        TracedBatch("docs", 1, plan, versions, None, clock.monotonic_s() - begun, summaries)
    return (time.process_time() - started) / QUERIES


if __name__ == "__main__":
    main()
