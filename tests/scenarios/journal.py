"""What a writer that may be killed is about to do, and did: a side file, and the model made of it.

Each commit that touches documents or routes is noted before it is made, under the epoch it will
have: inside a transaction that is the next one. Whoever opens the store next notes the epoch it
found, which tells whether a last commit came through. So the model of every epoch is known exactly.
A line survives its process without a sync, as what is tested here is processes that die.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from threading import Lock
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from tests.scenarios.two_spaces import NEW, OLD, TwoSpaces

if TYPE_CHECKING:
    from pathlib import Path

    from vstore.types import Array

CHANGES: Final = ("upsert", "delete", "route")  # noted before the commit that makes them true
DONE: Final = ("done", "batch")  # noted once a commit has returned


class Journal:
    """The writing end. Safe to use from many threads."""

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_CREAT | os.O_APPEND | os.O_WRONLY)

    def note(self, what: str, epoch: int, **more: object) -> None:
        """Add an entry."""
        line = json.dumps({"what": what, "epoch": epoch, **more})
        # A line break at both ends: a line that a kill cut short does not spoil the next one.
        os.write(self._file, f"\n{line}\n".encode())

    def close(self) -> None:
        os.close(self._file)


class History:
    """The reading end: entries so far, and changes by epoch. Safe to use from many threads.

    Attributes
    ----------
    entries : list of dict
        As they were noted.
    changes : dict of epoch to entry
        Those that were committed, or still may be.
    counts : Counter
        Entries of each kind.
    lost : list of str
        Acknowledged commits that whoever came next did not find.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = Lock()
        self._offset = 0
        self.entries: list[dict[str, Any]] = []
        self.changes: dict[int, dict[str, Any]] = {}
        self.counts: Counter[str] = Counter()
        self.lost: list[str] = []
        self._done = 0

    def follow(self) -> None:
        """Read what was added."""
        with self._lock, self._path.open("rb") as file:
            file.seek(self._offset)
            added = file.read()
            whole = added[: added.rfind(b"\n") + 1]
            self._offset += len(whole)
            for line in whole.split(b"\n"):
                try:
                    self._add(json.loads(line or b"{}"))
                except json.JSONDecodeError:
                    continue  # cut short by a kill, so never acted on

    def _add(self, entry: dict[str, Any]) -> None:
        if not entry:
            return
        if entry["what"] == "opened":
            if entry["epoch"] < self._done:
                lost = f"epoch {self._done} was acknowledged, {entry['epoch']} was found"
                self.lost.append(lost)
            for epoch in [epoch for epoch in self.changes if epoch > entry["epoch"]]:
                del self.changes[epoch]
        if entry["what"] in CHANGES:
            self.changes[entry["epoch"]] = entry
        if entry["what"] in DONE:
            self._done = max(self._done, entry["epoch"])
        self.counts[entry["what"]] += 1
        self.entries.append(entry)


class Model:
    """The documents at one epoch, and their vectors in both spaces; rows are ids."""

    def __init__(self, spaces: TwoSpaces, *, documents: int, ids_end: int, epoch: int) -> None:
        self.spaces = spaces
        self.epoch = epoch
        self.alive = np.arange(ids_end) < documents
        self.generation = np.zeros(ids_end, np.int64)
        self.route: dict[str, Any] = {"mode": "matched", "version": OLD}
        every = np.arange(ids_end)
        self.vectors: dict[str, Array] = {
            version: spaces.vectors(version, every, self.generation) for version in (OLD, NEW)
        }

    def advance(self, history: History, epoch: int) -> None:
        """Move on to a later epoch."""
        # Epochs that no change is noted under are batches of the backfill, which change neither
        # documents nor routes.
        for step in range(self.epoch + 1, epoch + 1):
            change = history.changes.get(step)
            if change is not None:
                self._apply(change)
        self.epoch = epoch

    def _apply(self, change: dict[str, Any]) -> None:
        if change["what"] == "route":
            self.route = change
            return
        ids = np.array(change["ids"], np.int64)
        self.alive[ids] = change["what"] == "upsert"
        if change["what"] == "upsert":
            self.generation[ids] = change["epoch"]
            for version, rows in self.vectors.items():
                rows[ids] = self.spaces.vectors(version, ids, self.generation[ids])
