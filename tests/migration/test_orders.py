"""Which documents come first: by number, by hits, by a field; and what changed since the start."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

import vstore
from tests.migration.corpus import Recorder, corpus, embed, vector_of
from tests.small_store import NEW, OLD, seal
from vstore.manifest.commit import Operation
from vstore.manifest.edits import put_collection
from vstore.manifest.hits import hits_of, plain_hits
from vstore.manifest.record import append_record

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from vstore.manifest.job_state import JobOrder
    from vstore.manifest.state import DualWrite, StoreState
    from vstore.types import Array, DocumentId

PLACES: dict[str, Callable[[vstore.Store], object]] = {
    "memtable": lambda _: None,
    "sealed": seal,
    "vacuumed": lambda store: store.vacuum(),
}


def count_hits(docs: vstore.Collection, hits: Mapping[DocumentId, int]) -> None:
    """Write what the counters of a store write when they are flushed."""
    by_docno = np.zeros(docs._handle.view().documents.docno_end, np.uint64)
    by_docno[docs._handle.view().documents.find(list(hits))] = list(hits.values())
    file = docs.store._open_file

    def put(state: StoreState) -> StoreState:
        ref = append_record(file.container, plain_hits(hits_of(by_docno)))
        return put_collection(state, state.collections[docs.name]._replace(hits=ref))

    file.change(put, Operation("hits"))


def order_of(
    docs: vstore.Collection, order: JobOrder = "id", field: str | None = None
) -> list[DocumentId]:
    recorder = Recorder()
    docs.migrate(
        OLD, NEW, recorder, order=order, order_field=field, calls=vstore.Calls(batch_size=3)
    ).run()
    assert docs.coverage(NEW).complete
    return recorder.ids


@pytest.mark.parametrize("place", PLACES)
def test_what_was_found_most_often_comes_first(place: str) -> None:
    docs = corpus(8)
    docs.delete([0])
    count_hits(docs, {5: 7, 2: 2**63, 7: 7, 3: 1})
    PLACES[place](docs.store)
    assert order_of(docs, "hot") == [2, 5, 7, 3, 1, 4, 6]


def test_without_hits_hot_is_the_order_of_numbers() -> None:
    assert order_of(corpus(5), "hot") == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("field", ["priority", "weight"])
def test_the_largest_value_of_a_field_comes_first_and_none_last(place: str, field: str) -> None:
    docs = corpus(7)
    values = [3, -(2**62), None, 2**62, 0, 3, 10]
    docs.update_metadata(list(range(7)), [{field: value} for value in values])
    PLACES[place](docs.store)
    docs.update_metadata([0], [{field: -1}])  # what is newest counts
    assert order_of(docs, "hot", field) == [3, 6, 5, 4, 0, 1, 2]


@pytest.mark.parametrize("place", PLACES)
def test_one_tenant_after_the_other(place: str) -> None:
    docs = corpus(7)
    tenants = ["b", "é", None, "a", "b", "a", "Z"]
    docs.update_metadata(list(range(7)), [{"tenant": tenant} for tenant in tenants])
    PLACES[place](docs.store)
    docs.upsert(["late"], texts=["late"], metadata=[{"tenant": "a"}])
    assert order_of(docs, "field", "tenant") == [6, 3, 5, "late", 0, 4, 1, 2]


def test_a_numeric_field_may_be_followed_upwards() -> None:
    docs = corpus(4)
    docs.update_metadata([0, 1, 3], [{"priority": 2}, {"priority": 1}, {"priority": -5}])
    assert order_of(docs, "field", "priority") == [3, 1, 0, 2]


def test_a_field_that_no_document_has_leaves_the_order_of_numbers() -> None:
    assert order_of(corpus(4), "field", "tenant") == [0, 1, 2, 3]
    assert order_of(corpus(4), "hot", "weight") == [0, 1, 2, 3]


@pytest.mark.parametrize("policy", ["queue", "allow"])
def test_what_changed_since_the_start_comes_first_where_writes_are_queued(
    policy: DualWrite,
) -> None:
    docs = corpus(9)
    docs.migration.set_dual_write(policy)
    seen: list[DocumentId] = []

    def changing(batch: Sequence[vstore.Document]) -> Array:
        if not seen:
            docs.upsert([8, "new"], texts=["changed", "added"])
        seen.extend(document.id for document in batch)
        return embed(batch)

    docs.migrate(OLD, NEW, changing, calls=vstore.Calls(batch_size=3)).run()
    if policy == "queue":
        assert seen == [0, 1, 2, 8, "new", 3, 4, 5, 6, 7]
    else:
        assert seen == [0, 1, 2, 3, 4, 5, 6, 7, 8, "new"]
    assert docs.get_vectors(8, NEW)[0].tolist() == vector_of("changed").tolist()


def test_coverage_may_be_weighted_by_traffic() -> None:
    docs = corpus(10)
    where = vstore.field("priority") == 1
    docs.update_metadata([3, 4], [{"priority": 1}] * 2)
    assert docs.coverage(NEW, weighted=True) == vstore.Coverage(0, 10)
    count_hits(docs, {3: 80, 4: 10, 5: 10, 9: 900})
    docs.delete([9])
    docs.migrate(OLD, NEW, embed, order="hot", calls=vstore.Calls(batch_size=1)).run(batches_max=1)
    weighted = docs.coverage(NEW, weighted=True)
    assert (weighted.fresh, weighted.live, weighted.hits_fresh, weighted.hits) == (1, 9, 80, 100)
    assert weighted.traffic_share == 0.8
    inside = docs.coverage(NEW, where, weighted=True)
    assert (inside.fresh, inside.live, inside.hits_fresh, inside.hits) == (1, 2, 80, 90)
    assert docs.coverage(NEW) == vstore.Coverage(1, 9)
    assert docs.coverage(NEW).traffic_share == docs.coverage(NEW).share
