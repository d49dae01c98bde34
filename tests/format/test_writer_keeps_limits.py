"""What a writer accepts a reader accepts: no call makes a file that cannot be opened again."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from tests.format.answers import answers_of_reader, answers_of_vstore
from tests.format.rules import check_rules
from vstore import (
    CorruptionError,
    Dual,
    EmbeddingSpec,
    InvalidArgumentError,
    LimitExceededError,
    Store,
    limits,
)
from vstore.api.opening import open_store
from vstore.engine.commit import append_commit
from vstore.engine.pending import PendingChanges
from vstore.manifest import codec
from vstore.manifest.commit import chain, read_commit
from vstore.testing import FaultyMedium

if TYPE_CHECKING:
    from collections.abc import Callable

SPEC = EmbeddingSpec("m", 2, metric="l2")
NAME = "é" * 127 + "x"  # NAME_BYTES_MAX bytes
NOTE = "n" * limits.REASON_BYTES_MAX


def longest_names(store: Store) -> None:
    docs = store.create_collection(NAME, fields=dict.fromkeys((NAME, "f." * 127), "keywords"))
    spec = EmbeddingSpec("m" * limits.REASON_BYTES_MAX, 2, metric="l2", extras={NAME: NOTE, "": ""})
    docs.create_version(NAME, spec, retire_grace_s=2**64 - 1)
    docs.upsert(
        ["i" * limits.ID_BYTES_MAX, -(2**63), 2**63 - 1],
        metadata=[{NAME: ["x"]}] * 3,
        vectors={NAME: np.ones((3, 2), np.float32)},
    )
    store.tag(NAME, note=NOTE)
    store.vacuum()


def longest_reasons(store: Store) -> None:
    docs = store.create_collection("docs")
    docs.create_version("one" * 80, SPEC)
    docs.create_version("two" * 80, EmbeddingSpec("other", 2, metric="l2"))
    docs.routes.set(Dual("two" * 80), reason=NOTE)
    docs.routes.cutover("two" * 80, force=True, reason="ü" * (limits.REASON_BYTES_MAX // 2))
    docs.routes.rollback(reason=NOTE)
    docs.routes.retire("two" * 80, reason=NOTE)
    with store.transaction() as tx:
        tx.note = NOTE
        tx.upsert(docs, ["a"])


def most_extras(store: Store) -> None:
    extras = {f"key {i}": i for i in range(limits.EXTRAS_MAX)}
    store.create_collection("docs").create_version("v", EmbeddingSpec("m", 2, extras=extras))


def metadata_above_the_size_of_a_delta(store: Store) -> None:
    docs = store.create_collection("docs", fields={"word": "keyword"})
    docs.upsert(list(range(70)), metadata=[{"word": "x" * 1_000_000}] * 70)


def a_document_that_changes_twice(store: Store) -> None:
    docs = store.create_collection("docs")
    docs.create_version("v", SPEC)
    with store.transaction() as tx:
        tx.upsert(
            docs, ["a", "b", "c"], texts=["1"] * 3, vectors={"v": np.ones((3, 2), np.float32)}
        )
        tx.upsert(docs, ["a"], texts=["2"], vectors={"v": np.full((1, 2), 2, np.float32)})
        tx.upsert(docs, ["b"], texts=["2"])
        tx.delete(docs, ["c"])
        tx.upsert(docs, ["c"], texts=["2"])
    assert docs.get_vectors("a", "v")[0].tolist() == [2, 2]
    assert docs.coverage("v").fresh == 1, "rows of earlier contents are gone"


@pytest.mark.parametrize(
    "write",
    [
        longest_names,
        longest_reasons,
        most_extras,
        metadata_above_the_size_of_a_delta,
        a_document_that_changes_twice,
    ],
)
def test_what_was_written_can_be_read(write: Callable[[Store], None]) -> None:
    medium = FaultyMedium()
    with open_store(medium) as store:
        write(store)
    data = medium.tobytes()
    with open_store(FaultyMedium(data), mode="r", verify="full") as store:
        assert store.check().ok
        assert answers_of_vstore(store) == answers_of_reader(data)
        assert store.history()
    check_rules(data)


@pytest.mark.parametrize(
    ("extras", "error"),
    [
        ({NAME + "x": 1}, LimitExceededError),
        ({str(i): i for i in range(limits.EXTRAS_MAX + 1)}, LimitExceededError),
        ({"k": NOTE + "x"}, LimitExceededError),
        ({"k": 2**63}, InvalidArgumentError),
        ({"k": 1.5}, InvalidArgumentError),
    ],
)
def test_extras_that_a_reader_would_refuse_are_refused(
    extras: dict[str, Any], error: type[Exception]
) -> None:
    with pytest.raises(error):
        EmbeddingSpec("m", 2, extras=extras)


def test_a_length_that_float32_cannot_hold_is_refused() -> None:
    with open_store(FaultyMedium()) as store:
        docs = store.create_collection("docs")
        docs.create_version("v", SPEC)
        with pytest.raises(InvalidArgumentError, match="length does not fit float32"):
            docs.upsert(["a"], vectors={"v": np.full((1, 2), 3e38, np.float32)})


def test_a_gap_between_docnos_is_refused() -> None:
    medium = FaultyMedium()
    with open_store(medium) as store:
        docs = store.create_collection("docs")
        docs.create_version("v", SPEC)
        with pytest.MonkeyPatch.context() as patch:
            begin = PendingChanges.__init__

            def far_away(pending: PendingChanges, *arguments: Any) -> None:
                begin(pending, *arguments)
                pending.next_docno = 4_000_000_000

            patch.setattr(PendingChanges, "__init__", far_away)
            with contextlib.suppress(MemoryError):
                docs.upsert(["a"], vectors={"v": np.ones((1, 2), np.float32)})
    with pytest.raises(CorruptionError, match="gap between docnos"):
        open_store(FaultyMedium(medium.tobytes()), mode="r")


def test_more_docnos_than_documents_are_refused() -> None:
    with open_store(FaultyMedium()) as store:
        store.create_collection("docs").upsert(["a", "b"])
        store.create_collection("temporary")
        store.drop_collection("temporary")
        plain: Any = codec.plain_store(store._open_file.current().state)
    plain["collections"]["docs"]["segments"][0]["docno_end"] = 3
    with pytest.raises(ValueError, match="more docnos than documents"):
        codec.read_store(plain)


def test_a_chain_whose_base_is_another_commit_is_refused() -> None:
    medium = FaultyMedium()
    with open_store(medium) as store:
        store.tag("a delta")
        tip, container = store._open_file.current().tip, store._open_file.container
        commit = read_commit(container, tip)._replace(
            previous=store._open_file.current().base, base=tip
        )
        lying = append_commit(container, commit)
        with pytest.raises(CorruptionError, match="not the base"):
            chain(container, lying)
