"""The gates of a tenant's cutover ask with the tenant's vectors, and among its documents alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import vstore
from tests.small_store import NEW, OLD, documents, rows, spec
from vstore.guarding import spec_check as guard

if TYPE_CHECKING:
    from vstore.types import Array

DIMENSION, COUNT = 24, 12_000
FEW = 60  # documents of acme, which a scan finds exactly
tenant = vstore.field("tenant")


@pytest.fixture(scope="module")
def docs() -> vstore.Collection:
    """Make a collection with a graph, and a tenant of few documents in it."""
    made = documents(
        old=spec(dimension=DIMENSION),
        new=spec("model-new", DIMENSION),
        M=8,
        ef_construction=40,
        graph_rows_min=1_000,
    )
    metadata = [{"tenant": "acme" if i % (COUNT // FEW) == 0 else "globex"} for i in range(COUNT)]
    vectors = {OLD: rows(COUNT, DIMENSION), NEW: rows(COUNT, DIMENSION, seed=1)}
    made.upsert(range(COUNT), vectors=vectors, metadata=metadata)
    made.store.optimize()
    assert made.versions[NEW].graphs == 1
    return made


def measured(docs: vstore.Collection, name: str, gates: vstore.Gates) -> vstore.GateResult:
    return next(gate for gate in docs.routes.check_gates(NEW, gates) if gate.name == name)


def test_the_recall_of_a_tenant_is_measured_among_its_documents(docs: vstore.Collection) -> None:
    gates = vstore.Gates(recall=0.5)
    assert measured(docs, "recall", gates).measured < 1  # by the graph
    assert measured(docs.scoped(tenant == "acme"), "recall", gates).measured == 1  # by a scan


@pytest.mark.parametrize("name", ["acme", "globex"])
def test_the_sample_is_of_the_tenant_s_vectors(
    docs: vstore.Collection, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine = docs.scoped(tenant == name)
    own = {vector.tobytes() for *_, vectors in mine.vectors(NEW) for vector in vectors}
    asked: list[bytes] = []
    check = guard.check_queries

    def recording(version: Any, queries: Array, *rest: Any, **more: Any) -> Array:
        checked = check(version, queries, *rest, **more)
        asked.extend(vector.tobytes() for vector in checked)
        return checked

    monkeypatch.setattr(guard, "check_queries", recording)
    measured(mine, "recall", vstore.Gates(recall=0.5))
    assert len(set(asked)) >= min(len(own), 50)
    assert set(asked) <= own


def test_the_quality_of_a_tenant_is_measured_among_its_documents() -> None:
    """Globex has documents at each of acme's queries in the new version, and far off in the old."""
    docs = documents(old=spec(dimension=DIMENSION), new=spec("model-new", DIMENSION))
    queries = rows(30, DIMENSION, seed=2)
    far = -np.repeat(queries, 12, axis=0)
    docs.upsert(
        [f"acme {i}" for i in range(30)],
        vectors={OLD: queries, NEW: queries + 0.3 * rows(30, DIMENSION, seed=3)},
        metadata=[{"tenant": "acme"}] * 30,
    )
    docs.upsert(
        [f"globex {i}" for i in range(len(far))],
        vectors={OLD: far, NEW: -far},
        metadata=[{"tenant": "globex"}] * len(far),
    )
    judged = vstore.Judged(
        {OLD: queries, NEW: queries}, [{f"acme {i}": 1.0} for i in range(30)], k=10
    )
    gates = vstore.Gates(quality=judged)
    everybody = measured(docs, "quality", gates)
    assert not everybody.passed
    assert "1.0000 -> 0.0000" in everybody.detail
    mine = measured(docs.scoped(tenant == "acme"), "quality", gates)
    assert mine.passed
    assert "1.0000 -> 1.0000" in mine.detail
    docs.scoped(tenant == "acme").routes.cutover(NEW, gates=gates)
    with pytest.raises(vstore.GateError):
        docs.routes.cutover(NEW, gates=gates)


def test_coverage_stale_and_dead_letters_are_the_tenant_s() -> None:
    docs = documents(new=spec("model-new"))
    metadata = [{"tenant": "acme" if i < 4 else "globex"} for i in range(10)]
    texts = [f"text {i}" for i in range(10)]
    docs.upsert(range(10), texts=texts, vectors={OLD: rows(10)}, metadata=metadata)
    docs.add_vectors(range(6), rows(6, seed=1), version=NEW)
    docs.upsert([4, 5], texts=["changed", "changed"])

    def embed(batch: Any) -> Array:
        if any(document.id == 9 for document in batch):
            raise ValueError("not this one")
        return rows(len(batch))

    docs.migrate(OLD, NEW, embed, calls=vstore.Calls(batch_size=2)).run(batches_max=0)
    gates = vstore.Gates(coverage=1.0, stale=0.0, dead_letters=0)
    found = {
        g.name: g.measured for g in docs.scoped(tenant == "acme").routes.check_gates(NEW, gates)
    }
    assert (found["coverage"], found["stale"]) == (1.0, 0.0)
    found = {
        g.name: g.measured for g in docs.scoped(tenant == "globex").routes.check_gates(NEW, gates)
    }
    assert (found["coverage"], found["stale"]) == (0.0, 2 / 6)
    docs.migrate(
        OLD, NEW, embed, calls=vstore.Calls(batch_size=2), caps=vstore.Caps(failures=5)
    ).run()
    letters = [
        measured(docs.scoped(tenant == name), "dead_letters", gates).measured
        for name in ("acme", "globex")
    ]
    assert letters == [0, 1]
