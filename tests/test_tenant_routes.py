"""Routes of their own for tenants: cutover, rollback, canary, and who is routed where."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import vstore
from tests.small_store import NEW, OLD, axis, rows, spec, store_in

if TYPE_CHECKING:
    from vstore import Collection

QUERY = {OLD: axis(0), NEW: axis(1)}
tenant = vstore.field("tenant")


@pytest.fixture
def docs() -> Collection:
    """Make ten documents of two tenants; all of acme's are migrated."""
    collection = store_in().create_collection(
        "docs", fields={"tenant": "keyword", "region": "keyword", "year": "int"}
    )
    collection.create_version(OLD, spec())
    collection.create_version(NEW, spec("model-new"))
    metadata = [
        {"tenant": "acme" if i < 4 else "globex", "region": "eu", "year": i} for i in range(10)
    ]
    collection.upsert(list(range(10)), vectors={OLD: rows(10)}, metadata=metadata)
    collection.add_vectors([0, 1, 2, 3], rows(4, seed=1), version=NEW)
    return collection


def of(docs: Collection, name: str) -> Collection:
    return docs.scoped(tenant == name)


def served(docs: Collection, **options: Any) -> set[str]:
    return {hit.version for hit in docs.search(QUERY, k=10, **options)}


def test_a_tenant_is_cut_over_by_itself_and_back(docs: Collection) -> None:
    acme, globex = of(docs, "acme"), of(docs, "globex")
    with pytest.raises(vstore.GateError, match="coverage 0"):
        globex.routes.cutover(NEW)
    acme.routes.cutover(NEW, reason="acme goes first", by="ada")
    assert served(acme) == served(docs, where=tenant == "acme") == {NEW}
    assert served(globex) == served(docs) == {OLD}
    assert (acme.routes.current.version, acme.routes.current.reason, acme.routes.current.by) == (
        NEW,
        "acme goes first",
        "ada",
    )
    assert docs.routes.current.version == globex.routes.current.version == OLD
    assert set(docs.routes) == {"", "tenant=acme"}
    newest = docs.store.history()[0]
    assert (newest.operation, newest.note) == (
        "cutover",
        f"{NEW} for tenant=acme, by ada: acme goes first",
    )
    before = docs.store.epoch
    acme.routes.rollback(reason="worse")
    assert docs.store.epoch == before + 1
    assert served(acme) == {OLD}


def test_the_filter_says_whose_route_it_is_only_where_it_says_so_outright(docs: Collection) -> None:
    of(docs, "acme").routes.cutover(NEW)
    year = vstore.field("year") < 9
    assert served(docs, where=(tenant == "acme") & year) == {NEW}
    assert served(docs, where=tenant.is_in(["acme"])) == {NEW}
    assert served(docs, where={"field": "tenant", "op": "==", "value": "acme"}) == {NEW}
    assert served(docs, where=(tenant == "acme") | year) == {OLD}
    assert served(docs, where=~(tenant == "globex")) == {OLD}
    assert served(docs.scoped(year), where=tenant == "acme") == {NEW}
    assert "the route of tenant=acme" in docs.explain(QUERY, where=tenant == "acme").plan.reason


def test_a_tenant_may_follow_the_default_again(docs: Collection) -> None:
    acme = of(docs, "acme")
    with pytest.raises(vstore.StateError, match="no route of its own"):
        acme.routes.follow_default()
    acme.routes.cutover(NEW)
    with pytest.raises(vstore.StateError, match="serves for tenant=acme"):
        docs.routes.retire(NEW)
    acme.routes.follow_default(reason="all the same")
    assert set(docs.routes) == {""}
    assert served(acme) == {OLD}


def test_only_one_field_has_routes_and_a_scope_names_one_value(docs: Collection) -> None:
    of(docs, "acme").routes.cutover(NEW)
    before = docs.store.epoch
    with pytest.raises(vstore.InvalidArgumentError, match="region and of tenant"):
        docs.scoped(vstore.field("region") == "eu").routes.cutover(
            NEW, gates=vstore.Gates(coverage=0)
        )
    for scope in ((tenant == "acme") & (tenant == "globex"), vstore.field("year") == 3):
        with pytest.raises(vstore.InvalidArgumentError, match="one value of one keyword field"):
            docs.scoped(scope).routes.cutover(NEW, gates=vstore.Gates(coverage=0))
    assert docs.store.epoch == before


def test_a_rollback_says_what_the_older_version_lacks(docs: Collection) -> None:
    acme = of(docs, "acme")
    acme.routes.cutover(NEW)
    acme.upsert([100], vectors={NEW: rows(1)}, metadata=[{"tenant": "acme"}])
    assert acme.routes.rollback() == vstore.Coverage(fresh=4, live=5)
    assert [document.id for document in acme.migration.pending(OLD)] == [100]


def test_a_canary_sends_the_same_key_the_same_way(docs: Collection) -> None:
    docs.migration.backfill(NEW, lambda batch: rows(len(batch), seed=2))
    docs.routes.set(vstore.Canary(NEW, percent=30), reason="try")
    keys = [f"user-{i}" for i in range(400)]
    batch = {label: np.repeat(vector[None], 400, axis=0) for label, vector in QUERY.items()}
    results = docs.search_batch(batch, k=3, keys=keys)
    new = [result.hits[0].version == NEW for result in results]
    assert 0.2 < np.mean(new) < 0.4
    for key, went_new in list(zip(keys, new, strict=True))[:50]:
        assert docs.search(QUERY, k=3, key=key).hits[0].version == (NEW if went_new else OLD)
    again = docs.search_batch(batch, k=3, keys=keys)
    assert [result.ids for result in again] == [result.ids for result in results]
    with pytest.raises(vstore.InvalidArgumentError, match="one for each"):
        docs.search_batch(batch, k=3, keys=keys[:2])
    docs.routes.set(vstore.Canary(NEW, percent=60))  # whoever was there stays there
    wider = [r.hits[0].version == NEW for r in docs.search_batch(batch, k=3, keys=keys)]
    assert all(now or not before for now, before in zip(wider, new, strict=True))
    docs.routes.rollback()
    assert docs.routes.current.version == OLD
    assert docs.store.metrics().to_dict()["mixed_version_rate"] == {"explicit": 0.0, "silent": 0.0}


def test_a_canary_without_a_vector_for_its_side_says_which_is_missing(docs: Collection) -> None:
    docs.routes.set(vstore.Canary(NEW, percent=100))
    with pytest.raises(vstore.MissingQueryVectorError) as caught:
        docs.search({OLD: axis(0)})
    assert caught.value.version == NEW
    docs.routes.set(vstore.Canary(NEW, percent=0))
    assert served(docs) == {OLD}


def test_a_shadow_changes_no_answer_and_keeps_a_comparison(docs: Collection) -> None:
    docs.migration.backfill(NEW, lambda batch: rows(len(batch), seed=2))
    plain = [result.ids for result in docs.search_batch({OLD: rows(20), NEW: rows(20)}, k=5)]
    docs.routes.shadow(NEW, percent=100, reason="look at it first")
    shadowed = [result.ids for result in docs.search_batch({OLD: rows(20), NEW: rows(20)}, k=5)]
    assert shadowed == plain
    docs.search({OLD: axis(0)}, k=5)  # no vector for the shadow
    (report,) = docs.routes.shadow_reports
    assert (report.key.served, report.key.shadow) == (OLD, NEW)
    assert (report.queries, report.missing) == (20, 1)
    other = docs.search_batch(rows(20), version=NEW, k=5)
    common = [len(set(mine) & set(r.ids)) / 5 for mine, r in zip(plain, other, strict=True)]
    assert report.overlap == pytest.approx(np.mean(common))
    assert -1 <= report.rank_correlation <= 1
    assert report.shadow_s > 0
    assert report.to_dict()["shadow"] == NEW
    with pytest.raises(vstore.StateError, match="serves"):
        docs.routes.retire(NEW)
    docs.routes.shadow(None)
    docs.search(QUERY, k=5)
    assert docs.routes.shadow_reports[0].queries == 20


def test_routes_survive_reopening_and_vacuum(docs: Collection, tmp_path: Any) -> None:
    with vstore.open(tmp_path / "s.vstore") as store:
        copy = store.create_collection("docs", fields={"tenant": "keyword"})
        copy.create_version(OLD, spec())
        copy.create_version(NEW, spec("model-new"))
        metadata = [{"tenant": "acme"}]
        copy.upsert(["a"], vectors={OLD: rows(1), NEW: rows(1)}, metadata=metadata)
        of(copy, "acme").routes.cutover(NEW, by="ada")
        copy.routes.shadow(NEW, percent=10)
        store.vacuum()
        routes = dict(copy.routes)
    with vstore.open(tmp_path / "s.vstore", mode="r") as store:
        assert store.collection("docs").routes == routes
        assert routes["tenant=acme"].evidence[0].gate == "coverage"
        assert store.check().ok
