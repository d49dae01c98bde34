"""How a query is read by more than one version, as a caller or a route says it.

A search without any of these reads one version, the route's or the one that it names.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from vstore.fusions import FusionName
    from vstore.query.ranking import RankedPair


@dataclass(frozen=True, slots=True)
class Dual:
    """Read two versions, each for the documents that it has, and fuse the two lists.

    The query needs a vector for each: text with registered embedders, or a mapping.

    Attributes
    ----------
    new : str
        Label of the version that documents are moving to.
    old : str, optional
        Label of the other one; the version that serves, if not given.
    fusion : FusionName or callable, optional
        Rule that makes one list of two; the default is "slots". "auto" is the rule that
        `Migrations.choose_fusion` chose. A function gets a `RankedPair`, and returns keys of its
        rankings in their order, best first; each document is answered by its newest version. Only
        a search takes a function, a route keeps a name.
    """

    new: str
    old: str | None = None
    fusion: FusionName | Callable[[RankedPair], Iterable[int]] | None = None


@dataclass(frozen=True, slots=True)
class Cascade:
    """Take what the old version finds, in the order of the new one where it has the vectors.

    The query needs a vector for each.

    Attributes
    ----------
    new : str
        Label of the version that orders.
    old : str, optional
        Label of the version that finds; the version that serves, if not given.
    """

    new: str
    old: str | None = None


@dataclass(frozen=True, slots=True)
class Bridge:
    """Read one version, also with queries of another one, mapped by a fitted bridge.

    Attributes
    ----------
    version : str
        Label of the version that is read.
    source : str
        Label of the version whose queries are mapped.
    """

    version: str
    source: str


@dataclass(frozen=True, slots=True)
class Canary:
    """Let a version answer a share of the queries, always the same ones. Only for routes.

    Attributes
    ----------
    version : str
        Label of the version on trial; the one that serves answers the rest.
    percent : int
        Share of the queries, 0 to 100.
    """

    version: str
    percent: int


Read: TypeAlias = Dual | Cascade | Bridge
RoutedRead: TypeAlias = Read | Canary
