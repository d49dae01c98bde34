"""Documents and vectors in and out: ingest, export, backfill, and their files."""

from __future__ import annotations

import datetime as dt
import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import vstore
from tests.cli.running import documents, write_json, write_lines, write_vectors

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.cli.running import Ran

DIMENSION = 6
SPEC = vstore.EmbeddingSpec("made-up", DIMENSION)
FIELDS = {"tenant": "keyword", "tags": "keywords", "seen": "timestamp", "extra": "json"}


def vectors(count: int, seed: int = 0) -> np.ndarray[Any, Any]:
    return np.random.default_rng(seed).normal(size=(count, DIMENSION)).astype(np.float32)


@pytest.fixture
def made_up(store: Path) -> Path:
    """The store with a version whose vectors only come from files."""
    with vstore.open(store) as opened:
        opened.collection("docs").create_version("made-up", SPEC)
    return store


def read_lines(path: Path) -> list[Any]:
    return [json.loads(line) for line in path.read_bytes().splitlines()]


def rich_store(path: Path) -> None:
    """A store with everything an export must carry."""
    with vstore.open(path) as store:
        docs = store.create_collection("docs", fields=FIELDS)
        docs.create_version("v1", SPEC)
        docs.create_version(
            "half",
            vstore.EmbeddingSpec("made-up", DIMENSION, normalized=False, chunking="p"),
            storage="float16",
        )
        docs.upsert(
            ["text", 7, "none"],
            texts=["several\nlines, ünïcode", "seven", None],
            metadata=[
                {"tenant": "acme", "tags": ["a", "b"], "extra": {"deep": [1, None]}},
                {"seen": dt.datetime(2026, 1, 2, 3, 4, 5, 678_901, tzinfo=dt.UTC)},
                {},
            ],
            source_hashes=["etag-1", b"\x01" * 32, None],
            vectors={"v1": [vectors(3), vectors(1, 1), vectors(2, 2)]},
        )
        docs.add_vectors(["text"], vectors(1, 3), version="half")


def test_an_export_ingested_elsewhere_is_the_same_collection(
    run: Callable[..., Ran], tmp_path: Path
) -> None:
    rich_store(tmp_path / "a.vstore")
    run("export", "a.vstore", "out")
    with vstore.open(tmp_path / "b.vstore") as store:
        docs = store.create_collection("docs", fields=FIELDS)
        docs.create_version("v1", SPEC)
        half = vstore.EmbeddingSpec("made-up", DIMENSION, normalized=False, chunking="p")
        docs.create_version("half", half, storage="float16")
    owners = ("--rows", "out/vectors-v1.rows.jsonl")
    run(
        *("ingest", "b.vstore", "out/documents.jsonl"),
        *("--version", "v1", "--vectors", "out/vectors-v1.npy", *owners),
    )
    report = run(
        *("backfill", "b.vstore", "half", "--vectors", "out/vectors-half.npy", "--any-revision"),
        *("--ids", "out/vectors-half.rows.jsonl", "--json"),
    ).data
    assert (report["written"], report["live_documents"]) == (1, 3)
    with vstore.open(tmp_path / "a.vstore") as a, vstore.open(tmp_path / "b.vstore") as b:
        one, other = a.collection("docs"), b.collection("docs")
        for id_ in ("text", 7, "none"):
            left, right = one.get(id_), other.get(id_)
            assert left is not None
            assert right is not None
            assert (left.text, left.metadata, left.source_hash) == (
                right.text,
                right.metadata,
                right.source_hash,
            )
            np.testing.assert_array_equal(one.get_vectors(id_, "v1"), other.get_vectors(id_, "v1"))
        np.testing.assert_array_equal(
            one.get_vectors("text", "half"), other.get_vectors("text", "half")
        )


def test_an_export_says_everything(run: Callable[..., Ran], tmp_path: Path) -> None:
    rich_store(tmp_path / "a.vstore")
    run("export", "a.vstore", "out")
    lines = read_lines(tmp_path / "out/documents.jsonl")
    by_id = {line["id"]: line for line in lines}
    assert by_id["text"]["metadata"]["extra"] == {"deep": [1, None]}
    assert by_id[7]["metadata"]["seen"] == "2026-01-02T03:04:05.678901+00:00"
    assert by_id[7]["source_hash"] == "01" * 32
    assert by_id["none"]["source_hash"] is None
    assert by_id["text"]["revision"] == by_id["text"]["created"] == 4
    rows = read_lines(tmp_path / "out/vectors-v1.rows.jsonl")
    assert rows[0] == {"id": "text", "chunk": 0, "revision": 4}
    assert len(rows) == len(np.load(tmp_path / "out/vectors-v1.npy")) == 6
    manifest = json.loads((tmp_path / "out/manifest.json").read_bytes())
    assert [version["label"] for version in manifest["versions"]] == ["v1", "half"]
    assert manifest["fields"] == FIELDS


def test_an_export_overwrites_nothing(run: Callable[..., Ran], store: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out/mine.txt").write_text("mine")
    assert "is not empty" in run("export", store, "out", code=7).err
    run("export", store, "new", "--version", "nope", code=3)
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("label", ["../../outside", "a/b", "CON", "...", "v1:stream", "V-1", "ü"])
def test_a_label_cannot_choose_where_an_export_goes(
    run: Callable[..., Ran], tmp_path: Path, label: str
) -> None:
    with vstore.open(tmp_path / "s.vstore") as store:
        docs = store.create_collection("docs")
        docs.create_version("v-1", SPEC)
        docs.create_version(label, vstore.EmbeddingSpec("another", DIMENSION))
    files = run("export", "s.vstore", "deep/out", "--json").data["files"]
    names = [name for one in files[1:] for name in (one["file"], one["owners"])]
    assert len({name.casefold() for name in names}) == 4
    for name in names:
        assert name.startswith("vectors")
        assert (tmp_path / "deep/out" / name).parent.samefile(tmp_path / "deep/out")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["deep", "s.vstore"]


def test_the_round_trip_of_a_regeneration_queue(
    run: Callable[..., Ran], made_up: Path, tmp_path: Path
) -> None:
    with vstore.open(made_up) as store:
        store.collection("docs").add_vectors(["d0", "d1"], vectors(2), version="made-up")
    run("export", made_up, "todo", "--pending", "made-up")
    queue = tmp_path / "todo/documents.jsonl"
    count = len(queue.read_text("utf-8").splitlines())
    assert count == 38
    # Meanwhile one document changes and another goes: their vectors would be stale.
    with vstore.open(made_up) as store:
        docs = store.collection("docs")
        docs.upsert(["d5"], texts=["changed"])
        docs.delete(["d6"])
    made = write_vectors(tmp_path / "made.npy", vectors(count))
    given = ("--vectors", made, "--ids", queue, "--batch-size", 16)
    cut = run("backfill", made_up, "made-up", *given, "--batches-max", 1, "--json").data
    assert (cut["written"], cut["finished"], cut["state"]) == (16, False, "backfilling")
    rest = run("backfill", made_up, "made-up", *given, "--json").data
    assert (rest["written"], rest["already_fresh"], rest["skipped"]) == (20, 16, 2)
    assert (rest["fresh_documents"], rest["live_documents"]) == (38, 39)
    with vstore.open(made_up) as store:
        docs = store.collection("docs")
        assert [document.id for document in docs.migration.pending("made-up")] == ["d5"]
        np.testing.assert_array_equal(docs.get_vectors("d39", "made-up")[0], vectors(count)[-1])
        docs.add_vectors(["d5"], vectors(1), version="made-up")
    # With nothing left to write, the run that finds that out closes the job.
    assert run("backfill", made_up, "made-up", *given, "--json").data["state"] == "ready"


def test_ids_may_be_bare(run: Callable[..., Ran], made_up: Path, tmp_path: Path) -> None:
    owners = write_lines(tmp_path / "ids.jsonl", ["d1", "d2", "d1", "gone"])
    made = write_vectors(tmp_path / "made.npy", vectors(4))
    report = run("backfill", made_up, "made-up", "--vectors", made, "--ids", owners, "--json").data
    assert (report["written"], report["skipped"]) == (2, 1)
    with vstore.open(made_up) as store:
        found = store.collection("docs").get_vectors("d1", "made-up")
        np.testing.assert_array_equal(found, vectors(4)[[0, 2]])


def test_an_ingest_again_changes_nothing(
    run: Callable[..., Ran], store: Path, tmp_path: Path
) -> None:
    epoch = run("info", store, "--json").data["epoch"]
    report = run(
        *("ingest", store, tmp_path / "docs.jsonl", "--version", "v1", "--embed"),
        *("--batch-size", 7, "--json"),
    ).data
    assert (report["unchanged"], report["vectors_skipped"], report["batches"]) == (40, 40, 6)
    assert report["epoch"] == epoch


def test_a_key_that_a_line_lacks_leaves_what_there_is(
    run: Callable[..., Ran], store: Path, tmp_path: Path
) -> None:
    lines = write_lines(
        tmp_path / "more.jsonl",
        [
            {"id": "d0", "metadata": {"year": 1900}},
            {"id": "d1", "text": "all new"},
            {"id": "d2", "source_hash": "etag"},
            {"id": "new"},
        ],
    )
    report = run("ingest", store, lines, "--json").data
    assert (report["inserted"], report["updated"], report["unchanged"]) == (1, 2, 1)
    with vstore.open(store) as opened:
        docs = opened.collection("docs")
        first, second = docs.get("d0"), docs.get("d1")
        assert first is not None
        assert second is not None
        assert (first.text, first.metadata) == (documents()[0]["text"], {"year": 1900})
        assert (second.text, second.metadata) == ("all new", documents()[1]["metadata"])
        # What changed is stale in the version until it is embedded again.
        assert {d.id for d in docs.migration.pending("v1")} == {"d1", "d2", "new"}


def test_a_later_line_wins(run: Callable[..., Ran], store: Path, tmp_path: Path) -> None:
    lines = write_lines(
        tmp_path / "twice.jsonl", [{"id": "x", "text": text} for text in ("a", "b", "c")]
    )
    assert run("ingest", store, lines, "--json").data["batches"] == 3
    assert run("get", store, "x", "--json").data["text"] == "c"


def test_a_refused_batch_says_where_it_is_and_what_was_kept(
    run: Callable[..., Ran], made_up: Path, tmp_path: Path
) -> None:
    broken = vectors(40)
    broken[25, 3] = np.nan
    made = write_vectors(tmp_path / "made.npy", broken)
    error = run(
        *("ingest", made_up, tmp_path / "docs.jsonl", "--batch-size", 10),
        *("--version", "made-up", "--vectors", made),
        code=2,
    ).err
    assert "docs.jsonl lines 21 to 30: " in error
    assert "nan is no number" in error
    assert "(20 documents were committed before; run again to go on)" in error
    with vstore.open(made_up) as store:
        assert store.collection("docs").coverage("made-up").fresh == 20


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ('{"id": "a", "txt": "b"}', "line 2: unknown key 'txt'"),
        ('{"text": "b"}', "line 2: id: expected text or an integer, found None"),
        ('{"id": true}', "line 2: id: expected text or an integer, found True"),
        ('{"id": "a", "text": 3}', "line 2: text: expected text, found 3"),
        ('{"id": "a", "metadata": []}', "line 2: metadata: expected an object"),
        ('{"id": "a", "metadata": {"nope": 1}}', "lines 1 to 2: metadata: no field 'nope'"),
        ('{"id": "a", "metadata": {"year": "x"}}', "field 'year' expects"),
        ("[1]", "line 2: expected an object"),
        ("{", "line 2: not JSON"),
        ("\x80", "line 2: not JSON"),
    ],
)
def test_a_bad_line_is_named(
    run: Callable[..., Ran], store: Path, tmp_path: Path, line: str, expected: str
) -> None:
    lines = tmp_path / "bad.jsonl"
    lines.write_bytes(b'{"id": "ok"}\n' + line.encode("latin-1") + b"\n")
    error = run("ingest", store, lines, code=2).err
    assert expected in error
    assert error.count("\n") == 1
    assert len(vstore.open(store, mode="r").collection("docs")) == 40


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("--vectors", "three.npy"), "--version goes with"),
        (("--version", "made-up"), "--version goes with"),
        (("--version", "made-up", "--vectors", "three.npy", "--embed"), "not both"),
        (("--version", "made-up", "--embed"), "can only embed with 'vstore/hashing'"),
        (("--rows", "docs.jsonl"), "pass both"),
        (("--version", "made-up", "--vectors", "three.npy"), "has 3 rows, "),
        (("--version", "made-up", "--vectors", "flat.npy"), "expected shape (rows, dimension)"),
        (("--version", "made-up", "--vectors", "docs.jsonl"), "not a .npy file"),
        (("--version", "made-up", "--vectors", "wide.npy"), "expected shape (n, 6)"),
    ],
)
def test_vectors_that_do_not_fit_are_refused(
    run: Callable[..., Ran],
    made_up: Path,
    tmp_path: Path,
    arguments: tuple[str, ...],
    expected: str,
) -> None:
    write_vectors(tmp_path / "three.npy", vectors(3))
    write_vectors(tmp_path / "flat.npy", vectors(40).ravel())
    write_vectors(tmp_path / "wide.npy", np.ones((40, 7), np.float32))
    before = made_up.read_bytes()
    assert expected in run("ingest", made_up, "docs.jsonl", *arguments, code=2).err
    assert made_up.read_bytes() == before


def test_rows_of_one_document_have_one_revision(
    run: Callable[..., Ran], made_up: Path, tmp_path: Path
) -> None:
    owners = write_lines(
        tmp_path / "ids.jsonl", [{"id": "d1", "revision": 3}, {"id": "d1", "revision": 4}]
    )
    made = write_vectors(tmp_path / "made.npy", vectors(2))
    given = ("--vectors", made, "--ids", owners)
    assert "before at 3" in run("backfill", made_up, "made-up", *given, code=2).err
    assert "pass --vectors with --ids" in run("backfill", made_up, "made-up", code=2).err


def test_init_makes_what_is_missing_and_nothing_else(
    run: Callable[..., Ran], tmp_path: Path
) -> None:
    spec = {
        "collection": "docs",
        "fields": {"year": "int"},
        "versions": [{"label": "v1", "spec": {"model": "m", "dimension": 4}}],
    }
    file = write_json(tmp_path / "spec.json", spec)
    made = run("init", "s.vstore", file, "--field", "tenant=keyword", "--json").data["made"]
    assert made == ["store", "collection docs", "version v1"]
    assert run("init", "s.vstore", file, "--json").data["made"] == []
    spec["versions"] = [
        {"label": "v1", "spec": {"model": "m", "dimension": 4}, "storage": "float32"},
        {"spec": {"model": "n", "dimension": 4}, "stale_policy": "serve"},
    ]
    again = run("init", "s.vstore", write_json(file, spec), "--field", "more=json", "--json").data
    assert again["made"][0] == "field more"
    assert again["made"][1].startswith("version docs-n-")
    assert run("init", "s.vstore", file, "--json").data["made"] == []


@pytest.mark.parametrize(
    ("change", "code", "expected"),
    [
        ({"versions": [{"label": "v1", "spec": {"model": "m", "dimension": 5}}]}, 8, "4 is not 5"),
        (
            {
                "versions": [
                    {"label": "v1", "spec": {"model": "m", "dimension": 4}, "storage": "float16"}
                ]
            },
            7,
            "is there with storage 'float32'",
        ),
        ({"fields": {"year": "float"}}, 7, "field 'year' is int, not float"),
        ({"fields": {"year": "date"}}, 2, "expected one of keyword"),
        ({"versions": [{"label": "v2", "spec": {"model": "m"}}]}, 2, "'dimension'"),
        ({"versions": [{"label": "v2", "spec": {"dimenson": 4}}]}, 2, "unknown key 'dimenson'"),
        ({"versions": [{"label": "v2"}]}, 2, "needs spec or hashing"),
        ({"versions": {"label": "v2"}}, 2, "versions: expected a list"),
        ({"version": []}, 2, "unknown key 'version'"),
    ],
)
def test_a_spec_file_that_contradicts_the_store_changes_nothing(
    run: Callable[..., Ran], tmp_path: Path, change: dict[str, object], code: int, expected: str
) -> None:
    spec: dict[str, object] = {
        "collection": "docs",
        "fields": {"year": "int"},
        "versions": [{"label": "v1", "spec": {"model": "m", "dimension": 4}}],
    }
    run("init", "s.vstore", write_json(tmp_path / "spec.json", spec))
    before = (tmp_path / "s.vstore").read_bytes()
    changed = write_json(tmp_path / "changed.json", {**spec, "fields": {}, **change})
    assert expected in run("init", "s.vstore", changed, code=code).err
    assert (tmp_path / "s.vstore").read_bytes() == before


def test_a_bad_spec_file_makes_no_store(run: Callable[..., Ran], tmp_path: Path) -> None:
    run("init", "s.vstore", write_json(tmp_path / "spec.json", {"collection": ""}), code=2)
    run("init", "s.vstore", "missing.json", code=3)
    run("init", "s.vstore", "--field", "year", code=2)
    assert not (tmp_path / "s.vstore").exists()


def test_a_capped_backfill_says_what_is_left_and_info_shows_it(
    two_versions: Path, run: Callable[..., Ran]
) -> None:
    some = ("backfill", two_versions, "v2", "--embed", "--batch-size", 10)
    by_year = ("--order", "hot", "--order-field", "year")
    report = run(*some, *by_year, "--documents-max", 15, "--json").data
    assert (report["written"], report["job"], report["finished"]) == (15, "stopped", False)
    assert report["note"] == "cap of 15 documents: 15 done; 25 documents left"
    with vstore.open(two_versions, mode="r") as store:
        docs = store.collection("docs")
        year: dict[object, Any] = {d.id: d.metadata.get("year", -1) for d in docs.documents()}
        waiting = sorted(year[document.id] for document in docs.migration.pending("v2"))
        assert waiting == sorted(year.values())[:25]
    shown = run("info", two_versions).out
    for fact in ("stopped, 2 batches, 15 documents done", "by year, the largest first",
                 "15 documents", "cap of 15 documents: 15 done; 25 documents left"):  # fmt: skip
        assert fact in shown
    versions = run("info", two_versions, "--json").data["collections"]["docs"]["versions"]
    job = versions[1]["backfill"]
    assert (job["documents_max"], job["units"] > 0, job["dead"]) == (15, True, 0)
    assert run(*some, "--json").data["job"] == "done"
    assert "go with --embed" in run("backfill", two_versions, "v2", "--vectors", "a", "--ids", "b",
                                    "--documents-max", 1, code=2).err  # fmt: skip
