"""The killed backfill as its parent sees it: start it, listen to it, kill it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Self

from vstore.errors import StateError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import TracebackType


class Commit(NamedTuple):
    """One committed batch: the epoch, documents covered, live documents."""

    epoch: int
    fresh: int
    live: int


class BackfillProcess:
    """A backfill in a process of its own. A context manager that does not outlive its block.

    Attributes
    ----------
    embedded : list of str
        Ids of all documents the process has embedded, whether or not they were committed.
    """

    def __init__(self, path: str, *, batch_size: int, pace_s: float) -> None:
        self.embedded: list[str] = []
        # The same modules as here, wherever the caller found them.
        search_path = os.pathsep.join(entry or str(Path.cwd()) for entry in sys.path)
        self._process = subprocess.Popen(
            [sys.executable, "-m", "vstore.demo.child", path, str(batch_size), str(pace_s)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": search_path},
            encoding="utf-8",
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.kill()

    @property
    def pid(self) -> int:
        """The process's id."""
        return self._process.pid

    def commits(self) -> Iterator[Commit]:
        """Yield each commit as the process reports it, and let it go on.

        Raises
        ------
        StateError
            The process failed by itself.
        """
        assert self._process.stdin is not None
        for commit in self._reported():
            yield commit
            with suppress(OSError):  # it is gone already
                self._process.stdin.write("\n")
                self._process.stdin.flush()
        if self._process.wait() != 0:
            assert self._process.stderr is not None
            said = self._process.stderr.read().strip().splitlines()
            raise StateError(f"the backfill process failed: {said[-1] if said else 'silently'}")

    def kill(self) -> None:
        """End the process without warning (SIGKILL, or TerminateProcess), and hear it out."""
        self._process.kill()
        for _ in self._reported():
            pass
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout, self._process.stderr):
            assert pipe is not None
            pipe.close()

    def _reported(self) -> Iterator[Commit]:
        assert self._process.stdout is not None
        if self._process.stdout.closed:
            return
        for line in self._process.stdout:
            if not line.endswith("\n"):
                return  # its writer died within it
            message = json.loads(line)
            if "embedded" in message:
                self.embedded += message["embedded"]
            else:
                yield Commit(message["epoch"], message["fresh"], message["live"])
