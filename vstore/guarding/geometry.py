"""Does a vector come from the space that a version's rows span? Statistics, and the check.

A model leaves most directions of its space nearly empty, whatever the text is about; vectors of
another model, or of a rotated copy of the same one, fall into those directions too. So a version
keeps the inverse second moments of its own rows, and a vector v is judged by

    q(v) = log(v' M v / v' v),   M = inverse(second moments + ridge),

the logarithm of the Mahalanobis form that is the likelihood of an angular central Gaussian (Tyler,
Biometrika 74, 1987). Length has no part in it: that is what `vstore.guarding.mistakes` looks at. It
is put on a scale of *departure*: 0 is what the version's own rows have on average (those left out
when M is fitted), 1 what vectors have whose directions have nothing to do with the version's.

An alarm means "cannot be told from an unrelated space", not "unlike the rows seen so far": text of
another domain departs by 0.4 to 0.95, and no bound on likeness would let it pass. What the average
departure of unrelated vectors may be is known: 1, give or take a deviation that shrinks with the
number of vectors, and less so the more these have in common. Measured: `benchmarks/geometry.py`.
Single vectors are judged with care, since one alone is weak evidence, unless most of every vector
of the space lies in one direction.

What it cannot see: a change that keeps the space (scaling, a prompt), a model tuned further from
this one, a space without preferred directions (`GeometryStatistics.informative`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal, NamedTuple, TypeAlias

import numpy as np

from vstore.cached import cached_property
from vstore.errors import InvalidArgumentError
from vstore.guarding.lengths import without_strays

if TYPE_CHECKING:
    from collections.abc import Mapping

    from vstore.types import Array, FloatArray

Kind: TypeAlias = Literal["documents", "query"]

ROWS_MIN: Final = 32  # with fewer, held-out rows say nothing about the others
ROWS_MAX: Final = 4_096  # more sharpen nothing: 160 x 160 moments are known long before
COORDINATES_MAX: Final = 160  # moments of as many fit 26 KB, and one check under 3 microseconds

_RIDGE: Final = 1.0  # in shares of the mean second moment; from 0.1 to 3 little changes
_FOLDS: Final = 4
_BLOCK_ROWS: Final = 512  # that are float64 at a time
# An alarm needs the average departure above 1 - z * deviation; z grows with the rows to _Z.
_Z: Final = 3.25  # of unrelated spaces one in 1,700 departs less
_Z_FEW: Final = 5.0  # taken off for one row; over sqrt(rows) for more
# Share of every vector's energy in one direction from which on one row is strong evidence. Rows of
# one narrow topic reach 0.6 in a model that has no such direction (64 of Cranfield's documents).
_COMMON_SHARE: Final = 0.7
_OWN_DEVIATIONS: Final = 3.0
_QUERY_SHIFT: Final = 0.6  # departure of queries in a version's own domain: 0.15 to 0.6
_GAP_MIN: Final = 2.0  # deviations between own rows and unrelated vectors, to tell anything
_SUMMARY: Final = ("rows", "own_mean", "own_sd", "unrelated_mean", "unrelated_sd", "common")
_MEAN_MAX: Final = 100.0  # of logarithms of float16 values' sums; a file may claim more
_LENGTH_MIN: Final = float(np.finfo(np.float32).tiny)  # so that none becomes 0
_LENGTHS: Final = (0.0, 0.05, 0.5, 0.95, 1.0)  # quantiles


@dataclass(frozen=True, eq=False)
class GeometryStatistics:
    """What a version remembers of the directions and lengths of its first rows.

    Attributes
    ----------
    dimension : int
    rows : int
        Vectors these were learned from.
    coordinates : int64 (p,), p <= 160
        Components that are looked at: those with the largest second moments, ascending.
    precision : float32 (p, p)
        Symmetric; entries are float16 values.
    own_mean, own_sd : float
        Of q over own rows that were left out of the fit.
    unrelated_mean, unrelated_sd : float
        Of q over all directions.
    common : float
        Squared length of the mean of the unit vectors, 0 to 1.
    lengths : float32 (5,)
        Quantiles 0, 0.05, 0.5, 0.95, 1 of the rows' Euclidean lengths, without strays where most
        have one length; see `lengths.without_strays`.
    """

    dimension: int
    rows: int
    coordinates: Array
    precision: FloatArray
    own_mean: float
    own_sd: float
    unrelated_mean: float
    unrelated_sd: float
    common: float
    lengths: FloatArray

    @cached_property
    def informative(self) -> bool:
        """Whether own rows differ enough from unrelated vectors for any alarm at all."""
        gap = self.unrelated_mean - self.own_mean
        return self.unrelated_sd > 0 and gap >= _GAP_MIN * self.unrelated_sd

    @cached_property
    def query_form_max(self) -> float:
        """What v' M v / v' v may be for one query; infinite if one alone can tell nothing."""
        limit = _limit(self, rows=1, concentration=1.0)
        departure = self.own_mean + limit * (self.unrelated_mean - self.own_mean)
        return math.exp(departure) if math.isfinite(limit) else math.inf

    def arrays(self) -> dict[str, Array]:
        """Return everything as arrays: at most 27 KiB, whatever the dimension."""
        upper = self.precision[np.triu_indices(len(self.coordinates))]
        return {
            "coordinates": self.coordinates.astype(np.uint16),
            "precision": upper.astype(np.float16),
            "summary": np.array([getattr(self, name) for name in _SUMMARY], np.float32),
            "lengths": self.lengths,
        }

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, Array], *, dimension: int) -> GeometryStatistics:
        """Return what `arrays` gave.

        Raises
        ------
        InvalidArgumentError
            Arrays that are missing, of another dtype or shape, or not finite or not in order.
        """
        found = {name: np.asarray(arrays[name]) for name in _SHAPES if name in arrays}
        p = found["coordinates"].size if "coordinates" in found else 0
        for name, (dtype, size) in _SHAPES.items():
            wanted = (size or (p if name == "coordinates" else p * (p + 1) // 2),)
            if name not in found or found[name].dtype != dtype or found[name].shape != wanted:
                raise _damaged(name, f"expected {np.dtype(dtype)} {wanted}")
            if not np.isfinite(found[name]).all():
                raise _damaged(name, "not finite")
        coordinates = found["coordinates"].astype(np.int64)
        if not 1 <= p <= COORDINATES_MAX or (np.diff(coordinates) <= 0).any():
            raise _damaged("coordinates", "expected 1 to 160, ascending")
        if coordinates[-1] >= dimension:
            raise _damaged("coordinates", f"{coordinates[-1]} of a dimension {dimension}")
        lengths = found["lengths"]
        if (np.diff(lengths) < 0).any() or lengths[0] <= 0:
            raise _damaged("lengths", "expected ascending quantiles above 0")
        summary = dict(zip(_SUMMARY, found["summary"].tolist(), strict=True))
        if min(summary["rows"], summary["own_sd"], summary["unrelated_sd"]) < 0:
            raise _damaged("summary", "a count or a deviation below 0")
        # Of logarithms all of them, so that what they bound can be raised to a power of e.
        if max(abs(value) for name, value in summary.items() if name != "rows") > _MEAN_MAX:
            raise _damaged("summary", f"a mean or a deviation beyond {_MEAN_MAX}")
        return cls(
            dimension=dimension,
            rows=int(summary.pop("rows")),
            coordinates=coordinates,
            precision=_symmetric(found["precision"], p),
            lengths=lengths,
            **summary,
        )


_SHAPES: Final = {
    "coordinates": (np.uint16, 0),
    "precision": (np.float16, 0),
    "summary": (np.float32, len(_SUMMARY)),
    "lengths": (np.float32, len(_LENGTHS)),
}


class Verdict(NamedTuple):
    """What the check of some vectors found.

    Attributes
    ----------
    suspicious : bool
    rows : int
        Vectors judged; those without any length are not.
    departure : float
        Their average: 0 as the version's own rows, 1 as unrelated vectors.
    limit : float
        The departure from which on it is suspicious; infinite where nothing can be told.
    expected : tuple[float, float]
        Where the average of as many own rows lies.
    """

    suspicious: bool
    rows: int
    departure: float
    limit: float
    expected: tuple[float, float]


def learn(vectors: Array) -> GeometryStatistics:
    """Return the statistics of a version's rows.

    A pure function of these rows, so that nothing needs to be merged: learn again from stored rows
    when there are more (256, 1,024, 4,096). With 64 rows of one narrow topic, other topics are
    taken for another model; with 256 rarely, and with 1,024 it was not seen: flag before, refuse
    from then on.

    Parameters
    ----------
    vectors : float array (n, dimension), finite
        Beyond `ROWS_MAX` rows an even sample is taken. Rows of zeros are left out.

    Raises
    ------
    InvalidArgumentError
        Fewer than `ROWS_MIN` rows that are not zero.
    """
    picked = np.linspace(0, len(vectors) - 1, min(len(vectors), ROWS_MAX)).astype(np.int64)
    dimension = vectors.shape[1]
    lengths = np.zeros(len(picked))
    energy = np.zeros(dimension)
    for start in range(0, len(picked), _BLOCK_ROWS):
        block, of_block = _lengths_of(vectors, picked[start : start + _BLOCK_ROWS])
        lengths[start : start + _BLOCK_ROWS] = of_block
        block = block[of_block > 0] / of_block[of_block > 0, None]
        energy += np.einsum("ij,ij->j", block, block)
    picked, lengths = picked[lengths > 0], lengths[lengths > 0]
    if len(picked) < ROWS_MIN:
        raise InvalidArgumentError(
            f"learn: expected at least {ROWS_MIN} rows that are not zero, found {len(picked)}"
        )
    p = min(dimension, COORDINATES_MAX)
    coordinates = np.sort(np.argsort(-energy, kind="stable")[:p])
    sample = vectors[picked[:, None], coordinates].astype(np.float64)
    left = np.sqrt(np.einsum("ij,ij->i", sample, sample))
    sample = (sample[left > 0] / left[left > 0, None]).astype(np.float32)
    precision, own = _fitted(sample)
    mean = sample.mean(axis=0, dtype=np.float64) if len(sample) else np.zeros(p)
    unrelated_mean, unrelated_sd = _over_all_directions(precision)
    quantiles = np.quantile(without_strays(lengths), _LENGTHS)
    return GeometryStatistics(
        dimension=dimension,
        rows=len(picked),
        coordinates=coordinates,
        precision=precision,
        own_mean=_as_stored(own.mean()),
        own_sd=_as_stored(own.std()),
        unrelated_mean=_as_stored(unrelated_mean),
        unrelated_sd=_as_stored(unrelated_sd),
        common=_as_stored(mean @ mean),
        lengths=np.maximum(quantiles, _LENGTH_MIN).astype(np.float32),
    )


def departures(statistics: GeometryStatistics, vectors: Array) -> FloatArray:
    """Return how far each vector departs, float32 (n,); NaN for one without length.

    Parameters
    ----------
    vectors : float array (n, dimension), finite
    """
    return _departures(statistics, _units(statistics, vectors))


def suspect(statistics: GeometryStatistics, vectors: Array, *, kind: Kind) -> Verdict:
    """Judge vectors that are said to be of a version.

    Parameters
    ----------
    vectors : float array (n, dimension), finite
        A batch, one vector, or the latest queries together: evidence grows with their number.
    kind : {"documents", "query"}
        Queries are shorter texts than documents and may have a prompt, and depart by themselves.
    """
    units = _units(statistics, vectors)
    units = units[~np.isnan(units[:, 0])]
    rows = len(units)
    if not rows or not statistics.informative:
        return Verdict(
            suspicious=False,
            rows=rows,
            departure=0.0,
            limit=math.inf,
            expected=(-math.inf, math.inf),
        )
    departure = float(_departures(statistics, units).mean())
    # Rows that resemble each other are less evidence: the mean of their squared cosines, between
    # 1 / p and 1, is the factor by which the variance of the average stays above that of all
    # directions' average.
    moments = units @ units.T if rows < units.shape[1] else units.T @ units
    concentration = float(np.vdot(moments, moments)) / rows**2
    limit = _limit(statistics, rows=rows, concentration=concentration)
    own, _ = _deviations(statistics)
    width = _OWN_DEVIATIONS * own / math.sqrt(rows)
    shift = _QUERY_SHIFT if kind == "query" else 0.0
    return Verdict(
        suspicious=departure > limit,
        rows=rows,
        departure=departure,
        limit=limit,
        expected=(-width, shift + width),
    )


def is_suspect_query(statistics: GeometryStatistics, query: Array) -> bool:
    """Say what `suspect` says of one query, in a few microseconds.

    Parameters
    ----------
    query : float32 (dimension,), finite
    """
    if statistics.query_form_max == math.inf:
        return False
    picked = query.take(statistics.coordinates)
    form = picked.dot(statistics.precision.dot(picked))
    return float(form) > statistics.query_form_max * float(picked.dot(picked))


def _limit(statistics: GeometryStatistics, *, rows: int, concentration: float) -> float:
    """Return the departure from which on as many rows are suspicious."""
    if not statistics.informative:
        return math.inf
    own, unrelated = _deviations(statistics)
    z = _Z
    if statistics.common < _COMMON_SHARE:
        z -= _Z_FEW / math.sqrt(rows)
    still_own = _OWN_DEVIATIONS * own / math.sqrt(rows)
    return max(1 - z * unrelated * math.sqrt(concentration), still_own)


def _deviations(statistics: GeometryStatistics) -> tuple[float, float]:
    """Return the deviations of own rows and of unrelated vectors, in departures."""
    gap = statistics.unrelated_mean - statistics.own_mean
    return statistics.own_sd / gap, statistics.unrelated_sd / gap


def _units(statistics: GeometryStatistics, vectors: Array) -> FloatArray:
    """Return the coordinates that are looked at, of unit length; a row of NaN if all are 0."""
    picked = vectors[:, statistics.coordinates].astype(np.float32)
    # By the largest value first: the squares of codes and of tiny values must not overflow.
    largest = np.abs(picked).max(axis=1, keepdims=True)
    with np.errstate(invalid="ignore"):
        picked /= largest
        picked /= np.sqrt(np.einsum("ij,ij->i", picked, picked))[:, None]
    return np.asarray(picked)


def _departures(statistics: GeometryStatistics, units: FloatArray) -> FloatArray:
    if not statistics.informative:
        return np.zeros(len(units), np.float32)
    forms = np.einsum("ij,ij->i", units @ statistics.precision, units)
    forms = np.maximum(forms, np.finfo(np.float32).tiny)  # a file may hold what is no inverse
    gap = statistics.unrelated_mean - statistics.own_mean
    return np.asarray((np.log(forms) - statistics.own_mean) / gap, np.float32)


def _lengths_of(vectors: Array, rows: Array) -> tuple[Array, Array]:
    block = vectors[rows].astype(np.float64)
    return block, np.sqrt(np.einsum("ij,ij->i", block, block))


def _fitted(sample: FloatArray) -> tuple[FloatArray, Array]:
    """Return the precision, and q of every row by a fit to the rows of the other folds."""
    fold = np.arange(len(sample)) % _FOLDS  # neighbours in the order of writing are alike
    folds = [sample[fold == f] for f in range(_FOLDS)]
    moments = [(part.T @ part).astype(np.float64) for part in folds]
    every = np.sum(moments, axis=0)
    precision = _precision(every, len(sample))
    if len(sample) < ROWS_MIN:
        return precision, np.zeros(1)
    forms = [
        np.einsum("ij,ij->i", part @ _precision(every - mine, len(sample) - len(part)), part)
        for part, mine in zip(folds, moments, strict=True)
    ]
    return precision, np.log(np.concatenate(forms).astype(np.float64))


def _precision(moments: Array, rows: int) -> FloatArray:
    p = len(moments)
    moments = moments / max(1, rows) + np.eye(p) * (_RIDGE / p)
    # As float16 values from the start, so that what is stored is what was calibrated.
    return _symmetric(np.linalg.inv(moments)[np.triu_indices(p)].astype(np.float16), p)


def _symmetric(upper: Array, p: int) -> FloatArray:
    full = np.zeros((p, p), np.float32)
    full[np.triu_indices(p)] = upper
    return np.asarray(np.triu(full) + np.triu(full, 1).T)


def _over_all_directions(precision: FloatArray) -> tuple[float, float]:
    """Return mean and deviation of q over the unit sphere, from the form's exact moments.

    (Of v' M v: mean tr M / p, variance 2 (p tr M^2 - tr^2 M) / (p^2 (p + 2)); the logarithm's by
    the delta method.)
    """
    p = len(precision)
    exact = precision.astype(np.float64)
    trace, square = float(np.trace(exact)), float(np.vdot(exact, exact))
    mean = trace / p
    variance = max(0.0, 2 * (p * square - trace**2) / (p**2 * (p + 2)))
    return math.log(mean) - variance / (2 * mean**2), math.sqrt(variance) / mean


def _as_stored(value: float | Array) -> float:
    return float(np.float32(value))


def _damaged(name: str, problem: str) -> InvalidArgumentError:
    return InvalidArgumentError(f"geometry statistics: {name}: {problem}")
