"""Files written by format 1.0 stay readable, to the last value, for ever."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.format.answers import answers_of_reader, answers_of_vstore
from tests.format.independent_reader import choose_slot, read_slot
from tests.format.rules import check_rules
from tests.golden.make_v1 import MAKERS, SIZE_BYTES_MAX, make
from vstore.api.opening import open_store
from vstore.storage.file import PathMedium

FOLDER = Path(__file__).parents[1] / "golden" / "v1"
FILES = sorted(FOLDER.glob("*.vstore"))

golden = pytest.mark.parametrize("path", FILES, ids=[path.stem for path in FILES])


def expected_of(path: Path) -> Any:
    return json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))


def test_all_files_are_there() -> None:
    assert {path.stem for path in FILES} == set(MAKERS)
    assert {path.stem for path in FOLDER.glob("*.json")} == set(MAKERS)
    assert all(path.stat().st_size <= SIZE_BYTES_MAX for path in FILES)


@golden
def test_vstore_reads_what_the_json_says(path: Path) -> None:
    expected = expected_of(path)
    with open_store(PathMedium(path), mode="r") as store:
        assert answers_of_vstore(store) == expected["newest"]
        for epoch, content in expected["older"].items():
            assert answers_of_vstore(store, int(epoch)) == content


@golden
def test_the_independent_reader_reads_what_the_json_says(path: Path) -> None:
    data, expected = path.read_bytes(), expected_of(path)
    assert answers_of_reader(data) == expected["newest"]
    for epoch, content in expected["older"].items():
        assert answers_of_reader(data, int(epoch)) == content


@golden
def test_every_rule_of_the_specification_is_kept(path: Path) -> None:
    check_rules(path.read_bytes())


@golden
def test_check_finds_nothing(path: Path) -> None:
    with open_store(PathMedium(path), mode="r", verify="full") as store:
        report = store.check()
    assert report.ok, report.problems


@golden
def test_reading_changes_no_byte(path: Path, tmp_path: Path) -> None:
    copy = tmp_path / path.name
    shutil.copyfile(path, copy)
    copy.chmod(0o444)
    with open_store(PathMedium(copy), mode="r") as store:
        answers_of_vstore(store)
        store.check()
        store.history()
    assert copy.read_bytes() == path.read_bytes()


@golden
def test_writing_goes_on_where_the_file_ends(path: Path, tmp_path: Path) -> None:
    copy = tmp_path / path.name
    shutil.copyfile(path, copy)
    with open_store(PathMedium(copy)) as store:
        epoch = store.epoch
        if "docs" not in store.collections:
            store.create_collection("docs")
        store.collection("docs").upsert(["written later"])
        store.vacuum()
        assert store.epoch > epoch
        assert "written later" in store.collection("docs")
        assert store.check().ok
    check_rules(copy.read_bytes())


def test_the_files_have_what_they_are_there_for() -> None:
    newest = {path.stem: expected_of(path)["newest"] for path in FILES}
    sealed = newest["sealed"]["collections"]["docs"]["versions"]
    assert any(row[3] for row in sealed["old"]["rows"]), "a stale row that is served"
    assert any(row[1] for row in sealed["new"]["rows"]), "chunks"
    assert sealed["old"]["storage"] == "float16"
    dual = newest["dual_route"]["collections"]["docs"]
    assert dual["routes"][""]["mode"] == "dual"
    assert dual["jobs"]["new"]["status"] == "open"
    assert newest["vacuumed"]["tags"]["kept"]["epoch"] < newest["vacuumed"]["epoch"]
    relaxed = (FOLDER / "relaxed.vstore").read_bytes()
    slot = choose_slot(relaxed)
    assert slot["durable"] < slot["committed"]
    vacuumed = (FOLDER / "vacuumed.vstore").read_bytes()
    assert read_slot(vacuumed[4096:8192]), "a commit after the vacuum"


@pytest.mark.parametrize("name", sorted(MAKERS))
def test_the_writer_still_writes_such_files(name: str, tmp_path: Path) -> None:
    """Not byte for byte, which is no promise, but with the same content."""
    content = json.loads(json.dumps(make(name, tmp_path / f"{name}.vstore")))
    assert content["newest"] == expected_of(FOLDER / f"{name}.vstore")["newest"]


def test_vectors_are_exact_in_float16() -> None:
    from tests.golden.make_v1 import vectors

    made = vectors(100, 4, seed=0)
    assert np.array_equal(made, made.astype(np.float16).astype(np.float32))
