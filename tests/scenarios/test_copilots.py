"""One store behind many customers' copilots: the hot tenants move to the new model first.

Tenants differ. Acme asks most and goes first; for hooli's jargon the new model is worse; initech
uploads what the provider refuses to embed. Each has gates, a canary, a cutover and a way back of
its own, and what goes wrong for one is no other tenant's incident.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import vstore

if TYPE_CHECKING:
    from collections.abc import Sequence

    from vstore import Collection, Document
    from vstore.types import Array

OLD, NEW = "chunks-v1", "chunks-v2"
QUERIES_A_DAY = {"globex": 900, "acme": 40_000, "hooli": 1_500, "initech": 20}
DOCUMENTS, DIMENSION = 40, 16  # a tenant
JARGON, BROKEN = "hooli", "initech"
SEED = 5

tenant = vstore.field("tenant")


class Texts:
    """What the tenants' texts mean, seeded, and how well either model tells it."""

    def __init__(self) -> None:
        rng = np.random.default_rng(SEED)
        self.vectors: dict[str, dict[str, Array]] = {OLD: {}, NEW: {}}
        self.queries: dict[str, dict[str, Array]] = {OLD: {}, NEW: {}}
        for name in QUERIES_A_DAY:
            meaning = rng.standard_normal((DOCUMENTS, DIMENSION))
            question = meaning + 0.3 * rng.standard_normal(meaning.shape)
            for version, better in ((OLD, name == JARGON), (NEW, name != JARGON)):
                turned = np.linalg.qr(rng.standard_normal((DIMENSION, DIMENSION)))[0]
                for kept, what in ((self.vectors, meaning), (self.queries, question)):
                    noise = rng.standard_normal(meaning.shape)
                    said = what + (0.1 if better else 1.2) * noise
                    kept[version][name] = (said @ turned).astype(np.float32)

    def new_model(self, documents: Sequence[Document]) -> Array:
        rows = []
        for document in documents:
            name, number = str(document.id).split("/")
            if name == BROKEN and int(number) % 10 == 0:
                raise ValueError("provider: content refused")
            rows.append(self.vectors[NEW][name][int(number)])
        return np.stack(rows)

    def asked_by(self, name: str) -> dict[str, Array]:
        return {version: self.queries[version][name] for version in (OLD, NEW)}

    def gates(self, name: str) -> vstore.Gates:
        """Return the same demands for every tenant, quality by its own judged questions."""
        judged = vstore.Judged(self.asked_by(name), [{id_: 1.0} for id_ in ids(name)], margin=0.02)
        return vstore.Gates(coverage=1.0, stale=0.0, dead_letters=0, quality=judged)


@pytest.fixture(scope="module")
def texts() -> Texts:
    return Texts()


@pytest.fixture
def docs(texts: Texts) -> Collection:
    fields = {"tenant": "keyword", "heat": "int"}
    docs = vstore.open(":memory:").create_collection("chunks", fields=fields)
    docs.create_version(OLD, vstore.EmbeddingSpec("copilot-embed-1", DIMENSION))
    docs.create_version(NEW, vstore.EmbeddingSpec("copilot-embed-2", DIMENSION))
    for name, heat in QUERIES_A_DAY.items():
        metadata = [{"tenant": name, "heat": heat}] * DOCUMENTS
        docs.upsert(ids(name), metadata=metadata, vectors={OLD: texts.vectors[OLD][name]})
    return docs


def ids(name: str) -> list[str]:
    return [f"{name}/{number}" for number in range(DOCUMENTS)]


def of(docs: Collection, name: str) -> Collection:
    return docs.scoped(tenant == name)


def served(docs: Collection, texts: Texts, name: str, **options: Any) -> set[str]:
    """Ask a tenant's questions through its handle; return which versions answered."""
    results = of(docs, name).search_batch(texts.asked_by(name), k=5, **options)
    assert all(str(id_).startswith(name) for result in results for id_ in result.ids)
    return {hit.version for result in results for hit in result}


def hot_first(docs: Collection, texts: Texts) -> vstore.Migration:
    return docs.migrate(
        OLD,
        NEW,
        texts.new_model,
        order="hot",
        order_field="heat",
        calls=vstore.Calls(batch_size=DOCUMENTS),
    )


def test_hot_tenants_are_filled_and_cut_over_first(docs: Collection, texts: Texts) -> None:
    backfill = hot_first(docs, texts)
    backfill.run(batches_max=1)
    done = {name: of(docs, name).coverage(NEW).share for name in QUERIES_A_DAY}
    assert done == {"acme": 1.0, "hooli": 0.0, "globex": 0.0, "initech": 0.0}
    # A quarter of the work, and most of the traffic has the new model.
    of(docs, "acme").routes.cutover(NEW, gates=texts.gates("acme"), reason="hot first")
    moved = sum(n for name, n in QUERIES_A_DAY.items() if served(docs, texts, name) == {NEW})
    assert moved / sum(QUERIES_A_DAY.values()) > 0.9
    with pytest.raises(vstore.GateError, match="coverage"):
        of(docs, "globex").routes.cutover(NEW, gates=texts.gates("globex"))
    assert served(docs, texts, "globex") == {OLD}
    # The others follow in the order of their heat.
    backfill.run(batches_max=2)
    assert of(docs, "globex").coverage(NEW).complete
    assert not of(docs, BROKEN).coverage(NEW).fresh


def test_each_tenant_passes_or_fails_its_own_gates(docs: Collection, texts: Texts) -> None:
    report = hot_first(docs, texts).run()
    assert (report.failed, report.done) == (4, 4 * DOCUMENTS - 4)
    refused = {}
    for name in QUERIES_A_DAY:
        try:
            of(docs, name).routes.cutover(NEW, gates=texts.gates(name))
        except vstore.GateError as error:
            refused[name] = str(error)
    assert set(refused) == {JARGON, BROKEN}
    assert "quality -" in refused[JARGON]
    assert "coverage" not in refused[JARGON]
    assert "dead_letters 4" in refused[BROKEN]
    answering = {name: served(docs, texts, name) for name in QUERIES_A_DAY}
    assert answering == {"acme": {NEW}, "globex": {NEW}, JARGON: {OLD}, BROKEN: {OLD}}
    # Over all tenants, the new model would have passed: an average hides hooli.
    every = {
        version: np.concatenate([texts.queries[version][name] for name in QUERIES_A_DAY])
        for version in (OLD, NEW)
    }
    judgments = [{id_: 1.0} for name in QUERIES_A_DAY for id_ in ids(name)]
    overall = vstore.Gates(coverage=0.9, quality=vstore.Judged(every, judgments, margin=0.02))
    assert all(gate.passed for gate in docs.routes.check_gates(NEW, overall))


def test_a_noisy_tenant_s_failure_stays_its_own(docs: Collection, texts: Texts) -> None:
    backfill = hot_first(docs, texts)
    backfill.run()
    refused = [f"{BROKEN}/{number}" for number in (0, 10, 20, 30)]
    assert [letter.id for letter in backfill.dead_letters] == refused
    assert "content refused" in backfill.dead_letters[0].error
    assert all(of(docs, name).coverage(NEW).complete for name in QUERIES_A_DAY if name != BROKEN)

    # Its own handle cannot touch, see or name another tenant's documents.
    noisy = of(docs, BROKEN)
    with pytest.raises(vstore.ScopeError):
        noisy.upsert(["acme/0"], metadata=[{"tenant": BROKEN, "heat": 0}])
    assert noisy.delete(["acme/0"]).missing == 1
    assert noisy.get("acme/0") is None
    assert not [
        i for i in noisy.search(texts.queries[OLD]["acme"][0], version=OLD).ids if i in ids("acme")
    ]

    # It mends its uploads; nobody else is embedded again.
    noisy.delete(refused)
    report = backfill.run()
    assert (report.done, report.failed) == (0, 0)
    noisy.routes.cutover(NEW, gates=vstore.Gates(coverage=1.0, dead_letters=0))
    assert served(docs, texts, BROKEN) == {NEW}


def test_one_tenant_tries_the_new_model_and_goes_back_alone(docs: Collection, texts: Texts) -> None:
    hot_first(docs, texts).run()
    for name in ("acme", "globex"):
        of(docs, name).routes.cutover(NEW, gates=texts.gates(name))
    routes = docs.routes

    hooli = of(docs, JARGON)
    hooli.routes.set(vstore.Canary(NEW, percent=50), reason="see for themselves")
    keys = [f"{JARGON}-user-{number}" for number in range(DOCUMENTS)]
    assert served(docs, texts, JARGON, keys=keys) == {OLD, NEW}
    for key, result in zip(
        keys, hooli.search_batch(texts.asked_by(JARGON), keys=keys), strict=True
    ):
        assert len({hit.version for hit in result}) == 1, key
    hooli.routes.rollback(reason="worse with our jargon", by="hooli's admin")
    assert served(docs, texts, JARGON, keys=keys) == {OLD}

    # Acme goes back and forth; what it wrote in between is in both, and nobody else moved.
    docs.migration.set_dual_write("require")
    acme = of(docs, "acme")
    pair = {version: texts.vectors[version][JARGON][:1] for version in (OLD, NEW)}
    acme.upsert(["acme/new"], metadata=[{"tenant": "acme"}], vectors=pair)
    assert acme.routes.rollback(reason="an incident").complete
    question = {version: rows[0] for version, rows in pair.items()}
    assert acme.search(question, k=1).ids == ["acme/new"]
    acme.routes.cutover(NEW, gates=vstore.Gates(coverage=1.0), reason="it was the network")
    assert acme.search(question, k=1).ids == ["acme/new"]
    assert docs.routes["tenant=globex"] == routes["tenant=globex"]
    assert docs.routes[""] == routes[""]
    told = [entry.note for entry in docs.store.history() if "tenant=acme" in entry.note]
    assert told == [
        f"{NEW} for tenant=acme: it was the network",
        "tenant=acme: an incident",
        f"{NEW} for tenant=acme",
    ]
    mixed = docs.store.metrics().to_dict()["mixed_version_rate"]
    assert mixed == {"explicit": 0.0, "silent": 0.0}


def test_what_users_find_most_goes_first(docs: Collection, texts: Texts) -> None:
    # Nobody says which documents are hot: the store has counted what was found.
    favourites = [f"acme/{number}" for number in range(4)]
    asked = texts.vectors[OLD]["acme"][:4]
    for _ in range(25):
        of(docs, "acme").search_batch({OLD: asked}, k=1)
    of(docs, "initech").search_batch(texts.asked_by("initech"), k=1)
    docs.store.flush_metrics()
    docs.migrate(OLD, NEW, texts.new_model, order="hot", calls=vstore.Calls(batch_size=4)).run(
        batches_max=1
    )
    pending = {document.id for document in docs.migration.pending(NEW)}
    assert not pending & set(favourites)
    covered = docs.coverage(NEW, weighted=True)
    assert covered.share == 4 / len(docs)
    assert covered.traffic_share > 0.7
