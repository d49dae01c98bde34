"""Ctrl-C anywhere: a handle goes on or says to reopen; nothing is lost, stuck or left behind."""

from __future__ import annotations

import contextlib
import gc
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import vstore
from tests.crash import interrupted
from tests.crash.interrupted import (
    backfill,
    close,
    cutover,
    docs,
    flush_metrics,
    migrate,
    optimize,
    refresh,
    reopen,
    search,
    transaction,
    trial,
    upsert,
    upsert_texts,
    vacuum,
)
from vstore.api.transaction import Transaction
from vstore.engine.turns import Turn, Turns
from vstore.storage.real_file import RealFile

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import FrameType

ROOT = Path(__file__).parents[2]
SEVERAL_COMMITS = (backfill, migrate, refresh, upsert_texts)
SIGNALS_S = 600.0

# Steps are primes: what repeats is met at another line each time.
SAMPLE = [
    (upsert, 197),
    (transaction, 197),
    (search, 613),
    (optimize, 661),
    (vacuum, 997),
    (backfill, 997),
    (migrate, 997),
    (cutover, 197),
    (upsert_texts, 397),
    (flush_metrics, 397),
    (refresh, 997),
    (close, 3),
    (reopen, 661),
]
EVERY = [
    (upsert, 1),
    (transaction, 1),
    (search, 2),
    (optimize, 3),
    (vacuum, 5),
    (backfill, 5),
    (migrate, 7),
    (cutover, 1),
    (upsert_texts, 2),
    (flush_metrics, 2),
    (refresh, 11),
    (close, 1),
    (reopen, 5),
]
HANDLES: dict[str, dict[str, Any]] = {
    "": {},
    ", relaxed": {"durability": "relaxed"},
    ", background": {"indexing": "background"},
}


def cases() -> list[Any]:
    """Return action, step, options of the handle, and whether the exception is kept."""
    sample = [pytest.param(a, step, {}, False, id=a.__name__) for a, step in SAMPLE]
    sample += [
        pytest.param(a, step * 3, HANDLES[", background"], True, id=f"{a.__name__}, kept")
        for a, step in SAMPLE
    ]
    return sample + [
        pytest.param(
            a,
            step if not name else step * 5,
            options,
            bool(name),
            id=f"{a.__name__}{name}, every {step}",
            marks=pytest.mark.slow,
        )
        for name, options in HANDLES.items()
        for a, step in EVERY
    ]


@pytest.fixture
def quick_collections() -> Iterator[None]:
    """Let the collections of thousands of trials look at what the trials made, and no more."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.mark.usefixtures("quick_collections")
@pytest.mark.parametrize(("action", "step", "options", "kept"), cases())
def test_an_interrupted_action_happened_or_did_not(
    action: Callable[[vstore.Store], None],
    step: int,
    options: dict[str, Any],
    kept: bool,
    tmp_path: Path,
    record_property: Callable[[str, object], None],
) -> None:
    base = interrupted.make(tmp_path / "base.vstore")
    folder = tmp_path / "trial"
    folder.mkdir()

    def outcome(number: int) -> interrupted.Outcome:
        return trial(action, number, base=base, folder=folder, kept=kept, **options)

    with vstore.open(base, mode="r") as store:
        before = interrupted.contents(store)
    after = outcome(10**9).state
    number, points = 1, 0
    while True:
        place, state = outcome(number)
        if not place:
            break
        points += 1
        if action not in SEVERAL_COMMITS:
            assert state in (before, after), f"line {number}, {place}"
        number += step
    record_property("points", points)


@pytest.mark.skipif(sys.platform == "win32", reason="timers that interrupt are POSIX")
@pytest.mark.parametrize("count", [200, pytest.param(20_000, marks=pytest.mark.slow)])
def test_signals_at_random_times_lose_nothing_and_leave_nothing(
    count: int, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    process = subprocess.run(
        [sys.executable, "-m", "tests.crash.signalled", str(tmp_path), str(count), "7"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=max(SIGNALS_S, count / 5),
    )
    assert process.returncode == 0, process.stdout[-3000:] + process.stderr[-3000:]
    assert int(process.stdout.split()[0]) >= count, process.stdout
    record_property("points", count)


def test_a_transaction_that_was_interrupted_in_a_call_commits_nothing() -> None:
    with vstore.open(":memory:") as store:
        made = store.create_collection("docs")
        made.upsert(["a"], texts=["a"])
        total = 0
        for number in range(1, 2_000):
            interrupt = interrupted.InterruptAt(number)
            ids = made.ids()
            tx = store.transaction()
            tx.__enter__()
            with contextlib.suppress(KeyboardInterrupt), interrupt:
                tx.upsert(made, ["a", f"new {number}"], texts=["b", "c"])
            try:
                tx.__exit__(None, None, None)
            except vstore.TransactionError:
                assert made.ids() == ids
                total += 1
            else:
                assert made.ids() in (ids, [*ids, f"new {number}"])
            if not interrupt.place:
                break
            made.upsert(["a"], texts=["a"])
        assert total > 10


@pytest.mark.parametrize("fails", [False, True])
def test_an_interrupt_right_before_a_block_is_left_gives_the_turn_back(*, fails: bool) -> None:
    def interrupt(frame: FrameType, event: str, _argument: object) -> None:
        if event == "call" and frame.f_code is Transaction._leave.__code__:
            sys.settrace(None)
            raise KeyboardInterrupt

    with vstore.open(":memory:") as store:
        made = store.create_collection("docs")

        def write() -> None:
            with store.transaction() as tx:
                tx.upsert(made, ["a"])
                sys.settrace(interrupt)
                if fails:
                    raise ZeroDivisionError

        with pytest.raises(KeyboardInterrupt) as kept:
            write()
        made.upsert(["b"])
        other = threading.Thread(target=made.upsert, args=(["c"],), daemon=True)
        other.start()
        other.join(interrupted.HANG_S)
        assert made.ids() == ["b", "c"]
        del kept


class InterruptCall:
    """Raises KeyboardInterrupt at the n-th call that vstore makes, before its first line, once."""

    def __init__(self, number: int) -> None:
        self.left = number
        self.place = ""

    def __call__(self, frame: FrameType, event: str, _argument: object) -> None:
        if event == "call" and frame.f_code.co_filename.startswith(interrupted.PACKAGE):
            self.left -= 1
            if self.left == 0:
                self.place = frame.f_code.co_qualname
                raise KeyboardInterrupt


@pytest.mark.parametrize("options", [{}, {"durability": "relaxed"}, {"keep_metrics": True}])
def test_a_block_ends_closed_wherever_a_call_of_its_end_is_interrupted(
    options: dict[str, Any], tmp_path: Path
) -> None:
    """But right before the first line of `__exit__`: then as before a call of `close`."""
    path = interrupted.make(tmp_path / "a.vstore")

    def attempt(number: int) -> str:
        interrupt = InterruptCall(number)
        kept: BaseException | None = None
        store = vstore.open(path, **options)
        try:
            with store:
                upsert(store)
                search(store)
                sys.settrace(interrupt)
        except KeyboardInterrupt as error:
            kept = error  # whose frames would keep what they hold
        finally:
            sys.settrace(None)
        assert bool(kept) == bool(interrupt.place)
        if interrupt.place == "Store.__exit__":
            store.close()  # had not begun
        assert store.closed, interrupt.place
        with vstore.open(path):  # nobody holds the lock
            return interrupt.place

    assert attempt(1) == "Store.__exit__"
    number = 2
    while attempt(number):
        number += 1 if number < 40 else 11
    assert number > 20


@pytest.mark.parametrize("function", ["append", "publish", "_sync", "_commit_delta"])
def test_a_handler_may_close_the_store_in_the_middle_of_a_commit(
    function: str, tmp_path: Path
) -> None:
    """As SIGTERM's does, which interrupts the commit that a close would wait for."""

    def handle(frame: FrameType, event: str, _argument: object) -> None:
        if event == "call" and frame.f_code.co_name == function:
            sys.settrace(None)
            store.close()

    path = tmp_path / "docs.vstore"
    store = vstore.open(path)
    made = store.create_collection("docs")
    try:
        sys.settrace(handle)
        with pytest.raises(vstore.VstoreError):
            made.upsert(["a"])
    finally:
        sys.settrace(None)
    assert store.closed
    with vstore.open(path) as again:
        assert again.check().ok
        assert docs(again).ids() in ([], ["a"])
        docs(again).upsert(["b"])


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.parametrize("ask", ["metrics", "traces"])
def test_a_forked_child_waits_for_no_thread_of_its_parent(ask: str) -> None:
    store = vstore.open(":memory:")
    held, done = threading.Event(), threading.Event()

    def hold() -> None:
        with store._observer._lock:
            held.set()
            done.wait()

    thread = threading.Thread(target=hold)
    thread.start()
    held.wait()
    child = os.fork()
    if not child:
        try:
            getattr(store, ask)()
        except vstore.ClosedError:
            os._exit(0)
        finally:  # whatever it raised, no second pytest goes on
            os._exit(1)
    done.set()
    thread.join()
    assert os.waitpid(child, 0)[1] == 0


def test_a_transaction_may_be_entered_by_a_stack() -> None:
    with vstore.open(":memory:") as store:
        made = store.create_collection("docs")
        with contextlib.ExitStack() as stack:
            tx = stack.enter_context(store.transaction())
            tx.upsert(made, ["a"])
            gc.collect()
            assert made.ids() == []
        assert made.ids() == ["a"]


def test_a_turn_that_is_dropped_is_given_back() -> None:
    turns = Turns("test")
    turn = Turn()
    turns.give(turn)
    with pytest.raises(vstore.StateError, match=r"asyncio\.to_thread"):
        turns.give(Turn())
    del turn
    again = Turn()
    turns.give(again, timeout_s=0)
    for _ in range(2):
        again.end()
    last = Turn()
    turns.give(last, timeout_s=0)
    with pytest.raises(vstore.StateError):
        turns.give(Turn(), timeout_s=0)


def test_a_transaction_whose_thread_ended_cannot_commit_beside_another_one() -> None:
    with vstore.open(":memory:") as store:
        made = store.create_collection("docs")
        tx = store.transaction()

        def begin() -> None:
            tx.__enter__()
            tx.upsert(made, ["left behind"])

        thread = threading.Thread(target=begin)
        thread.start()
        thread.join()
        made.upsert(["a"])
        with pytest.raises(vstore.ClosedError, match="thread"):
            tx.__exit__(None, None, None)
        assert made.ids() == ["a"]


def test_a_transaction_may_be_handed_to_another_thread() -> None:
    with vstore.open(":memory:") as store:
        made = store.create_collection("docs")
        tx = store.transaction()
        tx.__enter__()
        tx.upsert(made, ["a"])
        thread = threading.Thread(target=tx.__exit__, args=(None, None, None))
        thread.start()
        thread.join()
        assert made.ids() == ["a"]


def test_a_turn_of_a_thread_that_ended_is_over() -> None:
    turns, turn = Turns("test"), Turn()

    def take() -> None:
        turn.thread = threading.current_thread()
        turns.give(turn)

    thread = threading.Thread(target=take)
    thread.start()
    thread.join()
    turns.give(Turn())


def test_an_interrupt_as_a_vacuum_s_copy_is_locked_lets_the_lock_go(tmp_path: Path) -> None:
    path = tmp_path / "docs.vstore"
    store = vstore.open(path)
    store.create_collection("docs")

    def interrupt(frame: FrameType, event: str, _argument: object) -> Any:
        if frame.f_code is RealFile.lock.__code__ and event == "return":
            sys.settrace(None)
            raise KeyboardInterrupt
        return interrupt

    kept = None
    sys.settrace(interrupt)
    try:
        store.vacuum()
    except KeyboardInterrupt as error:
        kept = error
    finally:
        sys.settrace(None)
    assert kept is not None
    store.close()
    with vstore.open(path) as again:
        assert again.check().ok
    assert [entry.name for entry in tmp_path.iterdir()] == ["docs.vstore"]
    del kept
