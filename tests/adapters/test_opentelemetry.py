"""Counters as OpenTelemetry's own SDK collects them."""

from __future__ import annotations

import builtins
from typing import Any

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader

from tests.small_store import OLD, axis, documents, rows
from vstore.adapters import opentelemetry
from vstore.errors import MissingDependencyError


def collected(reader: InMemoryMetricReader) -> dict[str, list[Any]]:
    data: Any = reader.get_metrics_data()
    if data is None:
        return {}
    return {
        metric.name: list(metric.data.data_points)
        for resource in data.resource_metrics
        for scope in resource.scope_metrics
        for metric in scope.metrics
    }


def test_instruments_read_the_counters_of_the_moment() -> None:
    docs = documents()
    docs.upsert(list(range(5)), vectors={OLD: rows(5)})
    reader = InMemoryMetricReader()
    provider = MeterProvider(metric_readers=[reader])
    opentelemetry.register(docs.store, provider=provider)
    for asked in (1, 2):
        docs.search(axis(0), version=OLD, k=2)
        found = collected(reader)
        (queries,) = found["vstore.queries"]
        assert queries.value == asked
        assert queries.attributes["versions"] == OLD
        assert [p.value for p in found["vstore.hits"]] == [2 * asked]
        mixed = {p.attributes["kind"]: p.value for p in found["vstore.mixed_queries"]}
        assert mixed == {"explicit": 0, "silent": 0}
        quantiles = {
            p.attributes["quantile"]: p.value for p in found["vstore.query_seconds.quantile"]
        }
        assert 0 < quantiles["0.5"] <= quantiles["0.99"]
        assert found["vstore.query_seconds.sum"][0].value > 0
        assert {p.attributes["event"] for p in found["vstore.events"]} == {"commits"}
    docs.store.close()
    assert "vstore.queries" not in collected(reader)
    provider.shutdown()


def test_without_the_library_an_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    imported = builtins.__import__

    def without(name: str, *rest: Any, **options: Any) -> Any:
        if name.startswith("opentelemetry"):
            raise ImportError(name)
        return imported(name, *rest, **options)

    docs = documents()
    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(MissingDependencyError, match="otel"):
        opentelemetry.register(docs.store)
