"""The text that Prometheus reads, read by Prometheus' own parser."""

from __future__ import annotations

from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.small_store import NEW, OLD, axis, documents, rows, spec
from vstore.observe.latency import BUCKETS
from vstore.observe.metrics import Metrics
from vstore.observe.prometheus import render
from vstore.observe.slices import Slice

NASTY = 'a "quoted" \\ back\\nslash\nand a newline é'


def families(text: str) -> dict[str, Any]:
    found = list(text_string_to_metric_families(text))
    assert len({family.name for family in found}) == len(found)
    return {family.name: family for family in found}


def test_every_counter_has_its_help_type_and_value() -> None:
    docs = documents(new=spec("model-new"))
    docs.upsert(list(range(5)), vectors={OLD: rows(5), NEW: rows(5, seed=1)})
    docs.search(axis(0), version=OLD, k=3)
    docs.search(axis(0), version=OLD, k=8)
    docs.search({OLD: axis(0), NEW: axis(1)}, mode="dual", version=NEW, old_version=OLD)
    found = families(docs.store.metrics_text())
    assert {name: family.type for name, family in found.items()} == {
        **dict.fromkeys(
            [
                "vstore_queries", "vstore_hits", "vstore_stale_hits", "vstore_short_queries",
                "vstore_filtered_queries", "vstore_selectivity", "vstore_coverage",
                "vstore_compared_queries", "vstore_recall", "vstore_mixed_queries",
                "vstore_events",
            ],
            "counter",
        ),
        "vstore_query_seconds": "histogram",
    }  # fmt: skip
    assert all(family.documentation for family in found.values())
    queries = {s.labels["versions"]: s.value for s in found["vstore_queries"].samples}
    assert queries == {OLD: 2, f"{OLD}+{NEW}": 1}
    short = {s.labels["versions"]: s.value for s in found["vstore_short_queries"].samples}
    assert short[OLD] == 1
    silent = [
        s.value for s in found["vstore_mixed_queries"].samples if s.labels["kind"] == "silent"
    ]
    assert silent == [0, 0]


def test_buckets_are_cumulative_and_end_with_all() -> None:
    metrics = Metrics()
    counts = metrics.slices.counts(Slice("docs", "", "", "matched", ("v",), 0))
    counts.latency.add([1e-6, 3e-6, 5e-3, 1e4])
    samples = families(render(metrics))["vstore_query_seconds"].samples
    buckets = [(s.labels["le"], s.value) for s in samples if s.name.endswith("_bucket")]
    assert len(buckets) == BUCKETS
    assert buckets[-1] == ("+Inf", 4)
    assert [value for _, value in buckets] == sorted(value for _, value in buckets)
    bounds = [float(le) for le, _ in buckets]
    assert bounds == sorted(set(bounds))
    by_name = {s.name: s.value for s in samples if not s.name.endswith("_bucket")}
    assert by_name["vstore_query_seconds_count"] == 4
    assert by_name["vstore_query_seconds_sum"] == pytest.approx(10_000.005004)


def test_labels_are_escaped() -> None:
    metrics = Metrics(events={NASTY: 1})
    metrics.slices.counts(Slice(NASTY, NASTY, "autocomplete", "matched", (NASTY,), 3)).queries = 7
    found = families(render(metrics))
    (sample,) = found["vstore_queries"].samples
    assert sample.value == 7
    assert sample.labels == {
        "collection": NASTY,
        "tenant": NASTY,
        "family": "autocomplete",
        "mode": "matched",
        "versions": NASTY,
    }
    assert found["vstore_events"].samples[0].labels == {"event": NASTY}


def test_epochs_are_added_up() -> None:
    metrics = Metrics()
    for epoch in (1, 2, 3):
        metrics.slices.counts(Slice("docs", "", "", "matched", ("v",), epoch)).queries += 2
    (sample,) = families(render(metrics))["vstore_queries"].samples
    assert sample.value == 6
