"""Where a version stands in its life. Derived from routes, jobs and coverage; stored nowhere.

``declared -> backfilling -> ready -> serving -> draining -> retired``
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, TypeAlias

if TYPE_CHECKING:
    from vstore.manifest.state import CollectionState

Lifecycle: TypeAlias = Literal["declared", "backfilling", "ready", "serving", "draining", "retired"]


def lifecycle(collection: CollectionState, label: str, *, covered: bool) -> Lifecycle:
    """Return the state of a version.

    Parameters
    ----------
    covered : bool
        Every live document has fresh rows in it.
    """
    if collection.versions[label].retired_us is not None:
        return "retired"
    routes = collection.routes.values()
    # The new side of a dual read serves too, but its backfill is what people want to see.
    if any(label == route.serving for route in routes):
        return "serving"
    job = collection.jobs.get(label)
    if job is not None and job.status == "open" and not covered:
        return "backfilling"
    if any(label in route.previous for route in routes):
        return "draining"
    if covered:
        return "ready"
    return "declared" if job is None else "backfilling"
