"""Results of a batch: a sequence, and the same as arrays."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import vstore
from tests.small_store import NEW, OLD, axis, documents, rows, seal, spec

if TYPE_CHECKING:
    from vstore import Collection, SearchResults

COUNT = 40


@pytest.fixture(params=["numbers", "texts", "both", "unsealed"])
def docs(request: pytest.FixtureRequest) -> Collection:
    """Documents in two versions; some tenants have few."""
    kind = request.param
    made = documents(new=spec("model-new"))
    numbers = list(range(COUNT))
    ids: list[Any] = [str(i) if kind == "texts" or (kind == "both" and i % 2) else i
                      for i in numbers]  # fmt: skip
    made.upsert(
        ids,
        vectors={OLD: rows(COUNT), NEW: rows(COUNT, seed=1)},
        metadata=[{"tenant": "small" if i < 3 else "large"} for i in numbers],
    )
    if kind != "unsealed":
        seal(made.store)
    return made


def check(results: SearchResults, count: int) -> None:
    """See that arrays and results say the same."""
    assert len(results) == len(list(results)) == count
    lists, integers = [result.ids for result in results], True
    for number, result in enumerate(results):
        assert result.ids == results[number].ids == lists[number]
        length = len(result)
        assert results.counts[number] == length
        assert results.ids[number, :length].tolist() == result.ids
        assert results.scores[number, :length].tolist() == [hit.score for hit in result]
        assert all(missing in (None, -1) for missing in results.ids[number, length:].tolist())
        assert (results.scores[number, length:] == -np.inf).all()
        integers &= all(isinstance(id_, int) for id_ in result.ids)
    assert results[0] is results[0]
    assert results[0] in results
    assert [result.ids for result in results[1:-1]] == lists[1:-1]
    assert results[-1].ids == lists[-1]
    assert results.ids.shape == results.scores.shape == (count, max(map(len, lists)))
    assert results.scores.dtype == np.float64
    assert results.ids.dtype == (np.int64 if integers else np.object_)


@pytest.mark.parametrize(
    "options",
    [
        {"version": OLD},
        {"version": OLD, "where": vstore.field("tenant") == "small"},
        {"version": OLD, "where": vstore.field("tenant") == "nobody"},
        {"read": vstore.Dual(NEW, old=OLD)},
        {"read": vstore.Dual(NEW, old=OLD, fusion="evidence")},
        {"k": 60, "read": vstore.Dual(NEW, old=OLD)},
    ],
)
def test_arrays_and_results_say_the_same(docs: Collection, options: dict[str, Any]) -> None:
    asked: Any = rows(7, seed=2)
    if "read" in options:
        asked = {OLD: asked, NEW: asked}
    check(docs.search_batch(asked, **options), 7)


def test_so_they_do_where_a_canary_answers_some(docs: Collection) -> None:
    docs.routes.set(vstore.Canary(NEW, percent=50))
    asked = rows(30, seed=2)
    results = docs.search_batch({OLD: asked, NEW: asked}, k=4)
    assert {hit.version for result in results for hit in result} == {OLD, NEW}
    check(results, 30)


def test_a_place_that_is_not_there_is_an_index_error() -> None:
    docs = documents()
    docs.upsert([1], vectors={OLD: axis(0)[None]})
    results = docs.search_batch(rows(2), version=OLD)
    with pytest.raises(IndexError):
        results[2]
    assert repr(results) == "SearchResults(2 queries)"
