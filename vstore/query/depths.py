"""What a read of two versions asks of each: how many documents, and which of them.

This is decided here alone. The reads that `asked_of_both` returns are planned, and they are run.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from vstore.fusions import BRIDGED, SYMMETRIC
from vstore.query.beside import beside
from vstore.query.cascade import CASCADE_DEPTH
from vstore.query.imputed import IMPUTED_DEPTH

if TYPE_CHECKING:
    from vstore.query.fetching import VersionRead

SCORE_FUSION_DEPTH: Final = 100  # hits per version whose scores a score-based rule normalises
_DEPTHS: Final = {
    "evidence": IMPUTED_DEPTH,
    "imputed": IMPUTED_DEPTH,
    **dict.fromkeys(SYMMETRIC, SCORE_FUSION_DEPTH),
}


def asked_of_both(rule: str, old: VersionRead, new: VersionRead) -> tuple[VersionRead, VersionRead]:
    """Return the reads of a dual read.

    Parameters
    ----------
    rule : str
        See `query.fusion`.
    old, new : VersionRead
        Each as a read of this version alone would be.
    """
    rule = rule.removeprefix(BRIDGED)
    k, both = max(old.k, _DEPTHS.get(rule, 0)), beside(old.table, new.table)
    for_old = both.left(old.matching) if rule in SYMMETRIC else old.matching
    return (
        old._replace(k=k, matching=for_old),
        new._replace(k=k, matching=both.eligible(new.matching)),
    )


def asked_of_candidates(old: VersionRead) -> VersionRead:
    """Return the read of a cascade's old version; vectors of the new one are only looked up."""
    return old._replace(k=max(old.k, CASCADE_DEPTH))
