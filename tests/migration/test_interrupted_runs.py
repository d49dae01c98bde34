"""A run of a job that was interrupted anywhere leaves the job to the next run."""

from __future__ import annotations

import sys
import threading
from typing import TYPE_CHECKING, Any

import pytest

import vstore
from tests.crash.interrupted import HANG_S
from tests.migration.corpus import corpus, embed
from tests.small_store import NEW, OLD
from vstore.migration.jobs import running

if TYPE_CHECKING:
    from types import FrameType


class InterruptIn:
    """Raises KeyboardInterrupt at the n-th trace event in a module, once."""

    def __init__(self, number: int) -> None:
        self.left = number

    def __call__(self, frame: FrameType, event: str, _argument: object) -> Any:
        if frame.f_code.co_filename != running.__file__:
            return None
        self.left -= 1
        if self.left == 0:
            sys.settrace(None)
            raise KeyboardInterrupt
        return self


@pytest.mark.parametrize("number", range(1, 25))
def test_an_interrupt_between_any_two_lines_leaves_no_run_behind(number: int) -> None:
    docs = corpus(4)
    kept = None
    sys.settrace(InterruptIn(number))
    try:
        docs.migrate(OLD, NEW, embed).run()
    except KeyboardInterrupt as error:
        kept = error
    finally:
        sys.settrace(None)
    reports: list[Any] = []
    other = threading.Thread(
        target=lambda: reports.append(docs.migrate(OLD, NEW, embed).run()), daemon=True
    )
    other.start()
    other.join(HANG_S)
    assert [report.status for report in reports] == ["done"], number
    assert docs.coverage(NEW).complete
    del kept


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_job_whose_thread_ended_can_be_run() -> None:
    docs = corpus(4)

    def fails(_: object) -> Any:
        raise SystemExit

    thread = threading.Thread(target=docs.migrate(OLD, NEW, fails).run)
    thread.start()
    thread.join()
    assert docs.migrate(OLD, NEW, embed).run().status == "done"


@pytest.mark.parametrize("policy", ["require", "queue"])
def test_between_the_end_of_a_migration_and_the_cutover_no_gap_opens(policy: Any) -> None:
    docs = corpus(4)
    docs.migration.set_dual_write(policy)
    docs.migrate(OLD, NEW, embed).run()
    vectors = {OLD: docs.get_vectors(docs.ids()[0], OLD)[:1]}
    if policy == "require":
        with pytest.raises(vstore.MissingVectorsError):
            docs.upsert(["new"], texts=["new"], vectors=vectors)
    else:
        docs.upsert(["new"], texts=["new"], vectors=vectors)
        assert docs.versions[NEW].backfill is not None
        assert docs.migrate(OLD, NEW).status().status == "open"
