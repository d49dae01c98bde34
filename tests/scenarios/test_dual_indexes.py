"""Two indexes side by side during a rollout.

Half the traffic cannot wait for a long backfill, so old and new index answer together: documents
are written to both, each query is asked of both, and the share of the new one grows. Before it is
trusted it shadows live queries, then takes a canary's share. Nothing may be lost, quality may not
dip on the way, and no answer may mix the two unsaid.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import numpy as np
import pytest

import vstore
from vstore.demo.corpus import ScifactDemo, load_scifact
from vstore.evaluation.measures import mean_ndcg_at_k

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from vstore import Collection, Document, SearchResult
    from vstore.types import Array

OLD, NEW = "docs-lsa", "docs-minilm"
SEED = 11


class Corpus:
    """SciFact, its documents in random order: a backfill by id meets them as they come."""

    def __init__(self) -> None:
        self.demo: ScifactDemo = load_scifact()
        self.order = np.random.default_rng(SEED).permutation(len(self.demo.document_ids))
        self.ids = [self.demo.document_ids[i] for i in self.order]
        self._rows = {id_: i for i, id_ in enumerate(self.demo.document_ids)}

    def new_model(self, documents: Sequence[Document]) -> Array:
        rows = [self._rows[str(document.id)] for document in documents]
        return self.demo.new_documents[rows]

    def ndcg(self, results: Sequence[SearchResult]) -> float:
        found = [list(map(str, result.ids)) for result in results]
        return mean_ndcg_at_k(found, self.demo.judgments, k=10)


@pytest.fixture(scope="module")
def corpus() -> Corpus:
    return Corpus()


@pytest.fixture(scope="module")
def queries(corpus: Corpus) -> dict[str, Array]:
    return {OLD: corpus.demo.old_queries, NEW: corpus.demo.new_queries}


@pytest.fixture
def docs(corpus: Corpus) -> Collection:
    """Both indexes, the new one empty, and the old one answering."""
    docs = vstore.open(":memory:").create_collection("docs")
    docs.create_version(OLD, vstore.EmbeddingSpec("lsa", 384))
    docs.create_version(NEW, vstore.EmbeddingSpec("minilm", 384))
    texts = [corpus.demo.texts[i] for i in corpus.order]
    docs.upsert(corpus.ids, texts=texts, vectors={OLD: corpus.demo.old_documents[corpus.order]})
    return docs


def mixed(docs: Collection) -> Mapping[str, float]:
    return cast("Mapping[str, float]", docs.store.metrics().to_dict()["mixed_version_rate"])


def test_quality_grows_with_coverage_and_nothing_is_lost_or_mixed(
    docs: Collection, corpus: Corpus, queries: dict[str, Array]
) -> None:
    old_alone = docs.search_batch(queries[OLD], version=OLD)
    floor, seen = corpus.ndcg(old_alone), []
    docs.routes.set(vstore.Dual(NEW), reason="rollout begins")
    backfill = docs.migrate(OLD, NEW, corpus.new_model, calls=vstore.Calls(batch_size=1_300))
    while True:
        results = docs.search_batch(queries)
        seen.append((docs.coverage(NEW).share, corpus.ndcg(results)))
        # A hit is of the new index exactly if its document is in it.
        migrated = set(docs.ids()) - {document.id for document in docs.migration.pending(NEW)}
        for result in results:
            assert len(set(result.ids)) == len(result) == 10
            assert all((hit.version == NEW) == (hit.id in migrated) for hit in result)
        if docs.coverage(NEW).complete:
            break
        backfill.run(batches_max=1)
    assert [share for share, _ in seen] == sorted(share for share, _ in seen)
    assert all(quality >= floor - 0.005 for _, quality in seen), f"{floor:.4f}, then {seen}"
    assert seen[-1][1] > floor + 0.05
    # At both ends it is just the one index.
    new_alone = docs.search_batch(queries[NEW], version=NEW)
    assert [result.ids for result in results] == [result.ids for result in new_alone]
    assert seen[0] == (0.0, floor)
    # In between answers were mixed, as asked for.
    assert mixed(docs)["explicit"] > 0
    assert mixed(docs)["silent"] == 0
    docs.routes.cutover(NEW, reason="complete")
    assert docs.versions[NEW].state == "serving"


def test_documents_are_written_to_both_or_queued_at_once(
    docs: Collection, corpus: Corpus, queries: dict[str, Array]
) -> None:
    backfill = docs.migrate(OLD, NEW, corpus.new_model, calls=vstore.Calls(batch_size=1_300))
    backfill.run(batches_max=1)
    old, new = queries[OLD][:1], queries[NEW][:1]

    # A writer that forgot the new index is told so, before anything is written ...
    docs.migration.set_dual_write("require", reason="rollout")
    with pytest.raises(vstore.MissingVectorsError, match=NEW):
        docs.upsert(["forgotten"], texts=["x"], vectors={OLD: old})
    assert "forgotten" not in docs
    docs.upsert(["both"], texts=["x"], vectors={OLD: old, NEW: new})

    # ... or its documents are first in the queue.
    docs.migration.set_dual_write("queue", reason="the import job cannot do both")
    late = corpus.ids[-1]  # last in line, were it not for the change
    docs.upsert([late], texts=["a new text"], vectors={OLD: old})
    backfill.run(batches_max=1)
    assert late not in {document.id for document in docs.migration.pending(NEW)}

    # Deleting is of both indexes at once, also while a batch is under way.
    gone = docs.migration.pending(NEW)[0].id

    def slow_model(documents: Sequence[Document]) -> Array:
        if gone in {document.id for document in documents}:
            docs.delete([gone])
        return corpus.new_model(documents)

    docs.migrate(OLD, NEW, slow_model, calls=vstore.Calls(batch_size=1_300)).run()
    assert docs.coverage(NEW).complete
    assert gone not in docs
    assert all(gone not in docs.search(queries[v][0], version=v, k=6_000).ids for v in (OLD, NEW))


def test_the_new_index_shadows_then_takes_a_canary_s_share(
    docs: Collection, corpus: Corpus, queries: dict[str, Array]
) -> None:
    docs.migration.backfill(NEW, corpus.new_model, batch_size=3_000)
    served = [result.ids for result in docs.search_batch(queries)]

    # A shadow answers nobody, and tells how different the new index is.
    docs.routes.shadow(NEW, percent=100, reason="a look at it first")
    assert [result.ids for result in docs.search_batch(queries)] == served
    (report,) = docs.routes.shadow_reports
    assert report.queries == len(queries[OLD])
    assert 0.05 < report.overlap < 0.95
    docs.routes.shadow(None)

    # A canary answers the same users each time, all of their queries from one index.
    keys = [f"user-{i % 50}" for i in range(len(queries[OLD]))]
    before: set[str] = set()
    for percent in (10, 50, 100):
        docs.routes.set(vstore.Canary(NEW, percent=percent), reason=f"{percent} % of users")
        answered: dict[str, set[str]] = {}
        for key, result in zip(keys, docs.search_batch(queries, keys=keys), strict=True):
            answered.setdefault(key, set()).update(hit.version for hit in result)
        assert all(len(versions) == 1 for versions in answered.values())
        on_new = {key for key, versions in answered.items() if versions == {NEW}}
        assert before <= on_new
        before = on_new
    assert len(before) == 50
    assert mixed(docs) == {"explicit": 0.0, "silent": 0.0}

    # A client that was not updated cannot be served from the new index by accident.
    old_client: dict[str, Any] = {OLD: queries[OLD][0]}
    with pytest.raises(vstore.MissingQueryVectorError, match=NEW):
        docs.search(old_client)
    docs.routes.rollback(reason="old clients")
    assert {hit.version for hit in docs.search(old_client)} == {OLD}


def test_the_old_index_s_finds_may_be_ordered_by_the_new_model_meanwhile(
    docs: Collection, corpus: Corpus, queries: dict[str, Array]
) -> None:
    docs.migrate(OLD, NEW, corpus.new_model, calls=vstore.Calls(batch_size=1_300)).run(
        batches_max=2
    )
    docs.routes.set(vstore.Cascade(NEW), reason="the new index is not whole yet")
    results = docs.search_batch(queries)
    found = docs.search_batch(queries[OLD], version=OLD, k=100)
    for result, candidates in zip(results, found, strict=True):
        assert set(result.ids) <= set(candidates.ids)
    assert {hit.version for result in results for hit in result} == {OLD, NEW}
    # Such answers are of both, as the route says: nothing about that is silent.
    assert mixed(docs)["explicit"] > 0
    assert mixed(docs)["silent"] == 0
