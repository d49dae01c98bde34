"""Guards in the store: other spaces are refused by what they are like, drifted embedders too."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import vstore
from tests.small_store import seal, store_in
from vstore.demo.corpus import ScifactDemo, load_scifact
from vstore.demo.models import (
    NEW,
    NEW_SPEC,
    OLD,
    OLD_SPEC,
    PrecomputedEmbedder,
    document_texts,
    new_model,
)
from vstore.errors import (
    CorruptionError,
    EmbedderDriftError,
    InvalidArgumentError,
    InvalidVectorError,
    LimitExceededError,
    StateError,
    SuspectGeometryError,
    VersionMismatchError,
)
from vstore.guarding.canary_checks import CanaryReport
from vstore.guarding.geometry import is_suspect_query, suspect
from vstore.guarding.guard_record import plain_guard, read_guard
from vstore.guarding.loaded_guards import guard_of
from vstore.guarding.query_check import QueryChecks
from vstore.guarding.watch import LATEST
from vstore.limits import CANARIES_MAX, CANARY_BYTES_MAX
from vstore.manifest.commit import Operation
from vstore.manifest.plain import PlainReader
from vstore.manifest.record import append_record

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from vstore.storage.memory import MemoryMedium
    from vstore.types import Array

HALF, BATCH = 2_048, 64


@pytest.fixture(scope="module")
def demo() -> ScifactDemo:
    return load_scifact()


def learned(
    demo: ScifactDemo, rows: int = HALF, *, medium: MemoryMedium | None = None
) -> vstore.Collection:
    """Return a collection whose MiniLM version has learned from its first rows."""
    store = store_in(medium)
    docs = store.create_collection("papers")
    docs.create_version(NEW, NEW_SPEC)
    docs.upsert(demo.document_ids[:rows], vectors={NEW: demo.new_documents[:rows]})
    return docs


def suspects(docs: vstore.Collection, kind: str = "batches") -> int:
    counts: Any = docs.store.metrics().to_dict()["counts"]
    return int(counts.get(f"suspect_{kind}", 0))


def batch(demo: ScifactDemo, rows: int = BATCH) -> list[str]:
    return demo.document_ids[HALF : HALF + rows]


# Learning.


@pytest.mark.parametrize(
    ("rows", "expected"), [(255, 0), (256, 256), (1_023, 0), (1_024, 1_024), (4_500, 4_096)]
)
def test_a_version_learns_when_it_has_rows_enough(
    demo: ScifactDemo, rows: int, expected: int
) -> None:
    docs = learned(demo, rows)
    info = docs.guards[NEW]
    assert info.learned_rows == (expected or (rows if rows > 256 else 0))
    assert info.refuses == (rows >= 1_024)


def test_it_learns_again_at_four_times_the_rows_and_then_no_more(demo: ScifactDemo) -> None:
    docs = learned(demo, 200)
    seen = []
    for start in range(200, 5_100, 100):
        end = start + 100
        docs.upsert(demo.document_ids[start:end], vectors={NEW: demo.new_documents[start:end]})
        seen.append(docs.guards[NEW].learned_rows)
    assert sorted(set(seen)) == [300, 1_100, 4_096]


def test_what_is_learned_depends_on_the_rows_alone(demo: ScifactDemo) -> None:
    at_once, by_parts = learned(demo, 1_024), learned(demo, 100)
    for start in range(100, 1_024, 154):
        end = start + 154
        by_parts.upsert(demo.document_ids[start:end], vectors={NEW: demo.new_documents[start:end]})
    assert _record(at_once) == _record(by_parts)


def _record(docs: vstore.Collection) -> object:
    snapshot = docs._handle.snapshot()
    return plain_guard(guard_of(snapshot, docs._handle.view().version(NEW)).record)


def test_rows_that_replace_others_are_not_counted_twice(demo: ScifactDemo) -> None:
    docs = learned(demo, 200)
    for _ in range(4):
        docs.upsert(demo.document_ids[:200], vectors={NEW: demo.new_documents[:200]}, force=True)
    assert docs.guards[NEW].learned_rows == 0


# Batches.


def test_the_same_model_is_not_taken_for_another(demo: ScifactDemo) -> None:
    docs = learned(demo)
    for start in range(HALF, len(demo.document_ids), 256):
        end = start + 256
        docs.upsert(demo.document_ids[start:end], vectors={NEW: demo.new_documents[start:end]})
    for start in range(0, HALF, 8):  # small ones, and one by one what is left
        rows = slice(start, start + 8)
        docs.add_vectors(demo.document_ids[rows], demo.new_documents[rows], version=NEW)
    assert suspects(docs) == 0


@pytest.mark.parametrize("call", ["upsert", "add_vectors", "backfill"])
def test_another_model_is_refused_and_changes_nothing(demo: ScifactDemo, call: str) -> None:
    docs = learned(demo)
    docs.upsert(batch(demo), texts=["text"] * BATCH)
    before, rows = docs.store.epoch, docs.versions[NEW].rows
    wrong = demo.old_documents[HALF : HALF + BATCH]
    calls: dict[str, Callable[[], object]] = {
        "upsert": lambda: docs.upsert(batch(demo), vectors={NEW: wrong}),
        "add_vectors": lambda: docs.add_vectors(batch(demo), wrong, version=NEW),
        "backfill": lambda: docs.migration.backfill(NEW, lambda documents: wrong[: len(documents)]),
    }
    with pytest.raises(SuspectGeometryError, match="nothing to do with version") as caught:
        calls[call]()
    error = caught.value
    assert isinstance(error, VersionMismatchError)
    assert error.limit is not None
    assert error.departure > error.limit > 0.5
    assert (error.expected, error.rows) == (NEW, BATCH)
    assert "trust_geometry=True" in str(error)
    assert docs.versions[NEW].rows == rows
    assert docs.store.epoch == before or call == "backfill"  # which opened its job
    assert suspects(docs) == 1


def test_the_version_that_vectors_fit_is_named(demo: ScifactDemo) -> None:
    docs = learned(demo)
    docs.create_version(OLD, OLD_SPEC)
    docs.add_vectors(demo.document_ids[:300], demo.old_documents[:300], version=OLD)
    wrong = demo.old_documents[HALF : HALF + BATCH]
    with pytest.raises(SuspectGeometryError, match=f"They fit version {OLD!r}") as caught:
        docs.upsert(batch(demo), vectors={NEW: wrong})
    assert caught.value.fits is not None
    other = docs.store.create_collection("other")
    other.create_version("v", NEW_SPEC)
    other.upsert(demo.document_ids[:64], vectors={"v": demo.new_documents[:64]})
    docs.add_vectors(demo.document_ids[300:1_100], demo.old_documents[300:1_100], version=OLD)
    with pytest.raises(SuspectGeometryError, match=f"They fit version {NEW!r}"):
        docs.add_vectors(
            demo.document_ids[1_100:1_200], demo.new_documents[1_100:1_200], version=OLD
        )


def test_a_version_of_another_collection_is_named_with_it(demo: ScifactDemo) -> None:
    docs = learned(demo)
    other = docs.store.create_collection("other")
    other.create_version("lsa", OLD_SPEC)
    other.upsert(demo.document_ids[:200], vectors={"lsa": demo.old_documents[:200]})
    with pytest.raises(SuspectGeometryError, match="'lsa' of collection 'other'"):
        docs.upsert(batch(demo), vectors={NEW: demo.old_documents[HALF : HALF + BATCH]})


def test_a_part_of_another_model_is_not_averaged_away(demo: ScifactDemo) -> None:
    docs = learned(demo)
    mixed = demo.new_documents[HALF : HALF + 2_048].copy()
    mixed[1_536:] = demo.old_documents[:512]
    with pytest.raises(SuspectGeometryError):
        docs.upsert(batch(demo, 2_048), vectors={NEW: mixed})


def test_few_rows_learned_flag_and_do_not_refuse(
    demo: ScifactDemo, caplog: pytest.LogCaptureFixture
) -> None:
    docs = learned(demo, 300)
    with caplog.at_level(logging.WARNING, "vstore"):
        docs.upsert(batch(demo), vectors={NEW: demo.old_documents[HALF : HALF + BATCH]})
    assert "suspect geometry" in caplog.text
    assert suspects(docs) == 1


def test_few_vectors_are_flagged_and_refused_when_there_are_more(demo: ScifactDemo) -> None:
    docs = learned(demo)

    def write(vectors: Array) -> None:
        for start in range(0, 4 * LATEST, 4):
            rows = slice(start, start + 4)
            docs.add_vectors(demo.document_ids[rows], vectors[rows], version=NEW)

    with pytest.raises(SuspectGeometryError) as caught:
        write(demo.old_documents)
    assert caught.value.rows == LATEST
    assert suspects(docs) >= 2
    # The right ones still pass: it is not they that look strange.
    write(demo.new_documents)


def test_who_insists_may_write(demo: ScifactDemo, caplog: pytest.LogCaptureFixture) -> None:
    wrong = demo.old_documents[HALF : HALF + BATCH]
    docs = learned(demo)
    docs.upsert(batch(demo), vectors={NEW: wrong}, trust_geometry=True)
    docs.add_vectors(batch(demo), wrong, trust_geometry=True, version=NEW)
    assert suspects(docs) == 0
    docs.guards.set_policy(NEW, "flag", reason="a test")
    with caplog.at_level(logging.WARNING, "vstore"):
        docs.add_vectors(batch(demo), wrong, version=NEW)
    assert ("suspect geometry" in caplog.text, suspects(docs)) == (True, 1)
    docs.guards.set_policy(NEW, "off")
    docs.add_vectors(batch(demo), wrong, version=NEW)
    assert suspects(docs) == 1
    docs.guards.set_policy(NEW, "refuse")
    with pytest.raises(SuspectGeometryError):
        docs.add_vectors(batch(demo), wrong, version=NEW)
    notes = [entry.note for entry in docs.store.history()]
    assert any("flag (a test)" in note for note in notes)
    with pytest.raises(InvalidArgumentError, match="refuse, flag, off"):
        docs.guards.set_policy(NEW, "maybe")  # type: ignore[arg-type]


def test_a_version_without_preferred_directions_refuses_nothing() -> None:
    docs = store_in().create_collection("docs")
    docs.create_version("v", vstore.EmbeddingSpec("noise", 32))
    rng = np.random.default_rng(0)
    docs.upsert(list(range(2_000)), vectors={"v": rng.standard_normal((2_000, 32))})
    docs.upsert(list(range(2_000, 2_200)), vectors={"v": rng.standard_normal((200, 32))})
    assert not docs.guards["v"].informative
    assert suspects(docs) == 0


def test_mapped_vectors_are_only_flagged(demo: ScifactDemo) -> None:
    docs = store_in().create_collection("papers")
    docs.create_version(NEW, NEW_SPEC, provenance="mapped")
    docs.upsert(demo.document_ids[:HALF], vectors={NEW: demo.new_documents[:HALF]})
    docs.upsert(batch(demo), vectors={NEW: demo.old_documents[:BATCH]})
    assert (suspects(docs), docs.guards[NEW].refuses) == (1, False)


def test_what_was_learned_outlives_reopening_and_vacuum(demo: ScifactDemo, tmp_path: Path) -> None:
    path = tmp_path / "papers.vstore"
    with vstore.open(path) as store:
        docs = store.create_collection("papers")
        docs.create_version(NEW, NEW_SPEC)
        docs.upsert(demo.document_ids[:HALF], vectors={NEW: demo.new_documents[:HALF]})
        docs.guards.set_canaries(NEW, ["a", "b"], vectors=demo.new_documents[:2])
        before = docs.guards[NEW]
        store.vacuum()
        assert store.check().ok
        assert docs.guards[NEW] == before
    with vstore.open(path) as store:
        docs = store.collection("papers")
        assert docs.guards[NEW] == before
        assert before.canaries == ("a", "b")
        with pytest.raises(SuspectGeometryError):
            docs.upsert(batch(demo), vectors={NEW: demo.old_documents[:BATCH]})


# Lengths.


def raw(demo: ScifactDemo, *, metric: Any = "inner_product") -> vstore.Collection:
    docs = store_in().create_collection("papers")
    docs.create_version("raw", vstore.EmbeddingSpec("raw", 384, metric=metric))
    docs.upsert(demo.document_ids[:HALF], vectors={"raw": demo.new_documents[:HALF]})
    return docs


@pytest.mark.parametrize(
    ("change", "name"),
    [
        (lambda v: v * np.linspace(1, 9, len(v))[:, None], "unnormalised"),
        (lambda v: v * 7, "scaled by a constant"),
        (lambda v: np.rint(v * 400).clip(-127, 127).astype(np.int8), "int8 codes"),
    ],
)
def test_a_mistake_of_lengths_is_named_and_refused_where_it_matters(
    demo: ScifactDemo, change: Any, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    wrong = change(demo.new_documents[HALF : HALF + BATCH])
    docs = raw(demo)
    with pytest.raises(InvalidVectorError, match=name):
        docs.upsert(batch(demo), vectors={"raw": wrong})
    docs.upsert(batch(demo), vectors={"raw": wrong}, trust_geometry=True)
    harmless = raw(demo, metric="cosine")
    with caplog.at_level(logging.WARNING, "vstore"):
        harmless.upsert(batch(demo), vectors={"raw": wrong})
    assert name in caplog.text
    assert suspects(harmless) == 1


def test_unnormalised_vectors_of_a_normalised_version_are_named(demo: ScifactDemo) -> None:
    docs = learned(demo)
    lengths = np.linspace(1, 9, BATCH)[:, None]
    with pytest.raises(InvalidVectorError, match="sent unnormalised") as caught:
        docs.upsert(batch(demo), vectors={NEW: demo.new_documents[HALF : HALF + BATCH] * lengths})
    assert caught.value.row is not None
    with pytest.raises(InvalidVectorError, match="is no number"):
        docs.upsert(batch(demo, 1), vectors={NEW: np.full((1, 384), np.nan)})
    with pytest.raises(InvalidVectorError, match="expected shape"):
        docs.upsert(batch(demo, 1), vectors={NEW: np.ones((1, 3))})


def test_lengths_that_say_something_under_cosine_are_hinted_at_once(
    demo: ScifactDemo, caplog: pytest.LogCaptureFixture
) -> None:
    docs = store_in().create_collection("papers")
    docs.create_version("raw", vstore.EmbeddingSpec("raw", 384))
    vectors = demo.new_documents[:HALF] * np.linspace(1, 9, HALF)[:, None]
    with caplog.at_level(logging.WARNING, "vstore"):
        for start in range(0, HALF, 512):
            rows = slice(start, start + 512)
            docs.upsert(demo.document_ids[rows], vectors={"raw": vectors[rows]})
    hints = [r for r in caplog.records if "trained for the inner product" in r.getMessage()]
    assert len(hints) == 1


# Queries.


def test_queries_of_the_model_are_no_news(demo: ScifactDemo) -> None:
    docs = learned(demo)
    results = [docs.search(query, version=NEW) for query in demo.new_queries]
    assert not any(result.suspect for result in results)
    assert not any(r.suspect for r in docs.search_batch(demo.new_queries, version=NEW))
    assert suspects(docs, "queries") == 0


def test_queries_of_another_model_are_flagged_and_answered(
    demo: ScifactDemo, caplog: pytest.LogCaptureFixture
) -> None:
    docs = learned(demo)
    with caplog.at_level(logging.WARNING, "vstore"):
        results = [docs.search(query, version=NEW) for query in demo.old_queries[:LATEST]]
    assert all(len(result) == 10 for result in results)
    assert results[-1].suspect is not None
    assert "queries of version" in results[-1].suspect
    assert "suspect" in results[-1].explain()
    assert suspects(docs, "queries") > 0
    assert len(caplog.records) == 1
    (one, *_) = docs.search_batch(demo.old_queries, version=NEW)
    assert one.suspect is not None


def test_an_array_that_the_caller_uses_again_is_not_judged_by_what_comes_later(
    demo: ScifactDemo,
) -> None:
    docs = learned(demo)
    query, results = np.empty(384, np.float32), []
    for mine in demo.new_queries[:LATEST]:
        query[:] = mine
        results.append(docs.search(query, version=NEW))
    query[:] = 1e9
    assert not any(result.suspect for result in results)
    assert suspects(docs, "queries") == 0


def test_a_search_by_a_graph_is_watched_too(demo: ScifactDemo) -> None:
    docs = store_in().create_collection("papers")
    spec = vstore.EmbeddingSpec("minilm", 384)
    docs.create_version(NEW, spec, graph_rows_min=1)
    docs.upsert(demo.document_ids[:HALF], vectors={NEW: demo.new_documents[:HALF]})
    docs.store.optimize()
    right = [docs.search(query, version=NEW) for query in demo.new_queries[:100]]
    wrong = [  # now and then it is looked
        docs.search(query, version=NEW) for query in np.concatenate([demo.old_queries] * 2)
    ]
    assert not any(result.suspect for result in right)
    assert wrong[-1].suspect is not None


@pytest.mark.parametrize("rhythm", [2, 3, 4, 5, 8])
def test_no_rhythm_of_queries_escapes_the_window(demo: ScifactDemo, rhythm: int) -> None:
    docs = learned(demo)
    snapshot = docs._handle.snapshot()
    watch = guard_of(snapshot, docs._handle.view().version(NEW)).queries
    assert watch is not None
    for i in range(2_000):
        watch.add(np.full(384, i % rhythm, np.float32))
    seen = watch.latest()[:, 0].tolist()
    assert len(seen) == LATEST
    assert all(seen.count(beat) >= LATEST / rhythm / 2 for beat in range(rhythm))


def test_commits_between_queries_do_not_hide_another_model(demo: ScifactDemo) -> None:
    docs = learned(demo)
    for query in demo.new_queries[:LATEST]:
        docs.search(query, version=NEW)
    for i in range(1_100):
        docs.search(demo.old_queries[i % len(demo.old_queries)], version=NEW)
        if i % 5 == 0:
            docs.add_vectors(demo.document_ids[:1], demo.new_documents[:1], version=NEW)
    assert suspects(docs, "queries") > 0


# Canaries.


class Embedder(PrecomputedEmbedder):
    """The demo's model, whose answers can be changed behind its name."""

    def __init__(self, demo: ScifactDemo, spec: vstore.EmbeddingSpec = NEW_SPEC) -> None:
        super().__init__(spec, new_model(demo)._vectors)
        self.change: Callable[[Array], Array] = np.asarray
        self.calls = 0

    def embed_documents(self, texts: Sequence[str]) -> Array:
        self.calls += 1
        return np.asarray(self.change(super().embed_documents(texts)))


def with_canaries(demo: ScifactDemo) -> tuple[vstore.Collection, Embedder, list[str]]:
    docs, embedder, texts = learned(demo, 20), Embedder(demo), document_texts(demo)
    docs.guards.set_canaries(NEW, texts[:12], vectors=embedder)
    return docs, embedder, texts


def noise(vectors: Array) -> Array:
    changed = vectors + 0.3 * np.random.default_rng(0).standard_normal(vectors.shape) / 19.6
    return np.asarray(changed / np.linalg.norm(changed, axis=1, keepdims=True))


@pytest.mark.parametrize(
    ("change", "verdict"),
    [
        (lambda v: v, "same"),
        (lambda v: v.astype(np.float16), "same"),
        (noise, "drifted"),
        (lambda v: v[:, ::-1], "other model"),
        (lambda v: v[:, :200], "other model"),
        (lambda v: v * np.nan, "other model"),
    ],
    ids=["nothing", "float16", "noise", "dimensions", "fewer dimensions", "no numbers"],
)
def test_an_embedder_is_verified(demo: ScifactDemo, change: Any, verdict: str) -> None:
    docs, embedder, _ = with_canaries(demo)
    embedder.change = change
    report = docs.guards.verify_embedder(embedder)
    assert isinstance(report, CanaryReport)
    assert (report.verdict, report.ok) == (verdict, verdict == "same")
    assert report.to_dict()["ok"] == report.ok
    if not report.ok:
        with pytest.raises(EmbedderDriftError, match="Nothing was written") as caught:
            docs.guards.verify_embedder(embedder, raise_on_drift=True)
        assert caught.value.report == report


@pytest.mark.parametrize("call", ["upsert_texts", "backfill"])
def test_a_drifted_embedder_is_refused_before_it_writes(demo: ScifactDemo, call: str) -> None:
    docs, embedder, texts = with_canaries(demo)
    docs.upsert(["new"], texts=[texts[100]])
    embedder.change = noise
    before = docs.store.epoch
    calls: dict[str, Callable[[], object]] = {
        "backfill": lambda: docs.migration.backfill(NEW, embedder),
        "upsert_texts": lambda: docs.upsert_texts(["a"], texts[50:51], embedder=embedder),
    }
    with pytest.raises(EmbedderDriftError):
        calls[call]()
    assert docs.store.epoch == before


def test_an_embedder_is_verified_once_for_a_handle(demo: ScifactDemo) -> None:
    docs, embedder, texts = with_canaries(demo)
    embedder.calls = 0
    docs.upsert_texts(["a"], texts[50:51], embedder=embedder)
    assert embedder.calls == 2
    docs.upsert_texts(["b"], texts[51:52], embedder=embedder)
    assert embedder.calls == 3
    docs.guards.set_canaries(NEW, texts[:5], vectors=demo.new_documents[:5])
    docs.upsert_texts(["c"], texts[52:53], embedder=embedder)
    assert embedder.calls == 5
    docs.guards.set_canaries(NEW, [], vectors=demo.new_documents[:0])
    docs.upsert_texts(["d"], texts[53:54], embedder=Embedder(demo))
    assert docs.guards[NEW].canaries == ()
    with pytest.raises(StateError, match="set_canaries"):
        docs.guards.verify_embedder(embedder)


def test_a_provider_that_renamed_its_model_is_recognised(demo: ScifactDemo) -> None:
    docs, _, texts = with_canaries(demo)
    renamed = vstore.EmbeddingSpec("minilm-l6-renamed", 384, normalized=True)
    embedder = Embedder(demo, renamed)
    with pytest.raises(VersionMismatchError):
        docs.upsert_texts(["a"], texts[50:51], embedder=embedder)
    report = docs.guards.verify_embedder(embedder, NEW)
    assert (report.verdict, report.model) == ("same", renamed.model)
    docs.store.declare_equivalent(NEW_SPEC, renamed, reason="renamed; canaries agree")
    docs.upsert_texts(["a"], texts[50:51], embedder=embedder)
    assert docs.guards.verify_embedder(embedder).ok


def test_canaries_are_checked_before_they_are_kept(demo: ScifactDemo) -> None:
    docs = learned(demo, 20)
    texts = [str(i) for i in range(CANARIES_MAX + 1)]
    with pytest.raises(LimitExceededError):
        docs.guards.set_canaries(NEW, texts, vectors=demo.new_documents[: CANARIES_MAX + 1])
    with pytest.raises(LimitExceededError):
        docs.guards.set_canaries(
            NEW, ["x" * (CANARY_BYTES_MAX + 1)], vectors=demo.new_documents[:1]
        )
    with pytest.raises(InvalidArgumentError, match="twice"):
        docs.guards.set_canaries(NEW, ["x", "x"], vectors=demo.new_documents[:2])
    with pytest.raises(InvalidArgumentError, match="expected a str"):
        docs.guards.set_canaries(NEW, [1], vectors=demo.new_documents[:1])  # type: ignore[list-item]
    with pytest.raises(InvalidVectorError, match="2 texts"):
        docs.guards.set_canaries(NEW, ["x", "y"], vectors=demo.new_documents[:3])
    stamped = vstore.Embeddings(OLD_SPEC, demo.old_documents[:1])
    with pytest.raises(VersionMismatchError):
        docs.guards.set_canaries(NEW, ["x"], vectors=stamped)
    assert docs.guards[NEW].canaries == ()


# Damage.


def with_damaged_guard(demo: ScifactDemo, record: Any) -> vstore.Collection:
    docs = learned(demo)

    def edit(state: Any) -> Any:
        collection = state.collections["papers"]
        ref = append_record(docs.store._open_file.container, record)
        version = collection.versions[NEW]._replace(guard=ref)
        changed = collection._replace(versions={NEW: version})
        return state._replace(collections={"papers": changed})

    docs.store._open_file.change(edit, Operation("test"))
    return docs


@pytest.mark.parametrize("record", [{}, {"dimension": 383, "policy": "refuse", "learned_at": 0}])
def test_a_damaged_guard_is_found_and_stops_writes_but_no_search(
    demo: ScifactDemo, record: Any
) -> None:
    docs = with_damaged_guard(demo, record)
    assert not docs.store.check().ok
    with pytest.raises(CorruptionError):
        docs.guards[NEW]
    with pytest.raises(CorruptionError):
        docs.upsert(batch(demo), vectors={NEW: demo.new_documents[:BATCH]})
    docs.upsert(batch(demo), vectors={NEW: demo.new_documents[:BATCH]}, trust_geometry=True)
    result = docs.search(demo.new_queries[0], version=NEW)
    assert len(result) == 10
    assert result.suspect is not None
    assert "not checked" in result.suspect
    docs.guards.relearn(NEW)
    assert docs.guards[NEW].refuses
    docs.upsert(batch(demo), vectors={NEW: demo.new_documents[:BATCH]})
    assert docs.search(demo.new_queries[0], version=NEW).suspect is None


def test_too_few_rows_to_learn_from(demo: ScifactDemo) -> None:
    docs = learned(demo, 20)
    with pytest.raises(StateError, match="at least 32"):
        docs.guards.relearn(NEW)
    docs.upsert(batch(demo), vectors={NEW: demo.new_documents[:BATCH]})
    docs.guards.relearn(NEW)
    assert docs.guards[NEW].learned_rows == BATCH + 20


@pytest.fixture(scope="module")
def sound(demo: ScifactDemo) -> dict[str, Any]:
    docs = learned(demo, 1_024)
    docs.guards.set_canaries(NEW, ["a", "b"], vectors=demo.new_documents[:2])
    record = _record(docs)
    assert isinstance(record, dict)
    return record


@given(data=st.data())
def test_a_hostile_record_is_refused_or_harmless(
    demo: ScifactDemo, sound: dict[str, Any], data: st.DataObject
) -> None:
    record = {k: dict(v) if isinstance(v, dict) else v for k, v in sound.items()}
    part = data.draw(st.sampled_from([record, record["canaries"], record["geometry"]]))
    key = data.draw(st.sampled_from(sorted(part)))
    if type(part[key]) is bytes and data.draw(st.booleans()):
        damaged = bytearray(part[key])
        at = data.draw(st.integers(0, len(damaged) - 1))
        damaged[at : at + 4] = data.draw(st.binary(min_size=4, max_size=4))
        part[key] = bytes(damaged)[: len(part[key])]
    else:
        part[key] = data.draw(
            st.none() | st.integers() | st.binary(max_size=64) | st.text(max_size=9)
            | st.lists(st.integers() | st.text(max_size=3), max_size=80)
            | st.dictionaries(st.text(max_size=3), st.integers(), max_size=3)
        )  # fmt: skip
    try:
        guard = read_guard(PlainReader(record, "guard"))
    except ValueError:
        return
    assert guard.dimension <= 65_535
    if guard.geometry is not None and guard.dimension == 384:
        with np.errstate(all="ignore"):
            _use(guard.geometry, demo)


def _use(geometry: Any, demo: ScifactDemo) -> None:
    suspect(geometry, demo.new_documents[:40], kind="documents")
    is_suspect_query(geometry, demo.new_queries[0])


def test_a_guard_survives_its_own_encoding(sound: dict[str, Any]) -> None:
    assert plain_guard(read_guard(PlainReader(sound, "guard"))) == sound


def test_sealed_rows_are_learned_from_as_unsealed_ones(demo: ScifactDemo) -> None:
    docs = learned(demo, 900)
    seal(docs.store)
    rows = slice(900, 1_024)
    docs.upsert(demo.document_ids[rows], vectors={NEW: demo.new_documents[rows]})
    assert _record(docs) == _record(learned(demo, 1_024))


def test_queries_blended_over_a_bridge_are_not_taken_for_the_model_s_own(demo: ScifactDemo) -> None:
    docs = store_in().create_collection("papers")
    ids = demo.document_ids[:2_000]
    for label, vectors in ((OLD, demo.old_documents), (NEW, demo.new_documents)):
        docs.create_version(label, vstore.EmbeddingSpec(label, 384))
        docs.upsert(ids, vectors={label: vectors[:2_000]})
    docs.migration.fit_bridge(OLD, NEW, min_recall=0.1)
    query = {OLD: demo.old_queries[0], NEW: demo.new_queries[0]}
    rules: dict[Any, set[str]] = {"slots": {OLD, NEW}, "bridged-slots": {NEW}}
    for fusion, watched in rules.items():
        checks = docs._handle.view().companions.of(QueryChecks)
        checks.clear()
        docs.search(query, read=vstore.Dual(NEW, OLD, fusion))
        assert set(checks) == watched


def test_questions_of_a_dual_read_one_by_one_are_judged_together(demo: ScifactDemo) -> None:
    docs = learned(demo)
    docs.create_version("third", vstore.EmbeddingSpec("third", 384))
    dual: dict[str, Any] = {"read": vstore.Dual("third", old=NEW)}
    for query in demo.old_queries[:LATEST]:
        docs.search({NEW: query, "third": query}, **dual)
    assert suspects(docs, "queries") > 0
