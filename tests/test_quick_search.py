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
from vstore.searching import quick

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
    return len(docs._handle.view().quick)


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
    with mock.patch(
        "vstore.searching.search.search_one", side_effect=AssertionError("the long way")
    ):
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


@pytest.mark.parametrize(
    ("name", "good", "equal"),
    [
        ("collapse", True, 1),
        ("collapse", True, 1.0),
        ("collapse", False, 0),
        ("collapse", False, np.int64(0)),
        ("exact", False, 0),
        ("exact", False, 0.0),
        ("k", 1, True),
        ("k", 1, 1.0),
        ("k", 1, np.True_),
        ("ef_search", 1, True),
        ("ef_search", 1, 1.0),
        ("recall", 1.0, True),
    ],
)
def test_an_option_of_a_wrong_type_is_refused_each_time(
    docs: Collection, name: str, good: Any, equal: Any
) -> None:
    def refused() -> None:
        for _ in range(3):
            with pytest.raises(vstore.InvalidArgumentError, match=name):
                docs.search(QUERIES[0], version="v", **{name: equal})
            with pytest.raises(vstore.InvalidArgumentError, match=name):
                docs.search_batch(QUERIES, version="v", **{name: equal})
            with pytest.raises(vstore.InvalidArgumentError, match=name):
                docs.explain(QUERIES[0], version="v", **{name: equal})

    refused()  # nothing is remembered yet
    for _ in range(3):
        docs.search(QUERIES[0], version="v", **{name: good})
    refused()


def test_a_switch_of_numpys_is_a_switch(docs: Collection) -> None:
    options: Any = {"collapse": np.False_, "exact": np.True_}
    for _ in range(3):
        plain = docs.search(QUERIES[0], version="v", collapse=False, exact=True)
        numpys = docs.search(QUERIES[0], version="v", **options)
        assert parts_of(plain) == parts_of(numpys)


def test_many_kinds_of_questions_are_not_all_remembered(docs: Collection) -> None:
    for k in range(1, 200):
        docs.search(QUERIES[0], version="v", k=k, ef_search=250)
    assert len(docs._handle.view().plans) <= 16
    assert len(filtered(docs._handle.view().rows("v"), None).searches) <= 16
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


def with_another(docs: Collection, count: int = 1_500) -> None:
    """Give some of the documents vectors of a second version, as many dimensions."""
    docs.create_version("w", vstore.EmbeddingSpec("n", DIMENSION), graph_rows_min=1_000)
    docs.add_vectors("w", list(range(count)), clustered(count, DIMENSION, seed=5))


def in_both(query: Any) -> dict[str, Any]:
    return {"v": query, "w": -query}


DUAL: dict[str, Any] = {"mode": "dual", "version": "w", "old_version": "v"}
NO_LONG_WAY: Any = {"side_effect": AssertionError("the long way")}


@pytest.mark.parametrize("count", [1_500, 2_000])
@pytest.mark.parametrize(
    "options", [{}, {"k": 3}, {"where": vstore.field("year") < 1_800}, {"family": "names"}]
)
def test_dual_reads_by_slots_are_the_same_too(docs: Collection, count: int, options: Any) -> None:
    with_another(docs, count)
    ask = DUAL | options
    with mock.patch.object(quick, "remember", return_value=None):
        long_way = [parts_of(docs.search(in_both(query), **ask)) for query in QUERIES]
    before = docs.store.metrics()["counts"]["queries"]  # type: ignore[index]
    hits_before = docs.hits()
    docs.search(in_both(QUERIES[0]), **ask)
    with mock.patch("vstore.searching.search.search_one", **NO_LONG_WAY):
        short_way = [parts_of(docs.search(in_both(query), **ask)) for query in QUERIES]
    assert short_way == long_way
    assert docs.store.metrics()["counts"]["queries"] == before + len(QUERIES) + 1  # type: ignore[index]
    assert sum(docs.hits().values()) > sum(hits_before.values())
    assert docs.store.metrics()["mixed_version_rate"]["silent"] == 0  # type: ignore[index]


def test_a_route_that_reads_both_has_a_short_way_until_it_changes(docs: Collection) -> None:
    with_another(docs)
    docs.read_both("w", reason="to try it")
    for _ in range(2):
        docs.search(in_both(QUERIES[0]))
    with mock.patch("vstore.searching.search.search_one", **NO_LONG_WAY):
        assert docs.search(in_both(QUERIES[1])).trace.mode == "dual"
    docs.cutover("w", reason="it is better", force=True, by="ada")
    for _ in range(3):
        found = docs.search(in_both(QUERIES[1]))
        assert found.trace.mode == "matched"
        assert {hit.version for hit in found} == {"w"}


def test_a_canary_has_no_short_way(docs: Collection) -> None:
    with_another(docs, 2_000)
    docs.read_canary("w", percent=50, reason="to try it")
    answered = {docs.search(in_both(QUERIES[0]), key=str(i)).trace.versions for i in range(50)}
    assert answered == {("v",), ("w",)}
    for _ in range(3):
        docs.search(in_both(QUERIES[0]))
    assert not short_ways(docs)


def test_one_vector_is_no_query_of_two_versions(docs: Collection) -> None:
    with_another(docs)
    for _ in range(3):
        docs.search(in_both(QUERIES[0]), **DUAL)
    assert short_ways(docs)
    with pytest.raises(vstore.MissingQueryVectorError):
        docs.search(QUERIES[0], **DUAL)
    with pytest.raises(vstore.MissingQueryVectorError):
        docs.search({"v": QUERIES[0]}, **DUAL)
    with pytest.raises(vstore.InvalidVectorError):
        docs.search({"v": QUERIES[0], "w": QUERIES[0] * np.nan}, **DUAL)


def test_documents_of_one_version_alone_go_the_long_way(docs: Collection) -> None:
    with_another(docs)
    docs.upsert(["alone"], vectors={"w": QUERIES[:1]})
    docs.store.optimize()
    for _ in range(3):
        found = docs.search({"v": QUERIES[0], "w": QUERIES[0]}, **DUAL)
        assert found.ids[0] == "alone"
    assert not short_ways(docs)


def test_a_bare_array_never_learns_its_version_from_the_last_question(docs: Collection) -> None:
    with_another(docs)
    for _ in range(3):
        docs.search({"v": QUERIES[0]})
    assert short_ways(docs) == 1
    ways: list[dict[str, Any]] = [{}, {"mode": "matched"}]
    for options in ways:
        with pytest.raises(vstore.VstoreError, match="which model"):
            docs.search(QUERIES[0], **options)


def test_what_else_a_mapping_has_is_looked_at(docs: Collection) -> None:
    with_another(docs)
    for _ in range(3):
        docs.search({"v": QUERIES[0]})
        docs.search(in_both(QUERIES[0]), **DUAL)
    wrong: Any = QUERIES[:3]
    with pytest.raises(vstore.InvalidVectorError):
        docs.search({"v": QUERIES[0], "w": wrong})
    with pytest.raises(vstore.InvalidVectorError):
        docs.search(in_both(QUERIES[0]) | {"u": wrong}, **DUAL)
    assert docs.search({"v": QUERIES[0], "w": QUERIES[0]}).ids == docs.search({"v": QUERIES[0]}).ids
