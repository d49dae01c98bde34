"""Silent mixing is 0, and it is seen when the router is broken."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.native.data import clustered
from tests.small_store import NEW, OLD, axis, documents, rows, spec, store_in
from vstore import Dual, EmbeddingSpec, StateError, field
from vstore.native import loader
from vstore.query.execution import ListedExecution, QueryAnswer
from vstore.query.executor import executor_of
from vstore.searching import prepared
from vstore.searching.prepared import PreparedSearches

if TYPE_CHECKING:
    from vstore import Collection

IDS = list(range(40))


def two_versions(share: float = 0.5) -> Collection:
    docs = documents(new=spec("model-new"))
    docs.upsert(IDS, vectors={OLD: rows(len(IDS))}, metadata=[{"year": i} for i in IDS])
    migrated = IDS[: int(share * len(IDS))]
    if migrated:
        docs.add_vectors(migrated, rows(len(migrated), seed=1), version=NEW)
    return docs


def rates(docs: Collection) -> dict[str, float]:
    found: Any = docs.store.metrics().to_dict()["mixed_version_rate"]
    return dict(found)


def silent_slices(docs: Collection) -> list[str]:
    slices: Any = docs.store.metrics().to_dict()["slices"]
    return [one["versions"] for one in slices if one["silent"]]


def test_hits_of_another_version_under_a_matched_plan_are_seen(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    docs = two_versions()

    def wrong(plan: Any, reads: Any, *rest: Any, **options: Any) -> Any:
        other = [read._replace(table=docs._handle.view().rows(NEW)) for read in reads]
        return executor_of(plan, other, *rest, **options)

    docs.search(axis(0), version=OLD)
    assert rates(docs)["silent"] == 0
    monkeypatch.setattr(prepared, "executor_of", wrong)
    docs.search(axis(0), version=OLD, k=9)  # another search, which is prepared anew
    assert rates(docs) == {"explicit": 0, "silent": 0.5}
    assert silent_slices(docs) == [OLD]


def test_two_versions_in_one_answer_under_a_matched_plan_are_seen(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    docs = two_versions()

    class Mixed:
        def __init__(self, plan: Any, reads: Any, *rest: Any, **options: Any) -> None:
            both = [reads[0], reads[0]._replace(table=docs._handle.view().rows(NEW))]
            self.executors = [executor_of(plan, [one], *rest, **options) for one in both]
            self.k = options["k"]

        def execute(self, queries: Any) -> Any:
            lists = [one.execute(queries).hits(0) for one in self.executors]
            hits = [hit for pair in zip(*lists, strict=True) for hit in pair]
            return ListedExecution([QueryAnswer(hits[: self.k], {})])

    monkeypatch.setattr(prepared, "executor_of", Mixed)
    result = docs.search(axis(0), version=OLD, k=6)
    assert {hit.version for hit in result} == {OLD, NEW}
    assert rates(docs)["silent"] == 1


def test_a_repeated_search_that_is_broken_is_seen_too(monkeypatch: pytest.MonkeyPatch) -> None:
    if loader.kernels(wait=True) is None:
        pytest.skip(f"no machine code here: {loader.status()['reason']}")
    docs = store_in().create_collection("docs")
    for label in (OLD, NEW):
        docs.create_version(label, EmbeddingSpec(label, 24), graph_rows_min=1_000)
        docs.upsert(list(range(2_000)), vectors={label: clustered(2_000, 24)})
    query = clustered(1, 24, seed=3)[0]
    for _ in range(3):
        docs.search(query, version=OLD)
    [search] = docs._handle.view().companions.of(PreparedSearches)
    executor: Any = search._executor
    assert rates(docs)["silent"] == 0
    monkeypatch.setattr(executor, "_table", docs._handle.view().rows(NEW))
    assert docs.search(query, version=OLD)[0].version == NEW
    assert rates(docs)["silent"] == 0.25


@settings(max_examples=40, deadline=None)
@given(
    share=st.sampled_from([0.0, 0.3, 1.0]),
    steps=st.lists(
        st.sampled_from(
            ["old", "new", "dual", "route", "filtered", "batch", "delete", "change", "cutover"]
        ),
        min_size=1,
        max_size=12,
    ),
    k=st.integers(1, 50),
)
def test_nothing_mixes_silently_whatever_is_asked(share: float, steps: list[str], k: int) -> None:
    docs = two_versions(share)
    asked = 0
    query, both = axis(0), {OLD: axis(0), NEW: axis(1)}
    dual: dict[str, Any] = {"read": Dual(NEW, old=OLD)}
    for step in steps:
        if step in ("old", "new"):
            docs.search(query, version=OLD if step == "old" else NEW, k=k)
        elif step == "dual":
            docs.search(both, k=k, **dual)
        elif step == "route":
            with contextlib.suppress(StateError):  # it serves already
                docs.routes.set(Dual(NEW))
            docs.search(both, k=k)
        elif step == "filtered":
            docs.search(query, version=NEW, k=k, where=field("year") > 20)
        elif step == "batch":
            docs.search_batch(np.eye(4, dtype=np.float32), version=OLD, k=k)
            asked += 3
        elif step == "delete":
            docs.delete(IDS[3:5])
        elif step == "change":
            docs.upsert(
                IDS[7:9], vectors={OLD: rows(2, seed=5)}, source_hashes=["a" * 64, "b" * 64]
            )
        else:
            with contextlib.suppress(StateError):  # it serves already
                docs.routes.cutover(NEW, force=True, reason="a test")
        asked += step in ("old", "new", "dual", "route", "filtered", "batch")
    assert rates(docs)["silent"] == 0
    counts: Any = docs.store.metrics().to_dict()["counts"]
    assert counts.get("queries", 0) == asked
    slices: Any = docs.store.metrics().to_dict()["slices"]
    assert sum(one["queries"] for one in slices) == asked
