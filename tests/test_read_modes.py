"""Cascades, bridges, and a fusion rule chosen by judgments, on SciFact as the demo has it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import vstore
from tests.small_store import NEW, OLD, rows, store_in
from vstore.demo.corpus import ScifactDemo, load_scifact
from vstore.evaluation.measures import mean_ndcg_at_k

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from vstore import Collection, SearchResult
    from vstore.types import Array

QUERIES = 100


@pytest.fixture(scope="module")
def corpus() -> ScifactDemo:
    return load_scifact()


@pytest.fixture(scope="module")
def queries(corpus: ScifactDemo) -> dict[str, Array]:
    return {OLD: corpus.old_queries[:QUERIES], NEW: corpus.new_queries[:QUERIES]}


def made(corpus: ScifactDemo, share: float) -> Collection:
    docs = store_in().create_collection("docs")
    dimensions = corpus.old_documents.shape[1], corpus.new_documents.shape[1]
    docs.create_version(OLD, vstore.EmbeddingSpec("lsa", dimensions[0]))
    docs.create_version(NEW, vstore.EmbeddingSpec("minilm", dimensions[1]))
    ids = list(corpus.document_ids)
    docs.upsert(ids, vectors={OLD: corpus.old_documents.astype(np.float32)})
    moved = np.flatnonzero(np.random.default_rng(0).random(len(ids)) < share)
    if len(moved):
        vectors = corpus.new_documents[moved].astype(np.float32)
        docs.add_vectors([ids[i] for i in moved], vectors, version=NEW)
    return docs


@pytest.fixture(scope="module")
def half(corpus: ScifactDemo) -> Collection:
    return made(corpus, 0.5)


def ndcg(results: Sequence[SearchResult], judgments: Sequence[Mapping[str, float]]) -> float:
    return mean_ndcg_at_k([list(map(str, r.ids)) for r in results], judgments, k=10)


def test_a_cascade_is_the_old_ranking_before_and_better_after(
    corpus: ScifactDemo, queries: dict[str, Array]
) -> None:
    judgments = corpus.judgments[:QUERIES]
    nothing = made(corpus, 0)
    cascade = {"read": vstore.Cascade(NEW, old=OLD)}
    before = nothing.search_batch(queries, **cascade)  # type: ignore[arg-type]
    alone = nothing.search_batch(queries[OLD], version=OLD)
    assert [result.ids for result in before] == [result.ids for result in alone]
    everything = made(corpus, 1)
    after = everything.search_batch(queries, **cascade)  # type: ignore[arg-type]
    assert ndcg(after, judgments) > ndcg(alone, judgments) + 0.05
    assert {hit.version for result in after for hit in result} == {NEW}
    assert "CascadeRead(version='emb-new'" in after[0].explain()


def test_a_cascade_may_be_the_route(half: Collection, queries: dict[str, Array]) -> None:
    query = {label: vectors[0] for label, vectors in queries.items()}
    half.routes.set(vstore.Cascade(NEW), reason="no index yet")
    routed = half.search(query)
    assert half.routes.current.mode == "cascade"
    assert {hit.version for hit in routed} == {OLD, NEW}
    named = half.search(query, read=vstore.Cascade(NEW, old=OLD))
    assert routed.ids == named.ids
    with pytest.raises(vstore.MissingQueryVectorError, match=NEW):
        half.search({OLD: query[OLD]})
    half.routes.rollback()
    assert half.routes.current.version == OLD


def test_a_bridge_is_refused_until_its_recall_passes(
    half: Collection, queries: dict[str, Array]
) -> None:
    before = half.store.epoch
    with pytest.raises(vstore.GateError, match="bridge recall") as caught:
        half.migration.fit_bridge(OLD, NEW, min_recall=0.99)
    by_documents = caught.value.measured["bridge recall"]
    assert 0.3 < by_documents < 0.99
    with pytest.raises(vstore.GateError, match="bridge recall") as caught:
        half.migration.fit_bridge(OLD, NEW, min_recall=0.99, queries=queries)
    assert caught.value.measured["bridge recall"] < by_documents
    assert half.store.epoch == before
    with pytest.raises(vstore.StateError, match="no bridge leads"):
        half.routes.set(vstore.Bridge(NEW, source=OLD))
    with pytest.raises(vstore.NotFoundError, match="no bridge from"):
        half.search(rows(1, 384)[0], read=vstore.Bridge(NEW, source=OLD))


def test_a_bridge_lets_old_queries_search_the_new_version(
    corpus: ScifactDemo, queries: dict[str, Array]
) -> None:
    docs = made(corpus, 1)
    bridge = docs.migration.fit_bridge(OLD, NEW, min_recall=0.2)
    assert bridge.recall >= 0.2
    docs.routes.set(vstore.Bridge(NEW, source=OLD), reason="old clients")
    results = docs.search_batch({OLD: queries[OLD]})
    assert {hit.version for result in results for hit in result} == {NEW}
    shown = results[0].explain()
    assert shown.startswith("BridgedRead(queries of='emb-old'")
    assert f"measured recall@10={bridge.recall:.3f}" in shown
    expected = docs.search_batch(bridge.apply(queries[OLD]), version=NEW)
    assert [result.ids for result in results] == [result.ids for result in expected]
    own = docs.search_batch(queries)  # has its own vectors: no bridge
    assert "BridgedRead" not in own[0].explain()
    assert [r.ids for r in own] == [r.ids for r in docs.search_batch(queries[NEW], version=NEW)]
    docs.store.vacuum()
    assert docs.store.check().ok
    again = docs.search_batch({OLD: queries[OLD]})
    assert [result.ids for result in again] == [result.ids for result in results]
    docs.routes.rollback()
    assert docs.routes.current.version == OLD


def test_a_bridge_makes_a_dual_read_better_at_low_coverage(
    corpus: ScifactDemo, queries: dict[str, Array]
) -> None:
    docs = made(corpus, 0.25)
    with pytest.raises(vstore.NotFoundError, match="no bridge from"):
        docs.search_batch(queries, read=vstore.Dual(NEW, fusion="bridged-slots"))
    docs.migration.fit_bridge(OLD, NEW, min_recall=0.2)
    judgments = corpus.judgments[:QUERIES]
    slots = docs.search_batch(queries, read=vstore.Dual(NEW, fusion="slots"))
    bridged = docs.search_batch(queries, read=vstore.Dual(NEW, fusion="bridged-slots"))
    assert ndcg(bridged, judgments) > ndcg(slots, judgments)
    assert "DualRead(fusion=bridged-slots" in bridged[0].explain()
    choice = docs.migration.choose_fusion(NEW, queries=queries, judgments=list(judgments), old=OLD)
    assert any(one.rule.startswith("bridged-") for one in choice.measured)


def test_too_few_documents_with_both_are_no_bridge(corpus: ScifactDemo) -> None:
    with pytest.raises(vstore.StateError, match="documents have vectors in both"):
        made(corpus, 0.01).migration.fit_bridge(OLD, NEW)


def test_auto_is_slots_until_something_was_measured(
    half: Collection, queries: dict[str, Array]
) -> None:
    auto = half.search_batch(queries, read=vstore.Dual(NEW, fusion="auto"))
    slots = half.search_batch(queries, read=vstore.Dual(NEW, fusion="slots"))
    assert [result.ids for result in auto] == [result.ids for result in slots]
    assert "no rule was measured" in auto[0].plan.reason


def test_auto_is_what_judgments_chose_and_says_so(
    corpus: ScifactDemo, queries: dict[str, Array]
) -> None:
    docs = made(corpus, 0.75)
    judgments = corpus.judgments
    whole = {OLD: corpus.old_queries, NEW: corpus.new_queries}
    choice = docs.migration.choose_fusion(NEW, queries=whole, judgments=judgments, old=OLD)
    assert choice.rule in {one.rule for one in choice.measured if one.better} | {"slots"}
    auto = docs.search_batch(queries, read=vstore.Dual(NEW, fusion="auto"))
    assert f"{choice.rule}, chosen by {choice.queries:,} judged queries" in auto[0].plan.reason
    rule: Any = choice.rule
    named = docs.search_batch(queries, read=vstore.Dual(NEW, fusion=rule))
    assert [result.ids for result in auto] == [result.ids for result in named]
    slots = docs.search_batch(queries, read=vstore.Dual(NEW, fusion="slots"))
    assert ndcg(auto, judgments[:QUERIES]) >= ndcg(slots, judgments[:QUERIES]) - 0.01
    (state,) = docs._handle.view().state.choices
    assert (state.chosen, state.coverage) == (choice.rule, docs.coverage(NEW).share)
    assert state.measured["slots"] == pytest.approx(choice.default_ndcg)
    with pytest.raises(vstore.InvalidArgumentError, match="no queries for"):
        docs.migration.choose_fusion(NEW, queries={OLD: whole[OLD]}, judgments=judgments, old=OLD)
