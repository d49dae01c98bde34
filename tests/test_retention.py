"""Deleted means gone: after a vacuum no byte of a deleted document is in the file."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import vstore
from tests.migration.clocks import HandClock
from tests.native.data import clustered
from tests.small_store import store_in
from vstore.native import loader
from vstore.segment.vectors import VectorSegment
from vstore.storage.memory import MemoryMedium

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from vstore import Collection
    from vstore.types import Array

DIMENSION, COUNT, GONE, KEPT = 48, 1_500, 700, 900
WIDE, NARROW, GRAPHS = "float32", "float16", "with-a-graph"
FIELDS = {"name": "keyword", "tags": "keywords", "extra": "json", "year": "int"}
FOUND = 0x1122_3344_5566_7788  # times


def mark(number: int, what: str) -> str:
    """Return a text that no other document has."""
    return f"{what}-of-{number:05d}-x9q"


def vectors_of(version: str) -> Array:
    return clustered(COUNT, DIMENSION, seed=len(version))


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store of sealed segments, with graphs where there is machine code, and hits."""
    path = tmp_path_factory.mktemp("retention") / "docs.vstore"
    with vstore.open(path) as store:
        docs = store.create_collection("docs", fields=FIELDS)
        for label, options in (
            (WIDE, {"graph_rows_min": None}),
            (NARROW, {"graph_rows_min": None, "storage": "float16"}),
            (GRAPHS, {"graph_rows_min": 1_000}),
        ):
            spec = vstore.EmbeddingSpec(label, DIMENSION)
            docs.create_version(label, spec, **options)
        numbers = list(range(COUNT))
        docs.upsert(
            [mark(i, "id") for i in numbers],
            texts=[mark(i, "text") for i in numbers],
            metadata=[
                {
                    "name": mark(i, "name"),
                    "tags": [mark(i, "tag"), "shared"],
                    "extra": {"deep": [mark(i, "json")]},
                    "year": i,
                }
                for i in numbers
            ],
            vectors={label: vectors_of(label) for label in (WIDE, NARROW, GRAPHS)},
        )
        store.optimize()
        docs.search(vectors_of(WIDE)[0], version=WIDE, k=COUNT)
        store._observer.fold()
        store._observer._hits["docs"].found[[GONE, KEPT]] = [FOUND, FOUND + 1]
        store.flush_metrics()
    return path


@pytest.fixture
def path(made: Path, tmp_path: Path) -> Path:
    copy = tmp_path / "docs.vstore"
    copy.write_bytes(made.read_bytes())
    return copy


def codes_of(docs: Collection, number: int) -> Iterator[bytes]:
    (part,) = docs._handle.view().rows(GRAPHS).parts
    assert isinstance(part.rows, VectorSegment)
    graph = part.rows.searched.graph
    (node,) = np.flatnonzero(graph.members == number).tolist()
    if graph.starts is not None:
        node = int(np.searchsorted(graph.starts, node, side="right")) - 1
    yield graph.arrays.high[node].tobytes()
    yield graph.arrays.low[node].tobytes()


def traces(number: int, *, codes: tuple[bytes, ...] = ()) -> dict[str, bytes]:
    """Return what of a document could be found in a file."""
    texts = {what: mark(number, what).encode() for what in ("id", "text", "name", "tag", "json")}
    return {
        **texts,
        WIDE: vectors_of(WIDE)[number].tobytes(),
        NARROW: vectors_of(NARROW)[number].astype(np.float16).tobytes(),
        GRAPHS: vectors_of(GRAPHS)[number].tobytes(),
        "hits": struct.pack("<Q", FOUND + (number == KEPT)),
        **{f"codes {i}": code for i, code in enumerate(codes)},
    }


def found_in(path: Path, wanted: dict[str, bytes]) -> set[str]:
    data = path.read_bytes()
    return {what for what, needle in wanted.items() if needle in data}


def gone_and_kept(docs: Collection) -> tuple[dict[str, bytes], dict[str, bytes]]:
    if loader.kernels(wait=True) is None:
        return traces(GONE), traces(KEPT)
    every = tuple(codes_of(docs, GONE))
    return traces(GONE, codes=every), traces(KEPT)


def test_nothing_of_a_deleted_document_is_in_the_file_after_a_vacuum(path: Path) -> None:
    with vstore.open(path) as store:
        docs = store.collection("docs")
        gone, kept = gone_and_kept(docs)
        assert found_in(path, gone) == set(gone)
        assert found_in(path, kept) == set(kept)
        docs.delete([mark(GONE, "id")])
        assert found_in(path, gone) == set(gone), "until a vacuum it is in older epochs"
        report = store.vacuum()
        assert report.epochs_kept == ()
        assert docs.migration.hit_counts()[mark(KEPT, "id")] == FOUND + 1
    assert found_in(path, gone) == set()
    assert found_in(path, kept) == set(kept)
    with vstore.open(path) as store:
        assert store.check().ok
        assert store.collection("docs").get(mark(GONE, "id")) is None


def test_a_tag_keeps_it_and_the_report_says_so(path: Path) -> None:
    with vstore.open(path) as store:
        docs = store.collection("docs")
        gone, _ = gone_and_kept(docs)
        pinned = store.tag("before the deletion")
        docs.delete([mark(GONE, "id")])
        assert store.vacuum().epochs_kept == (pinned,)
        assert found_in(path, gone) == set(gone)
        old = store.snapshot(pinned).collection("docs")
        assert old.get(mark(GONE, "id")) is not None
        store.untag("before the deletion")
        assert store.vacuum().epochs_kept == ()
    assert found_in(path, gone) == set()


def test_what_a_document_was_before_it_changed_is_gone_too(path: Path) -> None:
    with vstore.open(path) as store:
        docs = store.collection("docs")
        gone, _ = gone_and_kept(docs)
        docs.upsert(
            [mark(GONE, "id")],
            texts=["another text"],
            metadata=[{"name": "another", "tags": [], "extra": None, "year": 0}],
            vectors={label: -vectors_of(label)[:1] for label in (WIDE, NARROW, GRAPHS)},
        )
        store.vacuum()
        assert docs.migration.hit_counts()[mark(GONE, "id")] == FOUND
    assert found_in(path, gone) == {"id", "hits"}


def test_hits_that_were_not_flushed_do_not_bring_it_back(path: Path) -> None:
    with vstore.open(path, keep_metrics=True) as store:
        docs = store.collection("docs")
        docs.search(vectors_of(WIDE)[GONE], version=WIDE, k=COUNT)
        docs.delete([mark(GONE, "id")])
        store.vacuum()
    with vstore.open(path, mode="r") as store:
        hits = store.collection("docs").migration.hit_counts()
        assert len(hits) == COUNT - 1
        assert hits[mark(KEPT, "id")] == FOUND + 2


@pytest.mark.parametrize("grace_s", [0, 3_600])
def test_a_retired_version_goes_with_the_first_vacuum_after_its_grace_period(grace_s: int) -> None:
    medium, clock = MemoryMedium(), HandClock()
    store = store_in(medium, clock=clock)
    docs = store.create_collection("docs")
    docs.create_version("stays", vstore.EmbeddingSpec("stays", DIMENSION))
    docs.create_version("goes", vstore.EmbeddingSpec("goes", DIMENSION), retire_grace_s=grace_s)
    stays, goes = (clustered(50, DIMENSION, seed=seed) for seed in (1, 2))
    docs.upsert(list(range(50)), vectors={"stays": stays, "goes": goes})

    def in_file(vectors: Array) -> bool:
        data = _bytes_of(medium)
        return all(vector.tobytes() in data for vector in vectors)

    docs.routes.retire("goes")
    if grace_s:
        clock.advance(grace_s - 1)
        store.vacuum()
        assert in_file(goes)
        assert docs.versions["goes"].rows == 50
        clock.advance(1)
    store.vacuum()
    assert not any(in_file(vector[None]) for vector in goes)
    assert in_file(stays)
    assert docs.versions["goes"].rows == 0
    assert docs.versions["goes"].state == "retired"
    assert store.check().ok


def _bytes_of(medium: MemoryMedium) -> bytes:
    file = medium.open(writable=False, create=False)
    return bytes(file.read(0, file.size()))


def test_a_dead_letter_of_a_deleted_document_goes_with_a_vacuum() -> None:
    medium = MemoryMedium()
    store = store_in(medium)
    docs = store.create_collection("docs")
    docs.create_version("v1", vstore.EmbeddingSpec("v1", 4))
    ids = [mark(i, "id") for i in range(6)]
    docs.upsert(ids, texts=ids, vectors={"v1": np.eye(6, 4, dtype=np.float32) + 1})
    docs.create_version("v2", vstore.EmbeddingSpec("v2", 4))

    def embed(batch: Any) -> Array:
        if any(document.id in ids[:2] for document in batch):
            raise ValueError("poison")
        return np.ones((len(batch), 4), np.float32)

    migration = docs.migrate("v1", "v2", embed=embed, calls=vstore.Calls(retries=0))
    migration.run()
    letters = docs._handle.view().state.jobs["v2"].dead
    assert sorted(letter.id for letter in letters) == ids[:2]
    docs.delete(ids[:1])
    store.vacuum()
    assert [letter.id for letter in docs._handle.view().state.jobs["v2"].dead] == ids[1:2]
    data = _bytes_of(medium)
    assert ids[0].encode() not in data
    assert ids[1].encode() in data
