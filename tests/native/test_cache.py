"""Where machine code is kept, whom that is trusted to, and that nothing is left elsewhere."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.native.test_loader import ASK, ROOT, asked
from vstore.native import cache, flavour, loader
from vstore.native.cache import UnusableCacheError, cache_directory

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="POSIX permissions")

STATUS = "from vstore.native import loader; print(loader.status())"
ROOT_USER = os.getuid() == 0 if hasattr(os, "getuid") else False


@pytest.fixture(autouse=True)
def no_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    """Start from an environment that says nothing."""
    for name in ("VSTORE_CACHE_DIR", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)


def wanted(monkeypatch: pytest.MonkeyPatch, path: Path | str) -> None:
    monkeypatch.setenv("VSTORE_CACHE_DIR", str(path))


def test_a_cache_is_made_for_its_user_alone_whatever_the_umask(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a" / "b" / "cache"
    wanted(monkeypatch, path)
    before = os.umask(0)
    try:
        assert cache_directory() == str(path)
    finally:
        os.umask(before)
    for folder in (path, path.parent, path.parent.parent):
        assert folder.stat().st_mode & 0o777 == 0o700
    assert cache_directory() == str(path)


@pytest.mark.parametrize("mode", [0o777, 0o770, 0o702, 0o720])
@pytest.mark.parametrize("depth", [0, 1, 2, 3])
def test_a_cache_that_others_could_replace_is_not_used_nor_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: int, depth: int
) -> None:
    folders = [tmp_path / "1", tmp_path / "1" / "2", tmp_path / "1" / "2" / "3"]
    path = folders[-1] / "cache"
    path.mkdir(parents=True, mode=0o700)
    for folder in (*folders, path):
        folder.chmod(0o700)
    wanted(monkeypatch, path)
    assert cache_directory() == str(path)
    open_to_others = [path, *folders[::-1]][depth]
    open_to_others.chmod(mode)
    with pytest.raises(UnusableCacheError, match=str(open_to_others)):
        cache_directory()
    if depth:
        path.rmdir()
        with pytest.raises(UnusableCacheError, match=r"others? users? may write|other users"):
            cache_directory()
        assert not path.exists(), "nothing is made there"
    open_to_others.chmod(0o755)
    cache_directory()


def test_a_sticky_folder_is_no_danger_to_what_is_ones_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shared = tmp_path / "shared"
    shared.mkdir()
    shared.chmod(0o1777)
    wanted(monkeypatch, shared / "mine" / "cache")
    assert cache_directory() == str(shared / "mine" / "cache")


@pytest.mark.skipif(not ROOT_USER, reason="gives a folder away")
@pytest.mark.parametrize("which", ["cache", "above", "sticky above"])
def test_a_folder_of_another_user_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, which: str
) -> None:
    above = tmp_path / "above"
    path = above / "cache"
    path.mkdir(parents=True)
    for folder in (above, path):
        folder.chmod(0o700)
    other = path if which == "cache" else above
    os.chown(other, 12_345, 12_345)
    if which == "sticky above":
        above.chmod(0o1777)
    wanted(monkeypatch, path)
    with pytest.raises(UnusableCacheError, match=str(other)):
        cache_directory()


def test_a_link_to_a_cache_is_not_followed_and_links_above_it_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = tmp_path / "real"
    real.mkdir(mode=0o700)
    (tmp_path / "link").symlink_to(real)
    for path in (tmp_path / "link", f"{tmp_path}/link/", f"{tmp_path}/link/."):
        wanted(monkeypatch, path)
        with pytest.raises(UnusableCacheError, match="link"):
            cache_directory()
    (tmp_path / "nowhere").symlink_to(tmp_path / "none")
    wanted(monkeypatch, tmp_path / "nowhere")
    with pytest.raises(UnusableCacheError, match="link"):
        cache_directory()
    wanted(monkeypatch, tmp_path / "link" / "cache")
    assert cache_directory() == str(real / "cache")
    real.chmod(0o777)  # where the link leads counts
    with pytest.raises(UnusableCacheError, match=str(real)):
        cache_directory()


def test_a_file_in_the_place_of_a_folder_is_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_bytes(b"")
    for path in (tmp_path / "file", tmp_path / "file" / "cache", tmp_path / "file" / "a" / "b"):
        wanted(monkeypatch, path)
        with pytest.raises(UnusableCacheError):
            cache_directory()
    assert [entry.name for entry in tmp_path.iterdir()] == ["file"]


def test_a_path_with_a_null_character_is_no_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache, "_wanted", lambda: "/tmp/a\0b")
    with pytest.raises(UnusableCacheError, match="null"):
        cache_directory()


@pytest.mark.parametrize("home", ["", "relative"])
def test_a_home_that_is_none_is_not_the_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, home: str
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", home)
    for xdg in (None, "", "relative"):
        if xdg is not None:
            monkeypatch.setenv("XDG_CACHE_HOME", xdg)
        with pytest.raises(UnusableCacheError, match="home"):
            cache_directory()
    assert not list(tmp_path.iterdir())
    if sys.platform == "linux":
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
        assert cache_directory() == str(tmp_path / "xdg" / "vstore")


def test_an_unset_home_is_that_of_the_users_entry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HOME")
    home = os.path.expanduser("~")  # noqa: PTH111 - as the cache does
    if os.path.isabs(home):  # noqa: PTH117
        assert cache._wanted().startswith(home)
    monkeypatch.setattr(os.path, "expanduser", lambda path: path)  # a user without an entry
    with pytest.raises(UnusableCacheError, match="VSTORE_CACHE_DIR"):
        cache_directory()


def test_a_tilde_and_a_relative_path_are_understood(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    wanted(monkeypatch, "~/cache")
    assert cache_directory() == str(tmp_path / "cache")
    monkeypatch.chdir(tmp_path)
    wanted(monkeypatch, "here")
    assert cache_directory() == str(tmp_path / "here")


def test_a_file_that_others_may_write_is_not_run(tmp_path: Path) -> None:
    path = tmp_path / "code"
    cache.write_code(str(path), b"code")
    assert cache.read_code(path, private=True) == b"code"
    for mode in (0o622, 0o620, 0o602):
        path.chmod(mode)
        assert cache.read_code(path, private=True) is None
    assert cache.read_code(tmp_path, private=True) is None


# What is left behind.


def environment(tmp_path: Path, cache_path: Path | str, **more: str) -> dict[str, str]:
    """Return an environment with a temporary directory of its own."""
    (tmp_path / "tmp").mkdir(exist_ok=True)
    return {"TMPDIR": str(tmp_path / "tmp"), "VSTORE_CACHE_DIR": str(cache_path), **more}


@pytest.fixture
def unusable(tmp_path: Path) -> Path:
    """The path of a cache below a file."""
    if flavour.host_flavour() is None:
        pytest.skip("this processor is not supported")
    (tmp_path / "file").write_bytes(b"")
    return tmp_path / "file" / "cache"


def test_without_a_cache_there_is_machine_code_and_nothing_is_left(
    tmp_path: Path, unusable: Path
) -> None:
    said = asked("build", **environment(tmp_path, unusable, VSTORE_NATIVE="wait"))
    assert said == "native False False"
    assert not list((tmp_path / "tmp").iterdir())


def test_without_a_cache_a_short_process_leaves_nothing_and_no_compiler(
    tmp_path: Path, unusable: Path
) -> None:
    code = f"{ASK}\nprint(loader._state.compiler.pid)"
    for end in ("", "\nimport os, signal; os.kill(os.getpid(), signal.SIGKILL)"):
        done = subprocess.run(
            [sys.executable, "-c", code + "\nsys.stdout.flush()" + end],
            cwd=ROOT,
            env={**os.environ, **environment(tmp_path, unusable)},
            stdout=subprocess.PIPE,
            text=True,
            check=False,
        )
        kernels, pid = done.stdout.strip().splitlines()
        assert kernels == "numpy False False"
        assert not list((tmp_path / "tmp").iterdir()), "an unnamed file leaves no trace"
        if not end:
            assert gone(int(pid)), "its work would be seen by nobody"


def gone(pid: int) -> bool:
    """Return whether a process ends, or has ended."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return True
        stat = Path(f"/proc/{pid}/stat")
        if stat.exists() and stat.read_text().rsplit(")", 1)[1].split()[0] == "Z":
            return True  # nobody asks for its exit code
        time.sleep(0.01)
    return False


def test_why_a_cache_is_not_used_is_said(tmp_path: Path) -> None:
    shared = tmp_path / "shared"
    shared.mkdir()
    shared.chmod(0o777)
    done = subprocess.run(
        [sys.executable, "-c", STATUS],
        cwd=ROOT,
        env={**os.environ, **environment(tmp_path, shared / "cache")},
        capture_output=True,
        text=True,
        check=True,
    )
    assert str(shared) in done.stdout
    assert "other users may write there" in done.stdout
    assert "VSTORE_CACHE_DIR is not used" in done.stderr
    assert done.stderr.count("not used") == 1
    assert not list(shared.iterdir())


def test_a_cache_on_a_read_only_disk_is_read_and_not_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted(monkeypatch, tmp_path / "cache")
    monkeypatch.setattr(loader, "is_writable", lambda directory: False)
    assert loader._trusted_cache() == str(tmp_path / "cache")
    assert loader._cache() is None
    assert "cannot be written" in str(loader.status()["cache_problem"])
