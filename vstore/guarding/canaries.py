"""Canary texts, embedded again: whether a name still stands for the model that made a version.

Providers are not bit-stable: batching, hardware and precision move a vector a little, and float16
rounds it. A prompt, other preprocessing or a cheaper quantisation moves it more, but leaves
each text nearer to itself than to the other texts; another model does not leave even that.
`benchmarks/geometry.py` measures all of them, and where the bounds below lie among them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal, NamedTuple, TypeAlias

import numpy as np

from vstore.errors import InvalidArgumentError

if TYPE_CHECKING:
    from vstore.types import Array, FloatArray

CanaryVerdict: TypeAlias = Literal["same", "rescaled", "drifted", "other model"]

COSINE_MIN: Final = 0.999  # float16, bfloat16 and int8 rounding stay above .9999
LENGTH_TOLERANCE: Final = 1e-2  # relative; as much as a normalised vector may be off
KEPT_MIN: Final = 0.5  # of what makes a text nearer to itself than to others


class CanaryComparison(NamedTuple):
    """What became of the canaries.

    Attributes
    ----------
    verdict : {"same", "rescaled", "drifted", "other model"}
    cosines : float32 (n,)
        Of each text's stored and fresh vector.
    length_ratios : float64 (n,)
        Fresh over stored.
    worst : int
        The text with the smallest cosine.
    kept : float
        How much nearer texts are to themselves than to the other texts: 1 as it was, 0 not at all.
        With one text alone, its cosine.
    sentence : str
    """

    verdict: CanaryVerdict
    cosines: FloatArray
    length_ratios: Array
    worst: int
    kept: float
    sentence: str


def compare_canaries(stored: Array, fresh: Array, *, metric: str) -> CanaryComparison:
    """Compare the vectors of some texts as a version stored them and as an embedder makes them now.

    Parameters
    ----------
    stored, fresh : float array (n, dimension), n >= 1
        Of the same texts in the same order. A handful will do, and two at least should differ.
    metric : {"cosine", "inner_product", "l2"}
        Under cosine a different length is no difference.

    Raises
    ------
    InvalidArgumentError
        Different shapes, no texts, or a vector that is zero or not finite.
    """
    if stored.shape != fresh.shape or stored.ndim != 2 or not stored.size:
        raise InvalidArgumentError(
            f"canaries: expected two matrices of one shape, found {stored.shape} and {fresh.shape}"
        )
    old, old_lengths = _normalised(stored, "stored")
    new, new_lengths = _normalised(fresh, "fresh")
    cosines = np.clip(np.einsum("ij,ij->i", old, new), -1, 1)
    ratios = new_lengths / old_lengths
    kept = _kept(old, new)
    worst = int(np.argmin(cosines))
    found = f"the least similar canary (text {worst}) has cosine {cosines[worst]:.4f} to its past"
    verdict: CanaryVerdict
    if kept < KEPT_MIN:
        verdict = "other model"
        meaning = (
            "texts are no longer nearer to themselves than to each other: another model answers to "
            "the name. Make a version of its own for it"
        )
    elif cosines[worst] < COSINE_MIN:
        verdict = "drifted"
        meaning = (
            f"more than rounding changes (at least {COSINE_MIN}), though texts are recognised: a "
            "prompt, the preprocessing, a quantisation or a release of the model changed. Restore "
            "it, or make a version of its own"
        )
    elif metric != "cosine" and (np.abs(ratios - 1) > LENGTH_TOLERANCE).any():
        verdict = "rescaled"
        meaning = (
            f"but lengths are {ratios.min():.4g} to {ratios.max():.4g} times what they were, which "
            f"{metric} does not ignore: normalisation was switched on or off, or values are scaled"
        )
    else:
        verdict, meaning = "same", "as much as rounding changes"
    return CanaryComparison(
        verdict,
        cosines.astype(np.float32),
        ratios,
        worst,
        kept,
        f"{found}: {meaning}.",
    )


def _normalised(vectors: Array, name: str) -> tuple[Array, Array]:
    exact = vectors.astype(np.float64)
    lengths = np.sqrt(np.einsum("ij,ij->i", exact, exact))
    bad = ~(np.isfinite(lengths) & (lengths > 0))
    if bad.any():
        raise InvalidArgumentError(
            f"canaries: {name} vector {int(np.argmax(bad))} is zero or not finite"
        )
    return exact / lengths[:, None], lengths


def _kept(old: Array, new: Array) -> float:
    """Return (own - crossed) / (1 - crossed before), of cosines to itself and to other texts."""
    rows = len(old)
    own = float(np.einsum("ij,ij->", old, new)) / rows
    if rows == 1:
        return own
    pairs = rows * (rows - 1)
    crossed = (float(old.sum(axis=0) @ new.sum(axis=0)) - own * rows) / pairs
    before = (float(np.square(old.sum(axis=0)).sum()) - rows) / pairs
    # Texts that are all alike tell only by their cosine.
    return (own - crossed) / (1 - before) if before < COSINE_MIN else own
