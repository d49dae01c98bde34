"""The registry of fusion rules by name, and the adapter for a caller's own function."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import islice
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
    own : bool
        Whether it is a caller's function.
    """

    name: str
    fuse: Callable[[FusionInput], list[FusedHit]]
    depth: int = 0
    disjoint: bool = False
    own: bool = False


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
    return FusionRule(name_of(fusion), _FunctionRule(fusion), depth=CALLABLE_DEPTH, own=True)


def name_of(fusion: str | FusionFunction) -> str:
    """Return a rule's name, as plans show it."""
    if isinstance(fusion, str):
        return fusion
    made = fusion if hasattr(fusion, "__qualname__") else type(fusion)
    return f"{made.__module__}.{made.__qualname__}"


class _FunctionRule:
    """A caller's function as a rule.

    The function gets copies, and keys that number the documents of the two rankings: it can change
    no answer but by the order that it returns, and does not learn how many documents there are.
    """

    def __init__(self, function: FusionFunction) -> None:
        self._function = function

    def __call__(self, given: FusionInput) -> list[FusedHit]:
        docnos, numbers = np.unique(
            np.concatenate([given.old.keys, given.new.keys]), return_inverse=True
        )
        old, new = numbers[: len(given.old)], numbers[len(given.old) :]
        pair = RankedPair(
            Ranking(old.astype(np.int64), given.old.scores.copy()),
            Ranking(new.astype(np.int64), given.new.scores.copy()),
            given.migrated,
            given.k,
            given.coverage,
        )
        from_new = {*new.tolist(), *old[given.migrated].tolist()}
        order = self._order(pair, len(docnos))
        unseen = sorted(from_new.intersection(order).difference(new.tolist()))
        if unseen:  # migrated, and not among the best of the new version
            given.score(docnos[unseen])
        return [FusedHit(int(docnos[key]), 0.0, int(key in from_new)) for key in order]

    def _order(self, pair: RankedPair, count: int) -> list[int]:
        """Return the keys that the function returns, checked."""
        name = name_of(self._function)
        found: object = self._function(pair)
        keys: list[Any] = list(islice(found, pair.k)) if isinstance(found, Iterable) else [found]
        for key in keys:
            is_number = isinstance(key, int | np.integer) and not isinstance(key, bool)
            if not is_number or not 0 <= key < count or not isinstance(found, Iterable):
                raise InvalidArgumentError(
                    f"fusion: {name} returned {key!r:.60}; expected keys of the two rankings"
                )
        if len(set(keys)) < len(keys):
            raise InvalidArgumentError(f"fusion: {name} returned a document twice")
        return [int(key) for key in keys]


def learnt_imputation(curve: tuple[float, ...]) -> Imputation:
    """Return the imputation recorded with a `FusionChoice`."""
    if len(curve) < 3:
        return NO_IMPUTATION
    return Imputation(curve[0], max(curve[1], 0.0), np.sort(np.array(curve[2:])), 0, 0)
