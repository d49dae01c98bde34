"""``docs.migration``: what a migration needs besides its job."""

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
    """What migrations of a collection need besides their jobs. Made by ``docs.migration``.

    ``docs.migrate`` makes a job; `backfill` is the short way where none of its options matter.
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
        """Return how often live documents were found, of those that were, most often first.

        Searches through handles on older epochs do not count. What `Store.flush_metrics` wrote is
        in the file; what this handle has counted since is added, and lost when it is closed.
        """
        return hit_counts.hits_by_id(self._handle)

    @property
    def dual_write(self) -> DualWrite:
        """What a write may do that has vectors for some of the versions in use only."""
        return self._handle.view().state.dual_write

    def set_dual_write(self, policy: DualWrite, *, reason: str = "") -> None:
        """Say what becomes of a write that lacks vectors of a version in use.

        Parameters
        ----------
        policy : {"allow", "queue", "require"}
            "allow" counts the gap. "queue" opens a backfill for the version at once, in the same
            commit, whose runner takes such documents first. "require" refuses the write. In use are
            the versions that routes read, read before, or shadow, and those that a migration fills
            or has filled, until they are retired. Under "queue" and "require" vectors that come
            without text and hash count as a change of the source; see `Transaction.upsert`.

        Raises
        ------
        InvalidArgumentError
            It is no such policy.
        ScopeError
            The handle is scoped, and the policy is everybody's.
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
            Real queries, embedded for both: then they are what the gate measures. Documents that
            were held back find more of their neighbours, mapped, than queries do.

        Raises
        ------
        GateError
            What is measured does not find ``min_recall`` of its own 10 neighbours, mapped.
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
        """Measure fusion rules on judged queries; ``fusion="auto"`` is then the one chosen.

        Parameters
        ----------
        queries : mapping of label to (n, dimension)
            The same queries, embedded for both versions: arrays, `Embeddings`, or iterables of
            vectors.
        judgments : iterable of mapping of id to gain, n of them
            People's judgments; or what they clicked, with gain 1.

        Raises
        ------
        StateError
            The new version has no fresh vectors yet.
        InvalidArgumentError
            Queries and judgments are not as many, or nothing is judged good.
        """
        return fusion_choice.choose(self._handle, old, new, queries, judgments)
