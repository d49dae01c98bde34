"""Canaries and shadows get the share of the queries that their percentage says, at its ends too."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from tests.small_store import NEW, OLD, documents, rows, spec
from vstore import Canary

if TYPE_CHECKING:
    import vstore

KEYS = [f"user-{i}" for i in range(2_000)]


@pytest.fixture(scope="module")
def docs() -> vstore.Collection:
    made = documents(new=spec("model-new"))
    made.upsert(range(5), vectors={OLD: rows(5), NEW: rows(5, seed=1)})
    return made


def ask(docs: vstore.Collection) -> list[str]:
    queries = np.repeat(rows(1), len(KEYS), axis=0)
    found = docs.search_batch({OLD: queries, NEW: queries}, k=1, keys=KEYS)
    return [result.hits[0].version for result in found]


def test_a_canary_of_no_percent_serves_nobody_and_of_all_everybody(
    docs: vstore.Collection,
) -> None:
    docs.routes.set(Canary(NEW, percent=0))
    assert set(ask(docs)) == {OLD}
    assert {hit.version for key in KEYS[:300] for hit in one(docs, key)} == {OLD}
    docs.routes.set(Canary(NEW, percent=100))
    assert set(ask(docs)) == {NEW}
    assert {hit.version for key in KEYS[:300] for hit in one(docs, key)} == {NEW}


def one(docs: vstore.Collection, key: str) -> vstore.SearchResult:
    query = rows(1)[0]
    return docs.search({OLD: query, NEW: query}, k=1, key=key)


def test_each_percent_is_one_bucket_of_a_hundred(docs: vstore.Collection) -> None:
    counts = []
    for percent in range(101):
        docs.routes.set(Canary(NEW, percent=percent))
        counts.append(ask(docs).count(NEW))
    assert (counts[0], counts[-1]) == (0, len(KEYS))
    steps = np.diff(counts)
    assert (steps > 0).all()
    # 20 a percent, with a standard deviation of 4.4: five of them at most.
    assert np.abs(steps - len(KEYS) / 100).max() < 22


def test_a_shadow_of_no_percent_asks_nothing_and_of_all_everything() -> None:
    docs = documents(new=spec("model-new"))
    docs.upsert(range(5), vectors={OLD: rows(5), NEW: rows(5, seed=1)})
    docs.routes.shadow(NEW, percent=0)
    ask(docs)
    assert sum(report.queries + report.missing for report in docs.routes.shadow_reports) == 0
    docs.routes.shadow(NEW, percent=100)
    ask(docs)
    assert [report.queries for report in docs.routes.shadow_reports] == [len(KEYS)]
