"""Isotonic regression: the best fit among curves that never rise."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from vstore.types import Array


def antitonic(values: Array, weights: Array) -> Array:
    """Return the never rising sequence with the least weighted squared distance to the values.

    Pool adjacent violators, in linear time: Ayer, Brunk, Ewing, Reid, Silverman, Annals of
    Mathematical Statistics 26, 1955; Barlow et al., Statistical Inference under Order Restrictions,
    1972.

    Parameters
    ----------
    values, weights : float (n,)
        Finite; weights above 0.

    Returns
    -------
    float64 (n,)
        Constant over each pool, where it is the pool's weighted mean.
    """
    means: list[float] = []
    masses: list[float] = []
    sizes: list[int] = []
    for value, weight in zip(values.tolist(), weights.tolist(), strict=True):
        mean, mass, size = value, weight, 1
        while means and means[-1] <= mean:
            before = masses.pop()
            mean = (means.pop() * before + mean * mass) / (before + mass)
            mass += before
            size += sizes.pop()
        means.append(mean)
        masses.append(mass)
        sizes.append(size)
    return np.repeat(np.array(means, np.float64), np.array(sizes, np.int64))
