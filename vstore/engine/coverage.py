"""Coverage: how much of a collection a version covers."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Coverage:
    """How much of a collection a version covers, in documents.

    Attributes
    ----------
    fresh : int
        Live documents with rows made from their current revision.
    live : int
    hits_fresh, hits : int
        How often those documents were found, and all; 0 where that was not asked for, or not
        counted.
    """

    fresh: int
    live: int
    hits_fresh: int = 0
    hits: int = 0

    @property
    def share(self) -> float:
        """Fresh documents of live documents; 1 for an empty collection."""
        return self.fresh / self.live if self.live else 1.0

    @property
    def traffic_share(self) -> float:
        """Hits of fresh documents of all hits; without any, as `share`."""
        return self.hits_fresh / self.hits if self.hits else self.share

    @property
    def complete(self) -> bool:
        """Whether no live document lacks fresh rows."""
        return self.fresh == self.live
