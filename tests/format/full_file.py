"""A file that has everything the format can hold: every array, every field type, every key."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from tests.format.frozen import create_store
from vstore import Dual, EmbeddingSpec
from vstore.manifest.commit import Operation
from vstore.manifest.edits import put_collection
from vstore.manifest.job_state import BridgeState, FusionChoice
from vstore.manifest.record import append_record

if TYPE_CHECKING:
    from pathlib import Path

    from vstore import Store
    from vstore.manifest.state import StoreState

FIELDS = {
    "word": "keyword",
    "words": "keywords",
    "count": "int",
    "weight": "float",
    "flag": "bool",
    "when": "timestamp",
    "any.thing": "json",
}
FULL_SPEC = EmbeddingSpec(
    model="new",
    dimension=3,
    metric="l2",
    model_version="2026-01-01",
    normalized=True,
    preprocessing="strip-html/3",
    chunking="paragraph/1",
    truncation="512",
    document_prompt="passage: ",
    query_prompt="query: ",
    language_routing="all",
    extras={"pooling": "mean", "layers": 6, "lowercase": True},
)


def write_full_file(path: Path) -> bytes:
    """Write it, with segments, deltas, a history and tagged epochs, and return its bytes."""
    with create_store(path) as store:
        docs = store.create_collection("docs", fields=FIELDS)
        docs.create_version("old", EmbeddingSpec("old", 2, "inner_product"), storage="float16")
        docs.create_version("new", FULL_SPEC, stale_policy="serve", retire_grace_s=60)
        store.declare_equivalent(
            FULL_SPEC, EmbeddingSpec("renamed", 3, metric="l2"), reason="only the name changed"
        )
        rows: list[dict[str, Any]] = [
            {
                "word": "münchen",
                "words": ["b", "a", "b"],
                "count": -3,
                "weight": 0.1,
                "flag": True,
                "when": 1_767_225_600_000_000,
                "any.thing": {"k": [1, None, 2.5], "ü": "x"},
            },
            {"word": "aachen", "words": [], "flag": False},
            {},
        ]
        docs.upsert(
            ["a", 2, "c"],
            metadata=rows,
            texts=["first", "", None],
            vectors={
                "old": np.array([[1, 2], [3, 4], [5, 6]], np.float32),
                "new": [np.eye(3, dtype=np.float32)[: n + 1] for n in range(3)],
            },
        )
        docs.migration.backfill(
            "new", lambda documents: np.eye(3, dtype=np.float32)[: len(documents)]
        )
        docs.upsert(["a"], texts=["first, changed"])
        store.tag("before vacuum", note="kept")
        store.vacuum()
        docs.routes.set(Dual("new"), reason="compare")
        docs.delete([2])
        docs.routes.cutover("new", force=True, reason="enough")
        docs.upsert(["d"], metadata=[rows[0]], vectors={"new": np.eye(3, dtype=np.float32)[:1]})
        _put_bridge_and_choice(store)
    return path.read_bytes()


def _put_bridge_and_choice(store: Store) -> None:
    def edit(state: StoreState) -> StoreState:
        record = append_record(store._open_file.container, {})
        docs = state.collections["docs"]
        bridge = BridgeState("old", "new", "ridge", 0.9, 100, 20, 1, 1, record)
        choice = FusionChoice("old", "new", "slots", 0.5, 30, {"slots": 0.6}, (1.0, 0.5), 1, 1)
        return put_collection(state, docs._replace(bridges=(bridge,), choices=(choice,)))

    store._open_file.change(edit, Operation("test"))
