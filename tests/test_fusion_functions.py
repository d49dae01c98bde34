"""Fusion rules: the registry, and functions of a caller's own."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import vstore
from tests.small_store import NEW, OLD, documents, rows, seal, spec
from vstore.fusions import BRIDGED, FUSIONS
from vstore.query.fusion.rules import RULES

if TYPE_CHECKING:
    from collections.abc import Iterable

    from vstore.types import Array

COUNT, MIGRATED = 120, 60


@pytest.fixture(params=["in the memtable", "sealed"])
def docs(request: pytest.FixtureRequest) -> vstore.Collection:
    made = documents(old=spec("model-old", 6), new=spec("model-new", 9))
    made.upsert(list(range(COUNT)), vectors={OLD: rows(COUNT, 6)})
    made.add_vectors(list(range(MIGRATED)), rows(MIGRATED, 9, seed=1), version=NEW)
    if request.param == "sealed":
        seal(made.store)
    return made


def question() -> dict[str, Array]:
    return {OLD: rows(1, 6, seed=2)[0], NEW: rows(1, 9, seed=2)[0]}


def alternating(both: vstore.RankedPair) -> list[int]:
    """Take turns between both rankings."""
    old = both.old.keys[~both.migrated].tolist()
    new = both.new.keys.tolist()
    return [key for pair in zip(old, new, strict=False) for key in pair]


def old_order(both: vstore.RankedPair) -> Iterable[int]:
    """Keep the old ranking, migrated documents included."""
    return iter(both.old.keys)


def test_every_name_is_in_the_registry() -> None:
    assert {name.removeprefix(BRIDGED) for name in FUSIONS} == {*RULES, "auto"}


def test_a_function_orders_the_documents_and_the_store_answers_for_them(
    docs: vstore.Collection,
) -> None:
    result = docs.search(question(), k=10, read=vstore.Dual(NEW, fusion=alternating))
    old = docs.search(question()[OLD], version=OLD, k=COUNT)
    new = docs.search(question()[NEW], version=NEW, k=COUNT)
    left = [hit.id for hit in old if hit.id >= MIGRATED]  # type: ignore[operator]
    assert result.ids == [id_ for pair in zip(left, new.ids, strict=False) for id_ in pair][:10]
    assert [hit.version for hit in result] == [OLD, NEW] * 5
    assert "fusion=tests.test_fusion_functions.alternating" in result.explain()
    assert result.trace.versions == (OLD, NEW)


def test_a_migrated_document_is_answered_by_its_new_vector_wherever_it_stands(
    docs: vstore.Collection,
) -> None:
    result = docs.search(question(), k=COUNT - 20, read=vstore.Dual(NEW, fusion=old_order))
    expected = docs.search(question()[OLD], version=OLD, k=COUNT)
    assert result.ids == expected.ids[: COUNT - 20]
    vectors = {label: question()[label] for label in (OLD, NEW)}
    for hit in result:
        label = NEW if hit.id < MIGRATED else OLD  # type: ignore[operator]
        assert hit.version == label
        row, query = docs.get_vectors(hit.id, label)[0], vectors[label]
        cosine = row @ query / np.linalg.norm(row) / np.linalg.norm(query)
        assert hit.scores[label] == pytest.approx(cosine, abs=1e-5)


def test_a_function_gets_what_its_documentation_says(docs: vstore.Collection) -> None:
    seen: list[vstore.RankedPair] = []

    def rule(both: vstore.RankedPair) -> Iterable[int]:
        seen.append(both)
        return both.new.keys

    docs.search_batch({OLD: rows(3, 6), NEW: rows(3, 9)}, k=4, read=vstore.Dual(NEW, fusion=rule))
    assert len(seen) == 3
    for both in seen:
        assert (both.k, both.coverage) == (4, MIGRATED / COUNT)
        assert len(both.old) == 100
        assert len(both.new) == MIGRATED
        assert both.migrated.sum() == sum(key in set(both.new.keys) for key in both.old.keys)


@pytest.mark.parametrize(
    "keys", [None, 5, [True], [0, 0], [COUNT + 5], ["a"], [0.5], [None]], ids=repr
)
def test_what_no_ranking_has_is_refused(docs: vstore.Collection, keys: Any) -> None:
    with pytest.raises(vstore.InvalidArgumentError, match=r"fusion: .*returned"):
        docs.search(question(), read=vstore.Dual(NEW, fusion=lambda _: keys))


def test_a_function_may_return_fewer_documents_than_are_wanted(docs: vstore.Collection) -> None:
    assert docs.search(question(), read=vstore.Dual(NEW, fusion=lambda _: [])).ids == []
    one = docs.search(question(), read=vstore.Dual(NEW, fusion=lambda both: both.new.keys[:1]))
    assert len(one) == 1


def test_an_error_of_a_function_goes_through(docs: vstore.Collection) -> None:
    with pytest.raises(ZeroDivisionError):
        docs.search(question(), read=vstore.Dual(NEW, fusion=lambda _: [1 // 0]))
    assert docs.search(question(), read=vstore.Dual(NEW)).ids


def test_a_route_keeps_a_name_and_no_function(docs: vstore.Collection) -> None:
    epoch = docs.store.epoch
    with pytest.raises(vstore.InvalidArgumentError, match="keeps the name of a rule"):
        docs.routes.set(vstore.Dual(NEW, fusion=alternating))
    assert docs.store.epoch == epoch


def test_a_function_cannot_change_what_was_found(docs: vstore.Collection) -> None:
    def greedy(both: vstore.RankedPair) -> list[int]:
        keys = [*both.new.keys.tolist(), *both.old.keys[~both.migrated].tolist()]
        for ranking in (both.old, both.new):
            ranking.scores[:] = 7
            ranking.keys.sort()
        both.migrated[:] = True
        return keys

    found = docs.search(question(), k=90, read=vstore.Dual(NEW, fusion=greedy))
    assert {hit.version for hit in found} == {OLD, NEW}
    for label in (OLD, NEW):
        alone = docs.search(question()[label], version=label, k=COUNT)
        scores = {hit.id: hit.score for hit in alone}
        mine = [hit for hit in found if hit.version == label]
        assert [hit.scores[label] for hit in mine] == [scores[hit.id] for hit in mine]
        assert [hit.id for hit in mine] == [i for i in alone.ids if i in {hit.id for hit in mine}]


def test_a_function_does_not_learn_how_many_documents_others_have() -> None:
    made = documents(old=spec("model-old", 6), new=spec("model-new", 9))
    tenants = [{"tenant": "a" if i % 40 == 0 else "b"} for i in range(COUNT)]
    vectors = {OLD: rows(COUNT, 6), NEW: rows(COUNT, 9, seed=1)}
    made.upsert(list(range(COUNT)), vectors=vectors, metadata=tenants)
    seen: list[int] = []

    def rule(both: vstore.RankedPair) -> Iterable[int]:
        seen.extend([*both.old.keys.tolist(), *both.new.keys.tolist()])
        return both.new.keys

    mine = made.scoped(vstore.field("tenant") == "a")
    assert len(mine.search(question(), read=vstore.Dual(NEW, fusion=rule))) == 3
    assert set(seen) == {0, 1, 2}


class Falsy(list[int]):
    """A function that is empty, too."""

    def __call__(self, both: vstore.RankedPair) -> Iterable[int]:
        keys: list[int] = both.new.keys.tolist()
        return reversed(keys)


def test_a_function_is_used_whatever_else_it_is(docs: vstore.Collection) -> None:
    found = docs.search(question(), k=MIGRATED, read=vstore.Dual(NEW, fusion=Falsy()))
    expected = docs.search(question()[NEW], version=NEW, k=MIGRATED)
    assert found.ids == expected.ids[::-1]


def test_an_endless_function_is_asked_for_what_is_wanted(docs: vstore.Collection) -> None:
    endless = (key for key in itertools.count())
    found = docs.search(question(), k=5, read=vstore.Dual(NEW, fusion=lambda _: endless))
    assert len(found) == 5


def test_a_function_is_called_once_a_query_whatever_the_store_measures() -> None:
    with vstore.open(":memory:", recall_sample=1.0) as store:
        made = documents(store, old=spec("model-old", 6), new=spec("model-new", 9))
        made.upsert(list(range(40)), vectors={OLD: rows(40, 6), NEW: rows(40, 9)})
        calls: list[int] = []

        def rule(both: vstore.RankedPair) -> Iterable[int]:
            calls.append(both.k)
            return both.new.keys

        made.search(question(), k=3, read=vstore.Dual(NEW, fusion=rule))
        assert calls == [3]
