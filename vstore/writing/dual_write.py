"""Dual-write: what becomes of a write that has vectors for some of the versions in use only.

A write concerns the documents that it adds, or whose source it changes. `revisions` says what
counts as a change: vectors that come alone do, unless the policy is "allow".
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from vstore.errors import MissingVectorsError
from vstore.manifest import job_edits as jobs
from vstore.manifest.commit import Operation
from vstore.manifest.state import DUAL_WRITES
from vstore.names import check_choice, check_note
from vstore.segment.documents import DELETED

if TYPE_CHECKING:
    from collections.abc import Mapping

    from vstore.engine.handle import Handle
    from vstore.manifest.edits import Moment
    from vstore.manifest.state import CollectionState, DualWrite
    from vstore.segment.changes import CollectionChanges
    from vstore.types import Array


def set_policy(handle: Handle, policy: DualWrite, *, reason: str) -> None:
    """Set a collection's policy.

    Raises
    ------
    InvalidArgumentError
        It is none of the policies.
    """
    policy = check_choice(policy, DUAL_WRITES, what="dual_write")
    check_note(reason, what="reason")
    note = f"{policy}: {reason}" if reason else policy
    handle.change(lambda state: state._replace(dual_write=policy), Operation("dual_write", note))


def versions_in_use(collection: CollectionState) -> list[str]:
    """Return the versions that a write should have vectors for, in the order of their making.

    Those that a route reads, shadows or may be rolled back to, and those that a job fills or has
    filled, until they are retired.
    """
    wanted: set[str] = set()
    for route in collection.routes.values():
        wanted.update(route.labels, route.previous, (route.shadow,))
    wanted.update(target for target, job in collection.jobs.items() if job.status != "cancelled")
    return [
        label
        for label, version in collection.versions.items()
        if label in wanted and version.retired_us is None
    ]


def gaps(
    collection: CollectionState, changes: CollectionChanges, epoch: int
) -> Mapping[str, Array]:
    """Return, by version in use, the docnos that a commit leaves without fresh vectors.

    Parameters
    ----------
    epoch : int
        Of the commit: the revision of the documents it adds or whose source it changes.
    """
    changed = [
        docno
        for docno, record in changes.documents.items()
        if record.revision == epoch and record.revision != DELETED
    ]
    docnos = np.concatenate(
        [np.array(changed, np.int64), *(batch.docno.astype(np.int64) for batch in changes.bulk)]
    )
    found = {}
    for label in versions_in_use(collection):
        rows = changes.rows.get(label)
        fresh = np.zeros(0, np.int64) if rows is None else rows.docno[rows.revision == epoch]
        missing = docnos[~np.isin(docnos, fresh)]
        if len(missing):
            found[label] = missing
    return found


def applied(
    collection: CollectionState, changes: CollectionChanges, moment: Moment
) -> CollectionState:
    """Return the collection's state after its policy has seen a commit.

    Raises
    ------
    MissingVectorsError
        The policy is to refuse what leaves gaps.
    """
    if collection.dual_write == "allow":
        return collection
    found = gaps(collection, changes, moment.epoch)
    if found and collection.dual_write == "require":
        raise MissingVectorsError(
            collection.name, {label: len(docnos) for label, docnos in found.items()}
        )
    for label in found:
        job = collection.jobs.get(label)
        if job is None or job.status in ("done", "cancelled"):
            source = jobs.reopened_source(collection, label)
            collection = jobs.start(
                collection, label, moment, source=source, settings=jobs.JobSettings()
            )
    return collection
