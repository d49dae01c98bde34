"""Reads damaged and forged files under limits; run by `test_corruption` in a process of its own.

``python -m tests.crash.hostile_reader FILE MODE START STOP STEP`` prints a line for each case that
went wrong. A crash, a hang or a huge allocation ends this process, not the tests; FILE.case names
the case.
"""

from __future__ import annotations

import resource
import signal
import sys
import traceback
from pathlib import Path
from typing import TYPE_CHECKING

from tests.crash.answers import Answers, answers, attempt, checked, write
from tests.crash.forgery import Forger
from vstore.api.opening import open_store
from vstore.storage.layout import BLOCKS_START, SLOT_BYTES
from vstore.storage.memory import MemoryMedium
from vstore.storage.superblock import read_slots

if TYPE_CHECKING:
    from collections.abc import Callable

ALLOWANCE_BYTES = 2 << 30  # of address space, above what the imports take
CASE_S = 20


class Damage:
    """A sound file, its right answers, and those of the state before its last commit."""

    def __init__(self, image: bytes) -> None:
        self.image = image
        self.answers = answers(image)
        newest, _ = read_slots(image[:BLOCKS_START]).newest_first()[0]
        self.newest_slot = range(newest * SLOT_BYTES, (newest + 1) * SLOT_BYTES)
        older = bytearray(image)
        older[self.newest_slot.start] ^= 0xFF
        self.older = answers(bytes(older))

    def flip(self, case: int) -> str | None:
        """Flip one bit of one byte."""
        damaged = bytearray(self.image)
        damaged[case] ^= 1 << (case * 7 % 8)
        return self._judge(bytes(damaged), self.older if case in self.newest_slot else self.answers)

    def cut(self, case: int) -> str | None:
        """Cut the file to a length."""
        return self._judge(self.image[:case], {})

    def _judge(self, damaged: bytes, right: Answers) -> str | None:
        for question, answer in answers(damaged).items():
            if not isinstance(answer, type) and answer != right.get(question):
                return f"{question}: a wrong answer: {answer!r:.300}"
        return "check finds nothing" if checked(damaged).ok else None


def forge(forger: Forger, case: int) -> str | None:
    """Read and write a forged file; right answers there are none."""
    image, change = forger.forge(case)
    try:
        answers(image)
        checked(image)
        attempt(lambda: open_store(MemoryMedium(image), mode="r", verify="full").close())
        write(image)
    except Exception:
        return f"{change}\n{traceback.format_exc(limit=-5)}"
    return None


def cases(mode: str, image: bytes) -> Callable[[int], str | None]:
    """Return what runs one case."""
    if mode == "forge":
        forger = Forger(image)
        return lambda case: forge(forger, case)
    damage = Damage(image)
    return damage.flip if mode == "flip" else damage.cut


def main(path: str, mode: str, bounds: list[str]) -> None:
    """Run the cases START, START + STEP ... and print those that went wrong."""
    run = cases(mode, Path(path).read_bytes())
    used_bytes = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used_bytes + ALLOWANCE_BYTES, resource.RLIM_INFINITY))
    for case in range(*map(int, bounds)):
        Path(path + ".case").write_text(str(case))
        signal.alarm(CASE_S)  # kills: also a loop in native code
        problem = run(case)
        if problem:
            sys.stdout.write(f"{mode} {case}: {problem}\n")
    signal.alarm(0)
    sys.stdout.write("done\n")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3:])
