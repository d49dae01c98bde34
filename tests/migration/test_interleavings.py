"""Writes at every step of a run: nothing late comes back, nothing is lost or done twice."""

from __future__ import annotations

import random
import threading
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.migration.corpus import contents, corpus, embed, vector_of, wanted
from tests.small_store import NEW, OLD, rows, seal
from vstore import Calls, Price

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import vstore
    from vstore.manifest.state import StalePolicy
    from vstore.types import Array, DocumentId

COUNT = 8
# Where a write may come in between: the batch has been read and is counted; it is being embedded;
# its vectors are checked; it is committed.
STEPS = ("count", "embed", "check", "commit")


class Meddler:
    """Whoever writes meanwhile, and what the collection must contain after it."""

    def __init__(self, docs: vstore.Collection) -> None:
        self.docs = docs
        self.texts: dict[DocumentId, str] = {d.id: d.text or "" for d in docs.documents()}
        self.edition = 0

    def do(self, kind: str, id_: int) -> None:
        self.edition += 1
        text = f"text {id_}, edition {self.edition}"
        if kind == "update":
            self.docs.upsert([id_], texts=[text])
            self.texts[id_] = text
        elif kind == "update both":
            vectors = {OLD: rows(1), NEW: vector_of(text)[None]}
            self.docs.upsert([id_], texts=[text], vectors=vectors)
            self.texts[id_] = text
        elif kind == "delete":
            self.docs.delete([id_])
            self.texts.pop(id_, None)
        elif kind == "add again":  # the same id, and the text that is being embedded
            text = self.texts.get(id_, f"text {id_}")
            self.docs.delete([id_])
            self.docs.upsert([id_], texts=[text])
            self.texts[id_] = text
        elif kind == "add again, changed":
            self.docs.delete([id_])
            self.docs.upsert([id_], texts=[text])
            self.texts[id_] = text
        elif kind == "give vectors" and id_ in self.texts:
            self.docs.add_vectors([id_], vector_of(self.texts[id_])[None], version=NEW)
        elif kind == "touch" and id_ in self.texts:
            self.docs.update_metadata([id_], [{"priority": self.edition}])
        elif kind == "add":
            self.docs.upsert([100 + self.edition], texts=[text])
            self.texts[100 + self.edition] = text
        elif kind == "seal":
            seal(self.docs.store)
        elif kind == "vacuum":
            self.docs.store.vacuum()

    def require_true(self) -> None:
        """Compare the collection with what it must contain, before and after a vacuum."""
        for _ in range(2):
            assert {d.id: d.text for d in self.docs.documents()} == self.texts
            assert contents(self.docs) == wanted(self.docs)
            assert self.docs.coverage(NEW).complete
            self.docs.store.vacuum()
        assert self.docs.store.check().ok


KINDS = (
    "update", "update both", "delete", "add again", "add again, changed", "give vectors", "touch",
    "add", "seal", "vacuum",
)  # fmt: skip
MOVES = st.tuples(
    st.integers(0, 12), st.sampled_from(STEPS), st.sampled_from(KINDS), st.integers(0, COUNT - 1)
)


def run(
    docs: vstore.Collection, meddle: Callable[[str], None], *, batch_size: int = 3
) -> list[tuple[DocumentId, int]]:
    """Migrate, calling ``meddle`` at each step; return ids and revisions as they were embedded."""
    seen: list[tuple[DocumentId, int]] = []

    def made(batch: Sequence[vstore.Document]) -> Array:
        meddle("embed")
        seen.extend((document.id, document.revision) for document in batch)
        return embed(batch)

    def count(document: vstore.Document) -> int:
        meddle("count")
        return len(document.text or "")

    report = docs.migrate(
        OLD,
        NEW,
        made,
        check=lambda _: meddle("check"),
        calls=Calls(batch_size=batch_size),
        price=Price(count=count),
    ).run(progress=lambda *_: meddle("commit"))
    assert report.status == "done"
    return seen


@given(st.lists(MOVES, max_size=12), st.sampled_from(["hide", "serve"]), st.integers(1, 5))
def test_whatever_is_written_at_whichever_step_the_end_is_right(
    moves: list[tuple[int, str, str, int]], policy: StalePolicy, batch_size: int
) -> None:
    docs = corpus(COUNT, stale_policy=policy)
    meddler = Meddler(docs)
    visits = dict.fromkeys(STEPS, 0)

    def meddle(step: str) -> None:
        now, visits[step] = visits[step], visits[step] + 1
        for when, where, kind, id_ in moves:
            if (when, where) == (now, step):
                meddler.do(kind, id_)

    seen = run(docs, meddle, batch_size=batch_size)
    # After the last batch nobody looked any more; a later run finds what came then.
    docs.migrate(OLD, NEW, embed).run()
    meddler.require_true()
    assert len(seen) == len(set(seen)), "a revision was embedded twice"


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("policy", ["hide", "serve"])
def test_each_write_to_each_document_at_each_step(
    kind: str, step: str, policy: StalePolicy
) -> None:
    docs = corpus(4, stale_policy=policy)
    meddler = Meddler(docs)
    done: set[str] = set()

    def meddle(where: str) -> None:
        if where == step and where not in done:
            done.add(where)
            for id_ in range(4):
                meddler.do(kind, id_)

    seen = run(docs, meddle, batch_size=2)
    assert done
    meddler.require_true()
    assert len(seen) == len(set(seen))


def test_writers_in_other_threads_lose_nothing_and_bring_nothing_back() -> None:
    docs = corpus(200)
    meddler = Meddler(docs)
    rng, stop = random.Random(7), threading.Event()
    failures: list[BaseException] = []

    def write() -> None:
        try:
            while not stop.is_set():
                meddler.do(rng.choice(KINDS[:-1]), rng.randrange(200))
        except BaseException as error:
            failures.append(error)

    thread = threading.Thread(target=write)
    thread.start()
    try:
        for _ in range(5):
            docs.migrate(OLD, NEW, embed, calls=Calls(batch_size=16)).run(batches_max=10)
    finally:
        stop.set()
        thread.join()
    assert not failures
    assert docs.migrate(OLD, NEW, embed).run().status == "done"
    meddler.require_true()
