"""A model upgrade from the first document to the last byte, through the command line alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tests.cli.running import DOCUMENTS, documents, write_json, write_lines

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.cli.running import Ran

QUERY = ("--text", "red green blue 0", "--k", 5)


def test_a_model_upgrade(run: Callable[..., Ran], store: Path, tmp_path: Path) -> None:
    before = run("search", store, *QUERY, "--json").data
    assert before["mode"] == "matched"
    assert before["versions"] == ["v1"]
    assert before["hits"][0]["id"] == "d0"

    # Declare the new version; nothing is served from it yet.
    version = {"label": "v2", "hashing": {"dimension": 48, "seed": 2}, "storage": "float16"}
    spec = write_json(tmp_path / "v2.json", {"versions": [version]})
    assert run("init", store, spec, "--json").data["made"] == ["version v2"]
    assert _states(run, store) == {"v1": "serving", "v2": "declared"}

    # A part of it comes with the documents, and the rest by a backfill that is cut off.
    part = write_lines(tmp_path / "part.jsonl", documents()[:10])
    ingested = run("ingest", store, part, "--version", "v2", "--embed", "--json").data
    assert (ingested["unchanged"], ingested["vectors_written"]) == (10, 10)
    cut = ("--batch-size", 5, "--batches-max", 2)
    report = run("backfill", store, "v2", "--embed", *cut, "--json").data
    assert (report["written"], report["finished"]) == (10, False)
    assert _states(run, store) == {"v1": "serving", "v2": "backfilling"}

    # Both are read, explicitly, and the gate holds until the backfill is through.
    run("route", store, "--dual", "v2", "--reason", "half of it is there")
    both = run("search", store, *QUERY, "--json").data
    assert (both["mode"], both["versions"]) == ("dual", ["v1", "v2"])
    assert {hit["version"] for hit in both["hits"]} <= {"v1", "v2"}
    refused = run("cutover", store, "v2", code=1)
    assert refused.err.startswith("vstore: cutover to 'v2' refused: coverage 50.00%")
    assert run("backfill", store, "v2", "--embed", "--json").data["finished"]

    run("tag", store, "before-cutover", "--note", "in case")
    gates = run("cutover", store, "v2", "--reason", "better", "--json").data["gates"]
    assert [(gate["name"], gate["passed"]) for gate in gates] == [
        ("coverage", True),
    ]
    after = run("search", store, *QUERY, "--json").data
    assert after["versions"] == ["v2"]

    # Back, and there again: each is one commit.
    assert run("rollback", store, "--json").data["route"]["versions"] == ["v1"]
    assert run("search", store, *QUERY, "--json").data["hits"] == before["hits"]
    run("cutover", store, "v2")
    assert run("search", store, *QUERY, "--json").data["hits"] == after["hits"]

    # A deletion is one for all versions, and for the file after a vacuum.
    assert run("delete", store, "d0", "d-unknown", "--json").data["deleted"] == 1
    for label in ("v1", "v2"):
        hits = run("search", store, *QUERY, "--version", label, "--json").data["hits"]
        assert "d0" not in [hit["id"] for hit in hits]
    run("retire", store, "v1", "--reason", "v2 serves")
    run("search", store, *QUERY, "--version", "v1", code=7)
    assert run("vacuum", store, "--json").data["epochs_kept"] != []
    assert run("check", store, "--json").data["ok"]

    # What was is still known, and what was tagged still answers.
    operations = [entry["operation"] for entry in _history(run, store)]
    assert operations[:3] == ["vacuum", "retire", "delete"]
    assert operations.count("cutover") == 2
    old = run("search", store, *QUERY, "--tag", "before-cutover", "--version", "v1", "--json").data
    assert old["hits"] == before["hits"]

    out = tmp_path / "out"
    exported = run("export", store, out, "--json").data
    rows = {one["file"]: one["rows"] for one in exported["files"]}
    assert rows["documents.jsonl"] == rows["vectors-v2.npy"] == DOCUMENTS - 1
    assert rows["vectors-v1.npy"] == 0
    assert np.load(out / "vectors-v2.npy").dtype == np.float16


def _states(run: Callable[..., Ran], store: Path) -> dict[str, str]:
    listed = run("versions", store, "--json").data["versions"]
    return {version["label"]: version["state"] for version in listed}


def _history(run: Callable[..., Ran], store: Path) -> list[dict[str, str]]:
    history: list[dict[str, str]] = run("history", store, "--json").data["history"]
    return history
