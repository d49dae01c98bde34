"""How many documents, and which, a read of two versions requests from each.

Only this module decides that: planner and executor take the reads that it returns.
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
        Reads of each version alone.
    """
    k, both = max(old.k, rule.depth), beside(old.table, new.table)
    for_old = both.left(old.matching) if rule.disjoint else old.matching
    return (
        old._replace(k=k, matching=for_old),
        new._replace(k=k, matching=both.answerable(new.matching)),
    )


def asked_of_candidates(old: VersionRead) -> VersionRead:
    """Return the read of a cascade's old version; the new version's vectors are only looked up."""
    return old._replace(k=max(old.k, CASCADE_DEPTH))
