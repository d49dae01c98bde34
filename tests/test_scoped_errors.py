"""Errors and alarms tell a scoped handle of its own rows, not what everybody's are like."""

from __future__ import annotations

import logging
import re
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import vstore
from tests.small_store import NEW, OLD, documents, rows, spec
from vstore.migration.routes import changes as routes
from vstore.writing import draft

if TYPE_CHECKING:
    from collections.abc import Callable

    from vstore.types import Array

tenant = vstore.field("tenant")
COUNT = 1_100  # enough to refuse by


def model(count: int, seed: int) -> Array:
    """Return vectors of a space with preferred directions."""
    vectors = rows(count, 64, seed=seed) * np.linspace(3, 0.1, 64) + np.linspace(2, -2, 64)
    return np.asarray(vectors.astype(np.float32))


def turned(vectors: Array) -> Array:
    """Return the vectors as another model would make them."""
    return np.asarray(vectors @ np.linalg.qr(rows(64, 64, seed=1))[0], np.float32)


def of_two_tenants(version: str = OLD) -> vstore.Collection:
    docs = documents(old=spec("of 64", 64))
    metadata = [{"tenant": ("acme", "globex")[i % 2]} for i in range(COUNT)]
    docs.upsert(range(COUNT), vectors={version: model(COUNT, 0)}, metadata=metadata)
    return docs


def numbers(text: str) -> set[str]:
    return set(re.findall(r"\d[\d,.]*\d|\d", text))


def test_a_batch_of_another_space_is_refused_without_what_is_usual() -> None:
    docs = of_two_tenants()
    batch: dict[str, Any] = {
        "vectors": {OLD: turned(model(64, 5))},
        "metadata": [{"tenant": "acme"}] * 64,
    }
    with pytest.raises(vstore.SuspectGeometryError) as caught:
        docs.scoped(tenant == "acme").upsert(range(5_000, 5_064), **batch)
    error, text = caught.value, str(caught.value)
    # Vectors of the version, the name of the model, the departure, and that of unrelated ones.
    assert numbers(text) == {"64", f"{error.departure:.2f}", "1.00"}
    assert error.limit is None
    assert error.rows == 64
    with pytest.raises(vstore.SuspectGeometryError, match=r"expected -?\d.* alarm from") as caught:
        docs.upsert(range(5_000, 5_064), **batch)
    assert caught.value.limit is not None
    assert caught.value.limit < caught.value.departure


def test_a_batch_that_is_flagged_is_flagged_without_what_is_usual(
    caplog: pytest.LogCaptureFixture,
) -> None:
    docs = of_two_tenants()
    docs.guards.set_policy(OLD, "flag")
    with caplog.at_level(logging.WARNING, "vstore"):
        docs.scoped(tenant == "acme").upsert(
            range(5_000, 5_064),
            vectors={OLD: turned(model(64, 5))},
            metadata=[{"tenant": "acme"}] * 64,
        )
    assert "suspect geometry" in caplog.text
    assert "alarm from" not in caplog.text
    assert "expected" not in caplog.text


def test_an_alarm_about_queries_tells_no_more(caplog: pytest.LogCaptureFixture) -> None:
    docs = of_two_tenants()
    queries = turned(model(40, 3))
    mine = docs.scoped(tenant == "acme")
    with caplog.at_level(logging.WARNING, "vstore"):
        for query in queries:
            mine.search(query, version=OLD)
        found = mine.search(queries[0], version=OLD)
    assert found.suspect is not None
    for text in (found.suspect, caplog.text):
        assert "departure is" in text
        assert "alarm from" not in text
        assert "expected" not in text
    docs.search_batch(queries, version=OLD)
    suspect = docs.search(queries[0], version=OLD).suspect
    assert suspect is not None
    assert "alarm from" in suspect


def full_of_documents(monkeypatch: pytest.MonkeyPatch) -> vstore.Collection:
    docs = documents()
    docs.upsert(range(7), metadata=[{"tenant": "globex"}] * 7)
    monkeypatch.setattr(draft, "DOCUMENTS_MAX", 8)
    return docs


def test_a_full_collection_does_not_tell_how_many_documents_others_have(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    docs = full_of_documents(monkeypatch)
    metadata = [{"tenant": "acme"}] * 5
    with pytest.raises(vstore.LimitExceededError) as caught:
        docs.scoped(tenant == "acme").upsert(range(10, 15), metadata=metadata)
    assert numbers(str(caught.value)) == {"8"}
    assert (caught.value.limit, caught.value.found) == ("DOCUMENTS_MAX", None)
    with pytest.raises(vstore.LimitExceededError, match="found 12, at most 8") as caught:
        docs.upsert(range(10, 15), metadata=metadata)
    assert caught.value.found == 12


def test_texts_for_a_full_collection_are_refused_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    docs = full_of_documents(monkeypatch)
    embedder = vstore.HashingEmbedder(16)
    docs.create_version("hashed", embedder.spec)
    with pytest.raises(vstore.LimitExceededError) as caught:
        docs.scoped(tenant == "acme").upsert_texts(
            range(10, 15), list("abcde"), embedder=embedder, metadata=[{"tenant": "acme"}] * 5
        )
    assert caught.value.found is None
    assert "12" not in str(caught.value)


def test_one_route_too_many_does_not_tell_of_other_tenants(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    docs = documents(new=spec("model-new"))
    names = [f"tenant {letter}" for letter in "abcdef"]
    docs.upsert(
        range(6), vectors={OLD: rows(6), NEW: rows(6)}, metadata=[{"tenant": n} for n in names]
    )
    for name in names[:3]:
        docs.scoped(tenant == name).routes.cutover(NEW)
    monkeypatch.setattr(routes, "ROUTES_MAX", 3)
    changes: tuple[Callable[[vstore.Collection], object], ...] = (
        lambda mine: mine.routes.cutover(NEW),
        lambda mine: mine.routes.set(vstore.Dual(NEW)),
        lambda mine: mine.routes.shadow(NEW),
    )
    for change in changes:
        with pytest.raises(vstore.LimitExceededError) as caught:
            change(docs.scoped(tenant == names[4]))
        assert numbers(str(caught.value)) == {"3"}
        assert (caught.value.limit, caught.value.found) == ("ROUTES_MAX", None)
