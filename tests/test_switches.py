"""Every switch of the public API takes a bool: a text such as "no" would count as on."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import vstore
from tests.small_store import NEW, OLD, axis, contents, documents, rows, spec

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Call = Callable[..., object]

EMBEDDER = vstore.HashingEmbedder(4)
HASHED = "hashed"
# What is returned or raised is made by vstore itself.
MADE = {
    "BridgeMap",
    "GateResult",
    "GuardInfo",
    "HistoryEntry",
    "Hit",
    "LockedError",
    "Migration",
    "MigrationPlan",
}


def in_transaction(docs: Any, name: str, *arguments: Any, **options: Any) -> None:
    with docs.store.transaction() as tx:
        getattr(tx, name)(docs, *arguments, **options)


def embed(found: Any) -> Any:
    return rows(len(found))


CALLS: dict[str, Call] = {
    "Collection.add_field": lambda docs, **o: docs.add_field("more", "int", **o),
    "Collection.add_vectors": lambda docs, **o: docs.add_vectors(["a"], rows(1), **o, version=NEW),
    "Collection.coverage": lambda docs, **o: docs.coverage(OLD, **o),
    "Collection.create_version": lambda docs, **o: docs.create_version("v", spec("v"), **o),
    "Routes.cutover": lambda docs, **o: docs.routes.cutover(NEW, reason="r", **o),
    "Collection.explain": lambda docs, **o: docs.explain(axis(0), version=OLD, **o),
    "Collection.migrate": lambda docs, **o: docs.migrate(OLD, NEW, embed, **o),
    "Collection.search": lambda docs, **o: docs.search(axis(0), version=OLD, **o),
    "Collection.search_batch": lambda docs, **o: docs.search_batch(rows(2), version=OLD, **o),
    "Routes.set": lambda docs, **o: docs.routes.set(vstore.Dual(NEW), reason="r", **o),
    "Routes.shadow": lambda docs, **o: docs.routes.shadow(NEW, reason="r", **o),
    "Collection.upsert": lambda docs, **o: docs.upsert(["b"], vectors={OLD: rows(1)}, **o),
    "Collection.upsert_texts": lambda docs, **o: docs.upsert_texts(
        ["b"], ["x"], embedder=EMBEDDER, **o
    ),
    "Guards.verify_embedder": lambda docs, **o: docs.guards.verify_embedder(EMBEDDER, **o),
    "EmbeddingSpec": lambda _, **o: vstore.EmbeddingSpec("m", 4, **o),
    "Store.create_collection": lambda docs, **o: docs.store.create_collection("more", **o),
    "Store.metrics": lambda docs, **o: docs.store.metrics(**o),
    "Transaction.add_vectors": lambda docs, **o: in_transaction(
        docs, "add_vectors", ["a"], rows(1), version=NEW, **o
    ),
    "Transaction.upsert": lambda docs, **o: in_transaction(
        docs, "upsert", ["b"], vectors={OLD: rows(1)}, **o
    ),
    "open": lambda _, **o: vstore.open(":memory:", **o),
}


def switches() -> Iterator[tuple[str, str]]:
    for name in sorted(set(vstore.__all__) - MADE - {"Store"}):
        yield from switches_of(name, getattr(vstore, name))
        if inspect.isclass(getattr(vstore, name)):
            yield from methods_of(name, getattr(vstore, name))
    yield from methods_of("Store", vstore.Store)  # which open() makes


def methods_of(name: str, made: Any) -> Iterator[tuple[str, str]]:
    for method, function in inspect.getmembers(made, callable):
        if not method.startswith("_"):
            yield from switches_of(f"{name}.{method}", function)


def switches_of(name: str, function: Any) -> Iterator[tuple[str, str]]:
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):  # an alias of types, or a class of Python's own
        return
    for parameter in parameters:
        if str(parameter.annotation) in ("bool", "<class 'bool'>"):
            yield name, parameter.name


@pytest.mark.parametrize("value", ["no", "", 1, None, np.float32(0)], ids=str)
@pytest.mark.parametrize(("name", "switch"), list(switches()))
def test_a_switch_that_is_no_bool_is_refused(name: str, switch: str, value: object) -> None:
    docs = documents(new=spec("model-new"))
    docs.create_version(HASHED, EMBEDDER.spec)
    docs.guards.set_canaries(HASHED, ["a canary"], vectors=EMBEDDER)
    docs.upsert(["a"], texts=["one"], vectors={OLD: rows(1)})
    before = contents(docs)
    with pytest.raises(vstore.InvalidArgumentError, match=f"{switch}: expected a bool"):
        CALLS[name](docs, **{switch: value})
    assert contents(docs) == before
    if not (name.endswith(".cutover") or name == "EmbeddingSpec"):
        CALLS[name](docs, **{switch: np.True_})


def test_there_are_switches() -> None:
    found = list(switches())
    assert {name for name, _ in found} == set(CALLS)
    assert ("Routes.cutover", "force") in found
    assert ("Collection.migrate", "isolate") in found
