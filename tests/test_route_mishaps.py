"""What must not happen on the way from a query to its route: one test for each mishap."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import vstore
from tests.small_store import NEW, OLD, axis, rows, spec, store_in
from vstore.native import loader

if TYPE_CHECKING:
    from vstore import Collection

THIRD = "emb-third"
BOTH = {OLD: axis(0), NEW: axis(1)}


@pytest.fixture
def docs() -> Collection:
    """Make 40 documents that three versions have."""
    collection = store_in().create_collection(
        "docs", fields={"tenant": "keyword", "a": "keyword", "a=b": "keyword"}
    )
    for number, label in enumerate((OLD, NEW, THIRD)):
        collection.create_version(label, spec(f"model {number}"))
    ids = list(range(40))
    metadata = [{"tenant": "acme", "a": "b=c", "a=b": "c"} for _ in ids]
    vectors = {label: rows(40, seed=i) for i, label in enumerate((OLD, NEW, THIRD))}
    collection.upsert(ids, vectors=vectors, metadata=metadata)
    return collection


@pytest.mark.parametrize("read", [vstore.Dual(NEW), vstore.Cascade(NEW)])
def test_a_list_is_no_vector_of_two_versions_either(docs: Collection, read: Any) -> None:
    for batch in (rows(2).tolist(), list(rows(2))):
        with pytest.raises(vstore.MissingQueryVectorError):
            docs.search_batch(batch, read=read)


def test_a_shadow_that_fails_is_counted_and_no_more(docs: Collection) -> None:
    docs.routes.shadow(NEW)
    expected = docs.search({OLD: axis(0)}).ids
    for other in (np.full(4, np.nan, np.float32), np.ones(7, np.float32), np.zeros(4)):
        assert docs.search({OLD: axis(0), NEW: other}).ids == expected
    (report,) = docs.routes.shadow_reports
    assert (report.queries, report.missing) == (0, 4)


def test_a_text_needs_no_embedder_for_the_shadow(docs: Collection) -> None:
    embedder = vstore.HashingEmbedder(16)
    texts = store_in().create_collection("texts")
    texts.create_version(OLD, embedder.spec)
    texts.create_version(NEW, spec("no embedder here"))
    texts.store.register_embedder(embedder)
    texts.upsert_texts(["a"], ["a boat"], embedder=embedder)
    texts.routes.shadow(NEW)
    assert texts.search("a boat").ids == ["a"]


def test_a_dual_read_keeps_its_fusion_to_itself(docs: Collection) -> None:
    docs.routes.set(vstore.Dual(NEW))
    docs.routes.shadow(THIRD)
    assert len(docs.search({**BOTH, THIRD: axis(2)})) == 10
    (report,) = docs.routes.shadow_reports
    assert (report.queries, report.missing) == (1, 0)


def test_odd_queries_are_told_as_ever_on_a_canary(docs: Collection) -> None:
    docs.routes.set(vstore.Canary(NEW, percent=50))
    with pytest.raises(vstore.MissingQueryVectorError):
        docs.search({})
    with pytest.raises(vstore.InvalidArgumentError, match="different numbers"):
        docs.search_batch({OLD: rows(2), NEW: rows(3)})
    with pytest.raises(vstore.InvalidVectorError):
        docs.search_batch({OLD: [[1.0], [1.0, 2.0]], NEW: rows(2)})  # type: ignore[dict-item]
    with pytest.raises(vstore.InvalidArgumentError, match="expected a str"):
        docs.search(BOTH, key=5)  # type: ignore[arg-type]
    assert len(docs.search(BOTH, key="\ud800")) == 10
    assert len(docs.search({**BOTH, THIRD: rows(1)[0]})) == 10


def test_what_a_gate_asks_is_nobody_s_traffic(docs: Collection) -> None:
    docs.search(axis(0), version=OLD)
    before = docs.store.metrics().to_dict()["counts"]
    docs.routes.check_gates(NEW, vstore.Gates(recall=0.5))
    assert docs.store.metrics().to_dict()["counts"] == before


def test_a_field_with_an_equals_sign_is_not_taken_for_another(docs: Collection) -> None:
    docs.scoped(vstore.field("a") == "b=c").routes.cutover(NEW)
    found = docs.search(BOTH, where=vstore.field("a=b") == "c")
    assert {hit.version for hit in found} == {OLD}
    with pytest.raises(vstore.InvalidArgumentError, match="without = in"):
        docs.scoped(vstore.field("a=b") == "c").routes.cutover(NEW)


def test_a_bridged_route_needs_its_bridge(docs: Collection) -> None:
    with pytest.raises(vstore.StateError, match="no bridge leads"):
        docs.routes.set(vstore.Dual(NEW, fusion="bridged-slots"))
    assert docs.routes.current.mode == "matched"


def test_a_shadow_stays_when_the_route_changes(docs: Collection) -> None:
    docs.routes.shadow(THIRD, percent=5)
    docs.routes.set(vstore.Canary(NEW, percent=10))
    docs.routes.set(vstore.Canary(NEW, percent=50))
    assert (docs.routes.current.shadow, docs.routes.current.shadow_percent) == (THIRD, 5)
    docs.routes.cutover(NEW)
    assert docs.routes.current.shadow == THIRD
    docs.routes.cutover(THIRD)  # which is read now
    assert docs.routes.current.shadow == ""
    docs.routes.shadow(OLD)
    docs.routes.shadow(None)
    assert docs.routes.current.shadow == ""


@pytest.mark.skipif(loader.kernels(wait=True) is None, reason="no machine code here")
def test_hits_are_counted_by_the_handle_that_asks() -> None:
    docs = store_in().create_collection("docs")
    docs.create_version(OLD, spec(), graph_rows_min=1)
    docs.upsert(list(range(500)), vectors={OLD: rows(500)})
    docs.store.optimize()
    pinned = docs.store.snapshot().collection("docs")
    for handle in (pinned, docs, pinned):
        for _ in range(5):
            handle.search(axis(0), version=OLD, k=3)
    assert sum(docs.migration.hit_counts().values()) == 15
