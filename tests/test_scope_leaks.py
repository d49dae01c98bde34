"""A scoped handle knows only its scope: what is outside makes no difference to what it says.

Two stores have the same documents of one tenant. The other tenant's differ in number, ids, texts,
vectors, routes, failures and traffic. Whatever can be asked through a handle on the first tenant
gives the same in both.
"""

from __future__ import annotations

import gc
import re
import weakref
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import vstore
from tests.small_store import contents, rows, seal, spec, store_in

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from vstore import Collection, Document
    from vstore.manifest.spec import Metric
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
    docs.add_vectors(mine[: MINE // 2], rows(MINE // 2, DIMENSION, seed=3), version=NEW)
    moved = theirs[: max(1, outside // 3)]
    docs.add_vectors(moved, scale * rows(len(moved), DIMENSION, seed=4), version=NEW)
    if sealed:
        seal(store)
    globex = docs.scoped(tenant == "globex")
    if many:
        globex.routes.set(vstore.Canary(THIRD, percent=40), reason=SECRET, by="eve")
        globex.routes.shadow(NEW, reason=SECRET)
    else:
        docs.migration.set_dual_write("allow")
        docs.migration.set_dual_write("queue")
    docs.migration.set_dual_write("allow")
    docs.routes.shadow(THIRD)
    for seed in range(20 if many else 1):  # traffic that is not acme's
        globex.search(query(seed), k=3)
        docs.search(query(seed), k=1, version=OLD, where=tenant == "globex")
    docs.upsert(theirs[:2], texts=[f"{SECRET}, anew"] * len(theirs[:2]))
    docs.migrate(
        OLD, NEW, embed, calls=vstore.Calls(batch_size=1_000), caps=vstore.Caps(failures=1_000)
    ).run()
    docs.upsert([mine[1]], texts=["acme's text, anew"])
    return docs


@pytest.fixture(scope="module", params=["sealed", "unsealed"])
def both(request: pytest.FixtureRequest) -> tuple[Collection, Collection]:
    sealed = request.param == "sealed"
    return shared(1, sealed=sealed), shared(70, sealed=sealed)


def pinned(docs: Collection) -> Collection:
    """Return a handle on the same documents at this epoch, which others leave behind."""
    return docs.store.snapshot().collection("docs")


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
    "pending": lambda a: a.migration.pending(NEW),
    "hits": lambda a: a.migration.hit_counts(),
    "fields": lambda a: a.fields,
    "version": lambda a: [a.versions[label] for label in LABELS],
    "version as data": lambda a: [a.versions[label].to_dict() for label in LABELS],
    "versions": lambda a: a.versions,
    "route": lambda a: a.routes.current,
    "routes": lambda a: a.routes,
    "shadow reports": lambda a: a.routes.shadow_reports,
    "job": lambda a: repr(a.migrate(OLD, NEW)),
    "status": lambda a: a.migrate(OLD, NEW).status(),
    "status of a new job": lambda a: a.migrate(OLD, THIRD).status(),
    "dead letters": lambda a: a.migrate(OLD, NEW).dead_letters,
    "plan without a call": lambda a: a.migrate(OLD, NEW).plan(sample=0),
    "gates": lambda a: a.routes.check_gates(
        THIRD, vstore.Gates(traffic_coverage=0.1, stale=0.1, dead_letters=0, recall=0.1)
    ),
    "quality gate": lambda a: a.routes.check_gates(
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
    "search exactly": lambda a: result_of(a.search(query(), version=OLD, recall=1)),
    "search a batch": lambda a: a.search_batch(queries(7), version=OLD, k=3).ids.tolist(),
    "explain": lambda a: a.explain(query()),
    "explain as data": lambda a: a.explain(query(), version=OLD).to_dict(),
    "explain and analyze": lambda a: str(a.explain(query(), analyze=True, version=NEW)),
    "explain an empty one": lambda a: a.explain(query(), version=OLD, where=tenant == "globex"),
    "cascade": lambda a: result_of(a.search(query(), k=5, read=vstore.Cascade(NEW, old=OLD))),
    "two handles in one": lambda a: attributes_of_nested(a),
}
for rule in ("slots", "evidence", "imputed", "rrf"):
    READS[f"dual by {rule}"] = lambda a, rule=rule: result_of(  # type: ignore[misc]
        a.search(query(), k=7, read=vstore.Dual(NEW, old=OLD, fusion=rule))
    )


def attributes_of_nested(a: Collection) -> list[object]:
    wider = a.scoped((tenant == "acme") | (tenant == "globex"))
    none = a.scoped(tenant == "globex")
    return [
        [one.ids(), one.routes, one.routes.shadow_reports, one.versions[OLD], one.explain(query())]
        for one in (wider, none)
    ]


def text_of(value: object) -> str:
    """Return all of it as text, but for times, places in memory, and calls by size of batches."""
    text = re.sub(r"attempts=\d+", "", repr([str(value), value]))
    text = re.sub(r"(seconds|_s|'ms'|ms)(=|': |: )[\d.e-]+", "", text)
    text = re.sub(r"\w*_us'?(=|: )\d+", "", text)
    return re.sub(r"0x[0-9a-f]+", "", text)


@pytest.mark.parametrize("name", READS)
def test_what_is_outside_makes_no_difference(
    both: tuple[Collection, Collection], name: str
) -> None:
    for of in (acme, lambda docs: acme(pinned(docs))):
        few, many = (text_of(READS[name](of(docs))) for docs in both)
        assert many == few
        assert "globex" not in re.sub(r"tenant == \\*'globex", "", many)


def test_the_view_of_a_scoped_handle_has_nothing_of_what_is_outside(
    both: tuple[Collection, Collection],
) -> None:
    mine = acme(both[1])._handle.view()
    assert mine.documents.find(["globex 0", "acme 0", "nobody"])[[0, 2]].tolist() == [-1, -1]
    assert mine.live_count == int(np.count_nonzero(mine.documents.revision)) == MINE
    assert {key for key in mine.state.routes if key} == set()
    assert "globex" not in repr(mine.state.jobs)
    for label in LABELS:
        table = mine.rows(label)
        assert table.has_rows.sum() <= MINE
        assert table.served_rows == table.has_served.sum() <= MINE


def test_only_named_places_ask_for_a_collection_without_its_scope() -> None:
    """Whoever has a handle asks it for the view: what takes another way is listed here."""
    asking = re.compile(r"(?:snapshot|current)(?:\(\))?\.collection\(")
    folder = Path(vstore.__file__).parent
    whole_file = {"engine/vacuum", "inspection/check", "inspection/check_documents",
                  "inspection/manifest_info"}  # fmt: skip
    found = {
        (name, len(asking.findall(path.read_text("utf-8"))))
        for path in folder.rglob("*.py")
        if (name := path.relative_to(folder).with_suffix("").as_posix()) not in whole_file
        and asking.search(path.read_text("utf-8"))
    }
    assert found == {
        ("engine/handle", 1),  # where the scope is applied, and a bound version looked up
        ("engine/hit_counts", 2),  # by docno
        ("engine/flushing", 1),  # hits of all documents
        ("guarding/fitting_version", 1),  # versions of the whole collection
        ("guarding/learning", 1),
        ("guarding/length_check", 1),  # lengths of a version, whoever wrote them
        ("writing/draft", 1),  # writes, which `writing.scope` checks one by one
        ("api/store", 2),  # whether the collection is there
        ("api/reader", 1),
    }


# Plans, which embed.


def test_a_plan_embeds_nothing_outside(both: tuple[Collection, Collection]) -> None:
    seen: list[Any] = []

    def recording(documents: Sequence[Document]) -> Array:
        seen.extend(document.metadata["tenant"] for document in documents)
        return rows(len(documents), DIMENSION)

    plan = acme(both[1]).migrate(OLD, NEW, recording).plan(sample=100)
    assert (plan.documents, plan.failed, plan.sample) == (1, 1, 1)
    assert seen == ["acme"]


def test_a_job_s_counters_and_its_note_are_of_all_documents() -> None:
    docs = shared(70)
    docs.upsert(["globex 5", "globex 6"], texts=["changed", "changed"])
    job = docs.migrate(
        OLD,
        THIRD,
        never_refuses,
        caps=vstore.Caps(documents=1, units=999),
        price=vstore.Price(per_unit=2.0),
    )
    assert job.run().note
    status = acme(docs).migrate(OLD, THIRD).status()
    assert status.status == "stopped"
    assert (status.done, status.left, status.coverage.fresh) == (39, 1, 39)
    assert (status.note, status.units, status.cost, status.batches) == ("", 0, 0, 0)
    assert (status.documents_max, status.units_max, status.cost_max) == (None, None, None)


# What concerns everybody.


def never_refuses(documents: Sequence[Document]) -> Array:
    return rows(len(documents), DIMENSION)


class Embedder:
    """Remembers what it was given."""

    def __init__(self, drift: float = 0.0) -> None:
        self.spec = spec(f"model {OLD}", DIMENSION, "l2")
        self.seen: list[str] = []
        self._drift = drift

    def embed_documents(self, texts: Sequence[str]) -> Array:
        self.seen.extend(texts)
        vectors = [rows(1, DIMENSION, seed=len(text)) for text in texts]
        return np.concatenate(vectors) + self._drift * rows(len(texts), DIMENSION, seed=77)

    def embed_query(self, text: str) -> Array:
        vector: Array = rows(1, DIMENSION, seed=len(text))[0]
        return vector


def never(*_: object) -> Array:
    raise AssertionError("something was embedded")


JUDGED: dict[str, Any] = {  # the queries are vectors of the documents
    "queries": queries(3),
    "judgments": [{f"acme {i}": 1} for i in (0, 2, 2)],
}
REFUSED: dict[str, Callable[[Collection], object]] = {
    "add_field": lambda a: a.add_field("lang", "keyword"),
    "create_version": lambda a: a.create_version("v4", spec("model v4", DIMENSION)),
    "retire": lambda a: a.routes.retire(NEW),
    "set_dual_write": lambda a: a.migration.set_dual_write("require"),
    "backfill": lambda a: a.migration.backfill(NEW, never),
    "migrate": lambda a: a.migrate(OLD, NEW, never).run(),
    "migrate without a call": lambda a: a.migrate(OLD, NEW, never).run(batches_max=0),
    "stop": lambda a: a.migrate(OLD, NEW).stop(),
    "cancel": lambda a: a.migrate(OLD, NEW).cancel(),
    "retry_failed": lambda a: a.migrate(OLD, NEW).retry_failed(),
    "fit_bridge": lambda a: a.migration.fit_bridge(OLD, THIRD, min_recall=0),
    "a bridge that is not good": lambda a: a.migration.fit_bridge(OLD, THIRD, min_recall=1),
    "choose_fusion": lambda a: a.migration.choose_fusion(THIRD, **JUDGED, old=OLD),
    "guard": lambda a: a.guards[OLD],
    "set_canaries": lambda a: a.guards.set_canaries(OLD, ["one"], vectors=Embedder()),
    "no canaries": lambda a: a.guards.set_canaries(OLD, [], vectors=rows(0, DIMENSION)),
    "verify_embedder": lambda a: a.guards.verify_embedder(Embedder(), OLD),
    "set_guard_policy": lambda a: a.guards.set_policy(OLD, "off"),
    "relearn": lambda a: a.guards.relearn(OLD),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_concerns_everybody_is_refused(both: tuple[Collection, Collection], name: str) -> None:
    docs = both[1]
    before = contents(docs), docs.routes, docs.versions
    with pytest.raises(vstore.ScopeError, match="not through a scoped handle") as caught:
        REFUSED[name](acme(docs))
    assert isinstance(caught.value, vstore.InvalidArgumentError)
    assert SECRET not in str(caught.value)
    assert (contents(docs), docs.routes, docs.versions) == before


def test_what_a_bridge_and_a_rule_were_made_of_is_not_told() -> None:
    docs = shared(300)
    bridge = docs.migration.fit_bridge(THIRD, OLD, min_recall=0)
    docs.migration.choose_fusion(THIRD, **JUDGED, old=OLD)
    asked: list[dict[str, Any]] = [
        {"query": {THIRD: query()[THIRD]}, "read": vstore.Bridge(OLD, source=THIRD)},
        {"query": query(), "read": vstore.Dual(THIRD, old=OLD, fusion="auto")},
    ]
    for options in asked:
        whole, mine = str(docs.explain(**options)), str(acme(docs).explain(**options))
        assert re.search(rf"{bridge.pairs:,} documents|3 judged queries at", whole)
        assert not re.search(r"Fitted on|judged queries at|\d judged", mine)
        assert set(acme(docs).search(**options).ids) <= set(acme(docs).ids())


def test_what_gates_measured_of_everybody_is_not_told_to_a_tenant() -> None:
    docs = shared(70)
    docs.routes.cutover(THIRD, reason="better", by="ada", gates=vstore.Gates(coverage=0.1))
    assert docs.routes.current.evidence
    assert (acme(docs).routes.current.version, acme(docs).routes.current.evidence) == (THIRD, ())
    acme(docs).routes.cutover(OLD, gates=vstore.Gates(coverage=0.1))
    own = acme(docs).routes.current
    assert own.evidence == docs.routes["tenant=acme"].evidence != ()
    assert set(acme(docs).routes) == {"", "tenant=acme"}
    narrower = acme(docs).scoped(vstore.field("year") < 5)
    assert narrower.routes["tenant=acme"].evidence == ()  # of years that it does not see
    assert acme(docs).scoped(tenant == "globex").routes.keys() == {""}


# Ids.

TAKEN, FREE = "globex 0", "nobody 0"
BY_ID: dict[str, Callable[[Collection, str], object]] = {
    "upsert": lambda a, id_: a.upsert([id_], texts=["mine now"]),
    "upsert beside one that is mine": lambda a, id_: a.upsert(["acme 0", id_], texts=["x", "y"]),
    "upsert outside": lambda a, id_: a.upsert([id_], metadata=[{"tenant": "globex"}]),
    "upsert vectors": lambda a, id_: a.upsert([id_], vectors={OLD: rows(1, DIMENSION)}),
    "upsert texts": lambda a, id_: a.upsert_texts([id_], ["x"], embedder=Embedder()),
    "update_metadata": lambda a, id_: a.update_metadata([id_], [{"tenant": "acme"}]),
    "delete": lambda a, id_: a.delete([id_, "acme 0"]),
    "delete where": lambda a, id_: a.delete(where=tenant == "globex"),
    "add_vectors": lambda a, id_: a.add_vectors([id_], rows(1, DIMENSION), version=OLD),
    "add late vectors": lambda a, id_: a.add_vectors(
        [id_], rows(1, DIMENSION), revisions=[5], version=OLD
    ),
    "get_vectors": lambda a, id_: a.get_vectors(id_, OLD),
    "get_vector": lambda a, id_: a.get_vectors(id_, OLD)[3],
    "lacking": lambda a, id_: lacking(a, id_),
}


def lacking(docs: Collection, id_: str) -> list[int]:
    with docs.store.transaction() as tx:
        return tx._draft.lacking(docs._handle, NEW, [id_])


@pytest.mark.parametrize("name", BY_ID)
def test_an_id_outside_is_as_one_that_nobody_has(name: str) -> None:
    told = []
    for id_ in (TAKEN, FREE):
        try:
            found = repr(BY_ID[name](acme(shared(3)), id_))
        except vstore.VstoreError as error:
            found = f"{type(error).__name__}: {error}"
        told.append(found.replace(id_, "it"))
    assert told[0] == told[1]


def test_a_taken_id_cannot_be_written_and_that_is_all_that_is_told() -> None:
    docs = shared(3)
    before = contents(docs)
    with pytest.raises(vstore.ScopeError) as taken:
        acme(docs).upsert([TAKEN], metadata=[{"tenant": "acme"}])
    with pytest.raises(vstore.ScopeError) as outside:
        acme(docs).upsert([FREE], metadata=[{"tenant": "globex"}])
    assert str(taken.value).replace(TAKEN, FREE) == str(outside.value)
    assert contents(docs) == before
    docs.delete([TAKEN])  # then the id is free, and nothing of what it was is left
    assert acme(docs).upsert([TAKEN], metadata=[{"tenant": "acme"}]).inserted == 1
    document = acme(docs).get(TAKEN)
    assert document is not None
    assert (document.created, document.text) == (docs.store.epoch, None)


def test_a_document_that_left_the_scope_in_this_transaction_is_gone() -> None:
    docs = shared(3)
    with docs.store.transaction() as tx:
        tx.update_metadata(docs, ["acme 3"], [{"tenant": "globex"}])
        tx.update_metadata(docs, ["globex 1"], [{"tenant": "acme"}])
        with pytest.raises(vstore.NotFoundError):
            tx._draft.lacking(acme(docs)._handle, NEW, ["acme 3"])
        assert tx._draft.lacking(acme(docs)._handle, NEW, ["globex 1"]) == [0]
        assert tx.delete(acme(docs), ["acme 3", "globex 1"]).deleted == 1
    assert "acme 3" in docs


# Two epochs.


def test_a_document_that_came_or_went_is_seen_as_new_or_gone() -> None:
    docs = shared(3)
    near = query()
    (first, *_), before = acme(docs).search(near, version=OLD, k=3).ids, docs.store.epoch
    docs.update_metadata([first], [{"tenant": "globex"}])
    moved = docs.store.epoch
    docs.upsert([first], texts=[SECRET])  # which is no longer acme's affair
    docs.upsert(["globex 2"], texts=["soon acme's"], vectors={OLD: near[OLD][None]})
    written = docs.store.epoch
    docs.update_metadata(["globex 2"], [{"tenant": "acme"}])

    def changes(before: int, after: int | None = None) -> dict[Any, tuple[str, ...]]:
        found = acme(docs).compare_epochs(near, before=before, after=after, version=OLD, k=3)
        assert SECRET not in str(found)
        return {change.id: change.reasons for change in found.changes}

    assert changes(before, moved)[first] == changes(before)[first] == ("deleted",)
    assert changes(written)["globex 2"] == changes(before)["globex 2"] == ("added",)


# Queries and batches of others.


def model(count: int, seed: int) -> Array:
    """Return vectors of a space with preferred directions."""
    directions = np.linspace(3, 0.1, 64)
    vectors = rows(count, 64, seed=seed) * directions + np.linspace(2, -2, 64)
    return np.asarray(vectors.astype(np.float32))


def turned(vectors: Array) -> Array:
    """Return the vectors as another model would make them."""
    return np.asarray(vectors @ np.linalg.qr(rows(64, 64, seed=1))[0], np.float32)


def test_strange_queries_of_one_tenant_are_no_alarm_for_another() -> None:
    store = store_in()
    docs = store.create_collection("docs", fields={"tenant": "keyword"})
    docs.create_version(OLD, spec("of 64", 64))
    metadata = [{"tenant": ("acme", "globex")[i % 2]} for i in range(1_100)]
    docs.upsert(list(range(1_100)), vectors={OLD: model(1_100, 0)}, metadata=metadata)
    other = store.create_collection(SECRET)
    other.create_version("their model", spec("another of 64", 64))
    other.upsert(list(range(300)), vectors={"their model": turned(model(300, 7))})
    globex = docs.scoped(tenant == "globex")
    for one in turned(model(40, 3)):
        globex.search(one, version=OLD)
    found = globex.search(turned(model(1, 3))[0], version=OLD)
    assert found.suspect is not None
    assert SECRET not in found.suspect  # of this collection alone, as a handle is
    for one in model(40, 4):
        assert acme(docs).search(one, version=OLD).suspect is None
    with pytest.raises(vstore.SuspectGeometryError) as caught:
        acme(docs).upsert(
            list(range(5_000, 5_064)),
            vectors={OLD: turned(model(64, 5))},
            metadata=[{"tenant": "acme"}] * 64,
        )
    assert "learned from" not in str(caught.value)
    assert SECRET not in str(caught.value)


def test_the_texts_of_canaries_are_not_told_to_who_writes_through_a_scope() -> None:
    docs = shared(3)
    docs.guards.set_canaries(OLD, [SECRET, f"{SECRET}, again", f"{SECRET}!"], vectors=Embedder())
    before = contents(docs)
    with pytest.raises(vstore.EmbedderDriftError) as caught:
        acme(docs).upsert_texts(
            ["acme 0"], ["new"], embedder=Embedder(drift=3.0), metadata=[{"tenant": "acme"}]
        )
    assert SECRET not in f"{caught.value}{caught.value.report}{vars(caught.value)}"
    assert contents(docs) == before
    assert acme(docs).upsert_texts(["acme 0"], ["new"], embedder=Embedder()).updated == 1


def test_a_commit_lets_go_of_the_scoped_view_before_it() -> None:
    """Without help of the garbage collector: views hold maps of the file."""
    docs = shared(3)
    mine = acme(docs)
    gc.collect()
    gc.disable()
    try:
        result = mine.search(query(), version=OLD, k=3)
        views = [weakref.ref(one) for one in (mine._handle.view(), mine._handle.view().whole)]
        assert all(view() is not None for view in views)
        del result
        docs.upsert(["acme 7"], texts=["anew"])
        assert [view() for view in views] == [None, None]
    finally:
        gc.enable()


def lengths_beside(length: float, metric: Metric, name: str, caplog: Any) -> list[str]:
    """Return what is said to acme of odd rows, where all others have about this length."""
    rng = np.random.default_rng(3)
    unit = rows(640, 64, seed=1)
    unit /= np.linalg.norm(unit, axis=1, keepdims=True)
    docs = store_in().create_collection("docs", fields={"tenant": "keyword"})
    docs.create_version("v", spec("m", 64, metric))
    others = unit[:600] * rng.uniform(length, length * 1.2, (600, 1)).astype(np.float32)
    for part in range(0, 600, 200):
        docs.upsert(
            list(range(part, part + 200)),
            vectors={"v": others[part : part + 200]},
            metadata=[{"tenant": "globex"}] * 200,
        )
    acme, odd = docs.scoped(tenant == "acme"), unit[600:640] * 5_000
    if name == "codes":
        odd = np.rint(unit[600:640] * 3_000).clip(-255, 255)
    if name == "short":
        odd = unit[600:640] / np.float32(1e4)
    told = []
    caplog.clear()
    for count in (1, 12, 40):
        try:
            acme.upsert(
                [f"a{i}" for i in range(count)],
                vectors={"v": odd[:count]},
                metadata=[{"tenant": "acme"}] * count,
            )
        except vstore.InvalidVectorError as error:
            told.append(str(error))
    told.append(str(acme.search(odd[0], version="v", k=1).suspect))
    return [*told, *caplog.messages]


@pytest.mark.parametrize("name", ["long", "short", "codes"])
@pytest.mark.parametrize("metric", ["cosine", "inner_product", "l2"])
def test_the_lengths_of_others_rows_are_not_told(
    metric: Metric, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    told = lengths_beside(7.0, metric, name, caplog)
    assert told == lengths_beside(8.0, metric, name, caplog)
    assert "other lengths" in str(told)
