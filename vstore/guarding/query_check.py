"""Queries, watched for a model that changed: they are flagged, never refused."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypeAlias

import numpy as np

from vstore.deferred import Deferred
from vstore.errors import CorruptionError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from vstore.engine.handle import Handle
    from vstore.engine.snapshot import CollectionView, SegmentCache, Snapshot
    from vstore.guarding import alarms, lengths, watch
    from vstore.guarding import fitting_version as fitting
    from vstore.guarding import loaded_guards as guards
    from vstore.guarding.watch import Watch
    from vstore.manifest.state import VersionState
    from vstore.query.filter import Filter
    from vstore.types import Array, BoolArray, FloatArray
else:  # of several queries, and of what looks suspect
    lengths = Deferred("vstore.guarding.lengths")
    alarms = Deferred("vstore.guarding.alarms")
    fitting = Deferred("vstore.guarding.fitting_version")
    guards = Deferred("vstore.guarding.loaded_guards")
    watch = Deferred("vstore.guarding.watch")

_EARLY: Final = 8  # queries before what is known of the version is read, at least as many as judged

# What is known about the queries of a search in one version: what noted them, what the latest ones
# looked like together, and by number the queries to be judged alone when someone asks. A
# plain tuple, since it is made with every search.
Noted: TypeAlias = "tuple[QueryCheck, str | None, Mapping[int, FloatArray]]"


class QueryCheck:
    """Notes the queries of one version at one snapshot, by handles of one scope.

    A process that asks a question or two does not wait for what is known of the version. Nor does
    this hold the snapshot, whose views hold it.
    """

    def __init__(
        self, cache: SegmentCache, version: VersionState, scope: Filter | None = None
    ) -> None:
        self._cache = cache
        self._scope = scope
        self._version = version
        self._label = version.label
        self._early: list[FloatArray] | None = None if version.guard is None else []
        self._damage: str | None = None
        self._watch: Watch | None = None
        if version.guard is not None and guards.is_loaded(cache, version):
            self._load()  # an earlier snapshot's; else commits between queries would hide them

    def _load(self) -> None:
        """Read what is known of the version, and note the queries that came before."""
        early, self._early = self._early, None
        if early is None:
            return
        try:
            loaded = guards.guard_in(self._cache, self._version).within(self._scope)
            self._watch = loaded.queries
        except CorruptionError as error:
            # The answer does not depend on it, and whoever cannot write must be able to read.
            self._damage = f"queries are not checked: {error}"
        if self._watch is not None:
            for query in early:
                self._watch.add(query)

    def one(self, handle: Handle, snapshot: Snapshot, query: FloatArray) -> Noted | None:
        """Note one query, float32 (dimension,); None if there is nothing to judge it by."""
        window = self._watch
        if window is None:
            early = self._early
            if early is not None and len(early) < _EARLY:
                kept = query.copy()
                early.append(kept)
                return self, None, {0: kept}
            self._load()
            window = self._watch
            if window is None:
                return None if self._damage is None else (self, self._damage, {})
        kept = query.copy()  # the caller may use the array again
        if window.add(kept) and window.due:
            self._judge(handle, snapshot, window, watch.LATEST)
        return self, window.alarm, {0: kept}

    def several(self, handle: Handle, snapshot: Snapshot, queries: Array) -> Noted | None:
        """Note queries, float32 (m, dimension); None if there is nothing to judge them by."""
        if len(queries) == 1:
            return self.one(handle, snapshot, queries[0])
        self._load()
        window = self._watch
        if window is None or not len(queries):
            return None if self._damage is None else (self, self._damage, {})
        most = min(len(queries), watch.LATEST)
        picked = np.linspace(0, len(queries) - 1, most).astype(np.int64)
        kept = queries[picked]
        window.extend(kept)
        self._judge(handle, snapshot, window, len(queries))
        if len(queries) < watch.EVIDENCE_MIN:
            return self, window.alarm, dict(enumerate(kept))
        # The direction of one alone would add nothing to what all say together; its length does.
        odd = np.flatnonzero(self._are_odd(queries, window)).tolist()
        return self, window.alarm, {number: queries[number].copy() for number in odd}

    def suspicion(self, query: FloatArray) -> str | None:
        """Return what is suspect about one query that was noted; None if nothing is."""
        self._load()
        if self._watch is None:
            return self._damage
        if self._watch.is_suspect(query):
            return (
                f"the query looks like a vector of another space than version {self._label!r} has"
            )
        if not self._are_odd(query[None], self._watch)[0]:
            return None
        length = float(np.linalg.norm(query.astype(np.float64)))
        known = lengths.lengths_learned(self._watch.statistics)
        telling = self._scope is None
        cause = lengths.likely_cause(query, length, known, telling=telling)
        return (
            f"the query has length {length:.4g}, where rows of version {self._label!r} have "
            f"{known.text(telling=telling)}. {cause}"
        )

    def _are_odd(self, queries: Array, window: Watch) -> BoolArray:
        """Return which queries have lengths that make no sense with the version's rows, (m,)."""
        spec, known = self._version.spec, lengths.lengths_learned(window.statistics)
        # Squares of some, and the bounds of lengths, do not fit float32.
        norms = np.sqrt(np.einsum("ij,ij->i", queries, queries, dtype=np.float64))
        if spec.metric == "cosine" or not (known.unit or spec.metric == "l2"):
            # Products may be with queries of any length; but of zeros all are equal.
            return np.asarray(norms == 0)
        low, high = known.usual(spec.dimension)
        return np.asarray((norms < low) | (norms > high))

    def _judge(self, handle: Handle, snapshot: Snapshot, window: Watch, count: int) -> None:
        verdict = window.judge()
        if not verdict.suspicious:
            window.alarm = None
            return
        alarms.count_suspects(handle, "suspect_queries", count)
        if window.alarm is not None:
            return
        place = handle.name, self._label
        fits = fitting.which_fits(
            snapshot, window.latest(), of=place, kind="query", beyond=self._scope is None
        )
        departure = alarms.departure_text(verdict, telling=self._scope is None)
        window.alarm = (
            f"the latest {verdict.rows} queries of version {self._label!r} look like vectors of "
            f"another space: their departure is {departure}"
            + (f"; they fit {fits}" if fits else "")
        )
        alarms.LOGGER.warning("collection %r: %s", handle.name, window.alarm)


class QueryChecks(dict[str, QueryCheck]):
    """What watches the queries of a view's versions, by label."""


def check_of(view: CollectionView, label: str) -> QueryCheck:
    """Return what watches a version's queries: the same for all searches of a view."""
    checks = view.companions.of(QueryChecks)
    check = checks.get(label)
    if check is None:
        made = QueryCheck(view.cache, view.version(label), view.scope)
        check = checks.setdefault(label, made)
    return check


def suspicion(noted: Noted, number: int) -> str | None:
    """Return what is suspect about one query of a search; None if nothing is."""
    check, alarm, queries = noted
    query = queries.get(number)
    return alarm if alarm is not None or query is None else check.suspicion(query)
