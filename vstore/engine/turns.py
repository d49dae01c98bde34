"""Turns: exclusive access for writers, safe from interrupts between any two lines.

Ctrl-C and exceptions of signal handlers can come between taking a lock and the ``try`` that
releases it. So the right to write is a ticket in a queue; a `Turn` takes it out and puts it back in
one C call each, during which Python delivers no signal. The writer holds the only strong reference
to its turn: an abandoned turn puts its ticket back when it is freed, and the next waiting thread
revokes a turn whose thread has ended. A turn may end twice::

    turn = Turn()
    try:
        try:
            turns.give(turn)
            ...
        finally:
            turn.end()
    finally:
        turn.end()  # for an exception just before the inner `try` or in its `finally`
"""

from __future__ import annotations

import threading
import time
import weakref
from functools import partial
from operator import length_hint
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Final

from vstore.errors import LockedError, StateError

if TYPE_CHECKING:
    from collections.abc import Iterator

_LOOK_S: Final = 0.2  # how often a waiting thread checks whether the holder's thread has ended


class Turn:
    """One turn to write; not reusable after its end.

    Attributes
    ----------
    thread : Thread
        Thread that made the turn.
    """

    def __init__(self) -> None:
        self.thread = threading.current_thread()
        self._tickets: list[None] = []
        self._once = iter(self._tickets)
        self._putting_back: Iterator[None] = iter(())
        self._right = iter((True,))
        self._committing = False

    @property
    def held(self) -> bool:
        """Whether this turn has the ticket."""
        return length_hint(self._once) > 0

    @property
    def putting_back(self) -> Iterator[None]:
        """Iterator whose first and only step puts the ticket back."""
        return self._putting_back

    def take(self, queue: SimpleQueue[None], timeout_s: float) -> None:
        """Take the ticket out of the queue.

        Raises
        ------
        Empty
            The ticket did not come back in time.
        """
        self._once = iter(self._tickets)
        self._putting_back = map(queue.put, self._once)
        self._tickets.extend(map(partial(queue.get, timeout=timeout_s), (True,)))

    def claim(self) -> bool:
        """Begin to commit, which rules out a later revocation; return False if already revoked."""
        if next(self._right, False):
            self._committing = True
        return self._committing

    def revoke(self) -> bool:
        """End the turn, unless its holder has begun to commit; return whether it ended."""
        if not next(self._right, False):
            return False
        self.end()
        return True

    def end(self) -> None:
        """Put the ticket back, if it is not back yet."""
        next(self._putting_back, None)


class Turns:
    """The turns of one open file.

    Parameters
    ----------
    name : str
        Name of the file in messages.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._queue: SimpleQueue[None] = SimpleQueue()
        self._queue.put(None)
        self._latest: weakref.ref[Turn] | None = None

    @property
    def holder(self) -> Turn | None:
        """The turn that has the ticket; None for none, or while one is just taking it."""
        latest = None if self._latest is None else self._latest()
        return latest if latest is not None and latest.held else None

    @property
    def is_mine(self) -> bool:
        """Whether this thread has the turn."""
        holder = self.holder
        return holder is not None and holder.thread is threading.current_thread()

    def give(self, turn: Turn, *, timeout_s: float = -1) -> None:
        """Wait for the ticket, and give it to a turn.

        Parameters
        ----------
        timeout_s : float
            Longest wait for the holder's turn to end; negative for no limit.

        Raises
        ------
        StateError
            This thread has a turn already, and would wait for itself.
        LockedError
            Another thread did not end its turn in time.
        """
        if self.is_mine:
            raise StateError(
                f"{self._name}: this thread has an open transaction; end it first. Tasks of an "
                "event loop share a thread: let each transaction run from its beginning to its "
                "end in asyncio.to_thread, without an await. If an interrupt kept the transaction "
                "from ending, close the store and open it again"
            )
        if not self._wait(turn, timeout_s):
            raise LockedError(self._name, waited_s=timeout_s, own=True, by_thread=True)

    def _wait(self, turn: Turn, timeout_s: float) -> bool:
        deadline = time.monotonic() + timeout_s
        while True:
            rest_s = _LOOK_S if timeout_s < 0 else max(deadline - time.monotonic(), 0.0)
            try:
                turn.take(self._queue, min(rest_s, _LOOK_S))
            except Empty:
                self._end_of_dead_thread()
                if rest_s <= 0.0:
                    return False
                continue
            self._latest = weakref.ref(turn, partial(next, turn.putting_back))
            return True

    def _end_of_dead_thread(self) -> None:
        holder = self.holder
        if holder is not None and not holder.thread.is_alive():
            holder.revoke()  # not `Turn.end`: a thread that was passed the turn must not commit

    def seize(self, turn: Turn, *, patience_s: float) -> bool:
        """Wait for the ticket, and revoke the turn of a transaction still open after a while.

        A commit that has begun is waited for; it ends by itself.

        Returns
        -------
        bool
            False at once if this thread is in the middle of a commit: the caller is a signal
            handler, and waiting would be a deadlock.
        """
        deadline = time.monotonic() + patience_s
        while True:
            holder = self.holder
            if holder is not None and (self.is_mine or time.monotonic() >= deadline):
                is_over = holder.revoke()
                if self.is_mine and not is_over:
                    return False
            if self._wait(turn, min(_LOOK_S, patience_s)):
                return True
