"""Routes: cutover through its gate, dual routes, rollback, and moves that make no sense."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

import vstore
from tests.small_store import NEW, OLD, axis, documents, rows, spec, store_in

if TYPE_CHECKING:
    from collections.abc import Sequence

    from vstore.types import Array

QUERY = {OLD: axis(0), NEW: axis(1)}


def embed(batch: Sequence[vstore.Document]) -> Array:
    return rows(len(batch), seed=1)


@pytest.fixture
def docs() -> vstore.Collection:
    """Make ten documents, three of them migrated."""
    collection = documents(new=spec("model-new"))
    ids: list[str | int] = list(range(10))
    collection.upsert(ids, texts=[str(i) for i in ids], vectors={OLD: rows(10)})
    collection.add_vectors(NEW, [0, 1, 2], rows(3, seed=1))
    return collection


def states(docs: vstore.Collection) -> dict[str, str]:
    return {version.label: version.state for version in docs.versions}


def served_by(docs: vstore.Collection) -> set[str]:
    return {hit.version for hit in docs.search(QUERY, k=10)}


def test_the_first_version_serves_at_once() -> None:
    store = store_in()
    empty = store.create_collection("docs")
    with pytest.raises(vstore.StateError, match="no version"):
        empty.search({OLD: axis(0)})
    with pytest.raises(vstore.StateError, match="no version"):
        _ = empty.route
    with pytest.raises(vstore.StateError):
        empty.rollback()
    empty.create_version(OLD, spec())
    empty.create_version(NEW, spec("model-new"))
    assert (empty.route.mode, empty.route.version) == ("matched", OLD)
    assert states(empty) == {OLD: "serving", NEW: "declared"}


def test_a_migration_goes_through_its_states(docs: vstore.Collection) -> None:
    assert states(docs) == {OLD: "serving", NEW: "declared"}
    docs.backfill(NEW, embed, batch_size=3, batches_max=1)
    assert states(docs) == {OLD: "serving", NEW: "backfilling"}
    assert docs.backfill(NEW, embed).finished
    assert states(docs) == {OLD: "serving", NEW: "ready"}
    docs.cutover(NEW, reason="better")
    assert states(docs) == {OLD: "draining", NEW: "serving"}
    docs.retire(OLD, reason="no way back")
    assert states(docs) == {OLD: "retired", NEW: "serving"}
    with pytest.raises(vstore.StateError, match="nothing served before"):
        docs.rollback()


def test_the_gate_refuses_and_says_what_it_measured(docs: vstore.Collection) -> None:
    before = docs.store.epoch
    with pytest.raises(vstore.GateError, match=r"coverage 30\.00%, required 100\.00%") as caught:
        docs.cutover(NEW)
    assert caught.value.measured == {"coverage": 0.3}
    with pytest.raises(vstore.GateError):
        docs.cutover(NEW, min_coverage=0.31)
    assert docs.store.epoch == before
    assert served_by(docs) == {OLD}
    results = docs.cutover(NEW, min_coverage=0.3)
    assert [(gate.name, gate.measured, gate.passed) for gate in results] == [
        ("coverage", 0.3, True),
    ]
    assert not docs.route.forced
    assert served_by(docs) == {NEW}


@pytest.mark.parametrize("share", [-0.1, 1.1, float("nan")])
def test_a_share_is_between_0_and_1(docs: vstore.Collection, share: float) -> None:
    with pytest.raises(vstore.InvalidArgumentError, match="min_coverage"):
        docs.cutover(NEW, min_coverage=share)


def test_force_needs_a_reason_and_is_recorded(docs: vstore.Collection) -> None:
    with pytest.raises(vstore.InvalidArgumentError, match="reason"):
        docs.cutover(NEW, force=True)
    results = docs.cutover(NEW, force=True, reason="the old model is gone")
    assert not results[0].passed
    assert (docs.route.forced, docs.route.reason) == (True, "the old model is gone")
    newest = docs.store.history()[0]
    assert (newest.operation, newest.epoch) == ("cutover (forced)", docs.store.epoch)
    assert "the old model is gone" in newest.note
    assert "retired" not in states(docs).values()


def test_force_where_no_gate_fails_is_not_called_forced(docs: vstore.Collection) -> None:
    docs.backfill(NEW, embed)
    docs.cutover(NEW, force=True, reason="just to be sure")
    assert not docs.route.forced


def test_stale_and_deleted_documents_count_in_the_gate(docs: vstore.Collection) -> None:
    docs.backfill(NEW, embed)
    docs.upsert([0], texts=["changed"])
    with pytest.raises(vstore.GateError):
        docs.cutover(NEW)
    docs.delete([0])
    docs.cutover(NEW)


def test_rollback_returns_step_by_step_and_loses_nothing(docs: vstore.Collection) -> None:
    docs.create_version("third", spec("third"))
    docs.backfill(NEW, embed)
    docs.backfill("third", embed)
    docs.cutover(NEW)
    docs.cutover("third")
    docs.upsert(["late"], texts=["x"], vectors={OLD: rows(1), NEW: rows(1), "third": rows(1)})
    before = docs.store.epoch
    docs.rollback(reason="worse")
    assert (docs.route.version, docs.store.epoch) == (NEW, before + 1)
    assert docs.route.reason == "worse"
    docs.rollback()
    assert docs.route.version == OLD
    assert "late" in docs.search(QUERY, k=20).ids
    with pytest.raises(vstore.StateError, match="nothing served before"):
        docs.rollback()


def test_there_and_back_again(docs: vstore.Collection) -> None:
    docs.backfill(NEW, embed)
    docs.cutover(NEW)
    docs.cutover(OLD)
    assert docs.route.previous == (OLD, NEW)
    docs.rollback()
    assert docs.route.version == NEW
    docs.rollback()
    assert docs.route.version == OLD
    with pytest.raises(vstore.StateError):
        docs.rollback()


def test_the_chain_of_rollbacks_is_bounded(docs: vstore.Collection) -> None:
    docs.backfill(NEW, embed)
    for _ in range(20):
        docs.cutover(NEW)
        docs.cutover(OLD)
    assert len(docs.route.previous) == 16


def test_a_retired_version_leaves_the_chain(docs: vstore.Collection) -> None:
    docs.create_version("third", spec("third"))
    for label in (NEW, "third"):
        docs.backfill(label, embed)
        docs.cutover(label)
    docs.retire(NEW)
    docs.rollback()
    assert docs.route.version == OLD


def test_a_dual_route_reads_both_until_it_is_left(docs: vstore.Collection) -> None:
    docs.read_both(NEW, fusion="rrf", reason="compare")
    route = docs.route
    assert (route.mode, route.old_version, route.version, route.fusion) == (
        "dual",
        OLD,
        NEW,
        "rrf",
    )
    result = docs.search(QUERY, k=10)
    assert (result.trace.mode, served_by(docs)) == ("dual", {OLD, NEW})
    assert "fusion=rrf" in result.explain()
    assert "fusion=slots" in docs.search(QUERY, fusion="slots").explain()
    assert {hit.version for hit in docs.search(QUERY, version=OLD)} == {OLD}
    with pytest.raises(vstore.InvalidArgumentError, match=r"collapse=False.*one version"):
        docs.search(QUERY, collapse=False)
    with pytest.raises(vstore.InvalidArgumentError, match="fusion"):
        docs.search(QUERY, mode="matched", fusion="rrf")
    with pytest.raises(vstore.InvalidArgumentError, match="version="):
        docs.search(axis(0))
    docs.rollback(reason="no better")
    assert (docs.route.mode, docs.route.version, docs.route.previous) == ("matched", OLD, ())


def test_a_cutover_from_a_dual_read_can_be_rolled_back(docs: vstore.Collection) -> None:
    docs.read_both(NEW)
    docs.backfill(NEW, embed)
    docs.cutover(NEW)
    assert (docs.route.version, docs.route.previous) == (NEW, (OLD,))
    docs.rollback()
    assert docs.route.version == OLD


def test_ending_a_dual_read_in_favour_of_the_old_version_is_no_step(
    docs: vstore.Collection,
) -> None:
    docs.read_both(NEW)
    docs.cutover(OLD)
    assert (docs.route.version, docs.route.previous) == (OLD, ())
    with pytest.raises(vstore.StateError):
        docs.rollback()
    docs.retire(NEW)


def test_moves_that_make_no_sense_are_refused(docs: vstore.Collection) -> None:
    before = docs.store.epoch
    for call in (
        lambda: docs.cutover(OLD),
        lambda: docs.read_both(OLD),
        lambda: docs.retire(OLD),
    ):
        with pytest.raises(vstore.StateError, match="serves"):
            call()
    for unknown in (
        lambda: docs.cutover("nope"),
        lambda: docs.read_both("nope"),
        lambda: docs.retire("nope"),
        lambda: docs.backfill("nope", embed),
        lambda: docs.coverage("nope"),
        lambda: docs.pending("nope"),
        lambda: docs.version("nope"),
        lambda: docs.get_vectors(0, "nope"),
        lambda: docs.search(axis(0), version="nope"),
        lambda: docs.vectors("nope"),
    ):
        with pytest.raises(vstore.NotFoundError, match="nope"):
            unknown()
    with pytest.raises(vstore.InvalidArgumentError, match="fusion"):
        docs.read_both(NEW, fusion="best")  # type: ignore[arg-type]
    assert docs.store.epoch == before
    docs.read_both(NEW)
    with pytest.raises(vstore.StateError, match="serves"):
        docs.retire(NEW)
    with pytest.raises(vstore.StateError, match="serves"):
        docs.retire(OLD)


def test_writes_go_to_the_old_version_too_after_a_cutover(docs: vstore.Collection) -> None:
    docs.backfill(NEW, embed)
    docs.cutover(NEW)
    docs.upsert([0], texts=["changed"], vectors={OLD: axis(3)[None], NEW: axis(3)[None]})
    docs.rollback()
    assert docs.search(QUERY | {OLD: axis(3)}, k=1).ids == [0]


def test_an_empty_collection_is_covered() -> None:
    docs = documents(new=spec("model-new"))
    assert docs.coverage(NEW) == vstore.Coverage(0, 0)
    assert docs.coverage(NEW).complete
    report = docs.backfill(NEW, embed)
    assert (report.done, report.batches, report.finished) == (0, 0, True)
    docs.cutover(NEW)
    assert docs.search(QUERY).ids == []


def test_a_backfill_is_resumed_where_it_stopped(docs: vstore.Collection) -> None:
    seen: list[str | int] = []

    def failing(batch: Sequence[vstore.Document]) -> Array:
        if len(seen) >= 4:
            raise OSError("the provider is down")
        seen.extend(document.id for document in batch)
        return embed(batch)

    with pytest.raises(OSError, match="down"):
        docs.backfill(NEW, failing, batch_size=2)
    assert docs.coverage(NEW).fresh == 7
    seen_later: list[str | int] = []

    def recovered(batch: Sequence[vstore.Document]) -> Array:
        seen_later.extend(document.id for document in batch)
        return embed(batch)

    progress: list[tuple[int, int]] = []
    report = docs.backfill(
        NEW, recovered, batch_size=2, progress=lambda done, live: progress.append((done, live))
    )
    assert seen + seen_later == list(range(3, 10))
    assert (report.done, report.batches) == (3, 2)
    assert progress == [(9, 10), (10, 10)]
    job = docs.version(NEW).backfill
    assert job is not None
    assert (job.status, job.documents_done, job.batches) == ("done", 7, 4)
    for id_ in range(3, 10):
        assert docs.get_vectors(id_, NEW).shape == (1, 4)


@pytest.mark.parametrize("size", [0, -1, 1.5, True])
def test_a_batch_size_is_a_positive_int(docs: vstore.Collection, size: int) -> None:
    embedder = vstore.HashingEmbedder(4)
    docs.create_version("hashed", embedder.spec)
    with pytest.raises(vstore.InvalidArgumentError, match="batch_size"):
        docs.backfill(NEW, embed, batch_size=size)
    with pytest.raises(vstore.InvalidArgumentError, match="batch_size"):
        docs.upsert_texts(["a"], ["text"], embedder=embedder, batch_size=size)


def test_a_backfill_that_returns_the_wrong_number_of_vectors_writes_none(
    docs: vstore.Collection,
) -> None:
    for wrong in (np.ones((2, 4)), np.ones((4, 5)), np.full((10, 4), np.nan), None):
        with pytest.raises(vstore.InvalidArgumentError):
            docs.backfill(NEW, lambda _, made=wrong: made)  # type: ignore[misc]
    assert docs.coverage(NEW).fresh == 3
