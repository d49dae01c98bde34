"""When graphs are built, and with what."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from vstore.native import loader

if TYPE_CHECKING:
    from vstore.engine.open_file import Indexing
    from vstore.index.construction import Kernels
    from vstore.segment.compaction import FindKernels

_REFERENCE_ROWS_MAX: Final = 5_000  # NumPy builds graphs a thousand times slower


def builders(rows: int) -> Kernels | None:
    """Return what builds a graph of so many rows here; waits for machine code if need be."""
    native = loader.kernels(wait=True)
    if native is not None:
        return native
    return loader.reference() if rows <= _REFERENCE_ROWS_MAX else None


def during_commits(indexing: Indexing) -> FindKernels | None:
    """Return what commits ask for kernels; None if they leave merges and graphs to a thread."""
    if indexing == "background":
        return None
    return builders if indexing == "inline" else _none


def _none(_rows: int) -> None:
    return None
