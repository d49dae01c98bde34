"""A large collection is moved to another model while everything goes wrong.

Users write, delete and search. The process that embeds is killed again and again, the provider
fails some of its calls and refuses some documents for good, and on the way the route changes from
the old version to a dual read to a canary. Nothing acknowledged may be lost, nothing deleted may
come back, and every answer must be what the documents of its epoch say.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pytest

import vstore
from tests.scenarios.checked_reads import CheckedReader, covered
from tests.scenarios.journal import History, Journal, Model
from tests.scenarios.killed_migration import Script, delete, write
from tests.scenarios.two_spaces import NEW, OLD, TwoSpaces, spec, text

if TYPE_CHECKING:
    from collections.abc import Callable

ROOT = Path(__file__).parents[2]
MIGRATION = "tests.scenarios.killed_migration"
SEED = 20_261_125
READERS = 4
EARLY_SHARE, EARLY_S = 0.2, 1.0  # of kills that do not wait for a batch, and how long those wait
BATCHES_MAX, WITHIN_S = 5, 0.2  # other kills come after so many batches, and within so long
LIFE_MAX_S, ENDING_MAX_S = 600.0, 3_600.0
CHECK_EVERY = 20  # kills


class Size(NamedTuple):
    documents: int
    batch_size: int
    poison: int
    kills: int
    retries: int
    pause_s: float


LARGE = Size(100_000, 500, 20, 50, 1, 1.0)
SMALL = Size(2_000, 50, 5, 3, 0, 0.05)


class Migration:
    """One scripted migration: the store, its journal, and the processes that work on it."""

    def __init__(self, folder: Path, size: Size) -> None:
        self.path, self._journal_path = folder / "docs.vstore", folder / "journal.jsonl"
        self._errors = folder / "stderr.txt"
        rng = np.random.default_rng(SEED)
        poison = rng.choice(size.documents, size.poison, replace=False).tolist()
        ids_end = size.documents + size.documents // 20
        self.script = Script(
            SEED, size.documents, ids_end, size.batch_size, size.retries, tuple(poison)
        )
        self.size, self.spaces = size, TwoSpaces(SEED)
        self.journal = Journal(self._journal_path)
        self.history = History(self._journal_path)
        self._rng = rng
        self.lives = 0

    def load(self) -> Model:
        """Make the store with its old version; return the model of that."""
        ids = np.arange(self.size.documents)
        with vstore.open(self.path) as store:
            docs = store.create_collection("docs")
            docs.create_version(OLD, spec(OLD))
            docs.create_version(NEW, spec(NEW))
            docs.migration.set_dual_write("queue")
            vectors = {OLD: self.spaces.vectors(OLD, ids, np.zeros_like(ids))}
            docs.upsert(ids.tolist(), texts=[text(id_, 0) for id_ in ids.tolist()], vectors=vectors)
            self.epoch_loaded = store.epoch
        return self.model()

    def model(self) -> Model:
        """Return the model of the first epoch, which may be advanced to any."""
        return Model(
            self.spaces,
            documents=self.size.documents,
            ids_end=self.script.ids_end,
            epoch=self.epoch_loaded,
        )

    def start(self) -> subprocess.Popen[bytes]:
        self.lives += 1
        command = [sys.executable, "-m", MIGRATION, self.path, self._journal_path]
        command += [self.lives, self.script.to_json()]
        with self._errors.open("wb") as errors:
            return subprocess.Popen(list(map(str, command)), cwd=ROOT, stderr=errors)

    def run_and_kill(self) -> None:
        """Let the migration live for a while, and kill it."""
        before = self._batches()
        process = self.start()
        if self._rng.random() < EARLY_SHARE:
            time.sleep(self._rng.random() * EARLY_S)
        else:
            wanted = before + int(self._rng.integers(1, BATCHES_MAX + 1))
            deadline = time.monotonic() + LIFE_MAX_S
            while process.poll() is None and self._batches() < wanted:
                assert time.monotonic() < deadline, f"no batch in {LIFE_MAX_S} s, seed {SEED}"
                time.sleep(0.01)
            time.sleep(self._rng.random() * WITHIN_S)
        assert process.poll() is None, f"ended by itself, seed {SEED}:\n{self._errors.read_text()}"
        process.kill()
        process.wait()

    def run_to_the_end(self) -> None:
        assert self.start().wait(ENDING_MAX_S) == 0, f"seed {SEED}:\n{self._errors.read_text()}"

    def _batches(self) -> int:
        self.history.follow()
        return self.history.counts["batch"]

    def routed(self, change: Callable[[vstore.Collection], object], **route: str) -> None:
        """Change the route, as an operator does between two lives of the migration."""
        with vstore.open(self.path, timeout_s=30) as store:
            self.journal.note("opened", store.epoch)
            self.journal.note("route", store.epoch + 1, **route)
            change(store.collection("docs"))


def require_whole(store: vstore.Store, model: Model, history: History, *, dead: set[int]) -> None:
    """Compare everything in the store with the model: nothing lost, nothing come back."""
    docs = store.collection("docs")
    history.follow()
    model.advance(history, store.epoch)
    alive = set(np.flatnonzero(model.alive).tolist())
    found = {document.id: document.text for document in docs.documents()}
    assert set(found) == alive, f"seed {SEED}"
    expected = {id_: text(id_, int(model.generation[id_])) for id_ in alive}
    assert found == expected, f"seed {SEED}"
    assert set(np.flatnonzero(covered(docs, OLD, model)).tolist()) == alive, f"seed {SEED}"
    assert set(np.flatnonzero(covered(docs, NEW, model)).tolist()) == alive - dead, f"seed {SEED}"


@pytest.mark.parametrize(
    "size",
    [pytest.param(LARGE, marks=pytest.mark.slow, id="large"), pytest.param(SMALL, id="small")],
)
def test_a_migration_survives_everything(
    size: Size, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    began_s = time.monotonic()
    migration = Migration(tmp_path, size)
    models = [migration.load(), *(migration.model() for _ in range(READERS))]
    history = migration.history
    readers = [
        CheckedReader(migration.path, history, model, number=number, pause_s=size.pause_s)
        for number, model in enumerate(models[1:])
    ]
    for reader in readers:
        reader.start()
    try:
        for kill in range(size.kills):
            if kill == size.kills // 3:
                migration.routed(
                    lambda docs: docs.routes.set(vstore.Dual(NEW)), mode="dual", version=NEW
                )
            if kill == 2 * size.kills // 3:
                migration.routed(
                    lambda docs: docs.routes.set(vstore.Canary(NEW, percent=50)),
                    mode="canary",
                    version=NEW,
                )
            migration.run_and_kill()
            assert not [r.problems for r in readers if r.problems], f"kill {kill}, seed {SEED}"
            if kill % CHECK_EVERY == CHECK_EVERY - 1:
                vstore.open(migration.path, mode="r", verify="full").close()
        migration.run_to_the_end()
        go_live(migration, models[0])
    finally:
        for reader in readers:
            reader.stop()
    with vstore.open(migration.path) as store:
        store.vacuum()  # and with it goes the history, which would take minutes to check
        assert store.check().problems == (), f"seed {SEED}"
        require_whole(store, models[0], history, dead=set(migration.script.poison))
    assert [reader.problems for reader in readers] == [[]] * READERS, f"seed {SEED}"
    assert history.lost == [], f"seed {SEED}"
    reads = sum((reader.reads for reader in readers), Counter())
    epochs = set().union(*(reader.epochs for reader in readers))
    for reader in readers:
        assert reader.mixed["silent"] == 0
    if size == LARGE:  # the small one is over before many dual reads were made
        assert any(reader.mixed["explicit"] > 0 for reader in readers)
    embedded = sum(e["documents"] for e in history.entries if e["what"] == "embedded")
    changed = sum(len(e["ids"]) for e in history.entries if "ids" in e)
    # No document twice, but for the batch under way at each kill, and what changed meanwhile.
    assert embedded <= size.documents + changed + migration.lives * size.batch_size
    figures = {
        "kills": size.kills,
        "reads": reads.total(),
        "by kind": dict(reads),
        "epochs read at": len(epochs),
        "changes": sum(history.counts[what] for what in ("upsert", "delete")),
        "batches": history.counts["batch"],
        "calls": {what: history.counts[what] for what in ("embedded", "failed", "refused")},
        "seconds": round(time.monotonic() - began_s),
    }
    record_property("figures", figures)


def go_live(migration: Migration, model: Model) -> None:
    """Cut over, take it back, and cut over again, with writes in between and readers beside."""
    history, journal, dead = migration.history, migration.journal, set(migration.script.poison)

    def gates() -> vstore.Gates:
        """Demand everything but the documents that nobody can embed."""
        covered_share = (len(docs) - len(dead)) / len(docs)
        return vstore.Gates(coverage=covered_share, stale=0.0, dead_letters=len(dead), recall=0.9)

    with vstore.open(migration.path, timeout_s=30) as store:
        journal.note("opened", store.epoch)
        docs = store.collection("docs")
        require_whole(store, model, history, dead=dead)
        job = docs.migrate(OLD, NEW)
        assert {letter.id for letter in job.dead_letters} == dead, f"seed {SEED}"
        assert job.status().left == 0
        docs.migration.set_dual_write("require")
        for number, step in enumerate(("cutover", "rollback", "cutover again")):
            version = OLD if step == "rollback" else NEW
            journal.note("route", store.epoch + 1, mode="matched", version=version)
            if version == NEW:
                docs.routes.cutover(NEW, gates=gates(), reason=step)
            else:
                docs.routes.rollback(reason=step)
            assert docs.routes.current.version == version
            assert docs.versions[version].state == "serving"
            ids = [id_ for id_ in range(100 * number, 100 * number + 20) if id_ not in dead]
            write(docs, journal, migration.spaces, ids, [OLD, NEW])
            delete(docs, journal, ids[:5])
            time.sleep(4 * migration.size.pause_s)  # readers meet every step
        require_whole(store, model, history, dead=dead)
