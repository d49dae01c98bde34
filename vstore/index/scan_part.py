"""Rows of a part of a version, as a search takes them."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from vstore.types import Array, BoolArray


class ScanPart(NamedTuple):
    """Rows to scan.

    Attributes
    ----------
    vectors : float32 or float16 (n, dimension)
    norms : float32 (n,)
    groups : u32 (n,)
        Ascending group of each row; a search returns the best row of each group (of each document,
        say), or every row if ``distinct`` says that no two rows share a group.
    distinct : bool
    allowed : bool (n,) or None
        Rows that may be returned; None for all.
    """

    vectors: Array
    norms: Array
    groups: Array
    distinct: bool
    allowed: BoolArray | None
