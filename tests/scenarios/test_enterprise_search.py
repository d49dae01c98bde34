"""Enterprise search moves to a better embedding model behind a blue-green switch.

The old model ("blue") answers every query while the new one ("green") is filled offline, in full.
Green goes live in one commit, once its gates pass, judged quality among them. When users complain
it is taken back in one commit, and goes live again; what was written meanwhile is in both. In the
end blue is retired, and a vacuum gives its bytes back.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

import vstore
from tests.scenarios.another_process import Reader
from vstore.demo.corpus import ScifactDemo, load_scifact
from vstore.evaluation.measures import mean_ndcg_at_k

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from vstore import Collection, Document
    from vstore.types import Array

BLUE, GREEN = "docs-lsa-2019", "docs-minilm-2021"
ROUTE_STEPS = {"cutover", "rollback", "retire", "vacuum"}


@pytest.fixture(scope="module")
def corpus() -> ScifactDemo:
    return load_scifact()


def in_blue(corpus: ScifactDemo, store: vstore.Store) -> Collection:
    """Set up search as it was: one version, which serves."""
    docs = store.create_collection("docs")
    docs.create_version(BLUE, vstore.EmbeddingSpec("lsa", 384, model_version="2019"))
    docs.upsert(corpus.document_ids, texts=corpus.texts, vectors={BLUE: corpus.old_documents})
    return docs


class NewModel:
    """What embeds documents with the new model: a look-up, the vectors having been made before."""

    def __init__(self, corpus: ScifactDemo) -> None:
        self._rows = {id_: row for row, id_ in enumerate(corpus.document_ids)}
        self._vectors = corpus.new_documents

    def __call__(self, documents: Sequence[Document]) -> Array:
        return self._vectors[[self._rows[str(document.id)] for document in documents]]


def retire_blue(docs: Collection, corpus: ScifactDemo, path: Path) -> None:
    """End blue: its vectors leave the file with the next vacuum, once no tag holds them."""
    blue, green = (rows[0].tobytes() for rows in (corpus.old_documents, corpus.new_documents))
    docs.routes.retire(BLUE, reason="nobody has asked for it in a month")
    docs.store.vacuum()
    assert blue in path.read_bytes()
    docs.store.untag("green is live")
    report = docs.store.vacuum()
    assert blue not in path.read_bytes()
    assert green in path.read_bytes()
    assert report.bytes_before - report.bytes_after > 0.9 * corpus.old_documents.nbytes


def test_a_model_is_upgraded_behind_blue_green(corpus: ScifactDemo, tmp_path: Path) -> None:
    path = tmp_path / "search.vstore"
    queries = {BLUE: corpus.old_queries, GREEN: corpus.new_queries}
    np.savez(tmp_path / "queries.npz", blue=queries[BLUE][:40], green=queries[GREEN][:40])
    gates = vstore.Gates(
        coverage=1.0,
        stale=0.0,
        dead_letters=0,
        recall=0.95,
        quality=vstore.Judged(queries, corpus.judgments, margin=0.01),
    )

    def ndcg(version: str) -> float:
        results = docs.search_batch(queries[version], version=version)
        return mean_ndcg_at_k([list(map(str, r.ids)) for r in results], corpus.judgments, k=10)

    with vstore.open(path) as store:
        docs = in_blue(corpus, store)
        with Reader(path, tmp_path / "queries.npz", blue=BLUE, green=GREEN) as elsewhere:
            assert elsewhere.next_change() == BLUE

            # Green is filled beside blue. Half filled, it is not let through, and nobody reads it.
            spec = vstore.EmbeddingSpec("all-MiniLM-L6-v2", 384, model_version="2021-08-30")
            docs.create_version(GREEN, spec)
            backfill = docs.migrate(
                BLUE, GREEN, NewModel(corpus), calls=vstore.Calls(batch_size=1_000)
            )
            assert backfill.plan(sample=0).documents == len(docs)
            assert not backfill.run(batches_max=3).finished
            with pytest.raises(vstore.GateError, match="coverage"):
                docs.routes.cutover(GREEN, gates=gates)
            assert backfill.run().finished
            assert docs.versions[GREEN].state == "ready"

            # Every gate says what it measured, and the cutover is one commit.
            before = store.epoch
            measured = {
                gate.name: gate for gate in docs.routes.cutover(GREEN, gates=gates, by="ada")
            }
            assert store.epoch == before + 1
            assert all(gate.passed for gate in measured.values())
            assert ndcg(GREEN) > ndcg(BLUE) + 0.05
            assert measured["quality"].measured > 0.05
            assert elsewhere.next_change() == GREEN
            store.tag("green is live")

            # A document that comes now is written to both, so that going back loses nothing.
            docs.migration.set_dual_write("require")
            with pytest.raises(vstore.MissingVectorsError, match=BLUE):
                docs.upsert(["news"], texts=["News"], vectors={GREEN: corpus.new_queries[:1]})
            both = {BLUE: corpus.old_queries[:1], GREEN: corpus.new_queries[:1]}
            docs.upsert(["news"], texts=["News"], vectors=both)
            before = store.epoch
            assert docs.routes.rollback(reason="complaints about product names").complete
            assert store.epoch == before + 1
            assert elsewhere.next_change() == BLUE
            query = {label: rows[0] for label, rows in queries.items()}
            assert docs.search(query, k=1).ids == ["news"]

            docs.routes.cutover(GREEN, gates=gates, reason="they were about something else")
            assert elsewhere.next_change() == GREEN
            assert docs.search(query, k=1).ids == ["news"]
            assert elsewhere.stop() == ""  # blue, green, blue, green: and never anything else
        retire_blue(docs, corpus, path)
        assert docs.search(query, k=1).ids == ["news"]
        steps = [e.operation for e in reversed(store.history()) if e.operation in ROUTE_STEPS]
        assert steps == ["cutover", "rollback", "cutover", "retire", "vacuum", "vacuum"]
        assert store.check().ok
