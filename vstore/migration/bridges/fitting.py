"""Fitting a `BridgeMap` on documents that have vectors in both spaces.

Kind, penalty and rank are chosen by recall on validation documents; the chosen map is refitted with
these included, and measured on held-out documents, which neither fit nor choice has seen.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np
from numpy.random import default_rng  # NumPy would import it lazily, at the first use

from vstore.errors import InvalidArgumentError, StateError
from vstore.manifest.job_state import BRIDGE_KINDS
from vstore.migration.bridges.measuring import neighbour_recall
from vstore.query.bridge_map import (
    BridgeMap,
    BridgeTrial,
    unit_rows,
)

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from vstore.manifest.job_state import BridgeKind
    from vstore.manifest.spec import Metric
    from vstore.types import Array, IntArray

PAIRS_MIN: Final = 200  # half are held out: recall of fewer than 50 documents is unreliable
HELD_OUT_MIN: Final = 50
HELD_OUT_MAX: Final = 1_000  # enough to know recall to about .01
HELD_OUT_SHARE: Final = 0.1
PENALTIES: Final = (0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0)
RANK_SHARES: Final = (0.125, 0.25, 0.5, 0.75)  # of the target's dimension


def fit_bridge(
    source: Array,
    target: Array,
    *,
    metric: Metric = "cosine",
    normalized: bool = False,
    kinds: Collection[BridgeKind] = BRIDGE_KINDS,
    seed: int = 0,
) -> BridgeMap:
    """Fit a map from one space to another, and measure it on held-out documents.

    A few tens of thousands of pairs are plenty: time grows with their number, and with the cube of
    the dimension.

    Parameters
    ----------
    source, target : float (n, dimension)
        Finite vectors of the same documents in both spaces.
    metric : {"cosine", "inner_product", "l2"}
        The target's metric, for finding neighbours.
    normalized : bool
        Whether the target's vectors have unit length whatever the metric; mapped ones get it too.
    kinds : collection of BridgeKind
        Kinds to choose from.
    seed : int
        Seed of the split. The same pairs and seed give the same bridge on one machine.

    Raises
    ------
    StateError
        If there are fewer than `PAIRS_MIN` pairs.
    InvalidArgumentError
        If the shapes of source and target do not match, a kind is unknown, or the map does not fit
        float32.

    Notes
    -----
    Procrustes: Schönemann, Psychometrika 31, 1966, on centred vectors. Ridge: Hoerl, Kennard,
    Technometrics 12, 1970. Low-rank: reduced-rank regression (Izenman, J. Multivariate Analysis 5,
    1975) of the ridge's fitted values.
    """
    _check(source, target, kinds)
    x, y = np.asarray(source, np.float64), np.asarray(target, np.float64)
    unit = normalized or metric == "cosine"
    if unit:
        y = unit_rows(y).astype(np.float64)
    split = _split(len(x), seed)
    trials = tuple(_trials(x, y, split, kinds, metric=metric, unit=unit))
    # The first of equals wins; Procrustes is tried first, because it has the fewest parameters.
    best = max(trials, key=lambda trial: trial.recall)
    seen = np.concatenate((split.train, split.validation))
    moments = _Moments.of(x[seen], y[seen])
    matrix = moments.fitted(best.kind, best.penalty, best.rank)
    mapped = moments.mapped(matrix, x[split.held_out], unit=unit)
    if np.abs(matrix).max(initial=0.0) > np.finfo(np.float32).max:
        raise InvalidArgumentError(
            "bridge: the target's vectors are so much longer than the source's that no map of "
            "float32 numbers, up to 3.4e38, leads from one to the other; scale either version"
        )
    return BridgeMap(
        kind=best.kind,
        penalty=best.penalty,
        rank=best.rank,
        matrix=matrix.astype(np.float32),
        source_mean=moments.source_mean.astype(np.float32),
        target_mean=moments.target_mean.astype(np.float32),
        metric=metric,
        unit=unit,
        recall=neighbour_recall(mapped, y[split.held_out], y[seen], metric=metric),
        pairs=len(seen),
        held_out=len(split.held_out),
        seed=seed,
        trials=trials,
    )


def _check(source: Array, target: Array, kinds: Collection[BridgeKind]) -> None:
    if source.ndim != 2 or target.ndim != 2 or len(source) != len(target):
        raise InvalidArgumentError(
            f"bridge: source of shape {source.shape}, target of shape {target.shape}; expected two "
            "matrices with one row for each document that has both vectors"
        )
    if not kinds or not set(kinds) <= set(BRIDGE_KINDS):
        raise InvalidArgumentError(
            f"bridge: kinds {tuple(kinds)!r:.80}; expected some of {', '.join(BRIDGE_KINDS)}"
        )
    if len(source) < PAIRS_MIN:
        raise StateError(
            f"bridge: {len(source):,} documents have vectors in both versions, and fitting one "
            f"needs at least {PAIRS_MIN:,}; go on with the backfill and fit it then"
        )


class _Split(NamedTuple):
    train: IntArray
    validation: IntArray
    held_out: IntArray


def _split(pairs: int, seed: int) -> _Split:
    aside = min(max(HELD_OUT_MIN, round(HELD_OUT_SHARE * pairs)), HELD_OUT_MAX)
    order = default_rng(seed).permutation(pairs)
    return _Split(order[2 * aside :], order[aside : 2 * aside], order[:aside])


def _trials(
    x: Array,
    y: Array,
    split: _Split,
    kinds: Collection[BridgeKind],
    *,
    metric: Metric,
    unit: bool,
) -> Iterator[BridgeTrial]:
    moments = _Moments.of(x[split.train], y[split.train])

    def tried(kind: BridgeKind, penalty: float, rank: int) -> BridgeTrial:
        matrix = moments.fitted(kind, penalty, rank)
        mapped = moments.mapped(matrix, x[split.validation], unit=unit)
        recall = neighbour_recall(mapped, y[split.validation], y[split.train], metric=metric)
        return BridgeTrial(kind, penalty, rank, recall)

    if "procrustes" in kinds:
        yield tried("procrustes", 0.0, 0)
    if not {"ridge", "low-rank"} & set(kinds):
        return
    ridges = [tried("ridge", penalty, 0) for penalty in PENALTIES]
    if "low-rank" in kinds:
        penalty = max(ridges, key=lambda trial: trial.recall).penalty
        for rank in sorted({max(1, round(share * y.shape[1])) for share in RANK_SHARES}):
            yield tried("low-rank", penalty, rank)
    if "ridge" in kinds:
        yield from ridges


@dataclass(frozen=True, slots=True, eq=False)
class _Moments:
    """Means and second moments of centred X and Y, float64; all that the fits need.

    Attributes
    ----------
    eigenvalues, eigenvectors
        Eigendecomposition of X'X, ascending.
    cross
        X'Y.
    """

    source_mean: Array
    target_mean: Array
    eigenvalues: Array
    eigenvectors: Array
    cross: Array

    @classmethod
    def of(cls, x: Array, y: Array) -> _Moments:
        source_mean, target_mean = x.mean(axis=0), y.mean(axis=0)
        centred = x - source_mean
        eigenvalues, eigenvectors = np.linalg.eigh(centred.T @ centred)
        cross = centred.T @ (y - target_mean)
        return cls(source_mean, target_mean, np.maximum(eigenvalues, 0), eigenvectors, cross)

    def mapped(self, matrix: Array, x: Array, *, unit: bool) -> Array:
        mapped = (x - self.source_mean) @ matrix + self.target_mean
        return unit_rows(mapped) if unit else np.asarray(mapped)

    def fitted(self, kind: BridgeKind, penalty: float, rank: int) -> Array:
        if kind == "procrustes":
            return self._procrustes()
        ridge = self._ridge(penalty)
        return ridge if kind == "ridge" else self._restricted(ridge, rank)

    def _procrustes(self) -> Array:
        left, singular, right = np.linalg.svd(self.cross, full_matrices=False)
        variance = self.eigenvalues.sum()
        scale = singular.sum() / variance if variance > 0 else 0.0
        return np.asarray(scale * (left @ right))

    def _ridge(self, penalty: float) -> Array:
        # The tiny term avoids 0 / 0 for a source without any variance.
        damped = self.eigenvalues + penalty * self.eigenvalues.mean() + np.finfo(float).tiny
        return np.asarray(
            self.eigenvectors @ ((self.eigenvectors.T @ self.cross) / damped[:, None])
        )

    def _restricted(self, matrix: Array, rank: int) -> Array:
        """Project onto the target's directions in which the fitted values vary most."""
        fitted = np.sqrt(self.eigenvalues)[:, None] * (self.eigenvectors.T @ matrix)
        _, directions = np.linalg.eigh(fitted.T @ fitted)  # ascending
        kept = directions[:, -rank:]
        return np.asarray(matrix @ kept @ kept.T)
