"""How commands fail: one line or one object on stderr, nothing on stdout, a code that says why."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

import vstore
from vstore import cli
from vstore.cli import info as info_module
from vstore.cli.exit_code import MEANINGS, ExitCode, exit_code

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.cli.running import Ran


@pytest.mark.parametrize(
    ("code", "arguments"),
    [
        (1, ("cutover", "s.vstore", "v2")),
        (2, ("info",)),
        (2, ("no-such-command",)),
        (2, ("info", "s.vstore", "--no-such-option")),
        (2, ("search", "s.vstore", "--text", "a", "--k", "x")),
        (2, ("search", "s.vstore", "--text", "a", "--where", "[]")),
        (2, ("cutover", "s.vstore", "v2", "--min-coverage", "7")),
        (2, ("tag", "s.vstore", "--note", "of nothing")),
        (3, ("info", "missing.vstore")),
        (3, ("check", "missing.vstore")),
        (3, ("vacuum", "missing.vstore")),
        (3, ("search", "s.vstore", "--text", "a", "--version", "v9")),
        (3, ("versions", "s.vstore", "--collection", "nope")),
        (3, ("info", "s.vstore", "--tag", "nope")),
        (3, ("info", "s.vstore", "--epoch", "99")),
        (3, ("ingest", "s.vstore", "missing.jsonl")),
        (5, ("info", "docs.jsonl")),
        (6, ("info", ".")),
        (6, ("ingest", "s.vstore", ".")),
        (7, ("rollback", "s.vstore")),
        (7, ("retire", "s.vstore", "v1")),
        (7, ("cutover", "s.vstore", "v1")),
    ],
)
def test_an_error_is_one_line_and_nothing_else(
    run: Callable[..., Ran], two_versions: Path, code: int, arguments: tuple[str, ...]
) -> None:
    before = two_versions.read_bytes()
    ran = run(*arguments, code=code)
    assert not ran.out
    assert ran.err.startswith("vstore: ")
    assert ran.err.count("\n") == 1
    assert "Traceback" not in ran.err
    ran = run(*arguments, "--json", code=code)
    assert not ran.out
    error = json.loads(ran.err)["error"]
    assert error["exit_code"] == code
    assert error["type"].endswith("Error")
    assert two_versions.read_bytes() == before


@pytest.mark.parametrize("path", ["", ".", "a\0b"])
@pytest.mark.parametrize("mode", ["r", "rw"])
def test_a_path_that_is_no_file_is_an_error_of_vstore(
    run: Callable[..., Ran], path: str, mode: Any
) -> None:
    with pytest.raises(vstore.VstoreError):
        vstore.open(path, mode=mode)


def test_a_locked_store_is_4(run: Callable[..., Ran], store: Path) -> None:
    with vstore.open(store):
        assert "another writer" in run("vacuum", store, code=4).err
        error = json.loads(run("tag", store, "x", "--wait", 0.05, "--json", code=4).err)["error"]
    assert error["type"] == "LockedError"
    run("vacuum", store)


def test_a_damaged_store_is_5(run: Callable[..., Ran], store: Path) -> None:
    damaged = bytearray(store.read_bytes())
    damaged[:8192] = bytes(8192)
    store.write_bytes(damaged)
    run("info", store, code=5)
    run("check", store, code=1)


def test_a_gate_says_what_it_measured(run: Callable[..., Ran], two_versions: Path) -> None:
    error = json.loads(run("cutover", two_versions, "v2", "--json", code=1).err)["error"]
    assert error["measured"] == {"coverage": 0.0}
    assert "needs a reason" in run("cutover", two_versions, "v2", "--force", code=2).err
    forced = run("cutover", two_versions, "v2", "--force", "--reason", "a drill", "--json").data
    assert forced["route"]["forced"]
    assert not forced["gates"][0]["passed"]


def test_an_interruption_is_quiet(
    run: Callable[..., Ran], store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(info_module, "open_to_read", interrupted)
    for form in ((), ("--json",)):
        ran = run("info", store, *form, code=130)
        assert (ran.out, ran.err) == ("", "")


def test_a_bug_is_70_and_keeps_its_traceback(
    run: Callable[..., Ran], store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("a bug")

    monkeypatch.setattr(info_module, "open_to_read", broken)
    assert "Traceback" in run("info", store, code=70).err
    error = json.loads(run("info", store, "--json", code=70).err)["error"]
    assert "Traceback" in error["traceback"]


def test_every_error_of_vstore_has_a_code() -> None:
    def all_of(kind: type[BaseException]) -> list[type[BaseException]]:
        return [kind, *(one for sub in kind.__subclasses__() for one in all_of(sub))]

    for kind in all_of(vstore.VstoreError):
        assert exit_code(kind.__new__(kind)) not in (ExitCode.OK, ExitCode.BUG), kind


def test_the_package_documents_the_codes() -> None:
    assert cli.__doc__ is not None
    documented = " ".join(cli.__doc__.split())
    assert set(MEANINGS) == set(ExitCode)
    for code, meaning in MEANINGS.items():
        assert f"{code:d} {meaning}".replace("check", "`check`", 1) in documented or (
            f"{code:d} {meaning}" in documented
        )


def test_without_arguments_the_help_is_printed_and_nothing_else(run: Callable[..., Ran]) -> None:
    ran = run(code=2)
    assert "Usage: vstore" in ran.out
    assert not ran.err


def test_help_lists_the_codes(run: Callable[..., Ran]) -> None:
    shown = " ".join(run("--help").out.split())
    for code, meaning in MEANINGS.items():
        assert f"{code:d} {meaning}" in shown
