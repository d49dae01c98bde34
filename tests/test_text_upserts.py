"""upsert_texts: others may write meanwhile; one bad text costs its document only, by name."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import vstore
from tests.migration.clocks import HandClock
from tests.small_store import NEW, OLD, rows, spec, store_in
from vstore.embedding import calls as embedding_calls

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from vstore.types import Array

IDS = list("abcdefgh")
TEXTS = [f"text of {id_}" for id_ in IDS]


class Model:
    """An embedder that remembers its calls, and fails as a test wants it to."""

    def __init__(self, model: str = "model-old", *, during: Callable[[], object] = int) -> None:
        self._spec = spec(model, dimension=8)
        self._hashing = vstore.HashingEmbedder(8, seed=len(model))
        self.calls: list[list[str]] = []
        self.during = during
        self.poison: set[str] = set()
        self.down: Callable[[int], bool] = lambda _: False
        self.error: Exception = ConnectionError("503")

    @property
    def spec(self) -> vstore.EmbeddingSpec:
        return self._spec

    @property
    def texts(self) -> list[str]:
        return [text for call in self.calls for text in call]

    def embed_documents(self, texts: Sequence[str]) -> Array:
        self.calls.append(list(texts))
        self.during()
        if self.down(len(self.calls)):
            raise self.error
        if self.poison.intersection(texts):
            raise ValueError("cannot embed that")
        return self._hashing.embed_documents(texts)

    def embed_query(self, text: str) -> Array:
        return self._hashing.embed_query(text)


def collection_of(*models: Model, **fields: str) -> vstore.Collection:
    docs = store_in().create_collection("docs", fields=fields)
    for label, model in zip((OLD, NEW), models, strict=False):
        docs.create_version(label, model.spec)
    return docs


# Others write while the embedder works.


def test_another_thread_writes_while_the_embedder_works() -> None:
    model = Model()
    docs = collection_of(model)
    docs.upsert_texts(["x"], ["x"], embedder=model)
    inside, leave = threading.Event(), threading.Event()

    def wait() -> None:
        inside.set()
        assert leave.wait(60)

    model.during = wait
    thread = threading.Thread(
        target=docs.upsert_texts, args=(IDS, TEXTS), kwargs={"embedder": model}
    )
    thread.start()
    try:
        assert inside.wait(60)
        with docs.store.transaction(timeout_s=30) as tx:
            tx.delete(docs, ["x"])
    finally:
        leave.set()
        thread.join()
    assert sorted(docs.ids()) == IDS


def test_the_embedder_and_the_progress_callback_may_write_themselves() -> None:
    model = Model()
    docs = collection_of(model)
    model.during = lambda: docs.upsert([f"call {len(model.calls)}"])

    def progress(done: int, _: int) -> None:
        docs.upsert([f"progress {done}"])

    docs.upsert_texts(
        IDS, TEXTS, embedder=model, progress=progress, calls=vstore.Calls(batch_size=4)
    )
    assert {"call 1", "call 2", "progress 4", "progress 8", *IDS} == set(docs.ids())


MEANWHILE: dict[str, tuple[Callable[[vstore.Collection], object], str | None]] = {
    "deleted": (lambda docs: docs.delete(["a"]), None),
    "changed": (lambda docs: docs.upsert(["a"], texts=["newer"]), "newer"),
    "deleted and written anew": (
        lambda docs: (docs.delete(["a"]), docs.upsert(["a"], texts=["newer"])),
        "newer",
    ),
}


@pytest.mark.parametrize(
    ("what", "there_before"),
    [
        ("deleted", True),
        *(
            (what, there)
            for what in ("changed", "deleted and written anew")
            for there in (True, False)
        ),
    ],
)
def test_what_came_while_vectors_were_made_is_newer_and_stays(
    what: str, there_before: bool
) -> None:
    change, text = MEANWHILE[what]
    model = Model()
    docs = collection_of(model)
    if there_before:
        docs.upsert(["a"], texts=["older"])
    model.during = lambda: change(docs)
    counts = docs.upsert_texts(IDS, TEXTS, embedder=model)
    assert counts.overtaken == ("a",)
    assert (counts.inserted, counts.vectors_written) == (7, {OLD: 7})
    found = docs.get("a")
    assert (None if found is None else found.text) == text
    assert docs.get("b").text == TEXTS[1]  # type: ignore[union-attr]
    model.during = int
    docs.upsert_texts(IDS, TEXTS, embedder=model)  # begun after that write: it is the newer one
    assert docs.get("a").text == TEXTS[0]  # type: ignore[union-attr]


def test_newer_metadata_stays_and_the_text_is_written() -> None:
    model = Model()
    docs = collection_of(model, n="int", m="int")
    docs.upsert(["a"], texts=["older"], metadata=[{"n": 1}])
    model.during = lambda: docs.update_metadata(["a"], [{"n": 2}])
    metadata = [{"m": i} for i in range(len(IDS))]
    counts = docs.upsert_texts(IDS, TEXTS, embedder=model, metadata=metadata)
    assert counts.overtaken == ()
    found = docs.get_many(["a", "b"])
    assert [(one.text, dict(one.metadata)) for one in found if one] == [
        (TEXTS[0], {"n": 2}),
        (TEXTS[1], {"m": 1}),
    ]


def test_vectors_that_came_meanwhile_are_not_written_again() -> None:
    model = Model()
    docs = collection_of(model)
    docs.upsert(["a"], texts=[TEXTS[0]])
    theirs = rows(1, 8, seed=3)
    model.during = lambda: docs.add_vectors(["a"], theirs, version=OLD)
    assert docs.upsert_texts(IDS, TEXTS, embedder=model).vectors_skipped == {OLD: 1}
    np.testing.assert_array_equal(docs.get_vectors("a", OLD)[0], theirs[0])


def test_an_interrupt_loses_the_batch_under_way_only() -> None:
    model = Model()
    docs = collection_of(model)

    def interrupt() -> None:
        if len(model.calls) == 3:
            raise KeyboardInterrupt

    model.during = interrupt
    with pytest.raises(KeyboardInterrupt):
        docs.upsert_texts(IDS, TEXTS, embedder=model, calls=vstore.Calls(batch_size=2))
    assert docs.ids() == IDS[:4]
    docs.upsert_texts(IDS, TEXTS, embedder=model, calls=vstore.Calls(batch_size=2))
    assert model.texts[6:] == TEXTS[4:]
    assert docs.coverage(OLD).complete


def test_what_is_given_may_come_from_generators_that_write() -> None:
    docs = collection_of(Model(), n="int")

    def made(values: Sequence[Any] = IDS) -> Any:
        for value in values:
            docs.upsert([f"before {value!r:.9}"])
            yield value

    vectors = rows(8, 8)
    docs.upsert(made(), texts=made(TEXTS), metadata={"n": made(range(8))})
    docs.upsert(made(), source_hashes=made(TEXTS), metadata=made([{"n": 1}] * 8))
    docs.upsert(made(), vectors={OLD: made([vectors[i : i + 1] for i in range(8)])})
    revisions = [docs.get(i).revision for i in IDS]  # type: ignore[union-attr]
    docs.add_vectors(made(), vectors, revisions=made(revisions), version=OLD)
    docs.update_metadata(made(), [{}] * 8)
    docs.delete(made())
    assert not set(docs.ids()) & set(IDS)


# Texts that cannot be embedded.


def test_texts_that_cannot_be_embedded_are_left_out_and_named() -> None:
    model = Model()
    docs = collection_of(model)
    docs.upsert(["h"], texts=["as it was"])
    model.poison = {"", "bad"}
    texts: list[Any] = ["", None, *TEXTS[2:5], float("nan"), TEXTS[6], "bad"]
    for batch_size in (1, 3, 256):
        counts = docs.upsert_texts(
            IDS, texts, embedder=model, on_error="skip", calls=vstore.Calls(batch_size=batch_size)
        )
        assert set(counts.failed) == set("abfh")
        assert counts.failed["a"] == f"version '{OLD}': ValueError: cannot embed that"
        assert "texts[1], of 'b': expected a str, found None" in counts.failed["b"]
        assert "texts[5], of 'f': expected a str, found nan" in counts.failed["f"]
        assert sorted(docs.ids()) == list("cdegh")
        assert docs.get("h").text == "as it was"  # type: ignore[union-attr]
    model.poison = set()
    assert docs.upsert_texts(IDS, TEXTS, embedder=model).failed == {}
    assert docs.coverage(OLD).complete


@pytest.mark.parametrize("batch_size", [1, 2, 3, 256])
@pytest.mark.parametrize("bad", [0, 4, 7])
def test_an_error_names_the_callers_row_and_the_id(batch_size: int, bad: int) -> None:
    model = Model()
    docs = collection_of(model)
    texts = [*TEXTS]
    texts[bad] = "bad"
    model.poison = {"bad"}
    with pytest.raises(
        vstore.EmbeddingError, match=rf"texts\[{bad}\], of '{IDS[bad]}'.*ValueError.*on_error"
    ):
        docs.upsert_texts(IDS, texts, embedder=model, calls=vstore.Calls(batch_size=batch_size))
    assert docs.ids() == IDS[: bad // batch_size * batch_size]


@pytest.mark.parametrize("batch_size", [1, 2, 3, 256])
def test_a_vector_that_is_none_is_named_by_the_callers_row(batch_size: int) -> None:
    class Broken(Model):
        def embed_documents(self, texts: Sequence[str]) -> Array:
            made = super().embed_documents(texts)
            made[[text == TEXTS[5] for text in texts]] = np.nan
            return made

    docs = collection_of(Broken())
    with pytest.raises(vstore.InvalidVectorError, match=r"texts\[5\], of 'f'") as caught:
        docs.upsert_texts(IDS, TEXTS, embedder=Broken(), calls=vstore.Calls(batch_size=batch_size))
    assert caught.value.row == 5
    counts = docs.upsert_texts(
        IDS, TEXTS, embedder=Broken(), on_error="skip", calls=vstore.Calls(batch_size=batch_size)
    )
    assert list(counts.failed) == ["f"]


def test_none_is_named_by_row_and_id_before_anything_is_embedded() -> None:
    model = Model()
    docs = collection_of(model)
    texts: Any = [*TEXTS[:6], None, "x"]
    with pytest.raises(vstore.InvalidArgumentError, match=r"texts\[6\], of 'g': .*None"):
        docs.upsert_texts(IDS, texts, embedder=model, calls=vstore.Calls(batch_size=2))
    assert model.calls == []


def test_one_blank_text_does_not_stop_an_empty_collection_s_first_ingest() -> None:
    model = Model()
    docs = collection_of(model)
    model.poison = {""}
    assert list(docs.upsert_texts(["a"], [""], embedder=model, on_error="skip").failed) == ["a"]
    blank = [f"blank {i}" for i in range(80)]
    texts = [f"bad {i}" for i in range(80)]
    model.poison = set(texts)
    counts = docs.upsert_texts(
        [*blank, "good"],
        [*texts, "good"],
        embedder=model,
        on_error="skip",
        calls=vstore.Calls(batch_size=16),
    )
    assert set(counts.failed) == set(blank)
    assert docs.ids() == ["good"]


# Services that fail.


@pytest.mark.parametrize("on_error", ["raise", "skip"])
@pytest.mark.parametrize("error", [ConnectionError("503"), RuntimeError("down")])
@pytest.mark.parametrize("batch_size", [1, 3, 256])
def test_an_outage_raises_whatever_is_done_with_bad_texts(
    batch_size: int, error: Exception, on_error: Any
) -> None:
    model = Model()
    docs = collection_of(model)
    model.down, model.error = lambda call: call > 1, error
    docs.upsert_texts(["x"], ["x"], embedder=model)
    with pytest.raises(vstore.EmbeddingError):
        docs.upsert_texts(
            IDS, TEXTS, embedder=model, on_error=on_error, calls=vstore.Calls(batch_size=batch_size)
        )
    assert docs.ids() == ["x"]
    model.down = lambda _: False
    assert docs.upsert_texts(IDS, TEXTS, embedder=model).inserted == 8


class HttpError(Exception):
    """As an HTTP client raises it."""

    status_code = 500


@pytest.mark.parametrize("batch_size", [1, 3, 256])
@pytest.mark.parametrize("bad", [0, 3, 7])
def test_a_text_that_a_service_answers_with_500_is_named(batch_size: int, bad: int) -> None:
    model = Model()
    docs = collection_of(model)
    model.down = lambda call: TEXTS[bad] in model.calls[call - 1]
    model.error = HttpError("internal error")
    with pytest.raises(vstore.EmbeddingError) as caught:
        docs.upsert_texts(IDS, TEXTS, embedder=model, calls=vstore.Calls(batch_size=batch_size))
    message = str(caught.value)
    assert f"texts[{bad}], of {IDS[bad]!r}" in message
    assert "internal error" in message
    assert "answers for another text" in message
    assert "does not answer" not in message
    assert docs.ids() == IDS[: bad - bad % batch_size]


def test_the_only_text_is_named_if_the_service_answers_for_a_word() -> None:
    model = Model()
    docs = collection_of(model)
    model.down = lambda call: model.calls[call - 1] == ["bad"]
    model.error = HttpError("internal error")
    with pytest.raises(vstore.EmbeddingError, match=r"texts\[0\], of 'a'.*internal error"):
        docs.upsert_texts(["a"], ["bad"], embedder=model)
    model.down = lambda _: True
    with pytest.raises(vstore.EmbeddingError, match="does not answer"):
        docs.upsert_texts(["a"], ["bad"], embedder=model)


def test_calls_that_fail_are_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = HandClock()
    monkeypatch.setattr(embedding_calls, "sleep", clock.sleep)
    model = Model()
    docs = collection_of(model)
    model.down = lambda call: call % 3 != 0
    counts = docs.upsert_texts(
        IDS, TEXTS, embedder=model, calls=vstore.Calls(batch_size=4, retries=2)
    )
    assert (counts.inserted, len(model.calls), len(clock.slept)) == (8, 6, 4)


@pytest.mark.parametrize("parity", [0, 1])
@pytest.mark.parametrize("error", [ConnectionError("503"), RuntimeError("down")])
def test_a_service_that_fails_every_second_call_costs_no_document(
    error: Exception, parity: int
) -> None:
    model = Model()
    docs = collection_of(model)
    model.down, model.error = lambda call: call % 2 == parity, error
    counts = docs.upsert_texts(
        IDS, TEXTS, embedder=model, on_error="skip", calls=vstore.Calls(batch_size=4)
    )
    assert counts.failed == {}
    assert docs.coverage(OLD) == vstore.Coverage(8, 8)


# Several versions, equal texts.


@pytest.mark.parametrize("form", ["list", "mapping"])
def test_embedders_of_several_versions_satisfy_what_is_required(form: str) -> None:
    old, new = Model(), Model("model-new")
    docs = collection_of(old, new)
    docs.routes.set(vstore.Dual(NEW))
    docs.migration.set_dual_write("require")
    with pytest.raises(vstore.MissingVectorsError, match=NEW):
        docs.upsert_texts(IDS, TEXTS, embedder=old)
    given: Any = [old, new] if form == "list" else {NEW: new, OLD: old}
    counts = docs.upsert_texts(IDS, TEXTS, embedder=given, calls=vstore.Calls(batch_size=3))
    assert counts.vectors_written == {OLD: 8, NEW: 8}
    docs.upsert_texts(["a"], ["changed"], embedder=given)
    for label in (OLD, NEW):
        assert docs.coverage(label) == vstore.Coverage(8, 8)


def test_a_text_that_one_of_the_models_cannot_embed_is_left_out_of_both() -> None:
    old, new = Model(), Model("model-new")
    docs = collection_of(old, new)
    new.poison = {TEXTS[2]}
    counts = docs.upsert_texts(IDS, TEXTS, embedder=[old, new], on_error="skip")
    assert counts.failed == {"c": f"version '{NEW}': ValueError: cannot embed that"}
    assert docs.coverage(OLD) == docs.coverage(NEW) == vstore.Coverage(7, 7)


def test_an_embedder_belongs_to_the_version_it_is_given_for() -> None:
    old, new = Model(), Model("model-new")
    docs = collection_of(old, new)
    with pytest.raises(vstore.VersionMismatchError):
        docs.upsert_texts(IDS, TEXTS, embedder={OLD: new})
    with pytest.raises(vstore.NotFoundError):
        docs.upsert_texts(IDS, TEXTS, embedder={"x": new})
    for wrong, message in (
        ([old, Model()], "two of them"),
        ([], "at least one"),
        ({}, "at least one"),
        ([old, "new"], "embedder"),
    ):
        with pytest.raises(vstore.InvalidArgumentError, match=message):
            docs.upsert_texts(IDS, TEXTS, embedder=wrong)  # type: ignore[arg-type]
    with pytest.raises(vstore.InvalidArgumentError, match="on_error"):
        docs.upsert_texts(IDS, TEXTS, embedder=old, on_error="ignore")  # type: ignore[arg-type]
    assert docs.ids() == []


@pytest.mark.parametrize("batch_size", [1, 3, 256])
def test_equal_texts_are_embedded_once_a_call(batch_size: int) -> None:
    model = Model()
    docs = collection_of(model)
    texts = ["same", "other", "same", "bad", "same", "other", "bad", "last"]
    model.poison = {"bad"}
    counts = docs.upsert_texts(
        IDS, texts, embedder=model, on_error="skip", calls=vstore.Calls(batch_size=batch_size)
    )
    assert set(counts.failed) == {"d", "g"}
    vectors = [docs.get_vectors(id_, OLD)[0].tolist() for id_ in "ace"]
    assert vectors[0] == vectors[1] == vectors[2]
    model.poison, model.calls = set(), []
    docs.upsert_texts(
        [f"{id_}2" for id_ in IDS], texts, embedder=model, calls=vstore.Calls(batch_size=batch_size)
    )
    assert sorted(model.texts) == ["bad", "last", "other", "same"]


def test_an_outage_while_canaries_are_embedded_is_the_same_error() -> None:
    model = Model()
    docs = collection_of(model)
    docs.guards.set_canaries(OLD, TEXTS[:4], vectors=model)
    model.down = lambda _: True
    with pytest.raises(vstore.EmbeddingError, match="canaries"):
        docs.upsert_texts(IDS, TEXTS, embedder=model)
    docs.upsert(IDS, texts=TEXTS)
    with pytest.raises(vstore.EmbeddingError, match="canaries"):
        docs.migrate("", OLD, model).run()
    model.down = lambda _: False
    assert docs.migrate("", OLD, model).run().finished
