"""What people do with a store, interrupted between any two lines, and what must hold afterwards."""

from __future__ import annotations

import contextlib
import gc
import shutil
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Self

import numpy as np

import vstore

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType

PACKAGE: Final = str(Path(vstore.__file__).parent)
HANG_S: Final = 30.0  # nothing takes a hundredth of it, on a busy machine neither
SMALL, LARGE = vstore.HashingEmbedder(8), vstore.HashingEmbedder(16, seed=1)
QUERY: Final = SMALL.embed_query("text 3")


class InterruptAt:
    """Raises KeyboardInterrupt at the n-th line that vstore executes, once.

    Also where Python itself delivers no signal, as a `with` block is left: debuggers do.
    """

    def __init__(self, number: int) -> None:
        self.left = number
        self.place = ""

    def __enter__(self) -> Self:
        sys.settrace(self._call)
        return self

    def __exit__(self, *_: object) -> None:
        sys.settrace(None)

    def _call(self, frame: FrameType, event: str, _argument: object) -> Any:
        return self._line if frame.f_code.co_filename.startswith(PACKAGE) else None

    def _line(self, frame: FrameType, event: str, _argument: object) -> Any:
        if event == "line":
            self.left -= 1
            if self.left <= 0 and not self.place:
                self.place = f"{frame.f_code.co_filename}:{frame.f_lineno}"
                raise KeyboardInterrupt
        return self._line


def docs(store: vstore.Store) -> vstore.Collection:
    return store.collection("docs")


def make(path: Path) -> Path:
    """Make the store that each trial begins with."""
    with vstore.open(path) as store:
        made = store.create_collection("docs", fields={"n": "int"})
        made.create_version("v1", SMALL.spec, graph_rows_min=20)
        for start in range(0, 30, 10):
            ids = range(start, start + 10)
            rows = SMALL.embed_documents([f"text {i}" for i in ids])
            texts = [f"text {i}" for i in ids]
            metadata = [{"n": i} for i in ids]
            made.upsert(ids, texts=texts, vectors={"v1": rows}, metadata=metadata)
        store.optimize()
        made.create_version("v2", LARGE.spec)
        made.upsert(["late"], texts=["late"], vectors={"v1": SMALL.embed_documents(["late"])})
    return path


def upsert(store: vstore.Store) -> None:
    vectors = {"v1": SMALL.embed_documents(["new", "changed"])}
    docs(store).upsert(["new", 1], texts=["new", "changed"], vectors=vectors)


def transaction(store: vstore.Store) -> None:
    with store.transaction() as tx:
        tx.upsert(docs(store), ["new"], texts=["new"])
        tx.delete(docs(store), [3])
        tx.update_metadata(docs(store), [4], [{"n": 9}])


def search(store: vstore.Store) -> None:
    for _ in range(3):
        docs(store).search(QUERY, version="v1", k=3)
    docs(store).search(QUERY, version="v1", k=3, where=vstore.field("n") > 3)
    docs(store).search_batch(np.stack([QUERY, QUERY]), version="v1", k=3)
    store.metrics()


def optimize(store: vstore.Store) -> None:
    store.optimize()


def vacuum(store: vstore.Store) -> None:
    store.vacuum()


def backfill(store: vstore.Store) -> None:
    docs(store).migration.backfill("v2", LARGE, batch_size=16)


def migrate(store: vstore.Store) -> None:
    job = docs(store).migrate("v1", "v2", LARGE, calls=vstore.Calls(batch_size=16))
    job.run()
    job.status()


def cutover(store: vstore.Store) -> None:
    docs(store).routes.cutover("v2", reason="trial", force=True)


def upsert_texts(store: vstore.Store) -> None:
    docs(store).upsert_texts(["new", "more"], ["new", "more"], embedder=SMALL)


def flush_metrics(store: vstore.Store) -> None:
    docs(store).search(QUERY, version="v1", k=3)
    store.flush_metrics()


def refresh(store: vstore.Store) -> None:
    with vstore.open(store.path, mode="r") as reader:
        upsert(store)
        reader.refresh()
        store.vacuum()
        reader.refresh()


def close(store: vstore.Store) -> None:
    store.close()


def reopen(store: vstore.Store) -> None:
    store.close()
    with vstore.open(store.path) as again:
        again.collection("docs")
    with vstore.open(store.path, mode="r") as reader:
        docs(reader).search(QUERY, version="v1", k=3)


def contents(store: vstore.Store) -> tuple[object, ...]:
    """Return what a store holds but for what trials add."""
    found = docs(store)
    ids = [id_ for id_ in found.ids() if id_ != "after"]
    return (
        ids,
        found.routes.current.version,
        [found.coverage(label).fresh for label in ("v1", "v2")],
    )


class Outcome(NamedTuple):
    """What a trial came to; ``place`` is empty if the action ended before its line came."""

    place: str
    state: tuple[object, ...]


def trial(
    action: Callable[[vstore.Store], None],
    number: int,
    *,
    base: Path,
    folder: Path,
    kept: bool,
    **options: Any,
) -> Outcome:
    """Interrupt an action at its n-th line; check that nothing is stuck, lost or left behind.

    Parameters
    ----------
    kept : bool
        Whether the exception, and with it all that its traceback holds, outlives what follows, as
        in a notebook.
    """
    path = folder / "docs.vstore"
    shutil.copyfile(base, path)
    descriptors = _descriptors()
    store = vstore.open(path, **options)
    interrupt, held = InterruptAt(number), None
    try:
        with interrupt:
            action(store)
    except KeyboardInterrupt as error:
        held = error if kept else None
    where = f"line {number}, {interrupt.place}"
    _go_on(store, where)
    store.close()
    with vstore.open(path) as again:
        docs(again).upsert(["after"])
        assert again.check().ok, where
        state = contents(again)
    del store, held
    gc.collect()
    assert _descriptors() == descriptors, f"{where}: descriptors are left"
    assert [entry.name for entry in folder.iterdir()] == ["docs.vstore"], where
    return Outcome(interrupt.place, state)


def _go_on(store: vstore.Store, where: str) -> None:
    """Write and search, from this thread and another one, unless an error says to reopen."""

    def use() -> None:
        try:
            docs(store).upsert(["after"])
            docs(store).search(QUERY, version="v1", k=3)
            store.metrics()
        except vstore.VstoreError as error:
            if "open" not in str(error):
                failures.append(f"{where}: {type(error).__name__}: {error}")

    failures: list[str] = []
    use()
    other = threading.Thread(target=use, daemon=True)
    other.start()
    other.join(HANG_S)
    assert not other.is_alive(), f"{where}: another thread waits for ever"
    assert not failures, failures


def _descriptors() -> int:
    with contextlib.suppress(OSError):
        return len(list(Path("/proc/self/fd").iterdir()))
    return 0
