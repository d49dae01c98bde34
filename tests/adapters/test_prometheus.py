"""Counters as Prometheus' own client library collects and parses them."""

from __future__ import annotations

import builtins
from typing import TYPE_CHECKING, Any

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from tests.small_store import NEW, OLD, axis, documents, rows, spec
from vstore import Dual
from vstore.adapters import prometheus
from vstore.errors import InvalidArgumentError, MissingDependencyError
from vstore.observe.latency import BUCKETS
from vstore.observe.metrics import Metrics
from vstore.observe.slices import Slice

if TYPE_CHECKING:
    from collections.abc import Iterator

    from prometheus_client.core import Metric

NASTY = 'a "quoted" \\ back\\nslash\nand a newline é'


class Counted:
    """A collector of given counters."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics

    def collect(self) -> Iterator[Metric]:
        return prometheus.families(self._metrics)


def render(metrics: Metrics) -> str:
    registry = CollectorRegistry()
    registry.register(Counted(metrics))
    return generate_latest(registry).decode()


def families(text: str) -> dict[str, Any]:
    found = list(text_string_to_metric_families(text))
    assert len({family.name for family in found}) == len(found)
    return {family.name: family for family in found}


def test_every_counter_has_its_help_type_and_value() -> None:
    docs = documents(new=spec("model-new"))
    docs.upsert(list(range(5)), vectors={OLD: rows(5), NEW: rows(5, seed=1)})
    docs.search(axis(0), version=OLD, k=3)
    docs.search(axis(0), version=OLD, k=8)
    docs.search({OLD: axis(0), NEW: axis(1)}, read=Dual(NEW, old=OLD))
    found = families(prometheus.text(docs.store))
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


def test_a_registry_asks_each_time_until_the_store_is_closed() -> None:
    docs = documents()
    docs.upsert(list(range(5)), vectors={OLD: rows(5)})
    registry = CollectorRegistry(auto_describe=True)
    registry.register(prometheus.StoreCollector(docs.store))
    labels = {"collection": docs.name, "tenant": "", "family": "", "mode": "matched"}
    for asked in (1, 2):
        docs.search(axis(0), version=OLD, k=2)
        assert registry.get_sample_value("vstore_hits_total", {**labels, "versions": OLD}) == (
            2 * asked
        )
    with pytest.raises(ValueError, match="vstore_queries"):  # one store, or series would be mixed
        registry.register(prometheus.StoreCollector(docs.store))
    docs.store.close()
    assert generate_latest(registry) == b""


def test_stored_counters_are_those_of_the_file() -> None:
    docs = documents()
    docs.upsert(list(range(5)), vectors={OLD: rows(5)})
    docs.search(axis(0), version=OLD, k=2)
    docs.store.flush_metrics()
    (sample,) = families(prometheus.text(docs.store, stored=True))["vstore_queries"].samples
    assert sample.value == 1
    with pytest.raises(InvalidArgumentError, match="stored"):
        prometheus.StoreCollector(docs.store, stored="yes")  # type: ignore[arg-type]


def test_without_the_library_an_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    imported = builtins.__import__

    def without(name: str, *rest: Any, **options: Any) -> Any:
        if name.startswith("prometheus_client"):
            raise ImportError(name)
        return imported(name, *rest, **options)

    docs = documents()
    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(MissingDependencyError, match="prometheus"):
        prometheus.text(docs.store)
