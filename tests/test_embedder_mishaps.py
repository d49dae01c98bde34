"""What an embedder gives that is no vectors: coroutines, and errors that are no text's fault."""

from __future__ import annotations

import asyncio
import functools
import gc
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import vstore
from tests.migration.corpus import contents, corpus, embed, wanted
from tests.small_store import NEW, OLD, documents, rows, spec

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from vstore.types import Array

IDS = list("abcdef")
TEXTS = [f"text of {id_}" for id_ in IDS]


class Model:
    """An embedder whose methods do what a test wants."""

    def __init__(self, embed_documents: Any = None, embed_query: Any = None) -> None:
        self._hashing = vstore.HashingEmbedder(4)
        self.spec = spec("model-old", 4)
        self.embed_documents = embed_documents or self._hashing.embed_documents
        self.embed_query = embed_query or self._hashing.embed_query


async def vectors_of(texts: Sequence[object]) -> Array:
    await asyncio.sleep(0)
    return rows(len(texts))


async def vector_of(_: object) -> Any:
    await asyncio.sleep(0)
    return rows(1)[0]


async def generated(texts: Sequence[object]) -> Any:
    for _ in texts:
        yield rows(1)[0]


class AsyncCallable:
    async def __call__(self, texts: Sequence[object]) -> Any:
        return await vectors_of(texts)


# Coroutines.


ASYNCHRONOUS: dict[str, Callable[..., Any]] = {
    "a coroutine function": vectors_of,
    "a part of one": functools.partial(vectors_of),
    "an asynchronous generator": generated,
    "an object with an asynchronous call": AsyncCallable(),
    "a function that returns a coroutine": lambda texts: vectors_of(texts),
    "a function that returns a generator": lambda texts: generated(texts),
    "a list of coroutines": lambda texts: [vector_of(text) for text in texts],
    "a generator of coroutines": lambda texts: (vector_of(text) for text in texts),
    "a stamped coroutine": lambda texts: vstore.Embeddings(
        spec("model-new"),
        vectors_of(texts),  # type: ignore[arg-type]
    ),
}


def refused_as_asynchronous(call: Callable[[], object]) -> None:
    with pytest.raises(vstore.VstoreError) as caught:
        call()
    assert isinstance(caught.value, vstore.EmbeddingError | vstore.InvalidArgumentError)
    message = str(caught.value)
    assert "coroutine function" in message
    assert "synchronously" in message
    assert "asyncio.run" in message
    assert "asyncio.to_thread" in message
    gc.collect()  # a coroutine that nobody awaited or closed is a warning, and so an error


@pytest.mark.parametrize("function", ASYNCHRONOUS.values(), ids=ASYNCHRONOUS)
@pytest.mark.parametrize("timeout_s", [None, 60.0])
def test_a_migration_says_that_the_function_is_asynchronous(
    function: Any, timeout_s: float | None
) -> None:
    docs = corpus()
    refused_as_asynchronous(
        lambda: docs.migrate(OLD, NEW, function, calls=vstore.Calls(timeout_s=timeout_s)).run()
    )
    refused_as_asynchronous(lambda: docs.migrate(OLD, NEW, function).plan())
    refused_as_asynchronous(lambda: docs.migration.backfill(NEW, function))
    assert not docs.migrate(OLD, NEW).dead_letters
    assert docs.migrate(OLD, NEW, embed).run().finished


@pytest.mark.parametrize("function", ASYNCHRONOUS.values(), ids=ASYNCHRONOUS)
@pytest.mark.parametrize("on_error", ["raise", "skip"])
def test_upserting_texts_says_that_the_embedder_is_asynchronous(
    function: Any, on_error: Any
) -> None:
    docs = documents()
    refused_as_asynchronous(
        lambda: docs.upsert_texts(IDS, TEXTS, embedder=Model(function), on_error=on_error)
    )
    assert not len(docs)


@pytest.mark.parametrize("function", ASYNCHRONOUS.values(), ids=ASYNCHRONOUS)
def test_canaries_say_that_the_embedder_is_asynchronous(function: Any) -> None:
    docs, model = documents(), Model(function)
    refused_as_asynchronous(lambda: docs.guards.set_canaries(OLD, TEXTS, vectors=model))
    docs.guards.set_canaries(OLD, TEXTS, vectors=Model())
    refused_as_asynchronous(lambda: docs.guards.verify_embedder(model))
    refused_as_asynchronous(lambda: docs.upsert_texts(IDS, TEXTS, embedder=model))
    refused_as_asynchronous(lambda: docs.migrate("", OLD, model).run())


@pytest.mark.parametrize("function", [vector_of, lambda text: vector_of(text)])
def test_queries_say_that_the_embedder_is_asynchronous(function: Any) -> None:
    docs = documents()
    docs.upsert_texts(IDS, TEXTS, embedder=Model())

    def ask() -> None:
        docs.store.register_embedder(Model(embed_query=function))
        docs.search("text", version=OLD)

    refused_as_asynchronous(ask)


def test_a_map_of_vectors_says_that_it_is_asynchronous() -> None:
    docs = corpus()
    docs.create_version("mapped", spec("model-mapped"), provenance="mapped")
    returned: Any = lambda found: vectors_of(found)  # noqa: E731 - the test's subject
    refused_as_asynchronous(lambda: docs.migrate(OLD, "mapped", from_vectors=vectors_of).run())  # type: ignore[arg-type]
    refused_as_asynchronous(lambda: docs.migrate(OLD, "mapped", from_vectors=returned).run())


def test_what_runs_its_coroutines_is_as_good_as_any_function() -> None:
    docs = corpus()

    async def later(batch: Sequence[vstore.Document]) -> Array:
        await asyncio.sleep(0)
        return embed(batch)

    assert docs.migrate(OLD, NEW, lambda batch: asyncio.run(later(batch))).run().finished
    assert contents(docs) == wanted(docs)


# Errors that no document is to blame for.


def failing(error: BaseException, bad: int | None) -> Callable[[Sequence[vstore.Document]], Array]:
    def function(batch: Sequence[vstore.Document]) -> Array:
        if bad is None or bad in {document.id for document in batch}:
            raise error
        return embed(batch)

    return function


@pytest.mark.parametrize("error", [MemoryError("no memory"), RecursionError("too deep")], ids=repr)
@pytest.mark.parametrize("bad", [None, 0, 5, 9])
@pytest.mark.parametrize("batch_size", [1, 4, 256])
def test_the_end_of_the_process_s_means_ends_a_migration_and_makes_no_dead_letter(
    error: Exception, bad: int | None, batch_size: int
) -> None:
    docs = corpus()
    job = docs.migrate(OLD, NEW, failing(error, bad), calls=vstore.Calls(batch_size=batch_size))
    for _ in range(2):
        with pytest.raises(type(error), match=str(error)):
            job.run()
        assert not job.dead_letters
    assert docs.migrate(OLD, NEW, embed).run().failed == 0
    assert contents(docs) == wanted(docs)


@pytest.mark.parametrize("error", [StopIteration(), StopAsyncIteration()], ids=repr)
@pytest.mark.parametrize("bad", [None, 0, 5, 9])
@pytest.mark.parametrize("batch_size", [1, 4, 256])
def test_a_stop_iteration_is_an_embedding_error(
    error: Exception, bad: int | None, batch_size: int
) -> None:
    docs = corpus()
    job = docs.migrate(OLD, NEW, failing(error, bad), calls=vstore.Calls(batch_size=batch_size))
    with pytest.raises(vstore.EmbeddingError, match=f"raised {type(error).__name__}"):
        job.run()
    assert not job.dead_letters
    assert docs.migrate(OLD, NEW, embed).run().failed == 0
    assert contents(docs) == wanted(docs)


@pytest.mark.parametrize("on_error", ["raise", "skip"])
@pytest.mark.parametrize("error", [MemoryError, RecursionError, StopIteration])
def test_such_an_error_ends_an_upsert_of_texts_and_blames_no_text(
    error: type[Exception], on_error: Any
) -> None:
    def function(texts: Sequence[str]) -> Array:
        if TEXTS[4] in texts:
            raise error
        return vstore.HashingEmbedder(4).embed_documents(texts)

    docs = documents()
    expected = vstore.EmbeddingError if error is StopIteration else error
    with pytest.raises(expected):
        docs.upsert_texts(
            IDS,
            TEXTS,
            embedder=Model(function),
            on_error=on_error,
            calls=vstore.Calls(batch_size=2),
        )
    assert docs.ids() == IDS[:4]
    docs.upsert_texts(IDS, TEXTS, embedder=Model())
    assert docs.coverage(OLD) == vstore.Coverage(6, 6)


@pytest.mark.parametrize("error", [MemoryError, RecursionError, StopIteration])
def test_such_an_error_of_canaries_and_queries_is_told_as_it_is(error: type[Exception]) -> None:
    def function(_: object) -> Array:
        raise error

    expected = vstore.EmbeddingError if error is StopIteration else error
    docs = documents()
    docs.upsert_texts(IDS, TEXTS, embedder=Model())
    docs.guards.set_canaries(OLD, TEXTS, vectors=Model())
    model = Model(function, function)
    with pytest.raises(expected):
        docs.guards.verify_embedder(model)
    with pytest.raises(expected):
        docs.upsert_texts(["new"], ["new"], embedder=model)
    docs.store.register_embedder(model)
    with pytest.raises(expected):
        list(docs.search(text, version=OLD) for text in ("one", "two"))  # noqa: C400 - a generator


def test_memory_that_ends_while_vectors_are_converted_is_no_fault_of_theirs() -> None:
    class Lazy:
        def __array__(self, *_: object, **__: object) -> Any:
            raise MemoryError("no memory")

    docs = corpus()
    function: Any = lambda batch: [Lazy() for _ in batch]  # noqa: E731
    job = docs.migrate(OLD, NEW, function)
    with pytest.raises(MemoryError):
        job.run()
    assert not job.dead_letters


def test_an_ordinary_error_of_one_document_still_is_its_own() -> None:
    docs = corpus()
    job = docs.migrate(OLD, NEW, failing(IndexError("empty"), 5))
    assert job.run().failed == 1
    assert [letter.id for letter in job.dead_letters] == [5]


def test_vectors_may_come_from_a_generator() -> None:
    docs = corpus()

    def one_by_one(batch: Sequence[vstore.Document]) -> Any:
        buffer = np.zeros(4, np.float32)
        for document in batch:
            buffer[:] = embed([document])[0]
            yield buffer

    assert docs.migrate(OLD, NEW, one_by_one).run().finished
    assert contents(docs) == wanted(docs)
