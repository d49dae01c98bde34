"""A process that uses a store while a timer interrupts it at random times.

    python -m tests.crash.signalled FOLDER COUNT SEED

It ends after so many interrupts, prints how many there were, and fails if something acknowledged
is lost, a descriptor or file is left behind, the next write neither works nor says to reopen, or
something waits for long.
"""

from __future__ import annotations

import faulthandler
import gc
import logging
import random
import signal
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

import vstore
from tests.crash.interrupted import LARGE, QUERY, SMALL, docs, make

if TYPE_CHECKING:
    from collections.abc import Callable

HANG_S = 60.0
DESCRIPTORS = Path("/proc/self/fd")  # where there is one
FIRST = 1_000
ROUND = 200  # actions after which everything is looked at


class AlarmError(Exception):
    """What somebody's signal handler raises."""


class User:
    """Somebody who uses a store."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.folder = folder
        self.path = make(folder / "docs.vstore")
        self.random = random.Random(seed)
        self.store = vstore.open(self.path)
        self.next = FIRST
        self.acknowledged: set[int] = set()
        self.descriptors: int | None = None

    def upsert(self) -> None:
        self.next += 1
        key = self.next
        vectors = {"v1": SMALL.embed_documents([str(key)])}
        docs(self.store).upsert([key], texts=[str(key)], vectors=vectors)
        self.acknowledged.add(key)

    def transaction(self) -> None:
        self.next += 2
        keys = self.next - 1, self.next
        with self.store.transaction() as tx:
            for key in keys:
                tx.upsert(docs(self.store), [key], texts=[str(key)])
        self.acknowledged.update(keys)

    def upsert_texts(self) -> None:
        self.next += 1
        key = self.next
        docs(self.store).upsert_texts([key], [str(key)], embedder=SMALL)
        self.acknowledged.add(key)

    def search(self) -> None:
        docs(self.store).search(QUERY, version="v1", k=5)

    def search_batch(self) -> None:
        docs(self.store).search_batch(np.tile(QUERY, (50, 1)), version="v1", k=5)

    def flush_metrics(self) -> None:
        self.search()
        self.store.flush_metrics()

    def optimize(self) -> None:
        self.store.optimize()

    def vacuum(self) -> None:
        self.store.vacuum()

    def backfill(self) -> None:
        docs(self.store).migration.backfill("v2", LARGE, batch_size=20)

    def migrate(self) -> None:
        docs(self.store).migrate("v1", "v2", LARGE, calls=vstore.Calls(batch_size=20)).run()

    def refresh(self) -> None:
        with vstore.open(self.path, mode="r") as reader:
            docs(reader).ids()
            self.upsert()
            reader.refresh()

    def reopen(self) -> None:
        self.store.close()
        self.store = vstore.open(
            self.path,
            indexing=self.random.choice(("inline", "background")),
            durability=self.random.choice(("full", "relaxed")),
        )

    def go_on(self) -> None:
        """Write; reopen if an error says so."""
        try:
            self.upsert()
        except vstore.VstoreError as error:
            require_advice(error)
            self.open_again()
            self.upsert()

    def open_again(self) -> None:
        self.store.close()
        gc.collect()  # a handle that an interrupted `open` had made, and nobody got
        self.store = vstore.open(self.path)

    def look(self) -> None:
        """See that everything acknowledged is there, and nothing else is; begin anew."""
        self.open_again()
        ids = set(docs(self.store).ids())
        assert self.acknowledged <= ids, f"lost {sorted(self.acknowledged - ids)[:5]}"
        assert self.store.check().ok, self.store.check().problems
        docs(self.store).delete([id_ for id_ in ids if isinstance(id_, int) and id_ >= FIRST])
        self.acknowledged.clear()
        self.store.vacuum()
        self.open_again()
        assert [entry.name for entry in self.folder.iterdir()] == ["docs.vstore"]
        if DESCRIPTORS.is_dir():
            now = len(list(DESCRIPTORS.iterdir()))
            assert self.descriptors in (None, now), f"{now} descriptors, {self.descriptors} before"
            self.descriptors = now


def require_advice(error: vstore.VstoreError) -> None:
    """Refuse an error that does not say to open the store again."""
    if "open" not in str(error):
        raise error


def came_of_an_alarm(error: BaseException | None) -> bool:
    """Whether the alarm was taken for an error of what it interrupted.

    An embedder is one, and Python's own `Thread.start`, which then fails to clean up.
    """
    while error is not None and not isinstance(error, AlarmError):
        error = error.__cause__ or error.__context__
    return error is not None


class Timer:
    """Interrupts an action once, some time after it began."""

    def __init__(self) -> None:
        self.armed = False
        signal.signal(signal.SIGALRM, self._fire)

    def _fire(self, _number: int, _frame: object) -> None:
        if self.armed:
            self.armed = False
            raise KeyboardInterrupt if random.random() < 0.5 else AlarmError

    def interrupt(self, action: Callable[[], None], delay_s: float) -> bool:
        """Run an action; return whether it was interrupted."""
        try:
            self.armed = True
            signal.setitimer(signal.ITIMER_REAL, delay_s)
            action()
            self.armed = False
        except (KeyboardInterrupt, AlarmError):
            return True
        finally:
            self.armed = False
        return False


def main(folder: str, count: str, seed: str) -> None:
    logging.disable()  # geometry of texts that are numbers
    user = User(Path(folder), int(seed))
    write = user.upsert
    actions: list[Callable[[], None]] = [
        write,
        user.transaction,
        user.upsert_texts,
        user.search,
        user.search_batch,
        user.flush_metrics,
        user.optimize,
        user.vacuum,
        user.backfill,
        user.migrate,
        user.refresh,
        user.reopen,
    ]
    took_s = {}
    for action in actions:
        began = time.perf_counter()
        action()
        took_s[action] = time.perf_counter() - began
    timer = Timer()
    interrupts = rounds = 0
    while interrupts < int(count):
        rounds += 1
        action = user.random.choice(actions)
        faulthandler.dump_traceback_later(HANG_S, exit=True)
        try:
            delay_s = took_s[action] * user.random.random() + 1e-5
            interrupts += timer.interrupt(action, delay_s)
        except Exception as error:
            if came_of_an_alarm(error):
                interrupts += 1
            elif isinstance(error, vstore.VstoreError):
                require_advice(error)
            else:
                raise
        user.go_on()
        if rounds % ROUND == 0:
            user.look()
        faulthandler.cancel_dump_traceback_later()
    user.look()
    user.store.close()
    sys.stdout.write(f"{interrupts} interrupts of {rounds} actions\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
