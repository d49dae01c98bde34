"""Searches by graph, through the public API: recall, filters, deletions, plans, upkeep."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any
from unittest import mock

import numpy as np
import pytest

import vstore
from tests.native.data import changed, clustered, nearest, over
from vstore.limits import MERGE_FANOUT
from vstore.native import loader
from vstore.native.arrays import NONE
from vstore.native.flavour import processors
from vstore.query import fetching
from vstore.query.plan import GraphSearch, scans
from vstore.segment import pieces
from vstore.segment.vectors import VectorSegment
from vstore.storage.layout import FRAME_BYTES

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from vstore import Collection, SearchResult, Store
    from vstore.manifest.spec import Metric
    from vstore.types import Array

ROWS = 6_000
DIMENSION = 32
RECALL_FLOOR = 0.93  # where 0.95 was asked for: two standard errors of 60 queries
QUERIES = clustered(60, DIMENSION, seed=7)


@pytest.fixture(scope="module", autouse=True)
def machine_code() -> None:
    if loader.kernels(wait=True) is None:
        pytest.skip(f"no machine code here: {loader.status()['reason']}")


def spec(metric: Metric = "cosine") -> vstore.EmbeddingSpec:
    return vstore.EmbeddingSpec("model", DIMENSION, metric=metric)


def filled(store: Store, vectors: Array, metric: Metric = "cosine", **options: Any) -> Collection:
    docs = store.create_collection("docs", fields={"year": "int"})
    docs.create_version("v", spec(metric), graph_rows_min=1_000, **options)
    years = [{"year": i} for i in range(len(vectors))]
    docs.upsert(list(range(len(vectors))), vectors={"v": vectors}, metadata=years)
    return docs


@pytest.fixture(scope="module")
def shared() -> Iterator[Collection]:
    with vstore.open(":memory:") as store:
        yield filled(store, clustered(ROWS, DIMENSION))


def recall(results: Sequence[SearchResult], right: list[set[int]]) -> float:
    found = [len(set(result.ids) & best) for result, best in zip(results, right, strict=True)]
    return sum(found) / sum(map(len, right))


def nodes_of(result: SearchResult) -> list[str]:
    lines = [line.strip() for line in result.explain().splitlines()]
    return [line.split("(")[0] for line in lines if "(" in line and not line.startswith("because")]


@pytest.mark.parametrize("storage", ["float32", "float16"])
@pytest.mark.parametrize("metric", ["cosine", "l2", "inner_product"])
@pytest.mark.parametrize("spread", [False, True])
def test_a_search_keeps_the_recall_it_was_asked_for(
    metric: Metric, storage: Any, spread: bool
) -> None:
    vectors = clustered(ROWS, DIMENSION)
    if spread:
        vectors *= np.random.default_rng(0).uniform(1, 10, (ROWS, 1)).astype(np.float32)
    with vstore.open(":memory:") as store:
        docs = filled(store, vectors, metric, storage=storage)
        stored = vectors.astype(np.float16) if storage == "float16" else vectors
        right = nearest(stored, QUERIES, metric, 10)
        results = docs.search_batch(QUERIES, version="v")
        assert recall(results, right) >= RECALL_FLOOR
        exact = docs.search_batch(QUERIES, version="v", recall=1)
        assert recall(exact, right) == 1.0
        for result, best in zip(results, exact, strict=True):
            scores = {hit.id: hit.score for hit in best}
            assert all(hit.score == scores.get(hit.id, hit.score) for hit in result)


def test_more_recall_costs_more_and_the_plan_says_so(shared: Collection) -> None:
    low, high = (shared.search(QUERIES[0], version="v", recall=r) for r in (0.5, 0.99))
    assert nodes_of(low)[:2] == ["Rerank", "GraphSearch"]
    low_leaf, high_leaf = (scans(result.plan)[0] for result in (low, high))
    assert isinstance(low_leaf, GraphSearch)
    assert isinstance(high_leaf, GraphSearch)
    assert low_leaf.ef < high_leaf.ef
    assert "measured recall" in low.explain()
    wide = shared.search(QUERIES[0], version="v", recall=vstore.EfSearch(300))
    assert "ef=300" in wide.explain()
    assert nodes_of(shared.search(QUERIES[0], version="v", recall=1)) == ["FlatScan"]


@pytest.mark.parametrize("count", [ROWS, ROWS // 2, ROWS // 10, 60, 11, 10, 3, 1, 0])
@pytest.mark.parametrize("kind", ["random", "near the query", "far from the query"])
def test_filters_give_every_hit_there_is(shared: Collection, count: int, kind: str) -> None:
    vectors = clustered(ROWS, DIMENSION)
    query = QUERIES[0]
    order = np.argsort(
        -(vectors @ query) / np.linalg.norm(vectors, axis=1), kind="stable"
    )  # best first
    passing = {
        "random": np.random.default_rng(count).permutation(ROWS)[:count],
        "near the query": order[:count],
        "far from the query": order[ROWS - count :],
    }[kind]
    where = vstore.field("year").is_in(passing.tolist())
    result = shared.search(query, version="v", where=where)
    assert len(result) == min(10, count)
    assert set(result.ids) <= set(passing.tolist())
    right = [row for row in order.tolist() if row in set(passing.tolist())][:10]
    assert len(set(result.ids) & set(right)) >= RECALL_FLOOR * len(right) - 1


def test_k_may_be_all_there_is(shared: Collection) -> None:
    for k in (1, 2, 100, ROWS - 1, ROWS, ROWS + 5):
        result = shared.search(QUERIES[0], version="v", k=k)
        assert len(result) == min(k, ROWS)
        assert len(set(result.ids)) == len(result)


def test_threads_do_not_change_answers(tmp_path: Path) -> None:
    path = tmp_path / "docs.vstore"
    with vstore.open(path) as store:
        filled(store, clustered(ROWS, DIMENSION))
    answers = []
    for threads in (1, 3, None):
        with vstore.open(path, mode="r", threads=threads) as store:
            shared = store.collection("docs")
            answers.append(shared.search_batch(QUERIES, version="v").ids.tolist())
            answers.append([shared.search(query, version="v").ids for query in QUERIES])
    assert answers == [answers[0]] * 6


@pytest.mark.parametrize(("threads", "expected"), [(1, 1), (3, 3), (None, processors())])
def test_a_batch_is_shared_by_the_threads_that_the_store_was_opened_with(
    threads: int | None, expected: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    if loader.kernels(wait=True) is None:
        pytest.skip(f"no machine code here: {loader.status()['reason']}")
    used: set[int] = set()
    plain, met = fetching.GraphPart._answer, threading.Barrier(expected)

    def noting(part: Any, *arguments: Any, **options: Any) -> Any:
        used.add(threading.get_ident())
        met.wait(60)  # so that no thread takes the work of two
        return plain(part, *arguments, **options)

    with vstore.open(":memory:", threads=threads) as store:
        docs = filled(store, clustered(ROWS, DIMENSION))
        many = np.concatenate([QUERIES] * 8)
        docs.search_batch(many, version="v")  # verifies, if anything is left to
        monkeypatch.setattr(fetching.GraphPart, "_answer", noting)
        docs.search_batch(many, version="v")
        met = threading.Barrier(1)
        docs.search(QUERIES[0], version="v")  # by this thread alone
    assert len(used) == expected


@pytest.mark.parametrize("threads", [0, -1, 1.5, "2", True])
def test_a_number_of_threads_is_a_whole_number_of_at_least_one(threads: Any) -> None:
    with pytest.raises(vstore.InvalidArgumentError, match="threads"):
        vstore.open(":memory:", threads=threads)


def test_deleted_and_stale_rows_are_passed_through_and_not_returned() -> None:
    vectors = clustered(ROWS, DIMENSION)
    with vstore.open(":memory:") as store:
        docs = filled(store, vectors)
        gone = docs.search(QUERIES[0], version="v", k=40).ids
        docs.delete(gone[:20])
        docs.upsert(gone[20:], texts=["changed"] * 20)
        result = docs.search(QUERIES[0], version="v")
        assert not set(result.ids) & set(gone)
        assert len(result) == 10
        alive = np.setdiff1d(np.arange(ROWS), gone)
        right = [
            {int(alive[i]) for i in best} for best in nearest(vectors[alive], QUERIES, "cosine", 10)
        ]
        assert recall(docs.search_batch(QUERIES, version="v"), right) >= RECALL_FLOOR
        assert store.check().ok


def test_new_rows_are_found_before_they_have_a_graph(shared: Collection) -> None:
    with vstore.open(":memory:") as store:
        docs = filled(store, clustered(2_000, DIMENSION))
        docs.upsert(["new"], vectors={"v": QUERIES[:1]})
        result = docs.search(QUERIES[0], version="v")
        assert result.ids[0] == "new"
        assert nodes_of(result)[0] == "Merge"
        assert {"GraphSearch", "FlatScan"} <= set(nodes_of(result))


@pytest.mark.parametrize("chunks", [2, 3])
def test_hits_are_documents_or_chunks_as_asked(chunks: int) -> None:
    vectors = clustered(3_000 * chunks, DIMENSION)
    with vstore.open(":memory:") as store:
        docs = store.create_collection("docs")
        docs.create_version("v", spec(), graph_rows_min=1_000)
        docs.upsert(list(range(3_000)), vectors={"v": list(vectors.reshape(3_000, chunks, -1))})
        rows = nearest(vectors, QUERIES, "cosine", 60)
        results = docs.search_batch(QUERIES, version="v")
        assert all(len(set(result.ids)) == 10 for result in results)
        assert "GraphSearch" in nodes_of(results[0])
        exact = docs.search_batch(QUERIES, version="v", recall=1)
        assert recall(results, [set(map(int, r.ids)) for r in exact]) >= RECALL_FLOOR
        flat = docs.search(QUERIES[0], version="v", collapse=False)
        assert {int(hit.id) * chunks + hit.chunk for hit in flat} <= rows[0]


@pytest.mark.parametrize("copies", [20, 1_500])
def test_equal_vectors_keep_recall(copies: int) -> None:
    vectors = clustered(ROWS, DIMENSION)
    vectors[100 : 100 + copies] = vectors[0]
    with vstore.open(":memory:") as store:
        docs = filled(store, vectors)
        assert store.check().ok
        same = docs.search(vectors[0], version="v", k=10)
        assert [hit.score for hit in same] == pytest.approx([1.0] * 10, abs=1e-12)
        results = docs.search_batch(QUERIES, version="v")
        exact = docs.search_batch(QUERIES, version="v", recall=1)
        worst = [result[-1].score for result in exact]
        hits = [
            np.mean([hit.score >= bound for hit in result])
            for result, bound in zip(results, worst, strict=True)
        ]
        assert np.mean(hits) >= RECALL_FLOOR


def test_manual_indexing_waits_for_optimize(tmp_path: Any) -> None:
    vectors = clustered(2_000, DIMENSION)
    with vstore.open(tmp_path / "s.vstore", indexing="manual") as store:
        docs = filled(store, vectors)
        assert nodes_of(docs.search(QUERIES[0], version="v")) == ["FlatScan"]
        store.optimize()
        assert "GraphSearch" in nodes_of(docs.search(QUERIES[0], version="v"))
        assert store.check().ok
    with vstore.open(tmp_path / "s.vstore", mode="r") as store:
        result = store.collection("docs").search(QUERIES[0], version="v")
        assert "GraphSearch" in nodes_of(result)


@pytest.mark.parametrize("way", ["vacuum", "optimize", "merge"])
def test_upkeep_keeps_recall_after_half_is_replaced(way: str) -> None:
    vectors = clustered(ROWS, DIMENSION)
    other = clustered(ROWS, DIMENSION, seed=5)
    half = list(range(0, ROWS, 2))
    with vstore.open(":memory:") as store, vstore.open(":memory:") as fresh:
        docs = filled(store, vectors)
        docs.delete(half)
        if way == "merge":  # as many commits as a merge takes
            for some in np.array_split(np.array(half), 2 * MERGE_FANOUT):
                docs.upsert(some.tolist(), vectors={"v": other[some]})
                store.optimize()
            assert len(docs._handle.view().rows("v").parts) < MERGE_FANOUT
        else:
            docs.upsert(half, vectors={"v": other[half]})
            getattr(store, way)()
        merged = vectors.copy()
        merged[half] = other[half]
        right = nearest(merged, QUERIES, "cosine", 10)
        new = filled(fresh, merged)
        mine, theirs = (
            recall(c.search_batch(QUERIES, version="v", recall=vstore.EfSearch(30)), right)
            for c in (docs, new)
        )
        assert mine >= theirs - 0.01
        assert store.check().ok


def test_rows_are_dropped_once_most_of_a_segment_is_dead() -> None:
    vectors = clustered(3_000, DIMENSION)
    with vstore.open(":memory:") as store:
        docs = filled(store, vectors)
        docs.delete(list(range(1_400)))
        store.optimize()
        assert docs._handle.view().rows("v").parts[0].rows.docno.shape == (3_000,)
        docs.delete(list(range(1_400, 1_800)))
        store.optimize()
        assert docs._handle.view().rows("v").parts[0].rows.docno.shape == (1_200,)
        assert docs.versions["v"].graphs == 1
        right = [
            {1_800 + row for row in best}
            for best in nearest(vectors[1_800:], QUERIES, "cosine", 10)
        ]
        assert recall(docs.search_batch(QUERIES, version="v"), right) >= RECALL_FLOOR
        assert store.check().ok


def test_a_vacuum_leaves_no_code_of_what_is_gone(tmp_path: Any) -> None:
    path = tmp_path / "s.vstore"
    vectors = clustered(2_000, DIMENSION)
    with vstore.open(path) as store:
        docs = filled(store, vectors)
        graph = docs._handle.view().rows("v").parts[0].rows.graph  # type: ignore[union-attr]
        assert graph is not None
        codes = [graph.arrays.codes(graph.node[row : row + 1]).tobytes() for row in range(5)]
        docs.delete(list(range(5)))
        store.vacuum()
    data = path.read_bytes()
    assert not any(code in data for code in codes)


def test_a_graph_grows_when_segments_merge() -> None:
    with vstore.open(":memory:") as store:
        docs = store.create_collection("docs")
        docs.create_version("v", spec(), graph_rows_min=500)
        vectors = clustered(9_000, DIMENSION)
        for start in range(0, 9_000, 1_500):  # each is sealed at once
            ids = list(range(start, start + 1_500))
            docs.upsert(ids, vectors={"v": vectors[start : start + 1_500]})
        right = nearest(vectors, QUERIES, "cosine", 10)
        assert recall(docs.search_batch(QUERIES, version="v"), right) >= RECALL_FLOOR
        assert store.check().ok
        store.vacuum()
        assert docs.versions["v"].segments == 1
        assert recall(docs.search_batch(QUERIES, version="v"), right) >= RECALL_FLOOR
        assert store.check().ok


def test_a_damaged_vector_is_found_when_it_is_scored(tmp_path: Any) -> None:
    path = tmp_path / "s.vstore"
    vectors = clustered(6_000, DIMENSION)
    with vstore.open(path) as store:
        filled(store, vectors)
    data = bytearray(path.read_bytes())
    data[data.index(vectors[4_000].tobytes()) + 5] ^= 1
    path.write_bytes(data)
    with vstore.open(path, mode="r") as store:
        docs = store.collection("docs")
        other = docs.search(vectors[5], version="v", k=1)  # in another piece of 64 KiB
        assert other.ids == [5]
        with pytest.raises(vstore.CorruptionError, match="damaged"):
            docs.search(vectors[4_000], version="v", k=1)
        with pytest.raises(vstore.CorruptionError):
            docs.search(vectors[5], version="v", k=1, recall=1)
        assert not store.check().ok


@pytest.mark.parametrize("name", ["codes.high", "codes.low", "graph.links"])
def test_a_damaged_node_is_found_when_it_is_read(tmp_path: Any, name: str) -> None:
    path = tmp_path / "s.vstore"
    vectors = clustered(6_000, DIMENSION)
    with vstore.open(path) as store:
        docs = filled(store, vectors)
        right = [docs.search(vector, version="v").ids for vector in vectors[:40]]
        segment = docs._handle.view().rows("v").parts[0].rows
        assert isinstance(segment, VectorSegment)
        block = segment.header.arrays[name].block
    data = bytearray(path.read_bytes())
    data[block.offset + FRAME_BYTES + block.length // 2] ^= 1
    path.write_bytes(data)

    def ids(docs: Collection, vector: Array) -> list[Any] | None:
        try:
            return docs.search(vector, version="v").ids
        except vstore.CorruptionError:
            return None

    with vstore.open(path, mode="r") as store:
        docs = store.collection("docs")
        found = [ids(docs, vector) for vector in vectors[:40]]
        assert None in found
        assert all(mine in (None, theirs) for mine, theirs in zip(found, right, strict=True))
        assert found.count(None) < len(found)
        with pytest.raises(vstore.CorruptionError):  # many questions read everything
            docs.search_batch(vectors[:2], version="v")
        assert not store.check().ok


def test_many_single_questions_have_all_nodes_checked_once(
    tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pieces, "_QUESTIONS_MAX", 20)
    path = tmp_path / "s.vstore"
    vectors = clustered(6_000, DIMENSION)
    with vstore.open(path) as store:
        docs = filled(store, vectors)
        right = docs.search(vectors[0], version="v").ids
        block = segment_of(docs).header.arrays["codes.low"].block
    with vstore.open(path, mode="r") as store:
        docs = store.collection("docs")
        marking = [
            (docs.search(vectors[0], version="v").ids, segment_of(docs).searched.check.marks)
            for _ in range(30)
        ]
        assert marking == [(right, True)] * 20 + [(right, False)] * 10

    data = bytearray(path.read_bytes())
    data[block.offset + FRAME_BYTES + block.length - 1] ^= 1
    path.write_bytes(data)
    with vstore.open(path, mode="r") as store:
        docs = store.collection("docs")
        for _ in range(20):
            assert docs.search(vectors[0], version="v").ids == right
        with pytest.raises(vstore.CorruptionError):
            docs.search(vectors[0], version="v")


def segment_of(docs: Collection) -> VectorSegment:
    segment = docs._handle.view().rows("v").parts[0].rows
    assert isinstance(segment, VectorSegment)
    return segment


def test_the_same_rows_give_the_same_file(tmp_path: Any) -> None:
    files = []
    for name in ("one", "two"):
        with vstore.open(tmp_path / name) as store:
            docs = filled(store, clustered(2_000, DIMENSION))
            graph = docs._handle.view().rows("v").parts[0].rows.graph  # type: ignore[union-attr]
            assert graph is not None
            codes = graph.arrays.codes()
            files.append((graph.arrays.links.tobytes(), codes.tobytes(), graph.recall))
    assert files[0] == files[1]


@pytest.mark.parametrize(
    "options",
    [
        {"recall": 0},
        {"recall": 1.5},
        {"recall": "high"},
        {"recall": vstore.EfSearch(0)},
        {"recall": vstore.EfSearch(2.5)},  # type: ignore[arg-type]
        {"recall": vstore.EfSearch("wide")},  # type: ignore[arg-type]
        {"recall": vstore.EfSearch},
        {"recall": [0.9]},
    ],
)
def test_options_that_mean_nothing_are_refused(shared: Collection, options: Any) -> None:
    with pytest.raises(vstore.InvalidArgumentError):
        shared.search(QUERIES[0], version="v", **options)


@pytest.mark.parametrize(
    "options", [{"M": 3}, {"M": 1_000}, {"ef_construction": 0}, {"graph_rows_min": -1}]
)
def test_settings_out_of_range_are_refused(options: Any) -> None:
    with vstore.open(":memory:") as store:
        docs = store.create_collection("docs")
        with pytest.raises(vstore.InvalidArgumentError):
            docs.create_version("v", spec(), **options)


def test_a_graph_of_the_widest_construction_can_be_read_again() -> None:
    with vstore.open(":memory:") as store:
        docs = filled(store, clustered(1_000, DIMENSION), ef_construction=100_000)
        assert len(docs.search(QUERIES[0], version="v")) == 10
        assert store.check().ok


def test_without_machine_code_searches_scan(monkeypatch: pytest.MonkeyPatch) -> None:
    with vstore.open(":memory:") as store:
        docs = filled(store, clustered(2_000, DIMENSION))
        monkeypatch.setattr(loader, "kernels", lambda **_: None)
        result = docs.search(QUERIES[0], version="v")
        assert nodes_of(result) == ["FlatScan"]
        assert "machine code" in result.explain()
        # The reference follows graphs too, if someone insists.
        wide = docs.search(QUERIES[0], version="v", recall=vstore.EfSearch(60))
        assert "GraphSearch" in nodes_of(wide)
        assert len(set(wide.ids) & set(result.ids)) >= 9


@pytest.mark.parametrize("metric", ["cosine", "l2", "inner_product"])
def test_numpy_gives_the_answers_of_machine_code(
    metric: Metric, monkeypatch: pytest.MonkeyPatch
) -> None:
    vectors = clustered(2_000, DIMENSION)
    with vstore.open(":memory:") as store:
        docs = filled(store, vectors, metric, M=8, ef_construction=40)
        docs.delete(list(range(100)))
        docs.upsert(["more"], vectors={"v": [QUERIES[:3]]})

        def answers() -> list[list[tuple[object, float]]]:
            asked: list[dict[str, Any]] = [
                {"recall": vstore.EfSearch(40)},
                {"k": 30, "recall": vstore.EfSearch(10)},
                {"where": vstore.field("year") < 400, "recall": vstore.EfSearch(200)},
                {"collapse": False, "recall": vstore.EfSearch(40)},
            ]
            batches = [docs.search_batch(QUERIES[:8], version="v", **more) for more in asked]
            return [[(hit.id, hit.score) for hit in r] for batch in batches for r in batch]

        native = answers()
        monkeypatch.setattr(loader, "kernels", lambda **_: None)
        assert answers() == native


def test_no_questions_get_no_answers(shared: Collection) -> None:
    assert not shared.search_batch(np.zeros((0, DIMENSION), np.float32), version="v")


def test_a_graph_that_lies_is_not_extended(tmp_path: Any) -> None:
    vectors = clustered(3_000, DIMENSION)
    with vstore.open(tmp_path / "s.vstore") as store:
        docs = filled(store, vectors[:2_000])
        segment = docs._handle.view().rows("v").parts[0].rows
        graph = segment.graph  # type: ignore[union-attr]
        assert graph is not None
        nowhere = np.full_like(graph.arrays.links, NONE - 1)
        lying = over(graph, changed(graph.arrays, links=nowhere))

        def until_it_is_merged() -> None:
            for some in np.array_split(np.arange(2_000, 3_000), MERGE_FANOUT):
                docs.upsert(some.tolist(), vectors={"v": vectors[some]})
                store.optimize()

        with (
            mock.patch.object(VectorSegment, "graph", lying),
            pytest.raises(vstore.CorruptionError, match="leads nowhere"),
        ):
            until_it_is_merged()
