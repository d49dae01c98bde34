"""When graphs are built, and with which kernels."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal, TypeAlias, get_args

from vstore.native import loader

if TYPE_CHECKING:
    from vstore.index.construction import Kernels
    from vstore.segment.compaction import FindKernels

Indexing: TypeAlias = Literal["inline", "background", "manual"]
INDEXINGS: Final[tuple[Indexing, ...]] = get_args(Indexing)
_REFERENCE_ROWS_MAX: Final = 5_000  # NumPy builds graphs a thousand times slower


def builders(rows: int) -> Kernels | None:
    """Return kernels to build a graph of so many rows; wait for native ones if they are loading."""
    native = loader.kernels(wait=True)
    if native is not None:
        return native
    return loader.reference() if rows <= _REFERENCE_ROWS_MAX else None


def during_commits(indexing: Indexing) -> FindKernels | None:
    """Return the ``kernels`` of commits; None if they leave merges and graphs to a thread."""
    if indexing == "background":
        return None
    return builders if indexing == "inline" else _none


def _none(_rows: int) -> None:
    return None
