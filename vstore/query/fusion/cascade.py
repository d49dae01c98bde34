"""Cascade: the old version finds candidates, the new version's vectors order those that have one.

For queries that the new version cannot search yet, or not cheaply: it scores a list, and needs no
index. What the old version does not find stays unfound.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from vstore.errors import InvalidArgumentError
from vstore.query.fusion.slots import NEW_WEIGHT, Candidates, slots_by_evidence

if TYPE_CHECKING:
    from vstore.query.ranking import FusedHit, Ranking
    from vstore.types import Array, BoolArray

# Of the old ranking that is rescored. On SciFact from half coverage on, 20 lose .01 to .03 nDCG@10
# against 100, and 200 gain nothing more.
CASCADE_DEPTH: Final = 100
_REFERENCE_DEPTH: Final = 50  # as the rule "evidence" has in a dual read


def cascade(
    old: Ranking,
    migrated: BoolArray,
    new_scores: Array,
    *,
    k: int,
    new_weight: float = NEW_WEIGHT,
) -> list[FusedHit]:
    """Let migrated candidates change places with each other, by what both versions say of them.

    As `slots_by_evidence`, among the candidates only: the slots of the old ranking stay, those of
    migrated documents are filled by their old plus ``new_weight`` times their new standard score.
    Exactly the old ranking before anything is migrated.

    Parameters
    ----------
    old : Ranking
        The old version's best `CASCADE_DEPTH` documents, or k if that is more.
    migrated : bool, as ``old.keys``
    new_scores : float64 (number of migrated candidates,)
        Their scores in the new version, in the order of ``old.keys[migrated]``.

    Raises
    ------
    InvalidArgumentError
        If there is not one new score for each migrated candidate.
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
