"""The command line as a process: pipes, missing extras, and nothing but JSON on stdout."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import vstore

TIMEOUT_S = 60


def start(*arguments: object, code: str = "") -> subprocess.Popen[str]:
    """Start ``python -m vstore``, or code in its place."""
    command = [sys.executable, *(["-c", code] if code else ["-m", "vstore"])]
    return subprocess.Popen(
        [*command, *map(str, arguments)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(Path(vstore.__file__).parents[1])},
        encoding="utf-8",
    )


def test_the_module_is_the_command(store: Path) -> None:
    process = start("info", store, "--json")
    out, err = process.communicate(timeout=TIMEOUT_S)
    assert (process.returncode, err) == (0, "")
    assert json.loads(out)["collections"]["docs"]["documents"] == 40


def test_without_the_extra_it_says_what_to_install() -> None:
    code = (
        "import sys; sys.modules['typer'] = None; "
        "from vstore.cli import main; sys.exit(main(sys.argv[1:]))"
    )
    process = start("info", code=code)
    out, err = process.communicate(timeout=TIMEOUT_S)
    assert process.returncode == 9
    assert out == ""
    assert err == "vstore: typer is not installed. Run: pip install 'vstore[cli]'\n"


def test_a_reader_that_stops_is_no_error(store: Path) -> None:
    with vstore.open(store) as opened:
        texts = ["x" * 100_000] * 20  # more than a pipe holds
        opened.collection("docs").upsert([f"long{i}" for i in range(20)], texts=texts)
    for arguments in (("history", store), ("search", store, "--text", "xxx", "--json"), ("-h",)):
        process = start(*arguments)
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        err = process.stderr.read()
        process.stderr.close()
        assert process.wait(TIMEOUT_S) == 141
        assert err == ""


def test_neither_typer_nor_rich_is_imported_by_the_library() -> None:
    code = "import sys, vstore, vstore.cli; vstore.open; print(*sys.modules)"
    out, _ = start(code=code).communicate(timeout=TIMEOUT_S)
    assert "vstore.api.store" in out.split()
    assert not {"typer", "rich"} & set(out.split())
