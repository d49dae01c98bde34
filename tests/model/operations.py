"""Random writes, each applied alike to an engine's transaction and to the model."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from hypothesis import strategies as st

import vstore

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.model.model import Model, Passes
    from vstore.types import Array, DocumentId

IDS: tuple[DocumentId, ...] = ("a", "é" * 30, 1, "1", -(2**63), 2**63 - 1)
DIMENSIONS = {"old": 3, "new": 2}

FILTERS: dict[str, tuple[Any, Passes | None]] = {
    "everything": (None, None),
    "year": (vstore.field("year") >= 1, lambda m: m.get("year", -1) >= 1),  # type: ignore[operator]
    "tenant": ({"field": "tenant", "op": "==", "value": "p"}, lambda m: m.get("tenant") == "p"),
    "not tenant": (~(vstore.field("tenant") == "p"), lambda m: m.get("tenant") != "p"),
    "tags": (vstore.field("tags").contains("x"), lambda m: "x" in m.get("tags", ())),  # type: ignore[operator]
    "nothing": (vstore.field("year") == 99, lambda _: False),
}

_METADATA = st.fixed_dictionaries(
    {},
    optional={
        "tenant": st.sampled_from(["p", "q"]),
        "year": st.integers(0, 2),
        "tags": st.lists(st.sampled_from(["x", "y"]), max_size=2),
        "extra": st.sampled_from([1, True, {"a": 1, "b": [1]}, {"b": [1], "a": 1}, [], {"a": 1.0}]),
    },
)
_CHANGES = st.fixed_dictionaries(
    {}, optional={"tenant": st.sampled_from(["p", None]), "extra": st.sampled_from([None, 1, True])}
)
SEEDS = st.integers(0, 2**16)
DOCUMENT_IDS = st.lists(st.sampled_from(IDS), min_size=1, max_size=4, unique=True)


def make_chunks(seed: int, count: int, dimension: int, *, several: bool) -> list[Array]:
    """Return small vectors that every dtype holds exactly, so that scores tie and are exact."""
    rng = np.random.default_rng(seed)
    result = []
    for _ in range(count):
        chunks = int(rng.integers(1, 4)) if several else 1
        vectors = rng.integers(-2, 3, (chunks, dimension)).astype(np.float32)
        vectors[~vectors.any(axis=1), 0] = 1
        result.append(vectors)
    return result


def as_argument(chunks: list[Array], seed: int) -> Array | list[Array]:
    """Return the same vectors in one of the forms an upsert takes."""
    dtype = ("float32", "float64", "float16", "int8")[seed % 4]
    if any(len(array) > 1 for array in chunks) or seed % 8 > 3:
        return [array.astype(dtype) for array in chunks]
    return np.concatenate(chunks).astype(dtype)


@dataclass(frozen=True)
class Upsert:
    """Documents with any of vectors, metadata, texts and hashes."""

    ids: list[DocumentId]
    labels: list[str]
    seed: int
    several: bool
    metadata: list[dict[str, object]] | None
    texts: list[str | None] | None
    hashes: list[bytes | None] | None
    force: bool

    def run(
        self, tx: vstore.Transaction, collection: vstore.Collection, model: Model, epoch: int
    ) -> None:
        labels = [label for label in self.labels if label in model.versions]
        vectors = {
            label: make_chunks(
                self.seed + i, len(self.ids), dimension_of(label), several=self.several
            )
            for i, label in enumerate(labels)
        }
        counts = tx.upsert(
            collection,
            self.ids,
            vectors={label: as_argument(array, self.seed) for label, array in vectors.items()},
            metadata=copy.deepcopy(self.metadata),
            texts=self.texts,
            source_hashes=self.hashes,
            force=self.force,
        )
        expected = model.upsert(
            epoch,
            self.ids,
            vectors=vectors,
            metadata=copy.deepcopy(self.metadata),
            texts=self.texts,
            hashes=self.hashes,
            force=self.force,
        )
        assert (counts.inserted, counts.updated, counts.unchanged) == expected.documents
        assert counts.vectors_written == expected.written


@dataclass(frozen=True)
class UpdateMetadata:
    """Some fields set, some removed."""

    ids: list[DocumentId]
    change: dict[str, object]

    def run(
        self, tx: vstore.Transaction, collection: vstore.Collection, model: Model, epoch: int
    ) -> None:
        ids = [id_ for id_ in self.ids if id_ in model.documents]
        changed = tx.update_metadata(collection, ids, [copy.deepcopy(self.change)] * len(ids))
        assert changed == model.update_metadata(ids, [dict(self.change) for _ in ids])


@dataclass(frozen=True)
class Delete:
    """Documents by id, some of them unknown."""

    ids: list[DocumentId]

    def run(
        self, tx: vstore.Transaction, collection: vstore.Collection, model: Model, epoch: int
    ) -> None:
        counts = tx.delete(collection, self.ids)
        deleted = model.delete(self.ids)
        assert (counts.deleted, counts.missing) == (deleted, len(self.ids) - deleted)


@dataclass(frozen=True)
class AddVectors:
    """Vectors of one version for documents that exist; ``lag`` makes some of them late."""

    label: str
    ids: list[DocumentId]
    seed: int
    lag: int | None

    def run(
        self, tx: vstore.Transaction, collection: vstore.Collection, model: Model, epoch: int
    ) -> None:
        if self.label not in model.versions:
            return
        ids = [id_ for id_ in self.ids if self.lag is not None or id_ in model.documents]
        chunks = make_chunks(self.seed, len(ids), dimension_of(self.label), several=False)
        revisions = None
        if self.lag is not None:
            known = {id_: d.revision for id_, d in model.documents.items()}
            revisions = [
                max(0, known.get(id_, epoch) - self.lag * (i % 2)) for i, id_ in enumerate(ids)
            ]
        if not ids:
            return
        counts = tx.add_vectors(
            collection, ids, as_argument(chunks, self.seed), revisions=revisions, version=self.label
        )
        written = model.add_vectors(epoch, self.label, ids, chunks, revisions=revisions)
        assert (counts.written, counts.stale) == (written, len(ids) - written)


Operation = Upsert | UpdateMetadata | Delete | AddVectors


def dimension_of(label: str) -> int:
    """Return the dimension of the version with this label; ``new-2`` is another ``new``."""
    return DIMENSIONS[label.split("-")[0]]


@st.composite
def upserts(draw: st.DrawFn, labels: Sequence[str] = ("old", "new")) -> Upsert:
    """Draw an upsert."""
    ids = draw(DOCUMENT_IDS)
    count = len(ids)
    form = draw(st.sampled_from(["text", "hash", "vectors only", "text and hash"]))
    texts = draw(st.lists(st.sampled_from(["one", "two", None]), min_size=count, max_size=count))
    hashes = draw(
        st.lists(st.sampled_from([b"\1" * 32, b"\2" * 32, None]), min_size=count, max_size=count)
    )
    rows = draw(st.none() | st.lists(_METADATA, min_size=count, max_size=count))
    return Upsert(
        ids,
        draw(st.lists(st.sampled_from(labels), unique=True)),
        draw(SEEDS),
        draw(st.booleans()),
        rows,
        texts if "text" in form else None,
        hashes if "hash" in form else None,
        draw(st.booleans()),
    )


def operations(labels: Sequence[str] = ("old", "new")) -> st.SearchStrategy[Operation]:
    """Return a strategy of single writes."""
    choices: list[st.SearchStrategy[Operation]] = [
        upserts(labels),
        upserts(labels),
        st.builds(UpdateMetadata, DOCUMENT_IDS, _CHANGES),
        st.builds(Delete, DOCUMENT_IDS),
        st.builds(
            AddVectors, st.sampled_from(labels), DOCUMENT_IDS, SEEDS, st.none() | st.integers(0, 2)
        ),
    ]
    return st.one_of(choices)


def apply(
    operations: Sequence[Operation],
    tx: vstore.Transaction,
    collection: vstore.Collection,
    model: Model,
    epoch: int,
) -> None:
    """Run writes on both sides."""
    for operation in operations:
        operation.run(tx, collection, model, epoch)
