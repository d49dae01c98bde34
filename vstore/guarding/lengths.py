"""Is a vector's length one that its version's rows have? Judged row by row, from the first on.

One vector of another length among equal ones wins, or loses, every query under the inner product,
and is everybody's or nobody's neighbour under l2: an int8 row among unit vectors, say, or the zeros
that stand where a provider failed. Unlike a direction, one length is strong evidence.

How far is far depends on how lengths differ: where nearly all are equal a factor of two is, where
they are lognormal it takes as many logarithms more as the rows span. Bounds are multiples of that
span, so that heavy tails pass: of lengths with density x^-3 one in two million would be refused.

Rows may be a mixture already: unit vectors and int8 codes of some, in one bulk load. Where 60 % or
more have one length, and nearly all others are 8 times as long or short, these others are strays.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from vstore.guarding.geometry import GeometryStatistics
    from vstore.types import Array, BoolArray

ROWS_MIN: Final = 32  # to say what lengths a version's rows have
_QUANTILES: Final = (0.0, 0.05, 0.95, 1.0)
_FACTOR: Final = math.log(2)  # the least that is far, whatever the rows
_SPANS_ODD: Final = 1.0  # so many spans beyond what most rows have are odd
_SPANS_ODD_FEW: Final = 2.0  # in few components, where short rows are many
_SPANS_IMPOSSIBLE: Final = 4.0
_EVEN: Final = math.log(2)  # span of most rows, where lengths are nearly equal
_UNIT: Final = 1e-2
_MOST_MIN: Final = 0.6  # share of a mixture's rows that have one length, at least
_BETWEEN_MAX: Final = 0.05  # share that has neither this length nor a far one: else no mixture
_FAR: Final = 8.0
_CODE_MAX: Final = 255
# Rows of fewer components are often points or colours: their lengths say where they are, and drift.
_COMPONENTS_MIN: Final = 16


class Lengths(NamedTuple):
    """What lengths rows have: quantiles 0, 0.05, 0.95 and 1 of those that are not zero."""

    least: float
    low: float
    high: float
    most: float
    rows: int

    @property
    def unit(self) -> bool:
        """Whether nearly all are 1."""
        return self.low >= 1 - _UNIT and self.high <= 1 + _UNIT

    def telling(self, dimension: int) -> bool:
        """Whether nearly all are equal, in a space where that is no chance."""
        even = self._span <= _EVEN
        return self.unit or (even and dimension >= _COMPONENTS_MIN)

    def far_share(self, norms: Array) -> float:
        """Return the share of rows that are far from all others, of those that are not zero.

        Parameters
        ----------
        norms : float64 (n,)
            Of rows that these lengths were found among.
        """
        few = int(np.count_nonzero(self.far(norms)))
        return few / max(1, few + self.rows)

    def far(self, norms: Array) -> BoolArray:
        """Return which rows have another length than most by a factor of 8 or more, (n,).

        None if there is no one length that most have.
        """
        if self.high > (1 + _UNIT) / (1 - _UNIT) * self.low:
            return np.zeros(len(norms), np.bool_)
        far = (norms > self.high * _FAR) | (norms < self.low / _FAR)
        return np.asarray(far & (norms > 0))

    @property
    def _span(self) -> float:
        return math.log(self.high / self.low)

    def usual(self, dimension: int) -> tuple[float, float]:
        """Return the bounds beyond which a length is odd."""
        return self._bounds(_SPANS_ODD if dimension >= _COMPONENTS_MIN else _SPANS_ODD_FEW)

    def possible(self) -> tuple[float, float]:
        """Return the bounds beyond which no row of the version's model has its length."""
        low, high = self._bounds(_SPANS_IMPOSSIBLE)
        return min(low, self.least), max(high, self.most)

    def _bounds(self, spans: float) -> tuple[float, float]:
        margin = math.exp(min(max(_FACTOR, spans * self._span), 300.0))
        return self.low / margin, self.high * margin

    def text(self, *, telling: bool) -> str:
        """Return the lengths as words; without numbers, if they are not to be told."""
        if not telling:
            return "other lengths"
        if self.unit:
            return "length 1"
        return f"lengths of {self.low:.4g} to {self.high:.4g}"


def lengths_of(norms: Array) -> Lengths | None:
    """Return what lengths rows have; None of fewer than `ROWS_MIN` that are not zero.

    Parameters
    ----------
    norms : float32 (n,)
    """
    norms = norms[norms > 0].astype(np.float64)  # eight times some do not fit float32
    if len(norms) < ROWS_MIN:
        return None
    norms = without_strays(norms)
    least, low, high, most = np.quantile(norms, _QUANTILES).tolist()
    return Lengths(least, low, high, most, len(norms))


def without_strays(norms: Array) -> Array:
    """Return the lengths of rows without those that a mixture has beside what most are.

    Parameters
    ----------
    norms : float64 (n,), above 0
    """
    median = float(np.median(norms))
    near = np.abs(norms - median) <= _UNIT * median
    far = (norms > median * _FAR) | (norms < median / _FAR)
    share, rest = float(near.mean()), float((near | far).mean())
    return norms[~far] if share >= _MOST_MIN and 1 - rest <= _BETWEEN_MAX else norms


def lengths_learned(statistics: GeometryStatistics) -> Lengths:
    """Return the lengths of the rows that a version has learned from."""
    least, low, _, high, most = statistics.lengths.tolist()
    return Lengths(least, low, high, most, statistics.rows)


def likely_cause(vector: Array, length: float, lengths: Lengths, *, telling: bool) -> str:
    """Return what probably happened to a vector of an odd length, as a sentence.

    Parameters
    ----------
    vector : float (dimension,)
    telling : bool
        Whether the sentence may tell how long the version's rows are.
    """
    if not length:
        return (
            "All zeros are what is left where an embedding failed: embed that text again, or leave "
            "it out."
        )
    ratio = length / math.sqrt(lengths.low * lengths.high)
    if are_codes(vector) and ratio > 1:
        return (
            "It looks like int8 codes of the model's vectors: multiply them by the scale they were "
            "coded with, or send the vectors themselves."
        )
    if lengths.unit:
        scaled = f"scaled by {ratio:.4g}" if telling else "scaled"
        return (
            f"It looks unnormalised, or {scaled}: divide it by its length, if the model's vectors "
            "are to have length 1."
        )
    if abs(length - 1) <= _UNIT:
        return "It looks normalised: send vectors as the model returns them."
    if not telling:
        return "It looks scaled: find the step that multiplies."
    return f"It looks scaled: it is {ratio:.4g} times as long as the version's rows."


def are_codes(vectors: Array) -> bool:
    """Whether all values are integers that fit one byte, as quantised vectors are."""
    if not vectors.size or float(np.abs(vectors).max()) > _CODE_MAX:
        return False
    return bool((vectors == np.rint(vectors)).all())
