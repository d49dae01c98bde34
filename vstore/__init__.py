"""vstore: an embedded, single-file vector store that keeps embedding versions apart.

The code map. What happens to the bytes of one commit::

    api/transaction.py     the with-block; writing/draft.py: what it collects, checked call by call
    writing/input.py       documents from a caller; given_vectors.py: vectors of one version
    guarding/batch_check.py  are they like the version's own? loaded_guards.py: what it knows of
                           itself; length_check.py: is each as long as the others?
    writing/revisions.py   what an upsert makes of documents that are there
    writing/text_batches.py  texts: embedded before the turn, by embedding_batches.py
    engine/replaying.py    a manifest and the deltas behind it, read again: the newest state
    engine/open_file.py    the writer's turn, one at a time, each from the newest snapshot
    engine/turns.py        turns that no interrupt leaves; lineage.py: is this still the file?
    api/commit_steps.py    what each commit does besides: policies (writing/dual_write.py), and what
                           versions learn of their rows (guarding/learning.py)
    engine/commit.py       small: one delta block; large: segments, due merges, a full manifest
    segment/               document_columns.py, vectors.py: what is sealed; merging.py: of many, one
    manifest/              state.py: what a store is; delta.py: what changed; commit.py: the block
    storage/container.py   append blocks, sync, write the older superblock slot, sync
    storage/file.py        the only place that asks the operating system: paths here, and
                           real_file.py: the files at them; mapping.py: views of these

of one query::

    api/opening.py         a file is opened; engine/open_file.py: the snapshot that its readers see
    api/collection.py      the verbs; engine/handle.py: a collection at a snapshot, inside a scope
    engine/scoped_view.py  what a scoped handle knows: applied here alone
    searching/parameters.py  what a caller may say, checked; query/reads.py: of two versions
    searching/resolving.py which versions: the caller, or the route of the filter's tenant
    searching/search.py    the one road; side_reads.py: canaries and shadows, a search for each way
    searching/preparing.py  options to masks and plan; prepared.py: what is kept, and run: vectors
                           checked, parts asked, the answer recorded
    guarding/query_check.py  the latest queries, watched for a model that changed (watch.py)
    query/planner.py       from a request and statistics to a plan; pure, as is paths.py: which way;
                           depths.py: how deep each version is asked where two are read
    segment/row_table.py   which rows are fresh: computed from revisions, never stored
    query/executor.py      what runs a plan; fetching.py: one version, each segment by its path;
                           merging.py: the parts' answers
    index/flat.py          exact top k over arrays
    index/graph.py         a segment's graph: quantizer.py, construction.py; its recall by k:
                           measuring.py, curve.py; resolution.py: of what a filter lets through
    native/                kernels.py: all machine code; reference.py: the same in NumPy
    searching/results.py   what users see, which outlives the store: hits.py, result_batch.py,
                           kept_answers.py (unpickled), runs.py (for evaluation libraries)
    query/fusion/rules.py  dual reads: two ranked lists become one, by slots.py, imputed.py
                           or reciprocal_rank.py; cascade.py: one list is rescored
    observe/observer.py    tallies it, tally.py; slices.py: what is counted, by whom and when
    engine/flushing.py     counters and hits into the file, when someone says so

and of one migration::

    writing/schema.py      declares the new version; existing.py: is it there already, and the same?
    guarding/guards.py     ``docs.guards``: what each version knows of its own space
    guarding/canary_checks.py  is the embedder still the model that its name says?
    migration/jobs/        migration.py: the handle on a backfill job, queue.py: what is left to do,
                           backfill.py: one commit per batch; manifest/job_edits.py: its states
    writing/embedding_batches.py  the embedding function, which may fail; embedding/calls.py: paced
                           and retried; transient_errors.py: whose fault? outcomes.py: vectors,
                           or who is to blame; migration/jobs/second_tries.py: what is tried again
    migration/gates/       measurements.py: what holds now; gates.py: what must hold
    migration/routes/      routes.py: ``docs.routes``; changes.py: who serves whom, as
                           manifest/route_edits.py decides; fusion_choice.py: what fusion="auto"
                           stands for, measured
    migration/migrations.py  ``docs.migration``: what a migration needs besides its job
    writing/dual_write.py  what becomes of a write that lacks vectors of a version in use
    migration/bridges/     maps between spaces, fitted and measured; query/bridge_map.py;
                           searching/bridging.py: queries over it

``engine/reading.py`` gives documents and vectors back, by id and by filter. ``inspection/`` looks
at a file: check.py, whether it is whole; manifest_info.py, what it says. ``testing/`` is for tests,
users' and vstore's own: faulty_medium.py, power_loss.py, hashing_embedder.py.

Invariants, each with a test: only ``storage/`` touches the operating system; ``index/`` does no
I/O; the planner reads no vector and no file; nothing is overwritten in place but the two superblock
slots; readers never wait for the writer; a hit's version is one its plan reads; a search imports
neither numba nor LLVM. Deliberately absent: servers, replication, making embeddings, pickle,
compression.

Names are imported at their first use, so that ``import vstore`` costs nothing.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from vstore.api.collection import Collection
    from vstore.api.opening import open_store as open  # noqa: A004 - vstore.open is how it reads
    from vstore.api.reader import Reader
    from vstore.api.store import Store
    from vstore.api.transaction import Transaction
    from vstore.embedding.calls import Calls
    from vstore.embedding.embedder import Embedder, Embeddings
    from vstore.embedding.spending import Price
    from vstore.engine.coverage import Coverage
    from vstore.engine.history import HistoryEntry
    from vstore.engine.vacuum import VacuumReport
    from vstore.engine.version_info import VersionInfo
    from vstore.engine.versions import Versions
    from vstore.errors import (
        AlreadyExistsError,
        BlockChecksumError,
        ClosedError,
        CorruptionError,
        EmbedderDriftError,
        EmbeddingError,
        FileMovedError,
        FilterError,
        FormatVersionError,
        GateError,
        InvalidArgumentError,
        InvalidVectorError,
        LimitExceededError,
        LockedError,
        MissingDependencyError,
        MissingQueryVectorError,
        MissingVectorsError,
        NotAStoreError,
        NotFoundError,
        NotPicklableError,
        ReadOnlyError,
        ScopeError,
        StateError,
        StorageError,
        SuspectGeometryError,
        TransactionError,
        VersionMismatchError,
        VstoreError,
    )
    from vstore.evaluation.choice import MeasuredRule, RuleChoice
    from vstore.guarding.canary_checks import CanaryReport
    from vstore.guarding.guard_changes import GuardInfo
    from vstore.guarding.guards import Guards
    from vstore.inspection.check import CheckReport, Problem
    from vstore.manifest.job_state import DeadLetter, JobState
    from vstore.manifest.spec import EmbeddingSpec, suggest_label
    from vstore.manifest.state import Evidence, GraphSettings, RouteState
    from vstore.migration.gates.gates import GateResult, Gates, Judged
    from vstore.migration.jobs.migration import Migration
    from vstore.migration.jobs.options import Caps
    from vstore.migration.jobs.status import BackfillReport, MigrationPlan, MigrationStatus
    from vstore.migration.migrations import Migrations
    from vstore.migration.routes.routes import Routes
    from vstore.observe.metrics import Metrics
    from vstore.observe.shadow import ShadowKey, ShadowReport
    from vstore.observe.trace import Trace
    from vstore.query.bridge_map import BridgeMap, BridgeTrial
    from vstore.query.filter import FieldReference, Filter, field, filter_from_dict, filter_to_dict
    from vstore.query.plan import (
        BridgedRead,
        CascadeRead,
        CodeScan,
        Collapse,
        DualRead,
        FlatScan,
        GraphSearch,
        Merge,
        PlanNode,
        Rerank,
        ScopedSearch,
    )
    from vstore.query.ranking import RankedPair, Ranking
    from vstore.query.reads import Bridge, Canary, Cascade, Dual
    from vstore.searching.epoch_comparison import EpochComparison, HitChange
    from vstore.searching.hits import Explanation, Hit
    from vstore.searching.parameters import EfSearch
    from vstore.searching.result_batch import SearchResults
    from vstore.searching.results import SearchResult
    from vstore.segment.user_document import Document
    from vstore.testing.hashing_embedder import HashingEmbedder
    from vstore.writing.counts import DeleteCounts, UpsertCounts, VectorCounts

__version__ = "0.1.0.dev0"

_MODULES = {
    "vstore.api.collection": ("Collection",),
    "vstore.api.reader": ("Reader",),
    "vstore.api.store": ("Store",),
    "vstore.api.transaction": ("Transaction",),
    "vstore.embedding.calls": ("Calls",),
    "vstore.embedding.embedder": (
        "Embedder",
        "Embeddings",
    ),
    "vstore.embedding.spending": ("Price",),
    "vstore.engine.coverage": ("Coverage",),
    "vstore.engine.history": ("HistoryEntry",),
    "vstore.engine.vacuum": ("VacuumReport",),
    "vstore.engine.version_info": ("VersionInfo",),
    "vstore.engine.versions": ("Versions",),
    "vstore.errors": (
        "AlreadyExistsError",
        "BlockChecksumError",
        "ClosedError",
        "CorruptionError",
        "EmbedderDriftError",
        "EmbeddingError",
        "FileMovedError",
        "FilterError",
        "FormatVersionError",
        "GateError",
        "InvalidArgumentError",
        "InvalidVectorError",
        "LimitExceededError",
        "LockedError",
        "MissingDependencyError",
        "MissingQueryVectorError",
        "MissingVectorsError",
        "NotAStoreError",
        "NotFoundError",
        "NotPicklableError",
        "ReadOnlyError",
        "ScopeError",
        "StateError",
        "StorageError",
        "SuspectGeometryError",
        "TransactionError",
        "VersionMismatchError",
        "VstoreError",
    ),
    "vstore.evaluation.choice": (
        "MeasuredRule",
        "RuleChoice",
    ),
    "vstore.guarding.canary_checks": ("CanaryReport",),
    "vstore.guarding.guard_changes": ("GuardInfo",),
    "vstore.guarding.guards": ("Guards",),
    "vstore.inspection.check": (
        "CheckReport",
        "Problem",
    ),
    "vstore.manifest.job_state": (
        "DeadLetter",
        "JobState",
    ),
    "vstore.manifest.spec": (
        "EmbeddingSpec",
        "suggest_label",
    ),
    "vstore.manifest.state": (
        "Evidence",
        "GraphSettings",
        "RouteState",
    ),
    "vstore.migration.gates.gates": (
        "GateResult",
        "Gates",
        "Judged",
    ),
    "vstore.migration.jobs.migration": ("Migration",),
    "vstore.migration.jobs.options": ("Caps",),
    "vstore.migration.jobs.status": (
        "BackfillReport",
        "MigrationPlan",
        "MigrationStatus",
    ),
    "vstore.migration.migrations": ("Migrations",),
    "vstore.migration.routes.routes": ("Routes",),
    "vstore.observe.metrics": ("Metrics",),
    "vstore.observe.shadow": (
        "ShadowKey",
        "ShadowReport",
    ),
    "vstore.observe.trace": ("Trace",),
    "vstore.query.bridge_map": (
        "BridgeMap",
        "BridgeTrial",
    ),
    "vstore.query.filter": (
        "FieldReference",
        "Filter",
        "field",
        "filter_from_dict",
        "filter_to_dict",
    ),
    "vstore.query.plan": (
        "BridgedRead",
        "CascadeRead",
        "CodeScan",
        "Collapse",
        "DualRead",
        "FlatScan",
        "GraphSearch",
        "Merge",
        "PlanNode",
        "Rerank",
        "ScopedSearch",
    ),
    "vstore.query.ranking": (
        "RankedPair",
        "Ranking",
    ),
    "vstore.query.reads": (
        "Bridge",
        "Canary",
        "Cascade",
        "Dual",
    ),
    "vstore.searching.epoch_comparison": (
        "EpochComparison",
        "HitChange",
    ),
    "vstore.searching.hits": (
        "Explanation",
        "Hit",
    ),
    "vstore.searching.parameters": ("EfSearch",),
    "vstore.searching.result_batch": ("SearchResults",),
    "vstore.searching.results": ("SearchResult",),
    "vstore.segment.user_document": ("Document",),
    "vstore.testing.hashing_embedder": ("HashingEmbedder",),
    "vstore.writing.counts": (
        "DeleteCounts",
        "UpsertCounts",
        "VectorCounts",
    ),
}
_HOMES = {name: module for module, names in _MODULES.items() for name in names}


def __getattr__(name: str) -> object:
    home = "vstore.api.opening" if name == "open" else _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'vstore' has no attribute {name!r}")
    from vstore.deferred import imported  # which costs a little, too

    value: object = getattr(imported(home), "open_store" if name == "open" else name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*__all__, "__all__", "__doc__", "__version__"})


__all__ = [
    "AlreadyExistsError",
    "BackfillReport",
    "BlockChecksumError",
    "Bridge",
    "BridgeMap",
    "BridgeTrial",
    "BridgedRead",
    "Calls",
    "Canary",
    "CanaryReport",
    "Caps",
    "Cascade",
    "CascadeRead",
    "CheckReport",
    "ClosedError",
    "CodeScan",
    "Collapse",
    "Collection",
    "CorruptionError",
    "Coverage",
    "DeadLetter",
    "DeleteCounts",
    "Document",
    "Dual",
    "DualRead",
    "EfSearch",
    "Embedder",
    "EmbedderDriftError",
    "EmbeddingError",
    "EmbeddingSpec",
    "Embeddings",
    "EpochComparison",
    "Evidence",
    "Explanation",
    "FieldReference",
    "FileMovedError",
    "Filter",
    "FilterError",
    "FlatScan",
    "FormatVersionError",
    "GateError",
    "GateResult",
    "Gates",
    "GraphSearch",
    "GraphSettings",
    "GuardInfo",
    "Guards",
    "HashingEmbedder",
    "HistoryEntry",
    "Hit",
    "HitChange",
    "InvalidArgumentError",
    "InvalidVectorError",
    "JobState",
    "Judged",
    "LimitExceededError",
    "LockedError",
    "MeasuredRule",
    "Merge",
    "Metrics",
    "Migration",
    "MigrationPlan",
    "MigrationStatus",
    "Migrations",
    "MissingDependencyError",
    "MissingQueryVectorError",
    "MissingVectorsError",
    "NotAStoreError",
    "NotFoundError",
    "NotPicklableError",
    "PlanNode",
    "Price",
    "Problem",
    "RankedPair",
    "Ranking",
    "ReadOnlyError",
    "Reader",
    "Rerank",
    "RouteState",
    "Routes",
    "RuleChoice",
    "ScopeError",
    "ScopedSearch",
    "SearchResult",
    "SearchResults",
    "ShadowKey",
    "ShadowReport",
    "StateError",
    "StorageError",
    "Store",
    "SuspectGeometryError",
    "Trace",
    "Transaction",
    "TransactionError",
    "UpsertCounts",
    "VacuumReport",
    "VectorCounts",
    "VersionInfo",
    "VersionMismatchError",
    "Versions",
    "VstoreError",
    "field",
    "filter_from_dict",
    "filter_to_dict",
    "open",
    "suggest_label",
]
