"""The specification against the code: two readers that share nothing agree on every file."""

from __future__ import annotations

import contextlib
import math
import sys
from typing import TYPE_CHECKING, Any, NamedTuple
from unittest import mock

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.format.answers import answers_of_reader, answers_of_vstore
from tests.format.independent_reader import SpecError, read_file
from tests.format.rules import check_rules
from vstore import Collection, Dual, EmbeddingSpec, Store
from vstore.api.opening import open_store
from vstore.testing import FaultyMedium

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from vstore.types import Array

FIELDS = {
    "word": "keyword",
    "words": "keywords",
    "count": "int",
    "weight": "float",
    "flag": "bool",
    "when": "timestamp",
    "any.thing": "json",
}
OLD = EmbeddingSpec("old", 3, metric="l2")
NEW = EmbeddingSpec("new", 2, metric="inner_product", extras={"layers": 6, "é": "x"})
VERSIONS = {"old": OLD, "new": NEW}
IDS: tuple[int | str, ...] = ("a", "1", 1, 0, -7, 2**62, "é" * 9, "x" * 40)

words = st.text(st.characters(exclude_categories=["Cs"]), max_size=9)
numbers = st.floats(allow_nan=False, allow_infinity=False)
json_values = st.recursive(
    st.booleans() | st.integers(-(2**63), 2**64 - 1) | numbers | words,
    lambda inner: st.lists(inner | st.none(), max_size=3) | st.dictionaries(words, inner),
    max_leaves=5,
)
metadata = st.fixed_dictionaries(
    {},
    optional={
        "word": words,
        "words": st.lists(words, max_size=4),
        "count": st.integers(-(2**63), 2**63 - 1),
        "weight": numbers,
        "flag": st.booleans(),
        "when": st.integers(-(10**16), 10**16),
        "any.thing": json_values,
    },
)


class Step(NamedTuple):
    """One write, with a name that a failing example shows."""

    name: str
    run: Callable[[Store, Collection], None]


@st.composite
def upserts(draw: st.DrawFn) -> Step:
    ids = draw(st.lists(st.sampled_from(IDS), unique=True, min_size=1))
    rows = draw(st.none() | st.lists(metadata, min_size=len(ids), max_size=len(ids)))
    texts = draw(st.none() | st.lists(st.none() | words, min_size=len(ids), max_size=len(ids)))
    labels = draw(st.sets(st.sampled_from(sorted(VERSIONS))))
    chunks = [draw(st.integers(1, 3)) for _ in ids] if draw(st.booleans()) else None
    seed = draw(st.integers(0, 2**16))

    def run(_: Store, collection: Collection) -> None:
        vectors = {label: _vectors(label, len(ids), chunks, seed) for label in labels}
        collection.upsert(ids, metadata=rows, texts=texts, vectors=vectors)

    return Step(f"upsert {ids} {rows} {texts} {labels} {chunks}", run)


@st.composite
def smaller_writes(draw: st.DrawFn) -> Step:
    ids = draw(st.lists(st.sampled_from(IDS), unique=True, min_size=1, max_size=3))
    row = draw(metadata)
    label = draw(st.sampled_from(sorted(VERSIONS)))
    kind = draw(st.sampled_from(("delete", "metadata", "vectors", "tag", "bulk", "backfill")))

    def run(store: Store, collection: Collection) -> None:
        known = [id_ for id_ in ids if id_ in collection]
        if kind == "delete":
            collection.delete(ids)
        elif kind == "metadata" and known:
            collection.update_metadata(known, [row] * len(known))
        elif kind == "vectors" and known:
            collection.add_vectors(known, _vectors(label, len(known), None, 1), version=label)
        elif kind == "tag":
            with contextlib.suppress(Exception):
                store.tag(f"tag {store.epoch}")
        elif kind == "bulk":
            fresh = [f"bulk {store.epoch} {i}" for i in range(30)]
            collection.upsert(
                fresh, metadata=[row] * 30, vectors={label: _vectors(label, 30, None, 2)}
            )
        elif kind == "backfill":
            made = _vectors(label, 100, None, 3)
            assert isinstance(made, np.ndarray)
            collection.migration.backfill(
                label, lambda d: made[: len(d)], batch_size=5, batches_max=2
            )

    return Step(f"{kind} {ids} {label} {row}", run)


@st.composite
def state_changes(draw: st.DrawFn) -> Step:
    kind = draw(st.sampled_from(("vacuum", "dual", "cutover", "rollback", "equivalent")))
    reason = draw(words)

    def run(store: Store, collection: Collection) -> None:
        if kind == "vacuum":
            store.vacuum(keep_epochs=_readable(store)[1:3])
        elif kind == "equivalent":
            store.declare_equivalent(
                OLD, EmbeddingSpec("renamed", 3, metric="l2"), reason="renamed"
            )
        else:
            with contextlib.suppress(Exception):  # not always legal, and never a change then
                if kind == "dual":
                    collection.routes.set(Dual("new"), reason=reason)
                elif kind == "cutover":
                    collection.routes.cutover("new", force=True, reason=reason)
                elif kind == "rollback":
                    collection.routes.rollback(reason=reason)

    return Step(f"{kind} {reason!r}", run)


def _vectors(label: str, count: int, chunks: list[int] | None, seed: int) -> Array | list[Array]:
    dimension = VERSIONS[label].dimension
    rng = np.random.default_rng(seed)
    if chunks is None:
        return rng.standard_normal((count, dimension)).astype(np.float32)
    return [rng.standard_normal((n, dimension)).astype(np.float32) for n in chunks]


def _readable(store: Store) -> list[int]:
    return [entry.epoch for entry in store.history(limit=10**6) if entry.readable]


@contextlib.contextmanager
def sealing_early() -> Iterator[None]:
    """Seal and merge as if everything were large: when to do so is no part of the format."""
    with contextlib.ExitStack() as stack:
        for module in [m for name, m in sys.modules.items() if name.startswith("vstore.")]:
            for name, value in {"SEAL_DOCUMENTS": 12, "SEAL_COMMITS": 5, "MERGE_FANOUT": 2}.items():
                if hasattr(module, name) and module.__name__ != "vstore.limits":
                    stack.enter_context(mock.patch.object(module, name, value))
        yield


def assert_agreement(store: Store, data: bytes) -> None:
    check_rules(data)
    assert answers_of_reader(data) == answers_of_vstore(store)
    readable = _readable(store)
    for epoch in readable[:: max(1, len(readable) // 3)]:
        assert answers_of_reader(data, epoch) == answers_of_vstore(store, epoch)


@pytest.mark.parametrize("storage", ["float32", "float16"])
@pytest.mark.parametrize("stale_policy", ["hide", "serve"])
@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    steps=st.lists(upserts() | smaller_writes() | state_changes() | upserts(), max_size=14),
    early=st.booleans(),
    relaxed=st.booleans(),
)
def test_readers_agree(
    storage: Any, stale_policy: Any, steps: list[Step], early: bool, relaxed: bool
) -> None:
    medium = FaultyMedium()
    with contextlib.ExitStack() as stack:
        if early:
            stack.enter_context(sealing_early())
        durability: Any = "relaxed" if relaxed else "full"
        store = stack.enter_context(open_store(medium, durability=durability))
        collection = store.create_collection("docs", fields=FIELDS)
        collection.create_version("old", OLD, storage=storage, stale_policy=stale_policy)
        collection.create_version("new", NEW, stale_policy=stale_policy)
        for step in steps:
            step.run(store, collection)
        assert_agreement(store, medium.tobytes())
        store.vacuum()
        assert_agreement(store, medium.tobytes())


def test_readers_agree_on_a_store_that_seals_by_itself() -> None:
    medium = FaultyMedium()
    with open_store(medium) as store:
        collection = store.create_collection("docs", fields=FIELDS)
        collection.create_version("old", OLD)
        for start in range(0, 4_000, 400):
            ids = [*range(start, start + 300), *range(-100, 0)]
            rows = [{"count": i, "word": f"w{i % 7}", "weight": math.sqrt(abs(i))} for i in ids]
            collection.upsert(
                ids, metadata=rows, vectors={"old": _vectors("old", 400, None, start)}
            )
            collection.delete([start + 5])
        assert len(store._open_file.current().state.collections["docs"].segments) > 1
        assert_agreement(store, medium.tobytes())


def test_both_readers_refuse_a_flipped_bit_in_anything_that_is_read() -> None:
    medium = FaultyMedium()
    with open_store(medium) as store:
        collection = store.create_collection("docs", fields=FIELDS)
        collection.create_version("old", OLD)
        collection.upsert(["a"], vectors={"old": _vectors("old", 1, None, 0)})
        store.vacuum()
    data = medium.tobytes()
    read_file(data)
    for at in range(8192, len(data), 7):
        damaged = bytearray(data)
        damaged[at] ^= 4
        with pytest.raises(SpecError):
            check_rules(bytes(damaged))
