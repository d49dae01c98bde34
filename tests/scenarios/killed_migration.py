"""A migration with a writer and a deleter beside it, killed again and again by its parent.

Run by test_scripted_migration.py: opens the store, notes what it does in the journal, and ends by
itself only when everything that can be embedded is, and its writer and deleter have had their turn.
"""

from __future__ import annotations

import json
import sys
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from threading import Event, Thread
from typing import TYPE_CHECKING

import numpy as np

import vstore
from tests.scenarios.journal import Journal
from tests.scenarios.two_spaces import NEW, OLD, TwoSpaces, text

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from vstore import Collection, Document
    from vstore.types import Array

WRITER, DELETER, PROVIDER = 1, 2, 3  # streams of random numbers
WRITTEN, DELETED = 8, 3  # documents a commit


@dataclass(frozen=True, slots=True)
class Script:
    """What is to happen.

    Attributes
    ----------
    documents, ids_end : int
        At first, and how many ids there are to write to.
    poison : tuple of int
        Ids that the provider never embeds; nobody writes or deletes them.
    failing : float
        Share of the provider's calls that fail, whatever the documents.
    changes : int
        Commits of the writer, and of the deleter, in one life of the process.
    pause_s : float
        Between those.
    """

    seed: int
    documents: int
    ids_end: int
    batch_size: int
    retries: int
    poison: tuple[int, ...]
    failing: float = 0.05
    changes: int = 25
    pause_s: float = 0.03

    def to_json(self) -> str:
        return json.dumps(asdict(self))

    @staticmethod
    def from_json(line: str) -> Script:
        values = json.loads(line)
        return Script(**{**values, "poison": tuple(values["poison"])})


class Provider:
    """An embedding service on a bad day."""

    def __init__(self, script: Script, life: int, journal: Journal) -> None:
        self._spaces = TwoSpaces(script.seed)
        self._poison = set(script.poison)
        self._failing = script.failing
        self._rng = np.random.default_rng([script.seed, PROVIDER, life])
        self._journal = journal

    def __call__(self, documents: Sequence[Document]) -> Array:
        if self._rng.random() < self._failing:
            self._journal.note("failed", 0)
            raise ConnectionError("provider: too busy, try again")
        if any(document.id in self._poison for document in documents):
            self._journal.note("refused", 0)
            raise ValueError("provider: content refused")
        self._journal.note("embedded", 0, documents=len(documents))
        return self._spaces.embed(NEW, documents)


def changed_ids(script: Script, rng: np.random.Generator, count: int) -> list[int]:
    """Pick ids to write to or delete: such as are there, were deleted, or are new."""
    picked = rng.choice(script.ids_end, size=count, replace=False).tolist()
    return [id_ for id_ in picked if id_ not in script.poison]


def write(
    docs: Collection, journal: Journal, spaces: TwoSpaces, ids: Sequence[int], versions: list[str]
) -> None:
    """Give documents a new text, which is of this commit's epoch, and vectors of some versions."""
    with docs.store.transaction() as tx:
        epoch = docs.store.epoch + 1
        journal.note("upsert", epoch, ids=ids)
        rows, generations = np.array(ids), np.full(len(ids), epoch)
        vectors = {version: spaces.vectors(version, rows, generations) for version in versions}
        tx.upsert(docs, ids, texts=[text(id_, epoch) for id_ in ids], vectors=vectors)
    journal.note("done", epoch)


def delete(docs: Collection, journal: Journal, ids: Sequence[int]) -> None:
    """Delete documents, those of the ids that are there."""
    with docs.store.transaction() as tx:
        epoch = docs.store.epoch + 1
        known = [id_ for id_ in ids if id_ in docs]
        if not known:
            return  # which makes no commit
        journal.note("delete", epoch, ids=known)
        tx.delete(docs, known)
    journal.note("done", epoch)


def main() -> None:
    path, journal_path = Path(sys.argv[1]), Path(sys.argv[2])
    life, script = int(sys.argv[3]), Script.from_json(sys.argv[4])
    journal, spaces = Journal(journal_path), TwoSpaces(script.seed)
    failed = Event()

    def writer() -> None:
        rng = np.random.default_rng([script.seed, WRITER, life])
        for _ in range(script.changes):
            versions = [OLD, NEW] if rng.random() < 0.5 else [OLD]
            write(docs, journal, spaces, changed_ids(script, rng, WRITTEN), versions)
            failed.wait(script.pause_s)

    def deleter() -> None:
        rng = np.random.default_rng([script.seed, DELETER, life])
        for _ in range(script.changes):
            delete(docs, journal, changed_ids(script, rng, DELETED))
            failed.wait(script.pause_s)

    def watched(work: Callable[[], None]) -> None:
        try:
            work()
        except BaseException:
            failed.set()
            raise

    with vstore.open(path, timeout_s=30) as store:
        journal.note("opened", store.epoch)
        docs = store.collection("docs")
        migration = docs.migrate(
            OLD,
            NEW,
            Provider(script, life, journal),
            calls=vstore.Calls(batch_size=script.batch_size, retries=script.retries),
        )
        threads = [Thread(target=watched, args=(work,)) for work in (writer, deleter)]
        for thread in threads:
            thread.start()
        quiet = False
        while not failed.is_set():
            with suppress(vstore.EmbeddingError):  # too busy for too long: later, then
                report = migration.run(progress=lambda *_: journal.note("batch", store.epoch))
                if quiet and not report.left:
                    break
            quiet = not any(thread.is_alive() for thread in threads)
            failed.wait(script.pause_s)
        for thread in threads:
            thread.join()
    if failed.is_set():
        sys.exit("the writer or the deleter failed")


if __name__ == "__main__":
    main()
