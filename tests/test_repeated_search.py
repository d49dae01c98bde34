"""A search that is repeated is not to be told from the first one like it."""

from __future__ import annotations

import contextlib
import gc
import weakref
from collections import UserDict
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any
from unittest import mock

import numpy as np
import pytest

import vstore
from tests.native.data import clustered
from vstore.companions import Companions
from vstore.native import loader
from vstore.query.plan import versions
from vstore.searching.prepared import PreparedSearches

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vstore import Collection, SearchResult

DIMENSION = 24
QUERIES = clustered(30, DIMENSION, seed=4)[:10]


@contextlib.contextmanager
def collection() -> Iterator[Collection]:
    if loader.kernels(wait=True) is None:
        pytest.skip(f"no machine code here: {loader.status()['reason']}")
    with vstore.open(":memory:") as store:
        made = store.create_collection("docs", fields={"year": "int"})
        spec = vstore.EmbeddingSpec("m", DIMENSION)
        made.create_version("v", spec, graph_rows_min=1_000)
        years = [{"year": i} for i in range(2_000)]
        made.upsert(list(range(2_000)), vectors={"v": clustered(2_000, DIMENSION)}, metadata=years)
        yield made


@pytest.fixture
def docs() -> Iterator[Collection]:
    with collection() as made:
        yield made


@pytest.fixture(scope="module")
def kept() -> Iterator[Collection]:
    """Return a collection for tests that write nothing."""
    with collection() as made:
        yield made


@pytest.fixture(scope="module", params=[1_500, 2_000])
def migrated(request: pytest.FixtureRequest) -> Iterator[Collection]:
    """Return a collection of which so many documents have vectors of a second version."""
    with collection() as made:
        with_another(made, request.param)
        yield made


def prepared(docs: Collection) -> int:
    """Number of searches that are kept for the newest snapshot."""
    return len(docs._handle.view().companions.of(PreparedSearches))


def forget(docs: Collection) -> None:
    """Let the next search be the first one of its snapshot."""
    docs._handle.view().companions = Companions()


def nothing_prepared() -> Any:
    """While this patch holds, only searches that are prepared already can be answered."""
    return mock.patch(
        "vstore.searching.search.prepare", side_effect=AssertionError("prepared again")
    )


def parts_of(result: SearchResult) -> dict[str, Any]:
    trace = result.trace
    return {
        "hits": result.hits,
        "ids": result.ids,
        "scores": result.scores,
        "length": len(result),
        "suspect": result.suspect,
        "plan": result.plan,
        "trace": [getattr(trace, name) for name in type(trace).__slots__ if name != "seconds"],
    }


def firsts(docs: Collection, queries: Any, **options: Any) -> list[dict[str, Any]]:
    """Answer each query as if nothing had been asked before."""
    answers = []
    for query in queries:
        forget(docs)
        answers.append(parts_of(docs.search(query, **options)))
    forget(docs)
    return answers


def counts(docs: Collection) -> dict[str, int]:
    found: Any = docs.store.metrics().to_dict()["counts"]
    return dict(found)


OPTIONS: list[dict[str, Any]] = [
    {},
    {"k": 3},
    {"k": 200},
    {"k": 3_000},
    {"recall": 0.99},
    {"recall": 1},
    {"recall": vstore.EfSearch(40)},
    {"collapse": False},
    {"family": "names", "key": "ada"},
    {"where": vstore.field("year") < 1_000},
    {"where": {"field": "year", "op": "<", "value": 1_000}},
    {"where": vstore.field("year") == 7},
    {
        "where": (vstore.field("year") >= 40) & (vstore.field("year") < 400),
        "recall": vstore.EfSearch(90),
    },
    {"where": vstore.field("year") > 5_000},
]


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_results_counters_and_traces_are_the_same(kept: Collection, options: Any) -> None:
    first = firsts(kept, QUERIES, version="v", **options)
    before, found = counts(kept), kept.migration.hit_counts()
    for _ in range(2):  # a filter is kept when it comes again
        kept.search(QUERIES[0], version="v", **options)
    with nothing_prepared():
        again = [parts_of(kept.search(query, version="v", **options)) for query in QUERIES]
    assert again == first
    after = counts(kept)
    asked = len(QUERIES) + 2
    assert after["queries"] == before["queries"] + asked
    assert after["commits"] == before["commits"]
    hits = sum(len(one["ids"]) for one in (*again, first[0], first[0]))
    assert sum(kept.migration.hit_counts().values()) == sum(found.values()) + hits
    assert kept.store.metrics().to_dict()["mixed_version_rate"]["silent"] == 0  # type: ignore[index]


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
    assert prepared(docs) == 1
    change(docs)
    assert not prepared(docs)
    found = docs.search(QUERIES[0], version="v")
    exact = docs.search(QUERIES[0], version="v", recall=1)
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
def test_what_is_no_query_is_refused_all_the_same(kept: Collection, query: Any) -> None:
    forget(kept)
    with pytest.raises(vstore.InvalidVectorError) as first:
        kept.search(query, version="v")
    kept.search(QUERIES[0], version="v")
    assert prepared(kept) == 1
    for _ in range(2):
        with pytest.raises(vstore.InvalidVectorError) as again:
            kept.search(query, version="v")
        assert str(again.value) == str(first.value)


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
def test_other_forms_of_a_query_are_the_same_query(kept: Collection, query: Any) -> None:
    right = parts_of(kept.search(QUERIES[0], version="v"))
    for _ in range(3):
        assert parts_of(kept.search(query, version="v")) == right


def test_a_query_is_never_changed_nor_remembered(kept: Collection) -> None:
    buffer = QUERIES[0].copy()
    results = []
    for query in QUERIES:
        buffer[:] = query
        results.append(kept.search(buffer, version="v"))
        assert (buffer == query).all()
    assert [parts_of(one) for one in results] == firsts(kept, QUERIES, version="v")


def test_a_batch_and_single_queries_are_the_same(kept: Collection) -> None:
    batch = kept.search_batch(QUERIES, version="v")
    singles = [kept.search(query, version="v") for query in QUERIES]
    assert [parts_of(one) for one in batch] == [parts_of(one) for one in singles]
    again = kept.search_batch(QUERIES, version="v")
    assert [parts_of(one) for one in again] == [parts_of(one) for one in singles]


def test_threads_share_a_prepared_search(kept: Collection) -> None:
    first = firsts(kept, QUERIES, version="v")
    before = counts(kept)["queries"]

    def ask(_: int) -> list[dict[str, Any]]:
        return [parts_of(kept.search(query, version="v")) for query in QUERIES]

    with ThreadPoolExecutor(8) as pool:
        for answers in pool.map(ask, range(16)):
            assert answers == first
    assert counts(kept)["queries"] == before + 16 * len(QUERIES)


def test_commits_between_searches_are_seen_at_once(docs: Collection) -> None:
    for number in range(20):
        vectors = {"v": QUERIES[:1]}
        docs.upsert([f"new {number}"], vectors=vectors)
        for _ in range(3):
            found = docs.search(QUERIES[0], version="v", k=number + 1)
            assert set(found.ids) == {f"new {i}" for i in range(number + 1)}
            assert found.trace.epoch == docs.store.epoch


def test_a_state_that_was_searched_goes_when_it_is_replaced(docs: Collection) -> None:
    with_another(docs)
    was_enabled = gc.isenabled()
    gc.disable()  # nothing waits for it: a state maps all that it can read
    try:
        docs.upsert(["one more"], vectors={"v": QUERIES[:1]})
        state = weakref.ref(docs._handle.view())
        for _ in range(3):
            docs.search(QUERIES[0], version="v")
            docs.search(QUERIES[0], version="v", where=vstore.field("year") < 1_000)
            docs.search(in_both(QUERIES[0]), **DUAL)
            docs.search_batch(QUERIES, version="w")
        docs.upsert(["another"], vectors={"v": QUERIES[:1]})
        assert state() is None
    finally:
        if was_enabled:
            gc.enable()


def test_an_older_epoch_and_the_newest_do_not_share_answers(docs: Collection) -> None:
    old = docs.store.snapshot(docs.store.epoch).collection("docs")
    before = [parts_of(docs.search(query, version="v")) for query in QUERIES for _ in range(2)]
    hits = docs.migration.hit_counts()
    assert [parts_of(old.search(q, version="v")) for q in QUERIES for _ in range(2)] == before
    assert (
        docs.migration.hit_counts() == hits
    )  # through handles on older epochs nothing is counted for documents
    docs.delete(list(range(1_000)))
    for _ in range(3):
        assert all(int(id_) >= 1_000 for id_ in docs.search(QUERIES[0], version="v").ids)
    assert [parts_of(old.search(q, version="v")) for q in QUERIES for _ in range(2)] == before


def test_machine_code_that_comes_meanwhile_is_used(kept: Collection) -> None:
    forget(kept)
    with mock.patch.object(loader, "kernels", return_value=None):
        for _ in range(3):
            assert "FlatScan" in str(kept.search(QUERIES[0], version="v").explain())
    for _ in range(3):
        assert "GraphSearch" in str(kept.search(QUERIES[0], version="v").explain())


def test_without_a_graph_nobody_asks_for_machine_code() -> None:
    with vstore.open(":memory:") as store:
        small = store.create_collection("small")
        small.create_version("v", vstore.EmbeddingSpec("m", DIMENSION))
        small.upsert(list(range(10)), vectors={"v": QUERIES})
        with mock.patch.object(loader, "kernels", side_effect=AssertionError("asked for")):
            for _ in range(3):
                assert small.search(QUERIES[0], version="v").ids[0] == 0


def test_a_scope_and_a_filter_have_searches_of_their_own(docs: Collection) -> None:
    docs.update_metadata(list(range(2_000)), {"year": list(range(2_000))})
    inside = docs.scoped(vstore.field("year") < 100)
    for _ in range(3):
        docs.search(QUERIES[0], version="v")
        assert all(int(id_) < 100 for id_ in inside.search(QUERIES[0], version="v").ids)
        some = docs.search(QUERIES[0], version="v", where=vstore.field("year") >= 1_900)
        assert all(int(id_) >= 1_900 for id_ in some.ids)
        assert not len(inside.search(QUERIES[0], version="v", where=vstore.field("year") > 100))


def test_a_normalized_version_checks_every_length(docs: Collection) -> None:
    unit = clustered(1_500, DIMENSION)
    unit /= np.linalg.norm(unit, axis=1, keepdims=True)
    spec = vstore.EmbeddingSpec("unit", DIMENSION, normalized=True)
    docs.create_version("unit", spec, graph_rows_min=1_000)
    docs.add_vectors(list(range(1_500)), unit, version="unit")
    for _ in range(2):
        docs.search(unit[0], version="unit")
    with pytest.raises(vstore.InvalidVectorError, match="length"):
        docs.search(unit[0] * 2, version="unit")


def test_filters_that_are_equal_and_not_the_same_are_not_confused(kept: Collection) -> None:
    ask: dict[str, Any] = {"version": "v", "k": 1, "recall": vstore.EfSearch(400)}
    assert kept.search(QUERIES[0], where=vstore.field("year") == 1, **ask).ids == [1]
    assert kept.search(QUERIES[0], where=vstore.field("year") == 1, **ask).ids == [1]
    kept.search(QUERIES[0], where=vstore.field("year") == 1, **ask)
    with pytest.raises(vstore.FilterError):
        kept.search(QUERIES[0], where=vstore.field("year") == True, **ask)  # noqa: E712


@pytest.mark.parametrize(
    ("name", "good", "equal"),
    [
        ("collapse", True, 1),
        ("collapse", True, 1.0),
        ("collapse", False, 0),
        ("collapse", False, np.int64(0)),
        ("k", 1, True),
        ("k", 1, 1.0),
        ("k", 1, np.True_),
        ("recall", vstore.EfSearch(1), vstore.EfSearch(True)),
        ("recall", vstore.EfSearch(1), vstore.EfSearch(1.0)),  # type: ignore[arg-type]
        ("recall", 1.0, True),
    ],
)
def test_an_option_of_a_wrong_type_is_refused_each_time(
    kept: Collection, name: str, good: Any, equal: Any
) -> None:
    def refused() -> None:
        for _ in range(3):
            with pytest.raises(vstore.InvalidArgumentError, match=name):
                kept.search(QUERIES[0], version="v", **{name: equal})
            with pytest.raises(vstore.InvalidArgumentError, match=name):
                kept.search_batch(QUERIES, version="v", **{name: equal})
            with pytest.raises(vstore.InvalidArgumentError, match=name):
                kept.explain(QUERIES[0], version="v", **{name: equal})

    refused()  # nothing is prepared yet
    for _ in range(3):
        kept.search(QUERIES[0], version="v", **{name: good})
    refused()


def test_a_switch_of_numpys_is_a_switch(kept: Collection) -> None:
    options: Any = {"collapse": np.False_, "recall": np.float64(1)}
    for _ in range(3):
        plain = kept.search(QUERIES[0], version="v", collapse=False, recall=1)
        numpys = kept.search(QUERIES[0], version="v", **options)
        assert parts_of(plain) == parts_of(numpys)


@pytest.mark.parametrize(
    "wrong",
    [{"version": ["v"]}, {"version": {"v": 1}}, {"read": ["dual"]}, {"where": ["slots"]}],
    ids=str,
)
def test_options_that_cannot_be_hashed_are_refused(kept: Collection, wrong: Any) -> None:
    for _ in range(2):
        kept.search(QUERIES[0], version="v")
        with pytest.raises(vstore.InvalidArgumentError):
            kept.search(QUERIES[0], **({"version": "v"} | wrong))


def test_many_kinds_of_questions_are_not_all_remembered(kept: Collection) -> None:
    forget(kept)
    for k in range(1, 200):
        kept.search(QUERIES[0], version="v", k=k, recall=vstore.EfSearch(250))
    assert prepared(kept) <= 16
    kept.search(QUERIES[0], version="v", k=1)
    with pytest.raises(vstore.InvalidArgumentError):
        kept.search(QUERIES[0], version="v", k=True)


def test_many_filters_are_not_all_remembered(kept: Collection) -> None:
    forget(kept)
    for year in range(100, 140):
        where = vstore.field("year") < year
        kept.search(QUERIES[0], version="v", where=where, recall=vstore.EfSearch(50))
        hits = kept.search(QUERIES[0], version="v", where=where, recall=vstore.EfSearch(50))
        assert all(int(hit.id) < year for hit in hits)
    assert prepared(kept) <= 16
    forget(kept)
    for year in range(100, 140):
        kept.search(
            QUERIES[0], version="v", where=vstore.field("year") < year, recall=vstore.EfSearch(50)
        )
    assert not prepared(kept)  # what is asked once is not worth its masks


def with_another(docs: Collection, count: int = 1_500) -> None:
    """Give some of the documents vectors of a second version, as many dimensions."""
    docs.create_version("w", vstore.EmbeddingSpec("n", DIMENSION), graph_rows_min=1_000)
    docs.add_vectors(list(range(count)), clustered(count, DIMENSION, seed=5), version="w")


def in_both(query: Any) -> dict[str, Any]:
    return {"v": query, "w": -query}


DUAL: dict[str, Any] = {"read": vstore.Dual("w", old="v")}
FUSIONS: list[dict[str, Any]] = [
    {"read": vstore.Dual("w", fusion=rule)} for rule in ("evidence", "imputed", "rrf")
]


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"k": 3},
        {"where": vstore.field("year") < 1_800},
        {"family": "names"},
        {"read": vstore.Cascade("w")},
        *FUSIONS,
    ],
    ids=str,
)
def test_reads_of_two_versions_are_the_same_too(migrated: Collection, options: Any) -> None:
    ask = DUAL | options
    queries = [in_both(query) for query in QUERIES]
    first = firsts(migrated, queries, **ask)
    before, found = counts(migrated)["queries"], migrated.migration.hit_counts()
    for _ in range(2):
        migrated.search(queries[0], **ask)
    with nothing_prepared():
        again = [parts_of(migrated.search(query, **ask)) for query in queries]
    assert again == first
    assert counts(migrated)["queries"] == before + len(queries) + 2
    assert sum(migrated.migration.hit_counts().values()) > sum(found.values())
    assert migrated.store.metrics().to_dict()["mixed_version_rate"]["silent"] == 0  # type: ignore[index]


def test_queries_over_a_bridge_are_the_same_too(docs: Collection) -> None:
    with_another(docs)
    docs.migration.fit_bridge("v", "w", min_recall=0.0)
    ask: dict[str, Any] = {"read": vstore.Bridge("w", source="v")}
    first = firsts(docs, QUERIES, **ask)
    assert [parts_of(docs.search(query, **ask)) for query in QUERIES] == first
    mapped = [parts_of(docs.search({"v": query}, **ask)) for query in QUERIES]
    assert mapped == first
    own = docs.search({"v": QUERIES[0], "w": QUERIES[1]}, **ask)  # which needs no bridge
    assert own.ids == docs.search(QUERIES[1], version="w").ids
    assert own.trace.mode == "matched"


def test_a_route_that_reads_both_is_followed_until_it_changes(docs: Collection) -> None:
    with_another(docs)
    docs.routes.set(vstore.Dual("w"), reason="to try it")
    for _ in range(2):
        docs.search(in_both(QUERIES[0]))
    with nothing_prepared():
        assert docs.search(in_both(QUERIES[1])).trace.mode == "dual"
    docs.routes.cutover("w", reason="it is better", force=True, by="ada")
    for _ in range(3):
        found = docs.search(in_both(QUERIES[1]))
        assert found.trace.mode == "matched"
        assert {hit.version for hit in found} == {"w"}


def test_a_canary_divides_repeated_searches_too(docs: Collection) -> None:
    with_another(docs, 2_000)
    docs.routes.set(vstore.Canary("w", percent=50), reason="to try it")
    answered = {docs.search(in_both(QUERIES[0]), key=str(i)).trace.versions for i in range(50)}
    assert answered == {("v",), ("w",)}
    for query in QUERIES:  # without a key the same query goes the same way
        ways = {docs.search(in_both(query)).trace.versions for _ in range(3)}
        assert len(ways) == 1


def test_one_vector_is_no_query_of_two_versions(docs: Collection) -> None:
    with_another(docs)
    for _ in range(3):
        docs.search(in_both(QUERIES[0]), **DUAL)
    with pytest.raises(vstore.MissingQueryVectorError):
        docs.search(QUERIES[0], **DUAL)
    with pytest.raises(vstore.MissingQueryVectorError):
        docs.search({"v": QUERIES[0]}, **DUAL)
    with pytest.raises(vstore.InvalidVectorError):
        docs.search({"v": QUERIES[0], "w": QUERIES[0] * np.nan}, **DUAL)


def test_documents_of_one_version_alone_are_found_again(docs: Collection) -> None:
    with_another(docs)
    docs.upsert(["alone"], vectors={"w": QUERIES[:1]})
    docs.store.optimize()
    for _ in range(3):
        found = docs.search({"v": QUERIES[0], "w": QUERIES[0]}, **DUAL)
        assert found.ids[0] == "alone"


def test_a_bare_array_never_learns_its_version_from_the_last_question(docs: Collection) -> None:
    with_another(docs)
    for _ in range(3):
        docs.search({"v": QUERIES[0]})
    assert prepared(docs) == 1
    with pytest.raises(vstore.VstoreError, match="which model"):
        docs.search(QUERIES[0])


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


class Settings(UserDict[str, object]):
    """A mapping that can be a key, and can change."""

    def __hash__(self) -> int:
        return 7

    def __eq__(self, other: object) -> bool:
        return self is other

    def __repr__(self) -> str:
        return "settings"


def test_a_filter_that_is_a_mapping_is_read_each_time(kept: Collection) -> None:
    query = QUERIES[0]
    where = Settings(field="year", op="==", value=1)
    for year in (1, 1, 1, 2, 2, 1):
        where["value"] = year
        assert kept.search(query, version="v", k=3, where=where).ids == [year]


class Label(str):
    """Somebody's own text."""

    __slots__ = ()


def test_a_label_of_another_class_is_in_nobody_s_plan(kept: Collection) -> None:
    query = QUERIES[0]
    forget(kept)
    for label in (Label("v"), Label("v"), "v"):
        plan = kept.search(query, version=label, k=3).plan
        assert [type(one) for one in versions(plan)] == [str]
