"""No gate passes without evidence, and each says how much it had."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import vstore
from tests.small_store import NEW, OLD, documents, rows, spec, store_in
from vstore.evaluation.choice import choose_fusion
from vstore.evaluation.significance import better_than, not_worse

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from vstore import Collection, GateResult
    from vstore.types import Array

COUNT = 60
ACME = vstore.field("tenant") == "acme"


def corpus(ids: list[Any] | None = None, *, covered: int = COUNT) -> Collection:
    """Return documents of two tenants, so many of them with vectors of the new version."""
    ids = list(range(COUNT)) if ids is None else ids
    docs = store_in().create_collection("docs", fields={"tenant": "keyword"})
    docs.create_version(OLD, spec())
    docs.create_version(NEW, spec("model-new"))
    docs.upsert(
        ids,
        texts=[f"text {id_}" for id_ in ids],
        vectors={OLD: rows(len(ids))},
        metadata=[{"tenant": "acme" if i % 2 else "globex"} for i in range(len(ids))],
    )
    if covered:
        docs.add_vectors(ids[:covered], rows(len(ids), seed=1)[:covered], version=NEW)
    return docs


def judged(judgments: list[dict[Any, float]], *, margin: float = 0.01) -> vstore.Judged:
    """Return queries that both versions answer right: the vectors of the first documents."""
    count = len(judgments)
    queries = {OLD: rows(COUNT)[:count], NEW: rows(COUNT, seed=1)[:count]}
    return vstore.Judged(queries, judgments, margin=margin)


def measured(docs: Collection, **gates: Any) -> dict[str, GateResult]:
    return {gate.name: gate for gate in docs.routes.check_gates(NEW, vstore.Gates(**gates))}


# Judged documents that are not there.


def deleted(docs: Collection) -> Collection:
    docs.delete([7])
    return docs


UNKNOWN: dict[str, tuple[Callable[[], Collection], Callable[[int], Any], str]] = {
    "text for numbers": (corpus, str, "names '0'.*40 of 40.*There is 0, of type int, not str"),
    "numbers for text": (
        lambda: corpus([str(i) for i in range(COUNT)]),
        int,
        "names 0.*40 of 40.*There is '0', of type str, not int",
    ),
    "deleted": (lambda: deleted(corpus()), int, "names 7,.* 1 of 40"),
    "never there": (corpus, lambda i: i if i < 39 else 10_000, "names 10000.* 1 of 40"),
    "another type": (corpus, lambda i: (i,), r"names \(0,\)"),
    "another tenant's": (lambda: corpus().scoped(ACME), int, "names 0.* 20 of 40"),
}


@pytest.mark.parametrize("case", UNKNOWN)
def test_judged_ids_that_no_answer_can_have_are_an_error_that_names_one(case: str) -> None:
    made, key, message = UNKNOWN[case]
    docs = made()
    gates = vstore.Gates(coverage=0.5, quality=judged([{key(i): 1.0} for i in range(40)]))
    for call in (docs.routes.check_gates, docs.routes.cutover):
        with pytest.raises(vstore.InvalidArgumentError, match=message):
            call(NEW, gates=gates)
    assert docs.routes.current.version == OLD


@pytest.mark.parametrize("case", [case for case in UNKNOWN if "tenant" not in case])
def test_a_fusion_is_not_chosen_by_judged_ids_that_no_answer_can_have(case: str) -> None:
    made, key, message = UNKNOWN[case]
    docs = made()
    given = judged([{key(i): 1.0} for i in range(40)])
    with pytest.raises(vstore.InvalidArgumentError, match=f"choose_fusion: .*{message}"):
        docs.migration.choose_fusion(NEW, queries=given.queries, judgments=given.judgments, old=OLD)
    assert docs._handle.view().state.choices == ()


def test_gains_of_0_and_numbers_of_numpy_are_no_error() -> None:
    judgments = [{np.int64(i): 1.0, "unknown": 0.0} for i in range(40)]
    found = measured(corpus(), quality=judged(judgments))["quality"]
    assert found.passed
    assert (found.evidence, found.unit) == (40, "judged queries that find something")


# Judged queries that tell nothing.


def far(count: int) -> vstore.Judged:
    """Return queries whose judged document neither version finds among its first."""
    queries = {OLD: rows(COUNT)[:count], NEW: rows(COUNT, seed=1)[:count]}
    last = [
        {corpus().search(queries[OLD][i], version=OLD, k=COUNT).ids[-1]: 1.0} for i in range(count)
    ]
    return vstore.Judged({OLD: queries[OLD], NEW: -queries[NEW]}, last, k=1)


def test_a_quality_gate_that_found_nothing_does_not_pass() -> None:
    docs, given = corpus(), far(8)
    found = measured(docs, quality=given)["quality"]
    assert (found.evidence, found.passed) == (0, False)
    assert "8 queries, 0 of which find a judged document" in found.detail
    with pytest.raises(vstore.GateError, match="no evidence: 0 judged queries"):
        docs.routes.cutover(NEW, gates=vstore.Gates(quality=given))
    docs.routes.cutover(
        NEW, gates=vstore.Gates(quality=given), force=True, reason="no judgments yet"
    )
    assert [one.gate for one in docs.routes.current.evidence if not one.passed] == ["quality"]


@pytest.mark.parametrize(("count", "passes"), [(2, False), (4, False), (5, True), (40, True)])
def test_so_few_judged_queries_cannot_pass(count: int, passes: bool) -> None:
    found = measured(corpus(), quality=judged([{i: 1.0} for i in range(count)]))["quality"]
    assert (found.evidence, found.passed) == (count, passes)
    assert ("too little evidence" in str(found)) is not passes


def test_a_version_that_is_worse_fails_by_what_was_measured() -> None:
    docs = corpus()
    queries = {OLD: rows(COUNT)[:40], NEW: rows(COUNT, seed=1)[:40][::-1]}
    worse = vstore.Judged(queries, [{i: 1.0} for i in range(40)])
    with pytest.raises(vstore.GateError, match="quality") as caught:
        docs.routes.cutover(NEW, gates=vstore.Gates(quality=worse))
    assert "evidence:" not in str(caught.value)


def test_queries_that_find_nothing_do_not_make_up_for_the_few_that_do() -> None:
    old = np.zeros(100)
    assert not_worse(old, old, margin=0.01).passed is False
    old[:2] = 1.0
    few = not_worse(old, old, margin=0.01)
    assert (few.queries, few.evidence, few.passed) == (100, 2, False)
    old[:9] = 1.0
    assert not_worse(old, old, margin=0.01).passed
    assert not better_than(np.zeros(50), {"new": np.zeros(50)})["new"].passed
    assert not better_than(np.zeros(50), {"new": [1.0] * 3 + [0.0] * 47})["new"].passed


def test_rules_that_find_nothing_are_not_chosen_from() -> None:
    answers = {"slots": [[1], [2]] * 3, "rrf": [[2], [1]] * 3}
    with pytest.raises(vstore.InvalidArgumentError, match="no rule finds"):
        choose_fusion(answers, [{9: 1.0}] * 6, coverage=0.5)
    choice = choose_fusion(answers, [{1: 1.0}] + [{9: 1.0}] * 5, coverage=0.5, k=1)
    assert (choice.queries, choice.found) == (6, 1)
    assert "1 of which find a judged document" in choice.reason


def test_a_version_without_vectors_is_nothing_to_fuse() -> None:
    given = judged([{i: 1.0} for i in range(10)])
    with pytest.raises(vstore.StateError, match="no fresh vectors yet"):
        corpus(covered=0).migration.choose_fusion(
            NEW, queries=given.queries, judgments=given.judgments, old=OLD
        )


# Gates that count documents, hits and vectors.


def test_every_gate_says_how_much_evidence_it_had() -> None:
    docs = corpus(covered=50)
    docs.upsert([0], texts=["changed"], vectors={OLD: rows(1)})
    gates: Mapping[str, Any] = {
        "coverage": 0.5, "stale": 0.1, "dead_letters": 0, "recall": 0.9, "traffic_coverage": 0.5,
        "quality": judged([{i: 1.0} for i in range(1, 41)]),
    }  # fmt: skip
    found = measured(docs, **gates)
    told = {name: (gate.evidence, gate.unit) for name, gate in found.items()}
    assert told["coverage"] == (COUNT, "documents")
    assert told["stale"] == (50, "documents with vectors")
    assert told["dead_letters"] == (49, "documents tried")
    assert told["recall"] == (49, "vectors asked with")
    assert told["traffic_coverage"] == (0, "counted hits")
    assert not found["traffic_coverage"].passed
    assert "no evidence: 0 counted hits" in str(found["traffic_coverage"])


@pytest.mark.parametrize(
    "gates",
    [{"stale": 0.0}, {"stale": 1.0}, {"dead_letters": 0}, {"recall": 0.0}, {"traffic_coverage": 0}],
    ids=str,
)
def test_a_version_without_rows_passes_no_gate_that_looks_at_them(gates: dict[str, Any]) -> None:
    docs = corpus(covered=0)
    with pytest.raises(vstore.GateError, match="no evidence"):
        docs.routes.cutover(NEW, gates=vstore.Gates(coverage=0.0, **gates))
    assert docs.routes.current.version == OLD


def test_no_coverage_at_all_is_none_whatever_is_asked_for() -> None:
    docs = corpus(covered=0)
    gates = vstore.Gates(coverage=0.0)
    (coverage, *_) = docs.routes.check_gates(NEW, gates)
    assert (coverage.measured, coverage.evidence, coverage.passed) == (0.0, 0, False)
    with pytest.raises(vstore.GateError, match=r"no evidence: 0 documents that it can return"):
        docs.routes.cutover(NEW, gates=gates)
    docs.add_vectors([0], rows(1), version=NEW)  # of another tenant than acme
    with pytest.raises(vstore.GateError, match="no evidence"):
        docs.scoped(ACME).routes.cutover(NEW, gates=gates)
    docs.upsert([0], texts=["changed"])  # so that its only row is stale, and hidden
    with pytest.raises(vstore.GateError, match="no evidence"):
        docs.routes.cutover(NEW, gates=gates)
    docs.add_vectors([0], rows(1), version=NEW)
    docs.routes.cutover(NEW, gates=gates)
    assert docs.routes.current.version == NEW


def test_stale_rows_that_are_served_are_some_coverage() -> None:
    docs = store_in().create_collection("docs")
    docs.create_version(OLD, spec())
    docs.create_version(NEW, spec("model-new"), stale_policy="serve")
    docs.upsert([0], texts=["as it was"], vectors={OLD: rows(1), NEW: rows(1)})
    docs.upsert([0], texts=["changed"])
    coverage, *_ = docs.routes.cutover(NEW, gates=vstore.Gates(coverage=0))
    assert (coverage.measured, coverage.evidence) == (0.0, 1)


OUT_OF_RANGE = [-1, -0.01, 1.0001, 2, float("inf"), -float("inf"), float("nan"), True, "0.5", [1]]


@pytest.mark.parametrize("value", OUT_OF_RANGE, ids=repr)
@pytest.mark.parametrize("name", ["coverage", "traffic_coverage", "stale", "recall"])
def test_a_share_is_a_number_from_0_to_1(name: str, value: Any) -> None:
    docs = corpus()
    gates = vstore.Gates(**{name: value})
    for call in (docs.routes.check_gates, docs.scoped(ACME).routes.check_gates):
        with pytest.raises(vstore.InvalidArgumentError, match=f"gates: {name}: expected"):
            call(NEW, gates)
    with pytest.raises(vstore.InvalidArgumentError, match=f"gates: {name}: expected"):
        docs.routes.cutover(NEW, gates=gates, force=True, reason="all the same")
    assert docs.routes.current.version == OLD


@pytest.mark.parametrize("value", [-1, 0.5, True, float("nan"), "0"], ids=repr)
def test_dead_letters_are_a_number_of_documents(value: Any) -> None:
    with pytest.raises(vstore.InvalidArgumentError, match="gates: dead_letters: expected"):
        corpus().routes.check_gates(NEW, vstore.Gates(dead_letters=value))


@pytest.mark.parametrize("gates", [0, "", False, {}, [], 1.0, {"coverage": 1}], ids=repr)
def test_what_is_no_gates_is_refused(gates: Any) -> None:
    docs = corpus()
    with pytest.raises(vstore.InvalidArgumentError, match="gates: expected Gates"):
        docs.routes.check_gates(NEW, gates)
    with pytest.raises(vstore.InvalidArgumentError, match="gates: expected Gates"):
        docs.routes.cutover(NEW, gates=gates)


def test_a_tenant_without_documents_is_cut_over_by_force_only() -> None:
    for docs in (corpus(), corpus([])):
        nobody = docs.scoped(vstore.field("tenant") == "nobody")
        for gates in (vstore.Gates(), vstore.Gates(coverage=0.0)):
            with pytest.raises(vstore.GateError, match="no evidence: 0 documents"):
                nobody.routes.cutover(NEW, gates=gates)
        assert nobody.routes.current.version == OLD
        nobody.routes.cutover(NEW, force=True, reason="they sign up tomorrow")
        assert (nobody.routes.current.version, nobody.routes.current.forced) == (NEW, True)
    docs = corpus()
    acme = docs.scoped(ACME)
    acme.delete(list(range(1, COUNT, 2)))
    with pytest.raises(vstore.GateError, match="no evidence"):
        acme.routes.cutover(NEW)


def test_an_empty_collection_may_be_cut_over_but_shows_nothing_of_its_vectors() -> None:
    docs = corpus([])
    with pytest.raises(vstore.GateError, match=r"stale .* no evidence"):
        docs.routes.cutover(NEW, gates=vstore.Gates(stale=0))
    coverage, *_ = docs.routes.cutover(NEW)
    assert (coverage.evidence, coverage.measured, coverage.passed) == (0, 1.0, True)


def test_a_bridge_says_how_many_documents_or_queries_judged_it() -> None:
    from vstore.migration.bridges.measuring import bridge_gate

    vectors = rows(400)
    docs = store_in().create_collection("docs")
    docs.create_version(OLD, spec())
    docs.create_version(NEW, spec("model-new"))
    docs.upsert(range(400), vectors={OLD: vectors, NEW: turned(vectors)})
    bridge = docs.migration.fit_bridge(OLD, NEW)
    assert bridge_gate(bridge, required=0.5).evidence == bridge.held_out > 0
    assert not bridge_gate(bridge, required=0.0, queries=0).passed


def turned(vectors: Array) -> Array:
    return np.ascontiguousarray(vectors[:, ::-1])


def test_every_document_is_asked_for_unless_gates_say_otherwise() -> None:
    docs = documents(new=spec("model-new"))
    docs.upsert(["a", "b"], vectors={OLD: rows(2), NEW: rows(2, seed=1)})
    docs.upsert(["c"], vectors={OLD: rows(1)})
    with pytest.raises(vstore.GateError, match="coverage"):
        docs.routes.cutover(NEW)
    assert docs.routes.current.version == OLD
    docs.routes.cutover(NEW, gates=vstore.Gates(coverage=0.5))
    assert docs.routes.current.version == NEW
