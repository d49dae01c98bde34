"""``docs.migration``: the tools of a migration besides its job."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vstore.engine import hit_counts
from vstore.engine.open_handle import OpenHandle
from vstore.migration.bridges import bridges
from vstore.migration.jobs import backfill, migration
from vstore.migration.routes import fusion_choice
from vstore.writing import dual_write

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from vstore.engine.handle import Handle
    from vstore.evaluation.choice import RuleChoice
    from vstore.manifest.job_state import BridgeKind
    from vstore.manifest.state import DualWrite
    from vstore.migration.jobs.status import BackfillReport
    from vstore.query.bridge_map import BridgeMap
    from vstore.segment.user_document import Document
    from vstore.types import Array, DocumentId, Judgments
    from vstore.writing.vector_sources import Embed


class Migrations(OpenHandle):
    """Tools of a collection's migrations besides their jobs. Made by ``docs.migration``.

    ``docs.migrate`` makes a job; `backfill` is the shortcut without a job's options.
    """

    __slots__ = ("_handle",)

    def __init__(self, handle: Handle) -> None:
        self._handle = handle

    def _elsewhere(self) -> str:
        return "Send the path, and open the store in the worker"

    def pending(self, version: str, *, limit: int | None = None) -> list[Document]:
        """Return live documents without fresh vectors in a version: the regeneration queue.

        Raises
        ------
        NotFoundError
            The collection has no such version.
        """
        return backfill.pending(self._handle, version, limit=limit)

    def backfill(
        self,
        version: str,
        embed: Embed,
        *,
        batch_size: int = 256,
        batches_max: int | None = None,
        progress: Callable[[int, int], None] | None = None,
    ) -> BackfillReport:
        """Fill a version from the documents, one commit per batch; see `migration.backfill`."""
        return migration.backfill(
            self._handle,
            version,
            embed,
            batch_size=batch_size,
            batches_max=batches_max,
            progress=progress,
        )

    def hit_counts(self) -> dict[DocumentId, int]:
        """Return hits by live document, most first; documents never found are left out.

        Searches through handles on older epochs do not count. The counts are those in the file,
        written by `Store.flush_metrics`, plus this handle's since, which are lost when it closes.
        """
        return hit_counts.hits_by_id(self._handle)

    @property
    def dual_write(self) -> DualWrite:
        """Policy for writes that have vectors for only some of the versions in use."""
        return self._handle.view().state.dual_write

    def set_dual_write(self, policy: DualWrite, *, reason: str = "") -> None:
        """Set the policy for writes that lack vectors of a version in use.

        Parameters
        ----------
        policy : {"allow", "queue", "require"}
            "allow" counts the gap. "queue" opens a backfill for the version in the same commit;
            its runner takes such documents first. "require" refuses the write. In use are the
            versions that routes read, have read, or shadow, and those that a migration fills or
            has filled, until they are retired. Under "queue" and "require", vectors without text
            and hash count as a change of the source; see `Transaction.upsert`.

        Raises
        ------
        InvalidArgumentError
            There is no such policy.
        ScopeError
            The handle is scoped, but the policy applies to the whole collection.
        """
        dual_write.set_policy(self._handle, policy, reason=reason)

    def fit_bridge(
        self,
        source: str,
        target: str,
        *,
        min_recall: float = 0.8,
        kinds: Sequence[BridgeKind] | None = None,
        documents_max: int = 20_000,
        seed: int = 0,
        queries: Mapping[str, Array] | None = None,
    ) -> BridgeMap:
        """Fit a map from queries of one version to another's, and store it; see `bridges.fit`.

        Parameters
        ----------
        queries : mapping of label to (n, dimension), optional
            Real queries, embedded for both versions; if given, the gate measures them instead of
            held-out documents, whose recall is higher than that of queries.

        Raises
        ------
        GateError
            The mapped vectors find less than ``min_recall`` of their own 10 nearest neighbours.
        StateError
            Too few documents have vectors of both versions, or a version is retired.
        """
        return bridges.fit(
            self._handle,
            source,
            target,
            min_recall=min_recall,
            kinds=kinds,
            documents_max=documents_max,
            seed=seed,
            queries=queries,
        )

    def choose_fusion(
        self,
        new: str,
        *,
        old: str,
        queries: Mapping[str, Array],
        judgments: Judgments,
    ) -> RuleChoice:
        """Measure fusion rules on judged queries; ``fusion="auto"`` then uses the one chosen.

        Parameters
        ----------
        queries : mapping of label to (n, dimension)
            The same queries, embedded for both versions: arrays, `Embeddings`, or iterables of
            vectors.
        judgments : iterable of mapping of id to gain, n of them
            People's judgments, or their clicks with gain 1.

        Raises
        ------
        StateError
            The new version has no fresh vectors yet.
        InvalidArgumentError
            The numbers of queries and judgments differ, or no document is judged good.
        """
        return fusion_choice.choose(self._handle, old, new, queries, judgments)
