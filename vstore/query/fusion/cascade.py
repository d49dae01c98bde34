"""Cascade: the old version finds candidates, and the new version's vectors reorder them.

For queries that the new version cannot search yet, or not cheaply: it only scores a list, and needs
no index. A document that the old version misses stays missed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from vstore.errors import InvalidArgumentError
from vstore.query.fusion.slots import NEW_WEIGHT, Candidates, slots_by_evidence

if TYPE_CHECKING:
    from vstore.query.ranking import FusedHit, Ranking
    from vstore.types import Array, BoolArray

# Candidates of the old ranking to rescore. On SciFact, at half coverage or more, 20 lose .01 to .03
# nDCG@10 against 100, and 200 gain nothing more.
CASCADE_DEPTH: Final = 100
_REFERENCE_DEPTH: Final = 50  # as in the rule "evidence" of dual reads


def cascade(
    old: Ranking,
    migrated: BoolArray,
    new_scores: Array,
    *,
    k: int,
    new_weight: float = NEW_WEIGHT,
) -> list[FusedHit]:
    """Reorder migrated candidates among each other, by the scores of both versions.

    Like `slots_by_evidence`, for the candidates alone: slots of the old ranking stay, and migrated
    documents fill theirs in the order of old standard score plus ``new_weight`` times new standard
    score. Exactly the old ranking before anything is migrated.

    Parameters
    ----------
    old : Ranking
        The old version's best `CASCADE_DEPTH` documents, or k if that is more.
    migrated : bool, as ``old.keys``
    new_scores : float64 (number of migrated candidates,)
        Scores in the new version, in the order of ``old.keys[migrated]``.

    Raises
    ------
    InvalidArgumentError
        If the number of new scores is not that of migrated candidates.
    """
    moved = old.where(migrated)
    if new_scores.shape != moved.keys.shape:
        raise InvalidArgumentError(
            f"cascade: {len(new_scores)} scores of the new version for {len(moved)} migrated "
            "candidates"
        )
    return slots_by_evidence(
        old,
        migrated,
        Candidates(moved.keys, moved.scores, new_scores),
        k=k,
        depth=_REFERENCE_DEPTH,
        new_weight=new_weight,
    )
