"""Segments whose rows are mostly dead are written without them; others are left as they are."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from tests.small_store import OLD, documents, rows, seal, store_in
from vstore.limits import DEAD_SHARE_MAX, SEAL_DOCUMENTS

COUNT = SEAL_DOCUMENTS + 500  # of which half are no bulk write
HALF = int(COUNT * DEAD_SHARE_MAX)

if TYPE_CHECKING:
    import vstore


def stored(docs: vstore.Collection) -> int:
    """Return how many rows the version's segments have, dead ones included."""
    version = docs._handle.view().version(OLD)
    return sum(ref.rows for ref in version.segments)


def collection(**options: Any) -> vstore.Collection:
    docs = documents(store_in(**options), graph_rows_min=None)
    docs.upsert(range(COUNT), vectors={OLD: rows(COUNT)})
    assert stored(docs) == COUNT
    return docs


@pytest.mark.parametrize("how", ["deleted", "replaced", "stale"])
def test_optimize_rewrites_what_is_mostly_dead(how: str) -> None:
    docs = collection()
    dead = range(HALF + 1)
    if how == "deleted":
        docs.delete(dead)
    elif how == "replaced":
        docs.upsert(dead, vectors={OLD: rows(len(dead), seed=1)})
    else:
        docs.upsert(dead, texts=["changed"] * len(dead))
    size_bytes = docs.versions[OLD].size_bytes
    query = rows(1, seed=5)[0]
    found = docs.search(query, version=OLD, k=50).ids
    docs.store.optimize()
    alive = docs.versions[OLD].rows
    assert alive == (COUNT if how == "replaced" else COUNT - len(dead))
    assert stored(docs) == alive
    if how != "replaced":
        assert docs.versions[OLD].size_bytes < size_bytes
    assert docs.search(query, version=OLD, k=50).ids == found
    assert sum(len(ids) for ids, *_ in docs.vectors(OLD)) == alive
    assert docs.store.check().ok
    segments = docs._handle.view().version(OLD).segments
    docs.store.optimize()  # there is nothing left to do
    assert docs._handle.view().version(OLD).segments == segments


def test_what_is_half_dead_is_left_as_it_is() -> None:
    docs = collection()
    docs.delete(range(HALF))
    docs.store.optimize()
    assert stored(docs) == COUNT
    docs.delete([HALF])  # one more, and it is worth it
    docs.store.optimize()
    assert stored(docs) == COUNT - HALF - 1


def test_each_segment_is_judged_by_itself() -> None:
    docs = documents(graph_rows_min=None)
    for start in (0, COUNT):
        docs.upsert(range(start, start + COUNT), vectors={OLD: rows(COUNT, seed=start)})
    assert [ref.rows for ref in docs._handle.view().version(OLD).segments] == [COUNT, COUNT]
    docs.delete(range(COUNT, COUNT + HALF + 10))
    docs.store.optimize()
    assert [ref.rows for ref in docs._handle.view().version(OLD).segments] == [
        COUNT,
        COUNT - HALF - 10,
    ]


def test_a_commit_that_seals_rewrites_too() -> None:
    docs = collection()
    docs.delete(range(HALF + 1))
    docs.upsert(range(COUNT, 2 * COUNT), vectors={OLD: rows(COUNT)})
    assert stored(docs) == 2 * COUNT - HALF - 1


def test_the_background_thread_rewrites_what_is_mostly_dead() -> None:
    docs = collection(indexing="background")
    docs.delete(range(HALF + 1))
    seal(docs.store)
    assert docs.store.wait_for_upkeep(60)
    assert stored(docs) == COUNT - HALF - 1
    assert np.array_equal(docs.get_vectors(COUNT - 1, OLD)[0], rows(COUNT)[-1])
    docs.store.close()
