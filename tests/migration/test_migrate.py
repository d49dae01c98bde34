"""Migrations: plan, run, status; caps and resumption; stop, cancel; two runners; mapped vectors."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import vstore
from tests.migration.clocks import HandClock
from tests.migration.corpus import Recorder, contents, corpus, embed, wanted
from tests.small_store import NEW, OLD, rows, spec, store_in
from vstore.storage.memory import MemoryMedium

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from vstore.manifest.job_state import JobState
    from vstore.types import Array


def job_of(docs: vstore.Collection) -> JobState:
    job = docs.versions[NEW].backfill
    assert job is not None
    return job


def operations(docs: vstore.Collection) -> list[str]:
    return [entry.operation for entry in reversed(docs.store.history())]


def test_a_migration_runs_to_its_end_with_one_commit_a_batch() -> None:
    docs, recorder = corpus(10), Recorder()
    before = docs.store.epoch
    migration = docs.migrate(
        OLD, NEW, recorder, calls=vstore.Calls(batch_size=4), price=vstore.Price(per_unit=0.25)
    )
    assert migration.status().status is None
    assert repr(migration) == "<vstore.Migration 'emb-old' -> 'emb-new', not begun>"
    report = migration.run()
    assert (report.done, report.batches, report.failed, report.status) == (10, 3, 0, "done")
    assert report.finished
    assert contents(docs) == wanted(docs)
    assert recorder.calls == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]
    assert operations(docs)[-5:] == ["start_backfill", *["backfill"] * 3, "finish_backfill"]
    assert docs.store.epoch == before + 5
    job = job_of(docs)
    assert (job.source, job.units, job.unit, job.cost) == (OLD, 60, "characters", 15.0)
    assert docs.versions[NEW].state == "ready"


def test_running_again_with_nothing_to_do_changes_nothing() -> None:
    docs, recorder = corpus(5), Recorder()
    migration = docs.migrate(OLD, NEW, recorder)
    migration.run()
    before, job = docs.store.epoch, job_of(docs)
    again = docs.migrate(OLD, NEW, recorder).run()
    assert (again.done, again.status, again.finished) == (0, "done", True)
    assert (docs.store.epoch, job_of(docs)) == (before, job)
    docs.upsert(["late"], texts=["late"])
    assert migration.run().done == 1
    assert recorder.calls[1:] == [["late"]]


def test_status_says_how_far_it_is_and_how_long_it_will_take() -> None:
    clock = HandClock()
    docs = corpus(10, clock=clock)

    def slow(batch: Sequence[vstore.Document]) -> Array:
        clock.advance(2.0 * len(batch))
        return embed(batch)

    migration = docs.migrate(
        OLD, NEW, slow, calls=vstore.Calls(batch_size=2), caps=vstore.Caps(units=1_000)
    )
    status = migration.status()
    assert (status.done, status.left, status.documents_per_s, status.eta_s) == (0, 10, None, None)
    migration.run(batches_max=3)
    status = migration.status()
    assert (status.status, status.done, status.left, status.batches) == ("open", 6, 4, 3)
    assert (status.documents_per_s, status.eta_s, status.seconds) == (0.5, 8.0, 12.0)
    assert (status.units, status.units_max, status.coverage.fresh) == (36, 1_000, 6)
    # Anyone may look, without a function.
    assert docs.migrate(OLD, NEW).status().done == 6


def test_a_plan_estimates_units_cost_and_time_without_writing() -> None:
    clock = HandClock()
    docs = corpus(100, clock=clock)
    docs.add_vectors([0], rows(1), version=NEW)
    asked: list[int] = []

    def slow(batch: Sequence[vstore.Document]) -> Array:
        asked.append(len(batch))
        clock.advance(0.5 * len(batch))
        return embed(batch)

    migration = docs.migrate(
        OLD,
        NEW,
        slow,
        calls=vstore.Calls(batch_size=8),
        price=vstore.Price(
            unit="words", per_unit=2.0, count=lambda document: len((document.text or "").split())
        ),
    )
    before = docs.store.epoch
    plan = migration.plan(sample=10)
    assert (plan.documents, plan.blocked, plan.failed, plan.sample) == (99, 0, 0, 10)
    assert (plan.units, plan.units_exact, plan.unit, plan.cost) == (198, True, "words", 396.0)
    assert plan.seconds == pytest.approx(49.5)
    assert asked == [8, 2]
    assert docs.store.epoch == before
    assert migration.plan(sample=0).seconds is None
    assert sum(asked) == 10


class SlowModel:
    """An embedder of which each text takes half a second."""

    spec = spec("model-new")

    def __init__(self, clock: HandClock) -> None:
        self._clock = clock
        self.asked: list[str] = []

    def embed_documents(self, texts: Sequence[str]) -> Array:
        self.asked += texts
        self._clock.advance(0.5 * len(texts))
        return rows(len(texts))

    def embed_query(self, text: str) -> Array:
        return self.embed_documents([text]).ravel()


@pytest.mark.parametrize(
    "options", [{}, {"caps": vstore.Caps(units=10_000)}, {"caps": vstore.Caps(cost=1e6)}]
)
def test_a_plan_counts_documents_without_a_text_and_estimates_from_the_rest(options: Any) -> None:
    clock = HandClock()
    docs = corpus(0, clock=clock)
    docs.upsert(range(30), texts=["four"] * 30)
    docs.upsert(range(30, 40), vectors={OLD: rows(10)})  # no text
    model = SlowModel(clock)
    job = docs.migrate(
        OLD,
        NEW,
        model,
        **options,
        calls=vstore.Calls(batch_size=8),
        price=vstore.Price(per_unit=2.0),
    )
    before = docs.store.epoch
    plan = job.plan(sample=40)
    assert (plan.documents, plan.sample, plan.sample_without_text) == (40, 30, 10)
    assert (plan.units, plan.units_exact, plan.cost) == (120, True, 240.0)
    assert plan.seconds == pytest.approx(15.0)
    assert job.plan(sample=4).sample_without_text == 1
    assert docs.store.epoch == before
    assert job.run().failed == 10  # dead letters, caps or not
    assert job.status().done == 30
    assert job.status().units == 120


def test_a_plan_of_documents_that_all_lack_a_text_makes_no_call() -> None:
    clock = HandClock()
    docs = corpus(0, clock=clock)
    docs.upsert(range(5), vectors={OLD: rows(5)})
    model = SlowModel(clock)
    plan = docs.migrate(
        OLD, NEW, model, price=vstore.Price(count=lambda d: len(str(d.text)), unit="x")
    ).plan()
    assert (plan.documents, plan.sample, plan.sample_without_text) == (5, 0, 5)
    assert (plan.units, plan.seconds) == (0, None)
    assert not model.asked
    # A function finds its source elsewhere, and gets all of them.
    assert docs.migrate(OLD, NEW, lambda batch: rows(len(batch))).plan().sample == 5


# Caps.


@pytest.mark.parametrize(
    ("cap", "done", "note"),
    [
        ({"caps": vstore.Caps(documents=7)}, 7, "cap of 7 documents: 7 done; 3 documents left"),
        (
            {"caps": vstore.Caps(units=29)},
            4,
            "cap of 29 characters: 24 used, the next has 6; 6 documents left",
        ),
        (
            {"caps": vstore.Caps(cost=9.1), "price": vstore.Price(per_unit=0.5)},
            3,
            "cap on the cost, 9.1: 9 spent, the next costs 3; 7 documents left",
        ),
        ({"caps": vstore.Caps(documents=0)}, 0, "cap of 0 documents: 0 done; 10 documents left"),
    ],
)
def test_a_job_stops_before_it_exceeds_a_cap_and_goes_on_with_a_higher_one(
    cap: dict[str, Any], done: int, note: str
) -> None:
    docs, recorder = corpus(10), Recorder()
    migration = docs.migrate(OLD, NEW, recorder, **cap, calls=vstore.Calls(batch_size=3))
    for _ in range(2):  # the second time it stops where it is
        report = migration.run()
        assert (report.status, report.note, report.finished) == ("stopped", note, False)
        assert (job_of(docs).documents_done, len(recorder.ids)) == (done, done)
        assert docs.coverage(NEW).fresh == done
    assert migration.status().note == note
    price = {key: value for key, value in cap.items() if key == "price"}
    report = docs.migrate(OLD, NEW, recorder, **price, calls=vstore.Calls(batch_size=3)).run()
    assert (report.status, report.done, report.note) == ("done", 10 - done, "")
    assert recorder.ids == list(range(10))
    assert job_of(docs).documents_done == 10


def test_a_cap_on_units_needs_something_to_count() -> None:
    docs = corpus(2)
    docs.upsert(["mute"])
    with pytest.raises(
        vstore.InvalidArgumentError, match=r"'mute' has no text.*price=Price\(count="
    ):
        docs.migrate(OLD, NEW, embed, caps=vstore.Caps(units=100)).run()
    assert docs.coverage(NEW).fresh == 0
    docs.migrate(
        OLD, NEW, embed, caps=vstore.Caps(units=100), price=vstore.Price(count=lambda _: 1)
    ).run()
    assert docs.coverage(NEW).complete


def test_an_option_that_there_is_not_is_refused() -> None:
    docs = corpus(1)
    with pytest.raises(TypeError, match="unexpected keyword argument 'batch'"):
        docs.migrate(OLD, NEW, embed, batch=3)  # type: ignore[call-arg]


# Stopping, cancelling, retiring.


def test_a_stop_lets_the_batch_under_way_come_in() -> None:
    docs = corpus(10)

    def stopping(batch: Sequence[vstore.Document]) -> Array:
        if batch[0].id == 3:
            docs.migrate(OLD, NEW).stop("the quota of this hour")
        return embed(batch)

    migration = docs.migrate(OLD, NEW, stopping, calls=vstore.Calls(batch_size=3))
    report = migration.run()
    assert (report.done, report.status, report.note) == (6, "stopped", "the quota of this hour")
    assert docs.store.history()[1].operation == "stop_backfill"
    with pytest.raises(vstore.StateError, match="is stopped: cannot stop"):
        migration.stop()
    rest = docs.migrate(OLD, NEW, embed).run()
    assert (rest.done, rest.status) == (4, "done")
    assert contents(docs) == wanted(docs)


def test_a_cancelled_job_throws_the_batch_under_way_away() -> None:
    docs = corpus(10)

    def cancelling(batch: Sequence[vstore.Document]) -> Array:
        if batch[0].id == 3:
            docs.migrate(OLD, NEW).cancel("another model")
        return embed(batch)

    migration = docs.migrate(OLD, NEW, cancelling, calls=vstore.Calls(batch_size=3))
    with pytest.raises(vstore.StateError, match="is cancelled: cannot record_batch"):
        migration.run()
    assert docs.coverage(NEW).fresh == 3
    assert (job_of(docs).status, job_of(docs).note) == ("cancelled", "another model")
    docs.migrate(OLD, NEW, embed).run()  # begins anew
    assert job_of(docs).documents_done == 7


def test_a_version_retired_meanwhile_ends_the_run() -> None:
    docs = corpus(6)

    def retiring(batch: Sequence[vstore.Document]) -> Array:
        docs.routes.retire(NEW)
        return embed(batch)

    with pytest.raises(vstore.StateError, match="retired"):
        docs.migrate(OLD, NEW, retiring, calls=vstore.Calls(batch_size=2)).run()
    with pytest.raises(vstore.StateError, match="retired"):
        docs.migrate(OLD, NEW, embed).run()


def test_a_job_goes_on_from_its_own_source_only() -> None:
    docs = corpus(6)
    docs.create_version("third", spec("third"))
    docs.migrate(OLD, NEW, embed, calls=vstore.Calls(batch_size=2)).run(batches_max=1)
    with pytest.raises(vstore.StateError, match=r"migrates from 'emb-old', not from 'third'"):
        docs.migrate("third", NEW, embed).run()
    assert docs.migration.backfill(NEW, embed).finished


# Two runners.

BUSY = "backfill of 'emb-new' is being run by another thread"


def test_a_job_is_not_run_from_inside_its_own_embedding_function() -> None:
    docs, recorder = corpus(9), Recorder()

    def meddled(batch: Sequence[vstore.Document]) -> Array:
        with pytest.raises(vstore.StateError, match=BUSY):
            docs.migrate(OLD, NEW, embed).run()
        with pytest.raises(vstore.StateError, match=BUSY):
            docs.migration.backfill(NEW, embed)
        return recorder(batch)

    docs.migrate(OLD, NEW, meddled, calls=vstore.Calls(batch_size=3)).run()
    assert recorder.ids == list(range(9))
    assert job_of(docs).documents_done == 9


class RunInThread:
    """A run in a thread of its own, halted in its embedding function at document 2."""

    def __init__(self, docs: vstore.Collection) -> None:
        self.error: BaseException | None = None
        self._inside, self._leave = threading.Event(), threading.Event()
        self._migration = docs.migrate(OLD, NEW, self._embed, calls=vstore.Calls(batch_size=2))
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> RunInThread:
        self._thread.start()
        assert self._inside.wait(30)
        return self

    def __exit__(self, *_: object) -> None:
        self._leave.set()
        self._thread.join()

    def _run(self) -> None:
        try:
            self._migration.run()
        except vstore.VstoreError as error:
            self.error = error

    def _embed(self, batch: Sequence[vstore.Document]) -> Array:
        if batch[0].id == 2:
            self._inside.set()
            assert self._leave.wait(30)
        return embed(batch)


def test_a_runner_in_another_thread_is_kept_out() -> None:
    docs = corpus(6)
    with RunInThread(docs) as first:
        before = docs.store.epoch
        with pytest.raises(vstore.StateError, match=BUSY):
            docs.migrate(OLD, NEW, embed).run()
        assert docs.store.epoch == before
    assert first.error is None
    assert contents(docs) == wanted(docs)
    assert job_of(docs).documents_done == 6
    docs.migrate(OLD, NEW, embed).run()  # nobody runs it any more


def test_jobs_of_other_versions_and_collections_may_run_beside_it() -> None:
    docs = corpus(6)
    docs.create_version("third", spec("third"))
    others = docs.store.create_collection("others")
    others.create_version(OLD, spec())
    others.create_version(NEW, spec("model-new"))
    others.upsert([0], texts=["text"], vectors={OLD: rows(1)})
    with RunInThread(docs):
        assert docs.migrate(OLD, "third", embed).run().finished
        assert others.migrate(OLD, NEW, embed).run().finished


def test_a_stop_of_another_thread_lets_the_batch_under_way_come_in() -> None:
    docs = corpus(6)
    with RunInThread(docs) as first:
        docs.migrate(OLD, NEW).stop("enough")
    assert first.error is None
    assert (docs.coverage(NEW).fresh, job_of(docs).status) == (4, "stopped")
    assert docs.migrate(OLD, NEW, embed).run().finished


def test_a_cancel_of_another_thread_throws_the_batch_under_way_away() -> None:
    docs = corpus(6)
    with RunInThread(docs) as first:
        docs.migrate(OLD, NEW).cancel("another model")
        with pytest.raises(vstore.StateError, match=BUSY):  # until its function returns
            docs.migrate(OLD, NEW, embed).run()
    assert "is cancelled: cannot record_batch" in str(first.error)
    assert (docs.coverage(NEW).fresh, job_of(docs).status) == (2, "cancelled")
    assert docs.migrate(OLD, NEW, embed).run().done == 4


def test_a_killed_runner_s_job_is_run_again_at_once() -> None:
    class Killed(BaseException):
        pass

    def dying(batch: Sequence[vstore.Document]) -> Array:
        if batch[0].id == 2:
            raise Killed
        return embed(batch)

    clock, medium = HandClock(), MemoryMedium()
    store = store_in(medium, clock=clock)
    docs = corpus_in(store)
    with pytest.raises(Killed):
        docs.migrate(OLD, NEW, dying, calls=vstore.Calls(batch_size=2)).run()
    assert (docs.coverage(NEW).fresh, job_of(docs).status) == (2, "open")
    store.close()  # no more than the death of its process does
    reopened = store_in(medium, clock=clock).collection("docs")
    rest = reopened.migrate(OLD, NEW, embed).run()
    assert (rest.done, rest.finished) == (4, True)


def corpus_in(store: vstore.Store) -> vstore.Collection:
    docs = store.create_collection("docs")
    docs.create_version(OLD, spec())
    docs.create_version(NEW, spec("model-new"))
    docs.upsert(list(range(6)), texts=[f"text {i}" for i in range(6)], vectors={OLD: rows(6)})
    return docs


def test_a_job_whose_function_failed_is_run_again_at_once() -> None:
    docs = corpus(4)

    def failing(batch: Sequence[vstore.Document]) -> Array:
        raise vstore.StateError("not today")

    with pytest.raises(vstore.StateError, match="not today"):
        docs.migrate(OLD, NEW, failing).run()
    assert job_of(docs).status == "open"
    assert operations(docs)[-1] == "start_backfill"  # nothing was to be recorded of the failure
    assert docs.migrate(OLD, NEW, embed).run().finished


# Chunks, and mapped vectors.


def test_versions_may_have_different_chunks_and_coverage_is_of_documents() -> None:
    docs = corpus(5)

    def chunked(batch: Sequence[vstore.Document]) -> list[Array]:
        return [rows(1 + int(document.id) % 3, seed=int(document.id)) for document in batch]

    docs.migrate(OLD, NEW, chunked, calls=vstore.Calls(batch_size=2)).run()
    assert docs.coverage(NEW) == vstore.Coverage(5, 5)
    for id_ in range(5):
        np.testing.assert_array_equal(docs.get_vectors(id_, NEW), rows(1 + id_ % 3, seed=id_))
        assert len(docs.get_vectors(id_, OLD)) == 1
    assert sorted(docs.search(rows(1)[0], version=NEW, k=99).ids) == [0, 1, 2, 3, 4]


def mapped_corpus() -> vstore.Collection:
    docs = corpus(6)
    docs.create_version("mapped", spec("model-mapped", 3), provenance="mapped")
    docs.add_vectors([4], [rows(2, seed=5)], version=OLD)  # a document of two chunks
    return docs


MAP = rows(4, 3, seed=8)


def test_vectors_may_be_mapped_from_the_source_version() -> None:
    docs = mapped_corpus()
    shapes: list[tuple[int, ...]] = []

    def mapper(old: Array) -> Array:
        shapes.append(old.shape)
        return old @ MAP

    report = docs.migrate(
        OLD, "mapped", from_vectors=mapper, calls=vstore.Calls(batch_size=5)
    ).run()
    assert (report.done, report.status) == (6, "done")
    assert shapes == [(6, 4), (1, 4)]
    for id_ in range(6):
        old = docs.get_vectors(id_, OLD)
        np.testing.assert_allclose(docs.get_vectors(id_, "mapped"), old @ MAP, rtol=1e-6)
    assert docs.versions["mapped"].provenance == "mapped"


def test_what_cannot_be_mapped_yet_is_said_and_met_again() -> None:
    docs = mapped_corpus()
    docs.upsert([1, "new"], texts=["changed", "added"])
    migration = docs.migrate(OLD, "mapped", from_vectors=lambda old: old @ MAP)
    assert (migration.plan(sample=0).documents, migration.plan(sample=0).blocked) == (5, 2)
    report = migration.run()
    assert (report.done, report.status) == (5, "stopped")
    assert "2 documents have no fresh vectors in 'emb-old'" in report.note
    docs.add_vectors([1, "new"], rows(2), version=OLD)
    assert migration.run().status == "done"


@pytest.mark.parametrize("made", [rows(5, 3), rows(8, 3), rows(7, 4), np.ones(6), None])
def test_a_map_returns_a_row_for_each_it_was_given(made: Array) -> None:
    docs = mapped_corpus()
    with pytest.raises(vstore.InvalidVectorError):
        docs.migrate(OLD, "mapped", from_vectors=lambda _: made, isolate=False).run()
    assert docs.coverage("mapped").fresh == 0


def test_mapped_vectors_go_to_a_version_that_says_so() -> None:
    docs = corpus(2)
    with pytest.raises(vstore.InvalidArgumentError, match="provenance='mapped'"):
        docs.migrate(OLD, NEW, from_vectors=lambda old: old)
    with pytest.raises(vstore.InvalidArgumentError, match="one of the two"):
        mapped_corpus().migrate(OLD, "mapped", embed, from_vectors=lambda old: old)


# Arguments.

WRONG: dict[str, tuple[str, Callable[[vstore.Collection], object]]] = {
    "to itself": ("to itself", lambda d: d.migrate(NEW, NEW, embed)),
    "neither": ("which make vectors", lambda d: d.migrate(OLD, NEW).run()),
    "a plan of nothing": ("which make vectors", lambda d: d.migrate(OLD, NEW).plan()),
    "no function": ("embedder", lambda d: d.migrate(OLD, NEW, 5)),  # type: ignore[arg-type]
    "no map": ("provenance", lambda d: d.migrate(OLD, NEW, from_vectors=5)),  # type: ignore[arg-type]
    "a batch of none": (
        "batch_size",
        lambda d: d.migrate(OLD, NEW, embed, calls=vstore.Calls(batch_size=0)),
    ),
    "an order": ("order", lambda d: d.migrate(OLD, NEW, embed, order="new")),  # type: ignore[arg-type]
    "by no field": ("order_field", lambda d: d.migrate(OLD, NEW, embed, order="field")),
    "by an unknown field": (
        "no field 'x'",
        lambda d: d.migrate(OLD, NEW, embed, order="field", order_field="x"),
    ),
    "by lists": (
        "a keywords field",
        lambda d: d.migrate(OLD, NEW, embed, order="field", order_field="tags"),
    ),
    "hot by words": (
        "a keyword field",
        lambda d: d.migrate(OLD, NEW, embed, order="hot", order_field="tenant"),
    ),
    "id by a field": ("has none", lambda d: d.migrate(OLD, NEW, embed, order_field="tenant")),
    "tokens uncounted": (
        "needs count=",
        lambda d: d.migrate(OLD, NEW, embed, price=vstore.Price(unit="tokens")),
    ),
    "a cap below 0": (
        "caps: units",
        lambda d: d.migrate(OLD, NEW, embed, caps=vstore.Caps(units=-1)),
    ),
    "a price of NaN": (
        "price: per_unit",
        lambda d: d.migrate(OLD, NEW, embed, price=vstore.Price(per_unit=float("nan"))),
    ),
    "a timeout of 0": (
        "timeout_s",
        lambda d: d.migrate(OLD, NEW, embed, calls=vstore.Calls(timeout_s=0)),
    ),
    "a rate of 0": (
        "rate_per_s",
        lambda d: d.migrate(OLD, NEW, embed, calls=vstore.Calls(rate_per_s=0)),
    ),
    "no failure allowed": (
        "caps: failures",
        lambda d: d.migrate(OLD, NEW, embed, caps=vstore.Caps(failures=0)),
    ),
    "batches of text": ("batches_max", lambda d: d.migrate(OLD, NEW, embed).run(batches_max="a")),  # type: ignore[arg-type]
    "half a unit": (
        "price: count",
        lambda d: d.migrate(OLD, NEW, embed, price=vstore.Price(count=lambda _: 0.5)).run(),  # type: ignore[arg-type, return-value]
    ),
    "a long reason": ("reason", lambda d: d.migrate(OLD, NEW, embed).stop(5)),  # type: ignore[arg-type]
}


@pytest.mark.parametrize("name", WRONG)
def test_what_no_call_can_mean_is_refused(name: str) -> None:
    docs = corpus(3)
    message, call = WRONG[name]
    with pytest.raises(vstore.InvalidArgumentError, match=message):
        call(docs)
    assert docs.coverage(NEW).fresh == 0


def test_unknown_versions_and_handles_that_cannot_write_are_refused() -> None:
    docs = corpus(3)
    with pytest.raises(vstore.NotFoundError):
        docs.migrate(OLD, "x", embed)
    with pytest.raises(vstore.NotFoundError):
        docs.migrate("x", NEW, embed)
    scoped = docs.scoped(vstore.field("priority") > 1)
    with pytest.raises(vstore.InvalidArgumentError, match="scoped"):
        scoped.migrate(OLD, NEW, embed).run()
    with pytest.raises(vstore.StateError, match="has not begun"):
        docs.migrate(OLD, NEW).cancel()
    with pytest.raises(vstore.StateError, match="has not begun"):
        docs.migrate(OLD, NEW).retry_failed()
