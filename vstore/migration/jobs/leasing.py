"""Who runs a backfill: a lease in the manifest, and inside a process a list of its runners.

The lease is recorded with each batch. A runner that only embeds its first batch has recorded none
yet; other processes are kept out by the writer lock, and other threads by the list.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final
from weakref import WeakKeyDictionary

from vstore.errors import LeaseError
from vstore.manifest import job_edits as jobs

if TYPE_CHECKING:
    from vstore.engine.handle import Handle
    from vstore.engine.open_file import OpenFile
    from vstore.manifest.state import CollectionState

# Who runs a backfill through an open file, by collection and version.
_runners: Final[WeakKeyDictionary[OpenFile, dict[tuple[str, str], Runner]]] = WeakKeyDictionary()


class Runner:
    """One run of a backfill. Its methods are for the writer's turn: edits of a commit.

    Parameters
    ----------
    owner : str
        Empty for the store handle's own name.
    lease_s : float
        How long after its last sign of life another runner may take over.
    """

    def __init__(self, handle: Handle, target: str, *, owner: str, lease_s: float) -> None:
        self._file = handle.file
        self._runners = _runners.setdefault(handle.file, {})
        self._key = (handle.name, target)
        self._lease_us = int(lease_s * 1e6)
        self._handle = jobs.handle_owner(self._file.opened_epoch)
        self._began_us, self._began_s = 0, 0.0
        self.target = target
        self.owner = owner or self._handle
        self.until_us = 0

    def now_us(self) -> int:
        """Return the time, by the wall clock as it was at the start: no step of it ends a lease."""
        return self._began_us + int((self._file.clock.monotonic_s() - self._began_s) * 1e6)

    def take(self, state: CollectionState, now_us: int) -> jobs.Lease:
        """Return the lease to ask for, as the only runner of this process.

        Raises
        ------
        LeaseError
        """
        self._began_us, self._began_s = now_us, self._file.clock.monotonic_s()
        other = self._runners.get(self._key)
        if other is not None and other is not self and other.until_us > now_us:
            raise LeaseError(self.target, owner=other.owner, until_us=other.until_us, now_us=now_us)
        lease = jobs.Lease(self.owner, now_us + self._lease_us, self._handle)
        job = state.jobs.get(self.target)
        if job is not None:
            jobs.require_free(job, lease, now_us=now_us)
        self._runners[self._key] = self
        self.until_us = lease.until_us
        return lease

    def renew(self, state: CollectionState) -> jobs.Lease:
        """Return the lease to record with a batch.

        Raises
        ------
        LeaseError
            It expired, and somebody else took over.
        """
        other, now_us = self._runners.get(self._key), self.now_us()
        if other is not self:
            job = state.jobs.get(self.target)
            owner = self.owner if job is None else job.owner
            until_us = now_us if job is None else job.lease_until_us
            if other is not None:
                owner, until_us = other.owner, other.until_us
            raise LeaseError(self.target, owner=owner, until_us=until_us, now_us=now_us)
        self.until_us = now_us + self._lease_us
        return jobs.Lease(self.owner, self.until_us, self._handle)

    def leave(self) -> None:
        """Let others run."""
        if self._runners.get(self._key) is self:
            del self._runners[self._key]
