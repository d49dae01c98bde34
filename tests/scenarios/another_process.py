"""A reader in a process of its own, which says what its searches are answered by.

It searches all the time, moving on to each commit it sees, and prints a line whenever its answers
come from other versions than before: run by test_enterprise_search.py.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from threading import Event, Thread
from typing import TYPE_CHECKING, Self

import numpy as np

import vstore

if TYPE_CHECKING:
    from types import TracebackType

ROOT = Path(__file__).parents[2]


class Reader:
    """The parent's end.

    Parameters
    ----------
    queries : Path
        An .npz file, whose arrays are of the versions that ``labels`` says.
    """

    def __init__(self, store: Path, queries: Path, **labels: str) -> None:
        command = [sys.executable, "-m", "tests.scenarios.another_process", store, queries]
        self._process = subprocess.Popen(
            [*map(str, command), json.dumps(labels)],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if kind is not None:
            self._process.kill()
        self._process.communicate()

    def next_change(self) -> str:
        """Wait until its answers come from other versions; return which."""
        assert self._process.stdout is not None
        return self._process.stdout.readline().strip()

    def stop(self) -> str:
        """Let it end, and return what it printed that nobody read."""
        rest, _ = self._process.communicate()
        assert self._process.returncode == 0
        return rest


def main() -> None:
    path, queries_path, labels = sys.argv[1:]
    with np.load(queries_path) as arrays:
        queries = {label: arrays[name] for name, label in json.loads(labels).items()}
    stopped = Event()

    def until_told() -> None:
        sys.stdin.read()
        stopped.set()

    Thread(target=until_told, daemon=True).start()
    said = ""
    with vstore.open(path, mode="r") as store:
        docs = store.collection("docs")
        while not stopped.wait(0.01):
            store.refresh()
            # One call is one snapshot; what a whole batch is answered by is what that commit says.
            results = docs.search_batch(queries, k=10)
            seen = "+".join(sorted({hit.version for result in results for hit in result}))
            if any(len(result) < 10 for result in results):
                seen = "too few hits"
            if seen != said:
                said = seen
                sys.stdout.write(f"{seen}\n")
                sys.stdout.flush()


if __name__ == "__main__":
    main()
