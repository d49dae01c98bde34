"""A store is a regular file: what else a path leads to is told at once, and not waited for."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import vstore
from vstore.cli import main

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="files of POSIX")


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.chdir(tmp_path)  # a socket's name is short
    os.mkfifo("fifo")
    Path("folder").mkdir()
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("socket")
        for name in ("fifo", "folder", "socket"):
            Path(f"link to {name}").symlink_to(name)
        Path("link to null").symlink_to("/dev/null")
        yield tmp_path


KINDS = {
    "fifo": "FIFO",
    "link to fifo": "FIFO",
    "folder": "directory",
    "folder/.": "directory",
    "link to folder": "directory",
    "socket": "socket",
    "link to socket": "socket",
    "/dev/null": "character device",
    "/dev/zero": "character device",
    "link to null": "character device",
}
WAYS: dict[str, Callable[[Any], vstore.Store]] = {
    "to write": vstore.open,
    "to read": lambda path: vstore.open(path, mode="r"),
    "without making one": lambda path: vstore.open(path, create=False),
    "at an epoch": lambda path: vstore.open(path, epoch=1),
    "after a while": lambda path: vstore.open(path, timeout_s=0.01),
}


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def in_time(call: Callable[[], object]) -> BaseException | None:
    """Call in a thread that may hang; return what it raised.

    One that hangs is let go by a writer that never comes otherwise.
    """
    raised: list[BaseException | None] = []

    def work() -> None:
        try:
            call()
            raised.append(None)
        except BaseException as error:
            raised.append(error)

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    thread.join(10)
    assert raised, "it waits"
    return raised[0]


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.usefixtures("place")
def test_what_is_no_file_is_named(name: str, way: str) -> None:
    for path in (name, Path(name)):
        error = in_time(lambda path=path: WAYS[way](path))  # type: ignore[misc]
        assert isinstance(error, vstore.StorageError)
        assert KINDS[name] in str(error)
        assert str(path) in str(error)


@pytest.mark.parametrize("command", ["check", "info", "get", "history", "vacuum", "init"])
@pytest.mark.parametrize("name", ["fifo", "folder", "link to socket", "/dev/null"])
@pytest.mark.usefixtures("place")
def test_commands_say_so_too(command: str, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = [command, name, *(["x"] if command == "get" else [])]
    codes: list[int] = []
    assert in_time(lambda: codes.append(main(arguments))) is None
    assert codes[0] not in (0, 70)
    assert KINDS[name].split()[-1] in " ".join(capsys.readouterr().err.split())


def test_a_fifo_at_the_place_of_a_vacuums_copy_is_left_there(tmp_path: Path) -> None:
    path = tmp_path / "docs.vstore"
    with vstore.open(path) as store:
        store.create_collection("docs").upsert(["a"])
        os.mkfifo(f"{path}-vacuum")
        assert isinstance(in_time(store.vacuum), vstore.StorageError)
        assert store.collection("docs").ids() == ["a"]
    assert names(tmp_path) == ["docs.vstore", "docs.vstore-vacuum"]


def test_an_empty_file_is_made_a_store_only_by_a_writer(tmp_path: Path) -> None:
    path = tmp_path / "docs.vstore"
    path.touch()
    with pytest.raises(vstore.NotAStoreError):
        vstore.open(path, mode="r")
    with pytest.raises(vstore.NotAStoreError):
        vstore.open(path, create=False)
    assert path.stat().st_size == 0
    vstore.open(path).close()
    vstore.open(path, mode="r").close()


def test_a_path_comes_in_every_type(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    with vstore.open(tmp_path / "docs.vstore") as store:
        store.create_collection("docs").upsert(["a"])

    class Entry:
        def __fspath__(self) -> str:
            return str(tmp_path / "docs.vstore")

    forms: list[Any] = [
        "docs.vstore",
        "./docs.vstore",
        "~/docs.vstore",
        Path("~/docs.vstore"),
        Entry(),
        str(tmp_path / "docs.vstore"),
    ]
    for path in forms:
        with vstore.open(path, mode="r") as store:
            assert store.collection("docs").ids() == ["a"]
        with vstore.open(path) as store:
            store.vacuum()
    assert names(tmp_path) == ["docs.vstore"]


def test_a_tilde_elsewhere_is_a_character(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("~docs", "docs~", "a~b"):
        vstore.open(name).close()
    assert names(tmp_path) == ["a~b", "docs~", "~docs"]


@pytest.mark.parametrize(
    "path", ["", b"docs", "new/", "new//", "a\0b", 5, None, ["a"], True], ids=repr
)
def test_what_is_no_path_of_a_file_is_refused(
    path: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for way in WAYS.values():
        with pytest.raises(vstore.InvalidArgumentError):
            way(path)
    assert names(tmp_path) == []


def test_a_path_through_a_file_or_a_loop_is_an_error_of_vstore(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "loop").symlink_to("loop")
    for path in (tmp_path / "file" / "docs.vstore", tmp_path / "loop", tmp_path / ("x" * 300)):
        for way in WAYS.values():
            with pytest.raises(vstore.VstoreError):
                way(path)


# Locks.


def test_a_second_open_in_this_process_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    link = Path("link.vstore")
    link.symlink_to("docs.vstore")
    with vstore.open("docs.vstore") as store:
        for path in ("docs.vstore", link, tmp_path / "docs.vstore", "./docs.vstore"):
            with pytest.raises(vstore.LockedError, match="this process already has") as caught:
                vstore.open(path)
            assert "Use that handle" in str(caught.value)
            assert caught.value.pid == os.getpid()
        store.create_collection("docs")
        store.vacuum()
        with pytest.raises(vstore.LockedError, match="this process already has"):
            vstore.open(link, timeout_s=0.02)
        vstore.open("docs.vstore", mode="r").close()
    vstore.open(link).close()
    stores = [vstore.open(":memory:") for _ in range(2)]
    for store in stores:
        store.close()


HOLD = """
import sys, vstore
with vstore.open(sys.argv[1]) as store:
    print("open", flush=True)
    sys.stdin.read()
"""


def test_another_process_is_named_where_the_system_says_which(tmp_path: Path) -> None:
    path = tmp_path / "docs.vstore"
    vstore.open(path).close()
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "open\n"
        with pytest.raises(vstore.LockedError, match="another writer") as caught:
            vstore.open(path)
        assert caught.value.pid in (process.pid, None)
        assert "this process" not in str(caught.value)
        process.communicate("")


FORKED = """
import os, sys, vstore
store = vstore.open(sys.argv[1])
child = os.fork()
if not child:
    try:
        vstore.open(sys.argv[1])
    except vstore.LockedError as error:
        print("this process" not in str(error), error.pid in (os.getppid(), None), flush=True)
    os._exit(0)
os.waitpid(child, 0)
try:
    vstore.open(sys.argv[1])
except vstore.LockedError as error:
    print("this process" in str(error), error.pid == os.getpid(), flush=True)
store.close()
"""


def test_after_a_fork_the_parent_is_another_process(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", FORKED, str(tmp_path / "docs.vstore")],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "True True\nTrue True\n"
