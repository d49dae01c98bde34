"""Searches counted by slice: who was asked what, of which versions, and when.

The *mixed-version retrieval rate* of a slice is the share of its queries whose returned hits came
from more than one version, or from another one than the plan reads. *Explicit*: the plan says that
it reads those versions. *Silent*: anything else, which is 0 unless something is broken. Which
versions answered is counted from the hits, never taken from the plan.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from vstore.limits import METRIC_EPOCHS_MAX, METRIC_SLICES_MAX
from vstore.observe.latency import LatencyHistogram

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


class Slice(NamedTuple):
    """What the queries of a slice have in common.

    Attributes
    ----------
    tenant : str
        Route key that filter and scope imply, for example ``"tenant=acme"``; empty for the default.
        It is the part of the corpus that was searched, too.
    family : str
        What the caller calls such queries, for example ``"autocomplete"``.
    mode : str
        "matched", or how two versions were read.
    versions : tuple[str, ...]
        Versions that the plan reads.
    epoch : int
        First epoch of the bucket in which it was asked; see `SliceTable`.
    """

    collection: str
    tenant: str
    family: str
    mode: str
    versions: tuple[str, ...]
    epoch: int


# Where queries are counted for which there is no slice left; no mode is called so.
OTHER: Final = Slice("", "", "", "other", (), 0)


class SliceCounts:
    """What was seen of the queries of a slice.

    Attributes
    ----------
    queries, hits : int
    explicit, silent : int
        Queries with hits of more than one version, as the plan said and otherwise.
    stale_hits, short : int
        Hits made from an older revision; queries with fewer hits than were asked for.
    filtered : int
        Queries with a filter or scope.
    selectivity : float
        Sum, over those, of the share of live documents that passed.
    coverage : float
        Sum, over all queries, of the last read version's coverage when they were asked.
    compared : int
        Queries whose hits were compared with exact search.
    recall : float
        Sum, over those, of the share of the exact hits that was found.
    latency : LatencyHistogram
    """

    __slots__ = (
        "compared", "coverage", "explicit", "filtered", "hits", "latency", "queries", "recall",
        "selectivity", "short", "silent", "stale_hits",
    )  # fmt: skip

    def __init__(self) -> None:
        self.queries = self.hits = self.explicit = self.silent = 0
        self.stale_hits = self.short = self.filtered = self.compared = 0
        self.selectivity = self.coverage = self.recall = 0.0
        self.latency = LatencyHistogram()

    def add_answers(self, answered: Mapping[frozenset[str], int], planned: frozenset[str]) -> None:
        """Count queries by the versions of the hits that they returned.

        Parameters
        ----------
        planned : frozenset[str]
            Versions that the plan reads.
        """
        for labels, queries in answered.items():
            if not labels <= planned:
                self.silent += queries
            elif len(labels) > 1:
                self.explicit += queries

    def merge(self, other: SliceCounts) -> None:
        """Count what others have counted."""
        for name in SUMS:
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.latency.merge(other.latency)

    def to_dict(self) -> dict[str, object]:
        """Return counts, rates and means as plain data; a mean of nothing is None."""
        queries = self.queries
        return {
            "queries": queries,
            "hits": self.hits,
            "mixed_version_rate": {
                "explicit": _mean(self.explicit, queries) or 0.0,
                "silent": _mean(self.silent, queries) or 0.0,
            },
            "explicit": self.explicit,
            "silent": self.silent,
            "stale_hits": self.stale_hits,
            "short_results": self.short,
            "filtered": self.filtered,
            "selectivity": _mean(self.selectivity, self.filtered),
            "coverage": _mean(self.coverage, queries),
            "compared": self.compared,
            "recall": _mean(self.recall, self.compared),
            "latency": self.latency.to_dict(),
        }


SUMS: Final = tuple(name for name in SliceCounts.__slots__ if name != "latency")
REALS: Final = ("coverage", "recall", "selectivity")


def _mean(total: float, count: int) -> float | None:
    return total / count if count else None


class SliceTable:
    """Counts by slice, as many as `METRIC_SLICES_MAX`; what finds no slice is counted in `OTHER`.

    Epochs are counted in buckets of equal width. It doubles when there would be more than
    `METRIC_EPOCHS_MAX` of them, so that a service that commits often has as few as one that does
    not.

    Attributes
    ----------
    width : int
        Epochs of a bucket, a power of two.
    """

    def __init__(self, width: int = 1) -> None:
        self.width = width
        self._counts: dict[Slice, SliceCounts] = {}
        self._epochs: set[int] = set()

    def __len__(self) -> int:
        return len(self._counts)

    def __iter__(self) -> Iterator[tuple[Slice, SliceCounts]]:
        return iter(sorted(self._counts.items()))

    def counts(self, asked: Slice) -> SliceCounts:
        """Return what to count the queries of a slice in; its epoch may be any of a bucket."""
        start = asked.epoch - asked.epoch % self.width
        if start not in self._epochs:
            self._epochs.add(start)
            while len(self._epochs) > METRIC_EPOCHS_MAX:
                self._widen(self.width * 2)
            start = asked.epoch - asked.epoch % self.width
        key = asked._replace(epoch=start)
        found = self._counts.get(key)
        if found is None:
            if len(self._counts) >= METRIC_SLICES_MAX - 1:  # the last one is OTHER's
                key = OTHER
            found = self._counts.setdefault(key, SliceCounts())
        return found

    def merge(self, other: SliceTable) -> None:
        """Count what another table has counted."""
        if other.width > self.width:
            self._widen(other.width)
        for key, counts in other:
            (self._other() if key == OTHER else self.counts(key)).merge(counts)

    def _other(self) -> SliceCounts:
        return self._counts.setdefault(OTHER, SliceCounts())

    def over_epochs(self) -> Iterator[tuple[Slice, SliceCounts]]:
        """Yield slices, those that differ in their epoch alone added up, under epoch 0."""
        found: dict[Slice, SliceCounts] = {}
        for key, counts in self:
            found.setdefault(key._replace(epoch=0), SliceCounts()).merge(counts)
        return iter(found.items())

    def total(self) -> SliceCounts:
        """Return what all slices have counted."""
        total = SliceCounts()
        for _, counts in self:  # in an order of its own: sums of floats depend on it
            total.merge(counts)
        return total

    def _widen(self, width: int) -> None:
        before, self._counts, self.width = self._counts, {}, width
        self._epochs = {epoch - epoch % width for epoch in self._epochs}
        for key, counts in before.items():
            key = key._replace(epoch=key.epoch - key.epoch % width)
            self._counts.setdefault(key, SliceCounts()).merge(counts)

    def to_list(self) -> list[dict[str, object]]:
        """Return the slices as plain data."""
        return [
            {
                "collection": key.collection,
                "tenant": key.tenant,
                "family": key.family,
                "mode": key.mode,
                "versions": "+".join(key.versions),
                "epoch": key.epoch,
                "epochs": self.width,
                **counts.to_dict(),
            }
            for key, counts in self
        ]
