"""Where a store is: symbolic links, relative paths, and the permissions of its file."""

from __future__ import annotations

import os
import stat
import sys
from typing import TYPE_CHECKING

import pytest

import vstore
from vstore.storage.file import PathMedium

if TYPE_CHECKING:
    from pathlib import Path

posix = pytest.mark.skipif(sys.platform == "win32", reason="links and modes of POSIX")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    folder = tmp_path / "data"
    folder.mkdir()
    path = folder / "docs.vstore"
    with vstore.open(path) as store:
        store.create_collection("docs").upsert(["a", "b"])
    return path


def ids(path: Path | str) -> list[str | int]:
    with vstore.open(path, mode="r") as store:
        return store.collection("docs").ids()


@posix
def test_a_vacuum_through_a_link_replaces_the_file_and_keeps_the_link(
    path: Path, tmp_path: Path
) -> None:
    link = tmp_path / "link.vstore"
    link.symlink_to(path)
    with vstore.open(path, mode="r") as reader, vstore.open(link) as store:
        store.collection("docs").delete(["a"])
        store.vacuum()
        store.collection("docs").upsert(["c"])
        assert reader.refresh()
        assert reader.collection("docs").ids() == ["b", "c"]
        with pytest.raises(vstore.LockedError):
            vstore.open(path)
    assert link.is_symlink()
    assert ids(path) == ids(link) == ["b", "c"]
    assert {file.name for file in tmp_path.iterdir()} == {"data", "link.vstore"}


@posix
def test_a_link_to_nothing_yet_makes_the_store_where_it_leads(path: Path, tmp_path: Path) -> None:
    target, link = path.parent / "new.vstore", tmp_path / "link.vstore"
    link.symlink_to(target)
    with vstore.open(link) as store:
        store.create_collection("docs").upsert(["a"])
        store.vacuum()
    assert ids(target) == ["a"]
    assert link.is_symlink()


def test_a_store_keeps_its_place_when_the_directory_changes(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(path.parent)
    with vstore.open(path.name, mode="r") as reader:
        with vstore.open(path.name) as store:
            monkeypatch.chdir(tmp_path)
            store.collection("docs").delete(["a"])
            store.vacuum()
            assert store.path == path.name  # as it was given
        assert reader.refresh()
        assert reader.collection("docs").ids() == ["b"]
    assert [file.name for file in tmp_path.iterdir()] == ["data"]
    assert ids(path) == ["b"]


@posix
def test_a_path_in_a_directory_that_is_gone_is_an_error_of_vstore(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    with pytest.raises(vstore.VstoreError):
        vstore.open("docs.vstore")


@posix
@pytest.mark.parametrize("mode", [0o600, 0o640, 0o664, 0o444])
def test_a_vacuum_keeps_the_permissions(path: Path, mode: int) -> None:
    before = os.umask(0o027)
    try:
        with vstore.open(path) as store:
            path.chmod(mode)
            store.vacuum()
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == mode


@posix
def test_the_copy_is_as_private_as_the_store_while_it_is_written(path: Path) -> None:
    path.chmod(0o600)
    before = os.umask(0)
    try:
        replacement = PathMedium(path).open_replacement(bytes(16))
    finally:
        os.umask(before)
    assert stat.S_IMODE(os.fstat(replacement.fd).st_mode) == 0o600
    replacement.close()


@posix
@pytest.mark.skipif(sys.platform != "win32" and os.geteuid() != 0, reason="only root gives away")
def test_a_vacuum_keeps_the_owner(path: Path) -> None:
    os.chown(path, 1234, 2345)
    with vstore.open(path) as store:
        store.vacuum()
    status = path.stat()
    assert (status.st_uid, status.st_gid) == (1234, 2345)


def test_a_missing_file_is_told_with_what_would_make_it(tmp_path: Path) -> None:
    path = tmp_path / "none.vstore"
    with pytest.raises(vstore.NotFoundError, match="Leave out create=False"):
        vstore.open(path, create=False)
    with pytest.raises(vstore.NotFoundError, match="mode='rw'"):
        vstore.open(path, mode="r")
