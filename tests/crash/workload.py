"""A scripted life of a store, every step one commit, and what a store contains as plain data.

The script is deterministic: two runs write the same bytes but for the file's uuid. So a run that
is cut short can be compared with the states that a whole run went through.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np

from vstore import Dual, EmbeddingSpec, Gates
from vstore import field as where_field
from vstore.api.opening import open_store
from vstore.limits import SEAL_DOCUMENTS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from vstore import Collection, Document, Reader, Store
    from vstore.storage.file import Medium
    from vstore.testing import FaultyMedium
    from vstore.types import Array

Dump: TypeAlias = dict[str, Any]
Durability: TypeAlias = Literal["full", "relaxed"]

SPEC_1 = EmbeddingSpec("model-one", 4)
SPEC_2 = EmbeddingSpec("model-two", 6, "inner_product", preprocessing="strip-html/3")
SPEC_2_RENAMED = EmbeddingSpec("model-two-hosted", 6, "inner_product")
FIELDS = {
    "tenant": "keyword",
    "tags": "keywords",
    "year": "int",
    "score": "float",
    "public": "bool",
    "at": "timestamp",
    "extra": "json",
}
BULK = SEAL_DOCUMENTS + 1
NOON = dt.datetime(2026, 1, 1, 12, tzinfo=dt.UTC)


class FrozenClock:
    """Time stands still, so that files differ only where their contents do."""

    def now_us(self) -> int:
        return 1_700_000_000_000_000

    def monotonic_s(self) -> float:
        return 0.0


def unit_rows(seed: int, shape: tuple[int, ...]) -> Array:
    """Return rows of random directions."""
    rows = np.random.default_rng(seed).standard_normal(shape).astype(np.float32)
    return np.asarray(rows / np.linalg.norm(rows, axis=-1, keepdims=True))


def metadata_of(number: int) -> dict[str, object]:
    """Return metadata that uses every field type, and leaves some out."""
    values: dict[str, object] = {
        "tenant": f"tenant-{number % 3}",
        "tags": ["red", "größe"][: number % 3],
        "year": 2000 + number,
        "score": number / 7,
        "public": number % 2 == 0,
        "at": NOON + dt.timedelta(days=number),
        "extra": {"n": [number, None, "x"]},
    }
    return {name: value for i, (name, value) in enumerate(values.items()) if (number + i) % 5}


class Run:
    """One execution of the script, and what was acknowledged on the way."""

    def __init__(
        self,
        medium: Medium,
        durability: Durability = "full",
        note: Callable[[Run], object] = id,
    ) -> None:
        self.acknowledged = 0
        self._note: Callable[[Run], object] = note
        self.store = open_store(medium, durability=durability, clock=FrozenClock())

    def note(self, *_progress: int) -> None:
        """Take down that the commit before this call has returned."""
        self.acknowledged += 1
        self._note(self)

    @property
    def docs(self) -> Collection:
        return self.store.collection("docs")


Step: TypeAlias = "Callable[[Run], object]"


def _create(run: Run) -> None:
    run.store.create_collection("docs", fields=FIELDS)


def _first_version(run: Run) -> None:
    run.docs.create_version("v1", SPEC_1)


def _second_version(run: Run) -> None:
    run.docs.create_version("v2", SPEC_2, storage="float16", stale_policy="serve")


def _upsert(numbers: Sequence[int], *, edition: int = 1, both: bool = False) -> Step:
    """Write documents; every third has several chunks."""

    def step(run: Run) -> None:
        chunks = [1 + 2 * (n % 3 == 0) for n in numbers]
        vectors = {
            "v1": [
                unit_rows(n + 100 * edition, (c, 4)) for n, c in zip(numbers, chunks, strict=True)
            ]
        }
        if both:
            vectors["v2"] = [unit_rows(n, (1, 6)) for n in numbers]
        run.docs.upsert(
            [n if n % 4 == 3 else f"doc-{n}" for n in numbers],
            texts=[f"text {n}, edition {edition}" if n % 5 else None for n in numbers],
            source_hashes=[f"source {n}, edition {edition}" for n in numbers],
            metadata=[metadata_of(n) for n in numbers],
            vectors=vectors,
        )

    return step


def _update_metadata(run: Run) -> None:
    run.docs.update_metadata(["doc-1", 3], [{"year": 1999, "tags": None}, {"extra": [1, {}]}])


def _delete(run: Run) -> None:
    run.docs.delete(["doc-2", "doc-0", "unknown"])


def _change_source(run: Run) -> None:
    run.docs.upsert(["doc-1", "doc-4"], texts=["one, rewritten", "four, rewritten"])


def _embed(documents: Sequence[Document]) -> Array:
    return np.stack([unit_rows(document.revision, (6,)) for document in documents])


def _start_backfill(run: Run) -> None:
    run.docs.migration.backfill("v2", _embed, batches_max=0)


def _backfill_batch(run: Run) -> None:
    run.docs.migration.backfill("v2", _embed, batch_size=4, batches_max=1)


def _finish_backfill(run: Run) -> None:
    # Each batch is a commit, and so is the job's end, which the caller notes.
    run.docs.migration.backfill("v2", _embed, batch_size=4, progress=run.note)


def _two_collections(run: Run) -> None:
    with run.store.transaction() as tx:
        tx.upsert(run.store.collection("notes"), ["note-1"], metadata=[{"kind": "memo"}])
        tx.delete(run.docs, ["doc-5"])
        tx.update_metadata(run.docs, ["doc-7" if 7 % 4 != 3 else 7], [{"score": -1.5}])


def _bulk(run: Run) -> None:
    ids = [f"bulk-{n}" for n in range(BULK)]
    run.docs.upsert(
        ids,
        metadata={"year": list(range(BULK)), "tenant": [f"t{n % 7}" for n in range(BULK)]},
        vectors={"v2": unit_rows(7, (BULK, 6))},
    )


def _delete_bulk(run: Run) -> None:
    run.docs.delete(where=(where_field("year") >= 20) & (where_field("year") < 1900))


def _seal(number: int) -> list[tuple[str, Step]]:
    """Steps whose last one seals the memtable: a collection is dropped."""
    name = f"passing-{number}"
    return [
        ("create a collection", lambda run: run.store.create_collection(name)),
        ("write before a seal", _upsert([20 + number, 3 + number % 3], edition=2 + number)),
        ("drop it and seal", lambda run: run.store.drop_collection(name)),
    ]


BEGINNING: list[tuple[str, Step]] = [
    ("create a collection", _create),
    ("create a version", _first_version),
    ("insert", _upsert(range(4))),
    ("insert more", _upsert(range(4, 8))),
    ("update metadata", _update_metadata),
    ("delete", _delete),
    ("re-add", _upsert([2], edition=9)),
    ("tag", lambda run: run.store.tag("early", note="before the sources changed")),
    ("change sources", _change_source),
    ("write the same again", _upsert([4, 5, 6], edition=2)),
]
MIGRATION: list[tuple[str, Step]] = [
    ("create a second version", _second_version),
    ("dual write", _upsert([9, 10], both=True)),
    ("start a backfill", _start_backfill),
    ("backfill a batch", _backfill_batch),
    ("change a source meanwhile", _upsert([6], edition=4)),
    ("read both", lambda run: run.docs.routes.set(Dual("v2", fusion="evidence"), reason="trial")),
    ("backfill the rest", _finish_backfill),
    ("cut over", lambda run: run.docs.routes.cutover("v2", reason="gates pass")),
    ("roll back", lambda run: run.docs.routes.rollback(reason="second thoughts")),
    ("cut over again", lambda run: run.docs.routes.cutover("v2", gates=Gates(coverage=0.5))),
    (
        "declare an equivalence",
        lambda run: run.store.declare_equivalent(SPEC_2, SPEC_2_RENAMED, reason="renamed"),
    ),
]
GROWTH: list[tuple[str, Step]] = [
    ("create notes", lambda run: run.store.create_collection("notes", fields={"kind": "keyword"})),
    ("write to two collections", _two_collections),
    *[step for number in range(8) for step in _seal(number)],
    ("a large commit", _bulk),
    ("delete most of it", _delete_bulk),
    ("tag again", lambda run: run.store.tag("late")),
    ("add a field", lambda run: run.docs.add_field("later", "int")),
]
VACUUMS: list[tuple[str, Step]] = [
    ("vacuum", lambda run: run.store.vacuum(keep_epochs=[run.store.epoch - 1])),
    ("write after the vacuum", _upsert([30, 31], both=True)),
    ("change after the vacuum", _upsert([6, 9], edition=5, both=True)),
    ("delete after the vacuum", lambda run: run.docs.delete(["doc-9", 31])),
    ("retire", lambda run: run.docs.routes.retire("v1")),
    ("untag", lambda run: run.store.untag("late")),
    ("vacuum again", lambda run: run.store.vacuum()),
    ("vacuum at once again", lambda run: run.store.vacuum()),
    ("write after two vacuums", lambda run: run.docs.update_metadata(["doc-1"], [{"later": 1}])),
    ("the last tag", lambda run: run.store.tag("end")),
]
WHOLE_LIFE = [*BEGINNING, *MIGRATION, *GROWTH, *VACUUMS]
SHORT_LIFE = [*BEGINNING, *MIGRATION, *_seal(0), *GROWTH[-2:], *VACUUMS]
TWO_VERSIONS_LIFE = SHORT_LIFE[:-6]  # before one is retired


@dataclass(frozen=True, slots=True)
class Acknowledged:
    """A commit that returned: how much was journalled by then, and the state it made."""

    position: int
    step: str
    state: Dump
    synced: bool


@dataclass(slots=True)
class Recording:
    """A whole run: every operation, and every state in between."""

    medium: FaultyMedium
    states: list[Acknowledged] = field(default_factory=list)


def record(
    medium: FaultyMedium,
    steps: Sequence[tuple[str, Step]],
    *,
    durability: Durability = "full",
    sync_every: int = 1,
) -> Recording:
    """Run the script to its end and dump every state.

    Parameters
    ----------
    sync_every : int
        Under relaxed durability, sync behind every so many steps.
    """
    recording = Recording(medium)
    step = "create the store"

    def note(run: Run) -> None:
        synced = durability == "full" or step.startswith("vacuum") or run.acknowledged == 1
        recording.states.append(
            Acknowledged(len(medium.journal), step, dump(run.store), synced=synced)
        )

    run = Run(medium, durability, note)
    run.note()
    for number, (name, action) in enumerate(steps):
        step = name
        action(run)
        run.note()
        if durability == "relaxed" and number % sync_every == 0:
            run.store.sync()
            last = recording.states[-1]
            recording.states.append(
                Acknowledged(len(medium.journal), "sync", last.state, synced=True)
            )
    run.store.close()
    return recording


# Dumps.


def dump(store: Store) -> Dump:
    """Return everything a user can see of a store."""
    reader = store.snapshot()
    return {
        **contents(reader),
        "tags": {name: (epoch, contents(store.snapshot(epoch))) for name, epoch in tags(store)},
        "equivalences": [
            (e.first, e.second, e.reason) for e in store._open_file.current().state.equivalences
        ],
        "history": [entry.to_dict() for entry in store.history(limit=10_000)],
    }


def tags(store: Store) -> Iterable[tuple[str, int]]:
    """Return tags and their epochs in order."""
    return sorted(store.tags.items())


def contents(reader: Reader) -> Dump:
    """Return the collections at one epoch."""
    return {
        "epoch": reader.epoch,
        "collections": {name: _collection(reader.collection(name)) for name in reader.collections},
    }


def _collection(collection: Collection) -> Dump:
    state = collection._handle.view().state
    return {
        "fields": collection.fields,
        "documents": sorted(map(_document, collection.documents()), key=repr),
        "routes": dict(state.routes),
        "jobs": dict(state.jobs),
        "versions": {label: _version(collection, label) for label in collection.versions},
    }


def _document(document: Document) -> tuple[object, ...]:
    return (
        document.id,
        document.created,
        document.revision,
        document.source_hash,
        document.text,
        sorted(document.metadata.items()),
    )


def _version(collection: Collection, label: str) -> Dump:
    info = collection.versions[label]
    rows = sorted(
        (repr(id_), int(chunk), int(revision), vector.tobytes())
        for ids, chunks, revisions, vectors in collection.vectors(label)
        for id_, chunk, revision, vector in zip(ids, chunks, revisions, vectors, strict=True)
    )
    found: list[object] = []
    if info.retired_us is None:
        query = unit_rows(1, (info.spec.dimension,))
        result = collection.search(query, version=label, k=5)
        found = [(hit.id, hit.chunk, hit.score, hit.stale) for hit in result]
    return {
        "spec": info.spec,
        "state": info.state,
        "coverage": info.coverage,
        "stale": info.stale_documents,
        "created": info.created_epoch,
        "retired": info.retired_us,
        "rows": rows,
        "found": found,
    }
