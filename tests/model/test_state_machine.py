"""Any sequence of public calls leaves a store in the state that a dict and brute force predict.

Some runs seal after every other document, so that a few dozen writes pass through deltas, segments
and merges. `tests/model/operations.py` draws the writes, `tests/model/model.py` says what is right.
"""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import random
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

import vstore
from tests.model.brute_force import Expected
from tests.model.model import Model, ModelRoute, ModelVersion
from tests.model.operations import (
    DOCUMENT_IDS,
    FILTERS,
    IDS,
    SEEDS,
    Delete,
    Operation,
    Upsert,
    apply,
    as_argument,
    dimension_of,
    make_chunks,
    operations,
)
from tests.small_store import FIELDS, spec, store_in
from vstore.storage.memory import MemoryMedium

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.model.model import Passes
    from vstore.types import Array, DocumentId

TINY = {
    "vstore.engine.commit.SEAL_DOCUMENTS": 2,
    "vstore.engine.commit.SEAL_COMMITS": 6,
    "vstore.engine.pending.SEAL_DOCUMENTS": 2,
    "vstore.writing.draft.SEAL_DOCUMENTS": 2,
    "vstore.segment.compaction.SEAL_DOCUMENTS": 2,
    "vstore.segment.compaction.MERGE_FANOUT": 2,
    "vstore.storage.container.VIEW_BYTES_MIN": 64,
}
SPECS = {
    "old": spec("model-old", dimension_of("old"), "cosine"),
    "new": spec("model-new", dimension_of("new"), "l2"),
}
STORAGE: dict[str, Any] = {"old": "float32", "new": "float16"}
DTYPES = {"old": "<f4", "new": "<f2"}
NEW_VERSIONS_MAX = 3


class AbandonedError(Exception):
    """Raised inside a transaction to leave it."""


class Machine(RuleBasedStateMachine):
    """One collection, two versions of it that serve, and everything one may do to them."""

    @initialize(
        tiny=st.sampled_from([False, True, True]),
        serve_stale=st.booleans(),
        verify=st.booleans(),
        seed=SEEDS,
    )
    def start(self, tiny: bool, serve_stale: bool, verify: bool, seed: int) -> None:
        self.random = random.Random(seed)
        self.patch = pytest.MonkeyPatch()
        for place, value in TINY.items() if tiny else ():
            self.patch.setattr(place, value)
        self.medium = MemoryMedium()
        self.options: dict[str, Any] = {"verify": "full" if verify else "lazy"}
        self.store = store_in(self.medium, **self.options)
        self.reader: vstore.Store | None = None
        self.store.create_collection("docs", fields=FIELDS)
        self.model = Model()
        self.stale_policy: Any = "serve" if serve_stale else "hide"
        self.labels = {"old": "old", "new": "new"}
        for label in ("old", "new"):
            self.create_version(label)
        self.model.route = ModelRoute("old")
        self.held: list[tuple[vstore.Collection, Model]] = []
        self.late: list[tuple[str, list[tuple[DocumentId, int]], list[Array]]] = []
        self.past: dict[int, Model] = {}
        self.tagged: set[int] = set()
        self.history_length = 0
        self.remember()

    @property
    def docs(self) -> vstore.Collection:
        return self.store.collection("docs")

    def create_version(self, label: str) -> None:
        kind = label.split("-")[0]
        self.docs.create_version(
            label, SPECS[kind], storage=STORAGE[kind], stale_policy=self.stale_policy
        )
        self.model.versions[label] = ModelVersion(
            SPECS[kind].metric, DTYPES[kind], self.stale_policy == "serve"
        )

    def open_labels(self) -> list[str]:
        return [label for label, version in self.model.versions.items() if not version.retired]

    def remember(self) -> None:
        self.past[self.store.epoch] = self.model.copy()

    # Writes.

    @rule(write=operations())
    def write(self, write: Operation) -> None:
        self.transact([write])

    @rule(writes=st.lists(operations(), min_size=2, max_size=4))
    def transact(self, writes: Sequence[Operation]) -> None:
        before = self.store.epoch
        with self.store.transaction() as tx:
            apply(self.current(writes), tx, self.docs, self.model, before + 1)
        assert self.store.epoch - before in (0, 1)
        self.remember()

    def current(self, writes: Sequence[Operation]) -> list[Operation]:
        """Return the writes that the versions open now can take."""
        retired = {label for label, version in self.model.versions.items() if version.retired}
        return [
            write
            for write in writes
            if not retired & {*getattr(write, "labels", ()), getattr(write, "label", "")}
        ]

    @rule(writes=st.lists(operations(), min_size=1, max_size=3))
    def abandon(self, writes: Sequence[Operation]) -> None:
        before, model = self.store.epoch, self.model.copy()
        with contextlib.suppress(AbandonedError), self.store.transaction() as tx:
            apply(self.current(writes), tx, self.docs, self.model, before + 1)
            raise AbandonedError
        assert self.store.epoch == before
        self.model = model

    @rule(writes=st.lists(operations(), max_size=2), ids=DOCUMENT_IDS)
    def go_on_after_a_refusal(self, writes: Sequence[Operation], ids: list[DocumentId]) -> None:
        bad = np.full((len(ids), dimension_of("old")), np.nan)
        with self.store.transaction() as tx:
            with pytest.raises(vstore.InvalidVectorError):
                tx.upsert(self.docs, ids, vectors={"old": bad}, texts=["x"] * len(ids))
            apply(self.current(writes), tx, self.docs, self.model, self.store.epoch + 1)
        self.remember()

    @rule(ids=DOCUMENT_IDS, text=st.sampled_from(["one", "three"]))
    def leave_and_come_back(self, ids: list[DocumentId], text: str) -> None:
        self.write(Delete(ids))
        no_vectors = Upsert(ids, [], 0, False, None, [text] * len(ids), None, False)
        self.write(no_vectors)

    @rule(name=st.sampled_from(sorted(FILTERS)))
    def delete_where(self, name: str) -> None:
        where, passes = FILTERS[name]
        if where is None:
            return
        counts = self.docs.delete(where=where)
        assert counts.deleted == self.model.delete(self.model.ids(passes))
        self.remember()

    # Migration.

    @rule(kind=st.sampled_from(["old", "new"]), limit=st.integers(1, 4), seed=SEEDS)
    def embed_slowly(self, kind: str, limit: int, seed: int) -> None:
        label = self.labels[kind]
        queue = self.docs.migration.pending(label, limit=limit)
        chunks = make_chunks(seed, len(queue), dimension_of(label), several=False)
        self.late.append((label, [(d.id, d.revision) for d in queue], chunks))

    @precondition(lambda self: self.late)
    @rule(number=st.integers(0, 9))
    def late_batch_arrives(self, number: int) -> None:
        label, queue, chunks = self.late.pop(number % len(self.late))
        if not queue or self.model.versions[label].retired:
            return
        ids, revisions = [id_ for id_, _ in queue], [revision for _, revision in queue]
        counts = self.docs.add_vectors(
            ids, np.concatenate(chunks), revisions=revisions, version=label
        )
        assert counts.written == self.model.add_vectors(
            self.store.epoch, label, ids, chunks, revisions=revisions
        )
        self.remember()

    @rule(
        kind=st.sampled_from(["old", "new"]),
        batch_size=st.integers(1, 4),
        batches_max=st.sampled_from([1, 2, None]),
        interrupted=st.booleans(),
        seed=SEEDS,
    )
    def backfill(
        self, kind: str, batch_size: int, batches_max: int | None, interrupted: bool, seed: int
    ) -> None:
        label = self.labels[kind]
        seeds = itertools.count(seed)

        def embed(documents: Sequence[vstore.Document]) -> Array | list[Array]:
            number = next(seeds)
            if interrupted and number > seed:
                raise AbandonedError
            chunks = make_chunks(number, len(documents), dimension_of(label), several=True)
            ids, revisions = [d.id for d in documents], [d.revision for d in documents]
            self.model.add_vectors(0, label, ids, chunks, revisions=revisions)
            return as_argument(chunks, 4 + number % 4)

        try:
            report = self.docs.migration.backfill(
                label, embed, batch_size=batch_size, batches_max=batches_max
            )
        except AbandonedError:
            assert interrupted
        else:
            covered = self.model.covered(label) == len(self.model.documents)
            assert report.finished == covered
            assert covered or batches_max is not None
        self.past.clear()  # several commits: which model belongs to which epoch is not known here
        self.remember()

    @rule(k=st.integers(1, 4))
    def read_both(self, k: int) -> None:
        new, route = self.labels["new"], self.model.route
        assert route is not None
        serving = route.old_version or route.version
        if serving == new:
            with pytest.raises(vstore.StateError):
                self.docs.routes.set(vstore.Dual(new))
            return
        self.docs.routes.set(vstore.Dual(new), reason="test")
        self.model.route = ModelRoute(new, serving, route.previous)
        queries = {label: self.query(label) for label in (serving, new)}
        self.remember()
        assert self.docs.search(queries, k=k).trace.mode == "dual"

    @rule(kind=st.sampled_from(["old", "new"]), force=st.booleans())
    def cutover(self, kind: str, force: bool) -> None:
        label, route = self.labels[kind], self.model.route
        assert route is not None
        covered = self.model.covered(label) == len(self.model.documents)
        reason = "test" if force else ""
        if not route.old_version and route.version == label:
            with pytest.raises(vstore.StateError):
                self.docs.routes.cutover(label, force=force, reason=reason)
        elif not covered and not force:
            with pytest.raises(vstore.GateError):
                self.docs.routes.cutover(label)
        else:
            self.docs.routes.cutover(label, force=force, reason=reason)
            serving = route.old_version or route.version
            chain = route.previous if serving == label else (*route.previous, serving)
            self.model.route = ModelRoute(label, "", chain[-16:])
        self.remember()

    @rule()
    def rollback(self) -> None:
        route = self.model.route
        assert route is not None
        if route.old_version:
            self.docs.routes.rollback(reason="test")
            self.model.route = ModelRoute(route.old_version, "", route.previous)
        elif route.previous:
            self.docs.routes.rollback()
            self.model.route = ModelRoute(route.previous[-1], "", route.previous[:-1])
        else:
            with pytest.raises(vstore.StateError):
                self.docs.routes.rollback()
        self.remember()

    @precondition(lambda self: len(self.model.versions) <= NEW_VERSIONS_MAX)
    @rule()
    def retire_and_declare_again(self) -> None:
        label, route = self.labels["new"], self.model.route
        assert route is not None
        if label in (route.version, route.old_version):
            with pytest.raises(vstore.StateError):
                self.docs.routes.retire(label)
            return
        self.docs.routes.retire(label, reason="test")
        self.model.versions[label].retired = True
        route.previous = tuple(name for name in route.previous if name != label)
        with pytest.raises(vstore.StateError):
            self.docs.search(self.query(label), version=label)
        with pytest.raises(vstore.StateError):
            self.docs.upsert(["a"], vectors={label: [self.query(label)]})
        self.remember()
        self.labels["new"] = f"new-{len(self.model.versions)}"
        self.create_version(self.labels["new"])
        self.remember()

    # Handles and epochs.

    @rule()
    def hold_a_snapshot(self) -> None:
        self.held = [
            *self.held[-2:],
            (self.store.snapshot().collection("docs"), self.model.copy()),
        ]

    @precondition(lambda self: self.held)
    @rule()
    def held_snapshots_stand_still(self) -> None:
        for collection, model in self.held:
            self.compare(collection, model)
            with pytest.raises(vstore.ReadOnlyError):
                collection.delete(["a"])

    @rule(number=st.integers(0, 50))
    def an_old_epoch_is_as_it_was(self, number: int) -> None:
        epochs = sorted(self.past)
        epoch = epochs[number % len(epochs)]
        self.compare(self.store.snapshot(epoch).collection("docs"), self.past[epoch])
        with store_in(self.medium, epoch=epoch) as store:
            self.compare(store.collection("docs"), self.past[epoch])

    @precondition(lambda self: len(self.tagged) < 3)
    @rule()
    def tag(self) -> None:
        epoch = self.store.epoch
        if epoch not in self.tagged:
            assert self.store.tag(f"tag-{epoch}") == epoch
            self.tagged.add(epoch)
        self.remember()

    @rule(keep=st.booleans())
    def vacuum(self, keep: bool) -> None:
        epoch = self.store.epoch
        kept = {*self.tagged, *([epoch] if keep else [])}
        report = self.store.vacuum(keep_epochs=[epoch] if keep else [])
        assert set(report.epochs_kept) == kept
        self.model.vacuum()
        self.past = {epoch: model for epoch, model in self.past.items() if epoch in kept}
        self.remember()

    @rule(mode=st.sampled_from(["close", "crash"]))
    def reopen(self, mode: str) -> None:
        self.held.clear()
        if mode == "close":
            self.store.close()
        else:
            self.medium, self.reader = MemoryMedium(self.medium.tobytes()), None
        self.store = store_in(self.medium, **self.options)

    @rule()
    def read_from_another_handle(self) -> None:
        if self.reader is None:
            self.reader = store_in(self.medium, mode="r")
        self.reader.refresh()
        assert self.reader.epoch == self.store.epoch
        self.compare(self.reader.collection("docs"), self.model)
        with pytest.raises(vstore.ReadOnlyError):
            self.reader.collection("docs").delete(["a"])

    # What must hold.

    @invariant()
    def store_is_as_predicted(self) -> None:
        self.compare(self.docs, self.model)
        route, expected = self.docs.routes.current, self.model.route
        assert expected is not None
        assert (route.version, route.old_version) == (expected.version, expected.old_version)
        assert route.previous == expected.previous
        history = self.store.history(limit=10_000)
        assert history[0].epoch == self.store.epoch
        assert len(history) >= self.history_length
        self.history_length = len(history)

    def teardown(self) -> None:
        if hasattr(self, "patch"):
            self.held_snapshots_stand_still() if self.held else None
            report = self.store.check()
            assert report.ok, report.problems
            self.store.close()
            self.patch.undo()

    # Comparing.

    def query(self, label: str) -> Array:
        seed = self.random.randrange(2**16)
        query: Array = make_chunks(seed, 1, dimension_of(label), several=False)[0][0]
        return query

    def compare(self, collection: vstore.Collection, model: Model) -> None:
        self.compare_documents(collection, model)
        for label, version in model.versions.items():
            covered = model.covered(label)
            coverage = collection.coverage(label)
            assert (coverage.fresh, coverage.live) == (covered, len(model.documents))
            pending = [id_ for id_ in model.ids() if not model.fresh(label, id_)]
            assert [document.id for document in collection.migration.pending(label)] == pending
            assert collection.versions[label].rows == len(model.candidates(label))
            self.compare_vectors(collection, model, label)
            if not version.retired:
                self.compare_search(collection, model, label)
        open_ = [label for label, version in model.versions.items() if not version.retired]
        if len(open_) == 2:
            self.compare_dual(collection, model, *open_)

    def compare_documents(self, collection: vstore.Collection, model: Model) -> None:
        expected = [
            vstore.Document(id_, d.created, d.revision, d.source_hash, d.metadata, d.text)
            for id_, d in ((id_, model.documents[id_]) for id_ in model.ids())
        ]
        # By repr, since 1 == True == 1.0.
        assert sorted(map(plain, collection.documents())) == sorted(map(plain, expected))
        assert [document.id for document in collection.documents()] == model.ids()
        assert len(collection) == len(expected)
        for name, (where, passes) in FILTERS.items():
            assert collection.ids(where) == model.ids(passes), name
        found = collection.get_many(IDS)
        assert [document is not None for document in found] == [
            id_ in model.documents for id_ in IDS
        ]

    def compare_vectors(self, collection: vstore.Collection, model: Model, label: str) -> None:
        for id_ in IDS:
            expected = model.served(label, id_)
            if expected is None:
                with pytest.raises(vstore.NotFoundError):
                    collection.get_vectors(id_, label)
            else:
                stored = collection.get_vectors(id_, label)
                assert stored.dtype == expected.dtype
                np.testing.assert_array_equal(stored, expected)

    def compare_search(self, collection: vstore.Collection, model: Model, label: str) -> None:
        query, where, passes, k = self.draw_search(label)
        for collapse in (True, False):
            result = collection.search(query, version=label, k=k, where=where, collapse=collapse)
            assert {hit.version for hit in result} <= {label}
            assert hits(result) == model.search(label, query, k=k, passes=passes, collapse=collapse)
            assert all(hit.document == collection.get(hit.id) for hit in result)

    def compare_dual(self, collection: vstore.Collection, model: Model, old: str, new: str) -> None:
        query, where, passes, k = self.draw_search(old)
        queries = {old: query, new: self.query(new)}
        result = collection.search(queries, k=k, where=where, read=vstore.Dual(new, old=old))
        expected = model.dual(old, new, queries, k=k, passes=passes)
        assert len(result) == expected.count
        assert all(count <= k for count in result.trace.fetched.values())
        assert result.scores == [1 / rank for rank in range(1, len(result) + 1)]
        answers = list(zip(hits(result), [hit.version for hit in result], strict=True))
        alone = [answer for answer in answers if answer in expected.alone]
        placed = [answer for answer in answers if answer not in expected.alone]
        # How the two mix is the fusion's business; the order within each is not.
        assert placed == expected.placed[: len(placed)]
        assert alone == expected.alone[: len(alone)]
        if model.covered(new) == len(model.documents):
            assert hits(result) == model.search(new, queries[new], k=k, passes=passes)

    def draw_search(self, label: str) -> tuple[Array, Any, Passes | None, int]:
        """Return another query, filter and k each time, not drawn: shrinking would not help."""
        where, passes = self.random.choice(list(FILTERS.values()))
        return self.query(label), where, passes, self.random.choice([1, 2, 3, 100])


def plain(document: vstore.Document) -> str:
    """Return a document as text that tells 1 from True; fields have no order, JSON keys have."""
    return repr(dataclasses.replace(document, metadata=dict(sorted(document.metadata.items()))))


def hits(result: vstore.SearchResult) -> list[Expected]:
    """Return a result's hits in the model's form; equality is exact, similarities included."""
    return [Expected(hit.id, hit.scores[hit.version], hit.chunk, hit.stale) for hit in result]


COMMON: dict[str, Any] = {
    "deadline": None,
    "suppress_health_check": [HealthCheck.too_slow, HealthCheck.data_too_large],
}

TestSample = Machine.TestCase
TestSample.settings = settings(max_examples=120, stateful_step_count=30, **COMMON)


class LongMachine(Machine):
    """The same, for longer."""


TestLongRun = pytest.mark.slow(LongMachine.TestCase)
TestLongRun.settings = settings(max_examples=600, stateful_step_count=60, **COMMON)
