"""An embedding service that is down or works now and then: nothing is lost, and nobody blamed."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import socket
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import vstore
from tests.migration.corpus import contents, corpus, embed, wanted
from tests.small_store import NEW, OLD
from vstore.embedding.transient_errors import is_transient

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from vstore.types import Array, DocumentId


class Status(Exception):  # noqa: N818 - as an HTTP client's
    """An error with an HTTP status, as clients raise it."""

    def __init__(self, status: int) -> None:
        super().__init__(f"HTTP {status}")
        self.status_code = status


class Response(Exception):  # noqa: N818 - as an HTTP client's
    """An error that carries the response."""

    def __init__(self, status: int) -> None:
        super().__init__("the server said no")
        self.response = type("Answer", (), {"status_code": status})()


class RateLimitError(Exception):
    """A client's own, known by name."""


class BusyError(RateLimitError):
    """Derived from one that is known by name."""


def wrapped() -> RuntimeError:
    error = RuntimeError("could not embed")
    error.__cause__ = ConnectionResetError("reset")
    return error


TRANSIENT: dict[str, Callable[[], Exception]] = {
    "connection": lambda: ConnectionError("503"),
    "refused": lambda: ConnectionRefusedError(errno.ECONNREFUSED, "refused"),
    "timeout": lambda: TimeoutError("slow"),
    "asyncio timeout": asyncio.TimeoutError,
    "unreachable": lambda: OSError(errno.ENETUNREACH, "no route"),
    "name resolution": lambda: socket.gaierror(-2, "no such host"),
    "too many requests": lambda: Status(429),
    "bad gateway": lambda: Response(502),
    "by name": lambda: RateLimitError("slow down"),
    "by a base's name": lambda: BusyError("slow down"),
    "wrapped": wrapped,
}
LASTING: dict[str, Callable[[], Exception]] = {
    "value": lambda: ValueError("too long"),
    "bad request": lambda: Status(400),
    "forbidden": lambda: Response(403),
    "file": lambda: FileNotFoundError(errno.ENOENT, "gone"),
    "runtime": lambda: RuntimeError("down"),
}


def test_transient_errors_are_told_by_class_status_number_and_name() -> None:
    for name, made in TRANSIENT.items():
        assert is_transient(made()), name
    for name, made in LASTING.items():
        assert not is_transient(made()), name


class Service:
    """It embeds unless it is down, or gets a poisoned document."""

    def __init__(
        self,
        *,
        down: Callable[[int], bool] = lambda _: False,
        error: Callable[[], Exception] = TRANSIENT["connection"],
        poison: Sequence[DocumentId] = (),
    ) -> None:
        self.down, self.error, self.poison = down, error, set(poison)
        self.calls = 0

    def __call__(self, batch: Sequence[vstore.Document]) -> Array:
        self.calls += 1
        if self.down(self.calls):
            raise self.error()
        if self.poison.intersection(document.id for document in batch):
            raise ValueError("poison")
        return embed(batch)


def always(_: int) -> bool:
    return True


def run(docs: vstore.Collection, service: Service, *, through: str, batch_size: int) -> Any:
    if through == "backfill":
        return docs.migration.backfill(NEW, service, batch_size=batch_size)
    return docs.migrate(OLD, NEW, service, calls=vstore.Calls(batch_size=batch_size)).run()


def letters(docs: vstore.Collection) -> list[DocumentId]:
    return sorted(letter.id for letter in docs.migrate(OLD, NEW).dead_letters)


EVERY_ERROR = {**TRANSIENT, **LASTING}


@pytest.mark.parametrize("error", EVERY_ERROR)
@pytest.mark.parametrize(("count", "batch_size"), [(1, 256), (2, 1), (5, 2), (31, 256), (40, 16)])
def test_an_outage_ends_the_run_and_blames_nobody(count: int, batch_size: int, error: str) -> None:
    docs = corpus(count)
    with pytest.raises(vstore.EmbeddingError) as caught:
        run(docs, Service(down=always, error=EVERY_ERROR[error]), through="migrate",
            batch_size=batch_size)  # fmt: skip
    assert isinstance(caught.value.__cause__, type(EVERY_ERROR[error]()))
    status = docs.migrate(OLD, NEW).status()
    assert (status.status, status.done, status.failed, status.left) == ("stopped", 0, 0, count)
    report = run(docs, Service(), through="migrate", batch_size=batch_size)
    assert (report.done, report.status, report.failed, report.left) == (count, "done", 0, 0)
    assert contents(docs) == wanted(docs)


@pytest.mark.parametrize("count", [1, 31])
def test_a_backfill_in_an_outage_ends_with_the_same_error(count: int) -> None:
    docs = corpus(count)
    with pytest.raises(vstore.EmbeddingError, match="does not answer: ConnectionError"):
        run(docs, Service(down=always), through="backfill", batch_size=8)
    assert letters(docs) == []
    assert run(docs, Service(), through="backfill", batch_size=8).status == "done"


@pytest.mark.parametrize("error", ["connection", "runtime"])
@pytest.mark.parametrize("batch_size", [1, 2, 7, 16, 256])
@pytest.mark.parametrize("begins", range(1, 12, 2))
def test_an_outage_in_the_middle_loses_only_the_batch_under_way(
    begins: int, batch_size: int, error: str
) -> None:
    docs = corpus(20)
    service = Service(down=lambda call: call >= begins, error=EVERY_ERROR[error])
    try:
        report = run(docs, service, through="migrate", batch_size=batch_size)
        assert report.finished
    except vstore.EmbeddingError:
        assert letters(docs) == []
        status = docs.migrate(OLD, NEW).status()
        assert status.status == "stopped"
        assert status.left == 20 - status.coverage.fresh
    service.down = lambda _: False
    assert run(docs, service, through="migrate", batch_size=batch_size).finished
    assert contents(docs) == wanted(docs)


@pytest.mark.parametrize("error", ["connection", "runtime"])
@pytest.mark.parametrize("parity", [0, 1])
@pytest.mark.parametrize("batch_size", [1, 2, 3, 8, 256])
def test_a_service_that_fails_every_second_call_blames_nobody(
    batch_size: int, parity: int, error: str
) -> None:
    docs = corpus(20)
    service = Service(down=lambda call: call % 2 == parity, error=EVERY_ERROR[error])
    for _ in range(20):
        with contextlib.suppress(vstore.EmbeddingError):
            run(docs, service, through="migrate", batch_size=batch_size)
        assert letters(docs) == []
        if docs.coverage(NEW).complete:
            break
    assert contents(docs) == wanted(docs)


@pytest.mark.parametrize("poison", [0, 7, 19])
@pytest.mark.parametrize("batch_size", [1, 2, 8, 256])
def test_poison_among_healthy_documents_is_blamed_alone(batch_size: int, poison: int) -> None:
    docs = corpus(20)
    report = run(docs, Service(poison=[poison]), through="migrate", batch_size=batch_size)
    assert (report.done, report.failed, report.left, report.status) == (19, 1, 0, "done")
    assert letters(docs) == [poison]


@pytest.mark.parametrize("batch_size", [1, 4, 256])
def test_where_everything_is_poison_nobody_is_blamed(batch_size: int) -> None:
    docs = corpus(6)
    with pytest.raises(vstore.EmbeddingError, match="nothing shows that it is their fault"):
        run(docs, Service(poison=range(6)), through="migrate", batch_size=batch_size)
    assert letters(docs) == []


def test_many_at_the_end_that_fail_as_in_an_outage_are_blamed_only_if_that_is_asked_for() -> None:
    docs = corpus(60)
    bad = range(20, 60)  # 40 in a row, and nothing after them

    def refuses_the_last(batch: Sequence[vstore.Document]) -> Array:
        if any(document.id in bad for document in batch):
            raise Status(500)
        return embed(batch)

    job = docs.migrate(OLD, NEW, refuses_the_last, calls=vstore.Calls(batch_size=16))
    for _ in range(2):  # a rerun tries them again
        with pytest.raises(
            vstore.EmbeddingError, match=r"32 documents in a row.*HTTP 500"
        ) as caught:
            job.run()
        assert "An outage would look the same" in str(caught.value)
        assert "Caps.failures" in str(caught.value)
        assert "the function's fault" not in str(caught.value)
        assert not job.dead_letters
    assert docs.coverage(NEW).fresh == 20
    assert (
        docs.migrate(OLD, NEW, refuses_the_last, caps=vstore.Caps(failures=41)).run().failed == 40
    )
    assert docs.migrate(OLD, NEW, embed).run().failed == 0
    assert contents(docs) == wanted(docs)


def test_the_last_document_is_blamed_if_one_that_has_vectors_can_be_embedded() -> None:
    docs = corpus(5)
    run(docs, Service(), through="migrate", batch_size=8)
    docs.upsert(["late"], texts=["late"])
    with pytest.raises(vstore.EmbeddingError):
        run(docs, Service(down=always, error=LASTING["runtime"]), through="migrate", batch_size=8)
    assert letters(docs) == []
    report = run(docs, Service(poison=["late"]), through="migrate", batch_size=8)
    assert (report.done, report.failed, report.status) == (0, 1, "stopped")
    assert letters(docs) == ["late"]
    report = run(docs, Service(), through="migrate", batch_size=8)
    assert (report.done, report.failed, report.status) == (1, 0, "done")


def test_letters_of_an_earlier_run_are_cleared_by_one_that_embeds_their_documents() -> None:
    for through in ("migrate", "backfill"):
        docs = corpus(20)
        run(docs, Service(poison=[3, 12]), through="migrate", batch_size=4)
        assert letters(docs) == [3, 12]
        report = run(docs, Service(), through=through, batch_size=4)
        assert (report.done, report.failed, report.status) == (2, 0, "done")
        assert contents(docs) == wanted(docs)


def test_letters_stay_where_the_service_is_down_when_they_are_tried_again() -> None:
    docs = corpus(8)
    run(docs, Service(poison=[3]), through="migrate", batch_size=4)
    with pytest.raises(vstore.EmbeddingError):
        run(docs, Service(down=always), through="migrate", batch_size=4)
    assert letters(docs) == [3]
    assert docs.migrate(OLD, NEW).status().status == "stopped"


@pytest.mark.parametrize(
    "made",
    [lambda v: v[:, :3], lambda v: v[:-1], lambda v: np.full_like(v, np.nan), lambda v: None],
    ids=["dimension", "rows", "nan", "none"],
)
def test_wrong_vectors_for_one_document_are_its_fault_and_for_all_the_function_s(
    made: Callable[[Array], Any],
) -> None:
    def of_one(batch: Sequence[vstore.Document]) -> Any:
        vectors = embed(batch)
        return made(vectors) if any(document.id == 5 for document in batch) else vectors

    docs = corpus(9)
    report = docs.migrate(OLD, NEW, of_one, calls=vstore.Calls(batch_size=4)).run()
    assert (report.done, letters(docs)) == (8, [5])
    docs = corpus(9)
    with pytest.raises(vstore.EmbeddingError):
        docs.migrate(
            OLD, NEW, lambda batch: made(embed(batch)), calls=vstore.Calls(batch_size=4)
        ).run()
    assert letters(docs) == []
    assert docs.coverage(NEW).fresh == 0


def test_a_run_that_may_make_one_batch_gets_past_poison_at_the_front() -> None:
    docs = corpus(6)
    service = Service(poison=[0, 1])
    migration = docs.migrate(OLD, NEW, service, calls=vstore.Calls(batch_size=1))
    for _ in range(12):
        migration.run(batches_max=1)
        if migration.status().left == 0:
            break
    assert sorted(letters(docs)) == [0, 1]
    assert docs.coverage(NEW).fresh == 4


class ClientError(Exception):
    """As botocore's: the response is a mapping."""

    def __init__(self, code: str, status: int) -> None:
        super().__init__(code)
        self.response = {
            "Error": {"Code": code},
            "ResponseMetadata": {"HTTPStatusCode": status},
        }


@pytest.mark.parametrize(
    ("code", "status", "passes"),
    [
        ("ThrottlingException", 429, True),
        ("ThrottlingException", 400, True),
        ("InternalFailure", 500, True),
        ("ValidationException", 400, False),
        ("AccessDeniedException", 403, False),
    ],
)
def test_a_response_that_is_a_mapping_tells_too(code: str, status: int, passes: bool) -> None:
    assert is_transient(ClientError(code, status)) is passes


@pytest.mark.parametrize("policy", ["allow", "queue"])
@pytest.mark.parametrize("batch_size", [1, 2, 4, 64])
def test_all_that_was_put_off_is_tried_again_whatever_the_batches(
    policy: Any, batch_size: int
) -> None:
    docs = corpus(40)
    docs.migration.set_dual_write(policy)
    poison = {docs.ids()[number] for number in range(3, 40, 8)}

    def embed_most(batch: Sequence[vstore.Document]) -> Any:
        if any(document.id in poison for document in batch):
            raise TimeoutError("slow text")
        return embed(batch)

    migration = docs.migrate(OLD, NEW, embed_most, calls=vstore.Calls(batch_size=batch_size))
    report = migration.run()
    assert (report.done, report.failed, report.status) == (35, 5, "done")
    assert {letter.id for letter in migration.dead_letters} == poison


def test_a_letter_whose_document_has_nothing_to_map_is_passed_over() -> None:
    store = vstore.open(":memory:")
    docs = store.create_collection("docs")
    docs.create_version("a", vstore.EmbeddingSpec("a", 4))
    docs.create_version("b", vstore.EmbeddingSpec("b", 4), provenance="mapped")
    vectors = np.eye(4, dtype=np.float32)
    docs.upsert(["1", "2"], texts=["1", "2"], vectors={"a": vectors[:2]})
    docs.upsert(["bad"], texts=["bad"])

    def make(batch: Sequence[vstore.Document]) -> Any:
        if any(document.id == "bad" for document in batch):
            raise ValueError("refused")
        return vectors[: len(batch)]

    assert docs.migrate("a", "b", make).run().failed == 1
    docs.upsert(["3"], texts=["3"], vectors={"a": vectors[2:3]})
    report = docs.migrate("a", "b", from_vectors=lambda given: given).run()
    assert (report.done, report.failed) == (1, 1)


def test_a_cap_that_is_reached_is_not_an_error_for_what_failed_before_it() -> None:
    docs = corpus(40)
    poison = docs.ids()[3]

    def embed_most(batch: Sequence[vstore.Document]) -> Any:
        if any(document.id == poison for document in batch):
            raise ValueError("refused")
        return embed(batch)

    migration = docs.migrate(
        OLD, NEW, embed_most, calls=vstore.Calls(batch_size=4), caps=vstore.Caps(documents=10)
    )
    report = migration.run()
    assert report.status == "stopped"
    assert "cap of 10 documents" in report.note
    again = docs.migrate(
        OLD, NEW, embed_most, calls=vstore.Calls(batch_size=4), caps=vstore.Caps(documents=40)
    ).run()
    assert (again.status, again.failed) == ("done", 1)
