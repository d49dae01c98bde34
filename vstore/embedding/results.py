"""Calls of embedding functions, whose authors are others: what they give that is no vectors.

A coroutine, because the function is asynchronous; and a `StopIteration`, which would end a loop of
somebody's in silence.
"""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Iterator
from typing import TYPE_CHECKING, Final

from vstore.errors import EmbeddingError, InvalidArgumentError
from vstore.segment.copies import drawn_copies

if TYPE_CHECKING:
    from collections.abc import Callable

_ADVICE: Final = (
    "Embedders are called synchronously. Pass a function that runs the coroutine and returns its "
    "vectors: lambda texts: asyncio.run(embed(texts)). Where an event loop runs already, call "
    "vstore in a thread: await asyncio.to_thread(...)."
)


def require_synchronous(function: object, *, what: str) -> None:
    """Refuse a coroutine function, as far as it can be told without a call.

    Raises
    ------
    InvalidArgumentError
        It is a coroutine function or an asynchronous generator.
    """
    for known in (function, getattr(function, "__call__", None)):  # noqa: B004 - of an instance
        if inspect.iscoroutinefunction(known) or inspect.isasyncgenfunction(known):
            raise InvalidArgumentError(f"{what}: it is a coroutine function. {_ADVICE}")


def vectors_from(function: Callable[..., object], *arguments: object, what: str) -> object:
    """Return what an embedding function returns; of an iterator, a list of copies.

    Raises
    ------
    EmbeddingError
        It returns a coroutine, which is closed, or raises `StopIteration`.
    """
    try:
        made = function(*arguments)
        if isinstance(made, Iterator):
            made = drawn_copies(made)
    except (StopIteration, StopAsyncIteration) as error:
        raise EmbeddingError(
            f"{what} raised {type(error).__name__}: it took the next item of an iterator that has "
            "no more. Nothing was written of this call; mend the function, and run it again"
        ) from error
    waiting = _waiting(made)
    for one in waiting:
        if inspect.iscoroutine(one):
            one.close()  # else Python warns that it was never awaited
    if waiting:
        kind = type(waiting[0]).__name__
        raise EmbeddingError(
            f"{what} returned a {kind}, as a coroutine function does, and no vectors. {_ADVICE}"
        )
    return made


def _waiting(made: object) -> list[object]:
    """Return what is to be awaited: the result, what it stamps, or items of a list."""
    rows = getattr(made, "vectors", made)  # of `Embeddings`
    some = rows if isinstance(rows, list | tuple) else (rows,)
    return [one for one in some if isinstance(one, Awaitable) or inspect.isasyncgen(one)]
