"""Coverage: the share of a collection that a version covers."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Coverage:
    """A version's coverage of a collection, in documents and hits.

    Attributes
    ----------
    fresh : int
        Live documents with rows made from their current revision.
    live : int
    hits_fresh, hits : int
        Hits of fresh documents, and of live ones; 0 if not requested, or not counted.
    """

    fresh: int
    live: int
    hits_fresh: int = 0
    hits: int = 0

    @property
    def share(self) -> float:
        """Fresh documents as a share of live documents; 1 for an empty collection."""
        return self.fresh / self.live if self.live else 1.0

    @property
    def traffic_share(self) -> float:
        """Hits of fresh documents as a share of all hits; `share` if there are no hits."""
        return self.hits_fresh / self.hits if self.hits else self.share

    @property
    def complete(self) -> bool:
        """Whether no live document lacks fresh rows."""
        return self.fresh == self.live
