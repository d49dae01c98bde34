"""Filters and scopes through the store: always min(k, matches) hits, and never a step outside."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import vstore
from tests.small_store import NEW, OLD, axis, contents, documents, rows, seal, spec, store_in

if TYPE_CHECKING:
    from collections.abc import Callable

COUNT = 400


@pytest.fixture(scope="module", params=["memtable", "sealed", "both", "chunks"])
def many(request: pytest.FixtureRequest) -> vstore.Collection:
    """Make documents of which year < n passes n, some deleted and some stale among them."""
    docs = documents()
    several = request.param == "chunks"
    vectors: Any = rows(2 * COUNT)
    docs.upsert(
        list(range(COUNT)),
        metadata=[{"year": year, "tenant": "abc"[year % 3]} for year in range(COUNT)],
        texts=[str(year) for year in range(COUNT)],
        vectors={OLD: list(vectors.reshape(COUNT, 2, 4)) if several else vectors[:COUNT]},
    )
    if request.param in ("sealed", "both"):
        seal(docs.store)
    docs.delete([3, 150])
    docs.upsert([5, 151], texts=["changed", "changed"])  # no vectors: nothing may serve them
    if request.param == "sealed":
        seal(docs.store)
    return docs


@pytest.mark.parametrize("matches", [0, 1, 2, 4, 6, 10, 20, 21, 100, 200, 399, 400])
@pytest.mark.parametrize("k", [1, 5, 50, 1000])
def test_min_of_k_and_matches_hits_come_back(many: vstore.Collection, matches: int, k: int) -> None:
    where = vstore.field("year") < matches
    passing = [year for year in range(matches) if year not in (3, 5, 150, 151)]
    result = many.search(axis(0), version=OLD, k=k, where=where)
    assert len(result) == min(k, len(passing))
    assert set(result.ids) <= set(passing)
    assert len(set(result.ids)) == len(result)
    everything = many.search(axis(0), version=OLD, k=COUNT)
    assert result.ids == [id_ for id_ in everything.ids if id_ in set(passing)][:k]
    assert result.trace.matches == len([y for y in range(matches) if y not in (3, 150)])


def test_each_query_of_a_batch_is_filtered(many: vstore.Collection) -> None:
    where = (vstore.field("tenant") == "a") & (vstore.field("year") < 50)
    queries = rows(9, seed=5)
    together = many.search_batch(queries, version=OLD, k=4, where=where)
    for query, result in zip(queries, together, strict=True):
        alone = many.search(query, version=OLD, k=4, where=where)
        assert [(hit.id, hit.score) for hit in result] == [(hit.id, hit.score) for hit in alone]
        assert {hit.metadata["tenant"] for hit in result} == {"a"}


def test_a_filter_as_a_dict_is_the_same_filter(many: vstore.Collection) -> None:
    built = (vstore.field("year") >= 390) & ~(vstore.field("tenant") == "b")
    written = {
        "and": [
            {"field": "year", "op": ">=", "value": 390},
            {"field": "tenant", "op": "!=", "value": "b"},
        ]
    }
    assert many.ids(built) == many.ids(written) == many.ids(vstore.filter_to_dict(built))
    assert (
        many.search(axis(0), version=OLD, where=built).ids
        == many.search(axis(0), version=OLD, where=written).ids
    )


@pytest.mark.parametrize(
    "where",
    [
        vstore.field("yaer") == 1,
        vstore.field("year") == "1",
        vstore.field("tenant") > 1,
        {"field": "year", "op": "=", "value": 1},
        {"field": "year", "op": "==", "value": 1, "extra": 2},
        {"year": 1},
        {},
        "year == 1",
        42,
    ],
)
def test_a_filter_that_does_not_fit_is_an_error_wherever_it_is_given(where: Any) -> None:
    docs = documents()
    docs.upsert(["a"], metadata=[{"year": 1}], vectors={OLD: rows(1)})
    before = contents(docs)
    calls: list[Callable[[], object]] = [
        lambda: docs.search(axis(0), version=OLD, where=where),
        lambda: docs.explain(axis(0), version=OLD, where=where),
        lambda: docs.ids(where),
        lambda: list(docs.documents(where)),
        lambda: list(docs.vectors(OLD, where)),
        lambda: docs.coverage(OLD, where),
        lambda: docs.delete(where=where),
        lambda: docs.scoped(where),
    ]
    for call in calls:
        with pytest.raises(vstore.FilterError):
            call()
    assert contents(docs) == before


@pytest.fixture
def shared() -> vstore.Collection:
    """Make two tenants' documents, the other one's nearer to the query."""
    docs = documents(new=spec("model-new"))
    docs.upsert(
        ["mine", "mine too", "theirs", "nobody's"],
        texts=["one", "two", "three", "four"],
        metadata=[{"tenant": "me"}, {"tenant": "me"}, {"tenant": "them"}, {}],
        vectors={OLD: np.eye(4)[::-1], NEW: np.eye(4)},
    )
    return docs


@pytest.fixture
def mine(shared: vstore.Collection) -> vstore.Collection:
    return shared.scoped(vstore.field("tenant") == "me")


def test_a_scoped_handle_reads_only_what_is_inside(mine: vstore.Collection) -> None:
    inside: list[str | int] = ["mine", "mine too"]
    assert len(mine) == 2
    assert mine.ids() == inside
    assert mine.ids(vstore.field("tenant") == "them") == []
    assert [document.id for document in mine.documents()] == inside
    assert [document and document.id for document in mine.get_many(["mine", "theirs"])] == [
        "mine",
        None,
    ]
    assert mine.get("nobody's") is None
    assert "theirs" not in mine
    with pytest.raises(vstore.NotFoundError):
        mine.get_vectors("theirs", OLD)
    with pytest.raises(vstore.NotFoundError):
        mine.get_vectors("theirs", OLD)[0]
    assert [id_ for ids, _, _, _ in mine.vectors(OLD) for id_ in ids] == inside
    assert mine.coverage(OLD) == vstore.Coverage(2, 2)
    assert mine.migration.pending(OLD) == []


def test_a_scoped_handle_finds_only_what_is_inside(mine: vstore.Collection) -> None:
    queries = {OLD: axis(1), NEW: axis(2)}  # both nearest to what is outside
    assert mine.search(queries[OLD], version=OLD).ids == ["mine", "mine too"]
    other = vstore.field("tenant") == "them"
    assert mine.search(queries[OLD], version=OLD, where=other).ids == []
    for fusion in ("slots", "evidence", "imputed", "rrf"):
        result = mine.search(queries, read=vstore.Dual(NEW, old=OLD, fusion=fusion))
        assert set(result.ids) == {"mine", "mine too"}, fusion
    for batch in mine.search_batch(np.eye(4), version=OLD):
        assert set(batch.ids) == {"mine", "mine too"}
    explained = str(mine.explain(queries[OLD], version=OLD))
    assert "tenant == 'me'" in explained
    assert "matches=2" in explained


def test_a_scoped_handle_writes_only_inside(
    mine: vstore.Collection, shared: vstore.Collection
) -> None:
    before = contents(shared)
    refused: list[Callable[[], object]] = [
        lambda: mine.upsert(["new"]),
        lambda: mine.upsert(["new"], metadata=[{"tenant": "them"}]),
        lambda: mine.upsert(["theirs"], texts=["stolen"]),
        lambda: mine.upsert(["theirs"], metadata=[{"tenant": "me"}]),
        lambda: mine.upsert(["mine"], metadata=[{}]),
        lambda: mine.upsert(["new", "mine"], metadata=[{"tenant": "me"}, {"tenant": "them"}]),
        lambda: mine.update_metadata(["mine"], [{"tenant": "them"}]),
        lambda: mine.update_metadata(["mine"], [{"tenant": None}]),
    ]
    for call in refused:
        with pytest.raises(vstore.ScopeError, match="scope: tenant == 'me'"):
            call()
    with pytest.raises(vstore.NotFoundError):
        mine.update_metadata(["theirs"], [{"year": 1}])
    with pytest.raises(vstore.NotFoundError):
        mine.add_vectors(["theirs"], rows(1), version=OLD)
    theirs = shared.get("theirs")
    assert theirs is not None
    late = mine.add_vectors(["theirs"], rows(1), revisions=[theirs.revision], version=OLD)
    assert late == vstore.VectorCounts(written=0, stale=1)
    assert mine.delete(["theirs", "nobody's"]) == vstore.DeleteCounts(deleted=0, missing=2)
    assert mine.delete(where=vstore.field("tenant") == "them").deleted == 0
    assert contents(shared) == before


def test_a_scoped_handle_does_write_inside(
    mine: vstore.Collection, shared: vstore.Collection
) -> None:
    mine.upsert(["new"], metadata=[{"tenant": "me"}], texts=["five"], vectors={OLD: rows(1)})
    mine.upsert(["mine"], texts=["changed"])
    mine.update_metadata(["mine too"], [{"year": 1}])
    assert mine.delete(where=vstore.field("year") == 1).deleted == 1
    assert mine.ids() == ["mine", "new"]
    assert shared.ids() == ["mine", "theirs", "nobody's", "new"]


def test_what_concerns_the_whole_collection_is_refused_through_a_scope(
    mine: vstore.Collection, shared: vstore.Collection
) -> None:
    shared.upsert(["mine"], texts=["changed"])
    shared.migration.backfill(OLD, lambda batch: rows(len(batch)), batches_max=0)  # a job that runs
    before = contents(shared)
    refused: list[Callable[[], object]] = [
        lambda: mine.add_field("lang", "keyword"),
        lambda: mine.create_version("third", spec("third")),
        lambda: mine.migration.backfill(OLD, lambda batch: rows(len(batch))),
        lambda: mine.routes.retire(NEW),
    ]
    for call in refused:
        with pytest.raises(vstore.InvalidArgumentError, match="scoped handle"):
            call()
    assert contents(shared) == before


def test_scopes_of_scopes_only_get_narrower(shared: vstore.Collection) -> None:
    narrow = shared.scoped(vstore.field("tenant") == "me").scoped(
        {"field": "tenant", "op": "==", "value": "them"}
    )
    assert narrow.ids() == []
    wide = shared.scoped(vstore.field("tenant") == "me").scoped(
        (vstore.field("tenant") == "me") | (vstore.field("tenant") == "them")
    )
    assert wide.ids() == ["mine", "mine too"]


def test_documents_leave_and_enter_a_scope_with_their_metadata(shared: vstore.Collection) -> None:
    recent = shared.scoped(vstore.field("year") >= 2020)
    assert recent.ids() == []
    shared.update_metadata(["theirs"], [{"year": 2021}])
    assert recent.ids() == ["theirs"]
    assert recent.search(axis(0), version=OLD).ids == ["theirs"]
    seal(shared.store)
    shared.update_metadata(["theirs"], [{"year": 2019}])
    assert recent.search(axis(0), version=OLD).ids == []


def test_a_scope_holds_in_a_transaction_too(
    mine: vstore.Collection, shared: vstore.Collection
) -> None:
    with shared.store.transaction() as tx:
        tx.update_metadata(shared, ["mine"], [{"tenant": "them"}])
        with pytest.raises(vstore.ScopeError):
            tx.upsert(mine, ["mine"], texts=["no longer mine"])
        assert tx.delete(mine, ["mine"]).deleted == 0
        tx.upsert(mine, ["mine too"], texts=["still mine"])
    assert mine.ids() == ["mine too"]


def test_a_scope_on_a_snapshot_reads_that_epoch() -> None:
    store = store_in()
    docs = documents(store)
    docs.upsert(["a", "b"], metadata=[{"year": 1}, {"year": 2}], vectors={OLD: rows(2)})
    then = store.snapshot().collection("docs").scoped(vstore.field("year") == 1)
    docs.upsert(["c"], metadata=[{"year": 1}], vectors={OLD: rows(1)})
    assert then.ids() == ["a"]
    with pytest.raises(vstore.ReadOnlyError):
        then.delete(["a"])
