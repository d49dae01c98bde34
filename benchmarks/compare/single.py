"""One question at a time: vstore against hnswlib, and against itself in a batch.

``python -m benchmarks.compare.single [SOURCE ...]``; SOURCE as in `data.load`. Both are searched at
the same width, ef 24, in turns of 50 questions, as a program asks that does nothing else; `search`
shows what one question takes between those of other libraries, when nothing is in the caches.
"""

from __future__ import annotations

import statistics
import sys

from benchmarks.compare.data import load
from benchmarks.compare.peers import Hnswlib, Vstore
from benchmarks.measure import Comparison, report, seconds_of

SOURCES = ("200000x128", "100000x384", "100000x768")
EF, TURN, ROUNDS, BUILD_THREADS = 24, 50, 3, 2
OVERHEAD_MAX_US = 30.0


def main() -> None:
    """Measure, print and write the JSON."""
    rows = [row for source in sys.argv[1:] or SOURCES for row in compared(source)]
    report("compare-single", "One question at a time", rows)


def compared(source: str) -> list[Comparison]:
    """Return the medians of one question."""
    data = load(source)
    peers = (Vstore(), Hnswlib())
    for peer in peers:
        peer.build(data.vectors, BUILD_THREADS)
        peer.tune(EF)
        peer.search(data.queries)
    times: dict[str, list[float]] = {peer.name: [] for peer in peers}
    batch = []
    for _ in range(ROUNDS):
        for start in range(0, len(data.queries), TURN):
            turn = data.queries[start : start + TURN]
            for peer in peers:
                times[peer.name] += [
                    seconds_of(lambda peer=peer, query=query: peer.search_one(query))  # type: ignore[misc]
                    for query in turn
                ]
        batch.append(seconds_of(lambda: peers[0].search(data.queries)) / len(data.queries))
    ours, theirs = (statistics.median(seconds) * 1e6 for seconds in times.values())
    each = statistics.median(batch) * 1e6
    above = ours - each
    against = (ours, theirs, "hnswlib", "us", "<= 1", ours <= theirs, ours / theirs)
    own = (above, OVERHEAD_MAX_US, "limit", "us", "<= 1", above <= OVERHEAD_MAX_US)
    return [
        Comparison(f"one question, p50, {data.name}", *against),
        Comparison(f"above a question of a batch, {data.name}", *own, above / OVERHEAD_MAX_US),
    ]


if __name__ == "__main__":
    main()
