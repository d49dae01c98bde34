"""Mistakes that leave directions alone and show in lengths and values: named, with what to do.

The geometry check (`vstore.guarding.geometry`) looks at directions only. Vectors that were scaled,
normalised or not, or turned into integer codes pass it; what gives them away is that their lengths
are not those of the version's rows.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal, NamedTuple, TypeAlias

import numpy as np

from vstore.guarding.geometry import suspect
from vstore.segment.validation import UNIT_TOLERANCE

if TYPE_CHECKING:
    from vstore.guarding.geometry import GeometryStatistics
    from vstore.types import Array

MistakeKind: TypeAlias = Literal[
    "overflow", "unnormalised", "normalised", "quantised", "scaled", "metric"
]

CODES_MIN: Final = 4.0  # times as long as rows: codes of one byte are far longer than vectors
SCALED_MIN: Final = 2.0  # beyond nearly all rows' lengths: texts of one model differ by less
VARIED_MIN: Final = 1.5  # 95 % quantile over 5 % quantile: lengths that say something
FLOAT16_MAX: Final = float(np.finfo(np.float16).max)
_ROWS_MIN: Final = 8  # to say how lengths are spread
_MOST: Final = (0.05, 0.5, 0.95)  # quantiles: a batch is judged as a whole, whatever its odd rows


class Mistake(NamedTuple):
    """A likely mistake in how vectors were made or a version was declared.

    Attributes
    ----------
    kind : str
    changes_results : bool
        Whether rankings are wrong by it, or only scores, or nothing yet.
    sentence : str
        What was seen, what it likely is, and what to do.
    """

    kind: MistakeKind
    changes_results: bool
    sentence: str


class _Lengths(NamedTuple):
    """Quantiles of Euclidean lengths, at `_MOST`, and how many there were."""

    low: float
    median: float
    high: float
    rows: int

    @property
    def unit(self) -> bool:
        return self.low >= 1 - UNIT_TOLERANCE and self.high <= 1 + UNIT_TOLERANCE

    @property
    def equal(self) -> bool:
        return self.rows >= _ROWS_MIN and self.high <= (1 + 2 * UNIT_TOLERANCE) * self.low

    @property
    def varied(self) -> bool:
        return self.rows >= _ROWS_MIN and self.high >= VARIED_MIN * self.low


def name_mistake(
    statistics: GeometryStatistics | None,
    vectors: Array,
    *,
    metric: str,
    normalized: bool,
    telling: bool = True,
) -> Mistake | None:
    """Return the likeliest mistake, None if lengths and values are as they should be.

    Of kind "metric" it is a hint about the declaration, true of each further batch as well: give it
    when a version learns its statistics, not with every write.

    Parameters
    ----------
    statistics : GeometryStatistics, optional
        Of the version's rows; without them only what the declaration says can be compared.
    vectors : float or int8 array (n, dimension)
        As the caller gave them, before they are converted to the version's storage.
    metric : {"cosine", "inner_product", "l2"}
    normalized : bool
        What the version's spec declares.
    telling : bool
        Whether the sentence may tell the lengths of the version's rows: not to a tenant, of others'
        rows.
    """
    if not vectors.size:
        return None
    with np.errstate(over="ignore"):  # what does not fit is refused where vectors are validated
        values = vectors.astype(np.float32)
    if _came_from_float16(vectors):
        return _overflow(values)
    if np.isinf(values).any():
        return None
    lengths = np.sqrt(np.einsum("ij,ij->i", values.astype(np.float64), values))
    lengths = lengths[lengths > 0]
    if not len(lengths) or np.isnan(values).any():
        return None
    here = _lengths(np.quantile(lengths, _MOST), len(lengths))
    if statistics is None:
        return _against_declaration(here, metric=metric, normalized=normalized)
    if suspect(statistics, values, kind="documents").suspicious:
        return None  # another space: its lengths explain nothing
    rows = _lengths(statistics.lengths[1:4], statistics.rows)
    found = _against_rows(rows, here, values, metric=metric, telling=telling)
    return found or _against_declaration(here, metric=metric, normalized=normalized)


def _came_from_float16(vectors: Array) -> bool:
    """Whether values were too large for float16: they are infinite, or sit at its edge."""
    if vectors.dtype.kind != "f":
        return False
    if vectors.dtype == np.float16 and (np.abs(vectors) >= FLOAT16_MAX).any():
        return True
    infinite = np.isinf(vectors)
    if not infinite.any():
        return False
    others = np.abs(vectors[~infinite])
    return not len(others) or float(others.max()) <= FLOAT16_MAX


def _lengths(quantiles: Array, rows: int) -> _Lengths:
    low, median, high = quantiles.tolist()
    return _Lengths(low, median, high, rows)


def _against_rows(
    rows: _Lengths, here: _Lengths, values: Array, *, metric: str, telling: bool
) -> Mistake | None:
    ranks = metric != "cosine"
    ratio = here.median / rows.median
    span = f"lengths of {rows.low:.4g} to {rows.high:.4g}" if telling else "other lengths"
    if ratio >= CODES_MIN and _are_codes(values):
        return Mistake(
            kind="quantised",
            changes_results=ranks,
            sentence=(
                f"Vectors are integers of lengths near {here.median:.4g}, where the version's "
                f"rows {f'have {rows.median:.4g}' if telling else 'are shorter'}, and point the "
                "same way: they look like int8 codes of the model's vectors. Multiply them by the "
                "scale they were coded with, or send the vectors themselves."
            ),
        )
    if rows.unit and not here.unit and not here.equal:
        return Mistake(
            kind="unnormalised",
            changes_results=ranks,
            sentence=(
                f"Vectors fit the version's directions and have lengths of {here.low:.4g} to "
                f"{here.high:.4g}, where its rows have length 1: they look like the same "
                "model's vectors, sent unnormalised. Divide each by its length, or make a "
                "version whose spec says that vectors are not normalised."
            ),
        )
    # One vector may have length 1 by chance, where rows have lengths around it.
    if here.unit and not rows.unit and (here.equal or not rows.low <= 1 <= rows.high):
        return Mistake(
            kind="normalised",
            changes_results=ranks,
            sentence=(
                f"Vectors fit the version's directions and have length 1, where its rows have "
                f"{span}: they look like the same "
                "model's vectors, normalised. Send them as the model returns them, or make a "
                "version whose spec says that vectors are normalised."
            ),
        )
    beyond = here.low > SCALED_MIN * rows.high or here.high < rows.low / SCALED_MIN
    if beyond or (rows.unit and not here.unit):
        told = (
            f"are {ratio:.4g} times as long as its rows (lengths near {here.median:.4g} against "
            f"{rows.median:.4g}): they look scaled by a constant. Divide them by {ratio:.4g}, or "
            "find the step that multiplies."
        )
        untold = (
            f"have lengths near {here.median:.4g}, which its rows have not: they look scaled by a "
            "constant. Find the step that multiplies."
        )
        return Mistake(
            kind="scaled",
            changes_results=ranks,
            sentence=f"Vectors fit the version's directions and {told if telling else untold}",
        )
    return None


def _against_declaration(here: _Lengths, *, metric: str, normalized: bool) -> Mistake | None:
    if normalized and not here.unit:
        return Mistake(
            kind="unnormalised",
            changes_results=metric != "cosine",
            sentence=(
                "The spec says that vectors are normalised, and these have lengths of "
                f"{here.low:.4g} to {here.high:.4g}. Divide each by its length, or declare "
                "normalized=False."
            ),
        )
    if metric != "cosine" or not here.varied:
        return None
    return Mistake(
        kind="metric",
        changes_results=True,
        sentence=(
            "The spec says cosine, which ignores length, and the lengths of these differ by a "
            f"factor of {VARIED_MIN:g} and more: a model whose lengths differ so much may "
            "have been trained for the inner product. See its card; if so, declare "
            'metric="inner_product".'
        ),
    )


def _overflow(vectors: Array) -> Mistake:
    where = np.argwhere(np.abs(vectors) >= FLOAT16_MAX)[0]
    row, column = (int(i) for i in where)
    return Mistake(
        kind="overflow",
        changes_results=True,
        sentence=(
            f"Value [{row}, {column}] is {vectors[row, column]}: float16 ends at "
            f"{FLOAT16_MAX:.0f}, so that larger values became infinite or stuck there. Send "
            "float32, or scale before converting."
        ),
    )


def _are_codes(values: Array) -> bool:
    """Whether all values are integers that fit one byte, as quantised vectors are."""
    return bool((values == np.rint(values)).all()) and float(np.abs(values).max()) <= 255
