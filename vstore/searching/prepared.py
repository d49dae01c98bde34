"""Prepared searches: everything that a search needs except its queries.

Most programs search thousands of times with the same options. A `PreparedSearch` holds everything
that depends on the options and the snapshot alone: the versions, the filter's masks, the plan, each
part's path, the tally. `preparing` makes it and caches it with the snapshot's view. Running it
checks the query vectors, searches each part, merges or fuses, records and returns.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final, TypeVar
from weakref import ref

import numpy as np

from vstore.cached import cached_property
from vstore.deferred import Deferred
from vstore.errors import InvalidArgumentError
from vstore.native import loader
from vstore.observe.traced import TracedBatch
from vstore.query.executor import executor_of
from vstore.query.paths import EXACT
from vstore.searching.parameters import is_text
from vstore.searching.results import BatchAnswer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from vstore.embedding import embedder as embedders
    from vstore.engine.handle import Handle
    from vstore.engine.snapshot import CollectionView, Snapshot
    from vstore.guarding import query_check
    from vstore.guarding.query_check import Noted, QueryCheck
    from vstore.observe.tally import Tally
    from vstore.query import filter_tree
    from vstore.query.execution import Execution
    from vstore.query.executor import Executor
    from vstore.query.fetching import VersionRead
    from vstore.query.fusion.rules import FusionRule
    from vstore.query.plan import PlanNode
    from vstore.searching import bridging, recall_check
    from vstore.searching.parameters import Queries, SearchOptions
    from vstore.searching.query_vectors import QueryVectors
    from vstore.searching.resolving import VersionChoice
    from vstore.types import Array
else:  # loaded late: a search by a vector does not need these
    bridging = Deferred("vstore.searching.bridging")
    embedders = Deferred("vstore.embedding.embedder")
    query_check = Deferred("vstore.guarding.query_check")
    recall_check = Deferred("vstore.searching.recall_check")
    filter_tree = Deferred("vstore.query.filter_tree")

_SEARCHES: Final = 16  # prepared searches that a view caches
_ARRAY: Final = "array"
_TEXT: Final = "text"

T = TypeVar("T")


class PreparedSearch:
    """A search, ready for any number of queries; safe to use from many threads.

    A view holds its prepared searches, so they must hold neither the view nor its snapshot: a
    reference cycle would keep both, and their mappings, until the garbage collector runs.

    Parameters
    ----------
    sides : tuple[QueryVectors, ...]
        Query vectors that each version needs, the old version's first.
    reads : tuple[VersionRead, ...]
        Planned reads of the same versions.
    is_filtered : bool
        Whether the reads hold masks of a filter.
    matches : int | None
        Number of documents that pass the filter; None without one.
    rule : FusionRule | None
        Rule that fuses two versions' answers.
    curve : tuple[float, ...]
        The rule's fitted parameters.
    is_blended : bool
        Whether the old version's queries are blended with the new one's, over a bridge.
    awaits_code : bool
        Whether there are graphs, but no compiled kernels yet to follow them.
    tenant : str
        Key of the route that the search is counted under.
    family : str
        The caller's name for such queries.

    Attributes
    ----------
    plan : PlanNode
    is_filtered : bool
    """

    def __init__(
        self,
        plan: PlanNode,
        sides: tuple[QueryVectors, ...],
        reads: tuple[VersionRead, ...],
        *,
        k: int,
        is_filtered: bool,
        matches: int | None,
        rule: FusionRule | None,
        curve: tuple[float, ...],
        is_blended: bool,
        awaits_code: bool,
        tenant: str,
        family: str,
    ) -> None:
        self.plan, self.is_filtered = plan, is_filtered
        self._sides, self._reads = sides, reads
        self._k, self._matches = k, matches
        self._rule, self._curve = rule, curve
        self._is_blended, self._awaits_code = is_blended, awaits_code
        self._tenant, self._family = tenant, family
        self._versions = tuple(read.table.label for read in reads)
        self._checks: tuple[tuple[int, QueryCheck], ...] | None = None  # with the side's number
        # A weak reference: the observer holds the tally until it is counted.
        self._tally: Callable[[], Tally | None] = _no_tally
        self._was_recorded = self._is_kept = False

    @property
    def is_current(self) -> bool:
        """Whether the search would be prepared the same way now; False once kernels are ready."""
        return not self._awaits_code or loader.kernels() is None

    def vectors(
        self, handle: Handle, snapshot: Snapshot, view: CollectionView, queries: Queries
    ) -> list[Array]:
        """Return the query vectors for each version that is read, checked.

        Raises
        ------
        MissingQueryVectorError
            A version has no vectors, and no embedder to make them.
        VersionMismatchError
            The vectors are stamped by another model.
        InvalidVectorError
            The vectors do not match the version's spec.
        InvalidArgumentError
            The two versions have different numbers of vectors.
        """
        vectors = [side.checked(handle, snapshot, view, queries) for side in self._sides]
        if len(vectors) > 1 and len(vectors[0]) != len(vectors[1]):
            raise InvalidArgumentError("queries: different numbers of vectors for the two versions")
        if self._is_blended:
            old, new = self._versions
            vectors[0] = bridging.blended(snapshot, view, (old, new), *vectors)
        return vectors

    def run(
        self,
        handle: Handle,
        snapshot: Snapshot,
        view: CollectionView,
        queries: Queries,
        *,
        started_s: float,
        counted: bool = True,
    ) -> BatchAnswer:
        """Answer queries.

        Parameters
        ----------
        view : CollectionView
            The snapshot's view that the search was prepared for.
        started_s : float
            Start of the search, by the handle's clock.
        counted : bool
            Whether to record the search, and to watch its queries for another model's.

        Raises what `vectors` raises, and `CorruptionError` if a part of the file that a query reads
        is damaged.
        """
        vectors = self.vectors(handle, snapshot, view, queries)
        execution = self._executor.execute(vectors)
        batch = TracedBatch(
            handle.name,
            snapshot.epoch,
            self.plan,
            self._versions,
            self._matches,
            (handle.file.clock.monotonic_s() - started_s) / max(1, len(vectors[0])),
            execution.summaries,
        )
        noted: tuple[Noted, ...] = ()
        if counted:
            self._record(handle, view, batch, execution)
            # A caller's fusion function is not called again for the store's own measurement.
            own = self._rule is not None and self._rule.own
            if handle.file.observer.sampler is not None and not own:
                self._compare(handle, batch, execution, vectors)
            noted = self._noted(handle, snapshot, view, vectors)
        if not self._is_kept:
            self._keep(view)
        return BatchAnswer(view, execution, batch, noted)

    def _record(
        self, handle: Handle, view: CollectionView, batch: TracedBatch, execution: Execution
    ) -> None:
        """Count the search; by a tally, without a lock, in the usual case of k fresh hits."""
        observer, tally = handle.file.observer, self._tally()
        # Hits at an older epoch do not count for the current documents.
        is_pinned = handle.pinned is not None
        whole = batch.summaries.whole(self._k)
        # Only a repeated search gets a tally of its own.
        if tally is None and whole is not None and self._was_recorded and not is_pinned:
            tally = observer.tally(
                batch, k=self._k, view=view.whole, tenant=self._tenant, family=self._family
            )
            self._tally = ref(tally)
        if tally is not None and whole == tally.label and not is_pinned:
            if tally.repeat(batch.seconds, execution.docnos()):
                observer.called(tally)
            return
        self._was_recorded = True
        observer.record(
            batch,
            k=self._k,
            view=view.whole,
            docnos=None if is_pinned else execution.docnos(),
            tenant=self._tenant,
            family=self._family,
        )

    def _compare(
        self, handle: Handle, batch: TracedBatch, execution: Execution, vectors: Sequence[Array]
    ) -> None:
        recall_check.compare(
            handle.file.observer,
            batch,
            execution,
            vectors,
            lambda: self._exact_executor,
            k=self._k,
            tenant=self._tenant,
            family=self._family,
        )

    def _noted(
        self,
        handle: Handle,
        snapshot: Snapshot,
        view: CollectionView,
        vectors: Sequence[Array],
    ) -> tuple[Noted, ...]:
        """Note the queries, for each version whose guard is fitted."""
        checks = self._checks
        if checks is None:
            checks = self._checks = tuple(
                (number, query_check.check_of(view, label))
                for number, label in enumerate(self._versions)
                if self._is_watched(number)
            )
        noted: tuple[Noted, ...] = ()
        for number, check in checks:
            queries = vectors[number]
            if len(queries) == 1:
                one = check.one(handle, snapshot, queries[0])
            else:
                one = check.several(handle, snapshot, queries)
            if one is not None:
                noted += (one,)
        return noted

    def _is_watched(self, number: int) -> bool:
        """Whether a version has a guard, and its queries come unchanged from its own model."""
        side = self._sides[number]
        if side.is_mapped or (self._is_blended and number == 0):
            return False
        return side.version.guard is not None

    def _keep(self, view: CollectionView) -> None:
        """Keep ids and chunks mapped, for hits made on demand: results outlive the store."""
        view.documents.keep_ids()
        for read in self._reads:
            read.table.keep_chunks()
        self._is_kept = True

    def _executor_of(self, reads: Sequence[VersionRead]) -> Executor:
        return executor_of(self.plan, reads, k=self._k, rule=self._rule, curve=self._curve)

    @cached_property
    def _executor(self) -> Executor:
        """Executor of the plan; it reads the file, so it is made after a query is checked."""
        return self._executor_of(self._reads)

    @cached_property
    def _exact_executor(self) -> Executor:
        """Executor of the same plan by exact scans."""
        return self._executor_of([read._replace(accuracy=EXACT) for read in self._reads])


def _no_tally() -> None:
    """Return None, as a dead weak reference does."""


class PreparedSearches:
    """Cache of the latest searches prepared for a view, keyed by all that they depend on."""

    def __init__(self) -> None:
        self._known: dict[object, PreparedSearch] = {}
        self._once: dict[object, None] = {}

    def __len__(self) -> int:
        return len(self._known)

    def __iter__(self) -> Iterator[PreparedSearch]:
        return iter(list(self._known.values()))

    def find(
        self, queries: Queries, options: SearchOptions, resolved: VersionChoice | None = None
    ) -> tuple[object, PreparedSearch | None]:
        """Return the key of a search, and the search if it is cached and current.

        Parameters
        ----------
        options : SearchOptions
            Checked by `parameters`: equal options mean the same.
        resolved : VersionChoice, optional
            Versions to read, if the options do not determine them.

        Returns
        -------
        key : object
            None if an option cannot be hashed, for example a filter that is a dict.
        search : PreparedSearch or None
        """
        if options.where is not None and not isinstance(options.where, filter_tree.Filter):
            return None, None  # a mapping, which may change
        if options.keys is not None:  # keys only choose a canary's version
            options = options._replace(keys=None)
        # The filter's text is part of the key, because 1 and True are equal but not the same value.
        where = "" if options.where is None else repr(options.where)
        form = _ARRAY if type(queries) is np.ndarray else _form_of(queries)
        key = (form, options, where, resolved)
        try:
            search = self._known.get(key)
        except TypeError:
            return None, None
        return key, search if search is not None and search.is_current else None

    def keep(self, key: object, search: PreparedSearch) -> None:
        """Cache a search under the key that `find` returned.

        A filtered search is cached from its second use on: its masks are as long as the collection.
        """
        if key is None:
            return
        if search.is_filtered and key not in self._once:
            _put(self._once, key, None)
        else:
            _put(self._known, key, search)


def _put(recent: dict[object, T], key: object, value: T) -> None:
    """Put a value under a key, and drop the oldest entries; safe to use from many threads."""
    recent.pop(key, None)
    recent[key] = value
    for oldest in list(recent)[:-_SEARCHES]:
        recent.pop(oldest, None)


def _form_of(queries: Queries) -> object:
    """Return the form of queries, which the choice of versions uses; see `resolving.resolve`."""
    if type(queries) is dict or isinstance(queries, Mapping):
        return tuple(queries)
    if isinstance(queries, embedders.Embeddings):
        return queries.spec.fingerprint
    return _TEXT if is_text(queries) else _ARRAY
