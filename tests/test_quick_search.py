"""The short way of a single search is not to be told from the long one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from unittest import mock

import numpy as np
import pytest

import vstore
from tests.native.data import clustered
from vstore.native import loader
from vstore.query.filtered import filtered
from vstore.store import quick

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vstore import Collection, SearchResult

DIMENSION = 24
QUERIES = clustered(30, DIMENSION, seed=4)


@pytest.fixture
def docs() -> Iterator[Collection]:
    if loader.kernels(wait=True) is None:
        pytest.skip(f"no machine code here: {loader.status()['reason']}")
    with vstore.open(":memory:") as store:
        made = store.create_collection("docs", fields={"year": "int"})
        spec = vstore.EmbeddingSpec("m", DIMENSION)
        made.create_version("v", spec, graph_rows_min=1_000)
        years = [{"year": i} for i in range(2_000)]
        made.upsert(list(range(2_000)), vectors={"v": clustered(2_000, DIMENSION)}, metadata=years)
        yield made


def short_ways(docs: Collection) -> int:
    return len(docs.view().quick)


def parts_of(result: SearchResult) -> dict[str, Any]:
    trace = result.trace
    return {
        "hits": result.hits,
        "ids": result.ids,
        "length": len(result),
        "plan": result.plan,
        "trace": [getattr(trace, name) for name in type(trace).__slots__ if name != "seconds"],
    }


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"k": 3},
        {"recall": 0.99},
        {"ef_search": 40},
        {"collapse": False},
        {"where": vstore.field("year") < 1_000},
        {"where": (vstore.field("year") >= 40) & (vstore.field("year") < 400), "ef_search": 90},
    ],
)
def test_results_counters_and_traces_are_the_same(docs: Collection, options: Any) -> None:
    with mock.patch.object(quick, "remember", return_value=None):
        long_way = [parts_of(docs.search(query, version="v", **options)) for query in QUERIES]
    assert not short_ways(docs)
    before = docs.store.metrics()["counts"]
    docs.search(QUERIES[0], version="v", **options)  # the second time it is asked so
    assert short_ways(docs) == 1
    with mock.patch("vstore.store.collection.search", side_effect=AssertionError("the long way")):
        short_way = [parts_of(docs.search(query, version="v", **options)) for query in QUERIES]
    assert short_way == long_way
    after = docs.store.metrics()["counts"]
    for name, count in before.items():  # type: ignore[attr-defined]
        grown = after[name] - count  # type: ignore[index]
        assert grown == (0 if name == "commits" else grown)
    assert after["queries"] == before["queries"] + len(QUERIES) + 1  # type: ignore[index]


@pytest.mark.parametrize(
    "change",
    [
        lambda docs: docs.upsert(["new"], vectors={"v": QUERIES[:1]}),
        lambda docs: docs.delete([5]),
        lambda docs: docs.upsert([5], texts=["changed"]),
        lambda docs: docs.store.vacuum(),
    ],
    ids=["a new document", "a deletion", "a change", "a vacuum"],
)
def test_it_ends_with_the_snapshot(docs: Collection, change: Any) -> None:
    for _ in range(3):
        docs.search(QUERIES[0], version="v")
    assert short_ways(docs) == 1
    change(docs)
    assert not short_ways(docs)
    found = docs.search(QUERIES[0], version="v")
    exact = docs.search(QUERIES[0], version="v", exact=True)
    assert found.ids[0] == exact.ids[0]
    assert found.trace.epoch == docs.store.epoch


@pytest.mark.parametrize(
    "query",
    [
        np.full(DIMENSION, np.nan, np.float32),
        np.full(DIMENSION, np.inf, np.float32),
        np.zeros(DIMENSION, np.float32),
        np.ones(DIMENSION + 1, np.float32),
        np.ma.masked_array(QUERIES[0], mask=[True] + [False] * (DIMENSION - 1)),
        np.array(["x"] * DIMENSION),
    ],
    ids=["nan", "infinite", "zero", "too long", "masked", "text"],
)
def test_what_is_no_query_is_refused_all_the_same(docs: Collection, query: Any) -> None:
    docs.search(QUERIES[0], version="v")
    assert not short_ways(docs)  # what is asked once is not worth it
    docs.search(QUERIES[0], version="v")
    assert short_ways(docs) == 1
    with pytest.raises(vstore.InvalidVectorError):
        docs.search(query, version="v")


@pytest.mark.parametrize(
    "query",
    [
        QUERIES[0].astype(np.float64),
        QUERIES[0].astype(">f4"),
        np.repeat(QUERIES[0], 2)[::2],
        QUERIES[0].tolist(),
        vstore.Embeddings(vstore.EmbeddingSpec("m", DIMENSION), QUERIES[0]),
    ],
    ids=["float64", "big-endian", "strided", "a list", "stamped"],
)
def test_other_forms_of_a_query_go_the_long_way(docs: Collection, query: Any) -> None:
    right = docs.search(QUERIES[0], version="v").ids
    assert docs.search(query, version="v").ids == right


def test_a_scope_and_a_filter_go_the_long_way(docs: Collection) -> None:
    docs.update_metadata(list(range(2_000)), {"year": list(range(2_000))})
    docs.search(QUERIES[0], version="v")
    docs.search(QUERIES[0], version="v")
    inside = docs.scoped(vstore.field("year") < 100)
    assert all(int(id_) < 100 for id_ in inside.search(QUERIES[0], version="v").ids)
    some = docs.search(QUERIES[0], version="v", where=vstore.field("year") >= 1_900)
    assert all(int(id_) >= 1_900 for id_ in some.ids)


def test_a_normalized_version_checks_every_length(docs: Collection) -> None:
    unit = clustered(1_500, DIMENSION)
    unit /= np.linalg.norm(unit, axis=1, keepdims=True)
    spec = vstore.EmbeddingSpec("unit", DIMENSION, normalized=True)
    docs.create_version("unit", spec, graph_rows_min=1_000)
    docs.add_vectors("unit", list(range(1_500)), unit)
    for _ in range(2):
        docs.search(unit[0], version="unit")
    with pytest.raises(vstore.InvalidVectorError, match="length"):
        docs.search(unit[0] * 2, version="unit")


def test_filters_that_are_equal_and_not_the_same_are_not_confused(docs: Collection) -> None:
    ask: dict[str, Any] = {"version": "v", "k": 1, "ef_search": 400}
    assert docs.search(QUERIES[0], where=vstore.field("year") == 1, **ask).ids == [1]
    assert docs.search(QUERIES[0], where=vstore.field("year") == 1, **ask).ids == [1]
    with pytest.raises(vstore.FilterError):
        docs.search(QUERIES[0], where=vstore.field("year") == True, **ask)  # noqa: E712


def test_many_kinds_of_questions_are_not_all_remembered(docs: Collection) -> None:
    for k in range(1, 200):
        docs.search(QUERIES[0], version="v", k=k, ef_search=250)
    assert len(docs.view().plans) <= 16
    assert len(filtered(docs.view().rows("v"), None).searches) <= 16
    docs.search(QUERIES[0], version="v", k=1)
    with pytest.raises(vstore.InvalidArgumentError):
        docs.search(QUERIES[0], version="v", k=True)


def test_many_filters_are_not_all_remembered(docs: Collection) -> None:
    for year in range(100, 140):
        where = vstore.field("year") < year
        docs.search(QUERIES[0], version="v", where=where, ef_search=50)
        hits = docs.search(QUERIES[0], version="v", where=where, ef_search=50)
        assert all(int(hit.id) < year for hit in hits)
    assert short_ways(docs) <= 16
