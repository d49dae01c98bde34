"""Turns: whose turn it is to write, safe from exceptions that come between any two lines.

Ctrl-C and the exceptions of signal handlers can come between taking a lock and the ``try`` that
lets go of it. So the right to write is a ticket in a queue, and a `Turn` takes it out and puts it
back in one call into C each, between whose steps Python delivers no signal. Who has a turn holds
the only strong reference to it: a turn that was left behind puts its ticket back when it is freed,
and one whose thread has ended is revoked by whoever waits for it. A turn may end twice::

    turn = Turn()
    try:
        try:
            turns.give(turn)
            ...
        finally:
            turn.end()
    finally:
        turn.end()  # an exception between the two lines above comes here
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

_LOOK_S: Final = 0.2  # how often a waiting thread looks whether the holder's thread has ended


class Turn:
    """One claim to write. It is over for good when it has ended.

    Attributes
    ----------
    thread : Thread
        Who asked for it.
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
        """Whether this is the turn that its store waits for."""
        return length_hint(self._once) > 0

    @property
    def putting_back(self) -> Iterator[None]:
        """An iterator whose first step puts the ticket back; it has no second one."""
        return self._putting_back

    def take(self, queue: SimpleQueue[None], timeout_s: float) -> None:
        """Take the ticket out of the queue.

        Raises
        ------
        Empty
            Nobody put it back in time.
        """
        self._once = iter(self._tickets)
        self._putting_back = map(queue.put, self._once)
        self._tickets.extend(map(partial(queue.get, timeout=timeout_s), (True,)))

    def claim(self) -> bool:
        """Begin to commit, if nobody has revoked the turn; from now on nobody can."""
        if next(self._right, False):
            self._committing = True
        return self._committing

    def revoke(self) -> bool:
        """End a turn for its holder, unless it has begun to commit; return whether it is over."""
        if not next(self._right, False):
            return False
        self.end()
        return True

    def end(self) -> None:
        """Put the ticket back, if that was not done yet."""
        next(self._putting_back, None)


class Turns:
    """The turns of one open file.

    Parameters
    ----------
    name : str
        What messages call the file.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._queue: SimpleQueue[None] = SimpleQueue()
        self._queue.put(None)
        self._latest: weakref.ref[Turn] | None = None

    @property
    def holder(self) -> Turn | None:
        """Who has the turn; None for nobody, or for somebody who takes it this moment."""
        latest = None if self._latest is None else self._latest()
        return latest if latest is not None and latest.held else None

    @property
    def is_mine(self) -> bool:
        """Whether this thread has the turn."""
        holder = self.holder
        return holder is not None and holder.thread is threading.current_thread()

    def give(self, turn: Turn, *, timeout_s: float = -1) -> None:
        """Wait until it is this turn's time.

        Parameters
        ----------
        timeout_s : float
            Negative waits until the holder ends its turn, however long that takes.

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
            holder.revoke()  # and not just end: another thread may have been given it

    def seize(self, turn: Turn, *, patience_s: float) -> bool:
        """Wait for the turn, and end a transaction that is still open after a while.

        A commit that has begun is waited for; it ends by itself.

        Returns
        -------
        bool
            False at once if this thread is in the middle of that commit: the caller is a signal
            handler, which the commit waits for.
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
