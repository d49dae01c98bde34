"""One question at two epochs: what changed in its answer, and the reason for each change."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import vstore
from tests.native.data import clustered
from tests.small_store import NEW, OLD, axis, documents, spec
from vstore.errors import NotFoundError
from vstore.native import loader
from vstore.observe.hit_changes import HitFacts, reasons

if TYPE_CHECKING:
    from vstore import Collection, EpochComparison
    from vstore.types import Array

QUERY = axis(0)


def at(similarity: float, dimension: int = 4) -> Array:
    """Return a unit vector of a given cosine with QUERY."""
    vector = np.zeros(dimension, np.float32)
    vector[:2] = similarity, (1 - similarity**2) ** 0.5
    return vector


def five() -> Collection:
    """Return documents 0 to 4, each less like QUERY than the one before."""
    docs = documents(new=spec("model-new"))
    vectors = np.stack([at(0.9 - i / 10) for i in range(5)])
    docs.upsert(list(range(5)), vectors={OLD: vectors}, metadata=[{"year": i} for i in range(5)])
    return docs


def why(comparison: EpochComparison) -> dict[Any, tuple[str, tuple[str, ...]]]:
    return {change.id: (change.kind, change.reasons) for change in comparison.changes}


def compared(docs: Collection, before: int, **options: Any) -> EpochComparison:
    return docs.compare_epochs(QUERY, before=before, version=OLD, **{"k": 3, **options})


def test_nothing_changed() -> None:
    docs = five()
    before = docs.store.epoch
    docs.store.tag("now")
    comparison = compared(docs, before)
    assert comparison.changes == ()
    assert comparison.unchanged == 3
    assert (comparison.before, comparison.after) == (before, docs.store.epoch)


def test_a_deletion_lets_others_move_up() -> None:
    docs = five()
    before = docs.store.epoch
    docs.delete([0])
    assert why(compared(docs, before)) == {
        0: ("disappeared", ("deleted",)),
        1: ("moved", ("rank",)),
        2: ("moved", ("rank",)),
        3: ("appeared", ("rank",)),
    }


def test_an_added_document_pushes_others_out() -> None:
    docs = five()
    before = docs.store.epoch
    docs.upsert(["new"], vectors={OLD: at(0.85)[None]})
    assert why(compared(docs, before)) == {
        "new": ("appeared", ("added",)),
        1: ("moved", ("rank",)),
        2: ("disappeared", ("rank",)),
    }


def test_a_changed_source_without_vectors_is_stale() -> None:
    docs = five()
    before = docs.store.epoch
    docs.upsert([1], texts=["other words"])
    between = docs.store.epoch
    assert why(compared(docs, before))[1] == ("disappeared", ("updated", "stale"))
    docs.add_vectors([1], at(0.95)[None], version=OLD)
    assert why(compared(docs, before))[1] == ("moved", ("updated",))
    assert why(compared(docs, between))[1] == ("appeared", ("fresh",))


def test_other_vectors_of_the_same_source_are_re_embedded() -> None:
    docs = five()
    before = docs.store.epoch
    docs.add_vectors([2], at(0.99)[None], version=OLD)
    assert why(compared(docs, before))[2] == ("moved", ("re-embedded",))


def test_metadata_that_pass_no_longer() -> None:
    docs = five()
    before = docs.store.epoch
    docs.update_metadata([0], [{"year": 100}])
    where = vstore.field("year") < 10
    assert why(compared(docs, before, where=where))[0] == ("disappeared", ("filter",))
    assert compared(docs, before).changes == ()


def test_a_route_that_reads_another_version() -> None:
    docs = five()
    before = docs.store.epoch
    reversed_order = np.stack([at(0.5 + i / 10) for i in range(5)])
    docs.add_vectors(list(range(5)), reversed_order, version=NEW)
    docs.routes.cutover(NEW, force=True, reason="a test")
    comparison = docs.compare_epochs({OLD: QUERY, NEW: QUERY}, before=before, k=3)
    assert comparison.before_read == ("matched", OLD)
    assert comparison.after_read == ("matched", NEW)
    assert all("route" in change.reasons for change in comparison.changes)
    assert why(comparison)[4] == ("appeared", ("migrated", "route"))


def test_a_document_that_was_migrated_in_a_dual_read() -> None:
    docs = five()
    docs.add_vectors([0], at(0.9)[None], version=NEW)
    docs.routes.set(vstore.Dual(NEW))
    before = docs.store.epoch
    docs.add_vectors([1], at(0.95)[None], version=NEW)
    comparison = docs.compare_epochs({OLD: QUERY, NEW: QUERY}, before=before, k=3)
    assert why(comparison)[1] == ("moved", ("migrated",))


def test_what_a_graph_misses_is_told_from_what_is_not_there() -> None:
    if loader.kernels(wait=True) is None:
        pytest.skip(f"no machine code here: {loader.status()['reason']}")
    with vstore.open(":memory:", indexing="manual") as store:
        docs = store.create_collection("docs")
        docs.create_version("v", vstore.EmbeddingSpec("m", 24), graph_rows_min=1_000, M=4)
        docs.upsert(list(range(3_000)), vectors={"v": clustered(3_000, 24)})
        before = store.epoch  # scanned
        store.optimize()
        missed = 0
        for query in clustered(60, 24, seed=3):
            found = docs.compare_epochs(
                query, before=before, version="v", k=10, recall=vstore.EfSearch(10)
            )
            for change in found.changes:
                if change.kind == "disappeared":
                    assert change.reasons == ("graph",)
                    missed += 1
                else:
                    assert change.reasons == ("rank",)
        assert missed


def test_neither_question_is_counted() -> None:
    docs = five()
    before = docs.store.epoch
    docs.delete([0])
    compared(docs, before)
    assert "queries" not in docs.store.metrics().to_dict()["counts"]  # type: ignore[operator]
    assert docs.migration.hit_counts() == {}


def test_it_prints_as_a_table_and_is_plain_data() -> None:
    docs = five()
    before = docs.store.epoch
    docs.delete([0])
    comparison = compared(docs, before)
    text = str(comparison)
    assert f"epoch {before} (matched: {OLD})" in text
    assert "deleted: the document was deleted" in text
    assert len(text.splitlines()) == 2 + len(comparison.changes)
    data: Any = comparison.to_dict()
    assert [change["id"] for change in data["changes"]] == [1, 2, 3, 0]


def test_an_epoch_that_a_vacuum_dropped_is_not_found_and_a_tagged_one_is() -> None:
    docs = five()
    before = docs.store.tag("before")
    docs.delete([0])
    between = docs.store.epoch
    docs.store.vacuum()
    with pytest.raises(NotFoundError, match=f"no epoch {between}"):
        compared(docs, between)
    assert why(compared(docs, before))[0] == ("disappeared", ("deleted",))


def test_a_scope_holds_at_both_epochs() -> None:
    docs = five()
    before = docs.store.epoch
    docs.delete([0])
    inside = docs.scoped(vstore.field("year") >= 1)
    comparison = inside.compare_epochs(QUERY, before=before, version=OLD, k=3)
    assert comparison.changes == ()


FACTS = st.builds(
    HitFacts,
    rank=st.none() | st.integers(1, 3),
    version=st.sampled_from(["a", "b"]),
    score=st.sampled_from([0.1, 0.2]),
    read=st.sampled_from([("matched", "a"), ("matched", "b"), ("dual", "a", "b")]),
    revision=st.none() | st.integers(1, 2),
    passes=st.booleans(),
    fresh=st.frozensets(st.sampled_from(["a", "b"])),
    exact=st.booleans(),
)


@settings(deadline=None)
@given(FACTS, FACTS)
def test_there_is_a_reason_for_every_change_and_for_nothing_else(
    before: HitFacts, after: HitFacts
) -> None:
    changed = (before.rank, before.version) != (after.rank, after.version)
    given_reasons = reasons(before, after)
    assert bool(given_reasons) == changed
    assert len(set(given_reasons)) == len(given_reasons)
    assert ("rank" in given_reasons) <= (len(given_reasons) == 1)
