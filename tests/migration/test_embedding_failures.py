"""Embedding functions that fail, hang, lie, or may be called only so often."""

from __future__ import annotations

import builtins
import threading
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import vstore
from tests.migration.clocks import START_US, HandClock
from tests.migration.corpus import Recorder, contents, corpus, embed, wanted
from tests.small_store import NEW, OLD, rows, spec
from vstore.embedding import calls as embedding_calls
from vstore.limits import ERROR_BYTES_MAX

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from vstore.types import Array, DocumentId


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> HandClock:
    """Nobody sleeps for real."""
    hand = HandClock()
    monkeypatch.setattr(embedding_calls, "sleep", hand.sleep)
    return hand


class Provider(Recorder):
    """It fails for every batch with a poisoned document, and whenever it is down."""

    def __init__(
        self,
        *poison: DocumentId,
        down: Callable[[int], bool] = lambda _: False,
        error: Exception | None = None,
    ) -> None:
        super().__init__()
        self.poison = set(poison)
        self.down = down
        self.error = error or ConnectionError("try again")

    def __call__(self, batch: Sequence[vstore.Document]) -> Array:
        made = super().__call__(batch)
        if self.down(len(self.calls)):
            raise self.error
        bad = [document.id for document in batch if document.id in self.poison]
        if bad:
            raise ValueError(f"cannot embed {bad}")
        return made


# Poison.


def test_a_batch_that_fails_is_split_until_the_poison_is_known(clock: HandClock) -> None:
    docs, provider = corpus(16, clock=clock), Provider(3, 12)
    migration = docs.migrate(OLD, NEW, provider, calls=vstore.Calls(batch_size=8))
    report = migration.run()
    assert (report.done, report.failed, report.batches, report.status) == (14, 2, 2, "done")
    assert not report.finished
    assert provider.calls[:9] == [list(range(8)), [0, 1, 2, 3], [0, 1], [2, 3], [2], [3],
                                  [4, 5, 6, 7], [3], [3]]  # fmt: skip
    first, second = migration.dead_letters
    assert (first.id, first.attempts, first.error) == (3, 6, "ValueError: cannot embed [3]")
    assert (first.revision, first.failed_us) == (4, START_US)
    assert second.id == 12
    assert contents(docs).keys() == set(range(16)) - {3, 12}
    status = migration.status()
    assert (status.status, status.failed, status.left) == ("done", 2, 0)


def test_dead_letters_are_tried_again_once_a_run_and_go_when_their_documents_change() -> None:
    docs, provider = corpus(8), Provider(3, 5)
    migration = docs.migrate(OLD, NEW, provider, calls=vstore.Calls(batch_size=4))
    migration.run()
    for through in ("migrate", "backfill"):
        provider.calls.clear()
        report = migration.run() if through == "migrate" else docs.migration.backfill(NEW, provider)
        assert provider.calls == [[3, 5], [3], [5]]
        assert (report.done, report.failed, report.left) == (0, 2, 0)
        assert report.status == "stopped", "a run that embedded nothing is not done"
        assert "2 documents could not be embedded" in report.note
    docs.upsert([3], texts=["another text"])
    provider.poison = {5}
    assert [letter.id for letter in migration.dead_letters] == [5]
    provider.calls.clear()
    report = migration.run()
    assert provider.calls == [[3], [5]]
    assert (report.done, report.failed, report.status) == (1, 1, "done")
    provider.poison = set()
    assert migration.retry_failed() == 1
    assert migration.status().status == "stopped"
    assert migration.run().finished
    assert contents(docs) == wanted(docs)
    assert (migration.retry_failed(), migration.dead_letters) == (0, ())


def test_a_deleted_document_is_no_dead_letter() -> None:
    docs = corpus(4)
    migration = docs.migrate(OLD, NEW, Provider(2), calls=vstore.Calls(batch_size=4))
    migration.run()
    docs.delete([2])
    assert migration.dead_letters == ()
    assert docs.coverage(NEW).complete
    docs.upsert([2], texts=["text 2"])  # the same text in a new life
    assert migration.dead_letters == ()
    assert docs.migrate(OLD, NEW, embed).run().finished


def test_a_document_without_text_is_a_dead_letter_of_an_embedder() -> None:
    docs = corpus(3)
    hashing = vstore.HashingEmbedder(8)
    docs.create_version("hashed", hashing.spec)
    docs.upsert(["mute"])
    migration = docs.migrate(OLD, "hashed", hashing)
    assert migration.run().done == 3
    assert "has no text to embed" in migration.dead_letters[0].error
    docs.upsert(["mute"], texts=["I can speak"])
    assert migration.run().finished


class Terrible(Exception):  # noqa: N818 - a provider's
    def __str__(self) -> str:
        raise RuntimeError


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (ValueError("é" * 400), "ValueError: " + "é" * 250),
        (KeyError("\ud800"), "KeyError: '\\ud800'"),
        (OSError("\ud800"), "OSError: ?"),
        (Terrible(), "Terrible"),
    ],
)
def test_errors_are_kept_as_text_of_bounded_size(error: Exception, text: str) -> None:
    docs = corpus(2)

    def failing(batch: Sequence[vstore.Document]) -> Array:
        if any(document.id == 0 for document in batch):
            raise error
        return embed(batch)

    migration = docs.migrate(OLD, NEW, failing)
    migration.run()
    kept = migration.dead_letters[0].error
    assert kept == text
    assert len(kept.encode()) <= ERROR_BYTES_MAX


def test_too_many_dead_letters_stop_the_job(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vstore.manifest.job_edits.DEAD_LETTERS_MAX", 2)
    docs = corpus(12)
    migration = docs.migrate(OLD, NEW, Provider(0, 5, 8), calls=vstore.Calls(batch_size=4))
    with pytest.raises(vstore.LimitExceededError, match="DEAD_LETTERS_MAX"):
        migration.run()
    status = migration.status()
    assert (status.status, status.done, status.failed) == ("stopped", 6, 2)
    assert "dead letters" in status.note


# Failures of the function itself.


def test_a_function_that_always_fails_stops_the_job_and_blames_no_document(
    clock: HandClock,
) -> None:
    docs = corpus(20, clock=clock)
    provider = Provider(down=lambda call: call > 1, error=RuntimeError("out of memory"))
    migration = docs.migrate(
        OLD, NEW, provider, calls=vstore.Calls(batch_size=10), caps=vstore.Caps(failures=5)
    )
    with pytest.raises(vstore.EmbeddingError, match="5 documents in a row") as caught:
        migration.run()
    assert isinstance(caught.value.__cause__, RuntimeError)
    status = migration.status()
    assert (status.status, status.done, status.failed, status.batches) == ("stopped", 10, 0, 1)
    assert "5 documents in a row" in status.note
    provider.down = lambda _: False
    assert migration.run().finished


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit, GeneratorExit])
@pytest.mark.parametrize("timeout_s", [None, 60])
def test_an_interrupt_goes_through_and_leaves_whole_batches(
    error: type[BaseException], timeout_s: float | None
) -> None:
    docs = corpus(6)

    def interrupted(batch: Sequence[vstore.Document]) -> Array:
        if batch[0].id == 2:
            raise error
        return embed(batch)

    migration = docs.migrate(
        OLD, NEW, interrupted, calls=vstore.Calls(batch_size=2, retries=2, timeout_s=timeout_s)
    )
    with pytest.raises(error):
        migration.run()
    status = migration.status()
    assert (status.done, status.failed, status.status) == (2, 0, "open")
    assert docs.migrate(OLD, NEW, embed).run().finished


@pytest.mark.parametrize(
    "made",
    [rows(3), rows(4, 5), np.full((4, 4), np.nan), np.zeros((4, 4)), None, "no vectors", [[]]],
    ids=["too few", "dimension", "nan", "zero", "none", "text", "ragged"],
)
def test_what_is_no_vector_is_written_by_no_means(made: Any) -> None:
    docs = corpus(4)
    with pytest.raises(vstore.EmbeddingError):
        docs.migrate(OLD, NEW, lambda _: made, caps=vstore.Caps(failures=2)).run()
    assert docs.coverage(NEW).fresh == 0


def test_one_vector_that_is_not_finite_costs_its_document_only() -> None:
    docs = corpus(8)

    def made(batch: Sequence[vstore.Document]) -> Array:
        vectors = embed(batch)
        vectors[[document.id == 5 for document in batch]] = np.nan
        return vectors

    migration = docs.migrate(OLD, NEW, made)
    assert migration.run().done == 7
    assert "is no number" in migration.dead_letters[0].error


def test_a_function_may_use_its_array_again() -> None:
    docs = corpus(8)
    buffer = np.empty((8, 4), np.float32)

    def made(batch: Sequence[vstore.Document]) -> Array:
        if len(batch) > 2:
            raise ValueError("too many")
        buffer[: len(batch)] = embed(batch)
        return buffer[: len(batch)]

    assert docs.migrate(OLD, NEW, made).run().finished
    assert contents(docs) == wanted(docs)


def test_vectors_of_another_model_end_the_run_at_once() -> None:
    docs, calls = corpus(4), []

    def other(batch: Sequence[vstore.Document]) -> vstore.Embeddings:
        calls.append(len(batch))
        return vstore.Embeddings(spec("model-old"), embed(batch))

    with pytest.raises(vstore.VersionMismatchError):
        docs.migrate(OLD, NEW, other, calls=vstore.Calls(retries=3)).run()
    assert calls == [4]


def test_a_check_sees_all_rows_before_they_are_written_and_may_end_the_run() -> None:
    docs, seen = corpus(6), []

    def check(vectors: Array) -> None:
        seen.append(vectors.shape)
        if len(seen) == 2:
            raise ValueError("suspect geometry")

    with pytest.raises(ValueError, match="suspect geometry"):
        docs.migrate(OLD, NEW, embed, check=check, calls=vstore.Calls(batch_size=4)).run()
    assert seen == [(4, 4), (2, 4)]
    assert docs.coverage(NEW).fresh == 4


# Retries, pace, timeouts.


def test_a_call_that_fails_is_tried_again_after_longer_and_longer(clock: HandClock) -> None:
    docs, provider = corpus(4, clock=clock), Provider(down=lambda call: call < 5)
    report = docs.migrate(OLD, NEW, provider, calls=vstore.Calls(retries=4)).run()
    assert (report.done, report.batches, report.failed) == (4, 1, 0)
    assert provider.calls == [[0, 1, 2, 3]] * 5
    assert len(clock.slept) == 4
    base, jitter = embedding_calls.BACKOFF_S, embedding_calls.BACKOFF_S
    for number, slept in enumerate(clock.slept):
        assert base * 2**number <= slept <= base * 2**number + jitter


def test_parts_of_a_failed_batch_are_tried_once_and_single_documents_again(
    clock: HandClock,
) -> None:
    docs, provider = corpus(4, clock=clock), Provider(1)
    migration = docs.migrate(OLD, NEW, provider, calls=vstore.Calls(retries=2))
    migration.run()
    assert provider.calls == [[0, 1, 2, 3]] * 3 + [[0, 1], [0], [1], [1], [1], [2, 3], [1], [1]]
    assert migration.dead_letters[0].attempts == 9


def test_retries_need_their_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without(name: str, *args: Any, **kwargs: Any) -> Any:
        if name.startswith("tenacity"):
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    docs = corpus(3)
    with pytest.raises(vstore.MissingDependencyError, match=r"vstore\[migrate\]"):
        docs.migrate(OLD, NEW, embed, calls=vstore.Calls(retries=1))
    assert docs.migrate(OLD, NEW, embed).run().finished


def test_calls_keep_to_the_rate_tries_included(clock: HandClock) -> None:
    docs, at = corpus(6, clock=clock), []
    provider = Provider(down=lambda call: call == 2)

    def timed(batch: Sequence[vstore.Document]) -> Array:
        at.append(clock.monotonic_s())
        clock.advance(0.5)
        return provider(batch)

    docs.migrate(
        OLD, NEW, timed, calls=vstore.Calls(batch_size=2, retries=1, rate_per_s=0.25)
    ).run()
    assert at == [0.0, 4.0, 8.0, 12.0]


def test_a_call_that_hangs_is_given_up_on() -> None:
    docs = corpus(4)
    leave = threading.Event()
    hung: list[threading.Thread] = []

    def hanging(batch: Sequence[vstore.Document]) -> Array:
        if any(document.id == 2 for document in batch):
            hung.append(threading.current_thread())
            leave.wait(60)
        return embed(batch)

    migration = docs.migrate(OLD, NEW, hanging, calls=vstore.Calls(timeout_s=0.05))
    try:
        report = migration.run()
        assert (report.status, report.done, report.left, report.failed) == ("done", 3, 0, 1)
        assert "TimeoutError: no vectors after 0.05" in migration.dead_letters[0].error
        assert all(thread.daemon and thread.is_alive() for thread in hung)
        assert 2 not in contents(docs)
    finally:
        leave.set()
        for thread in hung:
            thread.join()
    assert 2 not in contents(docs)  # what a call returns after that is thrown away


def test_too_many_hanging_calls_end_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedding_calls, "HUNG_MAX", 2)
    docs, leave = corpus(8), threading.Event()
    hung: list[threading.Thread] = []

    def hanging(batch: Sequence[vstore.Document]) -> Array:
        hung.append(threading.current_thread())
        leave.wait(60)
        return embed(batch)

    try:
        with pytest.raises(vstore.EmbeddingError, match="2 calls of the embedding function hang"):
            docs.migrate(OLD, NEW, hanging, calls=vstore.Calls(timeout_s=0.02)).run()
    finally:
        leave.set()
        for thread in hung:
            thread.join()
    assert len(hung) == 2
    assert docs.coverage(NEW).fresh == 0
    assert docs.migrate(OLD, NEW).status().status == "stopped"


# Whatever fails, the end is the same.


def calls_down(outages: list[tuple[int, int]]) -> set[int]:
    """Return which calls fail, given how many work before each outage, and how many it takes."""
    down: set[int] = set()
    call = 0
    for up, length in outages:
        call += up
        down.update(range(call + 1, call + length + 1))
        call += length
    return down


# No outage begins and ends with the five calls that a document is tried alone: that would look like
# its fault, until the next run.
@given(
    poison=st.sets(st.integers(0, 19), max_size=6),
    down=st.lists(st.tuples(st.integers(1, 9), st.sampled_from([1, 2, 3, 4, 10])), max_size=5).map(
        calls_down
    ),
    batch_size=st.integers(1, 9),
    batches_max=st.none() | st.integers(1, 3),
)
def test_whatever_fails_everything_but_the_poison_is_embedded_once(
    poison: set[int], down: set[int], batch_size: int, batches_max: int | None
) -> None:
    docs = corpus(20)
    provider = Provider(*poison, down=lambda call: call in down)
    migration = docs.migrate(
        OLD, NEW, provider, calls=vstore.Calls(batch_size=batch_size), caps=vstore.Caps(failures=4)
    )
    embedded = 0
    for _ in range(200):
        before = docs.coverage(NEW).fresh
        try:
            report = migration.run(batches_max=batches_max)
        except vstore.EmbeddingError:
            assert migration.status().status == "stopped"
            if len(poison) >= 4 and len(provider.calls) > max(down, default=0):
                migration = docs.migrate(
                    OLD,
                    NEW,
                    provider,
                    calls=vstore.Calls(batch_size=batch_size),
                    caps=vstore.Caps(failures=99),
                )
        else:
            assert report.done or report.status != "done"
        finally:
            embedded += docs.coverage(NEW).fresh - before
        assert {letter.id for letter in migration.dead_letters} <= poison, "of a healthy document"
        if migration.status().left == 0:
            break
    assert {letter.id for letter in migration.dead_letters} == poison
    expected = {id_: row for id_, row in wanted(docs).items() if id_ not in poison}
    assert contents(docs) == expected
    assert embedded == 20 - len(poison)
