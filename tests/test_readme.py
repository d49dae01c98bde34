"""The README says nothing that is not so: its code runs, its tables are the program's own."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from vstore import limits
from vstore.cli import main
from vstore.cli.app import COMMANDS
from vstore.cli.exit_code import MEANINGS

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text("utf-8")
QUICK_START_LINES = 10


def blocks(language: str) -> list[str]:
    """Return the code blocks of a language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)


def table(*header: str) -> list[list[str]]:
    """Return the rows of the table with this header."""
    lines = README.splitlines()
    start = lines.index(f"| {' | '.join(header)} |") + 2
    rows = []
    for line in lines[start:]:
        if not line.startswith("|"):
            break
        rows.append([cell.strip() for cell in line.strip("|").split(" | ")])
    return rows


@pytest.mark.parametrize("number", range(5))
def test_its_programs_run_as_printed(tmp_path: Path, number: int) -> None:
    code = blocks("python")[number]
    if not number:
        assert len([line for line in code.splitlines() if line]) == QUICK_START_LINES
    ran = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (ran.returncode, ran.stderr) == (0, "")
    assert re.search(rf"It prints `{re.escape(ran.stdout.strip())}`[.:]", README)


def test_the_set_up_is_two_commands() -> None:
    demo, tests = blocks("sh")
    for command in (demo, tests):
        assert command.count("\n") == 1
        assert command.startswith("python3 -m venv .venv && .venv/bin/pip install -q '.[")
    assert demo.endswith(".venv/bin/vstore demo\n")
    assert ".venv/bin/pytest" in tests


def test_the_table_of_commands_is_the_command_line() -> None:
    listed = [command for command, _ in table("Command", "What it does")]
    made = [f"`vstore {one.__name__}`" for group in COMMANDS.values() for one in group]
    assert sorted(listed) == sorted(made)


def test_every_command_takes_json_but_the_demo(capsys: pytest.CaptureFixture[str]) -> None:
    for group in COMMANDS.values():
        for one in group:
            assert main([one.__name__, "--help"]) == 0
            assert ("--json" in capsys.readouterr().out) == (one.__name__ != "demo")


def test_the_table_of_exit_codes_is_the_program_s() -> None:
    assert table("Exit code", "Meaning") == [[f"{c:d}", text] for c, text in MEANINGS.items()]


def test_the_spec_file_is_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (spec,) = blocks("json")
    Path("spec.json").write_text(spec, encoding="utf-8")
    assert main(["init", "docs.vstore", "spec.json", "--json"]) == 0
    made = json.loads(capsys.readouterr().out)["made"]
    assert made == ["store", "collection docs", "version docs-v1"]


def test_the_table_of_limits_is_limits_py() -> None:
    named = {
        "dimension": limits.DIMENSION_MAX,
        "documents of a collection": limits.DOCUMENTS_MAX,
        "chunks of a document": limits.CHUNKS_MAX,
        "versions of a collection": limits.VERSIONS_MAX,
        "collections of a store": limits.COLLECTIONS_MAX,
        "metadata fields": limits.FIELDS_MAX,
        "metadata of a document": limits.METADATA_BYTES_MAX,
        "text of a document": limits.TEXT_BYTES_MAX,
        "id,": limits.ID_BYTES_MAX,
        "hits of a query": limits.K_MAX,
    }
    rows = table("What", "At most")
    assert len(rows) == len(named)
    for (what, value), (start, bound) in zip(rows, named.items(), strict=True):
        assert what.startswith(start)
        assert value == f"{bound:,}"


def test_the_files_it_names_exist() -> None:
    for name in re.findall(r"`([\w./-]+\.(?:py|md))`", README):
        assert (ROOT / name).is_file(), name
