"""Whether a difference between two systems, measured on the same queries, is more than luck.

Queries differ far more from each other than systems do, so only the differences query by query
count. No distribution is assumed: the test flips their signs, the interval resamples them.

The tests are a one-sided randomization test (Fisher, The Design of Experiments, 1935; for retrieval
Smucker, Allan, Carterette, CIKM 2007) and, for several contenders, its largest studentised
difference (Westfall, Young, Resampling-Based Multiple Testing, 1993). The observed signs count as
one of the patterns drawn (Phipson, Smyth, SAGMB 9(1), 2010), so no p-value is 0. The interval is
the percentile bootstrap's (Efron, 1979). NumPy alone, because gates test in the core install, which
has no SciPy.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

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
    """
    return _paired_tests(old, {"": new}, margin, alpha, resamples, seed)[""]


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

    Raises
    ------
    InvalidArgumentError
        As `not_worse`.
    """
    return _paired_tests(baseline, contenders, 0.0, alpha, resamples, seed)


def _paired_tests(  # noqa: PLR0917 - the options of both
    old: npt.ArrayLike,
    contenders: Mapping[str, npt.ArrayLike],
    margin: float,
    alpha: float,
    resamples: int,
    seed: int,
) -> dict[str, PairedTest]:
    before = np.asarray(old, np.float64)
    afters = {name: np.asarray(values, np.float64) for name, values in contenders.items()}
    for after in afters.values():
        _check(before, after, margin, alpha, resamples)
    if not afters:
        return {}
    rng = np.random.default_rng(seed)
    differences = {name: after - before for name, after in afters.items()}
    intervals = [_interval(one, alpha, resamples, rng) for one in differences.values()]
    p_values = _p_values(np.stack([*differences.values()], axis=1) + margin, resamples, rng)
    return {
        name: PairedTest(
            queries=len(before),
            evidence=int(np.count_nonzero((before != 0) | (afters[name] != 0))),
            old_mean=float(before.mean()),
            new_mean=float(afters[name].mean()),
            difference=float(difference.mean()),
            low=low,
            high=high,
            p_value=p_value,
            margin=margin,
            alpha=alpha,
            seed=seed,
        )
        for (name, difference), (low, high), p_value in zip(
            differences.items(), intervals, p_values, strict=True
        )
    }


def _check(before: Array, after: Array, margin: float, alpha: float, resamples: int) -> None:
    shapes = f"values of shapes {before.shape} and {after.shape}"
    finite = np.isfinite(before).all() and np.isfinite(after).all()
    for is_right, problem in (
        (before.ndim == 1 and before.shape == after.shape, f"{shapes}; expected one per query"),
        (before.size >= QUERIES_MIN, f"{before.size} queries; expected at least {QUERIES_MIN}"),
        (finite, "a value is NaN or infinite; leave that query out"),
        (0 <= margin < np.inf, f"margin={margin}; expected at least 0"),
        (0 < alpha < 0.5, f"alpha={alpha}; expected one in (0, 0.5)"),
        (resamples >= 1, f"resamples={resamples}; expected at least 1"),
    ):
        if not is_right:
            raise InvalidArgumentError(f"paired test: {problem}")


def _p_values(differences: Array, resamples: int, rng: np.random.Generator) -> list[float]:
    """Return, by column of (queries, contenders), how rarely chance does as well.

    That is the share of sign patterns whose largest statistic over all columns is no less than the
    column's own. The statistic is the sum over the column's root mean square: signs do not change
    the latter, so Student's t is the same increasing function of it in every column.
    """
    scale = np.sqrt(np.mean(differences**2, axis=0))
    scaled = differences / np.where(scale == 0, 1, scale)
    floors = scaled.sum(axis=0) - _ROUNDING * np.abs(scaled).sum(axis=0)
    as_good, patterns = np.zeros(len(floors), np.int64), 0
    for signs in _sign_patterns(len(scaled), resamples, rng):
        largest = (signs @ scaled).max(axis=1, keepdims=True)
        as_good += np.count_nonzero(largest >= floors, axis=0)
        patterns += len(signs)
    return [float(count / patterns) for count in as_good]


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
