"""Wrote the files of `v1/`: ``python -m tests.golden.make_v1``, until format 1.0 is released."""

from __future__ import annotations

import json
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tests.format.answers import answers_of_vstore
from tests.format.frozen import create_store, reopen_relaxed
from vstore import Dual, EmbeddingSpec
from vstore.api.opening import open_store
from vstore.storage.file import PathMedium

if TYPE_CHECKING:
    from vstore import Collection, Store
    from vstore.types import Array

RELEASED = False  # set with the release of format 1.0, and never taken back
FOLDER = Path(__file__).parent / "v1"
SIZE_BYTES_MAX = 60_000
OLDER_EPOCHS = 3  # how many are described in the JSON, besides the newest

FIELDS = {
    "word": "keyword",
    "words": "keywords",
    "count": "int",
    "weight": "float",
    "flag": "bool",
    "when": "timestamp",
    "any.thing": "json",
}
OLD = EmbeddingSpec("model-old", 4, metric="l2")
NEW = EmbeddingSpec(
    "model-new",
    3,
    metric="cosine",
    model_version="2026-01-01",
    preprocessing="strip-html/3",
    query_prompt="query: ",
    extras={"pooling": "mean", "layers": 6, "lowercase": True},
)


def vectors(count: int, dimension: int, *, seed: int) -> Array:
    """Return vectors of small multiples of 1/8: exact in float16, on every machine."""
    rng = np.random.default_rng(seed)
    made = rng.integers(-40, 40, (count, dimension)).astype(np.float32) / 8
    made[:, 0] += np.float32(5.125)  # none is zero
    return made


def metadata(count: int) -> list[dict[str, Any]]:
    """Return rows in which every field is there, missing, and as empty as it can be."""
    full = {
        "word": "Zürich",
        "words": ["b", "a", "b"],
        "count": -(2**63),
        "weight": 0.1,
        "flag": True,
        "when": 1_767_225_600_123_456,
        "any.thing": {"z": [1, None, 2.5, {}], "a": 2**64 - 1},
    }
    bare = {"word": "", "words": [], "count": 0, "weight": 0.0, "flag": False, "any.thing": []}
    return [dict((full, bare, {}, {"word": "Aachen"})[i % 4]) for i in range(count)]


def collection_of(store: Store, *, new: bool = True) -> Collection:
    """Make the collection that all files have."""
    docs = store.create_collection("docs", fields=FIELDS)
    docs.create_version("old", OLD, storage="float16", stale_policy="serve")
    if new:
        docs.create_version("new", NEW, retire_grace_s=86_400)
    return docs


def seal(store: Store) -> None:
    """Make a full commit: dropping a collection seals everything else."""
    store.create_collection("temporary")
    store.drop_collection("temporary")


def make_empty(store: Store) -> None:
    """Write nothing."""


def make_deltas(store: Store) -> None:
    docs = collection_of(store)
    ids: list[int | str] = ["a", "1", 1, -7, "日本語"]
    chunks = [vectors(1 + i % 3, 3, seed=i) for i in range(5)]
    docs.upsert(
        ids,
        metadata=metadata(5),
        texts=["one", "", None, "four", "five"],
        vectors={"old": vectors(5, 4, seed=9), "new": chunks},
    )
    docs.upsert(["a"], texts=["one, changed"], vectors={"new": vectors(1, 3, seed=10)})
    docs.update_metadata([1], [{"count": 5, "word": "new"}])
    docs.delete(["1"])
    docs.upsert(["b"], source_hashes=["hash of b"])
    store.declare_equivalent(OLD, EmbeddingSpec("renamed", 4, metric="l2"), reason="a mere rename")
    store.tag("a tag", epoch=4, note="before the deletion")
    docs.routes.cutover("new", force=True, reason="trying it out")


def make_sealed(store: Store) -> None:
    docs = collection_of(store)
    ids: list[int | str] = [*(f"doc {i}" for i in range(12)), *range(-2, 6)]
    docs.upsert(
        ids,
        metadata=metadata(20),
        texts=[f"text {i}" if i % 3 else None for i in range(20)],
        vectors={
            "old": vectors(20, 4, seed=1),
            "new": [vectors(1 + i % 3, 3, seed=i) for i in range(20)],
        },
    )
    seal(store)
    docs.delete(["doc 1", 3])
    docs.upsert(["doc 2", "doc 4"], texts=["changed", "changed too"])
    docs.upsert([100], metadata=metadata(1), vectors={"new": vectors(1, 3, seed=2)})
    seal(store)
    docs.upsert(["doc 1"], texts=["there again"], vectors={"new": [vectors(2, 3, seed=3)]})
    docs.upsert(["doc 4"], texts=["changed again"], vectors={"old": vectors(1, 4, seed=4)})
    docs.delete([100])


def make_vacuumed(store: Store) -> None:
    docs = collection_of(store)
    docs.upsert(["a", "b", "c"], metadata=metadata(3), vectors={"old": vectors(3, 4, seed=1)})
    store.tag("kept", note="this epoch survives")
    docs.delete(["b"])
    docs.upsert(["a"], texts=["changed"], vectors={"new": vectors(1, 3, seed=2)})
    docs.routes.cutover("new", force=True, reason="done with the old one")
    store.vacuum()
    docs.upsert(["d"], vectors={"new": vectors(1, 3, seed=3)})


def make_dual_route(store: Store) -> None:
    docs = collection_of(store, new=False)
    ids = [f"doc {i}" for i in range(10)]
    texts: list[str | None] = [f"text {i}" for i in range(10)]
    docs.upsert(ids, texts=texts, vectors={"old": vectors(10, 4, seed=1)})
    docs.create_version("new", NEW)
    docs.routes.set(Dual("new", fusion="slots"), reason="the new model arrives")
    docs.migration.backfill(
        "new", lambda d: vectors(len(d), 3, seed=5), batch_size=3, batches_max=2
    )
    docs.upsert(["doc 0"], texts=["changed during the backfill"])


def make_graph(store: Store) -> None:
    docs = store.create_collection("docs", fields=FIELDS)
    docs.create_version("old", OLD, M=4, ef_construction=20, graph_rows_min=130)
    rows = vectors(140, 4, seed=1)
    rows[130:] = rows[:10]  # ten nodes have two rows
    docs.upsert(list(range(140)), vectors={"old": rows})
    seal(store)
    docs.delete([3, 4])


def make_relaxed(store: Store) -> None:
    docs = collection_of(store)
    docs.upsert(["a"], vectors={"old": vectors(1, 4, seed=1)})


MAKERS = {
    "empty": make_empty,
    "deltas": make_deltas,
    "sealed": make_sealed,
    "vacuumed": make_vacuumed,
    "dual_route": make_dual_route,
    "graph": make_graph,
    "relaxed": make_relaxed,
}


def make(name: str, path: Path) -> dict[str, Any]:
    """Write one file, and return what it holds."""
    with create_store(path) as store:
        MAKERS[name](store)
    if name == "relaxed":
        _leave_unsettled(path)
    with open_store(PathMedium(path), mode="r") as store:
        readable = [entry.epoch for entry in store.history() if entry.readable][1:]
        older = readable[:: max(1, len(readable) // OLDER_EPOCHS)]
        described = {str(epoch): answers_of_vstore(store, epoch) for epoch in older}
        return {"newest": answers_of_vstore(store), "older": described}


def _leave_unsettled(path: Path) -> None:
    """Commit once more, and end as a process does that is killed right then."""
    store = reopen_relaxed(path)
    store.collection("docs").upsert(["relaxed"], vectors={"old": vectors(1, 4, seed=2)})
    killed = path.with_suffix(".killed")
    shutil.copyfile(path, killed)
    store.close()
    killed.replace(path)


def main() -> None:
    if RELEASED:
        raise SystemExit("the golden files of format 1.0 are never written again")
    FOLDER.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        for name in MAKERS:
            path = Path(folder) / f"{name}.vstore"
            content = make(name, path)
            size_bytes = path.stat().st_size
            if size_bytes > SIZE_BYTES_MAX:
                raise SystemExit(f"{name}: {size_bytes:,} bytes, at most {SIZE_BYTES_MAX:,}")
            shutil.copyfile(path, FOLDER / path.name)
            text = json.dumps(content, ensure_ascii=False, indent=1)
            (FOLDER / f"{name}.json").write_text(text + "\n", encoding="utf-8")
            print(f"{name}: {size_bytes:,} bytes")  # noqa: T201


if __name__ == "__main__":
    main()
