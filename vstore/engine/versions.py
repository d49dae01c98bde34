"""``docs.versions``: the versions of a collection by label, as operators see them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vstore.engine.lookup import Lookup
from vstore.engine.version_info import VersionInfo, version_info

if TYPE_CHECKING:
    from vstore.engine.snapshot import CollectionView


class Versions(Lookup[VersionInfo]):
    """The versions of a collection by label, in order of creation, at one snapshot.

    ``docs.versions["v1"]`` raises `NotFoundError` if there is no such version.
    """

    __slots__ = ("_view",)

    def __init__(self, view: CollectionView) -> None:
        self._view = view

    def _names(self) -> tuple[str, ...]:
        return tuple(self._view.state.versions)

    def __getitem__(self, label: str) -> VersionInfo:
        return version_info(self._view, label)
