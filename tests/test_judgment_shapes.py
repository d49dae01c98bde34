"""Judgments in the shapes that people have: taken as they are, or refused by query and document."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

import vstore
from tests.small_store import NEW, OLD, rows, spec, store_in

if TYPE_CHECKING:
    from collections.abc import Callable

COUNT = 60
SPECS = {OLD: spec(), NEW: spec("model-new")}
QUERIES = {OLD: rows(COUNT)[:40], NEW: rows(COUNT, seed=1)[:40]}


@pytest.fixture(scope="module")
def docs() -> vstore.Collection:
    docs = store_in().create_collection("docs")
    docs.create_version(OLD, SPECS[OLD])
    docs.create_version(NEW, SPECS[NEW])
    docs.upsert(range(COUNT), vectors={OLD: rows(COUNT), NEW: rows(COUNT, seed=1)})
    return docs


def by_gate(docs: vstore.Collection, judgments: Any) -> bool:
    gates = vstore.Gates(quality=vstore.Judged(queries=QUERIES, judgments=judgments))
    return next(
        gate for gate in docs.routes.check_gates(NEW, gates) if gate.name == "quality"
    ).passed


def by_choice(docs: vstore.Collection, judgments: Any) -> bool:
    choice = docs.migration.choose_fusion(NEW, queries=QUERIES, judgments=judgments, old=OLD)
    return choice.queries == 40


BOTH = pytest.mark.parametrize("judge", [by_gate, by_choice])


def with_gain(gain: object) -> list[dict[int, object]]:
    return [{i: gain if i == 7 else 1} for i in range(40)]


REFUSED: dict[str, tuple[Any, str]] = {
    "text": (with_gain("1"), r"judgments\[7\]\[7\]: expected a number, found '1'"),
    "None": (with_gain(None), r"judgments\[7\]\[7\]: expected a number, found None"),
    "bool": (with_gain(True), r"judgments\[7\]\[7\]: expected a number, found True"),
    "NaN": (with_gain(float("nan")), r"judgments\[7\]\[7\]: expected a number, found nan"),
    "infinite": (with_gain(float("inf")), r"judgments\[7\]\[7\]: expected a finite gain"),
    "negative": (with_gain(-1), r"judgments\[7\]\[7\]: expected at least 0.0, found -1"),
    "sets": ([{i} for i in range(40)], r"judgments\[0\]: expected a mapping of id to gain.*\{0\}"),
    "lists": ([[i] for i in range(40)], r"judgments\[0\]: expected a mapping of id to gain"),
    "pairs": ([[(i, 1)] for i in range(40)], r"judgments\[0\]: expected a mapping of id to gain"),
    "None for a query": ([None] * 40, r"judgments\[0\]: expected a mapping of id to gain"),
    "BEIR's": ({str(i): {i: 1} for i in range(40)}, "found a mapping.*order of the queries"),
    "None at all": (None, "judgments: expected a sequence, found None"),
    "a text": ("0 1", "judgments: expected a sequence, found '0 1'"),
}


@BOTH
@pytest.mark.parametrize("case", REFUSED)
def test_what_is_no_judgment_is_refused_by_query_and_document(
    docs: vstore.Collection, case: str, judge: Callable[[vstore.Collection, Any], bool]
) -> None:
    judgments, message = REFUSED[case]
    with pytest.raises(vstore.InvalidArgumentError, match=message):
        judge(docs, judgments)


@BOTH
def test_judgments_may_come_from_a_generator_and_have_numpy_s_gains(
    docs: vstore.Collection, judge: Callable[[vstore.Collection, Any], bool]
) -> None:
    gain = rows(1).dtype.type(1)
    assert judge(docs, ({i: gain, 59: 0} for i in range(40)))
    assert judge(docs, tuple({i: 2} for i in range(40)))


FORMS: dict[str, Callable[[str], Any]] = {
    "an array": lambda label: QUERIES[label],
    "lists": lambda label: QUERIES[label].tolist(),
    "a generator of rows": lambda label: (row for row in QUERIES[label]),
    "a map of lists": lambda label: map(list, QUERIES[label]),
    "values": lambda label: dict(enumerate(QUERIES[label])).values(),
    "stamped": lambda label: vstore.Embeddings(SPECS[label], QUERIES[label]),
}


@pytest.mark.parametrize("form", FORMS)
def test_queries_may_come_in_any_form_wherever_they_are_judged(
    docs: vstore.Collection, form: str
) -> None:
    def given() -> dict[str, Any]:
        return {label: FORMS[form](label) for label in QUERIES}

    def judgments() -> Any:
        return (gains for gains in with_gain(1))

    judged = vstore.Judged(given(), judgments())
    gates = vstore.Gates(quality=judged)
    measured = [docs.routes.check_gates(NEW, gates)[-1] for _ in range(2)]  # as before a cutover
    assert measured[0] == measured[1]
    assert measured[0].passed
    choice = docs.migration.choose_fusion(NEW, queries=given(), judgments=judgments(), old=OLD)
    assert choice.queries == 40
    with pytest.raises(vstore.StateError, match="at least 200"):  # the last thing it looks at
        docs.migration.fit_bridge(OLD, NEW, queries=given())


@pytest.mark.parametrize("wrong", [None, QUERIES[OLD], [("v", QUERIES[OLD])], "text"], ids=type)
def test_queries_are_a_mapping_of_versions(docs: vstore.Collection, wrong: Any) -> None:
    judgments: Any = with_gain(1)
    with pytest.raises(vstore.InvalidArgumentError, match="expected a mapping of version label"):
        docs.migration.choose_fusion(NEW, queries=wrong, judgments=judgments, old=OLD)
    with pytest.raises(vstore.InvalidArgumentError, match="expected a mapping of version label"):
        docs.routes.check_gates(NEW, vstore.Gates(quality=vstore.Judged(wrong, judgments)))


def test_queries_stamped_for_another_version_are_not_judged(docs: vstore.Collection) -> None:
    judgments: Any = with_gain(1)
    swapped: Any = {
        OLD: vstore.Embeddings(SPECS[NEW], QUERIES[NEW]),
        NEW: vstore.Embeddings(SPECS[OLD], QUERIES[OLD]),
    }
    with pytest.raises(vstore.VersionMismatchError):
        docs.routes.check_gates(NEW, vstore.Gates(quality=vstore.Judged(swapped, judgments)))
    with pytest.raises(vstore.VersionMismatchError):
        docs.migration.choose_fusion(NEW, queries=swapped, judgments=judgments, old=OLD)


@pytest.mark.parametrize("margin", [-0.01, 1.5, float("inf"), float("nan"), "0.1", None])
def test_a_margin_is_a_number_from_0_to_1(docs: vstore.Collection, margin: Any) -> None:
    judged = vstore.Judged(queries=QUERIES, judgments=with_gain(1), margin=margin)  # type: ignore[arg-type]  # gains
    with pytest.raises(vstore.InvalidArgumentError, match="margin"):
        docs.routes.check_gates(NEW, vstore.Gates(quality=judged))
