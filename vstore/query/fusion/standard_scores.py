"""Standard scores, which make scores of different versions comparable."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from vstore.types import Array


def standardised(scores: Array, reference: Array) -> Array:
    """Return scores as deviations from the reference's mean, in its standard deviations.

    All are 0 if the reference is empty or has no deviation.
    """
    # Compare minimum and maximum: the computed deviation of equal scores need not be 0.
    if not len(reference) or reference.min() == reference.max():
        return np.zeros(len(scores))
    deviation = reference.std()
    if deviation == 0:  # distinct scores so close that their variance underflows
        return np.zeros(len(scores))
    return np.asarray((scores - reference.mean()) / deviation)
