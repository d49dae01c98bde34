"""A plan names the depth and the documents that each version is asked for, and they are asked."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, get_args

import pytest

import vstore
from tests.small_store import NEW, OLD, documents, rows, seal, spec
from vstore.fusions import BRIDGED, FusionName
from vstore.query.plan import DualRead, FlatScan, Rerank, ScopedSearch, children, scans

if TYPE_CHECKING:
    from vstore.query.plan import PlanNode

COUNT, MIGRATED = 400, 250
GRAPH_ROWS = 3_000
RULES: tuple[FusionName, ...] = tuple(
    name for name in get_args(FusionName) if not name.startswith(BRIDGED) and name != "auto"
)
READS = [pytest.param(vstore.Dual(NEW, OLD, rule), id=rule) for rule in RULES]
READS.append(pytest.param(vstore.Cascade(NEW, old=OLD), id="cascade"))
FILTERS: dict[str, Any] = {
    "all": None,
    "many": vstore.field("year") < 5,
    "few": vstore.field("year") == 0,
    "none": vstore.field("year") == 99,
}


def half_migrated(
    count: int = COUNT, migrated: int = MIGRATED, **options: Any
) -> vstore.Collection:
    """Make a collection whose first documents have new vectors, the very first stale ones."""
    docs = documents(old=spec("old", 8), new=spec("new", 12, "l2"), **options)
    years = [{"year": i % 50, "tenant": "ab"[i % 2]} for i in range(count)]
    docs.upsert(
        list(range(count)),
        texts=[str(i) for i in range(count)],
        metadata=years,
        vectors={OLD: rows(count, 8)},
    )
    docs.add_vectors(list(range(migrated)), rows(migrated, 12), version=NEW)
    docs.upsert([0], texts=["changed"], vectors={OLD: rows(1, 8)})
    docs.delete([1])
    return docs


def question() -> dict[str, Any]:
    return {OLD: rows(1, 8, seed=1)[0], NEW: rows(1, 12, seed=1)[0]}


def expected(plan: PlanNode) -> dict[str, int]:
    """Return how many documents a plan of scans says that each version gives."""
    leaves = scans(plan)
    assert {type(leaf) for leaf in leaves} <= {FlatScan, ScopedSearch}
    return {
        leaf.version: min(leaf.k, leaf.rows if leaf.matches is None else leaf.matches)
        for leaf in leaves
    }


@pytest.fixture(scope="module", params=["in the memtable", "sealed"])
def docs(request: pytest.FixtureRequest) -> vstore.Collection:
    made = half_migrated()
    if request.param == "sealed":
        seal(made.store)
    return made


@pytest.mark.parametrize("where", FILTERS)
@pytest.mark.parametrize("read", READS)
def test_each_version_gives_as_many_documents_as_its_plan_says(
    docs: vstore.Collection, read: vstore.Dual | vstore.Cascade, where: str
) -> None:
    for handle in (docs, docs.scoped(vstore.field("tenant") == "a")):
        for k in (1, 10, 120):
            options: dict[str, Any] = {"read": read, "k": k, "where": FILTERS[where]}
            result = handle.search(question(), **options)
            found, planned = dict(result.trace.fetched), expected(result.plan)
            if isinstance(read, vstore.Cascade):
                assert result.trace.answered.get(NEW, 0) <= found.pop(NEW)
            assert found == planned
            explained = handle.explain(question(), analyze=True, **options)
            assert explained.plan == result.plan == handle.explain(question(), **options).plan
            assert explained.actuals is not None
            assert explained.actuals["fetched"] == result.trace.fetched


@pytest.mark.parametrize("rule", RULES)
def test_a_read_of_two_versions_says_which_documents_each_ranks(rule: FusionName) -> None:
    docs = half_migrated()
    plan = docs.explain(question(), read=vstore.Dual(NEW, old=OLD, fusion=rule)).plan
    assert isinstance(plan, DualRead)
    old, new = scans(plan)
    assert new.matches is None or new.matches == MIGRATED - 2
    is_split = rule == "rrf"
    assert old.matches == (COUNT - MIGRATED + 1 if is_split else None)
    assert ("documents that are not migrated" in old.reason) == is_split


@pytest.mark.parametrize("where", ["all", "many"])
@pytest.mark.parametrize("read", READS)
def test_the_graph_of_each_version_is_asked_as_its_plan_says(
    read: vstore.Dual | vstore.Cascade, where: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from vstore.native import loader
    from vstore.query import fetching

    if loader.kernels(wait=True) is None:
        pytest.skip(f"no machine code here: {loader.status()['reason']}")
    docs = half_migrated(GRAPH_ROWS, 2 * GRAPH_ROWS // 3, graph_rows_min=1_000)
    docs.store.optimize()
    asked = []
    plain = fetching.GraphPart.fetch

    def watched(part: Any, queries: Any) -> Any:
        asked.append(
            (part._read.table.label, part._question.ef, part._question.keep, part._question.k)
        )
        return plain(part, queries)

    monkeypatch.setattr(fetching.GraphPart, "fetch", watched)
    result = docs.search(
        question(),
        read=read,
        where=FILTERS[where],
        recall=vstore.EfSearch(200),
    )
    planned = [
        (one.child.version, getattr(one.child, "ef", 0), one.candidates, one.child.k)
        for one in reranked(result.plan)
    ]
    assert planned or where != "all"
    assert asked == planned


def reranked(plan: PlanNode) -> list[Rerank]:
    if isinstance(plan, Rerank):
        return [plan]
    return [found for child in children(plan) for found in reranked(child)]
