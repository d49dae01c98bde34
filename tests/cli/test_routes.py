"""``vstore route``, ``cutover`` and ``rollback`` for the slices of a collection."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

import vstore
from tests.small_store import rows

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.cli.running import Ran


@pytest.fixture
def tenants(tmp_path: Path) -> Path:
    path = tmp_path / "tenants.vstore"
    with vstore.open(path) as store:
        docs = store.create_collection("docs", fields={"tenant": "keyword"})
        for label in ("v1", "v2"):
            docs.create_version(label, vstore.EmbeddingSpec(label, 4))
        metadata = [{"tenant": ("acme", "globex")[i % 2]} for i in range(10)]
        docs.upsert(list(range(10)), vectors={"v1": rows(10)}, metadata=metadata)
        docs.add_vectors([0, 2, 4, 6, 8], rows(5), version="v2")
    return path


def test_a_slice_is_cut_over_and_back(run: Callable[..., Ran], tenants: Path) -> None:
    run("cutover", tenants, "v2", "--slice", "tenant=globex", code=1)
    done = run("cutover", tenants, "v2", "--slice", "tenant=acme", "--by", "ada", "--json").data
    assert done["route"]["versions"] == ["v2"]
    assert done["route"]["by"] == "ada"
    assert set(done["routes"]) == {"default", "tenant=acme"}
    shown = run("route", tenants).out
    assert "tenant=acme" in shown
    assert "v2, since epoch" in shown
    assert "by ada" in shown
    run("rollback", tenants, "--slice", "tenant=acme")
    run("route", tenants, "--follow-default", "--slice", "tenant=acme")
    assert set(run("route", tenants, "--json").data["routes"]) == {"default"}
    assert "FIELD=VALUE" in run("route", tenants, "--slice", "acme", code=2).err


def test_canaries_and_shadows_are_set_and_shown(run: Callable[..., Ran], tenants: Path) -> None:
    run("route", tenants, "--shadow", "v2", "--percent", "5", "--reason", "look first")
    assert "v1, v2 in the shadow of 5 %" in run("route", tenants).out
    run("route", tenants, "--shadow", "")
    run("route", tenants, "--canary", "v2", "--percent", "20")
    assert "v1, and v2 for 20 % of the queries" in run("route", tenants).out
    assert (
        run("info", tenants, "--json").data["collections"]["docs"]["routes"]["default"]["percent"]
        == 20
    )
    run("route", tenants, "--canary", "v2", "--shadow", "v2", code=2)
    run("route", tenants, "--percent", "20", code=2)
    run("route", tenants, "--by", "ada", code=2)
