"""A scoped handle knows only its scope: what is outside makes no difference to what it says.

Two stores have the same documents of one tenant. The other tenant's differ in number, ids, texts,
vectors, routes, failures and traffic. Whatever can be asked through a handle on the first tenant
gives the same in both.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import vstore
from tests.small_store import contents, rows, seal, spec, store_in

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from vstore import Collection, Document, Store
    from vstore.types import Array

OLD, NEW, THIRD = "v1", "v2", "v3"
DIMENSION = 8
SECRET = "globex is to be bought"
MINE = 40
tenant = vstore.field("tenant")
LABELS = (OLD, NEW, THIRD)


def queries(count: int = 1, seed: int = 9) -> dict[str, Array]:
    return {label: rows(count, DIMENSION, seed=seed + i) for i, label in enumerate(LABELS)}


def query(seed: int = 9) -> dict[str, Array]:
    return {label: vectors[0] for label, vectors in queries(seed=seed).items()}


def embed(documents: Sequence[Document]) -> Array:
    """Embed, but for what globex has to hide, and one text of acme's."""
    for document in documents:
        if SECRET in str(document.text) or document.text == "unreadable":
            raise ValueError(f"cannot embed {document.text!r}")
    return np.concatenate([rows(1, DIMENSION, seed=d.metadata["year"]) for d in documents])  # type: ignore[arg-type]


def shared(outside: int, *, sealed: bool = True) -> Collection:
    """Return a collection with acme's documents, always the same, and so many of globex.

    As many commits are made whatever is outside, so that epochs are the same.
    """
    store = store_in()
    docs = store.create_collection("docs", fields={"tenant": "keyword", "year": "int"})
    for label in LABELS:
        docs.create_version(label, spec(f"model {label}", DIMENSION, "l2"), stale_policy="hide")
    many = outside > 1
    rng = np.random.default_rng(outside)
    mine, theirs = [f"acme {i}" for i in range(MINE)], [f"globex {i}" for i in range(outside)]
    scale = 3.0 if many else 1.0
    # Globex comes first: numbers of documents are the collection's.
    docs.upsert(
        theirs,
        texts=[f"{SECRET} {i}" for i in range(outside)],
        metadata=[{"tenant": "globex", "year": i} for i in range(outside)],
        vectors={
            label: scale * rng.standard_normal((outside, DIMENSION)) for label in (OLD, THIRD)
        },
    )
    docs.upsert(
        mine,
        texts=[f"acme's text {i}" for i in range(MINE - 1)] + ["unreadable"],
        metadata=[{"tenant": "acme", "year": i} for i in range(MINE)],
        vectors={label: vectors for label, vectors in queries(MINE).items() if label != NEW},
    )
    docs.add_vectors(NEW, mine[: MINE // 2], rows(MINE // 2, DIMENSION, seed=3))
    moved = theirs[: max(1, outside // 3)]
    docs.add_vectors(NEW, moved, scale * rows(len(moved), DIMENSION, seed=4))
    if sealed:
        seal(store)
    globex = docs.scoped(tenant == "globex")
    if many:
        globex.read_canary(THIRD, percent=40, reason=SECRET, by="eve")
        globex.shadow(NEW, reason=SECRET)
    else:
        docs.set_dual_write("allow")
        docs.set_dual_write("queue")
    docs.set_dual_write("allow")
    docs.shadow(THIRD)
    for seed in range(20 if many else 1):  # traffic that is not acme's
        globex.search(query(seed), k=3)
        docs.search(query(seed), k=1, version=OLD, where=tenant == "globex")
    docs.upsert(theirs[:2], texts=[f"{SECRET}, anew"] * len(theirs[:2]))
    docs.migrate(OLD, NEW, embed, batch_size=1_000, failures_max=1_000).run()
    docs.upsert([mine[1]], texts=["acme's text, anew"])
    return docs


@pytest.fixture(scope="module", params=["sealed", "unsealed"])
def both(request: pytest.FixtureRequest) -> tuple[Collection, Collection]:
    sealed = request.param == "sealed"
    return shared(1, sealed=sealed), shared(70, sealed=sealed)


def acme(docs: Collection) -> Collection:
    return docs.scoped(tenant == "acme")


def attributes(value: object) -> list[tuple[str, object]]:
    """Return all that an object shows: of plain data its repr is enough."""
    names = [name for name in dir(value) if not name.startswith("_") and name != "searched"]
    shown = [(name, getattr(value, name)) for name in names]
    return [(name, one) for name, one in shown if not callable(one)]


def result_of(result: vstore.SearchResult) -> list[object]:
    return [result.explain(), *attributes(result), [hit.document for hit in result]]


READS: dict[str, Callable[[Collection], object]] = {
    "repr": repr,
    "len": len,
    "ids": lambda a: a.ids(),
    "ids where": lambda a: a.ids(vstore.field("year") < 9),
    "ids where outside": lambda a: a.ids(tenant == "globex"),
    "documents": lambda a: list(a.documents()),
    "contains": lambda a: ["globex 0" in a, "nobody" in a, "acme 0" in a],
    "get": lambda a: [a.get("globex 0"), a.get("nobody"), a.get("acme 1")],
    "get_many": lambda a: a.get_many(["globex 0", "nobody", "acme 1"]),
    "vectors": lambda a: [
        (ids, *(array.tolist() for array in arrays)) for ids, *arrays in a.vectors(OLD)
    ],
    "vectors where": lambda a: [ids for ids, *_ in a.vectors(NEW, vstore.field("year") > 3)],
    "get_vectors": lambda a: a.get_vectors("acme 3", OLD).tolist(),
    "coverage": lambda a: [a.coverage(label) for label in LABELS],
    "coverage where": lambda a: a.coverage(NEW, vstore.field("year") > 3),
    "weighted coverage": lambda a: a.coverage(NEW, weighted=True),
    "pending": lambda a: a.pending(NEW),
    "hits": lambda a: a.hits(),
    "fields": lambda a: a.fields,
    "version": lambda a: [a.version(label) for label in LABELS],
    "version as data": lambda a: [a.version(label).to_dict() for label in LABELS],
    "versions": lambda a: a.versions,
    "route": lambda a: a.route,
    "routes": lambda a: a.routes,
    "shadow reports": lambda a: a.shadow_reports,
    "job": lambda a: repr(a.migrate(OLD, NEW)),
    "status": lambda a: a.migrate(OLD, NEW).status(),
    "status of a new job": lambda a: a.migrate(OLD, THIRD).status(),
    "dead letters": lambda a: a.migrate(OLD, NEW).dead_letters,
    "plan without a call": lambda a: a.migrate(OLD, NEW).plan(sample=0),
    "gates": lambda a: a.check_gates(
        THIRD,
        vstore.Gates(traffic_coverage=0.1, stale=0.1, dead_letters=0, recall=0.1),
    ),
    "quality gate": lambda a: a.check_gates(
        THIRD,
        vstore.Gates(quality=vstore.Judged(queries(12), [{f"acme {i}": 1} for i in range(12)])),
    ),
    "search": lambda a: result_of(a.search(query(), k=5)),
    "search a version": lambda a: result_of(a.search(query(), k=5, version=NEW)),
    "search where": lambda a: result_of(
        a.search(query(), k=5, version=OLD, where=vstore.field("year") > 7)
    ),
    "search outside": lambda a: result_of(
        a.search(query(), k=5, version=OLD, where=tenant == "globex")
    ),
    "routed by what is outside": lambda a: [
        str(handle.explain(query(), where=tenant == "globex"))
        for handle in (a, a.scoped(tenant.is_in(["acme", "initech"])))
    ],
    "search all": lambda a: result_of(a.search(query(), k=500, version=OLD)),
    "search exactly": lambda a: result_of(a.search(query(), version=OLD, exact=True)),
    "search a batch": lambda a: a.search_batch(queries(7), version=OLD, k=3).ids.tolist(),
    "explain": lambda a: a.explain(query()),
    "explain as data": lambda a: a.explain(query(), version=OLD).to_dict(),
    "explain and analyze": lambda a: str(a.explain(query(), analyze=True, version=NEW)),
    "explain an empty one": lambda a: a.explain(query(), version=OLD, where=tenant == "globex"),
    "cascade": lambda a: result_of(
        a.search(query(), mode="cascade", version=NEW, old_version=OLD, k=5)
    ),
    "two handles in one": lambda a: attributes_of_nested(a),
}
for rule in ("slots", "evidence", "imputed", "expected-gain", "rrf", "zscore", "dbsf", "minmax"):
    READS[f"dual by {rule}"] = lambda a, rule=rule: result_of(  # type: ignore[misc]
        a.search(query(), mode="dual", version=NEW, old_version=OLD, k=7, fusion=rule)
    )


def attributes_of_nested(a: Collection) -> list[object]:
    wider = a.scoped((tenant == "acme") | (tenant == "globex"))
    none = a.scoped(tenant == "globex")
    return [
        [one.ids(), one.routes, one.shadow_reports, one.version(OLD), one.explain(query())]
        for one in (wider, none)
    ]


def text_of(value: object) -> str:
    """Return all of it as text, but for times, places in the file, and calls by size of batches."""
    text = re.sub(r"attempts=\d+", "", repr([str(value), value]))
    text = re.sub(r"(seconds|_s|'ms'|ms)(=|': |: )[\d.e-]+", "", text)
    text = re.sub(r"\w*_us'?(=|: )\d+", "", text)
    return re.sub(r"segment@\d+|0x[0-9a-f]+", "", text)


@pytest.mark.parametrize("name", READS)
def test_what_is_outside_makes_no_difference(both: tuple[Collection, Collection], name: str) -> None:
    few, many = (text_of(READS[name](acme(docs))) for docs in both)
    assert many == few
    assert "globex" not in re.sub(r"tenant == \\*'globex", "", many)
