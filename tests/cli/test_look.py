"""Commands that look: what people see, what programs get, and that nothing is written."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from prometheus_client.parser import text_string_to_metric_families

import vstore
from tests.cli.running import DOCUMENTS
from vstore.cli.plain_text import counted, one_line, share, size

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.cli.running import Ran

LOOKING = {
    "info": (),
    "versions": (),
    "search": ("--text", "red boat"),
    "explain": ("--text", "red boat"),
    "get": ("d3",),
    "history": (),
    "metrics": (),
    "check": (),
    "route": (),
    "tag": (),
}


@pytest.mark.parametrize("command", LOOKING)
def test_a_look_works_while_another_writes_and_changes_no_byte(
    run: Callable[..., Ran], store: Path, command: str
) -> None:
    before = store.read_bytes()
    with vstore.open(store):
        for form in ((), ("--json",)):
            ran = run(command, store, *LOOKING[command], *form)
            assert ran.out
            assert not ran.err
    assert store.read_bytes() == before


@pytest.mark.parametrize("command", LOOKING)
def test_json_is_one_document(run: Callable[..., Ran], store: Path, command: str) -> None:
    assert isinstance(run(command, store, *LOOKING[command], "--json").data, dict)


def test_info_is_the_manifest(run: Callable[..., Ran], two_versions: Path) -> None:
    run("tag", two_versions, "start", "--note", "the first day")
    data = run("info", two_versions, "--json").data
    with vstore.open(two_versions, mode="r") as opened:
        assert data == opened.info()
    shown = run("info", two_versions).out
    for expected in ("tag start", "the first day", "collection docs", "route default  v1", "v2"):
        assert expected in shown
    assert "serving" in shown
    assert "declared" in shown


def test_info_of_an_earlier_epoch(run: Callable[..., Ran], two_versions: Path) -> None:
    data = run("info", two_versions, "--epoch", 2, "--json").data
    assert data["epoch"] == 2
    assert data["collections"]["docs"]["documents"] == 0


def test_versions_shows_every_field_of_the_identity(
    run: Callable[..., Ran], two_versions: Path
) -> None:
    data = run("versions", two_versions, "--version", "v2", "--json").data
    (version,) = data["versions"]
    assert version["spec"]["dimension"] == 48
    shown = run("versions", two_versions, "--version", "v2").out
    for expected in ("vstore/hashing 1", "48 dimensions, cosine", "extra seed     2", "lowercase"):
        assert expected in shown
    assert version["fingerprint"] in shown


def test_get_shows_the_document_and_what_versions_hold_of_it(
    run: Callable[..., Ran], two_versions: Path
) -> None:
    data = run("get", two_versions, "d3", "--vectors", "v1", "--json").data
    assert data["id"] == "d3"
    assert data["metadata"] == {"tenant": "acme", "year": 2003}
    assert data["versions"] == {
        "v1": {"vectors": "fresh", "chunks": 1},
        "v2": {"vectors": "none", "chunks": 0},
    }
    assert len(data["vectors"]["v1"][0]) == 32
    shown = run("get", two_versions, "d3", "--vectors", "v1").out
    assert "(32 numbers)" in shown
    assert "fresh" in shown


def test_get_finds_ids_that_are_numbers(run: Callable[..., Ran], store: Path) -> None:
    with vstore.open(store) as opened:
        opened.collection("docs").upsert([7, 8, "8"], texts=["seven", "eight", "text eight"])
    assert run("get", store, "7", "--json").data["text"] == "seven"
    assert run("get", store, "8", "--json").data["text"] == "text eight"
    assert run("get", store, "8", "--int", "--json").data["text"] == "eight"
    run("get", store, "9", code=3)


def test_metrics_has_figures_of_the_file_and_this_process(
    run: Callable[..., Ran], two_versions: Path
) -> None:
    data = run("metrics", two_versions, "--json").data
    versions = data["collections"]["docs"]["versions"]
    assert versions["v1"]["coverage"] == 1.0
    assert versions["v2"]["coverage"] == 0.0
    assert versions["v1"]["rows"] == DOCUMENTS
    assert data["process"]["counts"] == {}
    assert "neither searched nor written" in run("metrics", two_versions).out


def test_history_tells_the_newest_first(run: Callable[..., Ran], two_versions: Path) -> None:
    data = run("history", two_versions, "--limit", 2, "--json").data
    assert [entry["operation"] for entry in data["history"]] == ["create_version", "upsert"]
    shown = run("history", two_versions).out
    assert "40 inserted, 40 vectors" in shown


def test_tags_are_listed_made_and_removed(run: Callable[..., Ran], store: Path) -> None:
    assert "no tags" in run("tag", store).out
    run("tag", store, "early", "--epoch", 1)
    assert run("tag", store, "--json").data["tags"]["early"]["epoch"] == 1
    run("tag", store, "early", code=7)
    assert run("tag", store, "early", "--delete", "--json").data["tags"] == {}


def test_route_says_who_answers(run: Callable[..., Ran], two_versions: Path) -> None:
    assert run("route", two_versions, "--json").data["route"]["versions"] == ["v1"]
    run("route", two_versions, "--dual", "v2", "--fusion", "evidence")
    assert "dual read of v1 (old) and v2 (new) by evidence" in run("route", two_versions).out
    run("route", two_versions, "--fusion", "slots", code=2)


def test_several_collections_need_a_name(run: Callable[..., Ran], store: Path) -> None:
    run("init", store, "--collection", "more", "--field", "size=float")
    error = run("versions", store, code=2).err
    assert "--collection: docs, more" in error
    assert run("versions", store, "-c", "more", "--json").data["versions"] == []
    assert run("info", store, "--json").data["collections"]["more"]["fields"] == {"size": "float"}


def test_check_reports_damage_with_exit_code_1(run: Callable[..., Ran], store: Path) -> None:
    assert "sound" in run("check", store).out
    damaged = bytearray(store.read_bytes())
    damaged[-100] ^= 1
    store.write_bytes(damaged)
    assert "problem" in run("check", store, code=1).out
    report = run("check", store, "--json", code=1).data
    assert not report["ok"]
    assert report["problems"]


def test_text_from_a_file_cannot_command_the_terminal(run: Callable[..., Ran], store: Path) -> None:
    hostile = "a\x1b[2Jb\x07\u202ec [red]d[/red] :smile:"
    with vstore.open(store) as opened:
        opened.collection("docs").upsert([hostile], texts=[hostile + "\nsecond line"])
    shown = run("get", store, hostile).out
    assert "\x1b" not in shown
    assert "\x07" not in shown
    assert "\u202e" not in shown
    assert "\\x1b[2Jb\\x07\\u202ec [red]d[/red] :smile: second line" in shown
    assert run("get", store, hostile, "--json").data["id"] == hostile


def test_figures_read_well() -> None:
    assert [size(n) for n in (1, 999, 1000, 12_345_678)] == [
        "1 bytes",
        "999 bytes",
        "1.0 kB",
        "12.3 MB",
    ]
    assert [share(s) for s in (0, 0.5, 0.99999, 1)] == ["0.0 %", "50.0 %", "99.9 %", "100.0 %"]
    assert [counted(1, "epoch"), counted(2, "batch")] == ["1 epoch", "2 batches"]
    assert one_line("  a \n b" + "c" * 100, width=10) == "a bcccc..."


def test_metrics_as_prometheus_reads_them_are_those_stored(
    run: Callable[..., Ran], two_versions: Path
) -> None:
    with vstore.open(two_versions, keep_metrics=True) as store:
        docs = store.collection("docs")
        label = next(iter(docs.versions))
        docs.search(np.eye(docs.versions[label].spec.dimension, dtype=np.float32)[0], version=label)
    text = run("metrics", two_versions, "--prometheus").out
    families = {f.name: f for f in text_string_to_metric_families(text)}
    assert [s.value for s in families["vstore_queries"].samples] == [1]
    assert run("metrics", two_versions, "--prometheus", "--json").data["prometheus"] == text
    assert run("metrics", two_versions, "--json").data["stored"]["counts"]["queries"] == 1
