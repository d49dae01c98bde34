"""Routes: cutover through its gate, dual routes, rollback, and moves that make no sense."""

from __future__ import annotations

import pickle
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import vstore
from tests.small_store import NEW, OLD, axis, documents, rows, spec, store_in
from vstore.migration.routes import changes

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
    collection.add_vectors([0, 1, 2], rows(3, seed=1), version=NEW)
    return collection


def states(docs: vstore.Collection) -> dict[str, str]:
    return {label: version.state for label, version in docs.versions.items()}


def served_by(docs: vstore.Collection) -> set[str]:
    return {hit.version for hit in docs.search(QUERY, k=10)}


def test_the_first_version_serves_at_once() -> None:
    store = store_in()
    empty = store.create_collection("docs")
    with pytest.raises(vstore.StateError, match="no version"):
        empty.search({OLD: axis(0)})
    with pytest.raises(vstore.StateError, match="no version"):
        _ = empty.routes.current
    with pytest.raises(vstore.StateError):
        empty.routes.rollback()
    empty.create_version(OLD, spec())
    empty.create_version(NEW, spec("model-new"))
    assert (empty.routes.current.mode, empty.routes.current.version) == ("matched", OLD)
    assert states(empty) == {OLD: "serving", NEW: "declared"}


def test_a_migration_goes_through_its_states(docs: vstore.Collection) -> None:
    assert states(docs) == {OLD: "serving", NEW: "declared"}
    docs.migration.backfill(NEW, embed, batch_size=3, batches_max=1)
    assert states(docs) == {OLD: "serving", NEW: "backfilling"}
    assert docs.migration.backfill(NEW, embed).finished
    assert states(docs) == {OLD: "serving", NEW: "ready"}
    docs.routes.cutover(NEW, reason="better")
    assert states(docs) == {OLD: "draining", NEW: "serving"}
    docs.routes.retire(OLD, reason="no way back")
    assert states(docs) == {OLD: "retired", NEW: "serving"}
    with pytest.raises(vstore.StateError, match="nothing served before"):
        docs.routes.rollback()


def test_the_gate_refuses_and_says_what_it_measured(docs: vstore.Collection) -> None:
    before = docs.store.epoch
    with pytest.raises(vstore.GateError, match=r"coverage 30\.00%, required 100\.00%") as caught:
        docs.routes.cutover(NEW)
    assert caught.value.measured == {"coverage": 0.3}
    with pytest.raises(vstore.GateError):
        docs.routes.cutover(NEW, gates=vstore.Gates(coverage=0.31))
    assert docs.store.epoch == before
    assert served_by(docs) == {OLD}
    results = docs.routes.cutover(NEW, gates=vstore.Gates(coverage=0.3))
    assert [(gate.name, gate.measured, gate.passed) for gate in results] == [
        ("coverage", 0.3, True),
    ]
    assert not docs.routes.current.forced
    assert served_by(docs) == {NEW}


@pytest.mark.parametrize("share", [-0.1, 1.1, float("nan")])
def test_a_share_is_between_0_and_1(docs: vstore.Collection, share: float) -> None:
    with pytest.raises(vstore.InvalidArgumentError, match="gates: coverage"):
        docs.routes.cutover(NEW, gates=vstore.Gates(coverage=share))


def test_force_needs_a_reason_and_is_recorded(docs: vstore.Collection) -> None:
    with pytest.raises(vstore.InvalidArgumentError, match="reason"):
        docs.routes.cutover(NEW, force=True)
    results = docs.routes.cutover(NEW, force=True, reason="the old model is gone")
    assert not results[0].passed
    assert (docs.routes.current.forced, docs.routes.current.reason) == (
        True,
        "the old model is gone",
    )
    newest = docs.store.history()[0]
    assert (newest.operation, newest.epoch) == ("cutover (forced)", docs.store.epoch)
    assert "the old model is gone" in newest.note
    assert "retired" not in states(docs).values()


def test_force_where_no_gate_fails_is_not_called_forced(docs: vstore.Collection) -> None:
    docs.migration.backfill(NEW, embed)
    docs.routes.cutover(NEW, force=True, reason="just to be sure")
    assert not docs.routes.current.forced


def test_stale_and_deleted_documents_count_in_the_gate(docs: vstore.Collection) -> None:
    docs.migration.backfill(NEW, embed)
    docs.upsert([0], texts=["changed"])
    with pytest.raises(vstore.GateError):
        docs.routes.cutover(NEW)
    docs.delete([0])
    docs.routes.cutover(NEW)


def test_rollback_returns_step_by_step_and_loses_nothing(docs: vstore.Collection) -> None:
    docs.create_version("third", spec("third"))
    docs.migration.backfill(NEW, embed)
    docs.migration.backfill("third", embed)
    docs.routes.cutover(NEW)
    docs.routes.cutover("third")
    docs.upsert(["late"], texts=["x"], vectors={OLD: rows(1), NEW: rows(1), "third": rows(1)})
    before = docs.store.epoch
    docs.routes.rollback(reason="worse")
    assert (docs.routes.current.version, docs.store.epoch) == (NEW, before + 1)
    assert docs.routes.current.reason == "worse"
    docs.routes.rollback()
    assert docs.routes.current.version == OLD
    assert "late" in docs.search(QUERY, k=20).ids
    with pytest.raises(vstore.StateError, match="nothing served before"):
        docs.routes.rollback()


def test_there_and_back_again(docs: vstore.Collection) -> None:
    docs.migration.backfill(NEW, embed)
    docs.routes.cutover(NEW)
    docs.routes.cutover(OLD)
    assert docs.routes.current.previous == (OLD, NEW)
    docs.routes.rollback()
    assert docs.routes.current.version == NEW
    docs.routes.rollback()
    assert docs.routes.current.version == OLD
    with pytest.raises(vstore.StateError):
        docs.routes.rollback()


def test_the_chain_of_rollbacks_is_bounded(docs: vstore.Collection) -> None:
    docs.migration.backfill(NEW, embed)
    for _ in range(20):
        docs.routes.cutover(NEW)
        docs.routes.cutover(OLD)
    assert len(docs.routes.current.previous) == 16


def test_a_retired_version_leaves_the_chain(docs: vstore.Collection) -> None:
    docs.create_version("third", spec("third"))
    for label in (NEW, "third"):
        docs.migration.backfill(label, embed)
        docs.routes.cutover(label)
    docs.routes.retire(NEW)
    docs.routes.rollback()
    assert docs.routes.current.version == OLD


def test_a_dual_route_reads_both_until_it_is_left(docs: vstore.Collection) -> None:
    docs.routes.set(vstore.Dual(NEW, fusion="rrf"), reason="compare")
    route = docs.routes.current
    assert (route.mode, route.old_version, route.version, route.fusion) == (
        "dual",
        OLD,
        NEW,
        "rrf",
    )
    result = docs.search(QUERY, k=10)
    assert (result.trace.mode, served_by(docs)) == ("dual", {OLD, NEW})
    assert "fusion=rrf" in result.explain()
    assert "fusion=slots" in docs.search(QUERY, read=vstore.Dual(NEW, fusion="slots")).explain()
    assert {hit.version for hit in docs.search(QUERY, version=OLD)} == {OLD}
    with pytest.raises(vstore.InvalidArgumentError, match=r"collapse=False.*one version"):
        docs.search(QUERY, collapse=False)
    with pytest.raises(vstore.InvalidArgumentError, match="version="):
        docs.search(axis(0))
    docs.routes.rollback(reason="no better")
    assert (
        docs.routes.current.mode,
        docs.routes.current.version,
        docs.routes.current.previous,
    ) == ("matched", OLD, ())


def test_a_cutover_from_a_dual_read_can_be_rolled_back(docs: vstore.Collection) -> None:
    docs.routes.set(vstore.Dual(NEW))
    docs.migration.backfill(NEW, embed)
    docs.routes.cutover(NEW)
    assert (docs.routes.current.version, docs.routes.current.previous) == (NEW, (OLD,))
    docs.routes.rollback()
    assert docs.routes.current.version == OLD


def test_ending_a_dual_read_in_favour_of_the_old_version_is_no_step(
    docs: vstore.Collection,
) -> None:
    docs.routes.set(vstore.Dual(NEW))
    docs.routes.cutover(OLD)
    assert (docs.routes.current.version, docs.routes.current.previous) == (OLD, ())
    with pytest.raises(vstore.StateError):
        docs.routes.rollback()
    docs.routes.retire(NEW)


def test_moves_that_make_no_sense_are_refused(docs: vstore.Collection) -> None:
    before = docs.store.epoch
    for call in (
        lambda: docs.routes.cutover(OLD),
        lambda: docs.routes.set(vstore.Dual(OLD)),
        lambda: docs.routes.retire(OLD),
    ):
        with pytest.raises(vstore.StateError, match="serves"):
            call()
    for unknown in (
        lambda: docs.routes.cutover("nope"),
        lambda: docs.routes.set(vstore.Dual("nope")),
        lambda: docs.routes.retire("nope"),
        lambda: docs.migration.backfill("nope", embed),
        lambda: docs.coverage("nope"),
        lambda: docs.migration.pending("nope"),
        lambda: docs.versions["nope"],
        lambda: docs.get_vectors(0, "nope"),
        lambda: docs.search(axis(0), version="nope"),
        lambda: docs.vectors("nope"),
    ):
        with pytest.raises(vstore.NotFoundError, match="nope"):
            unknown()
    with pytest.raises(vstore.InvalidArgumentError, match="fusion"):
        docs.routes.set(vstore.Dual(NEW, fusion="best"))  # type: ignore[arg-type]
    assert docs.store.epoch == before
    docs.routes.set(vstore.Dual(NEW))
    with pytest.raises(vstore.StateError, match="serves"):
        docs.routes.retire(NEW)
    with pytest.raises(vstore.StateError, match="serves"):
        docs.routes.retire(OLD)


def test_writes_go_to_the_old_version_too_after_a_cutover(docs: vstore.Collection) -> None:
    docs.migration.backfill(NEW, embed)
    docs.routes.cutover(NEW)
    docs.upsert([0], texts=["changed"], vectors={OLD: axis(3)[None], NEW: axis(3)[None]})
    docs.routes.rollback()
    assert docs.search(QUERY | {OLD: axis(3)}, k=1).ids == [0]


def test_an_empty_collection_is_covered() -> None:
    docs = documents(new=spec("model-new"))
    assert docs.coverage(NEW) == vstore.Coverage(0, 0)
    assert docs.coverage(NEW).complete
    report = docs.migration.backfill(NEW, embed)
    assert (report.done, report.batches, report.finished) == (0, 0, True)
    docs.routes.cutover(NEW)
    assert docs.search(QUERY).ids == []


def test_a_backfill_is_resumed_where_it_stopped(docs: vstore.Collection) -> None:
    seen: list[str | int] = []

    def failing(batch: Sequence[vstore.Document]) -> Array:
        if len(seen) >= 4:
            raise OSError("the provider is down")
        seen.extend(document.id for document in batch)
        return embed(batch)

    with pytest.raises(OSError, match="down"):
        docs.migration.backfill(NEW, failing, batch_size=2)
    assert docs.coverage(NEW).fresh == 7
    seen_later: list[str | int] = []

    def recovered(batch: Sequence[vstore.Document]) -> Array:
        seen_later.extend(document.id for document in batch)
        return embed(batch)

    progress: list[tuple[int, int]] = []
    report = docs.migration.backfill(
        NEW, recovered, batch_size=2, progress=lambda done, live: progress.append((done, live))
    )
    assert seen + seen_later == list(range(3, 10))
    assert (report.done, report.batches) == (3, 2)
    assert progress == [(9, 10), (10, 10)]
    job = docs.versions[NEW].backfill
    assert job is not None
    assert (job.status, job.documents_done, job.batches) == ("done", 7, 4)
    for id_ in range(3, 10):
        assert docs.get_vectors(id_, NEW).shape == (1, 4)


@pytest.mark.parametrize("size", [0, -1, 1.5, True])
def test_a_batch_size_is_a_positive_int(docs: vstore.Collection, size: int) -> None:
    embedder = vstore.HashingEmbedder(4)
    docs.create_version("hashed", embedder.spec)
    with pytest.raises(vstore.InvalidArgumentError, match="batch_size"):
        docs.migration.backfill(NEW, embed, batch_size=size)
    with pytest.raises(vstore.InvalidArgumentError, match="batch_size"):
        docs.upsert_texts(["a"], ["text"], embedder=embedder, calls=vstore.Calls(batch_size=size))


def test_a_backfill_that_returns_the_wrong_number_of_vectors_writes_none(
    docs: vstore.Collection,
) -> None:
    for wrong in (np.ones((2, 4)), np.ones((4, 5)), np.full((10, 4), np.nan), None):
        with pytest.raises(vstore.InvalidArgumentError):
            docs.migration.backfill(NEW, lambda _, made=wrong: made)  # type: ignore[misc]
    assert docs.coverage(NEW).fresh == 3


def test_the_history_says_where_no_gate_was_measured() -> None:
    docs = documents(new=spec("model-new"))
    both = {OLD: rows(240), NEW: rows(240)[:, ::-1]}
    docs.upsert(list(range(240)), vectors=both)
    docs.migration.fit_bridge(OLD, NEW, min_recall=0.0)

    def newest() -> tuple[str, str]:
        entry = docs.store.history(limit=1)[0]
        return entry.operation, entry.note

    docs.routes.set(vstore.Dual(NEW), reason="begin", by="ada")
    assert newest() == ("dual read", f"{NEW}, by ada: begin")
    docs.routes.set(vstore.Cascade(NEW))
    assert newest() == ("cascade", NEW)
    docs.routes.set(vstore.Canary(NEW, 0))
    assert newest() == ("canary 0 %", NEW)
    docs.routes.set(vstore.Canary(NEW, 5), reason="try")
    assert newest() == ("canary 5 % (no gates)", f"{NEW}: try")
    docs.routes.set(vstore.Bridge(NEW, source=OLD))
    assert newest() == ("bridge (no gates)", NEW)
    docs.upsert([0], vectors={OLD: rows(1)}, texts=["changed"])
    docs.routes.rollback(reason="back")
    assert newest() == ("rollback", "back")
    docs.routes.cutover(NEW, force=True, reason="enough", by="ada")
    assert newest() == ("cutover (forced)", f"{NEW}, by ada: enough")


def test_a_route_reads_the_version_that_serves(docs: vstore.Collection) -> None:
    epoch = docs.store.epoch
    with pytest.raises(vstore.StateError, match="does not serve"):
        docs.routes.set(vstore.Cascade(OLD, old=NEW))
    nothing: Any = None
    empty: list[Any] = ["", []]
    odd: list[Any] = [vstore.Dual(NEW, old=NEW), *(vstore.Dual(NEW, fusion=one) for one in empty)]
    odd += [vstore.Bridge(NEW, nothing), vstore.Bridge(nothing, nothing), vstore.Cascade(nothing)]
    for read in odd:
        with pytest.raises(vstore.InvalidArgumentError):
            docs.routes.set(read)
        with pytest.raises(vstore.InvalidArgumentError):
            docs.search({OLD: axis(0), NEW: axis(0)}, read=read)
    for wrong in (NEW, None, vstore.Dual, ("dual", NEW)):
        with pytest.raises(vstore.InvalidArgumentError, match=r"routes\.cutover\(\)"):
            docs.routes.set(wrong)  # type: ignore[arg-type]
    assert docs.store.epoch == epoch
    docs.routes.set(vstore.Dual(np.str_(NEW), old=OLD))
    assert docs.routes.current.labels == (OLD, NEW)
    assert type(docs.routes.current.version) is str


def test_what_a_route_needs_is_looked_at_with_the_turn_to_write(
    docs: vstore.Collection, monkeypatch: pytest.MonkeyPatch
) -> None:
    docs.create_version("third", spec("model-third"))
    plain = changes.moment_of

    def meddled(*arguments: Any) -> Any:
        monkeypatch.setattr(changes, "moment_of", plain)
        docs.routes.cutover(NEW, force=True, reason="meanwhile")
        return plain(*arguments)

    monkeypatch.setattr(changes, "moment_of", meddled)
    with pytest.raises(vstore.StateError, match=f"{NEW!r} does"):
        docs.routes.set(vstore.Dual("third", old=OLD))
    assert docs.routes.current.labels == (NEW,)


def test_mappings_by_name_take_names() -> None:
    docs = documents()
    odd: list[Any] = [5, None, [], np.array(["v1", "v2"]), ("",)]
    for lookup in (docs.routes, docs.versions, docs.guards):
        for name in odd:
            assert name not in lookup
            with pytest.raises(vstore.InvalidArgumentError):
                lookup[name]
        assert lookup.get("nope") is None
        with pytest.raises(vstore.NotFoundError, match="nope"):
            lookup["nope"]
        with pytest.raises(vstore.NotPicklableError):
            pickle.dumps(lookup)
