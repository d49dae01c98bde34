"""Recall of live searches: a sample is compared with exact search."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from vstore.evaluation.measures import recall_against_exact

if TYPE_CHECKING:
    from vstore.evaluation.measures import ScoredIds

# Fractional parts of its multiples are spread evenly, with no period that traffic could share
# (Knuth, The Art of Computer Programming 3, section 6.4).
_GOLDEN: Final = 0.618_033_988_749_894_9
_TOLERANCE: Final = 1e-6  # relative; rescored candidates and scans round differently


class RecallSampler:
    """Chooses a share of searches, evenly and repeatably.

    Parameters
    ----------
    share : float
        Share of searches, above 0, up to 1.
    """

    def __init__(self, share: float) -> None:
        self._share = share
        self._seen = 0

    def due(self) -> bool:
        """Whether to compare the current search; each call counts as one search."""
        self._seen += 1
        return self._seen * _GOLDEN % 1.0 < self._share


def recall_of(found: ScoredIds, exact: ScoredIds, *, k: int, ties: bool) -> float:
    """Return the share of the exact hits that were found; 1 if there are no exact hits.

    Parameters
    ----------
    ties : bool
        Whether a hit that scores as high as the k-th exact one counts; see
        `evaluation.measures.recall_against_exact`. False for reads of two versions, whose scores
        cannot be compared.
    """
    if not ties:
        return len({*found.ids} & {*exact.ids}) / len(exact.ids) if exact.ids else 1.0
    tolerance = _TOLERANCE * abs(exact.scores[-1]) if exact.scores else 0.0
    return recall_against_exact(found, exact, k=k, tolerance=tolerance)
