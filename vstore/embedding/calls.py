"""Calls of an embedding function: paced, given up on in time, and tried again."""

from __future__ import annotations

from dataclasses import dataclass
from queue import Empty, SimpleQueue
from threading import Thread
from time import sleep
from typing import TYPE_CHECKING, Final, TypeVar

from vstore.errors import (
    EmbeddingError,
    InvalidArgumentError,
    LimitExceededError,
    MissingDependencyError,
    VstoreError,
)
from vstore.numbers import check_number, check_whole

if TYPE_CHECKING:
    from collections.abc import Callable

    import tenacity

    from vstore.clock import Clock

Value = TypeVar("Value")
HUNG_MAX: Final = 64  # calls that were given up on and still run; more would eat the process
BACKOFF_S: Final = 0.5  # before the second try, doubled for each one after
BACKOFF_MAX_S: Final = 60.0


def may_pass(error: BaseException) -> bool:
    """Whether a try that failed so may do better next time, or with other documents.

    Not so if the store refuses to go on, whatever the vectors: another geometry, a retired version,
    a full disk. Nor if this process is at its end: another document would not do better. And an
    interrupt is no failure.
    """
    if isinstance(error, MemoryError | RecursionError):
        return False
    if isinstance(error, VstoreError):
        return isinstance(error, InvalidArgumentError | LimitExceededError)
    return isinstance(error, Exception)


@dataclass(frozen=True, slots=True)
class Calls:
    """How an embedding function is called.

    Attributes
    ----------
    batch_size : int
        Documents per commit; a call gets no more.
    retries : int
        Tries after the first one, with exponential backoff and jitter; needs the extra ``migrate``.
    timeout_s : float, optional
        Give up on a call after so long. It runs in a thread of its own then, for Python cannot
        stop one: the thread is left to itself, what it returns later is thrown away, and it does
        not keep the process from ending. At 64 such threads no further call is made.
    rate_per_s : float, optional
        Calls a second, tries included.
    """

    batch_size: int = 256
    retries: int = 0
    timeout_s: float | None = None
    rate_per_s: float | None = None


class Caller:
    """Calls an embedding function as `Calls` says.

    Attributes
    ----------
    batch_size : int
    made : int
        Calls so far.

    Raises
    ------
    InvalidArgumentError
        They are no `Calls`, or a number of theirs is out of range.
    MissingDependencyError
        There are to be retries, and tenacity is not installed.
    """

    def __init__(self, clock: Clock, calls: Calls) -> None:
        if not isinstance(calls, Calls):
            raise InvalidArgumentError(f"calls: expected Calls, found {calls!r:.60}")
        self.batch_size = check_whole(calls.batch_size, what="calls: batch_size", least=1)
        retries = check_whole(calls.retries, what="calls: retries", least=0, most=1_000)
        self._clock = clock
        self._timeout_s = _positive(calls.timeout_s, "calls: timeout_s")
        rate_per_s = _positive(calls.rate_per_s, "calls: rate_per_s")
        self._interval_s = 0.0 if rate_per_s is None else 1.0 / rate_per_s
        self._next_s = float("-inf")
        self._hung: list[Thread] = []
        self.made = 0
        self._retrying = _retrying(retries) if retries else None

    def retried(self, attempt: Callable[[], Value]) -> Value:
        """Return what the attempt returns, once it does; else raise its last error.

        Errors that will not pass are raised at once; see `may_pass`.
        """
        return attempt() if self._retrying is None else self._retrying(attempt)

    def once(self, function: Callable[[], Value]) -> Value:
        """Call a function when the rate allows it, and return what it returns in time.

        Raises
        ------
        TimeoutError
            The call does not return in time.
        EmbeddingError
            Too many calls hang.
        """
        if self._interval_s:
            now = self._clock.monotonic_s()
            if self._next_s > now:
                sleep(self._next_s - now)
            self._next_s = max(now, self._next_s) + self._interval_s
        self.made += 1
        return function() if self._timeout_s is None else self._in_time(function, self._timeout_s)

    def _in_time(self, function: Callable[[], Value], timeout_s: float) -> Value:
        self._hung = [thread for thread in self._hung if thread.is_alive()]
        if len(self._hung) >= HUNG_MAX:
            raise EmbeddingError(
                f"{HUNG_MAX} calls of the embedding function hang, each for more than "
                f"timeout_s={timeout_s:g}; let it give up by itself, and run the migration again"
            )
        answers: SimpleQueue[tuple[list[Value], BaseException | None]] = SimpleQueue()

        def work() -> None:
            try:
                answers.put(([function()], None))
            except BaseException as error:
                answers.put(([], error))

        thread = Thread(target=work, name="vstore-embedding", daemon=True)
        thread.start()
        try:
            values, error = answers.get(timeout=timeout_s)
        except Empty:
            self._hung.append(thread)
            raise TimeoutError(f"no vectors after {timeout_s:g} s") from None
        if error is not None:
            raise error
        return values[0]


def _positive(value: float | None, what: str) -> float | None:
    if value is None:
        return None
    return check_number(value, what=what, least=1e-6, most=1e9)


def _retrying(retries: int) -> tenacity.Retrying:
    try:
        import tenacity
    except ImportError as error:
        raise MissingDependencyError("tenacity, for retries", extra="migrate") from error
    return tenacity.Retrying(
        stop=tenacity.stop_after_attempt(1 + retries),
        wait=tenacity.wait_exponential(multiplier=BACKOFF_S, max=BACKOFF_MAX_S)
        + tenacity.wait_random(0, BACKOFF_S),
        retry=tenacity.retry_if_exception(may_pass),
        sleep=sleep,
        reraise=True,
    )
