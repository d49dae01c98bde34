"""Whether a difference between two systems, measured on the same queries, is more than luck.

Queries differ far more from each other than systems do, so only the differences query by query are
looked at. No distribution is assumed: the test flips their signs, the interval draws them again.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.random import default_rng  # NumPy would import it at its first use

from vstore.errors import InvalidArgumentError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    import numpy.typing as npt

    from vstore.types import Array

RESAMPLES: Final = 10_000
ALPHA: Final = 0.05
QUERIES_MIN: Final = 2
_EXACT_QUERIES_MAX: Final = 13  # 2**13 sign patterns are fewer than RESAMPLES
_DRAWS_MAX: Final = 1 << 22  # numbers drawn at once: bounds the memory, whatever the queries
_ROUNDING: Final = 1e-12  # two orders of one sum


@dataclass(frozen=True, slots=True)
class PairedTest:
    """What a paired comparison found; ``new`` minus ``old`` throughout.

    Attributes
    ----------
    queries : int
    evidence : int
        Queries for which one of the two systems has a value other than 0. Where both found nothing
        they do not differ, but that says nothing about either.
    old_mean, new_mean, difference : float
        Means over the queries.
    low, high : float
        Confidence interval of the difference, two-sided at 1 - 2 alpha. So ``low > -margin``
        says about the same as ``passed``.
    p_value : float
        Probability of a difference as good as this one, if new were worse than old by the margin.
    margin, alpha : float
    seed : int
    """

    queries: int
    evidence: int
    old_mean: float
    new_mean: float
    difference: float
    low: float
    high: float
    p_value: float
    margin: float
    alpha: float
    seed: int

    @property
    def passed(self) -> bool:
        """Whether it is shown that new is not worse than old by the margin or more.

        Never by fewer queries with evidence than could show it alone: with n of them the smallest
        p-value is 2 to the power of -n.
        """
        return self.p_value <= self.alpha and 2.0**-self.evidence <= self.alpha

    def __str__(self) -> str:
        verdict = "passed" if self.passed else "failed"
        return (
            f"{self.old_mean:.4f} -> {self.new_mean:.4f} over {self.queries:,} queries "
            f"({self.evidence:,} with evidence), difference "
            f"{self.difference:+.4f} ({self.low:+.4f} to {self.high:+.4f}), "
            f"not worse by {self.margin:g}: p {self.p_value:.4f}, {verdict}"
        )


def not_worse(
    old: npt.ArrayLike,
    new: npt.ArrayLike,
    *,
    margin: float,
    alpha: float = ALPHA,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> PairedTest:
    """Test whether new is worse than old by less than a margin, on the same queries.

    The burden of proof is on the new system: too few queries to tell is not a pass. A margin of 0
    therefore asks whether new is better.

    Parameters
    ----------
    old, new : array-like of float (n,)
        A measure of each query, larger is better, in one order.
    margin : float
        At least 0, in units of the measure.
    alpha : float
        Share of tests that may pass where new is worse by exactly the margin; in (0, 0.5).
    resamples : int
        Sign patterns and bootstrap samples. Up to 13 queries all sign patterns are counted.
    seed : int
        The same seed gives the same figures.

    Raises
    ------
    InvalidArgumentError
        Fewer than two queries, lists of different lengths, a value that is not finite, or a
        parameter outside its range.

    Notes
    -----
    One-sided randomization test: Fisher, The Design of Experiments, 1935; for retrieval Smucker,
    Allan, Carterette, CIKM 2007. The observed pattern counts as one of the patterns drawn (Phipson,
    Smyth, SAGMB 9(1), 2010), so p is never 0. The interval is the percentile bootstrap's (Efron,
    1979).
    """
    before, after = np.asarray(old, np.float64), np.asarray(new, np.float64)
    _check(before, after, margin, alpha, resamples)
    differences = after - before
    rng = default_rng(seed)
    low, high = _interval(differences, alpha, resamples, rng)
    return PairedTest(
        queries=len(differences),
        evidence=_evidence(before, after),
        old_mean=float(before.mean()),
        new_mean=float(after.mean()),
        difference=float(differences.mean()),
        low=low,
        high=high,
        p_value=_p_value(differences + margin, resamples, rng),
        margin=margin,
        alpha=alpha,
        seed=seed,
    )


def better_than(
    baseline: npt.ArrayLike,
    contenders: Mapping[str, npt.ArrayLike],
    *,
    alpha: float = ALPHA,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> dict[str, PairedTest]:
    """Test which of several contenders are better than a baseline, on the same queries.

    As `not_worse` with a margin of 0, with p-values adjusted for the number of contenders: if none
    is better, the chance that any passes is alpha. Since all are tried with the same sign patterns,
    contenders that resemble each other cost little.

    Parameters
    ----------
    baseline : array-like of float (n,)
        A measure of each query, larger is better.
    contenders : mapping of name to array-like of float (n,)
        The same of each contender.
    alpha, resamples, seed
        As for `not_worse`.

    Raises
    ------
    InvalidArgumentError
        As `not_worse`.

    Notes
    -----
    Largest studentised difference: Westfall, Young, Resampling-Based Multiple Testing, 1993.
    """
    before = np.asarray(baseline, np.float64)
    afters = {name: np.asarray(values, np.float64) for name, values in contenders.items()}
    for after in afters.values():
        _check(before, after, 0.0, alpha, resamples)
    if not afters:
        return {}
    rng = default_rng(seed)
    differences = np.stack([after - before for after in afters.values()], axis=1)
    p_values = _adjusted_p_values(differences, resamples, rng)
    tests = {}
    for name, difference, p_value in zip(afters, differences.T, p_values, strict=True):
        low, high = _interval(difference, alpha, resamples, rng)
        tests[name] = PairedTest(
            queries=len(before),
            evidence=_evidence(before, afters[name]),
            old_mean=float(before.mean()),
            new_mean=float(afters[name].mean()),
            difference=float(difference.mean()),
            low=low,
            high=high,
            p_value=p_value,
            margin=0.0,
            alpha=alpha,
            seed=seed,
        )
    return tests


def bootstrap_interval(
    values: npt.ArrayLike, *, confidence: float = 0.95, resamples: int = RESAMPLES, seed: int = 0
) -> tuple[float, float]:
    """Return the percentile bootstrap's confidence interval of a mean.

    Parameters
    ----------
    values : array-like of float (n,)
        One per query; finite, at least one.
    confidence : float
        In (0, 1).
    """
    measured = np.asarray(values, np.float64)
    if measured.ndim != 1 or not len(measured) or not np.isfinite(measured).all():
        raise InvalidArgumentError(
            f"bootstrap: values of shape {measured.shape}; expected one finite number per query"
        )
    if not 0 < confidence < 1:
        raise InvalidArgumentError(f"bootstrap: confidence={confidence}; expected one in (0, 1)")
    return _interval(measured, (1 - confidence) / 2, resamples, default_rng(seed))


def _check(before: Array, after: Array, margin: float, alpha: float, resamples: int) -> None:
    if before.ndim != 1 or before.shape != after.shape:
        raise InvalidArgumentError(
            f"paired test: values of shapes {before.shape} and {after.shape}; expected one number "
            "per query from each, in the same order"
        )
    if len(before) < QUERIES_MIN:
        raise InvalidArgumentError(
            f"paired test: {len(before)} queries; expected at least {QUERIES_MIN}, and some "
            "hundreds to see small differences"
        )
    if not (np.isfinite(before).all() and np.isfinite(after).all()):
        raise InvalidArgumentError("paired test: a value is NaN or infinite; leave that query out")
    if not 0 <= margin < np.inf:
        raise InvalidArgumentError(f"paired test: margin={margin}; expected at least 0")
    if not 0 < alpha < 0.5:
        raise InvalidArgumentError(f"paired test: alpha={alpha}; expected one in (0, 0.5)")
    if resamples < 1:
        raise InvalidArgumentError(f"paired test: resamples={resamples}; expected at least 1")


def _evidence(before: Array, after: Array) -> int:
    return int(np.count_nonzero((before != 0) | (after != 0)))


def _p_value(shifted: Array, resamples: int, rng: np.random.Generator) -> float:
    """Return the share of sign patterns whose sum is no less than that of the pattern observed."""
    floor = shifted.sum() - _ROUNDING * np.abs(shifted).sum()
    as_good = patterns = 0
    for signs in _sign_patterns(len(shifted), resamples, rng):
        as_good += int(np.count_nonzero(signs @ shifted >= floor))
        patterns += len(signs)
    return as_good / patterns


def _adjusted_p_values(differences: Array, resamples: int, rng: np.random.Generator) -> list[float]:
    """Return by column the share of sign patterns whose largest t is no less than its own."""
    squares = np.mean(differences**2, axis=0)  # the same for all signs
    own = _studentised(differences.mean(axis=0), squares)
    floors = own - _ROUNDING * np.abs(np.where(np.isfinite(own), own, 0))
    as_good, patterns = np.zeros(len(own), np.int64), 0
    for signs in _sign_patterns(len(differences), resamples, rng):
        largest = _studentised(signs @ differences / len(differences), squares).max(axis=1)
        as_good += np.count_nonzero(largest[:, None] >= floors, axis=0)
        patterns += len(signs)
    return [float(count / patterns) for count in as_good]


def _studentised(means: Array, squares: Array) -> Array:
    """Return means in standard deviations; infinite if there is no deviation, 0 if all is 0."""
    deviations = np.sqrt(np.maximum(squares - means**2, 0))
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(np.where(means == 0, 0.0, means / deviations))


def _sign_patterns(count: int, resamples: int, rng: np.random.Generator) -> Iterator[Array]:
    """Yield sign patterns (rows, count): all of them if they are few, else that observed and drawn.

    So the first pattern is always the one observed.
    """
    if count <= _EXACT_QUERIES_MAX:
        yield np.array(list(itertools.product((1.0, -1.0), repeat=count)))
        return
    yield np.ones((1, count))
    for rows in _chunks(resamples, count):
        yield 2.0 * rng.integers(0, 2, (rows, count)) - 1.0


def _interval(
    values: Array, tail: float, resamples: int, rng: np.random.Generator
) -> tuple[float, float]:
    count = len(values)
    means = np.concatenate(
        [
            values[rng.integers(0, count, (rows, count))].mean(axis=1)
            for rows in _chunks(resamples, count)
        ]
    )
    low, high = np.quantile(means, (tail, 1 - tail))
    return float(low), float(high)


def _chunks(resamples: int, count: int) -> Iterator[int]:
    step = max(1, _DRAWS_MAX // count)
    for start in range(0, resamples, step):
        yield min(step, resamples - start)
