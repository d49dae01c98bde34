"""Extension points, used from outside: storage media, embedders, field types."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import vstore
from vstore.segment.columns import FieldType
from vstore.storage.file import Medium, StorageFile

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from vstore.types import Array, Bytes

WORDS = ("storage", "vector", "commit", "epoch")
PEOPLE = ("a commit", "a vector of an epoch", "storage of a vector", "an epoch, a commit")


# A storage medium: files in a dictionary.


class Shelf:
    """A place of one store: bytes by name, and who writes them."""

    def __init__(self) -> None:
        self.name = "shelf:docs"
        self.files: dict[str, bytearray] = {}
        self.writers: dict[str, ShelfFile] = {}

    def open(self, *, writable: bool, create: bool) -> ShelfFile:
        if "current" not in self.files:
            if not create:
                raise vstore.NotFoundError(f"{self.name}: no such file")
            self.files["current"] = bytearray()
        return ShelfFile(self, self.files["current"])

    def is_current(self, file: StorageFile) -> bool:
        assert isinstance(file, ShelfFile)
        return file.data is self.files.get("current")

    def sync_entry(self) -> None:
        pass

    def open_replacement(self, file_uuid: bytes) -> ShelfFile:
        file = ShelfFile(self, self.files.setdefault(file_uuid.hex(), bytearray()))
        file.lock()
        return file

    def replace(self, current: StorageFile, replacement: StorageFile) -> StorageFile:
        assert isinstance(replacement, ShelfFile)
        self.files = {"current": replacement.data}
        return replacement

    def discard_replacement(self, file_uuid: bytes) -> None:
        self.files.pop(file_uuid.hex(), None)


class ShelfFile:
    """One open file of a shelf, which cannot be referred to weakly."""

    __slots__ = ("_closed", "data", "shelf")

    def __init__(self, shelf: Shelf, data: bytearray) -> None:
        self.shelf = shelf
        self.data = data
        self._closed = False

    @property
    def closed(self) -> bool:
        return self._closed

    def size(self) -> int:
        return len(self.data)

    def read(self, offset: int, length: int) -> bytes:
        if self._closed:
            raise vstore.ClosedError(f"{self.shelf.name} is closed")
        return bytes(self.data[offset : offset + length])

    def view(self, offset: int, length: int) -> memoryview:
        return memoryview(self.read(offset, length))  # a copy, as the bytes may move

    def write(self, offset: int, parts: Sequence[Bytes]) -> None:
        data = b"".join(parts)
        self.data.extend(bytes(max(0, offset + len(data) - len(self.data))))
        self.data[offset : offset + len(data)] = data

    def truncate(self, length: int) -> None:
        self.data.extend(bytes(max(0, length - len(self.data))))
        del self.data[length:]

    def sync(self) -> None:
        pass

    def lock(self) -> bool:
        return self.shelf.writers.setdefault(str(id(self.data)), self) is self

    def holder(self) -> int | None:
        return None

    def close(self) -> None:
        self._closed = True
        if self.shelf.writers.get(str(id(self.data))) is self:
            del self.shelf.writers[str(id(self.data))]


def test_a_store_lives_in_a_medium_from_outside() -> None:
    shelf = Shelf()
    assert isinstance(shelf, Medium)
    vectors = np.random.default_rng(0).standard_normal((600, 8)).astype(np.float32)
    with vstore.open(shelf) as store:
        assert store.path == "shelf:docs"
        docs = store.create_collection("docs", fields={"year": "int"})
        docs.create_version("v1", vstore.EmbeddingSpec("m", 8), graph_rows_min=100)
        docs.upsert(list(range(600)), vectors={"v1": vectors}, metadata={"year": list(range(600))})
        store.optimize()
        with pytest.raises(vstore.LockedError):
            vstore.open(shelf)
    with vstore.open(shelf) as store:
        docs = store.collection("docs")
        result = docs.search(vectors[7], version="v1", k=3, recall=vstore.EfSearch(64))
        assert result.ids[0] == 7
        assert "GraphSearch" in result.explain()
        docs.delete(where=vstore.field("year") >= 300)
        store.vacuum()
        docs.upsert([1_000], vectors={"v1": vectors[:1]})
        assert store.check().ok
    assert list(shelf.files) == ["current"]
    with vstore.open(shelf, mode="r") as store:
        assert len(store.collection("docs")) == 301
        np.testing.assert_array_equal(store.collection("docs").get_vectors(7, "v1")[0], vectors[7])


def test_what_is_neither_a_path_nor_a_medium_is_refused() -> None:
    for place in (object(), 7, None, ShelfFile(Shelf(), bytearray())):
        with pytest.raises(vstore.InvalidArgumentError, match="path"):
            vstore.open(place)  # type: ignore[arg-type]


def test_a_missing_store_is_not_made_to_be_read() -> None:
    with pytest.raises(vstore.NotFoundError, match="shelf:docs"):
        vstore.open(Shelf(), mode="r")


# An embedder: words counted.


class WordCounts:
    """Counts of words, as unit vectors."""

    spec = vstore.EmbeddingSpec("word-counts", len(WORDS), preprocessing="lowercase")

    def embed_documents(self, texts: Sequence[str]) -> Array:
        counts = np.array([[t.lower().count(w) for w in WORDS] for t in texts], np.float32)
        return np.asarray(counts / np.linalg.norm(counts, axis=1, keepdims=True))

    def embed_query(self, text: str) -> Array:
        return np.asarray(self.embed_documents([text])[0])


def test_an_embedder_from_outside_writes_searches_and_migrates() -> None:
    words = WordCounts()
    assert isinstance(words, vstore.Embedder)
    with vstore.open(":memory:") as store:
        docs = store.create_collection("docs")
        docs.create_version("v1", words.spec)
        docs.upsert_texts(list(range(4)), PEOPLE, embedder=words)
        store.register_embedder(words)
        assert docs.search("the vectors of an epoch").ids[0] == 1
        other = vstore.HashingEmbedder(16)
        docs.create_version("v2", other.spec)
        docs.upsert_texts(["new"], ["a vector in storage"], embedder=[words, other])
        assert docs.migrate("v1", "v2", other).run().left == 0
        store.register_embedder(other)
        assert docs.search("an epoch, a commit", version="v2").ids[0] == 3


# A field type: each is written, filtered and given back, as `FIELD_TRAITS` and `columns` say.

NOON = dt.datetime(2026, 1, 1, 12, tzinfo=dt.UTC)
# By type: two values that differ, what is refused, and a filter that the first alone passes.
FIELD_VALUES: dict[str, tuple[Any, Any, Any, Any]] = {
    "keyword": ("a", "b", 7, vstore.field("f") == "a"),
    "keywords": (["a", "b"], ["b"], "a", vstore.field("f").contains("a")),
    "int": (1, 2, 0.5, vstore.field("f") < 2),
    "float": (0.25, 1.5, "1.5", vstore.field("f") <= 0.25),
    "bool": (True, False, 1, vstore.field("f") == True),  # noqa: E712
    "timestamp": (NOON, NOON + dt.timedelta(1), "noon", vstore.field("f") == NOON),
    "json": ({"n": [1, None]}, None, {1}, vstore.field("f").exists()),
}


def test_every_field_type_is_tried() -> None:
    assert set(FIELD_VALUES) == set(FieldType)


@pytest.mark.parametrize("field_type", FIELD_VALUES)
def test_a_field_type_is_stored_filtered_and_given_back(field_type: str, tmp_path: Path) -> None:
    first, second, refused, passes_first = FIELD_VALUES[field_type]
    path = tmp_path / "docs.vstore"
    with vstore.open(path) as store:
        docs = store.create_collection("docs", fields={"f": field_type})
        with pytest.raises(vstore.InvalidArgumentError, match=f"expects {field_type}"):
            docs.upsert(["x"], metadata=[{"f": refused}])
        docs.upsert(["a", "b", "c"], metadata=[{"f": first}, {"f": second}, {}])
        assert docs.ids(where=passes_first) == ["a"]  # in the memtable
        store.optimize()
        assert docs.ids(where=passes_first) == ["a"]  # in a segment
        docs.upsert(["d"], metadata=[{"f": first}])
        docs.delete(["d"])
        store.vacuum()
    with vstore.open(path, mode="r") as store:
        docs = store.collection("docs")
        assert docs.fields == {"f": field_type}
        assert docs.ids(where=passes_first) == ["a"]
        assert docs.ids(where=vstore.filter_from_dict(vstore.filter_to_dict(passes_first))) == ["a"]
        found = {document.id: document.metadata for document in docs.documents()}
        assert found["a"] == {"f": first}
        assert found["b"].get("f") == second
        assert found["c"] == {}
        assert store.check().ok
