"""Recall at every k: what was promised is found among near-copies, on lines and in few dimensions.

Rows of equal scores are interchangeable, so that scores are compared and not ids.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import vstore
from tests.native.data import clustered
from vstore.native import loader
from vstore.query.plan import FlatScan, GraphSearch, scans

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from vstore import Collection, SearchResults, Store
    from vstore.manifest.spec import Metric
    from vstore.types import Array

ROWS = 4_000
QUERIES = 150
KS = (1, 2, 3, 5, 10, 25, 100)
ALLOWANCE = 0.02  # two standard errors of 150 queries at k = 1


@pytest.fixture(scope="module", autouse=True)
def machine_code() -> None:
    if loader.kernels(wait=True) is None:
        pytest.skip(f"no machine code here: {loader.status()['reason']}")


def near_copies(copies: int, noise: float, *, dimension: int = 64) -> Array:
    """Return rows in groups that differ in a share of their length, in no order."""
    rng = np.random.default_rng(copies)
    originals = clustered(ROWS // copies, dimension)
    originals /= np.linalg.norm(originals, axis=1, keepdims=True)
    rows = np.repeat(originals, copies, axis=0)
    rows += noise * rng.standard_normal(rows.shape) / np.sqrt(dimension)
    return np.ascontiguousarray(rows[rng.permutation(len(rows))])


def colours() -> Array:
    rng = np.random.default_rng(3)
    palette = rng.integers(0, 256, (30, 3))[rng.integers(0, 30, ROWS)]
    spread = palette + rng.normal(0, 8, (ROWS, 3))
    return np.clip(np.rint(spread), 0, 255).astype(np.float32) + 1  # a zero has no direction


def collinear() -> Array:
    rng = np.random.default_rng(4)
    return np.asarray(rng.random((ROWS, 1)) @ rng.standard_normal((1, 48)) + 1, np.float32)


def trajectories() -> Array:
    rng = np.random.default_rng(5)
    steps = 0.02 * rng.standard_normal((20, ROWS // 20, 4))
    return np.asarray((steps.cumsum(axis=1) + 3).reshape(ROWS, 4), np.float32)


def points(dimension: int) -> Array:
    return np.random.default_rng(6).random((ROWS, dimension)).astype(np.float32) + 0.1


DATA: dict[str, Callable[[], Array]] = {
    "20 copies, 3 %": lambda: near_copies(20, 0.03),
    "20 copies, 0.1 %": lambda: near_copies(20, 0.001),
    "20 copies, 10 %": lambda: near_copies(20, 0.1),
    "100 copies, 1 %": lambda: near_copies(100, 0.01),
    "colours": colours,
    "collinear": collinear,
    "trajectories": trajectories,
    "1 dimension": lambda: points(1),
    "2 dimensions": lambda: points(2),
}


def filled(store: Store, vectors: Array, metric: Metric = "cosine", **options: Any) -> Collection:
    docs = store.create_collection("docs", fields={"number": "int"})
    spec = vstore.EmbeddingSpec("model", vectors.shape[1], metric=metric)
    docs.create_version("v", spec, graph_rows_min=1_000, **options)
    numbers = [{"number": i} for i in range(len(vectors))]
    docs.upsert(list(range(len(vectors))), vectors={"v": vectors}, metadata=numbers)
    return docs


def asked(vectors: Array) -> Array:
    """Return some of the rows, and what is in the middle between them and their neighbours."""
    rng = np.random.default_rng(7)
    rows = vectors[rng.choice(len(vectors), QUERIES, replace=False)]
    distances = np.square(vectors).sum(axis=1) - 2 * rows @ vectors.T
    neighbours = vectors[np.argsort(distances, axis=1)[:, 1]]
    return np.asarray(np.concatenate([rows, (rows + neighbours) / 2]), np.float32)


def found(results: SearchResults, exact: SearchResults) -> float:
    """Return the share of the right hits, by score."""
    mine, right = (np.asarray(results.scores), np.asarray(exact.scores))
    worst = right[:, -1:]
    return float((mine >= worst - 1e-9 * np.abs(worst)).mean())


def falls_short(
    docs: Collection, queries: Array, recall: float | None, ks: tuple[int, ...] = KS, **options: Any
) -> dict[int, float]:
    """Return by k the recall that is below what was asked for."""
    short = {}
    for k in ks:
        exact = docs.search_batch(queries, version="v", k=k, **options, recall=1)
        results = docs.search_batch(queries, version="v", k=k, recall=recall, **options)
        share = found(results, exact)
        if share < (recall or 0.95) - ALLOWANCE:
            short[k] = share
    return short


@pytest.mark.parametrize("metric", ["cosine", "l2", "inner_product"])
@pytest.mark.parametrize("name", DATA)
def test_what_is_promised_holds_at_every_k(name: str, metric: Metric) -> None:
    vectors = DATA[name]()
    with vstore.open(":memory:") as store:
        docs = filled(store, vectors, metric)
        queries = asked(vectors)
        assert not falls_short(docs, queries, None)
        assert not falls_short(docs, queries, 0.99, (1, 4, 10))


@pytest.mark.parametrize("copies", [5, 50])
def test_half_precision_keeps_the_promise(copies: int) -> None:
    vectors = near_copies(copies, 0.03)
    with vstore.open(":memory:") as store:
        docs = filled(store, vectors, storage="float16")
        assert not falls_short(docs, vectors[:QUERIES], None)


def test_a_filter_and_deletions_keep_the_promise() -> None:
    vectors = near_copies(20, 0.03)
    with vstore.open(":memory:") as store:
        docs = filled(store, vectors)
        docs.delete(list(range(0, ROWS, 3)))
        queries = vectors[:QUERIES]
        assert not falls_short(docs, queries, None)
        for share in (0.7, 0.2, 0.05):
            where = vstore.field("number") < int(share * ROWS)
            assert not falls_short(docs, queries, None, (1, 3, 10), where=where)


@pytest.fixture(scope="module")
def among_others() -> Iterator[tuple[Collection, Array]]:
    """Make near-copies of one vector among nine times as many rows that are well apart."""
    count, dimension = 20_000, 96
    rng = np.random.default_rng(0)
    plain = rng.standard_normal((count * 9 // 10, 12)) @ rng.standard_normal((12, dimension))
    plain += 0.1 * rng.standard_normal(plain.shape)
    plain /= np.linalg.norm(plain, axis=1, keepdims=True)
    one = rng.standard_normal(dimension)
    noise = rng.standard_normal((count // 10, dimension)) / np.sqrt(dimension)
    near = one / np.linalg.norm(one) + 0.002 * noise
    vectors = np.concatenate([plain, near]).astype(np.float32)
    order = rng.permutation(count)
    with vstore.open(":memory:") as store:
        docs = store.create_collection("docs", fields={"form": "keyword"})
        spec = vstore.EmbeddingSpec("model", dimension)
        docs.create_version("v", spec, graph_rows_min=1_000)
        docs.guards.set_policy("v", "off")
        forms = [{"form": "letter" if i >= len(plain) else "other"} for i in order.tolist()]
        docs.upsert(list(range(count)), vectors={"v": vectors[order]}, metadata=forms)
        yield docs, near[:40].astype(np.float32)


@pytest.mark.parametrize("recall", [0.7, 0.8, None])
def test_a_filter_that_lets_through_near_copies_alone_keeps_the_promise(
    among_others: tuple[Collection, Array], recall: float | None
) -> None:
    docs, queries = among_others
    where = vstore.field("form") == "letter"
    assert not falls_short(docs, queries, recall, (1, 10), where=where)
    assert not falls_short(docs.scoped(where), queries, recall, (10,))


def test_near_copies_in_several_segments_keep_the_promise() -> None:
    vectors = near_copies(20, 0.03)
    with vstore.open(":memory:") as store:
        docs = filled(store, vectors[:1_500])
        for rows in (slice(1_500, 3_000), slice(3_000, 4_000)):
            ids = list(range(ROWS))[rows]
            docs.upsert(ids, vectors={"v": vectors[rows]})
        assert (docs.versions["v"].segments or 0) > 1
        assert not falls_short(docs, vectors[:QUERIES], None)


def test_a_graph_that_is_extended_by_near_copies_keeps_the_promise() -> None:
    plain, copies = clustered(ROWS, 64), near_copies(20, 0.03)
    plain /= np.linalg.norm(plain, axis=1, keepdims=True)
    for first, then in ((plain, copies[:2_000]), (copies, plain[:2_000])):
        with vstore.open(":memory:") as store:
            docs = filled(store, first)
            ids = list(range(ROWS, ROWS + len(then)))
            docs.upsert(ids, vectors={"v": then})
            store.vacuum()
            assert docs.versions["v"].segments == 1
            assert not falls_short(docs, copies[:QUERIES], None, (1, 3, 10))


@pytest.mark.parametrize("chunks", [2, 8])
def test_chunks_keep_the_promise_over_documents_and_over_chunks(chunks: int) -> None:
    vectors = near_copies(20, 0.03)
    with vstore.open(":memory:") as store:
        docs = store.create_collection("docs")
        spec = vstore.EmbeddingSpec("model", vectors.shape[1])
        docs.create_version("v", spec, graph_rows_min=1_000)
        shaped = list(vectors.reshape(-1, chunks, vectors.shape[1]))
        docs.upsert(list(range(len(shaped))), vectors={"v": shaped})
        for collapse in (True, False):
            ks = (1, 3, 10, 25)
            assert not falls_short(docs, vectors[:QUERIES], None, ks, collapse=collapse)


def test_documents_of_many_equal_chunks_keep_the_promise() -> None:
    """The tenth document is behind a hundred chunks of the first nine."""
    originals = clustered(ROWS // 20, 64)
    vectors = np.repeat(originals, 20, axis=0)
    vectors += 0.05 * np.random.default_rng(2).standard_normal(vectors.shape).astype(np.float32)
    with vstore.open(":memory:") as store:
        docs = store.create_collection("docs")
        docs.create_version("v", vstore.EmbeddingSpec("model", 64), graph_rows_min=1_000)
        docs.upsert(list(range(ROWS // 20)), vectors={"v": list(vectors.reshape(-1, 20, 64))})
        assert not falls_short(docs, vectors[:QUERIES], None, (1, 3, 10))


def test_a_wide_search_and_full_recall_miss_no_near_copy() -> None:
    vectors = near_copies(20, 0.03)
    queries = vectors[:QUERIES]
    with vstore.open(":memory:") as store:
        docs = filled(store, vectors)
        for k in (1, 3, 10):
            exact = docs.search_batch(queries, version="v", k=k, recall=1)
            wide = docs.search_batch(queries, version="v", k=k, recall=vstore.EfSearch(1_000))
            assert found(wide, exact) >= 0.999
            assert found(docs.search_batch(queries, version="v", k=k, recall=1.0), exact) == 1.0
        few, many = (
            docs.search(queries[0], version="v", k=1, recall=vstore.EfSearch(ef)).plan
            for ef in (10, 1_000)
        )
        assert many.candidates >= 5 * few.candidates  # type: ignore[union-attr]


@pytest.mark.parametrize("k", [1, 4, 10, 40, 100])
def test_the_plan_says_at_which_k_recall_was_measured(k: int) -> None:
    with vstore.open(":memory:") as store:
        docs = filled(store, clustered(ROWS, 64))
        result = docs.search(np.ones(64, np.float32), version="v", k=k, recall=vstore.EfSearch(400))
        (leaf,) = scans(result.plan)
        assert isinstance(leaf, GraphSearch)
        known = [at for at, _ in leaf.measured]
        assert known[0] <= k <= known[-1]
        assert len(known) == (1 if k in {1, 10, 100} else 2)
        assert all(f"recall@{at}={recall:.3f}" in result.explain() for at, recall in leaf.measured)
        below = docs.search(np.ones(64, np.float32), version="v", k=1, recall=vstore.EfSearch(1))
        assert "measured no recall" in below.explain()


def test_codes_that_tell_nothing_apart_are_not_used() -> None:
    vectors = near_copies(2_000, 0.001, dimension=32)
    with vstore.open(":memory:") as store:
        docs = filled(store, vectors, "l2")
        result = docs.search(vectors[0], version="v", k=1)
        assert all(isinstance(leaf, FlatScan) for leaf in scans(result.plan))
        assert not falls_short(docs, vectors[:QUERIES], None)
        where = vstore.field("number") < ROWS // 2
        assert not falls_short(docs, vectors[:QUERIES], None, (1, 3, 10), where=where)


def test_questions_from_between_near_copies_keep_the_promise() -> None:
    """No copy is near them, so that their neighbours do not lead to each other."""
    rng = np.random.default_rng(5)
    base = rng.standard_normal((600, 64)).astype(np.float32)
    base /= np.linalg.norm(base, axis=1, keepdims=True)
    rows = np.repeat(base, 20, axis=0)
    rows = rows + (0.03 / 8 * rng.standard_normal(rows.shape)).astype(np.float32)
    with vstore.open(":memory:") as store:
        docs = filled(store, rows[rng.permutation(len(rows))])
        queries = base[rng.integers(0, 600, 200)] + base[rng.integers(0, 600, 200)]
        for k in (1, 3, 10):
            exact = docs.search_batch(queries, version="v", k=k, recall=1)
            recall = found(docs.search_batch(queries, version="v", k=k), exact)
            assert recall >= 0.95, f"recall@{k} {recall:.3f}"


@pytest.mark.parametrize("length", [0.01, 0.3, 3.0, 50.0])
def test_the_length_of_a_query_changes_no_answer_among_unit_vectors(length: float) -> None:
    rng = np.random.default_rng(6)
    rows = rng.standard_normal((12_000, 64)).astype(np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    queries = rng.standard_normal((50, 64)).astype(np.float32)
    queries /= np.linalg.norm(queries, axis=1, keepdims=True)
    with vstore.open(":memory:") as store:
        docs = filled(store, rows, "inner_product")
        ids = docs.search_batch(queries, version="v", k=10).ids
        scaled = docs.search_batch(queries * np.float32(length), version="v", k=10).ids
        same = np.mean([len(set(a) & set(b)) / 10 for a, b in zip(ids, scaled, strict=True)])
        assert same > 0.98, f"{same:.3f} of the hits are the same"


def test_a_search_by_hand_widens_with_its_filter() -> None:
    rng = np.random.default_rng(0)
    rows = np.repeat(rng.standard_normal((600, 64)), 20, axis=0)
    rows = (rows + 1e-3 * rng.standard_normal(rows.shape)).astype(np.float32)
    with vstore.open(":memory:") as store:
        docs = filled(store, rows, "l2")
        groups = rng.integers(0, 100, len(rows))
        docs.update_metadata(range(len(rows)), [{"number": int(group)} for group in groups])
        few, queries = vstore.field("number") < 2, rows[rng.integers(0, len(rows), 100)]
        exact = docs.search_batch(queries, version="v", k=10, where=few, recall=1)
        for ef in (20, 100, 1_000):
            results = docs.search_batch(
                queries, version="v", k=10, where=few, recall=vstore.EfSearch(ef)
            )
            recall = found(results, exact)
            assert recall >= 0.95, f"ef_search={ef}: {recall:.3f}"


def test_a_search_by_hand_scans_where_no_width_was_seen_to_be_enough() -> None:
    rng = np.random.default_rng(0)
    walk = (np.cumsum(rng.standard_normal((12_000, 3)) * 0.01, axis=0) + 5).astype(np.float32)
    with vstore.open(":memory:") as store:
        docs = filled(store, walk, "l2")
        queries = walk[rng.integers(0, len(walk), 100)]
        exact = docs.search_batch(queries, version="v", k=1, recall=1)
        recall = found(
            docs.search_batch(queries, version="v", k=1, recall=vstore.EfSearch(1_000)), exact
        )
        assert recall >= 0.95, f"{recall:.3f}"
