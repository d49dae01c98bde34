"""Ranked lists, the input and output of fusion rules."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from vstore.errors import InvalidArgumentError

if TYPE_CHECKING:
    from collections.abc import Collection

    from vstore.types import Array, BoolArray, IntArray


@dataclass(frozen=True, slots=True)
class Ranking:
    """Documents of one list, best first.

    Attributes
    ----------
    keys : int64 (m,)
        Each document once.
    scores : float64 (m,)
        Finite, never ascending.

    Raises
    ------
    InvalidArgumentError
        If keys or scores violate the conditions above.
    """

    keys: IntArray
    scores: Array

    def __post_init__(self) -> None:
        if self.keys.ndim != 1 or self.keys.shape != self.scores.shape:
            raise InvalidArgumentError(
                f"Ranking: keys of shape {self.keys.shape} and scores of shape "
                f"{self.scores.shape}; expected two one-dimensional arrays of one length"
            )
        if len(np.unique(self.keys)) != len(self.keys):
            raise InvalidArgumentError("Ranking: a key comes twice; expected each document once")
        if not np.isfinite(self.scores).all():
            raise InvalidArgumentError("Ranking: a score is NaN or infinite")
        if (self.scores[1:] > self.scores[:-1]).any():
            raise InvalidArgumentError("Ranking: scores ascend; expected the best document first")

    def __len__(self) -> int:
        return len(self.keys)

    def where(self, mask: BoolArray) -> Ranking:
        """Return the documents at which the mask (m,) is set, as a copy."""
        self.check_mask(mask)
        return Ranking(self.keys[mask], self.scores[mask])

    def check_mask(self, mask: BoolArray) -> None:
        """Raise unless the mask has one entry for each document."""
        if mask.shape != self.keys.shape:
            raise InvalidArgumentError(
                f"mask: shape {mask.shape}; expected one entry for each of the "
                f"{len(self)} documents of the ranking"
            )


@dataclass(frozen=True, slots=True, eq=False)
class RankedPair:
    """Two rankings of one query, the input of a caller's own fusion function.

    Attributes
    ----------
    old, new : Ranking
        Each version's hits; the new ranking has migrated documents, and those only it has. Keys
        number the documents of the two rankings; they are the same in both, and no ids.
    migrated : bool, as ``old.keys``
        Documents of the old ranking that the new version answers for.
    k : int
        Documents wanted.
    coverage : float
        Share of live documents with fresh rows in the new version.
    """

    old: Ranking
    new: Ranking
    migrated: BoolArray
    k: int
    coverage: float


class FusedHit(NamedTuple):
    """One document of a fused list. The position ranks it, not the score.

    Attributes
    ----------
    key : int
    score : float
        From `reciprocal_rank.rrf`, the fused sum. From `slots` and `imputed`, the document's score
        in the version that answered; scores of different sources are not comparable.
    source : int
        Index of the list that the hit is taken from; in a dual read 0 is old and 1 is new.
    """

    key: int
    score: float
    source: int


def hits(keys: IntArray, scores: Array, source: int) -> list[FusedHit]:
    """Return documents and scores as hits of one source, in the given order."""
    return [
        FusedHit(key, score, source)
        for key, score in zip(keys.tolist(), scores.tolist(), strict=True)
    ]


def check_apart(
    old_keys: IntArray,
    others: Collection[int],
    contradiction: str = "not migrated, and in the new one",
) -> None:
    """Raise `InvalidArgumentError` if a document would be in an answer twice."""
    both = set(old_keys.tolist()).intersection(others)
    if both:
        raise InvalidArgumentError(
            f"dual read: document {min(both)} is in the old ranking, {contradiction}; "
            "it would be returned twice"
        )
