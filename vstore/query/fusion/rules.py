"""The registry of fusion rules by name, and the adapter for a caller's own function."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import numpy as np

from vstore.errors import InvalidArgumentError
from vstore.fusions import BRIDGED
from vstore.query.fusion.imputed import (
    EVIDENCE_SHARE,
    IMPUTED_DEPTH,
    NEW_SHARE,
    NO_IMPUTATION,
    Imputation,
    imputed,
)
from vstore.query.fusion.reciprocal_rank import RRF_DEPTH, rrf
from vstore.query.fusion.slots import Candidates, slots
from vstore.query.ranking import FusedHit, RankedPair, Ranking

if TYPE_CHECKING:
    from vstore.types import Array, BoolArray, IntArray

CALLABLE_DEPTH: Final = 100  # hits per version that a caller's function gets
FusionFunction: TypeAlias = Callable[[RankedPair], Iterable[int]]


@dataclass(frozen=True, slots=True, eq=False)
class FusionInput:
    """Input of a fusion rule, for one query.

    Attributes
    ----------
    old, new : Ranking
        Each version's hits, with documents as keys.
    migrated : bool, as ``old.keys``
        Documents of the old ranking that have fresh new rows.
    in_old : bool, as ``new.keys``
        Documents of the new ranking that the old version can show.
    new_only_share : float
        New-only documents, as a share of all that are not migrated.
    coverage : float
        Share of live documents with fresh rows in the new version.
    curve : tuple[float, ...]
        The rule's fitted parameters, see `FusionChoice`; empty without.
    score : callable
        Maps documents that both versions have to their scores in the old and the new one.
    """

    old: Ranking
    new: Ranking
    migrated: BoolArray
    in_old: BoolArray
    k: int
    new_only_share: float
    coverage: float
    curve: tuple[float, ...]
    score: Callable[[IntArray], tuple[Array, Array]]

    @property
    def new_only(self) -> list[int]:
        """Documents of the new ranking that only the new version has."""
        keys: list[int] = self.new.keys[~self.in_old].tolist()
        return keys


@dataclass(frozen=True, slots=True)
class FusionRule:
    """A rule that makes one list of two.

    Attributes
    ----------
    fuse : callable
        Maps a `FusionInput` to at most k documents, best first.
    depth : int
        Hits that it needs of each version; 0 for as many as are wanted.
    disjoint : bool
        Whether it takes an old ranking of unmigrated documents only.
    """

    name: str
    fuse: Callable[[FusionInput], list[FusedHit]]
    depth: int = 0
    disjoint: bool = False


def _by_slots(given: FusionInput) -> list[FusedHit]:
    return slots(
        given.old,
        given.new,
        given.migrated,
        k=given.k,
        new_only=given.new_only,
        new_only_share=given.new_only_share,
    )


def _by_evidence(given: FusionInput) -> list[FusedHit]:
    return _imputed(given, EVIDENCE_SHARE, NO_IMPUTATION)


def _by_imputation(given: FusionInput) -> list[FusedHit]:
    return _imputed(given, NEW_SHARE, learnt_imputation(given.curve))


def _imputed(given: FusionInput, new_share: float, imputation: Imputation) -> list[FusedHit]:
    keys = np.union1d(given.old.keys[given.migrated], given.new.keys[given.in_old])
    return imputed(
        given.old,
        given.migrated,
        Candidates(keys, *given.score(keys)),
        k=given.k,
        coverage=given.coverage,
        imputation=imputation,
        new_share=new_share,
        new=given.new,
        new_only=given.new_only,
        new_only_share=given.new_only_share,
    )


def _by_reciprocal_rank(given: FusionInput) -> list[FusedHit]:
    return rrf((given.old, given.new), k=given.k)


RULES: Final = {
    rule.name: rule
    for rule in (
        FusionRule("slots", _by_slots),
        FusionRule("evidence", _by_evidence, depth=IMPUTED_DEPTH),
        FusionRule("imputed", _by_imputation, depth=IMPUTED_DEPTH),
        FusionRule("rrf", _by_reciprocal_rank, depth=RRF_DEPTH, disjoint=True),
    )
}


def rule_of(fusion: str | FusionFunction) -> FusionRule:
    """Return the rule of a name, with or without ``bridged-``, or of a caller's function."""
    if isinstance(fusion, str):
        return RULES[fusion.removeprefix(BRIDGED)]
    return FusionRule(name_of(fusion), _FunctionRule(fusion), depth=CALLABLE_DEPTH)


def name_of(fusion: str | FusionFunction) -> str:
    """Return a rule's name, as plans show it."""
    if isinstance(fusion, str):
        return fusion
    made = fusion if hasattr(fusion, "__qualname__") else type(fusion)
    return f"{made.__module__}.{made.__qualname__}"


class _FunctionRule:
    """Adapter that makes a caller's function a rule."""

    def __init__(self, function: FusionFunction) -> None:
        self._function = function

    def __call__(self, given: FusionInput) -> list[FusedHit]:
        pair = RankedPair(given.old, given.new, given.migrated, given.k, given.coverage)
        name = name_of(self._function)
        found: object = self._function(pair)
        if not isinstance(found, Iterable):
            raise InvalidArgumentError(
                f"fusion: {name} returned {found!r:.60}; expected keys of the two rankings"
            )
        keys: list[Any] = list(found)[: given.k]
        from_new = {*given.new.keys.tolist(), *given.old.keys[given.migrated].tolist()}
        known = from_new.union(given.old.keys.tolist())
        for key in keys:
            if not isinstance(key, int | np.integer) or key not in known:
                raise InvalidArgumentError(
                    f"fusion: {name} returned {key!r:.60}; expected keys of the two rankings"
                )
        if len(set(keys)) < len(keys):
            raise InvalidArgumentError(f"fusion: {name} returned a document twice")
        unseen = sorted(from_new.intersection(keys).difference(given.new.keys.tolist()))
        if unseen:  # migrated, but not among the best of the new version
            given.score(np.array(unseen, np.int64))
        return [FusedHit(int(key), 0.0, int(key in from_new)) for key in keys]


def learnt_imputation(curve: tuple[float, ...]) -> Imputation:
    """Return the imputation recorded with a `FusionChoice`."""
    if len(curve) < 3:
        return NO_IMPUTATION
    return Imputation(curve[0], max(curve[1], 0.0), np.sort(np.array(curve[2:])), 0, 0)
