"""A caller's generators, drawn before a writer's turn begins.

What a generator does while it is iterated is the caller's code: it may take long, or write itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, TypeVar

from vstore.deferred import Deferred
from vstore.segment.copies import drawn_copies

if TYPE_CHECKING:
    from vstore.embedding import embedder as embedders
else:  # not what a search needs
    embedders = Deferred("vstore.embedding.embedder")

_T = TypeVar("_T")


def drawn(values: _T) -> _T:
    """Return values that can be iterated without running the caller's code.

    Iterables without a length become lists of copies, also as the values of a mapping; all else is
    returned as it is.
    """
    if isinstance(values, embedders.Embeddings):
        if _is_drawn_from(values.vectors):
            return embedders.Embeddings(values.spec, drawn_copies(values.vectors))  # type: ignore[arg-type,return-value]  # checked later
    elif isinstance(values, Mapping):
        if any(_is_drawn_from(value) for value in values.values()):
            return {name: drawn(value) for name, value in values.items()}  # type: ignore[return-value]
    elif _is_drawn_from(values):
        return drawn_copies(values)  # type: ignore[arg-type,return-value]
    return values


def _is_drawn_from(values: object) -> bool:
    if isinstance(values, embedders.Embeddings):
        return _is_drawn_from(values.vectors)
    return hasattr(values, "__iter__") and not hasattr(values, "__len__")
