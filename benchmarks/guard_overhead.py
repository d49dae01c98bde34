"""What guards cost: a search, a batch that is written, and the commits that learn.

Two collections of the same vectors take turns: one whose version looks at what it gets, as by
default, and one with ``guards.set_policy("off")``. All of it is work of one thread in memory, and
measured as that thread's processor time, which other work on the machine touches least.
"""

from __future__ import annotations

import time

import numpy as np

import vstore
from benchmarks.measure import Comparison, alternate, report

DIMENSIONS, ROWS, QUERIES, ROUNDS, BOUND = (384, 768), 20_000, 512, 61, 1.05
BATCH, BULK = 256, 50_000


def space(rows: int, dimension: int, *, seed: int) -> np.ndarray:
    """Return vectors of a space with preferred directions, as those of models are."""
    mixing = np.random.default_rng(0).standard_normal((48, dimension))
    rng = np.random.default_rng(seed)
    made = rng.standard_normal((rows, 48)) @ mixing + rng.standard_normal((rows, dimension))
    return np.asarray(made, np.float32)


def collection(vectors: np.ndarray, policy: str, *, graph: bool) -> vstore.Collection:
    store = vstore.open(":memory:", indexing="manual")
    docs = store.create_collection("docs")
    spec = vstore.EmbeddingSpec("benchmark", vectors.shape[1])
    docs.create_version("v", spec, graph_rows_min=1 if graph else None)
    docs.guards.set_policy("v", policy)  # type: ignore[arg-type]
    if len(vectors):
        docs.upsert(list(range(len(vectors))), vectors={"v": vectors})
    if graph:
        store.optimize()
    return docs


def search_rows(dimension: int) -> Comparison:
    vectors, queries = space(ROWS, dimension, seed=1), space(QUERIES, dimension, seed=2)
    both = {p: collection(vectors, p, graph=True) for p in ("refuse", "off")}

    def ask(docs: vstore.Collection) -> float:
        started = time.thread_time()
        for query in queries:
            docs.search(query, version="v")
        return (time.thread_time() - started) / QUERIES * 1e6

    for docs in both.values():
        ask(docs)
    us = alternate({p: lambda docs=docs: ask(docs) for p, docs in both.items()}, rounds=ROUNDS)
    assert both["refuse"].guards["v"].informative
    return compared(f"one search by a graph, {ROWS:,} x {dimension}", us, "us", bounded=True)


def batch_rows(dimension: int) -> Comparison:
    vectors = space(8_192, dimension, seed=1)
    more = space(BATCH, dimension, seed=3)
    both = {p: collection(vectors, p, graph=False) for p in ("refuse", "off")}
    ids = list(range(BATCH))

    def write(docs: vstore.Collection) -> float:
        started = time.thread_time()
        for _ in range(8):
            docs.add_vectors(ids, more, version="v")
        return (time.thread_time() - started) / 8 * 1e3

    for docs in both.values():
        write(docs)
    ms = alternate({p: lambda docs=docs: write(docs) for p, docs in both.items()}, rounds=ROUNDS)
    return compared(f"a batch of {BATCH} x {dimension}, in memory", ms, "ms")


def bulk_rows(dimension: int) -> Comparison:
    vectors = space(BULK, dimension, seed=1)
    ids = list(range(BULK))

    def ingest(policy: str) -> float:
        docs = collection(vectors[:0], policy, graph=False)
        started = time.thread_time()
        docs.upsert(ids, vectors={"v": vectors})
        return (time.thread_time() - started) * 1e3

    ms = alternate({p: lambda p=p: ingest(p) for p in ("refuse", "off")}, rounds=9)
    return compared(f"{BULK:,} x {dimension} in one commit that learns, in memory", ms, "ms")


def compared(
    name: str, measured: dict[str, float], unit: str, *, bounded: bool = False
) -> Comparison:
    ratio = measured["refuse"] / measured["off"]
    return Comparison(
        name,
        measured["refuse"],
        measured["off"],
        "policy off",
        unit,
        f"<= {BOUND}" if bounded else "(shown)",
        ratio <= BOUND or not bounded,
        ratio,
    )


def main() -> None:
    rows = [search_rows(d) for d in DIMENSIONS]
    rows += [batch_rows(d) for d in DIMENSIONS]
    rows += [bulk_rows(d) for d in DIMENSIONS]
    report("guard_overhead", "What guards cost", rows)


if __name__ == "__main__":
    main()
