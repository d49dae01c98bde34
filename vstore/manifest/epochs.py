"""No state names an epoch after its own (`format-spec.md`, "Manifest")."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vstore.manifest.state import CollectionState, StoreState


def require_no_later(state: StoreState, epoch: int) -> None:
    """Refuse a state that names an epoch after its own.

    Raises
    ------
    ValueError
        It does; the message says where.
    """
    for name, tag in state.tags.items():
        _require(f"tags[{name!r}].epoch", tag.epoch, epoch)
    for collection in state.collections.values():
        for where, named in _epochs(collection):
            _require(f"collections[{collection.name!r}]{where}", named, epoch)


def _require(where: str, named: int, epoch: int) -> None:
    if named > epoch:
        raise ValueError(f"manifest.{where}: {named}, in the state of epoch {epoch}")


def _epochs(collection: CollectionState) -> Iterator[tuple[str, int]]:
    """Yield what names an epoch, and the epoch."""
    yield ".created_epoch", collection.created_epoch
    for segment in collection.segments:
        yield ".segments", segment.epoch
    for label, version in collection.versions.items():
        yield f".versions[{label!r}].created_epoch", version.created_epoch
        for segment in version.segments:
            yield f".versions[{label!r}].segments", segment.epoch
    for key, route in collection.routes.items():
        yield f".routes[{key!r}].since_epoch", route.since_epoch
    for target, job in collection.jobs.items():
        yield f".jobs[{target!r}].started_epoch", job.started_epoch
        for letter in job.dead:
            yield f".jobs[{target!r}].dead", letter.revision
    for bridge in collection.bridges:
        yield ".bridges", bridge.made_epoch
    for choice in collection.choices:
        yield ".choices", choice.made_epoch
