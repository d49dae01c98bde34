"""Which live searches are compared with exact search, and what the comparison says."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Hashable, Sequence

# Fractional parts of its multiples are spread evenly and in no period that traffic could have
# (Knuth, The Art of Computer Programming 3, section 6.4).
_GOLDEN: Final = 0.618_033_988_749_894_9
_TOLERANCE: Final = 1e-6  # relative; scores of codes' candidates and of scans differ by rounding


class RecallSampler:
    """Chooses a share of searches, evenly and repeatably.

    Parameters
    ----------
    share : float
        Above 0, up to 1.
    """

    def __init__(self, share: float) -> None:
        self._share = share
        self._seen = 0

    def due(self) -> bool:
        """Whether the search that is asked now is one of them; each call counts as a search."""
        self._seen += 1
        return self._seen * _GOLDEN % 1.0 < self._share


def recall_of(
    found: Sequence[tuple[Hashable, float]], exact: Sequence[tuple[Hashable, float]], *, ties: bool
) -> float:
    """Return the share of the exact hits that were found; 1 if there is nothing to find.

    Parameters
    ----------
    found, exact : sequence of (what, score)
        Documents, or chunks of them.
    ties : bool
        Whether scores can be compared: then a hit as good as the last exact one counts. Those of a
        read of two versions cannot.
    """
    if not exact:
        return 1.0
    wanted = {what for what, _ in exact}
    least = min(score for _, score in exact)
    least -= _TOLERANCE * abs(least)
    good = sum(what in wanted or (ties and score >= least) for what, score in found)
    return min(good, len(exact)) / len(exact)
