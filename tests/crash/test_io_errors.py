"""Operation k fails, for every k: once, for ever, half done, or for want of space."""

from __future__ import annotations

import errno
import functools
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.crash.recovery import Recoveries, mark
from tests.crash.workload import SHORT_LIFE, Recording, Run, dump, record
from vstore.errors import StorageError
from vstore.storage.layout import BLOCKS_START
from vstore.testing import Failure, FaultyMedium, Operation, survivors

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

SAMPLE_STEP = 13
FULL_DISK_WRITER = Path(__file__).with_name("full_disk_writer.py")

every_operation = pytest.param(1, marks=pytest.mark.slow, id="every operation")
sample = pytest.param(SAMPLE_STEP, id="a sample")


@functools.cache
def clean_run() -> Recording:
    return record(FaultyMedium(), SHORT_LIFE)


class Interrupted:
    """A run of the script into a failure, up to the step that raised.

    Attributes
    ----------
    run : Run | None
        None if the store could not even be opened.
    left : list
        Steps from the failed one on.
    """

    def __init__(self, failure: Failure) -> None:
        self.medium = FaultyMedium(failure=failure)
        self.run: Run | None = None
        self.left = list(SHORT_LIFE)
        try:
            self.run = Run(self.medium)
            self.run.note()
            self.go_on()
        except StorageError as error:
            self.error: StorageError | None = error
        else:
            self.error = None

    def go_on(self) -> None:
        """Run what is left of the script."""
        assert self.run is not None
        while self.left:
            self.left[0][1](self.run)
            self.run.note()
            del self.left[0]

    @property
    def acknowledged(self) -> int:
        return self.run.acknowledged if self.run else 0


def failures(operations: Sequence[Operation], step: int) -> Iterator[Failure]:
    """Yield every way in which each of some operations may fail."""
    for at in range(0, len(operations), step):
        for persistent in (False, True):
            yield Failure(at, persistent=persistent)
            if operations[at].kind == "write":
                yield Failure(at, persistent=persistent, short=True, code=errno.ENOSPC)


def leaves_doubt(operations: Sequence[Operation], at: int) -> bool:
    """Whether nobody can tell what is on the disk if this operation of a whole run fails.

    A sync, a slot. Not what fails in a vacuum's new file before that has the store's name, nor the
    rename that would give it that.
    """
    current = 0
    for operation in operations[:at]:
        if operation.kind == "rename":
            current = operation.file
    operation = operations[at]
    if operation.kind == "sync_directory":
        return True
    slot = operation.kind == "write" and operation.offset < BLOCKS_START
    return operation.file == current and (slot or operation.kind == "sync")


@pytest.mark.parametrize("step", [sample, every_operation])
def test_a_failing_operation_loses_nothing_that_was_acknowledged(
    step: int, record_property: Callable[[str, object], None]
) -> None:
    clean, recoveries = clean_run(), Recoveries(thorough=False)
    count = 0
    for failure in failures(clean.medium.journal, step):
        count += 1
        broken = Interrupted(failure)
        where = f"{failure} in step {broken.left[0][0] if broken.left else None!r}"
        assert broken.error is not None, where
        assert isinstance(broken.error.__cause__, OSError), where
        done = broken.acknowledged
        in_flight = clean.states[done].state
        allowed = [clean.states[done - 1].state, in_flight] if done else [in_flight]
        if broken.run:
            assert dump(broken.run.store) == allowed[0], f"reads after {where}"
        journal = broken.medium.journal
        for image in (
            broken.medium.tobytes(),
            survivors(journal, len(journal), damage="dropped", seed=0),
            survivors(journal, len(journal), damage="torn512", seed=failure.at),
        ):
            assert recoveries.of(image).state in allowed, where
    record_property("points", count)


@pytest.mark.parametrize("step", [sample, every_operation])
def test_a_failure_that_leaves_doubt_refuses_all_later_writes(step: int) -> None:
    clean = clean_run()
    opened = clean.states[0].position
    for failure in failures(clean.medium.journal, step):
        if failure.at < opened or not leaves_doubt(clean.medium.journal, failure.at):
            continue
        broken = Interrupted(failure)
        assert broken.run is not None
        for _ in range(2):
            with pytest.raises(StorageError, match="close and reopen"):
                mark(broken.run.store)
        before = broken.medium.attempts
        with pytest.raises(StorageError, match="close and reopen"):
            broken.run.store.vacuum()
        assert broken.medium.attempts == before, f"{failure}: a poisoned handle touched the disk"
        assert dump(broken.run.store) == clean.states[broken.acknowledged - 1].state
        broken.run.store.close()


@pytest.mark.parametrize("step", [sample, every_operation])
def test_after_a_failed_append_the_next_commit_works(step: int) -> None:
    clean = clean_run()
    opened = clean.states[0].position
    for failure in failures(clean.medium.journal, step):
        if (
            failure.persistent
            or failure.at < opened
            or leaves_doubt(clean.medium.journal, failure.at)
        ):
            continue
        broken = Interrupted(failure)
        broken.go_on()
        assert broken.run is not None
        assert dump(broken.run.store) == clean.states[-1].state, str(failure)
        assert broken.run.store.check().ok, str(failure)
        broken.run.store.close()


@pytest.mark.parametrize("step", [sample, every_operation])
def test_a_store_that_could_not_be_created_can_be_created_again(step: int) -> None:
    clean = clean_run()
    creation = clean.medium.journal[: clean.states[0].position]
    for failure in failures(creation, step):
        broken = Interrupted(failure)
        assert broken.run is None
        broken.medium.failure = None
        with Run(broken.medium).store as store:
            assert dump(store) == clean.states[0].state, str(failure)


@pytest.mark.skipif(sys.platform != "linux", reason="RLIMIT_FSIZE with SIGXFSZ ignored")
def test_a_full_disk_refuses_a_commit_and_keeps_the_rest(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, str(FULL_DISK_WRITER), str(tmp_path / "full.vstore")],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["refused", "read", "small", "vacuum-refused", "large", "sound"]
