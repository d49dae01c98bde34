"""Prepared searches: everything that a search needs except its queries.

Most programs ask thousands of questions with the same options. A `PreparedSearch` holds what
depends on the options and the snapshot alone: the versions, the filter's masks, the plan, how each
part is searched, the tally that counts. `preparing` makes it and keeps it with the snapshot's view.
Running it checks the query vectors, asks each part, merges or fuses, records and returns.
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
from vstore.searching.resolving import is_text
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
else:  # not what a search by a vector needs
    bridging = Deferred("vstore.searching.bridging")
    embedders = Deferred("vstore.embedding.embedder")
    query_check = Deferred("vstore.guarding.query_check")
    recall_check = Deferred("vstore.searching.recall_check")
    filter_tree = Deferred("vstore.query.filter_tree")

_SEARCHES: Final = 16  # ways of asking that a view remembers
_ARRAY: Final = "array"
_TEXT: Final = "text"

T = TypeVar("T")


class PreparedSearch:
    """A search, ready for any number of queries; safe to use from many threads.

    A view holds its prepared searches, so they hold neither the view nor its snapshot: a circle of
    references would keep both, with all that they map, until the garbage collector runs.

    Parameters
    ----------
    sides : tuple[QueryVectors, ...]
        For each version that is read, the old one first, which query vectors it takes.
    reads : tuple[VersionRead, ...]
        For the same versions, which rows are searched, how deep and how well, as planned.
    is_filtered : bool
        Whether the reads hold masks of a filter.
    matches : int | None
        Number of documents that pass the filter; None without one.
    rule : FusionRule | None
        By which two versions' answers are fused.
    curve : tuple[float, ...]
        What the rule has learnt.
    is_blended : bool
        Whether the old version's queries are blended with the new one's, over a bridge.
    awaits_code : bool
        Whether there are graphs, and no machine code yet to follow them with.
    tenant : str
        Key of the route that the search is counted for.
    family : str
        What the caller calls such queries.

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
        self._checks: tuple[tuple[int, QueryCheck], ...] | None = None  # by number of the side
        # A weak reference: the observer holds the tally until it counts it.
        self._tally: Callable[[], Tally | None] = _no_tally
        self._was_recorded = self._is_kept = False

    @property
    def is_current(self) -> bool:
        """Whether it would be prepared the same way now: machine code may have arrived."""
        return not self._awaits_code or loader.kernels() is None

    def vectors(
        self, handle: Handle, snapshot: Snapshot, view: CollectionView, queries: Queries
    ) -> list[Array]:
        """Return the query vectors for each version that is read, checked.

        Raises
        ------
        MissingQueryVectorError
            There are none for a version, and no embedder to make them.
        VersionMismatchError
            They are stamped by another model.
        InvalidVectorError
            They are not what the version's vectors are like.
        InvalidArgumentError
            There are more for one version than for the other.
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
            The view that the search was prepared for, of the snapshot.
        started_s : float
            When the caller began, by the handle's clock.
        counted : bool
            Whether observers and what watches the queries are told.

        What it raises is what `vectors` does, and a `CorruptionError` if what a query reads is
        damaged.
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
            if handle.file.observer.sampler is not None:
                self._compare(handle, batch, execution, vectors)
            noted = self._noted(handle, snapshot, view, vectors)
        if not self._is_kept:
            self._keep(view)
        return BatchAnswer(view, execution, batch, noted)

    def _record(
        self, handle: Handle, view: CollectionView, batch: TracedBatch, execution: Execution
    ) -> None:
        """Count the search, by a tally without a lock if it found k fresh hits as most do."""
        observer, tally = handle.file.observer, self._tally()
        # Hits at an older epoch are not counted for documents as they are now.
        is_pinned = handle.pinned is not None
        whole = batch.summaries.whole(self._k)
        # A search that is asked once needs no tally of its own.
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
        """Note the queries, for versions that know what their own are like."""
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
        """Whether something is known of a version's queries, and these are as its model made."""
        side = self._sides[number]
        if side.is_mapped or (self._is_blended and number == 0):
            return False
        return side.version.guard is not None

    def _keep(self, view: CollectionView) -> None:
        """Map what hits are made from when someone looks: results outlive the store."""
        view.documents.keep_ids()
        for read in self._reads:
            read.table.keep_chunks()
        self._is_kept = True

    def _executor_of(self, reads: Sequence[VersionRead]) -> Executor:
        return executor_of(self.plan, reads, k=self._k, rule=self._rule, curve=self._curve)

    @cached_property
    def _executor(self) -> Executor:
        """What runs the plan; it reads the file, and is made once a query has been checked."""
        return self._executor_of(self._reads)

    @cached_property
    def _exact_executor(self) -> Executor:
        """What runs the same plan by scans."""
        return self._executor_of([read._replace(accuracy=EXACT) for read in self._reads])


def _no_tally() -> None:
    """Return None, as a reference to a tally that is gone does."""


class PreparedSearches:
    """The last few searches that were prepared for a view, by all that they depend on."""

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
        """Return the key of a search, and the search if it was prepared and is current.

        Parameters
        ----------
        options : SearchOptions
            Checked by `parameters`: options that are equal mean the same.
        resolved : VersionChoice, optional
            What is read, if that does not follow from the options.

        Returns
        -------
        key : object
            None if an option cannot be hashed, as a filter that is a dict.
        search : PreparedSearch or None
        """
        if options.where is not None and not isinstance(options.where, filter_tree.Filter):
            return None, None  # a mapping, which may change
        if options.keys is not None:  # keys decide which way a canary goes, and nothing else
            options = options._replace(keys=None)
        # The filter's text too: 1 and True are equal, and no field takes both.
        where = "" if options.where is None else repr(options.where)
        form = _ARRAY if type(queries) is np.ndarray else _form_of(queries)
        key = (form, options, where, resolved)
        try:
            search = self._known.get(key)
        except TypeError:
            return None, None
        return key, search if search is not None and search.is_current else None

    def keep(self, key: object, search: PreparedSearch) -> None:
        """Keep a search by the key that `find` gave.

        A filter's masks are as long as the collection: they are kept if it is used again.
        """
        if key is None:
            return
        if search.is_filtered and key not in self._once:
            _put(self._once, key, None)
        else:
            _put(self._known, key, search)


def _put(recent: dict[object, T], key: object, value: T) -> None:
    """Put a value under a key, and drop the oldest ones; safe to use from many threads."""
    recent.pop(key, None)
    recent[key] = value
    for oldest in list(recent)[:-_SEARCHES]:
        recent.pop(oldest, None)


def _form_of(queries: Queries) -> object:
    """Return what the choice of versions depends on; see `resolving.resolve`."""
    if type(queries) is dict or isinstance(queries, Mapping):
        return tuple(queries)
    if isinstance(queries, embedders.Embeddings):
        return queries.spec.fingerprint
    return _TEXT if is_text(queries) else _ARRAY
