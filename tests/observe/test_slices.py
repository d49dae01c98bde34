"""Counting by slice: bounded, mergeable, and rates that add up."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vstore.limits import METRIC_EPOCHS_MAX, METRIC_SLICES_MAX
from vstore.manifest.plain import PlainReader
from vstore.observe.latency import LatencyHistogram
from vstore.observe.metrics import Metrics
from vstore.observe.metrics_record import plain_metrics, read_metrics
from vstore.observe.slices import OTHER, REALS, SUMS, Slice, SliceTable
from vstore.storage.packing import pack, unpack

if TYPE_CHECKING:
    from collections.abc import Sequence


def asked(epoch: int = 0, tenant: str = "", versions: Sequence[str] = ("v",)) -> Slice:
    return Slice("docs", tenant, "", "matched", tuple(versions), epoch)


def queries_of(table: SliceTable) -> int:
    return table.total().queries


def test_slices_that_find_no_place_are_counted_as_other() -> None:
    table = SliceTable()
    for number in range(METRIC_SLICES_MAX + 10):
        table.counts(asked(tenant=f"tenant={number}")).queries += 1
    assert len(table) == METRIC_SLICES_MAX
    assert queries_of(table) == METRIC_SLICES_MAX + 10
    assert dict(table)[OTHER].queries == 11
    other = [one for one in table.to_list() if one["mode"] == "other"]
    assert [one["queries"] for one in other] == [11]


def test_a_slice_that_is_there_is_found_when_the_table_is_full() -> None:
    table = SliceTable()
    for number in range(METRIC_SLICES_MAX + 10):
        table.counts(asked(tenant=f"tenant={number}")).queries += 1
    table.counts(asked(tenant="tenant=5")).queries += 1
    assert dict(table)[asked(tenant="tenant=5")].queries == 2


@given(st.lists(st.integers(0, 2**40), min_size=1, max_size=60))
def test_epochs_are_few_however_many_were_asked_at(epochs: list[int]) -> None:
    table = SliceTable()
    for epoch in epochs:
        table.counts(asked(epoch)).queries += 1
    starts = {key.epoch for key, _ in table}
    assert len(starts) <= METRIC_EPOCHS_MAX
    assert queries_of(table) == len(epochs)
    for key, counts in table:
        inside = [epoch for epoch in epochs if 0 <= epoch - key.epoch < table.width]
        assert counts.queries == len(inside)


@given(st.lists(st.lists(st.integers(0, 10_000), max_size=30), max_size=4))
def test_merging_is_counting_together(parts: list[list[int]]) -> None:
    merged, together = SliceTable(), SliceTable()
    for part in parts:
        table = SliceTable()
        for epoch in part:
            for one in (table, together):
                counts = one.counts(asked(epoch))
                counts.queries += 1
                counts.recall += 0.5
                counts.latency.add([epoch / 1e6])
        merged.merge(table)
    total, wanted = merged.total(), together.total()
    assert (total.queries, total.recall) == (wanted.queries, wanted.recall)
    assert total.latency.counts == wanted.latency.counts
    assert len({key.epoch for key, _ in merged}) <= METRIC_EPOCHS_MAX


@pytest.mark.parametrize(
    ("answered", "planned", "explicit", "silent"),
    [
        ([{"a"}], {"a"}, 0, 0),
        ([set()], {"a"}, 0, 0),
        ([{"a", "b"}], {"a", "b"}, 1, 0),
        ([{"a"}], {"a", "b"}, 0, 0),
        ([{"b"}], {"a"}, 0, 1),
        ([{"a", "b"}], {"a"}, 0, 1),
        ([{"a", "c"}], {"a", "b"}, 0, 1),
    ],
)
def test_mixed_is_explicit_only_where_the_plan_reads_those_versions(
    answered: list[set[str]], planned: set[str], explicit: int, silent: int
) -> None:
    counts = SliceTable().counts(asked())
    counts.add_answers({frozenset(one): 1 for one in answered}, frozenset(planned))
    assert (counts.explicit, counts.silent) == (explicit, silent)


@given(
    st.lists(
        st.tuples(
            st.text(max_size=5), st.lists(st.text(max_size=3), max_size=2), st.integers(0, 2**33)
        ),
        max_size=40,
    ),
    st.dictionaries(st.sampled_from(["commits", "vacuums"]), st.integers(1, 2**40)),
)
def test_a_record_gives_back_what_was_written(
    keys: list[tuple[str, list[str], int]], events: dict[str, int]
) -> None:
    metrics = Metrics(events=events)
    for i, (tenant, versions, epoch) in enumerate(keys):
        counts = metrics.slices.counts(asked(epoch, tenant, versions))
        for name in SUMS:
            setattr(counts, name, i / 8 if name in REALS else i)
        counts.latency.add([i / 1e4], 3)
    packed = pack(plain_metrics(metrics))
    again = read_metrics(PlainReader(unpack(packed), "metrics"))
    assert again.to_dict() == metrics.to_dict()
    assert pack(plain_metrics(again)) == packed


@pytest.mark.parametrize(
    "change",
    [
        {"width": 0},
        {"width": 3},
        {"width": 2},  # its slice is at epoch 1
        {"slices": [{}]},
        {"slices": [7]},
        {"events": {"commits": -1}},
        {"events": {"x" * 300: 1}},
    ],
)
def test_a_malformed_record_is_refused(change: dict[str, object]) -> None:
    metrics = Metrics()
    metrics.slices.counts(asked(1)).queries += 1
    with pytest.raises(ValueError, match="metrics"):
        read_metrics(PlainReader({**plain_metrics(metrics), **change}, "metrics"))


def test_latencies_are_below_the_bound_of_their_bucket() -> None:
    histogram = LatencyHistogram()
    histogram.add([0.0, 0.9e-6, 1.5e-6, 3.9e-6, 4e-6, 1e-3, 1e6])
    below = dict(histogram.cumulative())
    assert below[1e-6] == 2
    assert below[2e-6] == 3
    assert below[4e-6] == 4
    assert below[8e-6] == 5
    assert below[1024e-6] == 6
    assert histogram.count == 7
    assert histogram.quantile(0.5) == 4e-6
