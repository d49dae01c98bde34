"""Results outlive their store, pickle, copy, and become JSON; handles stay where they were made."""

from __future__ import annotations

import copy
import dataclasses
import datetime as dt
import inspect
import json
import multiprocessing as mp
import pickle
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import vstore
from tests.native.data import clustered
from tests.small_store import NEW, OLD, axis, documents, rows, seal, spec
from vstore.errors import ClosedError, NotPicklableError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from vstore import Collection, SearchResult, SearchResults, Store

COUNT = 600
PROTOCOLS = range(pickle.HIGHEST_PROTOCOL + 1)
READS: dict[str, dict[str, Any]] = {
    "one": {"version": OLD},
    "filtered": {"version": OLD, "where": vstore.field("tenant") == "t1"},
    "chunks": {"version": NEW, "collapse": False},
    "dual": {"read": vstore.Dual(NEW, old=OLD)},
    "evidence": {"read": vstore.Dual(NEW, old=OLD, fusion="evidence")},
    "cascade": {"read": vstore.Cascade(NEW, old=OLD)},
    "nothing": {"version": OLD, "where": vstore.field("tenant") == "nobody"},
}


def write(path: Path) -> None:
    with vstore.open(path) as store:
        docs = store.create_collection("docs", fields={"tenant": "keyword", "at": "timestamp"})
        docs.create_version(OLD, spec("a", 24), graph_rows_min=500)
        docs.create_version(NEW, spec("b", 12))
        docs.upsert(
            [f"d{i}" for i in range(COUNT)],
            vectors={OLD: clustered(COUNT, 24)},
            texts=[f"text {i}" for i in range(COUNT)],
            metadata=[{"tenant": f"t{i % 7}", "at": dt.datetime.now(dt.UTC)} for i in range(COUNT)],
        )
        docs.add_vectors(
            [f"d{i}" for i in range(50)], [rows(3, 12, seed=i) for i in range(50)], version=NEW
        )
        seal(store)


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("outlive") / "a.vstore"
    write(made)
    return made


def queries(count: int) -> dict[str, Any]:
    return {OLD: clustered(count, 24, seed=3), NEW: rows(count, 12, seed=3)}


def asked(docs: Collection, read: str) -> tuple[SearchResult, SearchResults]:
    every = queries(3)
    if "read" not in READS[read]:
        every = {READS[read]["version"]: every[READS[read]["version"]]}
    one = {label: vectors[0] for label, vectors in every.items()}
    return docs.search(one, **READS[read]), docs.search_batch(every, **READS[read])


def all_of(one: SearchResult, several: SearchResults) -> dict[str, Any]:
    """Return all that a result says without its documents."""
    return {
        "ids": one.ids,
        "scores": one.scores,
        "hits": [(h.id, h.score, h.version, h.chunk, h.stale, h.scores) for h in one],
        "repr": repr(one),
        "plan": one.plan,
        "length": len(one),
        "dict": one.to_dict(),
        "run": one.to_run("q"),
        "read": (one.trace.mode, one.trace.versions, one.trace.answered),
        "many ids": several.ids.tolist(),
        "many scores": several.scores.tolist(),
        "counts": several.counts.tolist(),
        "many": [repr(result) for result in several],
        "many runs": several.to_run(["a", "b", "c"]),
        "many dicts": several.to_dict()["results"],
    }


def close(store: Store) -> None:
    store.close()


def drop(store: Store) -> None:
    store.drop_collection("docs")
    store.vacuum()


def vacuum(store: Store) -> None:
    docs = store.collection("docs")
    docs.delete([f"d{i}" for i in range(400)])
    store.vacuum(keep_epochs=[])
    store.close()


ENDS: list[Callable[[Store], None]] = [close, drop, vacuum]


@pytest.mark.parametrize("end", ENDS, ids=lambda end: end.__name__)
@pytest.mark.parametrize("read", READS)
def test_a_result_that_nobody_looked_at_outlives_its_store(
    path: Path, tmp_path: Path, read: str, end: Callable[[Store], None]
) -> None:
    own = tmp_path / "a.vstore"
    own.write_bytes(path.read_bytes())
    with vstore.open(own) as store:
        expected = all_of(*asked(store.collection("docs"), read))
    with vstore.open(own) as store:
        one, several = asked(store.collection("docs"), read)
        end(store)
        found = all_of(one, several)
        for part in ("dict", "many dicts"):  # which have the epoch
            assert json.dumps(found[part])
        assert found == expected
        assert one.explain()


@pytest.mark.parametrize("sealed", [False, True])
def test_so_does_a_result_of_a_store_in_memory(sealed: bool) -> None:
    docs = documents()
    docs.upsert(["a", "b"], vectors={OLD: rows(2)}, texts=["x", "y"])
    if sealed:
        seal(docs.store)
    result = docs.search(rows(1)[0], version=OLD)
    docs.store.close()
    assert sorted(result.ids) == ["a", "b"]
    assert "a" in repr(result)


def test_a_document_that_was_looked_at_stays_and_another_says_so(path: Path) -> None:
    with vstore.open(path, mode="r") as store:
        second = asked(store.collection("docs"), "one")[0][1]
    with vstore.open(path, mode="r") as store:
        result, _ = asked(store.collection("docs"), "one")
        first = result[0]
        document = first.document
    assert first.document == document
    assert first.text == document.text
    assert first.metadata == document.metadata
    for look in (lambda: second.document, lambda: second.text, lambda: second.metadata):
        with pytest.raises(ClosedError, match=f"document of hit '{second.id}' was not looked at"):
            look()
    assert second.id
    assert repr(second)
    for again in (pickle.loads(pickle.dumps(result)), copy.deepcopy(result), copy.copy(result)):
        assert again[0].document == document
    sent = pickle.loads(pickle.dumps(result))
    with pytest.raises(ClosedError, match="it was unpickled, or is a copy"):
        _ = sent[1].text


def test_what_a_caller_does_to_metadata_changes_no_other_look(path: Path) -> None:
    with vstore.open(path, mode="r") as store:
        hit = asked(store.collection("docs"), "one")[0][0]
        hit.metadata["tenant"] = "changed"  # type: ignore[index]
        assert hit.metadata["tenant"] != "changed"


@pytest.mark.parametrize("read", READS)
def test_results_pickle_and_copy(path: Path, read: str) -> None:
    with vstore.open(path, mode="r") as store:
        one, several = asked(store.collection("docs"), read)
        expected = all_of(one, several)
        again = [(copy.copy(one), copy.copy(several)), (copy.deepcopy(one), copy.deepcopy(several))]
        again += [
            (pickle.loads(pickle.dumps(one, p)), pickle.loads(pickle.dumps(several, p)))
            for p in PROTOCOLS
        ]
    for pair in again:
        assert all_of(*pair) == expected
        assert pair[0].explain() == one.explain()
        assert pair[0].suspect is None
        assert [hit.id for hit in pair[0]] == one.ids
        assert all_of(*pickle.loads(pickle.dumps(pair))) == expected


@pytest.mark.parametrize("read", ["one", "dual"])
def test_results_pickle_after_their_store_was_closed(path: Path, read: str) -> None:
    with vstore.open(path, mode="r") as store:
        one, several = asked(store.collection("docs"), read)
    assert all_of(*pickle.loads(pickle.dumps((one, several)))) == all_of(one, several)


def encoded(value: Any) -> Any:
    """Turn a value into JSON as `fastapi.encoders.jsonable_encoder` does (0.115 to 0.165)."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return encoded(dataclasses.asdict(value))
    if value is None or isinstance(value, str | int | float):
        return value
    if isinstance(value, dict):
        return {encoded(key): encoded(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [encoded(item) for item in value]
    if isinstance(value, dt.datetime):
        return value.isoformat()
    if isinstance(value, bytes):
        return value.decode()
    return encoded(dict(value))


def test_what_calls_return_becomes_json() -> None:
    docs = documents(new=spec("model-new"))
    counts = docs.upsert(list(range(60)), vectors={OLD: rows(60)}, texts=["x"] * 60)
    added = docs.add_vectors([0, 1], rows(2, seed=1), version=NEW)
    query = {OLD: axis(0), NEW: axis(1)}
    migration = docs.migrate(OLD, NEW, lambda given: rows(len(given), seed=2))
    plan, report, status = migration.plan(), migration.run(), migration.status()
    docs.routes.set(vstore.Dual(NEW))
    results = [
        counts, added, docs.delete([5]), plan, report, status, docs.coverage(NEW),
        docs.routes.current, docs.versions[OLD], docs.search(query), docs.search(query)[0],
        docs.search(query).trace, docs.search_batch({OLD: rows(2), NEW: rows(2)}),
        docs.search(axis(0), version=OLD, where=vstore.field("year") == 1),
        docs.explain(query), docs.explain(query, analyze=True), docs.routes.check_gates(NEW),
        docs.store.check(), docs.store.history(), docs.store.metrics().to_dict(),
        docs.versions[OLD].spec,
        docs.compare_epochs(query, before=docs.store.epoch - 1, after=docs.store.epoch),
        vstore.Gates(), docs.store.info(), docs.store.vacuum(),
    ]  # fmt: skip
    for result in results:
        assert json.loads(json.dumps(encoded(result))) is not None, result
        if dataclasses.is_dataclass(result):
            again = pickle.loads(pickle.dumps(result))
            assert repr(again) == repr(result)
            assert repr(copy.deepcopy(result)) == repr(result)
            assert repr(copy.copy(result)) == repr(result)
        for one in result if isinstance(result, tuple | list) else [result]:
            if hasattr(one, "to_dict"):
                assert json.dumps(one.to_dict())
    found = encoded(docs.search(query))
    assert found["hits"][0].keys() == {"id", "score", "version", "chunk", "stale", "scores"}
    assert len(encoded(docs.search_batch({OLD: rows(2), NEW: rows(2)}))["results"]) == 2
    assert encoded(docs.search(axis(0), version=OLD, where=vstore.field("year") == 1)) == {
        "hits": []
    }


def test_a_document_becomes_json() -> None:
    docs = documents(fields={"at": "timestamp", "extra": "json", "tags": "keywords"})
    moment = dt.datetime(2020, 1, 2, tzinfo=dt.UTC)
    docs.upsert(
        ["a"], vectors={OLD: rows(1)}, texts=["x"],
        metadata=[{"at": moment, "extra": {"k": [1]}, "tags": ["p"]}],
    )  # fmt: skip
    document = docs.get("a")
    assert document is not None
    found = json.loads(json.dumps(document.to_dict()))
    assert found["metadata"] == {"at": moment.isoformat(), "extra": {"k": [1]}, "tags": ["p"]}
    assert document.source_hash is not None
    assert found["source_hash"] == document.source_hash.hex()
    for again in (pickle.loads(pickle.dumps(document)), copy.deepcopy(document)):
        assert again == document


def test_specs_filters_embeddings_and_bridges_pickle_and_copy() -> None:
    one = spec("m", 4, extras={"tier": "a"})
    assert json.dumps(dataclasses.asdict(one))
    for again in (pickle.loads(pickle.dumps(one)), copy.deepcopy(one), copy.copy(one)):
        assert again == one
        assert again.extras == {"tier": "a"}
        with pytest.raises(TypeError, match="cannot be changed"):
            again.extras["tier"] = "b"  # type: ignore[index]
    where = (vstore.field("year") > 3) & ~(vstore.field("tenant") == "a")
    for other in (pickle.loads(pickle.dumps(where)), copy.deepcopy(where)):
        assert repr(other) == repr(where)
    given = vstore.Embeddings(one, rows(3))
    for sent in (pickle.loads(pickle.dumps(given)), copy.deepcopy(given)):
        assert sent.spec == one
        assert np.array_equal(sent.vectors, given.vectors)


def handles(store: Store) -> list[Any]:
    docs = store.collection("docs")
    return [
        store, docs, docs.scoped(vstore.field("tenant") == "t1"), store.snapshot(),
        store.snapshot().collection("docs"),
        docs.migrate(OLD, NEW, lambda given: rows(len(given), 12)),
        docs.search, store.vacuum,  # as `pool.map` is given
    ]  # fmt: skip


def test_handles_say_to_open_the_path_in_the_worker(path: Path) -> None:
    with vstore.open(path, mode="r") as store:
        for handle in handles(store):
            ways: list[Callable[[Any], object]] = [copy.copy, copy.deepcopy]
            ways += [lambda h, p=p: pickle.dumps(h, p) for p in PROTOCOLS]  # type: ignore[misc]
            for way in ways:
                if inspect.ismethod(handle) and way in (copy.copy, copy.deepcopy):
                    continue
                with pytest.raises(NotPicklableError, match="neither pickled nor copied") as caught:
                    way(handle)
                assert isinstance(caught.value, TypeError)
                assert f"vstore.open({str(path)!r}" in str(caught.value)
        assert ".collection('docs')" in str(_refused(store.collection("docs")))
        assert ".snapshot(" in str(_refused(store.snapshot()))
        with vstore.open(":memory:") as memory:
            assert "in a file" in str(_refused(memory))
            with memory.transaction() as transaction:
                assert "send what is to be written" in str(_refused(transaction))


def _refused(handle: object) -> NotPicklableError:
    with pytest.raises(NotPicklableError) as caught:
        pickle.dumps(handle)
    return caught.value


def test_no_repr_of_a_closed_handle_raises(path: Path) -> None:
    with vstore.open(path, mode="r") as store:
        made = handles(store)[:6]
    for handle in made:
        assert repr(handle)


def found_in_a_worker(path: str) -> tuple[SearchResult, SearchResults]:
    with vstore.open(path, mode="r") as store:
        one, several = asked(store.collection("docs"), "dual")
        _ = one[0].text
        return one, several


def test_a_worker_sends_its_results(path: Path) -> None:
    with mp.get_context("spawn").Pool(1) as pool:
        one, several = pool.apply_async(found_in_a_worker, (str(path),)).get(timeout=120)
    here = found_in_a_worker(str(path))
    expected = all_of(*here)
    assert all_of(one, several) == expected
    assert one[0].text == here[0][0].text
