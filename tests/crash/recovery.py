"""What a writer finds after a crash, and whether the file is sound again after its first commit."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from blake3 import blake3

from tests.crash.workload import Dump, FrozenClock, dump
from vstore.api.opening import open_store
from vstore.errors import CorruptionError, NotAStoreError
from vstore.storage.memory import MemoryMedium
from vstore.storage.recovery import choose_slot

if TYPE_CHECKING:
    from vstore import Store
    from vstore.storage.file import Medium

DAMAGED_SLOTS = ("superblock slot A is damaged", "superblock slot B is damaged")
FRESH_VACUUM = "one superblock slot: nothing was committed since a vacuum"


class Recovered(NamedTuple):
    """What a reader and a writer found in a file that survived.

    Attributes
    ----------
    stored : bool
        Whether a reader found a store; if not, a writer makes a new one.
    state : Dump
        What the writer found.
    marked : Dump
        The same after one more commit.
    """

    stored: bool
    state: Dump
    marked: Dump


def reopen(medium: Medium) -> Store:
    """Open as the next writer would."""
    return open_store(medium, clock=FrozenClock())


def mark(store: Store) -> None:
    """Commit something small that no state of the script has."""
    store.tag(f"found at {store.epoch}")


def recover(image: bytes) -> Recovered:
    """Open a file, as a reader and as a writer, commit once, and open it again.

    A torn slot cannot be told from a slot that rotted and took an acknowledged commit with it. So
    `check` calls it a problem, until a writer opens the file and writes that slot anew; anything
    else that it finds wrong is a bug.
    """
    seen = _seen_by_reader(image)
    medium = MemoryMedium(image)
    with reopen(medium) as store:
        state = dump(store)
        assert seen is None or seen == state, "reader and writer recover different states"
        report = store.check()
        assert report.ok, f"opened for writing: {report.problems}"
        assert set(report.notes) <= {FRESH_VACUUM}, f"opened for writing: {report.notes}"
        mark(store)
        marked = dump(store)
        report = store.check()
        assert report.ok, f"after a commit: {report.problems}"
        assert not report.notes, f"after a commit: {report.notes}"
    with reopen(MemoryMedium(medium.tobytes())) as store:
        assert dump(store) == marked, "the first commit after the crash is not there"
    return Recovered(seen is not None, state, marked)


def _seen_by_reader(image: bytes) -> Dump | None:
    try:
        store = open_store(MemoryMedium(image), mode="r", clock=FrozenClock())
    except NotAStoreError:
        return None
    with store:
        problems = [problem.what for problem in store.check().problems]
        assert len(problems) <= 1, f"check: {problems}"
        assert all(what.startswith(DAMAGED_SLOTS) for what in problems), f"check: {problems}"
        return dump(store)


class Recoveries:
    """Recovers each file once: most points of a sweep leave the same few bytes.

    Parameters
    ----------
    thorough : bool
        Tell files apart also by what stands behind the committed bytes. It should not matter, so
        a sample does without; the whole sweep does not take that for granted.
    """

    def __init__(self, *, thorough: bool) -> None:
        self.points = 0
        self._thorough = thorough
        self._known: dict[bytes, Recovered] = {}
        self.images: dict[bytes, bytes] = {}

    def of(self, image: bytes) -> Recovered:
        """Return what is recovered from a file."""
        self.points += 1
        key = blake3(image if self._thorough else _committed(image)).digest()
        if key not in self._known:
            self._known[key] = recover(image)
            self.images[key] = image
        return self._known[key]

    def distinct(self) -> list[tuple[bytes, Recovered]]:
        """Return every file seen, and what was recovered from it."""
        return [(self.images[key], recovered) for key, recovered in self._known.items()]


def _committed(image: bytes) -> bytes:
    try:
        file = MemoryMedium(image).open(writable=False, create=False)
        _, slot, _ = choose_slot("", file, writable=False)
    except CorruptionError:
        return image
    return image[: slot.committed_length]
