"""Options of a caller or a route to read more than one version.

A search without any of them reads one version, named by the caller or else by the route.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar, cast

from vstore.errors import InvalidArgumentError
from vstore.fusions import FUSIONS
from vstore.names import check_choice, require_text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from vstore.fusions import FusionName
    from vstore.query.ranking import RankedPair


@dataclass(frozen=True, slots=True)
class Dual:
    """Read two versions, each for the documents that it has, and fuse the two lists.

    The query needs a vector for each version: text with registered embedders, or a mapping.

    Attributes
    ----------
    new : str
        Label of the version that documents are moving to.
    old : str, optional
        Label of the other version; by default the serving version.
    fusion : FusionName or callable, optional
        Rule that makes one list of two; the default is "slots". "auto" is the rule that
        `Migrations.choose_fusion` chose. A function takes a `RankedPair` and returns keys of its
        rankings, best first; the newest version that has a document answers for it. A search
        accepts a function, a route only a name.
    """

    new: str
    old: str | None = None
    fusion: FusionName | Callable[[RankedPair], Iterable[int]] | None = None


@dataclass(frozen=True, slots=True)
class Cascade:
    """Search the old version, and reorder its candidates by the new one where it has vectors.

    The query needs a vector for each version.

    Attributes
    ----------
    new : str
        Label of the version that reorders the candidates.
    old : str, optional
        Label of the version that finds the candidates; by default the serving version.
    """

    new: str
    old: str | None = None


@dataclass(frozen=True, slots=True)
class Bridge:
    """Read one version, also for queries of another version, mapped by a fitted bridge.

    Attributes
    ----------
    version : str
        Label of the version to read.
    source : str
        Label of the version whose queries are mapped.
    """

    version: str
    source: str


@dataclass(frozen=True, slots=True)
class Canary:
    """Let a version on trial answer a sticky share of the queries. Only for routes.

    Attributes
    ----------
    version : str
        Label of the version on trial; the serving version answers the other queries.
    percent : int
        Share of the queries, 0 to 100.
    """

    version: str
    percent: int


Read: TypeAlias = Dual | Cascade | Bridge
RoutedRead: TypeAlias = Read | Canary
_AnyRead = TypeVar("_AnyRead", bound=RoutedRead)


def checked_read(read: _AnyRead) -> _AnyRead:
    """Return a read whose labels are of type str.

    Raises
    ------
    InvalidArgumentError
        A label is no str, two versions are the same, or there is no such fusion rule.
    """
    labels = {
        name: require_text(getattr(read, name), what=f"{type(read).__name__}: {name}")
        for name in ("new", "old", "version", "source")
        if hasattr(read, name) and not (name == "old" and getattr(read, name) is None)
    }
    if isinstance(read, Dual) and read.fusion is not None and not callable(read.fusion):
        check_choice(read.fusion, FUSIONS, what="fusion")
    if len(set(labels.values())) < len(labels):
        raise InvalidArgumentError(f"{read!r:.120}: expected two versions")
    given: Any = read
    return cast("_AnyRead", replace(given, **labels))
