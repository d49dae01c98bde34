"""What the operating system is asked to make durable, counted on real files, and in which order."""

from __future__ import annotations

import os
import stat
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import vstore
from tests.small_store import OLD, documents, rows

if TYPE_CHECKING:
    from collections.abc import Callable

DIRECTORY = "directory"


class Calls:
    """Names of what was asked: a file's by its number, since a vacuum makes another one."""

    def __init__(self) -> None:
        self.events: list[tuple[str, object]] = []

    def add(self, what: str, fd: int) -> None:
        status = os.fstat(fd)
        whose = DIRECTORY if stat.S_ISDIR(status.st_mode) else status.st_ino
        self.events.append((what, whose))

    def since(self, call: Callable[[], object]) -> list[tuple[str, object]]:
        """Return what a call asks for, writes and syncs that follow each other taken for one."""
        self.events.clear()
        call()
        return [e for i, e in enumerate(self.events) if not i or e != self.events[i - 1]]


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> Calls:
    calls = Calls()

    def recording(module: Any, name: str, what: str, chosen: Callable[..., bool]) -> None:
        original = getattr(module, name, None)
        if original is None:  # another system's
            return

        def recorded(fd: Any, *rest: Any) -> Any:
            result = original(fd, *rest)
            if chosen(*rest):
                calls.add(what, fd)
            return result

        monkeypatch.setattr(module, name, recorded)

    for name in ("fsync", "fdatasync"):
        recording(os, name, "sync", lambda: True)
    for name in ("pwrite", "pwritev", "write"):
        recording(os, name, "write", lambda *_: True)
    if sys.platform == "darwin":
        import fcntl

        recording(fcntl, "fcntl", "sync", lambda *rest: rest[0] == fcntl.F_FULLFSYNC)
    replace = os.replace

    def replaced(source: Any, target: Any) -> None:
        calls.events.append(("rename", Path(source).stat().st_ino))
        replace(source, target)

    monkeypatch.setattr(os, "replace", replaced)
    return calls


def write(docs: vstore.Collection, seed: int) -> Callable[[], object]:
    return lambda: docs.upsert([seed], vectors={OLD: rows(1, seed=seed)})


def commit(file: int) -> list[tuple[str, object]]:
    """Return what a commit is: blocks, durable, then the slot that names them, durable."""
    return [("write", file), ("sync", file)] * 2


def test_a_commit_syncs_its_blocks_and_then_its_slot(tmp_path: Path, calls: Calls) -> None:
    path = tmp_path / "s.vstore"
    with vstore.open(path) as store:
        docs = documents(store)
        file = path.stat().st_ino
        for seed in range(3):
            assert calls.since(write(docs, seed)) == commit(file)
        assert calls.since(lambda: docs.update_metadata([0], [{"year": 1}])) == commit(file)
        assert calls.since(lambda: docs.delete([1])) == commit(file)
        second = vstore.EmbeddingSpec("second", 4, "cosine")
        assert calls.since(lambda: docs.create_version("second", second)) == commit(file)
        assert calls.since(lambda: docs.upsert(range(2_000), vectors={OLD: rows(2_000)})) == commit(
            file
        )
        assert calls.since(docs.ids) == []


def test_a_new_file_and_its_entry_are_synced(tmp_path: Path, calls: Calls) -> None:
    path = tmp_path / "s.vstore"
    with vstore.open(path) as store:
        asked = list(calls.events)
        file = path.stat().st_ino
        assert ("sync", DIRECTORY) in asked
        assert [event for event in asked if event[1] == file][-1] == ("sync", file)
        assert store.epoch == 0
    asked = calls.since(lambda: vstore.open(path).close())
    assert ("sync", DIRECTORY) in asked  # its entry may be what another writer died behind
    assert ("sync", file) in asked
    assert calls.since(lambda: vstore.open(path, mode="r").close()) == []


def test_a_relaxed_commit_is_synced_when_it_is_asked_for_or_closed(
    tmp_path: Path, calls: Calls
) -> None:
    path = tmp_path / "s.vstore"
    store = vstore.open(path, durability="relaxed")
    docs = documents(store)
    file = path.stat().st_ino
    for end in (store.sync, store.close):  # whether a second is over before or not
        asked = calls.since(lambda end=end: (write(docs, 1)(), end()))  # type: ignore[misc]
        assert asked[0] == ("write", file)
        assert [event for event in asked if event[1] == file][-1] == ("sync", file)


def test_a_vacuum_syncs_the_copy_before_it_takes_the_place_and_the_entry_after(
    tmp_path: Path, calls: Calls
) -> None:
    path = tmp_path / "s.vstore"
    with vstore.open(path) as store:
        docs = documents(store)
        docs.upsert(range(100), vectors={OLD: rows(100)})
        docs.delete(range(50))
        asked = calls.since(store.vacuum)
        file = path.stat().st_ino
        renamed = asked.index(("rename", file))
        assert asked[renamed - 1] == ("sync", file)
        assert ("write", file) not in asked[renamed:]
        assert asked[renamed + 1] == ("sync", DIRECTORY)
        assert calls.since(write(docs, 7)) == commit(file)
