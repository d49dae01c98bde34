"""Gates of a cutover: what each measures, per tenant too; and dual-write policies."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

import vstore
from tests.small_store import NEW, OLD, axis, rows, spec, store_in
from vstore.manifest.commit import Operation
from vstore.manifest.edits import put_collection
from vstore.manifest.hits import Hits, plain_hits
from vstore.manifest.job_state import DeadLetter
from vstore.manifest.record import append_record

if TYPE_CHECKING:
    from collections.abc import Callable

    from vstore import Collection, Gates
    from vstore.manifest.state import CollectionState

COUNT = 40


@pytest.fixture
def docs() -> Collection:
    """Make documents of two tenants, all migrated but the last two of globex."""
    collection = store_in().create_collection("docs", fields={"tenant": "keyword"})
    collection.create_version(OLD, spec())
    collection.create_version(NEW, spec("model-new"))
    ids = list(range(COUNT))
    metadata = [{"tenant": "acme" if i < COUNT / 2 else "globex"} for i in ids]
    collection.upsert(ids, texts=list(map(str, ids)), metadata=metadata, vectors={OLD: rows(COUNT)})
    collection.add_vectors(ids[:-2], rows(COUNT - 2, seed=1), version=NEW)
    return collection


def edit(docs: Collection, change: Callable[[CollectionState], CollectionState]) -> None:
    docs.store._open_file.change(
        lambda state: put_collection(state, change(state.collections["docs"])), Operation("test")
    )


def found(docs: Collection, gates: Gates) -> dict[str, tuple[float, bool]]:
    return {gate.name: (gate.measured, gate.passed) for gate in docs.routes.check_gates(NEW, gates)}


def test_checking_gates_changes_nothing_and_a_cutover_keeps_them(docs: Collection) -> None:
    gates = vstore.Gates(coverage=0.95, stale=0.0)
    before = docs.store.epoch
    expected = {"coverage": (0.95, True), "stale": (0.0, True)}
    assert found(docs, gates) == expected
    assert docs.store.epoch == before
    docs.routes.cutover(NEW, gates=gates, reason="good enough")
    kept = {one.gate: (one.measured, one.passed) for one in docs.routes.current.evidence}
    assert kept == expected
    assert not docs.routes.current.forced


def test_coverage_is_weighted_by_traffic(docs: Collection) -> None:
    assert docs.coverage(NEW, weighted=True).traffic_share == 0.95  # nothing was counted
    # Half of all hits are of one document that is not migrated.
    hits = Hits(np.array([0, COUNT - 1], np.uint32), np.array([50, 50], np.uint64))
    container = docs.store._open_file.container
    # In the writer's turn, which begins behind the last commit.
    edit(docs, lambda state: state._replace(hits=append_record(container, plain_hits(hits))))
    assert docs.coverage(NEW, weighted=True).traffic_share == 0.5
    gates = vstore.Gates(coverage=0.9, traffic_coverage=0.8)
    assert found(docs, gates)["traffic_coverage"] == (0.5, False)
    with pytest.raises(vstore.GateError, match=r"traffic_coverage 50\.00%, required 80\.00%"):
        docs.routes.cutover(NEW, gates=gates)
    acme = docs.scoped(vstore.field("tenant") == "acme")
    assert acme.coverage(NEW, weighted=True).traffic_share == 1.0
    docs.delete([1])
    docs.store.vacuum()  # which renumbers
    assert docs.coverage(NEW, weighted=True).traffic_share == 0.5
    assert docs.store.check().ok


def test_stale_documents_and_dead_letters_are_counted(docs: Collection) -> None:
    docs.upsert([0, 1], texts=["changed", "changed"])
    revision = [docs.get(i).revision for i in (0, COUNT - 1)]  # type: ignore[union-attr]
    docs.migration.backfill(NEW, lambda batch: rows(len(batch)), batches_max=0)
    dead = (
        DeadLetter(COUNT - 1, revision[1], 3, 0, "refused"),
        DeadLetter(0, revision[0] - 1, 3, 0, "of an older revision: to be tried again"),
    )
    edit(docs, lambda state: state._replace(jobs={NEW: state.jobs[NEW]._replace(dead=dead)}))
    gates = vstore.Gates(coverage=0.5, stale=0.01, dead_letters=0)
    assert found(docs, gates)["stale"] == (2 / COUNT, False)
    assert found(docs, gates)["dead_letters"] == (1, False)
    with pytest.raises(vstore.GateError, match="dead_letters 1, required at most 0"):
        docs.routes.cutover(NEW, gates=gates)
    docs.upsert([COUNT - 1], texts=["mended"])
    assert found(docs, gates)["dead_letters"] == (0, True)


def test_recall_of_the_graph_is_a_gate(docs: Collection) -> None:
    assert found(docs, vstore.Gates(coverage=0, recall=0.99))["recall"] == (1.0, True)


def judged(*, good: str, bad: str, margin: float = 0.01) -> vstore.Judged:
    """Return queries that one version answers right and the other wrong: vectors of documents."""
    vectors = {OLD: rows(COUNT), NEW: rows(COUNT - 2, seed=1)}
    right, wrong = np.arange(20), np.arange(20)[::-1]
    queries = {good: vectors[good][right], bad: vectors[bad][wrong]}
    return vstore.Judged(queries, [{i: 1.0} for i in right.tolist()], margin=margin)


def test_a_version_that_finds_less_does_not_pass_the_quality_gate(docs: Collection) -> None:
    worse = vstore.Gates(coverage=0.9, quality=judged(good=OLD, bad=NEW))
    measured, passed = found(docs, worse)["quality"]
    assert not passed
    assert measured < -0.2
    with pytest.raises(vstore.GateError, match=r"nDCG@10 1\.0000 -> 0"):
        docs.routes.cutover(NEW, gates=worse)
    docs.routes.cutover(
        NEW, gates=worse, force=True, reason="the old model is switched off", by="ada"
    )
    assert (docs.routes.current.forced, docs.routes.current.by) == (True, "ada")
    assert [one.gate for one in docs.routes.current.evidence if not one.passed] == ["quality"]


def test_a_version_that_finds_more_passes(docs: Collection) -> None:
    docs.routes.cutover(NEW, gates=vstore.Gates(coverage=0.9, quality=judged(good=NEW, bad=OLD)))
    assert docs.routes.current.version == NEW


def test_judged_queries_of_one_version_only_are_no_gate(docs: Collection) -> None:
    one = vstore.Judged({NEW: rows(2)}, [{0: 1.0}, {1: 1.0}])
    with pytest.raises(vstore.InvalidArgumentError, match=f"no queries for '{OLD}'"):
        docs.routes.check_gates(NEW, vstore.Gates(quality=one))
    uneven = vstore.Judged({NEW: rows(2), OLD: rows(3)}, [{0: 1.0}, {1: 1.0}])
    with pytest.raises(vstore.InvalidArgumentError, match="as many queries"):
        docs.routes.check_gates(NEW, vstore.Gates(quality=uneven))


# Dual-write.


def test_a_write_without_a_versions_vectors_is_refused_if_they_are_required(
    docs: Collection,
) -> None:
    docs.migration.backfill(NEW, lambda batch: rows(len(batch)), batches_max=0)  # a job is open
    docs.migration.set_dual_write("require", reason="nothing may be missing")
    before = docs.store.epoch
    with pytest.raises(vstore.MissingVectorsError, match=NEW) as caught:
        docs.upsert(["x", "y"], vectors={OLD: rows(2)})
    assert caught.value.missing == {NEW: 2}
    assert docs.store.epoch == before
    assert docs.get("x") is None
    with docs.store.transaction() as tx:  # both, in one transaction
        tx.upsert(docs, ["x"], texts=["x"], vectors={OLD: rows(1)})
        tx.add_vectors(docs, ["x"], rows(1), version=NEW)
    docs.update_metadata(["x"], [{"tenant": "acme"}])  # needs no vectors
    docs.delete([3])
    with pytest.raises(vstore.MissingVectorsError):
        docs.upsert([4], texts=["changed"])


def test_after_a_cutover_the_old_version_is_required_until_it_is_retired(
    docs: Collection,
) -> None:
    docs.migration.set_dual_write("require")
    docs.routes.cutover(NEW, gates=vstore.Gates(coverage=0.9))
    with pytest.raises(vstore.MissingVectorsError, match=OLD):
        docs.upsert(["x"], vectors={NEW: rows(1)})
    docs.upsert(["x"], vectors={NEW: axis(0)[None], OLD: axis(1)[None]})
    docs.routes.rollback()
    assert docs.search(axis(1), version=OLD, k=1).ids == ["x"]
    docs.routes.cutover(NEW, gates=vstore.Gates(coverage=0.9))
    docs.routes.retire(OLD)
    docs.upsert(["y"], vectors={NEW: rows(1)})


def test_a_queue_opens_the_backfill_with_the_write(docs: Collection) -> None:
    docs.routes.cutover(NEW, gates=vstore.Gates(coverage=0.9))
    docs.migration.set_dual_write("queue")
    assert docs.versions[OLD].backfill is None
    before = docs.store.epoch
    docs.upsert(["x"], texts=["x"], vectors={NEW: rows(1)})
    assert docs.store.epoch == before + 1
    job = docs.versions[OLD].backfill
    assert job is not None
    assert job.status == "open"
    assert [document.id for document in docs.migration.pending(OLD)] == ["x"]


def test_a_policy_is_one_of_three(docs: Collection) -> None:
    with pytest.raises(vstore.InvalidArgumentError, match="allow, queue, require"):
        docs.migration.set_dual_write("never")  # type: ignore[arg-type]
    assert docs.migration.dual_write == "allow"
