"""Scores fall with the rank, however versions are read, so that whoever sorts by them agrees."""

from __future__ import annotations

import warnings
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import vstore
from tests.native.data import clustered
from tests.small_store import NEW, OLD, axis, documents, rows, store_in
from vstore.demo.corpus import ScifactDemo, load_scifact
from vstore.errors import InvalidArgumentError
from vstore.evaluation.measures import mean_ndcg_at_k
from vstore.fusions import FUSIONS
from vstore.limits import K_MAX
from vstore.query.execution import reciprocal_ranks

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from vstore import Collection, SearchResult, SearchResults
    from vstore.types import Array

QUERIES = 40
SAME = 1e-9

# How two versions of half migrated documents are read: named, or as a route says.
NAMED: dict[str, dict[str, Any]] = {
    "old": {"version": OLD},
    "new": {"version": NEW},
    "exact": {"version": OLD, "recall": 1},
    "cascade": {"read": vstore.Cascade(NEW, old=OLD)},
    "bridge": {"read": vstore.Bridge(NEW, source=OLD)},
    **{
        f"dual by {rule}": {"read": vstore.Dual(NEW, old=OLD, fusion=rule)}
        for rule in FUSIONS
    },
}  # fmt: skip
ROUTED: dict[str, Callable[[Collection], object]] = {
    "serving": lambda docs: docs.routes.current,
    "both": lambda docs: docs.routes.set(vstore.Dual(NEW)),
    "both by evidence": lambda docs: docs.routes.set(vstore.Dual(NEW, fusion="evidence")),
    "cascade": lambda docs: docs.routes.set(vstore.Cascade(NEW)),
    "canary": lambda docs: docs.routes.set(vstore.Canary(NEW, percent=50)),
}


@pytest.fixture(scope="module")
def corpus() -> ScifactDemo:
    return load_scifact()


@pytest.fixture(scope="module")
def queries(corpus: ScifactDemo) -> dict[str, Array]:
    return {OLD: corpus.old_queries[:QUERIES], NEW: corpus.new_queries[:QUERIES]}


def made(corpus: ScifactDemo) -> Collection:
    """Return a cut of SciFact in two versions, half of it migrated."""
    docs = store_in().create_collection("docs", fields={"half": "keyword"})
    dimensions = corpus.old_documents.shape[1], corpus.new_documents.shape[1]
    docs.create_version(OLD, vstore.EmbeddingSpec("lsa", dimensions[0]))
    docs.create_version(NEW, vstore.EmbeddingSpec("minilm", dimensions[1]))
    judged = {document for gains in corpus.judgments[:QUERIES] for document in gains}
    cut = np.array([i for i, id_ in enumerate(corpus.document_ids) if id_ in judged or i < 1_000])
    ids = [corpus.document_ids[i] for i in cut]
    old, new = (
        all_[cut].astype(np.float32) for all_ in (corpus.old_documents, corpus.new_documents)
    )
    halves = [{"half": str(i % 2)} for i in range(len(ids))]
    docs.upsert(ids, vectors={OLD: old}, metadata=halves)
    moved = np.flatnonzero(np.random.default_rng(0).random(len(ids)) < 0.5)
    docs.add_vectors([ids[i] for i in moved], new[moved], version=NEW)
    return docs


@pytest.fixture(scope="module")
def half(corpus: ScifactDemo) -> Collection:
    docs = made(corpus)
    docs.migration.fit_bridge(OLD, NEW, min_recall=0.1, kinds=["procrustes"])
    docs.migration.fit_bridge(NEW, OLD, min_recall=0.1, kinds=["procrustes"])
    return docs


def judge(corpus: ScifactDemo, results: SearchResults) -> tuple[float, float, float]:
    """Return nDCG@10 by rank, and by score as ir_measures and ranx compute it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of what they import
        import ir_measures
        import ranx

    names = list(corpus.query_ids[:QUERIES])
    judgments = corpus.judgments[:QUERIES]
    run = results.to_run(names)
    qrels = {
        name: {document: int(gain) for document, gain in gains.items()}
        for name, gains in zip(names, judgments, strict=True)
    }
    by_rank = mean_ndcg_at_k([list(map(str, one.ids)) for one in results], judgments, k=10)
    measure = ir_measures.nDCG @ 10
    by_ir_measures = ir_measures.calc_aggregate([measure], qrels, run)[measure]
    by_ranx = ranx.evaluate(ranx.Qrels(qrels), ranx.Run(run), "ndcg@10")
    return by_rank, float(by_ir_measures), float(by_ranx)


def check(results: SearchResults, *, strictly: bool) -> None:
    """See that scores fall, and that all ways to ask for them say the same."""
    for number, result in enumerate(results):
        scores = [hit.score for hit in result]
        assert result.scores == results.scores[number, : len(result)].tolist() == scores
        assert all(before >= after for before, after in pairwise(scores))
        if strictly:
            assert (np.diff(np.array(scores, np.float32)) < 0).all()
        for hit in result:
            assert hit.version in hit.scores
            assert strictly or hit.score == hit.scores[hit.version]


def single(docs: Collection, queries: Mapping[str, Array], **options: Any) -> list[SearchResult]:
    return [
        docs.search({label: one[i] for label, one in queries.items()}, **options)
        for i in range(QUERIES)
    ]


# What ranx compiles warns of its own casts.
@pytest.mark.filterwarnings("ignore:unsafe cast from uint64 to int64")
@pytest.mark.parametrize("mode", NAMED)
def test_evaluation_libraries_agree_with_the_rank(
    corpus: ScifactDemo, half: Collection, queries: dict[str, Array], mode: str
) -> None:
    options = NAMED[mode]
    asked: Any = {OLD: queries[OLD]} if mode in ("old", "exact", "bridge") else queries
    results = half.search_batch(asked, k=20, **options)
    check(results, strictly="read" in options and mode != "bridge")
    by_rank, by_ir_measures, by_ranx = judge(corpus, results)
    assert by_rank > 0.2
    assert by_rank == pytest.approx(by_ir_measures, abs=SAME)
    assert by_rank == pytest.approx(by_ranx, abs=SAME)


@pytest.mark.filterwarnings("ignore:unsafe cast from uint64 to int64")
@pytest.mark.parametrize("routed", ROUTED)
def test_they_do_where_a_route_says_how_to_read(
    corpus: ScifactDemo, queries: dict[str, Array], routed: str
) -> None:
    docs = made(corpus)
    ROUTED[routed](docs)
    results = docs.search_batch(queries, k=10)
    check(results, strictly=docs.routes.current.mode in ("dual", "cascade"))
    by_rank, by_ir_measures, by_ranx = judge(corpus, results)
    assert by_rank == pytest.approx(by_ir_measures, abs=SAME)
    assert by_rank == pytest.approx(by_ranx, abs=SAME)


@pytest.mark.parametrize("mode", NAMED)
def test_every_k_filter_and_scope_and_one_by_one(
    half: Collection, queries: dict[str, Array], mode: str
) -> None:
    options = NAMED[mode]
    strictly = "read" in options and mode != "bridge"
    asked: Any = {OLD: queries[OLD]} if mode in ("old", "exact", "bridge") else queries
    asked = {label: vectors[:2] for label, vectors in asked.items()}
    where = vstore.field("half") == "1"
    for docs, more in (
        (half, {"k": 1}), (half, {"k": 3}), (half, {"k": 300}),
        (half, {"k": 10, "where": where}), (half.scoped(where), {"k": 10}),
        (half, {"k": 10, "where": where & (vstore.field("half") == "0")}),
    ):  # fmt: skip
        results = docs.search_batch(asked, **options, **more)
        check(results, strictly=strictly)
        for i, result in enumerate(results):
            for _ in range(2):  # the second time, maybe by the short way
                alone = docs.search({la: v[i] for la, v in asked.items()}, **options, **more)
                assert alone.ids == result.ids
                # A query that was mapped in a batch differs in its last bits.
                assert alone.scores == pytest.approx(result.scores, abs=1e-6)
                assert [set(hit.scores) for hit in alone] == [set(hit.scores) for hit in result]


@pytest.mark.parametrize("rule", ["slots", "evidence", "imputed", "rrf"])
def test_a_hit_has_its_similarity_in_every_version_that_scored_it(
    half: Collection, queries: dict[str, Array], rule: str
) -> None:
    asked = {label: vectors[0] for label, vectors in queries.items()}
    fused = half.search(asked, k=20, read=vstore.Dual(NEW, old=OLD, fusion=rule))  # type: ignore[arg-type]
    alone = {
        label: {hit.id: hit.score for hit in half.search(asked[label], version=label, k=6_000)}
        for label in (OLD, NEW)
    }
    for hit in fused:
        for label, score in hit.scores.items():
            assert score == pytest.approx(alone[label][hit.id], abs=SAME)
    if rule in ("evidence", "imputed"):  # which score candidates in both versions
        assert all(set(hit.scores) == {OLD, NEW} for hit in fused if hit.version == NEW)


def test_a_cascade_says_what_both_versions_scored(
    half: Collection, queries: dict[str, Array]
) -> None:
    asked = {label: vectors[0] for label, vectors in queries.items()}
    result = half.search(asked, read=vstore.Cascade(NEW, old=OLD))
    assert {hit.version for hit in result} == {OLD, NEW}
    assert all(set(hit.scores) == {OLD, hit.version} for hit in result)


def test_the_short_way_of_two_versions_scores_as_the_long_one() -> None:
    with vstore.open(":memory:") as store:
        docs = store.create_collection("docs")
        for label, model in ((OLD, "a"), (NEW, "b")):
            docs.create_version(label, vstore.EmbeddingSpec(model, 24), graph_rows_min=500)
        old, new = clustered(2_000, 24), clustered(2_000, 24, seed=1)
        docs.upsert(list(range(2_000)), vectors={OLD: old})
        docs.add_vectors(list(range(1_000)), new[:1_000], version=NEW)
        query = {OLD: old[5], NEW: new[5]}
        options: dict[str, Any] = {"read": vstore.Dual(NEW, old=OLD)}
        asked = [docs.search(query, **options) for _ in range(3)]
        assert [one.hits for one in asked] == [asked[0].hits] * 3
        assert asked[0].scores == [1 / rank for rank in range(1, 11)]
        assert asked[2].scores == asked[0].scores


def test_reciprocal_ranks_differ_in_float32_up_to_the_most_hits() -> None:
    assert (np.diff(reciprocal_ranks(K_MAX).astype(np.float32)) < 0).all()


def test_a_run_of_equal_scores_keeps_the_rank() -> None:
    docs = documents()
    docs.upsert(["z", "y", "x", "far"], vectors={OLD: np.stack([axis(0)] * 3 + [axis(1)])})
    results = docs.search_batch(axis(0)[None], version=OLD)
    assert results.scores[0].tolist() == [1, 1, 1, 0]
    run = results.to_run(["q"])["q"]
    assert list(run) == results[0].ids
    single = np.array(list(run.values()), np.float32)
    assert (np.diff(single) < 0).all()
    assert run["z"] == 1
    assert run["far"] == 0
    assert run["x"] == pytest.approx(1, abs=1e-6)


def test_a_run_has_ids_as_texts_and_the_hits_own_scores() -> None:
    docs = documents()
    docs.upsert([7, 8, 9], vectors={OLD: rows(3)})
    results = docs.search_batch(rows(2, seed=1), version=OLD)
    run = results.to_run([10, np.int64(11)])  # type: ignore[list-item]
    assert list(run) == ["10", "11"]
    for result, found in zip(results, run.values(), strict=True):
        assert found == {str(hit.id): hit.score for hit in result}
    assert results[0].to_run("a") == {"a": run["10"]}
    assert docs.search_batch(np.zeros((0, 4), np.float32), version=OLD).to_run([]) == {}


def test_of_a_documents_chunks_a_run_has_the_best() -> None:
    docs = documents()
    docs.upsert(["a", "b"], vectors={OLD: [rows(3), rows(2, seed=1)]})
    results = docs.search_batch(rows(1, seed=2), version=OLD, collapse=False)
    assert len(results[0]) == 5
    best = {hit.id: hit.score for hit in reversed(results[0].hits)}
    assert results.to_run(["q"]) == {"q": best}


@pytest.mark.parametrize(
    ("ids", "message"),
    [
        ([], "expected 2, one for each query, found 0"),
        (["a"], "expected 2, one for each query, found 1"),
        (["a", "b", "c"], "found 3"),
        (["a", "a"], "'a' is there twice, at 0 and at 1"),
        ([1, "1"], "'1' is there twice"),
        ({"a", "b"}, "in the order of the queries"),
        ("ab", "in the order of the queries"),
        (["a", None], r"query_ids\[1\]: expected a str or int, found NoneType"),
        (["a", True], "found bool"),
        (["a", 1.5], "found float"),
    ],
)
def test_ids_that_do_not_fit_are_refused(ids: Any, message: str) -> None:
    docs = documents()
    docs.upsert([7, 8, 9], vectors={OLD: rows(3)})
    results = docs.search_batch(rows(2, seed=1), version=OLD)
    with pytest.raises(InvalidArgumentError, match=message):
        results.to_run(ids)


def test_documents_that_a_run_cannot_tell_apart_are_refused() -> None:
    docs = documents()
    docs.upsert([1, "1"], vectors={OLD: rows(2)})
    results = docs.search_batch(rows(1, seed=1), version=OLD)
    with pytest.raises(InvalidArgumentError, match="cannot tell apart"):
        results.to_run(["q"])
