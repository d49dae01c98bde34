"""Standard scores, by which scores of different versions are compared."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from vstore.types import Array


def standardised(scores: Array, reference: Array) -> Array:
    """Return scores in standard deviations of the reference above its mean; 0 if it has none."""
    # Equal scores are asked for by comparison: their computed deviation need not be 0.
    if not len(reference) or reference.min() == reference.max():
        return np.zeros(len(scores))
    deviation = reference.std()
    if deviation == 0:  # distinct scores so close that their variance underflows
        return np.zeros(len(scores))
    return np.asarray((scores - reference.mean()) / deviation)
