"""Files that are renamed, removed, replaced or written over while a store is open on them."""

from __future__ import annotations

import errno
import os
import shutil
import socket
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

import vstore
from vstore.engine import vacuum as vacuums
from vstore.storage.layout import FORMAT_MAJOR, SLOT_BYTES
from vstore.storage.superblock import decode

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import FrameType

ROOT = Path(__file__).parents[1]
WAIT_S = 60.0

pytestmark = pytest.mark.skipif(
    sys.platform == "win32", reason="Windows neither renames nor replaces an open file"
)


def make(path: Path, *ids: str) -> Path:
    """Make a store whose documents are of two commits, and close it."""
    with vstore.open(path) as store:
        docs = store.create_collection("docs")
        docs.create_version("v1", vstore.EmbeddingSpec("model", 4))
        for name in ids:
            docs.upsert([name], vectors={"v1": np.ones((1, 4), np.float32)}, texts=[name])
    return path


def ids(path: Path) -> list[str | int]:
    with vstore.open(path, mode="r") as store:
        return store.collection("docs").ids()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    folder = tmp_path / "data"
    folder.mkdir()
    return make(folder / "docs.vstore", "old-1", "old-2")


@pytest.fixture
def other(tmp_path: Path) -> Path:
    return make(tmp_path / "other.vstore", "other-1")


@pytest.fixture
def backup(path: Path, tmp_path: Path) -> Path:
    """A copy of the store, from before its last commit."""
    copy = shutil.copyfile(path, tmp_path / "backup.vstore")
    with vstore.open(path) as store:
        store.collection("docs").upsert(["old-3"], texts=["after the backup"])
    return copy


def move_away(path: Path, _other: Path) -> None:
    path.rename(path.with_name("elsewhere.vstore"))


def remove(path: Path, _other: Path) -> None:
    path.unlink()


def replace(path: Path, other: Path) -> None:
    shutil.copyfile(other, path.with_name("restoring"))
    path.with_name("restoring").replace(path)


def copy_over(path: Path, other: Path) -> None:
    shutil.copyfile(other, path)


def empty(path: Path, _other: Path) -> None:
    path.write_bytes(b"")


def move_folder(path: Path, _other: Path) -> None:
    path.parent.rename(path.parent.with_name("moved"))


def replace_folder(path: Path, other: Path) -> None:
    move_folder(path, other)
    path.parent.mkdir()
    shutil.copyfile(other, path)


def put_folder(path: Path, _other: Path) -> None:
    path.unlink()
    path.mkdir()


def put_fifo(path: Path, _other: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def put_socket(path: Path, _other: Path) -> None:
    path.unlink()
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))


def put_text(path: Path, _other: Path) -> None:
    path.unlink()
    path.write_text("the password of the wireless network\n" * 1000)


def put_empty(path: Path, _other: Path) -> None:
    path.unlink()
    path.touch()


def put_circle(path: Path, _other: Path) -> None:
    path.unlink()
    path.symlink_to(path.name)


def put_file_for_folder(path: Path, other: Path) -> None:
    move_folder(path, other)
    path.parent.touch()


def write_text_over(path: Path, _other: Path) -> None:
    path.write_text("the password of the wireless network\n" * 1000)


def replace_by_damaged(path: Path, other: Path) -> None:
    replace(path, other)
    path.write_bytes(path.read_bytes()[: 2 * SLOT_BYTES + 10])


def replace_by_other_format(path: Path, other: Path) -> None:
    replace(path, other)
    head = path.read_bytes()[:SLOT_BYTES]
    newer = decode(head)
    assert newer is not None
    slot = newer._replace(format_major=FORMAT_MAJOR + 1).encode()
    path.write_bytes(slot + slot + path.read_bytes()[2 * SLOT_BYTES :])


def copy_half_over(path: Path, other: Path) -> None:
    """As a copy over the file looks before it is complete: one slot of each store."""
    with path.open("r+b") as file:
        file.write(other.read_bytes()[:SLOT_BYTES])


MOVES = [
    move_away,
    remove,
    replace,
    copy_over,
    empty,
    move_folder,
    replace_folder,
    put_folder,
    put_fifo,
    put_socket,
    put_text,
    put_empty,
    put_circle,
    put_file_for_folder,
    write_text_over,
    replace_by_damaged,
    replace_by_other_format,
    copy_half_over,
]


def upsert(store: vstore.Store) -> object:
    return store.collection("docs").upsert(["x"], texts=["x"])


def in_transaction(store: vstore.Store) -> None:
    with store.transaction() as tx:
        tx.upsert(store.collection("docs"), ["x"])


def migrate(store: vstore.Store) -> object:
    return store.collection("docs").migration.backfill(
        "v1", lambda docs: np.ones((len(docs), 4), "f4")
    )


def delete(store: vstore.Store) -> object:
    return store.collection("docs").delete(["old-1"])


def create(store: vstore.Store) -> object:
    return store.create_collection("more")


def tag(store: vstore.Store) -> object:
    return store.tag("now")


WRITES: list[Callable[[vstore.Store], object]] = [
    upsert,
    in_transaction,
    migrate,
    delete,
    create,
    tag,
    vstore.Store.optimize,
    vstore.Store.vacuum,
    vstore.Store.flush_metrics,
]


def everything(folder: Path) -> dict[str, bytes]:
    return {str(p): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


@pytest.mark.parametrize("move", MOVES)
@pytest.mark.parametrize("write", WRITES)
def test_no_write_is_acknowledged_once_the_path_names_another_file(
    move: Callable[[Path, Path], None],
    write: Callable[[vstore.Store], object],
    path: Path,
    other: Path,
    tmp_path: Path,
) -> None:
    store = vstore.open(path)
    store.collection("docs").search(np.ones(4, np.float32), version="v1")
    move(path, other)
    before = everything(tmp_path)
    with pytest.raises(vstore.FileMovedError, match=r"docs\.vstore") as caught:
        write(store)
    assert caught.value.path == str(path)
    store.close()
    assert everything(tmp_path) == before


def test_what_a_transaction_began_before_the_move_is_not_committed(path: Path, other: Path) -> None:
    store = vstore.open(path)

    def write() -> None:
        with store.transaction() as tx:
            tx.upsert(store.collection("docs"), ["x"])
            replace(path, other)

    with pytest.raises(vstore.FileMovedError):
        write()
    store.close()
    assert ids(path) == ["other-1"]


def test_a_vacuum_leaves_alone_what_was_restored_while_it_copied(
    path: Path, other: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = vstore.open(path)
    before: dict[str, bytes] = {}
    append = vacuums._append_full

    def restored_meanwhile(*arguments: object, **named: object) -> object:
        done = append(*arguments, **named)  # type: ignore[arg-type]
        replace(path, other)
        before.update(everything(tmp_path))
        return done

    monkeypatch.setattr(vacuums, "_append_full", restored_meanwhile)
    with pytest.raises(vstore.FileMovedError):
        store.vacuum()
    store.close()
    assert ids(path) == ["other-1"]
    assert not path.with_name("docs.vstore-vacuum").exists()


def test_a_vacuum_whose_folder_became_a_file_says_that_its_file_moved(
    path: Path, other: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = vstore.open(path)
    append = vacuums._append_full

    def moved_meanwhile(*arguments: object, **named: object) -> object:
        put_file_for_folder(path, other)
        return append(*arguments, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(vacuums, "_append_full", moved_meanwhile)
    with pytest.raises(vstore.FileMovedError):
        store.vacuum()
    store.close()
    assert ids(path.parent.with_name("moved") / path.name) == ["old-1", "old-2"]


def test_a_file_that_comes_back_is_written_again(path: Path) -> None:
    with vstore.open(path) as store:
        path.rename(path.with_name("elsewhere"))
        with pytest.raises(vstore.FileMovedError):
            upsert(store)
        path.with_name("elsewhere").rename(path)
        upsert(store)
        store.vacuum()
        upsert(store)
    assert ids(path) == ["old-1", "old-2", "x"]


def test_a_file_that_was_written_over_takes_no_more_writes(path: Path, other: Path) -> None:
    saved = path.read_bytes()
    with vstore.open(path) as store:
        copy_over(path, other)
        for write in (upsert, upsert):
            with pytest.raises(vstore.StorageError):
                write(store)
        path.write_bytes(saved)  # what was read of the other content meanwhile, nobody knows
        with pytest.raises(vstore.FileMovedError, match="open the store again"):
            upsert(store)
    assert path.read_bytes() == saved


def test_relaxed_commits_are_not_settled_into_what_was_copied_over_them(
    path: Path, other: Path
) -> None:
    store = vstore.open(path, durability="relaxed")
    upsert(store)
    copy_over(path, other)
    before = path.read_bytes()
    with pytest.raises(vstore.FileMovedError):
        store.close()
    assert store.closed
    assert path.read_bytes() == before


@pytest.mark.parametrize("move", [move_away, remove, replace])
def test_relaxed_commits_that_nobody_would_find_are_not_called_durable(
    move: Callable[[Path, Path], None], path: Path, other: Path
) -> None:
    store = vstore.open(path, durability="relaxed")
    upsert(store)
    move(path, other)
    with pytest.raises(vstore.FileMovedError):
        store.sync()
    with pytest.raises(vstore.FileMovedError):
        store.close()
    assert store.closed


def test_a_copy_with_one_more_commit_is_another_file(path: Path, tmp_path: Path) -> None:
    copy = shutil.copyfile(path, tmp_path / "copy.vstore")
    store = vstore.open(path)
    with vstore.open(copy) as other_store:
        upsert(other_store)
    copy_over(path, copy)
    for write in (vstore.Store.optimize, upsert):
        with pytest.raises(vstore.StorageError):
            write(store)
    store.close()
    assert ids(path) == ["old-1", "old-2", "x"]


def test_a_vacuum_does_not_replace_what_its_path_names_now(
    path: Path, other: Path, tmp_path: Path
) -> None:
    """The link is followed to where the store is now; where it was, there is another store."""
    link = tmp_path / "current.vstore"
    link.symlink_to(path)
    with vstore.open(link) as store:
        moved = path.rename(path.with_name("moved.vstore"))
        link.unlink()
        link.symlink_to(moved)
        shutil.copyfile(other, path)
        with pytest.raises(vstore.FileMovedError):
            store.vacuum()
    assert ids(path) == ["other-1"]
    assert ids(moved) == ["old-1", "old-2"]


@pytest.mark.parametrize("content", ["text", "store", "open store", "folder", "link"])
def test_what_is_not_a_vacuums_own_copy_is_left_alone(
    content: str, path: Path, other: Path
) -> None:
    copy = path.with_name("docs.vstore-vacuum")
    neighbour: vstore.Store | None = None
    if content == "text":
        copy.write_text("my notes on vacuuming")
    elif content == "folder":
        copy.mkdir()
    elif content == "link":
        copy.symlink_to(other)
    else:
        shutil.copyfile(other, copy)
        neighbour = vstore.open(copy) if content == "open store" else None
    with vstore.open(path) as store:
        upsert(store)
        with pytest.raises(vstore.StorageError, match="something else"):
            store.vacuum()
        upsert(store)
    assert copy.exists()
    if neighbour is not None:
        upsert(neighbour)
        neighbour.close()


@pytest.mark.parametrize("started", [0, 5, 10_000])
def test_a_copy_that_a_vacuum_left_behind_is_removed(started: int, path: Path) -> None:
    copy = path.with_name("docs.vstore-vacuum")
    copy.write_bytes(bytes(started))
    with vstore.open(path) as store:
        assert not copy.exists()
        copy.write_bytes(path.read_bytes())
        store.vacuum()
    assert not copy.exists()


def test_a_vacuum_that_cannot_rename_leaves_a_handle_that_goes_on(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with vstore.open(path) as store:

        def refuse(*_: object) -> None:
            raise OSError(16, "Device or resource busy")

        with monkeypatch.context() as patched:
            patched.setattr("vstore.storage.file.os.replace", refuse)
            with pytest.raises(vstore.StorageError, match="busy"):
                store.vacuum()
        assert list(path.parent.iterdir()) == [path]
        upsert(store)
        store.vacuum()
    assert ids(path) == ["old-1", "old-2", "x"]


def test_an_older_backup_that_is_restored_keeps_its_state(path: Path, backup: Path) -> None:
    for restore in (replace, copy_over):
        with vstore.open(path) as store:
            upsert(store)
            restore(path, backup)
            with pytest.raises(vstore.FileMovedError):
                upsert(store)
            with pytest.raises(vstore.StorageError):
                store.vacuum()
        assert ids(path) == ["old-1", "old-2"]


def test_a_link_that_leads_elsewhere_is_another_file(
    path: Path, other: Path, tmp_path: Path
) -> None:
    link = tmp_path / "current.vstore"
    link.symlink_to(path)
    with vstore.open(link) as store, vstore.open(link, mode="r") as reader:
        upsert(store)
        link.unlink()
        link.symlink_to(other)
        before = everything(tmp_path)
        for write in (upsert, vstore.Store.vacuum):
            with pytest.raises(vstore.FileMovedError):
                write(store)
        with pytest.raises(vstore.FileMovedError):
            reader.refresh()
        assert everything(tmp_path) == before
        link.unlink()
        link.symlink_to(path)
        store.collection("docs").upsert(["y"])
        assert reader.refresh()
    assert ids(path) == ["old-1", "old-2", "x", "y"]


@pytest.mark.parametrize("move", MOVES)
def test_a_reader_is_told_and_goes_on_with_what_it_has(
    move: Callable[[Path, Path], None], path: Path, other: Path
) -> None:
    with vstore.open(path, mode="r") as reader:
        epoch = reader.epoch
        docs = reader.collection("docs")
        assert docs.get_vectors("old-1", "v1")[0] is not None
        move(path, other)
        for _ in range(2):
            with pytest.raises(vstore.FileMovedError, match="open the store again") as refused:
                reader.refresh()
            assert refused.value.path == str(path)
        assert reader.epoch == epoch
        assert docs.ids() == ["old-1", "old-2"]
        assert docs.search(np.ones(4, np.float32), version="v1").ids == ["old-1", "old-2"]


def test_a_reader_follows_a_vacuum_and_commits_behind_it(path: Path) -> None:
    with vstore.open(path) as store, vstore.open(path, mode="r") as reader:
        for number in range(3):
            store.collection("docs").upsert([f"x{number}"])
            store.vacuum()
            store.vacuum()
            store.collection("docs").upsert([f"y{number}"])
            assert reader.refresh()
            assert not reader.refresh()
            assert reader.collection("docs").ids() == store.collection("docs").ids()


@pytest.mark.parametrize("restore", [replace, copy_over])
def test_a_reader_does_not_go_back_to_an_older_copy(
    restore: Callable[[Path, Path], None], path: Path, backup: Path
) -> None:
    with vstore.open(path, mode="r") as reader:
        restore(path, backup)
        with pytest.raises(vstore.FileMovedError, match="older copy"):
            reader.refresh()


@pytest.mark.parametrize("restore", [replace, copy_over])
@pytest.mark.parametrize("vacuumed", [False, True])
@pytest.mark.parametrize("commits", [1, 4])
def test_a_reader_does_not_follow_a_copy_that_went_on_differently(
    restore: Callable[[Path, Path], None], path: Path, backup: Path, *, vacuumed: bool, commits: int
) -> None:
    with vstore.open(backup) as store:
        for number in range(commits):
            store.collection("docs").upsert([f"another {number}"])
        if vacuumed:
            store.vacuum()
    with vstore.open(path, mode="r") as reader:
        restore(path, backup)
        with pytest.raises(vstore.FileMovedError, match="copy"):
            reader.refresh()


def test_a_reader_follows_a_copy_of_the_very_store_that_went_on(path: Path, tmp_path: Path) -> None:
    """As after a restored snapshot of the machine, or a file that was copied to another disk."""
    with vstore.open(path, mode="r") as reader:
        copy = shutil.copyfile(path, tmp_path / "copy.vstore")
        with vstore.open(copy) as store:
            upsert(store)
            store.vacuum()
        copy.replace(path)
        assert reader.refresh()
        assert reader.collection("docs").ids() == ["old-1", "old-2", "x"]


CHILD = """
    import sys
    import numpy as np
    import vstore
    store = vstore.open(sys.argv[1], mode=sys.argv[2])
    docs = store.collection("docs")
    print("open", flush=True)
    for line in sys.stdin:
        try:
            if line == "vacuum\\n":
                store.vacuum()
            elif line == "refresh\\n":
                store.refresh()
            elif line == "ids\\n":
                print(*docs.ids(), flush=True)
                continue
            else:
                docs.upsert([line.strip()], vectors={"v1": np.ones((1, 4), np.float32)})
            print("done", flush=True)
        except vstore.VstoreError as error:
            print(type(error).__name__, flush=True)
    store.close()
"""


class Process:
    """A handle in another process, which does what it is told."""

    def __init__(self, path: Path, mode: str = "rw") -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(CHILD), str(path), mode],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._answer() == "open"

    def _answer(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline().strip()

    def do(self, what: str) -> str:
        assert self._process.stdin is not None
        self._process.stdin.write(what + "\n")
        self._process.stdin.flush()
        return self._answer()

    def end(self) -> None:
        self._process.communicate(timeout=WAIT_S)


@pytest.fixture
def writer(path: Path) -> Iterator[Process]:
    process = Process(path)
    yield process
    process.end()


@pytest.fixture
def distant_reader(path: Path) -> Iterator[Process]:
    process = Process(path, "r")
    yield process
    process.end()


def test_a_restored_and_reopened_store_is_safe_from_the_process_before(
    path: Path, other: Path, writer: Process
) -> None:
    assert writer.do("a") == "done"
    replace(path, other)
    with vstore.open(path) as store:
        store.collection("docs").upsert(["new-1"])
        assert writer.do("b") == "FileMovedError"
        assert writer.do("vacuum") == "FileMovedError"
        store.collection("docs").upsert(["new-2"])
        store.vacuum()
        store.collection("docs").upsert(["new-3"])
        assert writer.do("vacuum") == "FileMovedError"
    assert ids(path) == ["other-1", "new-1", "new-2", "new-3"]
    assert list(path.parent.iterdir()) == [path]


def test_a_copy_over_the_file_of_another_process_is_noticed_by_it(
    path: Path, other: Path, writer: Process
) -> None:
    assert writer.do("a") == "done"
    copy_over(path, other)
    assert writer.do("b") == "FileMovedError"
    assert writer.do("vacuum") == "FileMovedError"
    assert ids(path) == ["other-1"]


def test_a_reader_of_another_processes_store_follows_its_vacuum_only(
    path: Path, other: Path, writer: Process
) -> None:
    with vstore.open(path, mode="r") as reader:
        assert writer.do("a") == writer.do("vacuum") == writer.do("b") == "done"
        assert reader.refresh()
        assert reader.collection("docs").ids() == ["old-1", "old-2", "a", "b"]
        replace(path, other)
        with pytest.raises(vstore.FileMovedError):
            reader.refresh()


@pytest.mark.parametrize(
    ("refusal", "expected"),
    [(errno.EMFILE, vstore.StorageError), (errno.EACCES, vstore.FileMovedError)],
)
def test_a_lack_of_descriptors_is_not_taken_for_a_file_that_moved(
    refusal: int, expected: type[Exception], path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> int:
        raise OSError(refusal, os.strerror(refusal))

    with vstore.open(path) as store, vstore.open(path, mode="r") as reader:
        store.vacuum()
        with monkeypatch.context() as patched:
            patched.setattr("vstore.storage.descriptor.os.open", refuse)
            with pytest.raises(vstore.StorageError, match=os.strerror(refusal)) as refused:
                reader.refresh()
        assert type(refused.value) is expected
        assert reader.refresh()


@pytest.mark.parametrize("move", MOVES)
def test_a_reader_in_another_process_is_told_and_goes_on(
    move: Callable[[Path, Path], None], path: Path, other: Path, distant_reader: Process
) -> None:
    with vstore.open(path) as store:
        upsert(store)
        assert distant_reader.do("refresh") == "done"
    move(path, other)
    for _ in range(2):
        assert distant_reader.do("refresh") == "FileMovedError"
        assert distant_reader.do("ids") == "old-1 old-2 x"


def test_a_refresh_refuses_another_history_each_time(path: Path, tmp_path: Path) -> None:
    """Also the second time, when the reader has seen the other history's superblock."""
    copy = tmp_path / "copy.vstore"
    shutil.copyfile(path, copy)
    with vstore.open(path) as store:
        upsert(store)
    with vstore.open(path, mode="r") as reader:
        known = reader.collection("docs").ids()
        with vstore.open(copy) as store:
            for number in range(4):
                store.collection("docs").upsert([f"other {number}"], texts=["y" * number])
        path.write_bytes(copy.read_bytes())
        for _ in range(3):
            with pytest.raises(vstore.FileMovedError, match="of another commit"):
                reader.refresh()
        assert reader.collection("docs").ids() == known


def test_a_refresh_that_was_interrupted_is_made_up_for_by_the_next(path: Path) -> None:
    def interrupt(frame: FrameType, event: str, _argument: object) -> None:
        if event == "call" and frame.f_code.co_name == "load_snapshot":
            sys.settrace(None)
            raise KeyboardInterrupt

    with vstore.open(path) as store, vstore.open(path, mode="r") as reader:
        upsert(store)
        sys.settrace(interrupt)
        try:
            with pytest.raises(KeyboardInterrupt):
                reader.refresh()
        finally:
            sys.settrace(None)
        assert reader.refresh()
        assert reader.epoch == store.epoch
        assert not reader.refresh()


def test_relaxed_commits_in_a_file_that_moved_are_not_called_unwritten(path: Path) -> None:
    store = vstore.open(path, durability="relaxed")
    upsert(store)
    path.rename(path.with_suffix(".moved"))
    with pytest.raises(vstore.FileMovedError, match="may not survive a power loss") as refused:
        store.close()
    assert "Nothing was written" not in str(refused.value)
    assert store.closed


def test_a_file_that_was_shortened_takes_no_commit(path: Path) -> None:
    with vstore.open(path) as store:
        upsert(store)
    for missing in (1, 500):
        with vstore.open(path) as store:
            upsert(store)
            whole = path.read_bytes()
            with path.open("r+b") as file:
                file.truncate(len(whole) - missing)
            for write in (upsert, tag, lambda store: store.vacuum()):
                with pytest.raises(vstore.FileMovedError):  # each time, and as the same error
                    write(store)
            path.write_bytes(whole)
        with vstore.open(path) as store:
            assert store.check().ok
