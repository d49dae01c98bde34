"""A writer whose file may not grow: run by `test_io_errors`, since the limit binds a process."""

from __future__ import annotations

import resource
import signal
import sys
from pathlib import Path

import numpy as np

import vstore

LARGE = 3_000


def limit(size_bytes: int) -> None:
    """Let no file grow beyond a size."""
    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size_bytes, hard))


def main(path: Path) -> None:
    """Fill the disk, and print what went as it should."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    rows = np.random.default_rng(0).standard_normal((LARGE, 8)).astype(np.float32)
    with vstore.open(path) as store:
        docs = store.create_collection("docs")
        docs.create_version("v1", vstore.EmbeddingSpec("model", 8))
        docs.upsert(range(10), vectors={"v1": rows[:10]})
        before = store.epoch
        limit(path.stat().st_size + 8_192)
        try:
            docs.upsert(range(10, 10 + LARGE), vectors={"v1": rows})
        except vstore.StorageError as error:
            if isinstance(error.__cause__, OSError):
                say("refused")
        if store.epoch == before and docs.search(rows[3], version="v1", k=1).ids == [3]:
            say("read")
        docs.upsert([10], vectors={"v1": rows[10:11]})
        say("small")
        limit(9_000)
        try:
            store.vacuum()
        except vstore.StorageError:
            say("vacuum-refused")
        _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        limit(hard)
        docs.upsert(range(11, 11 + LARGE), vectors={"v1": np.roll(rows, 1, axis=1)})
        say("large")
    with vstore.open(path, mode="r", verify="full") as store:
        if store.check().ok and len(store.collection("docs")) == 11 + LARGE:
            say("sound")
    assert not path.with_name(path.name + "-vacuum").exists()


def say(word: str) -> None:
    """Report a stage."""
    sys.stdout.write(word + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
