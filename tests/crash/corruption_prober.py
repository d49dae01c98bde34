"""Damage a file at many places and see what vstore makes of each: run by test_corruption.py.

In a process of its own, with little memory to allocate and a watchdog, so that neither a huge
allocation nor a hang nor a crash goes unnoticed. Prints one line of JSON.
"""

from __future__ import annotations

import faulthandler
import json
import resource
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from tests.crash.workload import FrozenClock, dump
from vstore.errors import VstoreError
from vstore.storage.layout import SLOT_BYTES
from vstore.storage.memory import MemoryMedium
from vstore.store.check import check_file
from vstore.store.store import open_medium

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.crash.workload import Dump

SPARE_BYTES = 512 << 20  # a small file has no reason to need more
SECONDS_MAX = 20.0  # for one damaged file, with much to spare


def main() -> None:
    kind, path, start, step = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
    sound = path.read_bytes()
    allowed = [read_all(sound), read_all(with_blank_slot(sound))]
    assert all(allowed), "the file is sound, and so is the state before its last commit"
    limit_memory()
    points = 0
    failures = []
    for position, damaged in damage(kind, sound, start, step):
        points += 1
        faulthandler.dump_traceback_later(SECONDS_MAX, exit=True)
        failures += [f"{kind} at {position}: {what}" for what in probe(damaged, allowed)]
    faulthandler.cancel_dump_traceback_later()
    sys.stdout.write(json.dumps({"points": points, "failures": failures[:20]}))


def limit_memory() -> None:
    """Let this process map little more than it has mapped already."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    total = pages * resource.getpagesize() + SPARE_BYTES
    resource.setrlimit(resource.RLIMIT_AS, (total, total))


def damage(kind: str, sound: bytes, start: int, step: int) -> Iterator[tuple[int, bytes]]:
    """Yield damaged files, and where each is damaged."""
    for position in range(start, len(sound), step):
        if kind == "truncated":
            yield position, sound[:position]
        else:
            flipped = bytearray(sound)
            flipped[position] ^= 1 << (position % 8)
            yield position, bytes(flipped)


def probe(damaged: bytes, allowed: list[Dump | None]) -> Iterator[str]:
    """Yield what is wrong with how vstore takes a damaged file."""
    file = MemoryMedium(damaged).open(writable=False, create=False)
    if check_file("damaged", file).ok:
        yield "check has nothing to report"
    try:
        found = read_all(damaged)
    except Exception as error:
        yield f"reading raised {error!r:.200}"
    else:
        if found is not None and found not in allowed:
            yield "reading gave a wrong answer"


def read_all(data: bytes) -> Dump | None:
    """Return everything in a store, None if that raises what it should."""
    try:
        with open_medium(MemoryMedium(data), mode="r", clock=FrozenClock()) as store:
            store.info()
            store.history(limit=1000)
            return dump(store)
    except VstoreError:
        return None


def with_blank_slot(sound: bytes) -> bytes:
    """Return the file as it is without its newest superblock slot."""
    with open_medium(MemoryMedium(sound), mode="r") as store:
        newest = store.epoch
    for slot in range(2):
        blanked = bytearray(sound)
        blanked[slot * SLOT_BYTES : (slot + 1) * SLOT_BYTES] = bytes(SLOT_BYTES)
        with open_medium(MemoryMedium(bytes(blanked)), mode="r") as store:
            if store.epoch < newest:
                return bytes(blanked)
    raise AssertionError("one slot is newer")


if __name__ == "__main__":
    main()
