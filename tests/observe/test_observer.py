"""What an observer tallies: all of it, in its slice, from whatever thread and state it came."""

from __future__ import annotations

import gc
import threading
import weakref
from typing import TYPE_CHECKING, Any

import pytest

import vstore
from tests.native.data import clustered
from tests.small_store import NEW, OLD, axis, documents, rows, spec, store_in
from vstore.native import loader

if TYPE_CHECKING:
    from pathlib import Path

    from vstore import Collection, Store

QUERIES = clustered(40, 24, seed=4)


def with_a_graph() -> Collection:
    if loader.kernels(wait=True) is None:
        pytest.skip(f"no machine code here: {loader.status()['reason']}")
    docs = store_in().create_collection("docs", fields={"year": "int"})
    docs.create_version("v", vstore.EmbeddingSpec("m", 24), graph_rows_min=1_000)
    docs.upsert(
        list(range(2_000)),
        vectors={"v": clustered(2_000, 24)},
        metadata=[{"year": i} for i in range(2_000)],
    )
    return docs


def slices(store: Store) -> list[dict[str, Any]]:
    found: Any = store.metrics().to_dict()["slices"]
    return list(found)


def test_threads_that_search_at_once_are_all_counted() -> None:
    docs = with_a_graph()
    found: list[Any] = []
    stop = threading.Event()

    def search() -> None:
        mine = [docs.search(q, version="v", k=5).ids for _ in range(30) for q in QUERIES]
        found.extend(id_ for ids in mine for id_ in ids)

    def look() -> None:
        while not stop.is_set():
            docs.store.metrics(), docs.store.traces(), docs.migration.hit_counts()

    threads = [threading.Thread(target=search) for _ in range(4)]
    watcher = threading.Thread(target=look)
    watcher.start()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    stop.set()
    watcher.join()
    counts: Any = docs.store.metrics().to_dict()["counts"]
    assert counts["queries"] == 4 * 30 * len(QUERIES)
    assert counts["hits"] == len(found)
    assert sum(docs.migration.hit_counts().values()) == len(found)
    assert docs.migration.hit_counts() == {id_: found.count(id_) for id_ in set(found)}


def test_more_ways_of_asking_than_are_tallied_at_a_time() -> None:
    docs = with_a_graph()
    for k in range(1, 80):
        docs.search(QUERIES[0], version="v", k=k)
        docs.search(QUERIES[0], version="v", k=k)
        docs.search(QUERIES[0], version="v", k=k, where=vstore.field("year") < 100 + k)
    counts: Any = docs.store.metrics().to_dict()["counts"]
    assert counts["queries"] == 3 * 79
    assert counts["hits"] == 3 * sum(range(1, 80))


def test_slices_tell_tenants_families_versions_and_modes_apart() -> None:
    docs = documents(new=spec("model-new"))
    tenants = ["acme", "zeta"] * 5
    docs.upsert(list(range(10)), vectors={OLD: rows(10)}, metadata=[{"tenant": t} for t in tenants])
    docs.add_vectors(list(range(10)), rows(10, seed=1), version=NEW)
    docs.scoped(vstore.field("tenant") == "acme").routes.cutover(
        NEW, force=True, reason="the first"
    )
    acme = vstore.field("tenant") == "acme"
    both = {OLD: axis(0), NEW: axis(1)}
    docs.search(both, k=2)
    docs.search(both, k=2, where=acme)
    docs.search(both, k=2, where=acme, family="autocomplete")
    docs.search(both, k=2, read=vstore.Dual(NEW, old=OLD))
    docs.search_batch(rows(3), version=OLD, k=20, family="nightly")
    seen = {
        (s["tenant"], s["family"], s["mode"], s["versions"]): (s["queries"], s["short_results"])
        for s in slices(docs.store)
    }
    assert seen == {
        ("", "", "matched", OLD): (1, 0),
        ("tenant=acme", "", "matched", NEW): (1, 0),
        ("tenant=acme", "autocomplete", "matched", NEW): (1, 0),
        ("", "", "dual", f"{OLD}+{NEW}"): (1, 0),
        ("", "nightly", "matched", OLD): (3, 3),
    }
    filtered = [s for s in slices(docs.store) if s["filtered"]]
    assert [s["selectivity"] for s in filtered] == [0.5, 0.5]


def test_coverage_is_that_of_when_it_was_asked() -> None:
    docs = documents(new=spec("model-new"))
    docs.upsert(list(range(10)), vectors={OLD: rows(10)})
    for migrated in range(0, 10, 2):
        docs.search(axis(0), version=NEW, k=1)
        docs.add_vectors([migrated, migrated + 1], rows(2, seed=migrated), version=NEW)
    (asked,) = {s["versions"]: None for s in slices(docs.store)}
    assert asked == NEW
    every = slices(docs.store)
    mean = sum(s["coverage"] * s["queries"] for s in every) / sum(s["queries"] for s in every)
    assert mean == pytest.approx((0 + 0.2 + 0.4 + 0.6 + 0.8) / 5)


def test_a_commit_lets_go_of_the_state_before() -> None:
    docs = with_a_graph()
    for _ in range(3):
        docs.search(QUERIES[0], version="v")
    before = weakref.ref(docs._handle.view())
    docs.upsert(["new"], vectors={"v": QUERIES[:1]})
    gc.collect()
    assert before() is None
    counts: Any = docs.store.metrics().to_dict()["counts"]
    assert counts["queries"] == 3


def test_a_reader_that_refreshes_lets_go_of_the_state_before(tmp_path: Path) -> None:
    with vstore.open(tmp_path / "s.vstore") as store:
        docs = documents(store, new=spec("model-new"))
        docs.upsert(["a"], vectors={OLD: rows(1)})
        with vstore.open(store.path, mode="r") as reader:
            read = reader.collection("docs")
            read.search(axis(0), version=OLD)
            before = weakref.ref(read._handle.view())
            docs.upsert(["b"], vectors={OLD: rows(1)})
            reader.refresh()
            gc.collect()
            assert before() is None
            assert read.search(axis(0), version=OLD).ids


def test_traces_are_the_newest_in_order_whichever_way_they_came() -> None:
    docs = with_a_graph()
    for k in (3, 3, 3, 5):
        docs.search(QUERIES[0], version="v", k=k)
    docs.search_batch(QUERIES[:2], version="v", k=7)
    traces = docs.store.traces()
    assert sorted(sum(trace.answered.values()) for trace in traces) == [3, 3, 3, 5, 7, 7]
    assert all(trace.epoch == docs.store.epoch for trace in traces)
    docs.search_batch(QUERIES, version="v", k=1)
    for _ in range(300):
        docs.search(QUERIES[0], version="v", k=2)
    assert [sum(t.answered.values()) for t in docs.store.traces()] == [2] * 256


def test_a_fault_in_counting_does_not_look_like_one_of_a_write(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    docs = documents()
    docs.upsert([1, 2, 3], vectors={OLD: rows(3)})
    docs.search_batch(rows(3), version=OLD, k=2)

    def fail(*_: object) -> None:
        raise AttributeError("a fault in counting")

    with monkeypatch.context() as patched:
        patched.setattr("vstore.observe.tally.slice_of", fail)
        docs.upsert([4], vectors={OLD: rows(1)})
    assert "could not be counted" in caplog.text
    assert docs.ids() == [1, 2, 3, 4]
    docs.search_batch(rows(3), version=OLD, k=2)
    assert slices(docs.store)[-1]["queries"] == 3
