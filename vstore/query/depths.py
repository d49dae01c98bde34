"""What a read of two versions asks of each: how many documents, and which of them.

This is decided here alone. The reads that `asked_of_both` returns are planned, and they are run.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from vstore.query.beside import beside
from vstore.query.fusion.cascade import CASCADE_DEPTH

if TYPE_CHECKING:
    from vstore.query.fetching import VersionRead
    from vstore.query.fusion.rules import FusionRule


def asked_of_both(
    rule: FusionRule, old: VersionRead, new: VersionRead
) -> tuple[VersionRead, VersionRead]:
    """Return the reads of a dual read.

    Parameters
    ----------
    old, new : VersionRead
        Each as a read of this version alone would be.
    """
    k, both = max(old.k, rule.depth), beside(old.table, new.table)
    for_old = both.left(old.matching) if rule.disjoint else old.matching
    return (
        old._replace(k=k, matching=for_old),
        new._replace(k=k, matching=both.answerable(new.matching)),
    )


def asked_of_candidates(old: VersionRead) -> VersionRead:
    """Return the read of a cascade's old version; vectors of the new one are only looked up."""
    return old._replace(k=max(old.k, CASCADE_DEPTH))
