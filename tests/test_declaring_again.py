"""Declaring what is there already: the same is returned, anything else is named."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import pytest

import vstore
from tests.small_store import OLD, contents, documents, rows, spec, store_in

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

FIELDS = {"year": "int", "tenant": "keyword"}


def declare(store: vstore.Store) -> vstore.Collection:
    """Declare everything a program needs, as it does each time it starts."""
    docs = store.create_collection("docs", fields=FIELDS, exist_ok=True)
    docs.add_field("price", "float", exist_ok=True)
    docs.create_version("v1", spec(), storage="float16", M=8, exist_ok=True)
    docs.create_version("v2", spec("model-new"), graph_rows_min=None, exist_ok=True)
    return docs


def test_a_program_declares_what_it_needs_each_time_it_starts(tmp_path: Path) -> None:
    path = tmp_path / "docs.vstore"
    with vstore.open(path) as store:
        docs = declare(store)
        docs.upsert(["a"], vectors={"v1": rows(1)}, metadata=[{"price": 1.5}])
        before, epoch = contents(docs), store.epoch
        again = declare(store)
        assert (contents(again), store.epoch) == (before, epoch)
        assert (
            again.create_version("v1", spec(), storage="float16", M=8, exist_ok=True)
            == (docs.versions["v1"])
        )
    with vstore.open(path) as store:
        assert contents(declare(store)) == before
        assert store.epoch == epoch
    with vstore.open(path, mode="r") as store:  # nothing is to be written
        assert contents(declare(store)) == before
        with pytest.raises(vstore.ReadOnlyError):
            store.create_collection("other", exist_ok=True)


def test_without_the_option_what_is_there_is_an_error() -> None:
    docs = documents(fields=FIELDS)
    with pytest.raises(vstore.AlreadyExistsError):
        docs.store.create_collection("docs", fields=FIELDS)
    with pytest.raises(vstore.AlreadyExistsError):
        docs.add_field("year", "int")
    with pytest.raises(vstore.AlreadyExistsError):
        docs.create_version(OLD, spec())


OTHER: dict[str, tuple[Callable[[vstore.Collection], object], str]] = {
    "a field's type": (
        lambda docs: docs.store.create_collection("docs", fields={"year": "float"}, exist_ok=True),
        r"collection 'docs' .*field 'year' is int, not float",
    ),
    "a field more": (
        lambda docs: docs.store.create_collection(
            "docs", fields={**FIELDS, "new": "bool"}, exist_ok=True
        ),
        r"no field 'new', which add_field\(\) declares",
    ),
    "a type": (
        lambda docs: docs.add_field("year", "timestamp", exist_ok=True),
        r"field 'year' of collection 'docs' .*is int, not timestamp",
    ),
    "a dimension": (
        lambda docs: docs.create_version(OLD, spec(dimension=5), exist_ok=True),
        r"version 'emb-old'.*dimension is 4, not 5",
    ),
    "a model and a metric": (
        lambda docs: docs.create_version(OLD, spec("other", metric="l2"), exist_ok=True),
        r"model is 'model-old', not 'other'; metric is 'cosine', not 'l2'",
    ),
    "a storage": (
        lambda docs: docs.create_version(OLD, spec(), storage="float16", exist_ok=True),
        "storage is 'float32', not 'float16'",
    ),
    "a policy": (
        lambda docs: docs.create_version(OLD, spec(), stale_policy="serve", exist_ok=True),
        "stale_policy is 'hide', not 'serve'",
    ),
    "a provenance": (
        lambda docs: docs.create_version(OLD, spec(), provenance="mapped", exist_ok=True),
        "provenance is 'embedded', not 'mapped'",
    ),
    "a grace": (
        lambda docs: docs.create_version(OLD, spec(), retire_grace_s=9, exist_ok=True),
        "retire_grace_s is 0, not 9",
    ),
    "links": (
        lambda docs: docs.create_version(OLD, spec(), M=32, ef_construction=100, exist_ok=True),
        "M is 16, not 32; ef_construction is 200, not 100",
    ),
    "no graph": (
        lambda docs: docs.create_version(OLD, spec(), graph_rows_min=None, exist_ok=True),
        "it has graphs",
    ),
    "another label": (
        lambda docs: docs.create_version("other", spec(), exist_ok=True),
        "'emb-old' has this spec already",
    ),
}


@pytest.mark.parametrize("name", OTHER)
def test_what_differs_is_named(name: str) -> None:
    call, message = OTHER[name]
    docs = documents(fields=FIELDS)
    before = contents(docs)
    with pytest.raises(vstore.AlreadyExistsError, match=message):
        call(docs)
    assert contents(docs) == before


def test_a_retired_version_is_not_declared_again() -> None:
    docs = documents(new=spec("model-new"))
    docs.routes.retire("emb-new")
    with pytest.raises(vstore.AlreadyExistsError, match="it is retired"):
        docs.create_version("emb-new", spec("model-new"), exist_ok=True)


def test_a_collection_may_have_more_fields_than_are_asked_for() -> None:
    docs = documents(fields=FIELDS)
    for fields in (None, {}, {"year": "int"}):
        assert docs.store.create_collection("docs", fields=fields, exist_ok=True).fields == FIELDS


@pytest.mark.parametrize("wrong", [1, "yes", None])
def test_the_option_is_a_bool(wrong: Any) -> None:
    docs = documents()
    with pytest.raises(vstore.InvalidArgumentError, match="exist_ok: expected a bool"):
        docs.store.create_collection("docs", exist_ok=wrong)
    with pytest.raises(vstore.InvalidArgumentError, match="exist_ok: expected a bool"):
        docs.add_field("year", "int", exist_ok=wrong)
    with pytest.raises(vstore.InvalidArgumentError, match="exist_ok: expected a bool"):
        docs.create_version(OLD, spec(), exist_ok=wrong)


def test_through_a_scope_nothing_is_declared() -> None:
    docs = documents(fields=FIELDS).scoped(vstore.field("tenant") == "a")
    with pytest.raises(vstore.InvalidArgumentError, match="scoped"):
        docs.add_field("year", "int", exist_ok=True)
    with pytest.raises(vstore.InvalidArgumentError, match="scoped"):
        docs.create_version(OLD, spec(), exist_ok=True)


def test_threads_that_declare_the_same_make_it_once() -> None:
    store = store_in()
    ready = threading.Barrier(8)
    errors: list[BaseException] = []

    def work() -> None:
        ready.wait()
        try:
            declare(store)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors
    made = [entry.operation for entry in store.history()]
    assert made.count("create_collection") == made.count("add_field") == 1
    assert made.count("create_version") == 2
