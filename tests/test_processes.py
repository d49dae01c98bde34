"""Several processes on one file: one writer, any number of readers, forks, and deaths."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

import vstore

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[1]
GROUP = 5  # documents that every commit of the writer changes together
READERS = 3
DEADLINE_S = 60.0

linux = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")


def python(code: str, *arguments: object) -> subprocess.Popen[str]:
    """Start another process."""
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code), *map(str, arguments)],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finished(process: subprocess.Popen[str]) -> str:
    """Return what a process printed, once it has ended well."""
    out, err = process.communicate(timeout=DEADLINE_S + 60)
    assert process.returncode == 0, err[-3000:]
    return out.strip()


@pytest.fixture
def path(tmp_path: Path) -> Iterator[Path]:
    """A store with one document."""
    path = tmp_path / "shared.vstore"
    with vstore.open(path) as store:
        docs = store.create_collection("docs", fields={"n": "int"})
        docs.create_version("v1", vstore.EmbeddingSpec("model", 4))
        docs.upsert(["a"], vectors={"v1": np.ones((1, 4), np.float32)}, metadata=[{"n": 0}])
    yield path
    assert [entry.name for entry in tmp_path.iterdir()] == ["shared.vstore"], "stray files"


WRITER = """
import sys, threading
import numpy as np
import vstore
path, group = sys.argv[1], int(sys.argv[2])
told_to_stop = threading.Event()
threading.Thread(target=lambda: (sys.stdin.read(), told_to_stop.set()), daemon=True).start()
rng = np.random.default_rng(0)
with vstore.open(path) as store:
    docs = store.collection("docs")
    n = 0
    while not told_to_stop.is_set():
        n += 1
        vectors = rng.standard_normal((group, 4)).astype(np.float32)
        ids = [f"k{i}" for i in range(group)]
        docs.upsert(ids, vectors={"v1": vectors}, metadata=[{"n": n}] * group)
        if n % 10 == 0:
            docs.upsert([f"bulk{n}-{i}" for i in range(1100)])
        if n % 60 == 0:
            store.vacuum()
print(n)
"""

READER = """
import json, sys
import numpy as np
import vstore
path, moves, group = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
problems, epochs, reads = [], [], 0
with vstore.open(path, mode="r") as store:
    docs = store.collection("docs")
    while len(set(epochs)) <= moves and not problems:
        store.refresh()
        epochs.append(store.epoch)
        view = store.snapshot().collection("docs")
        found = view.get_many([f"k{i}" for i in range(group)])
        values = {document.metadata["n"] for document in found if document}
        if len(values) > 1 or any(found) != all(found):
            problems.append(f"epoch {store.epoch}: half a commit, {values}")
        hits = view.search(np.ones(4, np.float32), version="v1", k=group + 1)
        if len(hits) != 1 + sum(document is not None for document in found):
            problems.append(f"epoch {store.epoch}: {len(hits)} hits")
        reads += 1
if epochs != sorted(epochs):
    problems.append("epochs went back")
print(json.dumps({"problems": problems, "reads": reads, "epochs": len(set(epochs))}))
"""


@pytest.mark.parametrize("moves", [pytest.param(400, marks=pytest.mark.slow), 40])
def test_readers_see_whole_commits_in_order_while_another_process_writes(
    path: Path, moves: int
) -> None:
    """The writer goes on until every reader has seen the store move so many times."""
    writer = python(WRITER, path, GROUP)
    readers = [python(READER, path, moves, GROUP) for _ in range(READERS)]
    try:
        for reader in readers:
            report = json.loads(finished(reader))
            assert report["problems"] == []
            assert report["epochs"] > moves
        commits = int(finished(writer))  # whose standard input ends here
    finally:
        for process in (writer, *readers):
            process.kill()
    with vstore.open(path) as store:
        assert store.check().ok
        found = store.collection("docs").get("k0")
        assert found is not None
        assert found.metadata["n"] == commits


HOLDER = """
import sys, time
import vstore
store = vstore.open(sys.argv[1])
print("open", flush=True)
time.sleep(float(sys.argv[2]))
"""


def holder(path: Path, seconds: float) -> subprocess.Popen[str]:
    """Start a process that has the store open for writing."""
    process = python(HOLDER, path, seconds)
    assert process.stdout is not None
    assert process.stdout.readline() == "open\n"
    return process


def killed(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.communicate()


def test_a_second_writer_is_refused_at_once(path: Path) -> None:
    other = holder(path, DEADLINE_S)
    with pytest.raises(vstore.LockedError, match="another writer"):
        vstore.open(path)
    with vstore.open(path, mode="r") as reader:
        assert len(reader.collection("docs")) == 1
    killed(other)


def test_a_second_writer_may_wait(path: Path) -> None:
    other = holder(path, 0.5)
    with vstore.open(path, timeout_s=DEADLINE_S) as store:
        assert store.writable
    finished(other)


def test_the_lock_dies_with_its_process(path: Path) -> None:
    killed(holder(path, DEADLINE_S))
    with vstore.open(path) as store:
        assert store.writable


def test_closing_another_descriptor_of_the_file_keeps_the_lock(path: Path) -> None:
    with vstore.open(path):
        path.open("rb").close()
        os.close(os.open(path, os.O_RDWR))
        with vstore.open(path, mode="r"):
            pass
        with pytest.raises(vstore.LockedError):
            vstore.open(path)


FORKING = """
import os, sys
import vstore
store = vstore.open(sys.argv[1])
if store.path == ":memory:":
    store.create_collection("docs").upsert(["a"])
docs = store.collection("docs")
child = os.fork()
if not child:
    outcomes = []
    for act in (lambda: docs.get("a"), lambda: docs.upsert(["b"]), store.check):
        try:
            act()
        except vstore.ClosedError:
            outcomes.append("closed")
    store.close()
    os._exit(0 if outcomes == ["closed"] * 3 else 1)
code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
docs.upsert(["c"])
print(code, "c" in docs)
"""


@linux
@pytest.mark.parametrize("place", ["file", "memory"])
def test_a_forked_handle_is_closed_and_its_parent_is_not(path: Path, place: str) -> None:
    assert finished(python(FORKING, path if place == "file" else ":memory:")) == "0 True"


HASHING = """
import os, signal, sys
import numpy as np
import vstore
with vstore.open(sys.argv[1], indexing="manual") as store:
    docs = store.collection("docs")
    rows = np.ones((100_000, 4), np.float32)
    docs.upsert([f"k{i}" for i in range(len(rows))], vectors={"v1": rows})
child = os.fork()
if not child:
    signal.alarm(60)
    with vstore.open(sys.argv[1], mode="r", verify="full") as store:
        os._exit(0 if len(store.collection("docs")) == 100_001 else 1)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


@linux
def test_a_forked_child_can_verify_large_arrays_as_its_parent_did(path: Path) -> None:
    assert finished(python(HASHING, path)) == "0"


ORPHANING = """
import os, sys, time
import vstore
store = vstore.open(sys.argv[1])
if not os.fork():
    os.close(1)
    os.close(2)
    time.sleep(float(sys.argv[2]))
    os._exit(0)
os._exit(0)
"""


@linux
def test_a_forked_child_does_not_keep_the_lock_of_a_dead_parent(path: Path) -> None:
    finished(python(ORPHANING, path, 5))
    with vstore.open(path) as store:
        assert store.writable


UNPRIVILEGED = """
import os, sys
from pathlib import Path
import numpy as np
import vstore
path = Path(sys.argv[1])
query = np.ones(4, np.float32)

def look():
    with vstore.open(path, mode="r") as store:
        assert store.check().ok
        return store.collection("docs").search(query, version="v1").ids

look()  # everything is imported before the rights to read the interpreter's files are given up
path.chmod(0o444)
path.parent.chmod(0o555)
if os.geteuid() == 0:
    for folder in path.parents:  # pytest's own folders are the user's alone
        if folder.stat().st_mode & 0o005 != 0o005:
            folder.chmod(folder.stat().st_mode | 0o005)
    os.setgroups([])
    os.setegid(65534)
    os.seteuid(65534)
try:
    (path.parent / "stray").touch()
    print("the folder can be written, this is no test")
except PermissionError:
    try:
        vstore.open(path)
        print("opened for writing")
    except vstore.StorageError:
        print(look())
"""


@linux
def test_a_read_only_file_in_a_read_only_folder_can_be_read(path: Path) -> None:
    try:
        assert finished(python(UNPRIVILEGED, path)) == "['a']"
    finally:
        path.parent.chmod(0o755)


def test_a_reader_keeps_its_snapshot_through_a_vacuum(path: Path) -> None:
    with vstore.open(path, mode="r") as reader:
        before = reader.epoch
        done = python(
            """
            import sys
            import vstore
            with vstore.open(sys.argv[1]) as store:
                store.collection("docs").delete(["a"])
                store.vacuum()
            """,
            path,
        )
        finished(done)
        docs = reader.collection("docs")
        assert reader.epoch == before
        assert docs.search(np.ones(4, np.float32), version="v1").ids == ["a"]
        assert reader.refresh()
        assert reader.epoch > before
        assert len(docs) == 0


INTERRUPTED = """
import signal, sys, time
import vstore
signal.signal(signal.SIGINT, signal.default_int_handler)  # also where tests run in the background
with vstore.open(sys.argv[1]) as store:
    docs = store.collection("docs")
    with store.transaction() as tx:
        tx.upsert(docs, ["half"])
        print("inside", flush=True)
        time.sleep(60)
"""


@linux
def test_ctrl_c_inside_a_transaction_leaves_nothing_of_it(path: Path) -> None:
    process = python(INTERRUPTED, path)
    assert process.stdout is not None
    assert process.stdout.readline() == "inside\n"
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=DEADLINE_S)
    assert "KeyboardInterrupt" in err
    with vstore.open(path) as store:
        assert store.collection("docs").ids() == ["a"]
        assert store.check().ok
