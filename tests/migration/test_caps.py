"""Caps are reached exactly: what fits is done, and not one document more."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

import vstore
from tests.small_store import NEW, OLD, documents, rows, spec
from vstore import Calls, Caps, Price

if TYPE_CHECKING:
    from collections.abc import Sequence

    from vstore.types import Array

COUNT, FITS = 12, 7
PRICE = 0.1  # of which seven are not 0.7: sums of prices are not exact


def corpus() -> vstore.Collection:
    docs = documents(new=spec("model-new"))
    docs.upsert(range(COUNT), texts=["text"] * COUNT, vectors={OLD: rows(COUNT)})
    return docs


def three_units(document: object) -> int:
    return 3


CAPS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    # What lets FITS documents through, and what is a hair less.
    "documents": ({"caps": Caps(documents=FITS)}, {"caps": Caps(documents=FITS - 1)}),
    "units": ({"caps": Caps(units=3 * FITS)}, {"caps": Caps(units=3 * FITS - 1)}),
    "cost": (
        {"caps": Caps(cost=1.5 * FITS), "price": Price(per_unit=0.5, count=three_units)},
        {"caps": Caps(cost=1.5 * FITS - 0.001), "price": Price(per_unit=0.5, count=three_units)},
    ),
    "cost of inexact prices": (
        {"caps": Caps(cost=0.1 * 3 * FITS), "price": Price(per_unit=PRICE, count=three_units)},
        {
            "caps": Caps(cost=0.1 * 3 * FITS - 0.001),
            "price": Price(per_unit=PRICE, count=three_units),
        },
    ),
    "cost in decimals": (
        {"caps": Caps(cost=2.1), "price": Price(per_unit=PRICE, count=three_units)},
        {"caps": Caps(cost=2.099), "price": Price(per_unit=PRICE, count=three_units)},
    ),
}


@pytest.mark.parametrize("batch_size", [1, 2, 3, FITS, COUNT])
@pytest.mark.parametrize("name", CAPS)
def test_a_cap_is_reached_and_not_exceeded(name: str, batch_size: int) -> None:
    for cap, expected in zip(CAPS[name], (FITS, FITS - 1), strict=True):
        docs, embedded = corpus(), list[Any]()

        def embed(batch: Sequence[vstore.Document], embedded: list[Any] = embedded) -> Array:
            embedded.extend(document.id for document in batch)
            return rows(len(batch))

        migration = docs.migrate(
            OLD,
            NEW,
            embed,
            **{"price": Price(count=three_units), **cap},
            calls=Calls(batch_size=batch_size),
        )
        price = cap.get("price", Price())
        for _ in range(2):  # the second run has nothing left to spend
            assert migration.run().status == "stopped"
            status = migration.status()
            assert (status.done, len(embedded)) == (expected, expected)
            assert status.left == COUNT - expected
            assert status.units == 3 * expected
            assert status.cost == pytest.approx(3 * expected * price.per_unit)


def test_documents_of_many_prices_are_summed_one_by_one() -> None:
    docs = corpus()
    units = [5, 1, 4, 2, 8, 1, 1, 1, 1, 1, 1, 1]
    for cost_max, expected in ((10.0, 3), (11.9, 3), (12.0, 4), (19.9, 4), (20.0, 5)):
        docs = corpus()
        docs.migrate(
            OLD,
            NEW,
            lambda batch: rows(len(batch)),
            caps=Caps(cost=cost_max),
            price=Price(per_unit=1.0, count=lambda document: units[int(document.id)]),
        ).run()
        assert docs.coverage(NEW).fresh == expected, cost_max


def test_what_costs_nothing_exceeds_no_cap() -> None:
    docs = corpus()
    report = docs.migrate(OLD, NEW, lambda batch: rows(len(batch)), caps=Caps(cost=0.0)).run()
    assert (report.status, report.done) == ("done", COUNT)


@pytest.mark.parametrize("batch_size", [1, 3, 64])
def test_documents_that_fail_leave_room_for_others_under_a_cap(batch_size: int) -> None:
    docs = corpus()

    def embed(batch: Sequence[vstore.Document]) -> Array:
        if any(document.id in (1, 3) for document in batch):
            raise ValueError("poison")
        return rows(len(batch))

    migration = docs.migrate(
        OLD, NEW, embed, caps=Caps(documents=FITS), calls=Calls(batch_size=batch_size)
    )
    report = migration.run()
    assert (report.status, report.done) == ("stopped", FITS)
    assert report.note.startswith(f"cap of {FITS} documents: {FITS} done")
    assert docs.migrate(OLD, NEW, embed).run().done == COUNT - FITS - 2
    assert {letter.id for letter in migration.dead_letters} == {1, 3}


def test_a_function_that_always_fails_is_at_fault_and_not_a_cap() -> None:
    docs = corpus()

    def embed(_: object) -> Array:
        raise ValueError("poison")

    with pytest.raises(vstore.EmbeddingError):
        docs.migrate(OLD, NEW, embed, caps=Caps(documents=FITS)).run()
    assert not docs.migrate(OLD, NEW).dead_letters


def test_a_job_goes_on_in_its_order_unless_another_is_said() -> None:
    docs = documents(fields={"turn": "int"}, new=spec("model-new"))
    docs.upsert(range(6), texts=["x"] * 6, metadata=[{"turn": 6 - i} for i in range(6)])
    seen: list[object] = []

    def embed(batch: Sequence[vstore.Document]) -> Array:
        seen.extend(document.id for document in batch)
        return rows(len(batch))

    calls = Calls(batch_size=1)
    first = docs.migrate(
        OLD, NEW, embed, order="field", order_field="turn", caps=Caps(documents=2), calls=calls
    )
    first.run()
    docs.migrate(OLD, NEW, embed, caps=Caps(documents=4), calls=calls).run()
    assert seen == [5, 4, 3, 2]
    docs.migrate(OLD, NEW, embed, order="id", calls=calls).run()
    assert seen == [5, 4, 3, 2, 0, 1]
