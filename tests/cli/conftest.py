"""Running the command line in this process, in a directory of its own."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest

from tests.cli.running import Ran, documents, write_json, write_lines
from vstore.cli import main

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@pytest.fixture
def run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., Ran]:
    """Run ``vstore`` with some arguments and expect an exit code, 0 by default."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments: object, code: int = 0) -> Ran:
        capsys.readouterr()
        found = main([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        assert found == code, f"exit code {found}, expected {code}: {captured.err}"
        return Ran(captured.out, captured.err)

    return run


@pytest.fixture(scope="session")
def made_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make the store that tests get copies of; a sync per commit and test would add up."""
    path = tmp_path_factory.mktemp("cli")
    spec = {
        "collection": "docs",
        "fields": {"tenant": "keyword", "year": "int"},
        "versions": [{"label": "v1", "hashing": {"dimension": 32}}],
    }
    store, lines = path / "s.vstore", write_lines(path / "docs.jsonl", documents())
    spec_file = write_json(path / "spec.json", spec)
    assert main(["init", str(store), str(spec_file)]) == 0
    assert main(["ingest", str(store), str(lines), "--version", "v1", "--embed"]) == 0
    return path


@pytest.fixture
def store(run: Callable[..., Ran], made_store: Path, tmp_path: Path) -> Path:
    """A store with one collection, 40 documents, and a hashing version that has all of them."""
    for name in ("s.vstore", "docs.jsonl"):
        shutil.copy(made_store / name, tmp_path / name)
    return tmp_path / "s.vstore"


@pytest.fixture
def two_versions(store: Path, run: Callable[..., Ran], tmp_path: Path) -> Path:
    """That store with a second, empty version of another model."""
    version = {"label": "v2", "hashing": {"dimension": 48, "seed": 2}}
    spec = write_json(tmp_path / "v2.json", {"collection": "docs", "versions": [version]})
    run("init", store, spec)
    return store
