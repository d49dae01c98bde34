"""Single texts to which a service answers as if it were down: they are blamed, and no others."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

import vstore
from tests.migration.corpus import contents, corpus, embed, wanted
from tests.small_store import NEW, OLD, store_in

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from vstore.types import Array, DocumentId

COUNT = 40
POISONED = ([0], [5], [5, 6, 7], [4, 5], [5, 9, 13], [0, 1, 2], [37, 38, 39], [39])


class InternalServerError(Exception):
    """What many servers answer to a text that they cannot take."""

    status_code = 500


ERRORS: dict[str, Callable[[], Exception]] = {
    "status": InternalServerError,
    "timeout": lambda: TimeoutError("no vectors after 60 s"),
}


class Poisoned:
    """An embedder that fails for texts that end so, or always."""

    def __init__(self, error: Callable[[], Exception] = InternalServerError) -> None:
        self._hashing = vstore.HashingEmbedder(16)
        self.spec = self._hashing.spec
        self.error = error
        self.down = False
        self.calls = 0

    def embed_documents(self, texts: Sequence[str]) -> Array:
        self.calls += 1
        if self.down or any(text.endswith("poison") for text in texts):
            raise self.error()
        return self._hashing.embed_documents(texts)

    def embed_query(self, text: str) -> Array:
        return self._hashing.embed_query(text)


def texts_of(poisoned: Sequence[int], count: int = COUNT) -> list[str]:
    return [f"text {i} {'poison' if i in poisoned else ''}" for i in range(count)]


def empty(embedder: vstore.Embedder) -> vstore.Collection:
    docs = store_in().create_collection("docs")
    docs.create_version(OLD, vstore.HashingEmbedder(8, seed=1).spec)
    docs.create_version(NEW, embedder.spec)
    return docs


def letters(docs: vstore.Collection) -> list[DocumentId]:
    return sorted(letter.id for letter in docs.migrate(OLD, NEW).dead_letters)


@pytest.mark.parametrize("error", ERRORS)
@pytest.mark.parametrize("batch_size", [1, 4, 256])
@pytest.mark.parametrize("poisoned", POISONED, ids=str)
def test_a_migration_gets_past_them(poisoned: list[int], batch_size: int, error: str) -> None:
    embedder = Poisoned(ERRORS[error])
    docs = empty(embedder)
    docs.upsert(range(COUNT), texts=texts_of(poisoned))
    report = docs.migrate(OLD, NEW, embedder, calls=vstore.Calls(batch_size=batch_size)).run()
    assert (report.status, report.done, report.left) == ("done", COUNT - len(poisoned), 0)
    assert letters(docs) == poisoned


@pytest.mark.parametrize("batch_size", [1, 4, 256])
@pytest.mark.parametrize("poisoned", POISONED, ids=str)
def test_a_migration_by_a_function_gets_past_them(poisoned: list[int], batch_size: int) -> None:
    def function(batch: Sequence[vstore.Document]) -> Array:
        if any(document.id in poisoned for document in batch):
            raise ConnectionResetError("reset")
        return embed(batch)

    docs = corpus(COUNT)
    report = docs.migrate(OLD, NEW, function, calls=vstore.Calls(batch_size=batch_size)).run()
    assert (report.status, report.done, letters(docs)) == ("done", COUNT - len(poisoned), poisoned)


@pytest.mark.parametrize("error", ERRORS)
@pytest.mark.parametrize("batch_size", [1, 4, 256])
@pytest.mark.parametrize("poisoned", POISONED, ids=str)
def test_an_ingest_that_skips_gets_past_them(
    poisoned: list[int], batch_size: int, error: str
) -> None:
    embedder = Poisoned(ERRORS[error])
    docs = empty(embedder)
    for _ in range(2):
        counts = docs.upsert_texts(
            range(COUNT),
            texts_of(poisoned),
            embedder=embedder,
            on_error="skip",
            calls=vstore.Calls(batch_size=batch_size),
        )
        assert sorted(counts.failed) == poisoned
        assert docs.coverage(NEW).fresh == len(docs.ids()) == COUNT - len(poisoned)


@pytest.mark.parametrize("batch_size", [4, 256])
@pytest.mark.parametrize("first", [0, 30, 59])
def test_forty_in_a_row_do_not_stop_the_others(first: int, batch_size: int) -> None:
    embedder, poisoned = Poisoned(), list(range(first, first + 40))
    docs = empty(embedder)
    docs.upsert(range(100), texts=texts_of(poisoned, 100))
    report = docs.migrate(OLD, NEW, embedder, calls=vstore.Calls(batch_size=batch_size)).run()
    assert (report.done, letters(docs)) == (60, poisoned)
    assert (
        docs.migrate(OLD, NEW, embedder, calls=vstore.Calls(batch_size=batch_size)).run().failed
        == 40
    )


@pytest.mark.parametrize("batch_size", [4, 256])
def test_forty_at_the_end_look_like_an_outage_and_stop_no_others(batch_size: int) -> None:
    embedder = Poisoned()
    docs = empty(embedder)
    docs.upsert(range(100), texts=texts_of(range(60, 100), 100))
    for _ in range(2):
        with pytest.raises(vstore.EmbeddingError):
            docs.migrate(OLD, NEW, embedder, calls=vstore.Calls(batch_size=batch_size)).run()
    assert (docs.coverage(NEW).fresh, letters(docs)) == (60, [])


@pytest.mark.parametrize("batch_size", [1, 4, 16, 256])
def test_a_cache_does_not_make_an_outage_the_fault_of_documents(batch_size: int) -> None:
    docs, known, down = corpus(60), dict[str, "Array"](), [False]

    def cached(batch: Sequence[vstore.Document]) -> Array:
        lacking = [document for document in batch if document.text not in known]
        if lacking and down[0]:
            raise ConnectionError("503")
        known.update({document.text or "": embed([document]) for document in lacking})
        return embed(batch)

    docs.migrate(OLD, NEW, cached, calls=vstore.Calls(batch_size=4)).run(batches_max=2)
    down[0] = True
    for _ in range(2):
        with pytest.raises(vstore.EmbeddingError):
            docs.migrate(OLD, NEW, cached, calls=vstore.Calls(batch_size=batch_size)).run()
        assert letters(docs) == []
    down[0] = False
    assert docs.migrate(OLD, NEW, cached, calls=vstore.Calls(batch_size=batch_size)).run().finished
    assert contents(docs) == wanted(docs)


def test_a_letter_is_cleared_when_its_document_can_be_embedded() -> None:
    embedder = Poisoned()
    docs = empty(embedder)
    docs.upsert(range(COUNT), texts=texts_of([5]))
    docs.migrate(OLD, NEW, embedder).run()
    embedder.down = True
    with pytest.raises(vstore.EmbeddingError):
        docs.migrate(OLD, NEW, embedder).run()
    assert letters(docs) == [5]
    docs.upsert([5], texts=["good"])
    embedder.down = False
    assert docs.migrate(OLD, NEW, embedder).run().finished
    assert letters(docs) == []


# Documents without a text.


@pytest.mark.parametrize("batch_size", [1, 16, 256])
@pytest.mark.parametrize("mute", [31, 32, 40, 300])
def test_documents_without_a_text_are_letters_without_a_call(mute: int, batch_size: int) -> None:
    embedder = Poisoned()
    docs = empty(embedder)
    docs.upsert([f"mute {i}" for i in range(mute)])
    docs.upsert(range(COUNT), texts=texts_of([]))
    report = docs.migrate(OLD, NEW, embedder, calls=vstore.Calls(batch_size=batch_size)).run()
    assert (report.status, report.done, report.failed, report.left) == ("done", COUNT, mute, 0)
    assert "has no text" in docs.migrate(OLD, NEW).dead_letters[0].error
    calls = embedder.calls
    assert docs.migrate(OLD, NEW, embedder).run().status == "stopped"
    assert embedder.calls == calls


@pytest.mark.parametrize("batch_size", [1, 256])
def test_where_only_documents_without_a_text_are_left_the_run_ends(batch_size: int) -> None:
    embedder = Poisoned()
    docs = empty(embedder)
    docs.upsert(range(50))
    report = docs.migrate(OLD, NEW, embedder, calls=vstore.Calls(batch_size=batch_size)).run()
    assert (report.status, report.done, report.failed, embedder.calls) == ("stopped", 0, 50, 0)
    docs.upsert([3], texts=["I can speak"])
    assert docs.migrate(OLD, NEW, embedder).run().done == 1


def test_a_backfill_still_refuses_documents_without_a_text() -> None:
    embedder = Poisoned()
    docs = empty(embedder)
    docs.upsert(range(50))
    with pytest.raises(vstore.InvalidArgumentError, match="document 0 has no text to embed"):
        docs.migration.backfill(NEW, embedder)
