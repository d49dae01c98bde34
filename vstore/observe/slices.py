"""Counts of searches by slice: collection, tenant, query family, mode, versions and epochs.

The *mixed-version retrieval rate* of a slice is the share of its queries whose returned hits came
from more than one version, or from a version that the plan does not read. *Explicit*: the plan
reads all those versions. *Silent*: it does not; this is 0 unless something is broken. Versions are
counted from the hits, never taken from the plan.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from vstore.limits import METRIC_EPOCHS_MAX, METRIC_SLICES_MAX
from vstore.observe.latency import LatencyHistogram

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


class Slice(NamedTuple):
    """Key of a slice: properties that all its queries share.

    Attributes
    ----------
    tenant : str
        Route key that filter and scope imply, for example ``"tenant=acme"``; empty for the default.
        It also identifies the part of the corpus that was searched.
    family : str
        The caller's name for such queries, for example ``"autocomplete"``.
    mode : str
        "matched", or how two versions were read.
    versions : tuple[str, ...]
        Versions that the plan reads.
    epoch : int
        First epoch of the bucket of epochs; see `SliceTable`.
    """

    collection: str
    tenant: str
    family: str
    mode: str
    versions: tuple[str, ...]
    epoch: int


# Overflow slice, for queries that come when the table is full; no mode has this name.
OTHER: Final = Slice("", "", "", "other", (), 0)


class SliceCounts:
    """Counts of a slice's queries.

    Attributes
    ----------
    queries, hits : int
    explicit, silent : int
        Mixed-version queries; see the module.
    stale_hits, short : int
        Hits with a vector of an older revision; queries with fewer hits than wanted.
    filtered : int
        Queries with a filter or scope.
    selectivity : float
        Sum over filtered queries: share of live documents that passed.
    coverage : float
        Sum over all queries: coverage of the last version read, at the time of the query.
    compared : int
        Queries whose hits were compared with exact search.
    recall : float
        Sum over compared queries: share of the exact hits found.
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
        """Count mixed-version queries, given queries by the versions of their hits.

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
        """Add the counts of another slice."""
        for name in SUMS:
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.latency.merge(other.latency)

    def to_dict(self) -> dict[str, object]:
        """Return counts, rates and means as plain data; a mean over no queries is None."""
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
    """Counts by slice, for at most `METRIC_SLICES_MAX` slices; `OTHER` takes the overflow.

    Epochs are grouped in buckets of equal width. The width doubles when there would be more than
    `METRIC_EPOCHS_MAX` buckets, so that frequent commits do not make more slices.

    Attributes
    ----------
    width : int
        Epochs in a bucket, a power of two.
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
        """Return the counts of a slice, made if new; its epoch may be any of its bucket."""
        start = asked.epoch - asked.epoch % self.width
        if start not in self._epochs:
            self._epochs.add(start)
            while len(self._epochs) > METRIC_EPOCHS_MAX:
                self._widen(self.width * 2)
            start = asked.epoch - asked.epoch % self.width
        key = asked._replace(epoch=start)
        found = self._counts.get(key)
        if found is None:
            if len(self._counts) >= METRIC_SLICES_MAX - 1:  # the last place is for OTHER
                key = OTHER
            found = self._counts.setdefault(key, SliceCounts())
        return found

    def merge(self, other: SliceTable) -> None:
        """Add the counts of another table."""
        if other.width > self.width:
            self._widen(other.width)
        for key, counts in other:
            (self._other() if key == OTHER else self.counts(key)).merge(counts)

    def _other(self) -> SliceCounts:
        return self._counts.setdefault(OTHER, SliceCounts())

    def over_epochs(self) -> Iterator[tuple[Slice, SliceCounts]]:
        """Yield slices summed over epochs, as epoch 0."""
        found: dict[Slice, SliceCounts] = {}
        for key, counts in self:
            found.setdefault(key._replace(epoch=0), SliceCounts()).merge(counts)
        return iter(found.items())

    def total(self) -> SliceCounts:
        """Return the sum over all slices."""
        total = SliceCounts()
        for _, counts in self:  # sorted: sums of floats depend on the order
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
