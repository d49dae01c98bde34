"""A collection in the middle of nothing: old vectors, none of the new ones, and who makes those."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from blake3 import blake3

from tests.small_store import NEW, OLD, documents, rows, spec, store_in

if TYPE_CHECKING:
    from collections.abc import Sequence

    import vstore
    from tests.migration.clocks import HandClock
    from vstore.types import Array, DocumentId

DIMENSION = 4
FIELDS = {"tenant": "keyword", "priority": "int", "weight": "float", "tags": "keywords"}


def corpus(count: int = 10, *, clock: HandClock | None = None, **options: Any) -> vstore.Collection:
    """Return so many documents, ids from 0 on, with vectors of `OLD` only."""
    store = store_in() if clock is None else store_in(clock=clock)
    collection = documents(store, new=spec("model-new"), fields=FIELDS, **options)
    ids: list[str | int] = list(range(count))
    collection.upsert(ids, texts=[f"text {i}" for i in ids], vectors={OLD: rows(count)})
    return collection


def vector_of(text: str | None) -> Array:
    """Return the vector of a text: what a document must have in the end, whoever embedded it."""
    seed = int.from_bytes(blake3((text or "").encode()).digest(length=8), "little")
    return np.random.default_rng(seed).standard_normal(DIMENSION).astype(np.float32)


def embed(batch: Sequence[vstore.Document]) -> Array:
    return np.stack([vector_of(document.text) for document in batch])


class Recorder:
    """An embedding function that remembers what it was asked for."""

    def __init__(self) -> None:
        self.calls: list[list[DocumentId]] = []

    @property
    def ids(self) -> list[DocumentId]:
        return [id_ for call in self.calls for id_ in call]

    def __call__(self, batch: Sequence[vstore.Document]) -> Array:
        self.calls.append([document.id for document in batch])
        return embed(batch)


def contents(docs: vstore.Collection, version: str = NEW) -> dict[DocumentId, list[float]]:
    """Return the served vector of each document that has one."""
    return {
        id_: vector.tolist()
        for ids, _, _, vectors in docs.vectors(version)
        for id_, vector in zip(ids, vectors, strict=True)
    }


def wanted(docs: vstore.Collection) -> dict[DocumentId, list[float]]:
    """Return what `contents` is when everything is embedded."""
    return {d.id: vector_of(d.text).tolist() for d in docs.documents()}
