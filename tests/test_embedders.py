"""Text in, stamped vectors out: the hashing embedder, upsert_texts, and the query cache."""

from __future__ import annotations

import dataclasses
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any
from unittest import mock

import numpy as np
import pytest

import vstore
from tests.small_store import OLD, axis, contents, documents, spec, store_in

if TYPE_CHECKING:
    from collections.abc import Sequence

    from vstore.types import Array


class Recorder:
    """An embedder that remembers what it was asked, and reuses its buffer as some do."""

    def __init__(self, embedding_spec: vstore.EmbeddingSpec, *, seed: int = 0) -> None:
        self._spec = embedding_spec
        self._hashing = vstore.HashingEmbedder(embedding_spec.dimension, seed=seed)
        self._buffer = np.zeros(embedding_spec.dimension, np.float32)
        self.documents: list[str] = []
        self.queries: list[str] = []

    @property
    def spec(self) -> vstore.EmbeddingSpec:
        return self._spec

    def embed_documents(self, texts: Sequence[str]) -> Array:
        self.documents += texts
        return self._hashing.embed_documents(texts)

    def embed_query(self, text: str) -> Array:
        self.queries.append(text)
        self._buffer[:] = self._hashing.embed_query(text)
        return self._buffer


PROMPTED = spec("prompted", 16, document_prompt="passage: ", query_prompt="query: ")


def collection_of(embedder: vstore.Embedder, label: str = OLD) -> vstore.Collection:
    docs = store_in().create_collection("docs", fields={"year": "int"})
    docs.create_version(label, embedder.spec)
    return docs


def test_the_hashing_embedder_gives_the_same_everywhere() -> None:
    embedder = vstore.HashingEmbedder(8)
    vector = embedder.embed_query("Straße")
    # Written down: a changed value would silently orphan stored vectors.
    np.testing.assert_allclose(vector, np.array([-2, 0, 0, 1, 0, 1, 1, 1]) / 8**0.5, rtol=1e-6)
    np.testing.assert_array_equal(embedder.embed_documents(["x", "Straße"])[1], vector)
    np.testing.assert_array_equal(embedder.embed_query("STRAßE"), vector)


@pytest.mark.parametrize("text", ["", "a", "ab", " ", "\n", "x" * 10_000, "\ud800", "日本語", "🙂"])
@pytest.mark.parametrize("dimension", [1, 2, 64])
def test_every_text_has_a_unit_vector(text: str, dimension: int) -> None:
    vector = vstore.HashingEmbedder(dimension).embed_query(text)
    assert vector.shape == (dimension,)
    assert vector.dtype == np.float32
    assert abs(float(np.linalg.norm(vector)) - 1) < 1e-6


def test_parameters_of_the_hashing_embedder_are_its_geometry() -> None:
    made = [vstore.HashingEmbedder(32), vstore.HashingEmbedder(32, seed=1),
            vstore.HashingEmbedder(32, ngram=2), vstore.HashingEmbedder(33)]  # fmt: skip
    assert len({embedder.spec.fingerprint for embedder in made}) == 4
    assert isinstance(made[0], vstore.Embedder)
    assert vstore.HashingEmbedder(32).spec == made[0].spec


def test_similar_spelling_is_near() -> None:
    embedder = vstore.HashingEmbedder(256)
    docs = collection_of(embedder)
    docs.upsert_texts(["cat", "dog", "cats"], ["the cat sat", "a dog ran", "the cats sat"],
                      embedder=embedder)  # fmt: skip
    docs.store.register_embedder(embedder)
    assert docs.search("the cat sat", k=2).ids == ["cat", "cats"]


def test_unchanged_texts_are_not_embedded_again() -> None:
    embedder = Recorder(spec(dimension=16))
    docs = collection_of(embedder)
    first = docs.upsert_texts(["a", "b"], ["one", "two"], embedder=embedder)
    assert (first.inserted, first.vectors_written) == (2, {OLD: 2})
    epoch = docs.store.epoch
    again = docs.upsert_texts(["a", "b"], ["one", "two"], embedder=embedder)
    assert (again.unchanged, again.vectors_written, again.vectors_skipped) == (
        2,
        {OLD: 0},
        {OLD: 2},
    )
    assert docs.store.epoch == epoch
    docs.upsert_texts(["b", "c"], ["TWO", "three"], embedder=embedder)
    assert embedder.documents == ["one", "two", "TWO", "three"]


def test_an_unchanged_text_is_embedded_for_a_version_that_lacks_it() -> None:
    old, new = Recorder(spec(dimension=16)), Recorder(spec("new", 8))
    docs = collection_of(old)
    docs.create_version("new", new.spec)
    docs.upsert_texts(["a"], ["one"], embedder=old)
    docs.upsert_texts(["a"], ["one"], embedder=new)
    assert new.documents == ["one"]
    assert docs.coverage(OLD).complete
    assert docs.coverage("new").complete


def test_prompts_go_before_texts_and_queries_and_are_not_stored() -> None:
    embedder = Recorder(PROMPTED)
    docs = collection_of(embedder)
    docs.upsert_texts(["a"], ["one"], embedder=embedder)
    docs.store.register_embedder(embedder)
    docs.search("what?")
    assert (embedder.documents, embedder.queries) == (["passage: one"], ["query: what?"])
    document = docs.get("a")
    assert document is not None
    assert document.text == "one"
    docs.create_version("again", spec("another", 16, document_prompt="doc: "))
    other = Recorder(docs.versions["again"].spec)
    docs.migration.backfill("again", other)
    assert other.documents == ["doc: one"]


def test_batches_are_commits_and_progress_is_told() -> None:
    embedder = vstore.HashingEmbedder(16)
    docs = collection_of(embedder)
    before = docs.store.epoch
    told: list[tuple[int, int]] = []
    counts = docs.upsert_texts(
        list(range(10)),
        [str(i) for i in range(10)],
        embedder=embedder,
        metadata=[{"year": i} for i in range(10)],
        progress=lambda done, total: told.append((done, total)),
        calls=vstore.Calls(batch_size=4),
    )
    assert counts.inserted == 10
    assert docs.store.epoch == before + 3
    assert told == [(4, 10), (8, 10), (10, 10)]
    assert [document.metadata["year"] for document in docs.documents()] == list(range(10))


def test_what_an_embedder_cannot_do_leaves_nothing() -> None:
    embedder = vstore.HashingEmbedder(16)
    docs = collection_of(embedder)
    before = contents(docs)
    wrong: list[dict[str, Any]] = [
        {"ids": ["a"], "texts": ["one", "two"]},
        {"ids": ["a"], "texts": [None]},
        {"ids": ["a"], "texts": [1]},
        {"ids": ["a", "a"], "texts": ["one", "two"], "calls": vstore.Calls(batch_size=1)},
        {"ids": ["a"], "texts": ["one"], "metadata": []},
        {"ids": ["a"], "texts": ["one"], "metadata": [{"yaer": 1}]},
    ]
    for arguments in wrong:
        with pytest.raises(vstore.InvalidArgumentError):
            docs.upsert_texts(**arguments, embedder=embedder)
    assert contents(docs) == before
    with pytest.raises(vstore.VersionMismatchError):
        docs.upsert_texts(["a"], ["one"], embedder=vstore.HashingEmbedder(16, seed=1))
    with pytest.raises(vstore.StateError, match="no version"):
        store_in().create_collection("empty").upsert_texts(["a"], ["one"], embedder=embedder)
    assert contents(docs) == before
    docs.upsert(["no text"])
    with pytest.raises(vstore.InvalidArgumentError, match="no text"):
        docs.migration.backfill(OLD, embedder)


def test_an_embedder_that_makes_wrong_vectors_is_refused() -> None:
    class Broken(Recorder):
        def embed_documents(self, texts: Sequence[str]) -> Array:
            return super().embed_documents(texts)[1:]

        def embed_query(self, text: str) -> Array:
            return super().embed_query(text)[1:]

    embedder = Broken(spec(dimension=16))
    docs = collection_of(embedder)
    docs.store.register_embedder(embedder)
    with pytest.raises(vstore.InvalidArgumentError):
        docs.upsert_texts(["a", "b"], ["one", "two"], embedder=embedder)
    assert len(docs) == 0
    with pytest.raises(vstore.InvalidVectorError):
        docs.search("one")


def test_a_query_is_embedded_once_per_geometry_and_text() -> None:
    old, new = Recorder(spec(dimension=16)), Recorder(spec("new", 16), seed=1)
    docs = collection_of(old)
    docs.create_version("new", new.spec)
    docs.upsert_texts(["a", "b"], ["one", "two"], embedder=old)
    docs.upsert_texts(["a", "b"], ["one", "two"], embedder=new)
    docs.store.register_embedder(old)
    docs.store.register_embedder(new)
    for _ in range(2):
        first, second = docs.search("one"), docs.search("two")
        assert (first.ids[0], second.ids[0]) == ("a", "b")
        assert docs.search("one", version="new").ids[0] == "a"
    assert old.queries == ["one", "two"]
    assert new.queries == ["one"]
    batch = docs.search_batch(["two", "one", "two"], version="new")
    assert [result.ids[0] for result in batch] == ["b", "a", "b"]
    assert new.queries == ["one", "two"]
    assert abs(docs.search("one")[0].score - 1) < 1e-6


def test_text_serves_a_dual_read() -> None:
    old, new = Recorder(spec(dimension=16)), Recorder(spec("new", 8), seed=1)
    docs = collection_of(old)
    docs.create_version("new", new.spec)
    docs.upsert_texts(["a", "b", "c"], ["one", "two", "three"], embedder=old)
    docs.migration.backfill("new", new, batch_size=1, batches_max=1)
    docs.store.register_embedder(old)
    docs.store.register_embedder(new)
    docs.routes.set(vstore.Dual("new"))
    result = docs.search("one")
    assert {hit.version for hit in result} == {OLD, "new"}
    assert (old.queries, new.queries) == (["one"], ["one"])


def test_text_without_an_embedder_is_a_state_error() -> None:
    docs = documents()
    with pytest.raises(vstore.StateError, match=r"register_embedder.*vector"):
        docs.search("one")
    docs.store.register_embedder(vstore.HashingEmbedder(4))
    with pytest.raises(vstore.StateError):
        docs.search("one")
    with pytest.raises(vstore.InvalidArgumentError):
        docs.store.register_embedder(spec())  # type: ignore[arg-type]


def test_an_embedder_of_an_equivalent_geometry_serves() -> None:
    embedder = Recorder(spec(dimension=16))
    docs = collection_of(embedder)
    renamed = Recorder(spec("renamed", 16))
    docs.store.declare_equivalent(embedder.spec, renamed.spec, reason="renamed")
    docs.store.register_embedder(renamed)
    docs.upsert_texts(["a", "b"], ["one", "two"], embedder=renamed)
    assert docs.search("two", k=1).ids == ["b"]


def test_registering_is_a_handles_own_matter() -> None:
    store = store_in()
    embedder = vstore.HashingEmbedder(4)
    documents(store, old=embedder.spec)
    store.register_embedder(embedder)
    before = store.epoch
    assert store.collection("docs").search("x").ids == []
    assert store.epoch == before


class Stubborn(Recorder):
    """An embedder whose query vectors are whatever a test says."""

    made: Any = None

    def embed_query(self, text: str) -> Array:
        self.queries.append(text)
        return self.made  # type: ignore[no-any-return]


@pytest.mark.parametrize(
    "made",
    [
        pytest.param(None, id="nothing"),
        pytest.param("one", id="text"),
        pytest.param({}, id="a dict"),
        pytest.param(3.0, id="a number"),
        pytest.param([1.0, [2.0]], id="ragged"),
        pytest.param([10**400, 1.0, 0.0, 0.0], id="too large for a float"),
        pytest.param(np.ones(3), id="too short"),
        pytest.param(np.ones((1, 4)), id="a matrix"),
        pytest.param(np.ones(4, complex), id="complex numbers"),
        pytest.param(np.array([1, 2, 3, "x"]), id="strings"),
        pytest.param(np.array([np.nan, 1, 1, 1]), id="not a number"),
        pytest.param(np.full(4, 1e300), id="too large for float32"),
        pytest.param(np.zeros(4), id="no direction"),
        pytest.param(np.ma.masked_equal(np.arange(4.0), 0), id="masked"),
    ],
)
def test_a_bad_query_vector_is_refused_and_not_remembered(made: Any) -> None:
    embedder = Stubborn(spec())
    docs = documents(old=embedder.spec)
    docs.upsert(["a"], vectors={OLD: np.ones((1, 4))})
    docs.store.register_embedder(embedder)
    embedder.made = np.ones(4)
    assert docs.search("known").ids == ["a"]
    embedder.made = made
    with pytest.raises(vstore.InvalidVectorError, match="model-old"):
        docs.search_batch(["known", "one"])
    embedder.made = np.ones(4)
    assert docs.search("one").ids == ["a"]
    assert embedder.queries == ["known", "one", "one"]


def test_another_embedder_of_the_same_geometry_answers_with_its_own_vectors() -> None:
    first, second = Recorder(spec(dimension=16)), Recorder(spec(dimension=16), seed=1)
    docs = collection_of(first)
    docs.store.register_embedder(first)
    docs.search("one")
    docs.store.register_embedder(second)
    docs.search("one")
    assert (first.queries, second.queries) == (["one"], ["one"])


def test_a_version_s_own_embedder_goes_before_an_equivalent_one() -> None:
    """Their query prompts may differ, and the fingerprints with them."""
    first = vstore.HashingEmbedder(8)
    own_spec = dataclasses.replace(first.spec, query_prompt="ask: ")

    class Own:
        """Of the same vectors, and with a prompt of its own."""

        spec = own_spec

        def embed_documents(self, texts: Sequence[str]) -> Array:
            return first.embed_documents(texts)

        def embed_query(self, text: str) -> Array:
            assert text.startswith("ask: ")
            unit: Array = np.eye(8, dtype=np.float32)[0]
            return unit

    store = store_in()
    docs = store.create_collection("docs")
    docs.create_version("own", own_spec)
    docs.upsert(["a"], vectors={"own": first.embed_documents(["a"])})
    store.declare_equivalent(first.spec, own_spec, reason="a prompt")
    store.register_embedder(first)
    store.register_embedder(Own())
    with mock.patch.object(first, "embed_query", side_effect=AssertionError("the other one")):
        assert docs.search("a", version="own", k=1).ids == ["a"]


def test_an_embedder_that_was_replaced_while_it_was_asked_leaves_nothing_behind() -> None:
    docs = documents()
    docs.upsert([0, 1], vectors={OLD: np.stack([axis(0), axis(1)])})
    asked, replaced = threading.Event(), threading.Event()

    class Model:
        def __init__(self, direction: int, *, waits: bool) -> None:
            self.spec = spec()
            self._direction, self._waits = direction, waits

        def embed_documents(self, texts: Sequence[str]) -> Array:
            return np.stack([axis(self._direction)] * len(texts))

        def embed_query(self, _: str) -> Array:
            if self._waits:
                asked.set()
                assert replaced.wait(60)
            return axis(self._direction)

    docs.store.register_embedder(Model(0, waits=True))
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(docs.search, "a question", version=OLD, k=1)
        assert asked.wait(60)
        docs.store.register_embedder(Model(1, waits=False))
        replaced.set()
        assert first.result(60).ids == [0]  # by the embedder that there was when it was asked
    assert docs.search("a question", version=OLD, k=1).ids == [1]
    assert docs.search_batch(["a question"], version=OLD, k=1).ids.tolist() == [[1]]
