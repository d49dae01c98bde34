"""A small store in memory to test against, and vectors to put in it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

import vstore
from vstore.api.opening import open_store
from vstore.storage.memory import MemoryMedium

if TYPE_CHECKING:
    from collections.abc import Mapping

    from vstore.manifest.spec import Metric
    from vstore.types import Array

FIELDS = {"tenant": "keyword", "year": "int", "tags": "keywords", "extra": "json"}
OLD, NEW = "emb-old", "emb-new"


def spec(
    model: str = "model-old", dimension: int = 4, metric: Metric = "cosine", **identity: Any
) -> vstore.EmbeddingSpec:
    """Return the spec of a made-up model."""
    return vstore.EmbeddingSpec(model, dimension, metric, **identity)


def store_in(medium: MemoryMedium | None = None, **options: Any) -> vstore.Store:
    """Open a store in memory; the same medium shows the same store."""
    return open_store(medium or MemoryMedium(), **options)


def documents(
    store: vstore.Store | None = None,
    *,
    name: str = "docs",
    old: vstore.EmbeddingSpec | None = None,
    new: vstore.EmbeddingSpec | None = None,
    fields: Mapping[str, str] = FIELDS,
    **version_options: Any,
) -> vstore.Collection:
    """Make a collection with version `OLD`, and `NEW` if its spec is given."""
    collection = (store or store_in()).create_collection(name, fields=fields)
    collection.create_version(OLD, old or spec(), **version_options)
    if new is not None:
        collection.create_version(NEW, new, **version_options)
    return collection


def rows(count: int, dimension: int = 4, *, seed: int = 0) -> Array:
    """Return reproducible float32 vectors, none of them zero."""
    return np.random.default_rng(seed).standard_normal((count, dimension)).astype(np.float32)


def axis(number: int, dimension: int = 4) -> Array:
    """Return a unit vector along one axis."""
    unit: Array = np.eye(dimension, dtype=np.float32)[number]
    return unit


def seal(store: vstore.Store) -> None:
    """Move everything from the memtable into segments; documents and vectors stay as they are."""
    name = "made only to be dropped"
    store.create_collection(name)
    store.drop_collection(name)  # writes a checkpoint


def contents(collection: vstore.Collection) -> dict[str, object]:
    """Return all that a refused write must leave as it was."""
    labels = list(collection.versions)
    return {
        "epoch": collection.store.epoch,
        "documents": list(map(repr, collection.documents())),
        "route": collection.routes.current,
        "coverage": {label: collection.coverage(label) for label in labels},
        "vectors": {
            label: [(ids, array.tolist()) for ids, _, _, array in collection.vectors(label)]
            for label in labels
        },
    }
