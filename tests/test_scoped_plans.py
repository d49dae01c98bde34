"""What a scoped handle shows of plans and versions does not depend on what is outside.

Two stores have the same documents of acme. Globex has some hundred documents in one; in the other
it has thousands with several chunks each, so that there are graphs, and segments that were merged.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, get_args

import pytest

import vstore
from tests.small_store import NEW, OLD, documents, rows, seal, spec
from vstore.fusions import BRIDGED, FusionName

if TYPE_CHECKING:
    from collections.abc import Callable

    from vstore import Collection
    from vstore.types import Array

MINE, FEW, MANY = 60, 300, 1_500
DIMENSION = 8
tenant = vstore.field("tenant")
RULES = [name for name in get_args(FusionName) if not name.startswith(BRIDGED) and name != "auto"]


def shared(outside: int) -> Collection:
    """Return a collection with acme's documents, always the same, and so many of globex."""
    docs = documents(
        old=spec("old", DIMENSION),
        new=spec("new", DIMENSION, "l2"),
        graph_rows_min=1_000,
    )
    chunks = 2 if outside == MANY else 1
    theirs = [f"globex {i}" for i in range(outside)]
    docs.upsert(
        theirs,
        texts=theirs,
        metadata=[{"tenant": "globex", "year": 1}] * outside,
        vectors={
            label: list(rows(outside * chunks, DIMENSION, seed=i).reshape(outside, chunks, -1))
            if chunks > 1
            else rows(outside, DIMENSION, seed=i)
            for i, label in enumerate((OLD, NEW))
        },
    )
    mine = [f"acme {i}" for i in range(MINE)]
    docs.upsert(
        mine,
        texts=mine,
        metadata=[{"tenant": "acme", "year": i} for i in range(MINE)],
        vectors={OLD: rows(MINE, DIMENSION, seed=3)},
    )
    docs.add_vectors(mine[: MINE // 2], rows(MINE // 2, DIMENSION, seed=4), version=NEW)
    if outside == MANY:
        seal(docs.store)
    docs.upsert(mine[:1], texts=["changed"])
    docs.migration.fit_bridge(OLD, NEW, kinds=("ridge",), min_recall=0)
    if outside == MANY:
        docs.store.optimize()
    return docs


@pytest.fixture(scope="module")
def both() -> tuple[Collection, Collection]:
    few, many = shared(FEW), shared(MANY)
    assert (few.versions[OLD].graphs, many.versions[OLD].graphs) == (0, 1)
    while few.store.epoch != many.store.epoch:  # optimize commits only where it builds a graph
        behind = min(few, many, key=lambda docs: docs.store.epoch)
        behind.migration.set_dual_write("allow" if behind.store.epoch % 2 else "queue")
    return few, many


def query() -> dict[str, Array]:
    return {OLD: rows(1, DIMENSION, seed=5)[0], NEW: rows(1, DIMENSION, seed=6)[0]}


SEARCHES: dict[str, dict[str, Any]] = {
    "matched": {"version": OLD},
    "many hits": {"version": OLD, "k": 50},
    "high recall": {"version": OLD, "recall": 0.99},
    "exact": {"version": OLD, "recall": 1},
    "by hand": {"version": OLD, "recall": vstore.EfSearch(500)},
    "filtered": {"version": OLD, "where": vstore.field("year") < 9},
    "of nothing": {"version": OLD, "where": tenant == "globex"},
    "new version": {"version": NEW},
    "cascade": {"read": vstore.Cascade(NEW, old=OLD)},
    **{f"dual by {rule}": {"read": vstore.Dual(NEW, OLD, rule)} for rule in RULES},
}
SHOWN: dict[str, Callable[[Collection], object]] = {
    "versions": lambda a: [[repr(one), one.to_dict()] for one in a.versions.values()],
    "coverage": lambda a: [a.coverage(label) for label in (OLD, NEW)],
    "weighted coverage": lambda a: a.coverage(NEW, weighted=True),
    "status": lambda a: a.migrate(OLD, NEW).status(),
    "plan of a migration": lambda a: a.migrate(OLD, NEW).plan(sample=0),
    "bridge": lambda a: a.explain({OLD: query()[OLD]}, read=vstore.Bridge(NEW, source=OLD)),
}


def search_of(acme: Collection, options: dict[str, Any]) -> list[object]:
    result = acme.search(query(), **options)
    planned = acme.explain(query(), **options)
    run = acme.explain(query(), analyze=True, **options)
    batch = acme.search_batch({label: one[None] for label, one in query().items()}, **options)
    trace = result.trace
    return [
        *(planned, str(planned), planned.to_dict(), str(run), run.to_dict()),
        *(result.plan, result.explain(), trace, trace.actuals(), len(result), result.to_dict()),
        *(batch[0].explain(), batch[0].trace),
    ]


for name, options in SEARCHES.items():
    SHOWN[name] = lambda a, options=options: search_of(a, options)  # type: ignore[misc]


@pytest.mark.parametrize("name", SHOWN)
def test_what_is_shown_inside_a_scope_is_the_same_whatever_is_outside(
    both: tuple[Collection, Collection], name: str
) -> None:
    few, many = (
        re.sub(r"(seconds|'ms'|ms|\w*_us'?)(=|: |': )[\d.e-]+", "", repr(SHOWN[name](acme)))
        for acme in (docs.scoped(tenant == "acme") for docs in both)
    )
    assert many == few
    assert "segment@" not in many


def test_a_scoped_plan_counts_what_is_inside(both: tuple[Collection, Collection]) -> None:
    acme = both[1].scoped(tenant == "acme")
    plan = acme.explain(query(), version=NEW, where=vstore.field("year") < 9).plan
    assert type(plan).__name__ == "ScopedSearch"
    assert (plan.rows, plan.matches, plan.k) == (MINE // 2 - 1, 8, 10)  # type: ignore[union-attr]
    info = acme.versions[OLD]
    assert (info.rows, info.segments, info.graphs) == (MINE - 1, None, None)
    assert info.size_bytes == (MINE - 1) * DIMENSION * 4
    assert acme.search(query(), version=NEW).trace.segments == {NEW: ()}
