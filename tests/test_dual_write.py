"""What counts as a change where every version in use must follow it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import vstore
from tests.small_store import NEW, OLD, rows, spec, store_in

if TYPE_CHECKING:
    from collections.abc import Callable

    from vstore import Collection
    from vstore.types import Array

THIRD = "emb-third"
TEXTS = ["red boats", "blue cars"]
IDS = ["a", "b"]


def vector(seed: int) -> Array:
    return rows(2, seed=seed)


def source(docs: Collection, id_: str) -> vstore.Document:
    found = docs.get(id_)
    assert found is not None
    return found


def dual(policy: str, *, texts: list[str] | None = TEXTS, third: bool = False) -> Collection:
    """Return documents with vectors of two versions that a route reads, and maybe of a third."""
    docs = store_in().create_collection("docs", fields={"n": "int"})
    for label in (OLD, NEW, *([THIRD] if third else [])):
        docs.create_version(label, spec(label))
    vectors = {label: vector(1) for label in docs.versions}
    docs.upsert(IDS, texts=texts, vectors=vectors)
    docs.routes.set(vstore.Dual(NEW))
    docs.migration.set_dual_write(policy)  # type: ignore[arg-type]
    return docs


def in_one_transaction(docs: Collection, *calls: dict[str, Any]) -> None:
    with docs.store.transaction() as tx:
        for call in calls:
            tx.upsert(docs, IDS, **call)


ALONE: dict[str, Callable[[Collection], object]] = {
    "vectors alone": lambda docs: docs.upsert(IDS, vectors={OLD: vector(2)}),
    "of the new version": lambda docs: docs.upsert(IDS, vectors={NEW: vector(2)}),
    "forced": lambda docs: docs.upsert(IDS, vectors={OLD: vector(2)}, force=True),
    "with metadata": lambda docs: docs.upsert(
        IDS, vectors={OLD: vector(2)}, metadata=[{"n": 1}, {"n": 2}]
    ),
    "texts of None": lambda docs: docs.upsert(IDS, vectors={OLD: vector(2)}, texts=[None, None]),
    "hashes of None": lambda docs: docs.upsert(
        IDS, vectors={OLD: vector(2)}, source_hashes=[None, None]
    ),
    "one document's text": lambda docs: docs.upsert(
        IDS, vectors={OLD: vector(2)}, texts=[TEXTS[0], None]
    ),
    "a stamped batch": lambda docs: docs.upsert(
        IDS, vectors={OLD: vstore.Embeddings(spec(OLD), vector(2))}
    ),
    "chunks": lambda docs: docs.upsert(IDS, vectors={OLD: [rows(2, seed=2), rows(3, seed=3)]}),
    "vectors added over others": lambda docs: docs.add_vectors(IDS, vector(2), version=OLD),
    "the same text, then vectors": lambda docs: in_one_transaction(
        docs, {"texts": TEXTS}, {"vectors": {OLD: vector(2)}}
    ),
}


@pytest.mark.parametrize("way", ALONE)
def test_vectors_of_one_version_that_do_not_say_what_they_are_of_are_refused(way: str) -> None:
    docs = dual("require")
    before = docs.store.epoch, docs.get_vectors("a", OLD)[0].tolist()
    with pytest.raises(vstore.MissingVectorsError):
        ALONE[way](docs)
    assert (docs.store.epoch, docs.get_vectors("a", OLD)[0].tolist()) == before


@pytest.mark.parametrize("way", ALONE)
def test_a_queue_makes_the_other_version_s_rows_stale_and_opens_its_backfill(way: str) -> None:
    docs = dual("queue")
    ALONE[way](docs)
    written, other = (NEW, OLD) if way == "of the new version" else (OLD, NEW)
    lacking = 1 if way == "one document's text" else 2
    assert docs.coverage(written).complete
    assert docs.coverage(other).fresh == 2 - lacking
    job = docs.versions[other].backfill
    assert job is not None
    assert job.status == "open"
    gates = {
        gate.name: gate.measured for gate in docs.routes.check_gates(other, vstore.Gates(stale=0))
    }
    assert gates["stale"] == lacking / 2
    assert docs.migration.backfill(other, lambda batch: rows(len(batch), seed=5)).finished
    assert docs.store.check().ok


def test_a_source_that_counts_as_changed_keeps_its_text_and_loses_its_hash() -> None:
    docs = dual("queue")
    before = source(docs, "a")
    docs.upsert(IDS, vectors={OLD: vector(2)})
    after = source(docs, "a")
    assert (after.text, after.source_hash, after.created) == ("red boats", None, before.created)
    assert after.revision == docs.store.epoch
    # The text it has is not what the vectors were made from: given again, it is a change.
    counts = docs.upsert(IDS, texts=TEXTS, vectors={OLD: vector(3), NEW: vector(3)})
    assert (counts.updated, counts.vectors_written) == (2, {OLD: 2, NEW: 2})


UNCHANGED: dict[str, Callable[[Collection], object]] = {
    "the same text": lambda docs: docs.upsert(IDS, texts=TEXTS, vectors={OLD: vector(2)}),
    "the same text, forced": lambda docs: docs.upsert(
        IDS, texts=TEXTS, vectors={OLD: vector(2)}, force=True
    ),
    "the same hash": lambda docs: docs.upsert(
        IDS, source_hashes=[source(docs, i).source_hash for i in IDS], vectors={OLD: vector(2)}
    ),
    "the current revision": lambda docs: docs.add_vectors(
        IDS, vector(2), revisions=[source(docs, i).revision for i in IDS], version=OLD
    ),
    "metadata alone": lambda docs: docs.upsert(IDS, metadata=[{"n": 1}, {"n": 2}]),
    "ids alone": lambda docs: docs.upsert(IDS),
    "no vectors after all": lambda docs: docs.upsert(IDS, vectors={}),
}


@pytest.mark.parametrize("policy", ["require", "queue"])
@pytest.mark.parametrize("way", UNCHANGED)
def test_what_is_of_the_unchanged_source_needs_no_other_version(way: str, policy: str) -> None:
    docs = dual(policy)
    revision = source(docs, "a").revision
    UNCHANGED[way](docs)
    assert source(docs, "a").revision == revision
    assert docs.coverage(OLD).complete
    assert docs.coverage(NEW).complete
    assert docs.versions[NEW].backfill is None


WHOLE: dict[str, Callable[[Collection], object]] = {
    "one call": lambda docs: docs.upsert(IDS, vectors={OLD: vector(2), NEW: vector(2)}),
    "two calls of a transaction": lambda docs: in_one_transaction(
        docs, {"vectors": {OLD: vector(2)}}, {"vectors": {NEW: vector(2)}}
    ),
    "a change of text, then the other version": lambda docs: in_one_transaction(
        docs, {"texts": ["x", "y"], "vectors": {OLD: vector(2)}}, {"vectors": {NEW: vector(2)}}
    ),
    "the same text forced, then the other version": lambda docs: in_one_transaction(
        docs,
        {"texts": TEXTS, "vectors": {OLD: vector(2)}, "force": True},
        {"vectors": {NEW: vector(2)}},
    ),
}


@pytest.mark.parametrize("policy", ["require", "queue"])
@pytest.mark.parametrize("way", WHOLE)
def test_vectors_of_every_version_in_use_are_a_whole_change(way: str, policy: str) -> None:
    docs = dual(policy)
    WHOLE[way](docs)
    for label in (OLD, NEW):
        assert docs.coverage(label).complete
        np.testing.assert_array_equal(docs.get_vectors("a", label)[0], vector(2)[0])
    assert docs.versions[NEW].backfill is None
    assert docs.store.check().ok


@pytest.mark.parametrize("order", [(OLD, NEW), (NEW, OLD)])
def test_a_gap_may_be_filled_and_another_version_replaced_in_either_order(
    order: tuple[str, str],
) -> None:
    docs = dual("require")
    docs.migration.set_dual_write("allow")
    docs.upsert(["c"], texts=["c"], vectors={OLD: rows(1)})
    docs.migration.set_dual_write("require")
    docs.add_vectors(["c"], rows(1), version=NEW)  # fills a gap: of the document as it is
    with docs.store.transaction() as tx:
        for label in order:
            tx.add_vectors(docs, ["c"], rows(1, seed=4), version=label)
    assert docs.coverage(OLD).complete
    assert docs.coverage(NEW).complete


@pytest.mark.parametrize("policy", ["require", "queue"])
def test_a_version_that_is_not_in_use_is_stale_after_a_change(policy: str) -> None:
    docs = dual(policy, third=True)
    docs.upsert(IDS, vectors={OLD: vector(2), NEW: vector(2)})
    assert docs.coverage(THIRD).fresh == 0
    with pytest.raises(vstore.GateError):
        docs.routes.cutover(THIRD)


def test_documents_without_texts_are_no_exception() -> None:
    docs = dual("require", texts=None)
    with pytest.raises(vstore.MissingVectorsError) as caught:
        docs.upsert(["a"], vectors={OLD: rows(1)})
    assert caught.value.missing == {NEW: 1}


def test_vectors_alone_are_of_the_source_as_it_is_where_gaps_are_allowed() -> None:
    docs = dual("allow")
    revision = source(docs, "a").revision
    docs.upsert(IDS, vectors={OLD: vector(2)})
    assert source(docs, "a").revision == revision
    assert docs.coverage(NEW).complete


# A handle on a job outlives what happens to its versions.


def queued() -> tuple[Collection, vstore.Migration]:
    """Return a collection that was migrated under "queue", and the handle that did it."""
    docs = store_in().create_collection("docs")
    docs.create_version(OLD, spec(OLD))
    docs.create_version(NEW, spec(NEW))
    docs.upsert(IDS, texts=TEXTS, vectors={OLD: vector(1)})
    docs.migration.set_dual_write("queue")
    job = docs.migrate(OLD, NEW, lambda batch: rows(len(batch), seed=7))
    assert job.run().finished
    return docs, job


def test_a_job_runs_again_after_its_own_cutover() -> None:
    docs, job = queued()
    docs.routes.cutover(NEW)
    docs.upsert(["c"], texts=["c"], vectors={OLD: rows(1)})
    report = job.run()
    assert (report.done, report.status, report.finished) == (1, "done", True)
    again = job.run()
    assert (again.done, again.status) == (0, "done")


def test_a_job_runs_again_after_a_rollback() -> None:
    docs, job = queued()
    docs.routes.cutover(NEW)
    docs.upsert(["c"], texts=["c"], vectors={OLD: rows(1)})
    docs.routes.rollback()
    docs.upsert(["d"], texts=["d"], vectors={OLD: rows(1)})
    assert job.run().done == 2
    assert docs.coverage(NEW).complete


def test_a_job_runs_again_after_its_source_was_retired() -> None:
    docs, job = queued()
    docs.routes.cutover(NEW)
    docs.routes.retire(OLD)
    docs.upsert(["c"], texts=["c"])
    assert job.run().done == 1
    assert docs.coverage(NEW).complete


def test_several_jobs_run_again_after_a_chain_of_cutovers() -> None:
    docs, first = queued()
    docs.create_version(THIRD, spec(THIRD))
    docs.routes.cutover(NEW)
    second = docs.migrate(NEW, THIRD, lambda batch: rows(len(batch), seed=8))
    second.run()
    docs.routes.cutover(THIRD)
    docs.upsert(["c"], texts=["c"], vectors={OLD: rows(1)})
    for job in (first, second, docs.migrate(THIRD, OLD, lambda batch: rows(len(batch)))):
        assert job.run().finished
    docs.upsert(["d"], texts=["d"])
    for label in (OLD, NEW, THIRD):
        assert docs.migration.backfill(label, lambda batch: rows(len(batch))).finished


def test_a_job_that_has_migrated_from_one_version_does_not_go_on_from_another() -> None:
    docs, job = queued()
    docs.create_version(THIRD, spec(THIRD))
    docs.upsert(["c", "d"], texts=["c", "d"], vectors={OLD: rows(2)})
    docs.migrate(OLD, NEW, lambda batch: rows(len(batch)), calls=vstore.Calls(batch_size=1)).run(
        batches_max=1
    )
    with pytest.raises(vstore.StateError, match=f"migrates from '{OLD}'"):
        docs.migrate(THIRD, NEW, lambda batch: rows(len(batch))).run()
    assert job.run().finished
