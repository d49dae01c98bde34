"""JSON metadata are the store's own: neither callers nor reopening change them."""

from __future__ import annotations

import enum
from collections import OrderedDict, defaultdict
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import vstore
from tests.small_store import OLD, documents, rows

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from vstore import Collection


class Colour(str, enum.Enum):  # noqa: UP042 - as older code has it
    RED = "red"


class Level(enum.IntEnum):
    HIGH = 3


class Name(str):
    __slots__ = ("spoken",)


class Share(float):
    def __init__(self, _: float) -> None:
        self.unit = "%"


def given() -> dict[str, Any]:
    name = Name("ada")
    name.spoken = ["ay-da"]  # type: ignore[attr-defined]
    return OrderedDict(
        colour=Colour.RED, level=Level.HIGH, name=name, share=Share(0.5), half=np.float64(0.5),
        text=np.str_("x"), nested=defaultdict(list, {name: [Level.HIGH, [True, None, 1, 1.0]]}),
    )  # fmt: skip


PLAIN = {
    "colour": "red", "level": 3, "name": "ada", "share": 0.5, "half": 0.5, "text": "x",
    "nested": {"ada": [3, [True, None, 1, 1.0]]},
}  # fmt: skip


def types_of(value: object) -> Any:
    if isinstance(value, dict):
        return type(value), [(type(k), types_of(item)) for k, item in value.items()]
    if isinstance(value, list):
        return type(value), list(map(types_of, value))
    return type(value)


def by_upsert(docs: Collection, value: object) -> None:
    docs.upsert(["a"], vectors={OLD: rows(1)}, metadata=[{"extra": value}])


def by_columns(docs: Collection, value: object) -> None:
    docs.upsert(["a"], vectors={OLD: rows(1)}, metadata={"extra": [value]})


def by_update(docs: Collection, value: object) -> None:
    docs.upsert(["a"], vectors={OLD: rows(1)})
    docs.update_metadata(["a"], [{"extra": value}])


WRITES = [by_upsert, by_columns, by_update]


def extra(docs: Collection) -> Any:
    document = docs.get("a")
    assert document is not None
    return document.metadata["extra"]


@pytest.mark.parametrize("write", WRITES, ids=lambda write: write.__name__)
def test_a_value_is_the_same_before_and_after_reopening(
    tmp_path: Path, write: Callable[[Collection, object], None]
) -> None:
    with vstore.open(tmp_path / "a.vstore") as store:
        docs = documents(store)
        write(docs, given())
        fresh = extra(docs)
        hit = docs.search(rows(1)[0], version=OLD)[0].metadata["extra"]
    with vstore.open(tmp_path / "a.vstore") as store:
        reopened = extra(store.collection("docs"))
    assert fresh == reopened == hit == PLAIN
    assert types_of(fresh) == types_of(reopened) == types_of(hit) == types_of(PLAIN)


@pytest.mark.parametrize("write", WRITES, ids=lambda write: write.__name__)
def test_nothing_that_a_caller_holds_changes_it(
    write: Callable[[Collection, object], None],
) -> None:
    docs = documents()
    value: dict[str, Any] = {"list": [1, {"deep": [2]}]}
    write(docs, value)
    value["list"][1]["deep"].append(3)
    value["more"] = 1
    expected = {"list": [1, {"deep": [2]}]}
    hits = docs.search(rows(1)[0], version=OLD)
    looks: list[Callable[[], Any]] = [
        lambda: extra(docs),
        lambda: hits[0].metadata["extra"],
        lambda: next(iter(docs.documents())).metadata["extra"],
        lambda: docs.get_many(["a"])[0].metadata["extra"],  # type: ignore[union-attr]
    ]
    for look in looks:
        assert look() == expected
        look()["list"].clear()
        assert look() == expected


def test_writing_what_is_there_changes_nothing() -> None:
    docs = documents()
    by_upsert(docs, given())
    assert docs.update_metadata(["a"], [{"extra": given()}]) == 0
    assert docs.update_metadata(["a"], [{"extra": PLAIN}]) == 0
    assert docs.update_metadata(["a"], [{"extra": {**PLAIN, "level": True}}]) == 1
