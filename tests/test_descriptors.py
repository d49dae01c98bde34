"""Descriptors and maps: a handful for each open file, whatever is in it and whatever happens."""

from __future__ import annotations

import contextlib
import gc
import os
import subprocess
import sys
import textwrap
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

import vstore
from tests.small_store import rows
from vstore.errors import ClosedError, VstoreError
from vstore.storage.file import PathMedium

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="counts them as Linux shows them")

ROOT = Path(__file__).parents[1]
HANDFUL = 4  # descriptors of one open file
WIDE = 2_000  # components: so 16 vectors are a block that is mapped


def descriptors() -> int:
    """Return how many this process has open."""
    return len(list(Path("/proc/self/fd").iterdir()))


def maps_of(path: Path) -> int:
    """Return how many maps of a file this process has."""
    lines = Path("/proc/self/maps").read_text(encoding="utf-8").splitlines()
    return sum(line.endswith(str(path)) for line in lines)


def fill(store: vstore.Store, collections: int, *, count: int = 16) -> None:
    """Make collections of two versions, with large blocks for each."""
    for number in range(collections):
        docs = store.create_collection(f"c{number}", fields={"tag": "keyword", "n": "int"})
        for label in ("v1", "v2"):
            docs.create_version(label, vstore.EmbeddingSpec(label, WIDE))
        ids = [f"{number}-{i}" for i in range(count)]
        metadata = [{"tag": "even" if i % 2 == 0 else "odd", "n": i} for i in range(count)]
        vectors = {label: rows(count, WIDE, seed=i) for i, label in enumerate(("v1", "v2"))}
        docs.upsert(ids, vectors=vectors, metadata=metadata)
    store.optimize()


def search_all(store: vstore.Store, collections: int) -> None:
    """Ask both versions of every collection, with a filter and without."""
    for number in range(collections):
        docs = store.collection(f"c{number}")
        for label in ("v1", "v2"):
            assert len(docs.search(rows(1, WIDE)[0], version=label, k=3).hits) == 3
        hits = docs.search(rows(1, WIDE)[0], version="v1", where=vstore.field("tag") == "odd").hits
        assert len(hits) == 8


@pytest.mark.parametrize("mode", ["r", "rw"])
def test_an_open_file_has_a_handful_of_descriptors_and_maps(mode: str, tmp_path: Path) -> None:
    path = tmp_path / "many.vstore"
    with vstore.open(path) as store:
        fill(store, 20)
    before = descriptors()
    with vstore.open(path, mode=mode) as store:  # type: ignore[arg-type]
        search_all(store, 20)
        assert descriptors() <= before + HANDFUL
        assert maps_of(path) <= HANDFUL
    del store
    gc.collect()
    assert descriptors() == before
    assert not maps_of(path), "the address space goes with the last array"


LIMITED = """
    import resource, sys
    import vstore
    from tests.test_descriptors import search_all
    path, limit, collections = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))
    with vstore.open(path, mode="r") as store:
        search_all(store, collections)
    with vstore.open(path) as store:
        search_all(store, collections)
"""


@pytest.mark.parametrize(
    ("limit", "collections"),
    [
        (32, 60),
        pytest.param(256, 4_096, marks=pytest.mark.slow),
    ],
)
def test_many_collections_are_searched_under_a_low_limit(
    limit: int, collections: int, tmp_path: Path
) -> None:
    path = tmp_path / "many.vstore"
    with vstore.open(path, durability="relaxed", indexing="manual") as store:
        fill(store, collections)
    code = textwrap.dedent(LIMITED)
    subprocess.run(
        [sys.executable, "-c", code, path, str(limit), str(collections)], cwd=ROOT, check=True
    )


def test_a_file_that_grows_under_its_readers_needs_few_maps(tmp_path: Path) -> None:
    path = tmp_path / "growing.vstore"
    rounds = 60
    with vstore.open(path, durability="relaxed") as store:
        before = descriptors()
        docs = store.create_collection("docs")
        docs.create_version("v1", vstore.EmbeddingSpec("m", WIDE), graph_rows_min=None)
        held = []
        for number in range(rounds):
            docs.upsert(
                [f"{number}-{i}" for i in range(16)], vectors={"v1": rows(16, WIDE, seed=number)}
            )
            store.optimize()
            reader = store.snapshot()
            held.append((reader, reader.collection("docs").search(rows(1, WIDE)[0], version="v1")))
        assert descriptors() <= before + HANDFUL
        growth = path.stat().st_size >> 20
        assert maps_of(path) <= growth.bit_length() + 1, f"{growth} MiB"
        for reader, results in held:
            again = reader.collection("docs").search(rows(1, WIDE)[0], version="v1")
            assert again.ids == results.ids


def test_arrays_outlive_store_vacuum_and_growth(tmp_path: Path) -> None:
    path = tmp_path / "a.vstore"
    given = rows(16, WIDE)
    with vstore.open(path) as store:
        docs = store.create_collection("docs")
        docs.create_version("v1", vstore.EmbeddingSpec("m", WIDE))
        docs.upsert([f"a{i}" for i in range(16)], vectors={"v1": given})
        store.optimize()
        arrays = [array for _, _, _, array in docs.vectors("v1")]
        docs.upsert([f"b{i}" for i in range(64)], vectors={"v1": rows(64, WIDE, seed=1)})
        store.vacuum()
        docs.delete([f"a{i}" for i in range(16)])
        store.vacuum()
    assert np.array_equal(np.concatenate(arrays), given)


def test_what_an_aborted_commit_wrote_is_forgotten(tmp_path: Path) -> None:
    container_path = tmp_path / "a.vstore"
    with vstore.open(container_path) as store:
        container = store._open_file.container
        from vstore.storage.layout import BlockKind

        first = container.append(BlockKind.ARRAY, b"1" * 100_000)
        assert bytes(container.read(first, BlockKind.ARRAY)[:1]) == b"1"
        container.abort()
        second = container.append(BlockKind.ARRAY, b"2" * 100_000)
        assert second.offset == first.offset
        with pytest.raises(vstore.CorruptionError):
            container.read(first, BlockKind.ARRAY)
        assert bytes(container.read(second, BlockKind.ARRAY)) == b"2" * 100_000
        container.abort()


def test_a_large_file_is_mapped_where_address_space_is_limited(tmp_path: Path) -> None:
    path = tmp_path / "sparse"
    code = """
        import resource, sys
        from vstore.storage.file import PathMedium
        size = 1 << 36
        file = PathMedium(sys.argv[1]).open(writable=True, create=True)
        file.truncate(size)
        file.write(size - 100_000, [b"x" * 100_000])
        resource.setrlimit(resource.RLIMIT_AS, (1 << 34, 1 << 34))
        views = [file.view(size - 100_000, 100_000) for _ in range(50)]
        assert all(view[-1:] == b"x" for view in views)
        file.truncate(0)
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(code), path], cwd=ROOT, check=True)


def test_bytes_that_a_file_does_not_have_are_no_view(tmp_path: Path) -> None:
    path = tmp_path / "short"
    path.write_bytes(b"x" * 100_000)
    file = PathMedium(path).open(writable=True, create=False)
    assert len(file.view(0, 100_000)) == 100_000
    for offset, length in ((0, 100_001), (99_999, 2), (1 << 40, 1)):
        with pytest.raises(vstore.StorageError, match="100,000 bytes"):
            file.view(offset, length)
    file.truncate(50_000)
    with pytest.raises(vstore.StorageError, match="50,000 bytes"):
        file.view(40_000, 20_000)
    file.close()


@pytest.fixture
def no_collector() -> Iterator[None]:
    """Without the garbage collector: what is let go late is kept."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


@pytest.mark.usefixtures("no_collector")
def test_a_reader_that_follows_vacuums_keeps_no_old_file(tmp_path: Path) -> None:
    path = tmp_path / "a.vstore"
    with vstore.open(path, durability="relaxed") as store:
        fill(store, 2)
        with vstore.open(path, mode="r") as reader:
            counts = []
            for _ in range(30):
                store.vacuum()
                search_all(store, 2)
                assert reader.refresh()
                search_all(reader, 2)
                counts.append(descriptors())
    assert max(counts) <= counts[0] + 2, counts


@pytest.mark.usefixtures("no_collector")
@pytest.mark.parametrize("is_looked_at", [False, True])
def test_kept_results_keep_no_file_that_a_vacuum_replaced(
    tmp_path: Path, *, is_looked_at: bool
) -> None:
    path = tmp_path / "a.vstore"
    with vstore.open(path, durability="relaxed") as store:
        fill(store, 2)
        with vstore.open(path, mode="r") as reader:
            before = descriptors()
            kept = []
            for _ in range(100):
                for opened in (store, reader):
                    docs = opened.collection("c0")
                    for handle in (docs, docs.scoped(vstore.field("n") >= 0)):
                        result = handle.search(rows(1, WIDE)[0], version="v1", k=3)
                        kept.append((result, handle.search_batch(rows(2, WIDE), version="v1", k=3)))
                        if is_looked_at:
                            assert result.ids
                            assert result[0].document.id == result[0].id
                store.vacuum()
                assert reader.refresh()
            assert descriptors() <= before + HANDFUL
            for one, several in kept:
                assert len(one.ids) == len(one.hits) == 3
                assert one.explain()
                assert [len(result.ids) for result in several] == [3, 3]
            result, _ = kept[0]
            if is_looked_at:
                assert result[0].document.id == result[0].id
            else:
                with pytest.raises(ClosedError, match=r"not looked at .* closed or vacuumed"):
                    _ = result[0].document


@pytest.mark.usefixtures("no_collector")
def test_a_snapshot_keeps_documents_of_its_results_readable_through_a_vacuum(
    tmp_path: Path,
) -> None:
    with vstore.open(tmp_path / "a.vstore") as store:
        fill(store, 1)
        with vstore.open(tmp_path / "a.vstore", mode="r") as reader:
            before = descriptors()

            def look(opened: vstore.Store) -> None:
                shown = opened.snapshot()
                result = shown.collection("c0").search(rows(1, WIDE)[0], version="v1", k=2)
                store.vacuum()
                reader.refresh()
                assert [hit.document.id for hit in result] == result.ids
                assert descriptors() == before + 1
                assert shown.epoch

            for opened in (store, reader):
                look(opened)
                assert descriptors() == before


@pytest.mark.usefixtures("no_collector")
def test_opening_and_closing_leaves_nothing(tmp_path: Path) -> None:
    path = tmp_path / "a.vstore"
    with vstore.open(path) as store:
        fill(store, 1)
    before = descriptors()
    for _ in range(200):
        with vstore.open(path, mode="r") as store:
            search_all(store, 1)
    for _ in range(20):
        with vstore.open(path) as store:
            search_all(store, 1)
    assert descriptors() == before


@pytest.mark.usefixtures("no_collector")
def test_what_fails_leaves_nothing_though_its_error_is_kept(tmp_path: Path) -> None:
    path, cut, foreign, damaged = (tmp_path / name for name in ("a", "cut", "foreign", "damaged"))
    with vstore.open(path) as store:
        fill(store, 1)
        whole = path.read_bytes()
    cut.write_bytes(whole[: len(whole) // 2])
    foreign.write_bytes(b"another program's file" * 1000)
    at = whole.rindex(rows(16, WIDE).tobytes()[:64])
    damaged.write_bytes(whole[:at] + bytes(8) + whole[at + 8 :])
    errors: list[Exception] = []

    def fails(open_it: object) -> None:
        with pytest.raises((VstoreError, OSError)) as caught:
            open_it()  # type: ignore[operator]
        errors.append(caught.value)

    writer = vstore.open(path)
    before = descriptors()
    for _ in range(5):
        for mode in ("r", "rw"):
            fails(lambda mode=mode: vstore.open(cut, mode=mode))
            fails(lambda mode=mode: vstore.open(foreign, mode=mode))
            fails(lambda mode=mode: vstore.open(tmp_path, mode=mode))
        fails(lambda: vstore.open(tmp_path / "none", mode="r"))
        fails(lambda: vstore.open(path, timeout_s=0))
        fails(lambda: vstore.open(path, mode="r", epoch=1_000))
        fails(lambda: vstore.open(path, mode="r", tag="no such"))
        fails(lambda: vstore.open(damaged, mode="r", verify="full"))
    assert descriptors() == before
    with vstore.open(damaged) as store:
        before = descriptors()
        for _ in range(5):
            fails(store.vacuum)
        assert descriptors() == before
    writer.close()


def test_a_fork_does_not_keep_the_lock_of_a_parent_that_died(tmp_path: Path) -> None:
    path = tmp_path / "a.vstore"
    with vstore.open(path) as store:
        fill(store, 1)
    code = """
        import os, sys
        import vstore
        from tests.test_descriptors import search_all
        store = vstore.open(sys.argv[1])
        search_all(store, 1)
        if os.fork() == 0:
            os.write(1, b"child\\n")
            os.read(0, 1)
        os._exit(0)
    """
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code), path],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert process.stdout is not None
    assert process.stdin is not None
    assert process.stdout.readline() == b"child\n"
    process.wait()
    try:
        vstore.open(path).close()
    finally:
        process.stdin.close()
        process.stdout.close()


# Reads that a close overtakes.


def test_a_closed_file_lets_a_read_end_before_its_number_is_used_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine, other = tmp_path / "mine", tmp_path / "other"
    mine.write_bytes(b"mine" * 1000)
    other.write_bytes(b"other" * 1000)
    file = PathMedium(mine).open(writable=False, create=False)
    under_way, go_on = threading.Event(), threading.Event()
    pread = os.pread

    def slow_pread(fd: int, length: int, offset: int) -> bytes:
        under_way.set()
        assert go_on.wait(60)
        return pread(fd, length, offset)

    monkeypatch.setattr(os, "pread", slow_pread)
    results: list[object] = []

    def read() -> None:
        try:
            results.append(file.read(0, 4))
        except BaseException as error:
            results.append(error)

    reader = threading.Thread(target=read)
    reader.start()
    assert under_way.wait(60)
    file.close()
    assert file.closed
    opened = [os.open(other, os.O_RDONLY) for _ in range(3)]
    go_on.set()
    reader.join()
    for fd in opened:
        os.close(fd)
    assert results == [b"mine"]
    with pytest.raises(ClosedError):
        file.read(0, 4)
    with pytest.raises(ClosedError):
        file.view(0, 4)


def test_readers_of_a_store_that_is_closed_under_them_finish_or_say_closed(tmp_path: Path) -> None:
    path = tmp_path / "a.vstore"
    with vstore.open(path) as store:
        fill(store, 1, count=16)
    wrong: list[str] = []
    for _ in range(30):
        store = vstore.open(path, mode="r")
        started = threading.Barrier(5)

        def read(store: vstore.Store = store, started: threading.Barrier = started) -> None:
            started.wait()
            try:
                while True:
                    docs = store.collection("c0")
                    hits = docs.search(rows(1, WIDE)[0], version="v2", k=3).hits
                    wrong.extend(f"{hit}" for hit in hits if not hit.id.startswith("0-"))  # type: ignore[union-attr]
                    list(docs.documents())
            except ClosedError:
                pass
            except BaseException as error:
                wrong.append(repr(error))

        threads = [threading.Thread(target=read) for _ in range(4)]
        for thread in threads:
            thread.start()
        started.wait()
        store.close()
        with contextlib.suppress(OSError):
            os.close(os.open(path, os.O_RDONLY))
        for thread in threads:
            thread.join()
    assert not wrong


def test_a_process_without_descriptors_is_told_so_whatever_it_calls(tmp_path: Path) -> None:
    """Modules are imported at their first use, and each is a file to open."""
    path = tmp_path / "docs.vstore"
    with vstore.open(path) as store:
        docs = store.create_collection("docs", fields={"year": "int"})
        for label in ("v", "w"):
            docs.create_version(label, vstore.EmbeddingSpec(label, 8), graph_rows_min=100)
        ids = [f"d{i}" for i in range(1_000)]
        metadata = [{"year": i % 9} for i in range(1_000)]
        docs.upsert(ids, texts=ids, vectors={"v": rows(1_000, 8)}, metadata=metadata)
        docs.add_vectors(ids[:500], rows(500, 8, seed=1), version="w")
        store.optimize()
    code = """
        import contextlib, os, resource, sys
        import numpy as np
        import vstore
        from vstore.errors import StorageError

        resource.setrlimit(resource.RLIMIT_NOFILE, (256, 256))
        store = vstore.open(sys.argv[1])
        docs, q = store.collection("docs"), np.ones(8, np.float32)
        both = {"v": q, "w": q}
        judged = {"queries": {"v": [q], "w": [q]}, "judgments": [{"d1": 1}]}
        calls = [
            lambda: [getattr(vstore, name) for name in vstore.__all__],
            lambda: docs.search(q, version="v"),
            lambda: docs.search(q, version="v", recall=1),
            lambda: docs.search(q, version="v", where={"field": "year", "op": "==", "value": 3}),
            lambda: docs.search_batch(np.ones((400, 8)), version="v"),
            lambda: docs.search(both, read=vstore.Dual("w")),
            lambda: docs.upsert(["x"], vectors={"v": [q]}),
            lambda: store.check(),
            lambda: store.metrics(stored=True),
            lambda: docs.routes.check_gates("w"),
            lambda: docs.migrate("v", "w", lambda batch: np.ones((len(batch), 8))).run(),
            lambda: docs.migration.fit_bridge("v", "w"),
            lambda: docs.migration.choose_fusion("w", old="v", **judged),
            lambda: docs.routes.cutover("w", gates=vstore.Gates(coverage=0.0, recall=0.0)),
            lambda: store.vacuum(),
        ]
        told = 0
        for number, call in enumerate(calls):
            held = []
            with contextlib.suppress(OSError):
                while True:
                    held.append(os.open(os.devnull, os.O_RDONLY))
            try:
                call()
            except StorageError as error:
                assert "ulimit -n" in str(error), (number, error)
                told += 1
            except vstore.VstoreError:
                pass  # there was no need of a descriptor
            for descriptor in held:
                os.close(descriptor)
            with contextlib.suppress(vstore.StateError, vstore.InvalidArgumentError):
                call()  # and now it can be done
        assert told > 5, told
        store.close()
    """
    subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code), path],
        cwd=ROOT,
        check=True,
    )
