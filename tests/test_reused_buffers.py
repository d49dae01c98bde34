"""A generator may fill the same array, list or dict again for each row that it yields."""

from __future__ import annotations

from array import array
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import vstore
from tests.small_store import OLD, documents, rows, spec

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from vstore.types import Array

COUNT = 5
ROWS = rows(COUNT)


def into_array() -> Iterator[Any]:
    buffer = np.zeros(4, np.float32)
    for row in ROWS:
        buffer[:] = row
        yield buffer


def into_list() -> Iterator[Any]:
    buffer = [0.0] * 4
    for row in ROWS:
        buffer[:] = row.tolist()
        yield buffer


def into_buffer() -> Iterator[Any]:
    buffer = array("f", [0.0] * 4)
    for row in ROWS:
        buffer[:] = array("f", row.tolist())
        yield buffer


def into_view() -> Iterator[Any]:
    buffer = np.zeros(4, np.float32)
    for row in ROWS:
        buffer[:] = row
        yield buffer.data


def into_chunks() -> Iterator[Any]:
    buffer = np.zeros((1, 4), np.float32)
    for row in ROWS:
        buffer[0] = row
        yield buffer


class Drawn:
    """An iterable without a length, that is no iterator."""

    def __iter__(self) -> Iterator[Any]:
        return into_array()


FORMS: dict[str, Callable[[], Any]] = {
    "array": into_array, "list": into_list, "buffer": into_buffer, "view": into_view,
    "chunks": into_chunks, "iterable": Drawn,
}  # fmt: skip


def stored(docs: vstore.Collection) -> Array:
    return np.stack([np.asarray(docs.get_vectors(i, OLD)[0]) for i in range(COUNT)])


@pytest.mark.parametrize("form", FORMS)
def test_every_row_of_a_reused_buffer_is_written(form: str) -> None:
    docs = documents()
    docs.upsert(range(COUNT), vectors={OLD: FORMS[form]()})
    assert np.array_equal(stored(docs), ROWS)
    docs.delete(range(COUNT))
    docs.upsert(range(COUNT))
    docs.add_vectors(range(COUNT), FORMS[form](), version=OLD)
    assert np.array_equal(stored(docs), ROWS)


@pytest.mark.parametrize("form", [form for form in FORMS if form != "iterable"])
def test_and_in_a_transaction_and_with_a_stamp(form: str) -> None:
    docs = documents()
    with docs.store.transaction() as tx:
        tx.upsert(docs, range(COUNT), vectors={OLD: FORMS[form]()})
    assert np.array_equal(stored(docs), ROWS)
    docs.delete(range(COUNT))
    stamped = vstore.Embeddings(docs.versions[OLD].spec, FORMS[form]())
    docs.upsert(range(COUNT), vectors={OLD: stamped})
    assert np.array_equal(stored(docs), ROWS)


@pytest.mark.parametrize("in_transaction", [False, True])
def test_every_row_of_reused_metadata_is_written(in_transaction: bool) -> None:
    def dicts() -> Iterator[dict[str, Any]]:
        tags: list[str] = []
        reused: dict[str, Any] = {"tags": tags, "extra": {"inner": []}}
        for i in range(COUNT):
            reused["year"] = i
            tags[:] = [f"tag {i}"]
            reused["extra"]["inner"][:] = [i]
            yield reused

    def lists() -> Iterator[list[str]]:
        tags: list[str] = []
        for i in range(COUNT):
            tags[:] = [f"tag {i}"]
            yield tags

    docs = documents()

    def write(metadata: Any, *, update: bool = False) -> None:
        if in_transaction:
            with docs.store.transaction() as tx:
                (tx.update_metadata if update else tx.upsert)(docs, range(COUNT), metadata=metadata)
        else:
            (docs.update_metadata if update else docs.upsert)(range(COUNT), metadata=metadata)

    def found(name: str) -> list[Any]:
        return [docs.get(i).metadata.get(name) for i in range(COUNT)]  # type: ignore[union-attr]

    write(dicts())
    assert found("year") == list(range(COUNT))
    assert found("extra") == [{"inner": [i]} for i in range(COUNT)]
    tags = [list(one) for one in found("tags")]
    assert tags == [[f"tag {i}"] for i in range(COUNT)]
    docs.delete(range(COUNT))
    write({"tags": lists()})
    assert [list(one) for one in found("tags")] == tags
    docs.update_metadata(range(COUNT), {"tags": [None] * COUNT})
    write(dicts(), update=True)
    assert found("year") == list(range(COUNT))


@pytest.mark.parametrize("form", ["array", "list", "buffer", "view"])
def test_every_query_of_a_reused_buffer_is_asked(form: str) -> None:
    docs = documents()
    docs.upsert(range(COUNT), vectors={OLD: ROWS})
    spec = docs.versions[OLD].spec
    for queries in (
        FORMS[form](),
        {OLD: FORMS[form]()},
        vstore.Embeddings(spec, FORMS[form]()),
    ):
        options: Any = {} if isinstance(queries, dict) else {"version": OLD}
        found = docs.search_batch(queries, k=1, **options)
        assert [result.ids[0] for result in found] == list(range(COUNT))


def test_an_embedding_function_may_yield_its_buffer() -> None:
    docs = documents()
    docs.upsert(range(COUNT), texts=["some text"] * COUNT)
    docs.migration.backfill(OLD, lambda _: into_array())  # type: ignore[arg-type,return-value]
    assert np.array_equal(stored(docs), ROWS)


def test_generators_inside_of_embeddings_run_before_the_turn() -> None:
    docs = documents()

    def made(number: int) -> Iterator[Array]:
        docs.upsert([f"inside {number}"], texts=["x"])  # which waits for the writer's turn
        yield from rows(2)

    for number, write in enumerate(
        (
            lambda vectors: docs.upsert(["a", "b"], vectors={OLD: vectors}),
            lambda vectors: docs.add_vectors(["a", "b"], vectors, version=OLD),
        )
    ):
        write(vstore.Embeddings(spec(), made(number)))  # type: ignore[arg-type,no-untyped-call]
    assert docs.coverage(OLD).fresh == 2
    assert len(docs) == 4
