"""Which side of a canary a query takes: the same one in whatever form the query comes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import vstore
from tests.small_store import NEW, OLD, documents, rows, spec, store_in

if TYPE_CHECKING:
    from collections.abc import Callable

    from vstore.manifest.spec import Metric

SMALL, LARGE = vstore.HashingEmbedder(32), vstore.HashingEmbedder(64, seed=1)
TEXTS = [f"what about {thing} {i}?" for i in range(20) for thing in ("boats", "cars", "planes")]


@pytest.fixture
def docs() -> vstore.Collection:
    """Make a collection in which a canary gives the new version half of the queries."""
    store = store_in()
    docs = store.create_collection("docs")
    docs.create_version(OLD, SMALL.spec)
    docs.create_version(NEW, LARGE.spec)
    docs.upsert_texts(range(8), TEXTS[:8], embedder=[SMALL, LARGE])
    docs.routes.set(vstore.Canary(NEW, percent=50))
    return docs


def side(result: vstore.SearchResult) -> str:
    (version,) = {hit.version for hit in result}
    return version


def both(text: str) -> dict[str, Any]:
    return {OLD: SMALL.embed_query(text), NEW: LARGE.embed_query(text)}


FORMS: dict[str, Callable[[str], Any]] = {
    "vectors of both": both,
    "in the other order": lambda text: dict(reversed(both(text).items())),
    "of double precision": lambda text: {
        label: vector.astype(np.float64) for label, vector in both(text).items()
    },
    "as lists": lambda text: {label: vector.tolist() for label, vector in both(text).items()},
    "stamped": lambda text: {
        OLD: vstore.Embeddings(SMALL.spec, SMALL.embed_query(text)),
        NEW: vstore.Embeddings(LARGE.spec, LARGE.embed_query(text)),
    },
}


@pytest.mark.parametrize("form", FORMS)
def test_a_text_and_its_vectors_take_the_same_side(docs: vstore.Collection, form: str) -> None:
    docs.store.register_embedder(SMALL)
    docs.store.register_embedder(LARGE)
    by_text = [side(docs.search(text)) for text in TEXTS]
    assert [side(docs.search(FORMS[form](text))) for text in TEXTS] == by_text
    assert 15 < by_text.count(NEW) < 45


def test_whichever_form_comes_first_and_in_a_batch(docs: vstore.Collection) -> None:
    vectors = {
        OLD: np.stack([SMALL.embed_query(text) for text in TEXTS]),
        NEW: np.stack([LARGE.embed_query(text) for text in TEXTS]),
    }
    by_vectors = [side(result) for result in docs.search_batch(vectors)]
    docs.store.register_embedder(SMALL)
    docs.store.register_embedder(LARGE)
    assert [side(result) for result in docs.search_batch(TEXTS)] == by_vectors
    assert [side(docs.search(text)) for text in TEXTS] == by_vectors


def test_a_shadow_asks_for_the_same_queries_too(docs: vstore.Collection) -> None:
    docs.routes.rollback()
    docs.routes.shadow(NEW, percent=50)
    docs.store.register_embedder(SMALL)
    docs.store.register_embedder(LARGE)
    asked = []
    for form in (str, both):
        for text in TEXTS:
            docs.search(form(text))
        (report,) = docs.routes.shadow_reports
        asked.append(report.queries)
    assert asked[1] == 2 * asked[0] > 0


def test_without_the_serving_version_s_embedder_the_text_itself_tells(
    docs: vstore.Collection,
) -> None:
    docs.store.register_embedder(LARGE)
    sides = []
    for text in TEXTS:
        try:
            sides.append(side(docs.search(text)))
        except vstore.StateError:  # the old version's side has no embedder
            sides.append(OLD)
    docs.routes.set(vstore.Canary(NEW, percent=100))
    assert {side(docs.search(text)) for text in TEXTS} == {NEW}
    assert 15 < sides.count(NEW) < 45


@pytest.mark.parametrize(
    ("metric", "dimension"),
    [("cosine", 2), ("cosine", 384), ("inner_product", 1), ("l2", 1), ("l2", 2), ("l2", 384)],
)
def test_queries_are_spread_over_both_sides(metric: Metric, dimension: int) -> None:
    docs = store_in().create_collection("docs")
    docs.create_version(OLD, spec("old", dimension, metric))
    docs.create_version(NEW, spec("new", dimension, metric))
    vectors = rows(200, dimension)
    docs.upsert([0], vectors={OLD: vectors[:1], NEW: vectors[:1]})
    docs.routes.set(vstore.Canary(NEW, percent=50))
    sides = [side(result) for result in docs.search_batch({OLD: vectors, NEW: vectors})]
    assert 60 < sides.count(NEW) < 140


def test_a_key_decides_whatever_the_query_is(docs: vstore.Collection) -> None:
    docs.store.register_embedder(SMALL)
    docs.store.register_embedder(LARGE)
    assert len({side(docs.search(text, key="ada")) for text in TEXTS}) == 1
    assert len({side(docs.search(both(text), key="ada")) for text in TEXTS}) == 1


@pytest.mark.parametrize("form", ["text", *FORMS])
@pytest.mark.parametrize("key", [None, "ada", "bob", "eve", "dan"])
def test_explain_shows_the_plan_that_the_search_runs(
    docs: vstore.Collection, form: str, key: str | None
) -> None:
    docs.store.register_embedder(SMALL)
    docs.store.register_embedder(LARGE)
    docs.routes.set(vstore.Canary(NEW, percent=40))
    for text in TEXTS[:20]:
        query = text if form == "text" else FORMS[form](text)
        result = docs.search(query, key=key)
        planned = docs.explain(query, key=key)
        assert planned.plan == result.plan == docs.explain(query, key=key, analyze=True).plan
        share = 40 if side(result) == NEW else 60
        assert f"whose canary gives it {share} % of the queries" in str(planned)


def test_explain_shows_the_side_of_the_tenant_s_canary() -> None:
    docs = documents(new=spec("model-new"))
    vectors = rows(40)
    docs.upsert(range(40), metadata=[{"tenant": "acme"}] * 40, vectors={OLD: vectors, NEW: vectors})
    acme = docs.scoped(vstore.field("tenant") == "acme")
    acme.routes.set(vstore.Canary(NEW, percent=50))
    ways: list[dict[str, Any]] = [
        {"where": vstore.field("tenant") == "acme"},
        {"version": OLD},
        {},
    ]
    for vector in vectors:
        query = {OLD: vector, NEW: vector}
        for options in ways:
            for handle in (docs, acme):
                result = handle.search(query, **options)
                assert handle.explain(query, **options).plan == result.plan
    assert {side(acme.search({OLD: vector, NEW: vector})) for vector in vectors} == {OLD, NEW}


def test_a_canary_of_a_query_without_the_chosen_version_s_vector_fails_alike(
    docs: vstore.Collection,
) -> None:
    docs.routes.set(vstore.Canary(NEW, percent=100))
    for query in ({OLD: SMALL.embed_query("a")}, {"other": SMALL.embed_query("a")}):
        with pytest.raises(vstore.MissingQueryVectorError) as searched:
            docs.search(query)
        with pytest.raises(vstore.MissingQueryVectorError) as explained:
            docs.explain(query)
        assert str(searched.value) == str(explained.value)


@pytest.mark.parametrize("key", [None, "ada", "bob", "eve", "dan"])
def test_epochs_are_compared_by_the_side_that_each_had(
    docs: vstore.Collection, key: str | None
) -> None:
    canary = docs.store.epoch
    docs.routes.cutover(NEW)
    docs.routes.cutover(OLD)
    sides = []
    for text in TEXTS:
        query = both(text)
        compared = docs.compare_epochs(query, before=canary, key=key)
        then = docs.store.snapshot(canary).collection("docs").search(query, key=key)
        assert compared.before_read == ("matched", side(then))
        assert compared.after_read == ("matched", OLD)
        sides.append(side(then))
        assert bool(compared.changes) == (side(then) == NEW)
    assert len(set(sides)) == (2 if key is None else 1)
