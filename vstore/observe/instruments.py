"""Names, meanings and labels of the counters, the same for every system that collects them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from vstore.observe.slices import Slice


class Instrument(NamedTuple):
    """One counter of a slice.

    Attributes
    ----------
    field : str
        Attribute of `SliceCounts`.
    name : str
        Without the suffix that some formats append.
    """

    field: str
    name: str
    help: str


# All are sums, so that rates and means can be computed for any set of slices: the mixed-version
# rate is mixed_queries / queries, the mean recall is recall / compared_queries.
COUNTERS: Final = (
    Instrument("queries", "vstore_queries", "Searches."),
    Instrument("hits", "vstore_hits", "Hits that searches returned."),
    Instrument("stale_hits", "vstore_stale_hits", "Hits made from an older revision."),
    Instrument("short", "vstore_short_queries", "Searches with fewer hits than asked for."),
    Instrument("filtered", "vstore_filtered_queries", "Searches with a filter or scope."),
    Instrument(
        "selectivity", "vstore_selectivity", "Sum over filtered searches: share that passed."
    ),
    Instrument("coverage", "vstore_coverage", "Sum over searches: coverage of the version then."),
    Instrument("compared", "vstore_compared_queries", "Searches compared with exact search."),
    Instrument("recall", "vstore_recall", "Sum over compared searches: share of exact hits found."),
)
MIXED: Final = Instrument(
    "", "vstore_mixed_queries", "Searches whose hits came from several versions, by kind."
)
EVENTS: Final = Instrument("", "vstore_events", "Commits, vacuums and other events of this handle.")
LATENCY: Final = Instrument("", "vstore_query_seconds", "Time that searches took, in seconds.")
KINDS: Final = ("explicit", "silent")
LABELS: Final = ("collection", "tenant", "family", "mode", "versions")


def labels_of(key: Slice) -> dict[str, str]:
    """Return a slice's `LABELS`, without the epoch: the number of series must stay bounded."""
    values = (key.collection, key.tenant, key.family, key.mode, "+".join(key.versions))
    return dict(zip(LABELS, values, strict=True))
