"""NumPy's scalars are options as Python's are, and what is stored of them is Python's."""

from __future__ import annotations

import dataclasses
import threading
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import vstore
from tests.small_store import NEW, OLD, axis, documents, rows, seal, spec, store_in
from vstore.query.plan import scans

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

INTEGERS = [np.int64, np.uint8, np.int32]


def made() -> vstore.Collection:
    docs = documents(new=spec("model-new"))
    docs.upsert(list(range(20)), texts=["x"] * 20, vectors={OLD: rows(20)})
    return docs


@pytest.mark.parametrize("kind", INTEGERS)
def test_how_many_hits(kind: Any) -> None:
    docs = made()
    for k in (1, 5, 20):
        expected = docs.search(axis(0), version=OLD, k=k).ids
        assert docs.search(axis(0), version=OLD, k=kind(k)).ids == expected
        assert docs.search_batch(axis(0)[None], version=OLD, k=kind(k))[0].ids == expected
        assert scans(docs.explain(axis(0), version=OLD, k=kind(k)).plan)[0].k == k
        epoch = kind(docs.store.epoch)
        found = docs.compare_epochs(axis(0), before=epoch, after=epoch, version=OLD, k=kind(k))
        assert not found.changes


def test_options_of_a_search(tmp_path: Path) -> None:
    docs = store_in().create_collection("docs")
    docs.create_version(
        OLD,
        spec(dimension=np.int64(8)),  # type: ignore[arg-type]
        graph_rows_min=np.int64(100),  # type: ignore[arg-type]
        M=np.int32(8),  # type: ignore[arg-type]
        ef_construction=np.uint8(40),  # type: ignore[arg-type]
        retire_grace_s=np.int64(60),  # type: ignore[arg-type]
    )
    docs.upsert(list(range(400)), vectors={OLD: rows(400, 8)})
    seal(docs.store)
    docs.store.optimize()
    options: list[dict[str, Any]] = [
        {"recall": np.float32(0.9)},
        {"recall": np.float64(0.9)},
        {"recall": np.int64(1)},
        {"recall": vstore.EfSearch(np.int64(30))},  # type: ignore[arg-type]
        {"collapse": np.False_},
    ]
    for given in options:
        for _ in range(4):  # what is asked again is answered another way
            assert len(docs.search(axis(0, 8), version=OLD, k=np.int64(7), **given)) == 7  # type: ignore[arg-type]
    batch = docs.search_batch(rows(3, 8), version=OLD, k=np.int16(2))  # type: ignore[arg-type]
    assert [len(found) for found in batch] == [2, 2, 2]


BOOLS: dict[str, Callable[[vstore.Collection, Any], object]] = {
    "k": lambda docs, value: docs.search(axis(0), version=OLD, k=value),
    "k of a batch": lambda docs, value: docs.search_batch(rows(2), version=OLD, k=value),
    "k of a plan": lambda docs, value: docs.explain(axis(0), version=OLD, k=value),
    "recall": lambda docs, value: docs.search(axis(0), version=OLD, recall=value),
    "threads": lambda docs, value: store_in(threads=value),
    "limit": lambda docs, value: docs.store.history(limit=value),
    "epoch": lambda docs, value: docs.store.snapshot(value),
    "tag": lambda docs, value: docs.store.tag("t", epoch=value),
    "keep_epochs": lambda docs, value: docs.store.vacuum(keep_epochs=[value]),
    "revisions": lambda docs, value: docs.add_vectors([0], rows(1), revisions=[value], version=OLD),
    "batch_size": lambda docs, value: docs.migrate(
        OLD, NEW, lambda _: rows(1), calls=vstore.Calls(batch_size=value)
    ),
    "retries": lambda docs, value: docs.migrate(
        OLD, NEW, lambda _: rows(1), calls=vstore.Calls(retries=value)
    ),
    "M": lambda docs, value: docs.create_version("m", spec("m"), M=value),
    "graph_rows_min": lambda docs, value: docs.create_version("m", spec("m"), graph_rows_min=value),
    "retire_grace_s": lambda docs, value: docs.create_version("m", spec("m"), retire_grace_s=value),
    "percent": lambda docs, value: docs.routes.set(vstore.Canary(NEW, percent=value)),
    "dimension": lambda docs, value: spec(dimension=value),
    "timeout_s": lambda docs, value: docs.store.wait_for_upkeep(value),
    "open": lambda docs, value: store_in(timeout_s=value),
    "recall_sample": lambda docs, value: store_in(recall_sample=value),
    "ef": lambda docs, value: docs.search(axis(0), version=OLD, recall=vstore.EfSearch(value)),
}


@pytest.mark.parametrize("option", BOOLS)
@pytest.mark.parametrize("value", [True, np.True_, "1", [1]], ids=["bool", "np", "text", "list"])
def test_a_bool_is_no_number(option: str, value: Any) -> None:
    docs = made()
    epoch = docs.store.epoch
    with pytest.raises(vstore.InvalidArgumentError):
        BOOLS[option](docs, value)
    assert docs.store.epoch == epoch


def test_gates_take_numbers_and_vectors_of_every_type() -> None:
    docs = documents(new=spec("model-new"))
    vectors = np.random.default_rng(0).integers(-50, 50, (40, 4))
    docs.upsert(list(range(40)), vectors={OLD: vectors, NEW: vectors})
    judgments: Any = [{i: 1.0} for i in range(20)]
    forms: list[Any] = [vectors[:20].tolist(), list(vectors[:20]), iter(vectors[:20])]
    for form in forms:
        judged = vstore.Judged(
            {OLD: form, NEW: vectors[:20]},
            judgments,
            k=np.int64(5),  # type: ignore[arg-type]
            margin=np.float32(0.2),  # type: ignore[arg-type]
        )
        gates = vstore.Gates(
            coverage=np.float32(0.5),  # type: ignore[arg-type]
            recall=np.float64(0.5),
            stale=np.int64(0),  # type: ignore[arg-type]
            dead_letters=np.uint8(0),  # type: ignore[arg-type]
            quality=judged,
        )
        found = docs.routes.check_gates(NEW, gates)
        assert all(result.passed for result in found)
        assert {type(result.required) for result in found} <= {int, float}


@pytest.mark.parametrize("value", [True, np.True_, "1", float("nan"), [1]], ids=repr)
def test_what_is_no_number_is_no_gate(value: Any) -> None:
    docs = documents(new=spec("model-new"))
    docs.upsert(list(range(4)), vectors={OLD: rows(4), NEW: rows(4)})
    judged = vstore.Judged({OLD: rows(1), NEW: rows(1)}, [{0: 1.0}])
    gates: list[dict[str, Any]] = [
        {name: value} for name in ("coverage", "traffic_coverage", "stale", "recall")
    ]
    gates += [{"dead_letters": value}, {"quality": value}]
    gates += [{"quality": dataclasses.replace(judged, k=value)}]
    gates += [{"quality": dataclasses.replace(judged, margin=value)}]
    for given in gates:
        with pytest.raises(vstore.InvalidArgumentError, match=r"gates|k:"):
            docs.routes.check_gates(NEW, vstore.Gates(**given))
        with pytest.raises(vstore.InvalidArgumentError, match=r"gates|k:"):
            docs.routes.cutover(NEW, gates=vstore.Gates(**given), reason="a test")
    with pytest.raises(vstore.InvalidArgumentError, match="expected Gates"):
        docs.routes.check_gates(NEW, value)


def test_what_is_stored_is_of_python_s_types(tmp_path: Path) -> None:
    path = tmp_path / "docs.vstore"
    scalar: Any = np.int64
    with vstore.open(path, timeout_s=np.float32(0.5), recall_sample=np.float64(0.25)) as store:  # type: ignore[arg-type]
        docs = store.create_collection(np.str_("docs"), fields={np.str_("year"): np.str_("int")})
        docs.add_field(np.str_("name"), np.str_("keyword"))
        made_of = vstore.EmbeddingSpec(
            np.str_("model"),
            scalar(4),
            np.str_("l2"),  # type: ignore[arg-type]
            normalized=np.False_,  # type: ignore[arg-type]
            extras={np.str_("n"): scalar(3), "on": np.True_, "text": np.str_("x")},  # type: ignore[dict-item]
        )
        assert made_of == vstore.EmbeddingSpec(
            "model", 4, "l2", extras={"n": 3, "on": True, "text": "x"}
        )
        docs.create_version(np.str_("v1"), made_of, retire_grace_s=scalar(5))
        docs.create_version("v2", spec("two"))
        ids: Any = np.arange(6)
        docs.upsert(ids, vectors={np.str_("v1"): rows(6)}, texts=np.array(list("abcdef")))
        migration = docs.migrate(
            "v1",
            "v2",
            lambda found: rows(len(found)),
            calls=vstore.Calls(batch_size=scalar(2), retries=np.int8(0)),  # type: ignore[arg-type]
            caps=vstore.Caps(
                documents=np.uint16(100),  # type: ignore[arg-type]
                cost=np.float32(8),  # type: ignore[arg-type]
                failures=scalar(3),
            ),
            price=vstore.Price(
                per_unit=np.float32(0.5),  # type: ignore[arg-type]
                count=lambda _: scalar(1),
            ),
        )
        assert migration.plan(sample=scalar(2)).documents == 6
        assert migration.run(batches_max=scalar(2)).done == 4
        assert len(docs.migration.pending("v2", limit=scalar(1))) == 1
        docs.routes.set(vstore.Canary("v2", percent=np.uint8(30)))  # type: ignore[arg-type]
        revisions: Any = np.array([d.revision for d in docs.documents()], np.uint64)
        docs.add_vectors(ids, rows(6), revisions=revisions, version="v1")
        store.tag(np.str_("t"), epoch=scalar(store.epoch))
        before = repr(store.info())
        assert len(store.history(limit=scalar(3))) == 3
        assert store.snapshot(scalar(store.epoch)).collection("docs").ids() == list(range(6))
        assert store.wait_for_upkeep(np.float32(1))  # type: ignore[arg-type]
        assert "np." not in before
        assert np.array_equal(docs.get_vectors(scalar(2), "v1")[scalar(0)], rows(6)[2])
        store.vacuum(keep_epochs=np.array([store.epoch]))
    with vstore.open(path, mode="r") as store:
        assert store.collection("docs").versions["v1"].spec == made_of
        assert store.check().ok
    with vstore.open(path, epoch=scalar(store_epoch(path))) as store:
        assert store.collection("docs").ids() == list(range(6))


def store_epoch(path: Path) -> int:
    with vstore.open(path, mode="r") as store:
        return store.epoch


def test_how_long_to_wait_for_another_thread() -> None:
    store = store_in()
    entered, leave = threading.Event(), threading.Event()

    def hold() -> None:
        with store.transaction():
            entered.set()
            leave.wait()

    thread = threading.Thread(target=hold)
    thread.start()
    entered.wait()
    with pytest.raises(vstore.LockedError):
        store.transaction(timeout_s=np.float32(0.01)).__enter__()  # type: ignore[arg-type]
    leave.set()
    thread.join()
