"""Ctrl-C at any line of a write: the store is in the old state or the new one, and says which."""

from __future__ import annotations

import functools
import linecache
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import vstore
from tests.crash.recovery import recover, reopen
from tests.crash.workload import BEGINNING, MIGRATION, Run, dump, unit_rows
from vstore.errors import LockedError, StateError, StorageError
from vstore.storage.memory import MemoryMedium

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType

    from vstore import Store

PACKAGE = str(Path(vstore.__file__).parent)

# Between taking the turn to write and the `try` that gives it back there are a few instructions.
# Python cannot make them one. Ctrl-C right there leaves a handle that takes no more writes.
TURN_TAKING = {"begin", "_end", "finish", "change", "__enter__", "__exit__", "vacuum"}


class InterruptAt:
    """Raises KeyboardInterrupt at the n-th line that vstore executes, once."""

    def __init__(self, number: int) -> None:
        self.left = number
        self.place = ""
        self.function = ""

    def __enter__(self) -> None:
        sys.settrace(self._call)

    def __exit__(self, *_: object) -> None:
        sys.settrace(None)

    def _call(self, frame: FrameType, event: str, _argument: object) -> Any:
        return self._line if frame.f_code.co_filename.startswith(PACKAGE) else None

    def _line(self, frame: FrameType, event: str, _argument: object) -> Any:
        if event == "line":
            self.left -= 1
            # A `with` line is traced again when its block ends, before the exit: a moment at which
            # Python delivers no signal. Wait for the next line.
            if self.left <= 0 and not self.place and not _opens_block(frame):
                self.function = frame.f_code.co_name
                self.place = f"{frame.f_code.co_filename}:{frame.f_lineno}"
                raise KeyboardInterrupt
        return self._line


def _opens_block(frame: FrameType) -> bool:
    line = linecache.getline(frame.f_code.co_filename, frame.f_lineno)
    return line.lstrip().startswith("with ")


@functools.cache
def prepared() -> bytes:
    medium = MemoryMedium()
    run = Run(medium)
    for _, action in [*BEGINNING, *MIGRATION]:
        action(run)
    run.store.create_collection("passing")
    run.store.close()
    return medium.tobytes()


def upsert(store: Store) -> None:
    with store.transaction() as tx:
        docs = store.collection("docs")
        tx.upsert(docs, ["doc-1", "new"], vectors={"v1": unit_rows(1, (2, 4))})
        tx.delete(docs, ["doc-6"])


def seal(store: Store) -> None:
    store.drop_collection("passing")


def vacuum(store: Store) -> None:
    store.vacuum()


# A vacuum runs through some 30,000 lines, mostly of loops over rows.
@pytest.mark.parametrize(
    ("write", "step"),
    [
        pytest.param(upsert, 37, id="an upsert"),
        pytest.param(upsert, 1, id="an upsert, every line", marks=pytest.mark.slow),
        pytest.param(seal, 151, id="a seal"),
        pytest.param(seal, 11, id="a seal, every 11th line", marks=pytest.mark.slow),
        pytest.param(vacuum, 1_999, id="a vacuum"),
        pytest.param(vacuum, 53, id="a vacuum, every 53rd line", marks=pytest.mark.slow),
    ],
)
def test_an_interrupted_write_happened_or_did_not(
    write: Callable[[Store], None], step: int, record_property: Callable[[str, object], None]
) -> None:
    before = recover(prepared())
    whole = MemoryMedium(prepared())
    with reopen(whole) as store:
        write(store)
        after = dump(store)
    number = 1
    while True:
        medium = MemoryMedium(prepared())
        store = reopen(medium)
        interrupt = InterruptAt(number)
        try:
            with interrupt:
                write(store)
        except KeyboardInterrupt:
            pass
        if not interrupt.place:
            break
        where = f"line {number}, {interrupt.place}"
        state = dump(store)
        assert state in (before.state, after), where
        try:
            with store.transaction(timeout_s=0) as tx:
                tx.edit(lambda s: s, name="nothing", note="")
            assert dump(store) == recover(medium.tobytes()).state, where
        except StorageError as error:
            if "close and reopen" not in str(error):
                raise
        except (LockedError, StateError):
            assert interrupt.function in TURN_TAKING, where
        else:
            store.close()
        assert recover(medium.tobytes()).state in (before.state, after), where
        number += step
    record_property("points", number // step)
