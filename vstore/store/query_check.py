"""Queries, watched for a model that changed: they are flagged, never refused."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from vstore.deferred import Deferred
from vstore.errors import CorruptionError
from vstore.store.guards import guard_of
from vstore.store.watch import EVIDENCE_MIN, LATEST

if TYPE_CHECKING:
    from vstore.manifest.state import VersionState
    from vstore.store import alarms, fitting
    from vstore.store.collection import Collection
    from vstore.store.snapshot import Snapshot
    from vstore.store.watch import Watch
    from vstore.types import Array
else:  # of what looks suspect
    alarms = Deferred("vstore.store.alarms")
    fitting = Deferred("vstore.store.fitting")


class Noted(NamedTuple):
    """What is known about the queries of a search, in one version.

    Attributes
    ----------
    alarm : str | None
        What the latest queries looked like together.
    watch, queries
        To judge one query alone, when someone asks; None if it is not to be.
    """

    label: str
    alarm: str | None
    watch: Watch | None = None
    queries: Array | None = None

    def suspicion(self, number: int) -> str | None:
        """Return what is suspect about a query, None if nothing is."""
        if self.alarm is not None or self.watch is None or self.queries is None:
            return self.alarm
        if not self.watch.is_suspect(self.queries[number]):
            return None
        return f"the query looks like a vector of another space than that of version {self.label!r}"


class QueryCheck:
    """Notes the queries of one version at one snapshot."""

    def __init__(self, collection: Collection, snapshot: Snapshot, version: VersionState) -> None:
        self._collection = collection
        self._snapshot = snapshot
        self._label = version.label
        self._damage = None
        self._watch: Watch | None = None
        if version.guard is None:
            return
        try:
            self._watch = guard_of(snapshot, version).queries
        except CorruptionError as error:
            # The answer does not depend on it, and whoever cannot write must be able to read.
            damage = f"queries are not checked: {error}"
            self._damage = Noted(version.label, damage)

    def __call__(self, queries: Array) -> Noted | None:
        """Note queries, float32 (m, dimension); None if there is nothing to judge them by."""
        watch = self._watch
        if watch is None or not len(queries):
            return self._damage
        if len(queries) == 1:
            kept = queries.copy()  # the caller may reuse the array
            if watch.add(kept[0]):
                self._judge(watch, 1)
        else:
            picked = np.linspace(0, len(queries) - 1, min(len(queries), LATEST)).astype(np.int64)
            kept = queries[picked]
            for query in kept:
                watch.add(query)
            self._judge(watch, len(queries))
        alarm = self._alarm(watch) if watch.suspicious else None
        if len(queries) > EVIDENCE_MIN:  # one alone would add nothing
            return Noted(self._label, alarm)
        return Noted(self._label, alarm, watch, kept)

    def _judge(self, watch: Watch, count: int) -> None:
        before = watch.suspicious
        verdict = watch.judge()
        if not verdict.suspicious:
            return
        alarms.count_suspects(self._collection, "suspect_queries", max(count, verdict.rows))
        if not before:
            of = (self._collection.name, self._label)
            fits = fitting.which_fits(self._snapshot, watch.latest(), of=of, kind="query")
            watch.fits = "" if fits is None else f"; they fit {fits}"
            alarms.LOGGER.warning("%s: %s", self._collection.name, self._alarm(watch))

    def _alarm(self, watch: Watch) -> str:
        verdict = watch.verdict
        assert verdict is not None, "an alarm is about one"
        low, high = verdict.expected
        return (
            f"the latest {verdict.rows} queries of version {self._label!r} look like vectors of "
            f"another space: their departure is {verdict.departure:.2f}, expected {low:.2f} to "
            f"{high:.2f}, alarm from {verdict.limit:.2f}{watch.fits}"
        )
