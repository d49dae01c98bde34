"""A batch on two threads against the same on one: vstore alone, 4,000 questions, ef 32.

``python -m benchmarks.compare.threads [SOURCE ...]``; SOURCE as in `data.load`. Once as searched,
and once with the ids, which Python makes one after the other.
"""

from __future__ import annotations

import statistics
import sys
from typing import TYPE_CHECKING

import numpy as np

import vstore
from benchmarks.compare.data import load
from benchmarks.compare.peer import K
from benchmarks.compare.peers import Vstore
from benchmarks.measure import Comparison, report, seconds_of

if TYPE_CHECKING:
    from collections.abc import Callable

SOURCES = ("200000x128", "100000x384", "100000x768")
FASTER_MIN, EF, ROUNDS = 1.85, 32, 9


def main() -> None:
    """Measure, print and write the JSON."""
    rows = [row for source in sys.argv[1:] or SOURCES for row in compared(source)]
    report("compare-threads", "A batch of 4,000 questions, two threads against one", rows)


def compared(source: str) -> list[Comparison]:
    """Return how much faster two threads are."""
    data = load(source)
    ours = Vstore()
    ours.build(data.vectors, 2)
    ours.tune(EF)
    many = np.concatenate([data.queries] * 4)

    readers = {count: vstore.open(ours.path, mode="r", threads=count) for count in (1, 2)}

    def search(threads: int) -> vstore.SearchResults:
        docs = readers[threads].collection("docs")
        return docs.search_batch(many, version="v", k=K, recall=vstore.EfSearch(EF))

    rows = []
    ways: dict[str, Callable[[int], object]] = {
        "search": search,
        "search, and all ids": lambda threads: search(threads).ids,
    }
    for name, run in ways.items():
        run(2)
        times: dict[int, list[float]] = {1: [], 2: []}
        for _ in range(ROUNDS):
            for threads, seconds in times.items():
                seconds.append(seconds_of(lambda: run(threads)))  # called at once
        one, two = (statistics.median(times[threads]) / len(many) * 1e6 for threads in (1, 2))
        asked = f">= {FASTER_MIN}" if run is search else "(shown)"
        passed = run is not search or one / two >= FASTER_MIN
        row = (f"{name}, {data.name}", two, one, "one thread", "us a query", asked, passed)
        rows.append(Comparison(*row, one / two))
    return rows


if __name__ == "__main__":
    main()
