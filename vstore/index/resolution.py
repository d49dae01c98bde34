"""How well codes tell some rows apart: asked of the rows that a filter lets through.

Recall is measured over a whole segment, when its graph is built. A filter may let nothing through
but near-copies of one vector, say the versions of a form letter. They are few of the segment and
change the mean little, and yet nothing that was measured holds for them: their codes differ by
rounding alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from vstore.index.quantizer import Quantizer
    from vstore.native.arrays import GraphArrays
    from vstore.types import Array

SAMPLE_ROWS: Final = 32
_NEAREST: Final = 6  # of the sample: what a row's neighbours are like
_FEWEST: Final = 4  # neighbours that errors are judged by
_CHANCE: Final = 1  # rows of a sample that may look so, and prove nothing
# Of the spread of a row's distances to its neighbours, from which on the errors of its codes count.
# Ordinary rows have 0.01 to 0.1; copies that differ in a tenth of their length 0.2, whose hits the
# usual candidates hold; copies that differ in a twentieth 0.45.
_ERROR_SHARE: Final = 0.4
_CROWD_SAMPLE: Final = 1_024
_CROWD_LINKS: Final = 2  # of a node, the nearest ones first
# Squared distance of codes by dimension, up to which rounding may matter beside it.
_CROWDED: Final = 4


def crowded_share(arrays: GraphArrays, node: Array) -> float:
    """Return the share of a graph's rows whose node may have near-copies for neighbours, at most.

    Estimated from some of them, to spare those who filter other graphs a look at what passes.

    Parameters
    ----------
    node : uint32 (rows,)
        Node of each row.
    """
    if not len(node):
        return 0.0
    some = np.linspace(0, len(node) - 1, min(len(node), _CROWD_SAMPLE)).astype(np.int64)
    here = node[some]
    own, crowded = arrays.codes(here).astype(np.int32), np.zeros(len(here), np.bool_)
    for links in arrays.links[here, :_CROWD_LINKS].T:
        there = links < arrays.nodes  # no link, or a damaged one
        other = arrays.codes(np.where(there, links, 0)).astype(np.int32)
        crowded |= there & (np.square(own - other).sum(axis=1) <= _CROWDED * own.shape[1])
    return min(1.0, (1 + int(np.count_nonzero(crowded))) / len(some))


def resolved_share(vectors: Array, quantizer: Quantizer) -> float:
    """Return the share of some rows whose neighbours among them are told apart by codes.

    Rows of equal codes do not count: a search scores all of them with their vectors.

    Parameters
    ----------
    vectors : float32 or float16 (n, dimension)
        A sample of rows. What is not finite is taken to be told apart.
    """
    if len(vectors) <= _FEWEST:
        return 1.0
    with np.errstate(all="ignore"):
        centred, codes = quantizer.coded(vectors)
        apart = _squared(codes)  # of integers, so that equal codes have exactly 0
        if quantizer.space == "product":
            exact = -(centred + quantizer.mean) @ centred.T
            coded = -quantizer.scale * ((centred + quantizer.mean) @ codes.T)
        else:
            exact, coded = _squared(centred), quantizer.scale**2 * apart
        there = (apart > 0) & np.isfinite(exact)
        exact[~there] = np.inf
        nearest = np.argpartition(exact, min(_NEAREST, len(exact) - 1), axis=1)[:, :_NEAREST]
        there, exact, coded = (
            np.take_along_axis(values, nearest, 1) for values in (there, exact, coded)
        )
        blurred = _deviation(coded - exact, there) > _ERROR_SHARE * _deviation(exact, there)
    blurred &= there.sum(axis=1) >= _FEWEST
    count = int(np.count_nonzero(blurred))
    return 1.0 - count / len(vectors) if count > _CHANCE else 1.0


def _squared(rows: Array) -> Array:
    """Return squared distances between rows."""
    lengths = np.einsum("ij,ij->i", rows, rows)
    return np.asarray(lengths[:, None] + lengths[None] - 2.0 * (rows @ rows.T))


def _deviation(values: Array, there: Array) -> Array:
    """Return the standard deviation of the values that are there, by row."""
    count = np.maximum(there.sum(axis=1), 1)
    known = np.where(there, values, 0.0)
    mean = known.sum(axis=1) / count
    squares = np.square(np.where(there, known - mean[:, None], 0.0))
    return np.asarray(np.sqrt(squares.sum(axis=1) / count))
