"""Dual reads through the store: exact at both ends, bounded between, and nothing out of reach."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, get_args

import numpy as np
import pytest

import vstore
from tests.small_store import NEW, OLD, documents, rows, seal, spec
from vstore.fusions import FusionName

if TYPE_CHECKING:
    from vstore.manifest.spec import Metric
    from vstore.types import Array

COUNT, QUERIES = 120, 25
DIMENSIONS = {OLD: 6, NEW: 9}
FUSIONS: tuple[FusionName, ...] = tuple(
    name
    for name in get_args(FusionName)
    if not name.startswith("bridged-")  # which need a bridge
)
BOTH_SPEAK = ("evidence", "imputed")  # also where everything is migrated
PAIRS: list[tuple[Metric, Metric]] = [
    ("cosine", "cosine"),
    ("cosine", "l2"),
    ("l2", "inner_product"),
    ("inner_product", "cosine"),
]


def migration(
    share: float, metrics: tuple[Metric, Metric] = ("cosine", "l2"), **options: Any
) -> vstore.Collection:
    """Make documents of which a share, spread over all, has new vectors."""
    docs = documents(
        old=spec("model-old", DIMENSIONS[OLD], metrics[0]),
        new=spec("model-new", DIMENSIONS[NEW], metrics[1]),
        **options,
    )
    docs.upsert(
        list(range(COUNT)),
        texts=[str(i) for i in range(COUNT)],
        metadata=[{"year": i % 10} for i in range(COUNT)],
        vectors={OLD: rows(COUNT, DIMENSIONS[OLD])},
    )
    moved = np.random.default_rng(1).permutation(COUNT)[: round(share * COUNT)].tolist()
    if moved:
        docs.add_vectors(moved, rows(COUNT, DIMENSIONS[NEW], seed=1)[moved], version=NEW)
    return docs


def queries() -> list[dict[str, Array]]:
    old, new = (rows(QUERIES, DIMENSIONS[label], seed=2) for label in (OLD, NEW))
    return [{OLD: old[i], NEW: new[i]} for i in range(QUERIES)]


def dual(
    docs: vstore.Collection, query: Any, *, fusion: Any = None, **options: Any
) -> vstore.SearchResult:
    return docs.search(query, **options, read=vstore.Dual(NEW, old=OLD, fusion=fusion))


def places(result: vstore.SearchResult) -> list[tuple[object, ...]]:
    return [(hit.id, hit.scores[hit.version], hit.version, hit.chunk) for hit in result]


@pytest.mark.parametrize("metrics", PAIRS, ids="-".join)
@pytest.mark.parametrize("share", [0.0, 1.0])
@pytest.mark.parametrize("fusion", [name for name in FUSIONS if name not in BOTH_SPEAK])
def test_at_both_ends_every_answer_is_the_single_versions(
    metrics: tuple[Metric, Metric], share: float, fusion: FusionName
) -> None:
    docs = migration(share, metrics)
    version = NEW if share else OLD
    where = vstore.field("year") < 3
    for query in queries():
        for options in ({"k": 1}, {"k": 10}, {"k": COUNT + 1}, {"k": 7, "where": where}):
            single = docs.search(query[version], version=version, **options)
            both = dual(docs, query, fusion=fusion, **options)
            assert places(both) == places(single), (fusion, options)


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.9, 1.0])
@pytest.mark.parametrize("k", [1, 3, 10, 200])
def test_slots_fetches_at_most_k_of_each_version(share: float, k: int) -> None:
    docs = migration(share)
    for query in queries():
        result = dual(docs, query, k=k)
        assert set(result.trace.fetched) == {OLD, NEW}
        assert max(result.trace.fetched.values()) <= k
        assert len(result) == min(k, COUNT)


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_unmigrated_documents_keep_their_places(share: float) -> None:
    docs = migration(share)
    migrated = {document.id for document in docs.documents()} - {
        d.id for d in docs.migration.pending(NEW)
    }
    for query in queries():
        old = docs.search(query[OLD], version=OLD, k=20)
        new = [hit for hit in docs.search(query[NEW], version=NEW, k=20) if hit.id in migrated]
        both = dual(docs, query, k=20)
        for i, (before, after) in enumerate(zip(old, both, strict=True)):
            if before.id in migrated:
                assert after.version == NEW
            else:
                assert (after.id, after.version) == (before.id, OLD), i
        moved = [hit.id for hit in both if hit.version == NEW]
        assert moved == [hit.id for hit in new][: len(moved)]


@pytest.mark.parametrize("fusion", FUSIONS)
@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("sealed", [False, True])
def test_every_rule_returns_k_documents_each_once(
    fusion: FusionName, share: float, sealed: bool
) -> None:
    docs = migration(share)
    docs.delete([0, 1])
    if sealed:
        seal(docs.store)
    docs.delete([2])
    docs.upsert([3], texts=["changed"])
    where = vstore.field("year") < 5
    passing = set(docs.ids(where)) - {3}
    for query in queries()[:5]:
        alone = {
            (label, hit.id): hit.score
            for label in (OLD, NEW)
            for hit in docs.search(query[label], version=label, k=COUNT)
        }
        for k in (1, 10, COUNT):
            result = dual(docs, query, k=k, fusion=fusion, where=where)
            assert len(result) == min(k, len(passing))
            assert len(set(result.ids)) == len(result)
            assert set(result.ids) <= passing
            assert all(hit.scores[hit.version] == alone[hit.version, hit.id] for hit in result)


@pytest.mark.parametrize("fusion", FUSIONS)
@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
def test_documents_that_only_the_new_version_has_are_reachable(
    fusion: FusionName, share: float
) -> None:
    docs = migration(share, ("cosine", "cosine"))
    query = queries()[0]
    docs.upsert(["only new"], texts=["x"], vectors={NEW: query[NEW][None]})
    result = dual(docs, query, k=10, fusion=fusion)
    assert next(hit for hit in result if hit.id == "only new").version == NEW
    assert "only in the new" in result.explain()
    if share == 1 and fusion not in BOTH_SPEAK:
        assert result.ids[0] == "only new"


def test_at_full_coverage_new_only_documents_do_not_disturb_the_order() -> None:
    docs = migration(1.0, ("cosine", "cosine"))
    extra = rows(40, DIMENSIONS[NEW], seed=7)
    docs.upsert([f"new {i}" for i in range(40)], vectors={NEW: extra})
    near = extra[:8].sum(axis=0)
    docs.upsert([f"near {i}" for i in range(15)], vectors={NEW: near + extra[:15] / 100})
    assert docs.coverage(NEW).complete
    for query in [*queries(), {OLD: queries()[0][OLD], NEW: near}]:
        for k in (1, 5, 10, 60):
            single = docs.search(query[NEW], version=NEW, k=k)
            assert places(dual(docs, query, k=k)) == places(single)


def test_a_stale_new_row_is_answered_by_the_old_version() -> None:
    docs = migration(1.0, stale_policy="serve")
    docs.upsert([5], texts=["changed"], vectors={OLD: rows(1, DIMENSIONS[OLD], seed=3)})
    for query in queries():
        hits = {hit.id: hit for hit in dual(docs, query, k=COUNT)}
        assert len(hits) == COUNT
        assert (hits[5].version, hits[5].stale) == (OLD, False)
        assert not any(hit.stale for hit in hits.values())


def test_stale_on_both_sides_is_served_once_and_said_to_be_stale() -> None:
    docs = migration(1.0, stale_policy="serve")
    docs.upsert([5], texts=["changed"])
    hits = [hit for hit in dual(docs, queries()[0], k=COUNT) if hit.id == 5]
    assert [(hit.version, hit.stale) for hit in hits] == [(OLD, True)]


def test_chunks_of_either_version_collapse_to_documents() -> None:
    docs = documents(old=spec("model-old", 3), new=spec("model-new", 2, "l2"))
    old = [rows(n, 3, seed=n) for n in (1, 3, 2, 2)]
    docs.upsert(["a", "b", "c", "d"], texts=["1", "2", "3", "4"], vectors={OLD: old})
    docs.add_vectors(["b", "d"], [rows(4, 2), rows(1, 2, seed=1)], version=NEW)
    for fusion in FUSIONS:
        query = {OLD: np.ones(3), NEW: np.ones(2)}
        result = dual(docs, query, k=10, fusion=fusion)
        assert sorted(map(str, result.ids)) == ["a", "b", "c", "d"]
        assert {hit.id: hit.version for hit in result} == {"a": OLD, "b": NEW, "c": OLD, "d": NEW}


def test_a_batch_answers_as_its_queries_one_by_one() -> None:
    docs = migration(0.4)
    batch = {label: np.stack([query[label] for query in queries()]) for label in (OLD, NEW)}
    for fusion in FUSIONS:
        together = docs.search_batch(batch, read=vstore.Dual(NEW, OLD, fusion), k=5)
        alone = [dual(docs, query, k=5, fusion=fusion) for query in queries()]
        assert list(map(places, together)) == list(map(places, alone))


def test_a_dual_read_needs_a_vector_for_each_version() -> None:
    docs = migration(0.5)
    query = queries()[0]
    with pytest.raises(vstore.InvalidArgumentError, match=NEW):
        dual(docs, {OLD: query[OLD]})
    with pytest.raises(vstore.MissingQueryVectorError):
        dual(docs, query[OLD])  # one array cannot be both
    with pytest.raises(vstore.InvalidArgumentError, match="different numbers"):
        docs.search_batch({OLD: rows(2, 6), NEW: rows(3, 9)}, read=vstore.Dual(NEW, old=OLD))


@pytest.mark.parametrize(
    "options",
    [
        {"read": "dual"},
        {"read": vstore.Dual(NEW, old=NEW)},
        {"read": vstore.Dual(OLD, old=OLD)},
        {"read": vstore.Dual(NEW, fusion="best")},  # type: ignore[arg-type]
        {"read": vstore.Dual(NEW, fusion=["slots"])},  # type: ignore[arg-type]
        {"read": vstore.Dual([NEW])},  # type: ignore[arg-type]
        {"read": vstore.Canary(NEW, 50)},
        {"read": vstore.Dual},
        {"read": vstore.Dual(NEW), "version": NEW},
        {"read": vstore.Bridge(NEW, source=NEW)},
        {"read": vstore.Dual(NEW, old=OLD), "collapse": False},
    ],
)
def test_a_dual_read_that_is_not_meant_is_refused(options: dict[str, Any]) -> None:
    with pytest.raises(vstore.InvalidArgumentError):
        migration(0.5).search(queries()[0], **options)


def test_the_old_version_is_the_one_that_serves_unless_another_is_named() -> None:
    docs = migration(0.5)
    for read in (vstore.Dual(NEW), vstore.Cascade(NEW)):
        result = docs.search(queries()[0], read=read)
        assert result.trace.versions == (OLD, NEW)
    docs.routes.set(vstore.Dual(NEW))
    assert docs.search(queries()[0], read=vstore.Dual(NEW)).trace.versions == (OLD, NEW)
    docs.routes.cutover(NEW, force=True, reason="a test")
    with pytest.raises(vstore.StateError, match="serves; name the old version"):
        docs.search(queries()[0], read=vstore.Dual(NEW))


def test_the_plan_names_both_versions_and_the_trace_what_they_gave() -> None:
    docs = migration(0.5)
    result = dual(docs, queries()[0])
    assert result.trace.mode == "dual"
    assert result.trace.versions == (OLD, NEW)
    assert sum(result.trace.answered.values()) == 10
    for text in (OLD, NEW, "DualRead(fusion=slots, coverage=50.0%)", "because"):
        assert text in result.explain()
    rates: Any = docs.store.metrics().to_dict()["mixed_version_rate"]
    assert rates["silent"] == 0
    assert rates["explicit"] > 0
