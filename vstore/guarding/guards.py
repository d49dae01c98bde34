"""``docs.guards``: what each version knows of its own space, and what is refused by it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vstore.engine.lookup import Lookup
from vstore.guarding import canary_checks, guard_changes, learning
from vstore.guarding.guard_changes import GuardInfo

if TYPE_CHECKING:
    from collections.abc import Sequence

    from vstore.embedding.embedder import Embedder, Embeddings
    from vstore.engine.handle import Handle
    from vstore.guarding.canary_checks import CanaryReport
    from vstore.guarding.guard_record import GeometryPolicy
    from vstore.types import Array


class Guards(Lookup[GuardInfo]):
    """What guards the versions of a collection, by label. Made by ``docs.guards``.

    ``docs.guards["v1"]`` is what a version knows about its own space. It raises `NotFoundError`
    where there is no such version, `CorruptionError` where what it knows fails its checksum (see
    `relearn`), and `ScopeError` through a scoped handle, since it was learned of everybody's
    documents.
    """

    __slots__ = ("_handle",)

    def __init__(self, handle: Handle) -> None:
        self._handle = handle

    def _names(self) -> tuple[str, ...]:
        return tuple(self._handle.view().state.versions)

    def __getitem__(self, version: str) -> GuardInfo:
        return guard_changes.guard_info(self._handle, version)

    def set_canaries(
        self, version: str, texts: Sequence[str], *, vectors: Embedder | Embeddings | Array
    ) -> None:
        """Keep some texts with their vectors; `verify_embedder` embeds them again later.

        An embedder of the version is verified before it writes, once per handle, and refused if it
        makes other vectors of them now. A dozen texts as the collection has them will do. Every
        embedder that writes to the version gets them, also one that writes through a scoped handle:
        where tenants bring their own, texts of one tenant are no canaries.

        Parameters
        ----------
        texts : sequence of str
            At most 64, of at most 16 KiB each. None at all: the version has no canaries any more.
        vectors : Embedder, Embeddings, or array (n, dimension)
            What makes them, or what it made: as documents, after the spec's document prompt.

        Raises
        ------
        InvalidArgumentError, InvalidVectorError, LimitExceededError
            Texts and vectors are not as many, a vector is no vector of the version, or there are
            too many texts or one is too long.
        VersionMismatchError
            The stamp is not that of the version.
        NotFoundError
            The collection has no such version.
        ScopeError
            The handle is scoped, and canaries are everybody's.
        """
        canary_checks.set_canaries(self._handle, version, texts, vectors)

    def verify_embedder(
        self, embedder: Embedder, version: str | None = None, *, raise_on_drift: bool = False
    ) -> CanaryReport:
        """Embed a version's canaries again, and compare them with what they were.

        Parameters
        ----------
        version : str, optional
            Default: the one that has the embedder's spec. Any other can be named, to see whether a
            provider only renamed a model; then ``Store.declare_equivalent``.
        raise_on_drift : bool

        Raises
        ------
        EmbedderDriftError
            The verdict is not "same", and ``raise_on_drift``.
        StateError
            The version has no canaries.
        VersionMismatchError
            No version has the embedder's spec, and none was named.
        ScopeError
            The handle is scoped, and the canaries are everybody's.
        """
        return canary_checks.verify_embedder(
            self._handle, embedder, version, raise_on_drift=raise_on_drift
        )

    def set_policy(self, version: str, policy: GeometryPolicy, *, reason: str = "") -> None:
        """Say what becomes of vectors that look like those of another space.

        Parameters
        ----------
        policy : {"refuse", "flag", "off"}
            "refuse" raises `SuspectGeometryError` for batches once the version has learned from
            1,024 rows, and flags before. "flag" logs a warning and counts. "off" looks at nothing.
            Queries are flagged or not looked at.

        Raises
        ------
        InvalidArgumentError
            It is no such policy.
        NotFoundError
            The collection has no such version.
        ScopeError
            The handle is scoped, and the policy is everybody's.
        """
        guard_changes.set_policy(self._handle, version, policy, reason=reason)

    def relearn(self, version: str) -> None:
        """Learn what a version's space is like anew, from the rows that it has now.

        What was learned stays otherwise from 4,096 rows on. For a version whose first rows were not
        of its model, or whose guard is damaged: then it loses its canaries, too.

        Raises
        ------
        StateError
            It has fewer than 32 rows.
        NotFoundError
            The collection has no such version.
        ScopeError
            The handle is scoped, and what is learned is of everybody's documents.
        """
        learning.relearn(self._handle, version)
