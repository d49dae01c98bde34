"""A knowledge system changes schema, chunking and model in one go.

Whole articles under one vector become sentences under another model's, of another dimension and
another metric, and articles get a metadata field they did not have. An article is one document all
the while: answers name it once however it is cut, and a deletion or an edit meets both cuttings.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import numpy as np
import pytest

import vstore
from vstore.demo.corpus import load_scifact

if TYPE_CHECKING:
    from collections.abc import Sequence

    from vstore import Collection, Document
    from vstore.types import Array

WHOLE, SENTENCES = "kb-whole", "kb-sentences"
ARTICLES, SENTENCES_MAX = 150, 6
K = 10


class WholeArticles:
    """The old pipeline: one vector for an article."""

    def __init__(self) -> None:
        self._hashing = vstore.HashingEmbedder(64, seed=1)
        self.spec = vstore.EmbeddingSpec("speller", 64, "cosine", chunking="none/1")

    def embed_documents(self, texts: Sequence[str]) -> Array:
        return self._hashing.embed_documents(texts)

    def embed_query(self, text: str) -> Array:
        return self._hashing.embed_query(text)


class Sentences:
    """The new pipeline: a longer vector for each sentence, whose length says how much is in it."""

    def __init__(self) -> None:
        self._hashing = vstore.HashingEmbedder(96, seed=2)
        self.spec = vstore.EmbeddingSpec("speller-2", 96, "inner_product", chunking="sentence/1")

    def chunks(self, text: str) -> list[str]:
        return re.findall(r"[^.]+\.?", text)[:SENTENCES_MAX]

    def embed_documents(self, texts: Sequence[str]) -> list[Array]:
        return [self._hashing.embed_documents(self.chunks(text)) * 2 for text in texts]

    def embed_query(self, text: str) -> Array:
        return self._hashing.embed_query(text)

    def __call__(self, documents: Sequence[Document]) -> vstore.Embeddings:
        chunked = self.embed_documents([document.text or "" for document in documents])
        return vstore.Embeddings(self.spec, chunked)  # type: ignore[arg-type]  # one array each


whole, sentences = WholeArticles(), Sentences()


@pytest.fixture(scope="module")
def articles() -> dict[str, str]:
    demo = load_scifact()
    return dict(zip(demo.document_ids[:ARTICLES], demo.texts[:ARTICLES], strict=True))


@pytest.fixture
def kb(articles: dict[str, str]) -> Collection:
    """The knowledge base as it was, and the new version declared beside it."""
    store = vstore.open(":memory:")
    kb = store.create_collection("kb", fields={"author": "keyword"})
    kb.create_version(WHOLE, whole.spec)
    kb.upsert_texts(list(articles), articles.values(), embedder=whole)
    kb.create_version(SENTENCES, sentences.spec)
    return kb


def question(text: str) -> dict[str, Array]:
    return {WHOLE: whole.embed_query(text), SENTENCES: sentences.embed_query(text)}


def in_both(text: str) -> dict[str, object]:
    """Return an article's vectors as both pipelines make them."""
    return {WHOLE: whole.embed_documents([text]), SENTENCES: sentences.embed_documents([text])}


def migrated(kb: Collection) -> Collection:
    kb.migrate(WHOLE, SENTENCES, sentences, calls=vstore.Calls(batch_size=50)).run()
    return kb


def test_an_article_is_one_hit_however_it_is_cut(kb: Collection, articles: dict[str, str]) -> None:
    kb.routes.set(vstore.Dual(SENTENCES), reason="new chunking")
    backfill = kb.migrate(WHOLE, SENTENCES, sentences, calls=vstore.Calls(batch_size=50))
    asked = [sentences.chunks(text)[1] for text in list(articles.values())[::15]]
    while True:
        coverage = kb.coverage(SENTENCES)
        for text in asked:
            hits = kb.search(question(text), k=K)
            assert len({hit.id for hit in hits}) == len(hits) == K
            assert all(hit.chunk == 0 for hit in hits if hit.version == WHOLE)
        if coverage.complete:
            break
        # Coverage is of articles, whatever the number of vectors: one batch is 50 of them.
        backfill.run(batches_max=1)
        assert kb.coverage(SENTENCES).fresh == coverage.fresh + 50
    chunks = {id_: len(sentences.chunks(text)) for id_, text in articles.items()}
    assert len(set(chunks.values())) > 2
    assert kb.versions[SENTENCES].rows == sum(chunks.values()) > kb.versions[WHOLE].rows == ARTICLES
    assert {id_: len(kb.get_vectors(id_, SENTENCES)) for id_ in articles} == chunks


def test_a_hit_says_which_sentence_it_was(kb: Collection, articles: dict[str, str]) -> None:
    migrated(kb).routes.cutover(SENTENCES)
    id_, text = next((i, t) for i, t in articles.items() if len(sentences.chunks(t)) > 3)
    best = kb.search(question(sentences.chunks(text)[2]), k=1)[0]
    assert (best.id, best.version, best.chunk) == (id_, SENTENCES, 2)
    assert best.score == pytest.approx(2.0, abs=1e-5)  # an inner product, no cosine
    every = kb.search(question(text), k=200, collapse=False)
    assert len(every.ids) == 200 > len(set(every.ids))


def test_the_new_field_filters_both_versions_alike(
    kb: Collection, articles: dict[str, str]
) -> None:
    kb.add_field("section", "keyword")
    with pytest.raises(vstore.FilterError, match="chapter"):
        kb.search(question("cells"), where=vstore.field("chapter") == "biology")
    biology = list(articles)[:40]
    kb.update_metadata(biology, [{"section": "biology"}] * len(biology))
    assert kb.migration.pending(WHOLE) == []  # metadata is no part of what was embedded
    migrated(kb)
    for version in (WHOLE, SENTENCES):
        found = kb.search(
            question("cells"),
            version=version,
            k=ARTICLES,
            where=vstore.field("section") == "biology",
        )
        assert set(found.ids) == set(biology)


def test_a_deletion_and_an_edit_meet_both_cuttings(
    kb: Collection, articles: dict[str, str]
) -> None:
    migrated(kb)
    gone, edited = list(articles)[:2]
    kb.delete([gone])
    new_text = "Zymurgy is fermentation. It is the last word. Brewers know it."
    kb.upsert([edited], texts=[new_text])
    for version in (WHOLE, SENTENCES):  # neither finds the old text, nor the new one yet
        assert not {gone, edited} & set(kb.search(question("x"), version=version, k=999).ids)
        assert [document.id for document in kb.migration.pending(version)] == [edited]
    assert kb.versions[SENTENCES].stale_documents == 1
    kb.upsert([edited], texts=[new_text], vectors=in_both(new_text))
    for version in (WHOLE, SENTENCES):
        hits = kb.search(question("It is the last word."), version=version, k=999)
        assert edited in hits.ids
        assert gone not in hits.ids
        assert kb.coverage(version).complete
    assert len(kb.get_vectors(edited, SENTENCES)) == 3
    # A document that was deleted comes back only as what it is now.
    back = "A short note."
    kb.upsert([gone], texts=[back], vectors=in_both(back))
    assert len(kb.get_vectors(gone, SENTENCES)) == len(kb.get_vectors(gone, WHOLE)) == 1


def test_chunking_alone_makes_another_space(kb: Collection) -> None:
    other = vstore.EmbeddingSpec("speller-2", 96, "inner_product", chunking="paragraph/1")
    stamped = vstore.Embeddings(other, sentences.embed_query("cells"))
    with pytest.raises(vstore.VersionMismatchError, match="chunking") as caught:
        migrated(kb).search(stamped, version=SENTENCES)
    assert caught.value.differences == {"chunking": ("sentence/1", "paragraph/1")}
    before = kb.store.epoch
    with pytest.raises(vstore.VersionMismatchError, match="chunking"):
        kb.add_vectors(kb.ids()[:1], vstore.Embeddings(other, np.ones((1, 96))), version=SENTENCES)
    assert kb.store.epoch == before
