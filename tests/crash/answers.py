"""Everything a program can ask of a file, each question by itself: an answer, or vstore's error."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, TypeAlias

import vstore
from tests.crash.workload import FrozenClock, contents, dump, unit_rows
from vstore.api.opening import open_store
from vstore.errors import VstoreError
from vstore.inspection.check import check_file
from vstore.storage.memory import MemoryMedium

if TYPE_CHECKING:
    from collections.abc import Callable

    from vstore import Collection, Store
    from vstore.inspection.check import CheckReport

EPOCHS = 4  # older ones to look at
Answers: TypeAlias = dict[str, Any]  # an error is its class


def attempt(ask: Callable[[], object]) -> Any:
    """Return what it returns, or the class of vstore's error; other errors are bugs."""
    try:
        return ask()
    except VstoreError as error:
        str(error)  # must not fail either
        return type(error)


def answers(image: bytes) -> Answers:
    """Return all answers of a file, by question."""
    opened = attempt(lambda: open_store(MemoryMedium(image), mode="r", clock=FrozenClock()))
    if isinstance(opened, type):
        return {"open": opened}
    with opened as store:
        return _answers(store)


def checked(image: bytes) -> CheckReport:
    """Check a file, also one that does not open."""
    return check_file("damaged", MemoryMedium(image).open(writable=False, create=False))


def _answers(store: Store) -> Answers:
    found: Answers = {
        "open": "",
        "dump": attempt(partial(dump, store)),
        "info": attempt(lambda: {**store.info(), "recovery": None}),
        "history": attempt(lambda: store.history(limit=3)),
    }
    for epoch in range(max(0, store.epoch - EPOCHS), store.epoch):
        found[f"epoch {epoch}"] = attempt(partial(_epoch, store, epoch))
    for name in store.collections:
        collection = attempt(partial(store.collection, name))
        if isinstance(collection, type):
            found[name] = collection
        else:
            found |= {f"{name}: {k}": v for k, v in _collection(collection).items()}
    return found


def _collection(docs: Collection) -> Answers:
    field = vstore.field
    filters = {
        "keyword": field("tenant") == "tenant-1",
        "int": field("year") >= 2_003,
        "keywords": field("tags").contains("red"),
        "float": field("score") < 0.5,
        "timestamp": field("at").exists(),
        "bool": field("public").is_in([True]),
        "json": field("extra").exists(),
    }
    found: Answers = {
        "count": attempt(lambda: len(docs)),
        "ids": attempt(docs.ids),
        "documents": attempt(lambda: docs.get_many(["doc-1", "doc-6", 3, "none"])),
    }
    for name, where in filters.items():
        found[f"filter {name}"] = attempt(partial(docs.ids, where))
    queries: dict[str, Any] = {}
    for label in docs._handle.view().state.versions:
        info = attempt(partial(docs.versions.__getitem__, label))
        if isinstance(info, type):
            found[label] = info
            continue
        query = queries[label] = unit_rows(3, (info.spec.dimension,))
        found[f"{label} filtered"] = attempt(partial(_hits, docs, query, label, filters["int"]))
        found[f"{label} hits"] = attempt(partial(_hits, docs, query, label, None))
        found[f"{label} rows"] = attempt(partial(_rows, docs, label))
        found[f"{label} coverage"] = attempt(partial(docs.coverage, label))
        found[f"{label} pending"] = attempt(partial(_pending, docs, label))
    found["routed"] = attempt(lambda: docs.search(queries, k=5).ids)
    found["explained"] = attempt(lambda: str(docs.explain(queries, analyze=True)))
    for fusion in ("slots", "evidence", "imputed", "rrf"):
        found[fusion] = attempt(partial(_dual, docs, queries, fusion))
    return found


def _epoch(store: Store, epoch: int) -> object:
    return contents(store.snapshot(epoch))


def _rows(docs: Collection, label: str) -> object:
    return docs.get_vectors("doc-6", label).tolist()


def _pending(docs: Collection, label: str) -> object:
    return [document.id for document in docs.migration.pending(label)]


def _hits(docs: Collection, query: Any, label: str, where: Any) -> object:
    result = docs.search(query, version=label, k=4, where=where, collapse=False)
    return [(hit.id, hit.chunk, hit.score, hit.document) for hit in result]


def _dual(docs: Collection, queries: dict[str, Any], fusion: Any) -> object:
    return docs.search(queries, k=5, read=vstore.Dual("v2", old="v1", fusion=fusion)).ids


def write(image: bytes) -> None:
    """Write to a file, whatever it says: each write is refused with vstore's error, or works."""
    opened = attempt(lambda: open_store(MemoryMedium(image), clock=FrozenClock()))
    if isinstance(opened, type):
        return
    store: Store = opened
    docs = attempt(lambda: store.collection("docs"))
    if not isinstance(docs, type):
        attempt(lambda: docs.upsert(["doc-1", "new"], vectors={"v2": unit_rows(1, (2, 6))}))
        attempt(lambda: docs.update_metadata(["doc-4"], [{"year": 1}]))
        attempt(lambda: docs.delete(where=vstore.field("year") > 2_005))
        attempt(
            lambda: docs.migration.backfill(
                "v1", lambda ds: unit_rows(2, (len(ds), 4)), batch_size=3
            )
        )
        attempt(lambda: docs.routes.rollback())
        attempt(lambda: docs.routes.cutover("v1", force=True, reason="because"))
    attempt(lambda: store.drop_collection("notes"))
    attempt(lambda: store.tag("more"))
    attempt(lambda: store.vacuum())
    if not isinstance(docs, type):
        attempt(lambda: docs.upsert(["doc-1"], texts=["again"]))
    attempt(store.close)
