"""Queries from the command line: numbers, files, text, two versions at once."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np
import pytest

import vstore
from tests.cli.running import write_json, write_vectors

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.cli.running import Ran

V1, V2 = vstore.HashingEmbedder(32), vstore.HashingEmbedder(48, seed=2)
TEXT = "red green blue 0"
ACME = {"field": "tenant", "op": "==", "value": "acme"}


def ids(ran: Ran) -> list[str]:
    return [hit["id"] for hit in ran.data["hits"]]


def test_a_vector_says_the_same_as_the_text(
    run: Callable[..., Ran], store: Path, tmp_path: Path
) -> None:
    vector = V1.embed_query(TEXT)
    text = run("search", store, "--text", TEXT, "--json")
    inline = json.dumps(vector.tolist())
    file = write_vectors(tmp_path / "q.npy", vector)
    many = write_vectors(tmp_path / "many.npy", np.stack([-vector, vector]))
    for query in ((inline,), (file,), (many, "--row", 1)):
        found = run("search", store, "--version", "v1", "--query", *query, "--json")
        assert found.data["hits"] == text.data["hits"]


def test_a_filter_is_json_or_a_file(run: Callable[..., Ran], store: Path, tmp_path: Path) -> None:
    file = write_json(tmp_path / "filter.json", ACME)
    for where in (json.dumps(ACME), f"@{file}"):
        found = run("search", store, "--text", TEXT, "--where", where, "--json").data
        assert found["matches"] == 20
        assert {hit["metadata"]["tenant"] for hit in found["hits"]} == {"acme"}
    assert "10 hits of 20 that pass" in run("search", store, "-t", TEXT, "--where", f"@{file}").out


def test_a_dual_read_takes_a_vector_for_each_version(
    run: Callable[..., Ran], two_versions: Path
) -> None:
    run("backfill", two_versions, "v2", "--embed", "--batch-size", 15, "--batches-max", 1)
    text = run(
        *("search", two_versions, "--text", TEXT, "--json"),
        *("--version", "v2", "--old-version", "v1", "--fusion", "slots"),
    )
    assert text.data["mode"] == "dual"
    assert {hit["version"] for hit in text.data["hits"]} == {"v1", "v2"}
    vectors = run(
        *("search", two_versions, "--json"),
        *("--version", "v2", "--query", json.dumps(V2.embed_query(TEXT).tolist())),
        *("--old-version", "v1", "--old-query", json.dumps(V1.embed_query(TEXT).tolist())),
    )
    assert vectors.data["hits"] == text.data["hits"]


def test_a_text_may_leave_the_version_to_the_route(
    run: Callable[..., Ran], two_versions: Path
) -> None:
    run("route", two_versions, "--dual", "v2")
    assert run("search", two_versions, "-t", TEXT, "--json").data["versions"] == ["v1", "v2"]
    one = run("search", two_versions, "-t", TEXT, "--version", "v1", "--json").data
    assert (one["versions"], one["hits"][0]["id"]) == (["v1"], "d0")


def test_explain_plans_and_analyze_runs(run: Callable[..., Ran], store: Path) -> None:
    planned = run("explain", store, "-t", TEXT, "--json").data
    assert "actuals" not in planned
    assert planned["plan"]["version"] == "v1"
    analyzed = run("explain", store, "-t", TEXT, "--analyze", "--json").data
    assert analyzed["actuals"]["answered"] == {"v1": 10}
    shown = run("explain", store, "-t", TEXT, "--analyze").out.splitlines()
    assert "because" in shown[1]
    assert shown[-1].startswith("actual: ")


def test_a_search_at_an_earlier_epoch(run: Callable[..., Ran], store: Path) -> None:
    before = run("search", store, "-t", TEXT, "--json").data
    run("delete", store, "d0")
    assert "d0" not in ids(run("search", store, "-t", TEXT, "--json"))
    then = run("search", store, "-t", TEXT, "--epoch", before["epoch"], "--json").data
    assert then["hits"] == before["hits"]


def test_chunks_are_hits_of_their_own_on_request(run: Callable[..., Ran], store: Path) -> None:
    with vstore.open(store) as opened:
        chunks = V1.embed_documents([TEXT, TEXT + " 1"])
        opened.collection("docs").upsert(["long"], texts=["x"], vectors={"v1": [chunks]})
    collapsed = ids(run("search", store, "-t", TEXT, "--json"))
    assert collapsed.count("long") == 1
    chunked = run("search", store, "-t", TEXT, "--chunks", "--json")
    assert ids(chunked).count("long") == 2
    assert "chunk" in run("search", store, "-t", TEXT, "--chunks").out


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ((), "pass --query or --text"),
        (("--text", "a", "--query", "[1]"), "pass --query or --text"),
        (("--query", "[1]"), "do not say which model made them"),
        (("--query", "[1, true]", "--version", "v1"), "expected a list of numbers"),
        (("--query", "[1, NaN]", "--version", "v1"), "expected a list of numbers"),
        (("--query", f"[{10**400}, 1]", "--version", "v1"), "expected a list of numbers"),
        (("--query", "[1, 2]", "--version", "v1"), "expected shape (n, 32)"),
        (("--query", "junk.npy", "--version", "v1"), "not a .npy file of numbers"),
        (("--query", "torn.npy", "--version", "v1"), "not a .npy file of numbers"),
        (("--query", "zip.npy", "--version", "v1"), "numpy.save() writes one"),
        (("--text", "a", "--fusion", "rrf"), "of a dual read"),
        (("--query", "[1]", "--version", "v1", "--old-version", "v1"), "a vector of each version"),
        (("--query", "many.npy", "--version", "v1"), "choose a row with --row"),
        (("--query", "many.npy", "--version", "v1", "--row", 9), "and --row 9"),
        (("--query", "docs.jsonl", "--version", "v1"), "not a .npy file"),
        (("--text", "a", "--where", "{"), "--where: not JSON"),
        (("--text", "a", "--where", "{}"), "expected the keys field, op and value"),
        (("--text", "a", "--k", 0), "expected at least 1"),
        (("--text", "a", "--old-version", "v1"), "name the new one"),
        (("--text", "a", "--epoch", 1, "--tag", "x"), "pass epoch or tag"),
    ],
)
def test_a_query_that_cannot_be_right_is_refused(
    run: Callable[..., Ran],
    store: Path,
    tmp_path: Path,
    arguments: tuple[object, ...],
    expected: str,
) -> None:
    write_vectors(tmp_path / "many.npy", np.eye(3, 32))
    (tmp_path / "junk.npy").write_bytes(b"\x80\x04junk")
    (tmp_path / "zip.npy").write_bytes(b"PK\x03\x04junk")
    header = (tmp_path / "many.npy").read_bytes().replace(b"}", b" ")
    (tmp_path / "torn.npy").write_bytes(header)
    error = run("search", store, *arguments, code=2).err
    assert expected in error
    assert error.count("\n") == 1


def test_text_is_for_the_hashing_embedder_alone(
    run: Callable[..., Ran], store: Path, tmp_path: Path
) -> None:
    spec = {"model": "other", "dimension": 4}
    file = write_json(tmp_path / "o.json", {"versions": [{"label": "v3", "spec": spec}]})
    run("init", store, file)
    assert (
        "can only embed with 'vstore/hashing'"
        in run("search", store, "--text", "a", "--version", "v3", code=2).err
    )


def test_a_pickled_array_is_not_loaded(
    run: Callable[..., Ran], store: Path, tmp_path: Path
) -> None:
    np.save(tmp_path / "q.npy", np.array([{"a": 1}], dtype=object))
    error = run("search", store, "--query", "q.npy", "--version", "v1", code=2).err
    assert "not a .npy file of numbers" in error
    assert "pickle" not in error


def test_a_key_goes_the_way_of_its_canary(run: Callable[..., Ran], two_versions: Path) -> None:
    run("backfill", two_versions, "v2", "--embed")
    run("route", two_versions, "--canary", "v2", "--percent", 50)
    ways = {}
    for key in map(str, range(12)):
        found = run("search", two_versions, "--text", TEXT, "--key", key, "--json").data
        (ways[key],) = found["versions"]
        plan = run("explain", two_versions, "--text", TEXT, "--key", key).out
        assert ways[key] in plan
    assert set(ways.values()) == {"v1", "v2"}
