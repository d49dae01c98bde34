"""The complete state of a store at one epoch, as frozen values.

Nothing here is a count or a flag that could contradict the data: what is fresh, covered or serving
is computed (`segment.row_table`, `manifest.lifecycle`) from these facts and the segments.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Final, Literal, NamedTuple, Never, TypeAlias, get_args

from vstore.frozen import FrozenDict

if TYPE_CHECKING:
    from collections.abc import Mapping

    from vstore.manifest.job_state import BridgeState, FusionChoice, JobState
    from vstore.manifest.spec import EmbeddingSpec
    from vstore.storage.block import BlockRef

StorageType: TypeAlias = Literal["float32", "float16"]
StalePolicy: TypeAlias = Literal["hide", "serve"]
Provenance: TypeAlias = Literal["embedded", "mapped"]
ReadMode: TypeAlias = Literal["matched", "dual", "cascade", "bridge", "canary"]
DualWrite: TypeAlias = Literal["allow", "queue", "require"]

STORAGE_TYPES: Final[tuple[StorageType, ...]] = get_args(StorageType)
STALE_POLICIES: Final[tuple[StalePolicy, ...]] = get_args(StalePolicy)
PROVENANCES: Final[tuple[Provenance, ...]] = get_args(Provenance)
READ_MODES: Final[tuple[ReadMode, ...]] = get_args(ReadMode)
DUAL_WRITES: Final[tuple[DualWrite, ...]] = get_args(DualWrite)
_EMPTY: Final[Mapping[str, Never]] = FrozenDict({})


class FieldType(StrEnum):
    """Type of one metadata field; the value is its name in manifests and in the API."""

    KEYWORD = "keyword"
    KEYWORDS = "keywords"
    INT = "int"
    FLOAT = "float"
    BOOL = "bool"
    TIMESTAMP = "timestamp"
    JSON = "json"


FIELD_TYPES: Final = tuple(FieldType)


class SegmentRef(NamedTuple):
    """A sealed segment, as the manifest names it.

    Attributes
    ----------
    header : BlockRef
        Block of the segment's header, which names its arrays.
    rows : int
        Documents or vectors in it.
    docno_end : int
        One more than its largest docno.
    size_bytes : int
        Bytes of the file it takes, header and padding included.
    epoch : int
        Commit that wrote it.
    """

    header: BlockRef
    rows: int
    docno_end: int
    size_bytes: int
    epoch: int


class GraphSettings(NamedTuple):
    """How the segments of a version get their graphs.

    Attributes
    ----------
    M : int
        Links of a node on an upper level, and half of those on the base.
    ef_construction : int
        Candidates among which a new node's links are chosen.
    rows_min : int
        Smaller segments get none: they are scanned.
    """

    M: int = 16
    ef_construction: int = 200
    rows_min: int = 10_000


class VersionState(NamedTuple):
    """One embedding version of a collection.

    Attributes
    ----------
    stale_policy : {"hide", "serve"}
        Whether rows made from an older revision of their document may be returned.
    provenance : {"embedded", "mapped"}
        Vectors made by the model, or mapped from another version's space.
    retire_grace_s : int
        Deletion policy: a vacuum drops the version's segments this long after it was retired.
    retired_us : int | None
        When it was retired; it accepts no writes and serves no query since.
    graph : GraphSettings | None
        None if every search is to be a scan.
    guard : BlockRef | None
        Record of what its vectors are like: canaries and geometry.
    """

    label: str
    spec: EmbeddingSpec
    created_epoch: int
    created_us: int
    storage: StorageType = "float32"
    stale_policy: StalePolicy = "hide"
    provenance: Provenance = "embedded"
    retire_grace_s: int = 0
    retired_us: int | None = None
    segments: tuple[SegmentRef, ...] = ()
    graph: GraphSettings | None = GraphSettings()
    guard: BlockRef | None = None

    @property
    def row_bytes(self) -> int:
        """Bytes of one stored vector."""
        return self.spec.dimension * (2 if self.storage == "float16" else 4)


class Evidence(NamedTuple):
    """What a gate measured, and what it wanted: kept with the route that it let pass."""

    gate: str
    measured: float
    required: float
    passed: bool


class RouteState(NamedTuple):
    """Which version, or versions, answer a query that names none.

    Attributes
    ----------
    mode : {"matched", "dual", "cascade", "bridge", "canary"}
    version : str
        The version that serves; where two are read the new one.
    old_version : str
        Where two are read the old one, which finds the candidates of a cascade; of a bridge the one
        whose queries are mapped; of a canary the one that answers the other queries. Else empty.
    fusion : str
        In a dual read the rule, else empty.
    reason, by : str
        Why it is so, and who said so.
    previous : tuple[str, ...]
        Versions served before, latest last: where a rollback goes.
    percent : int
        Of a canary: share of queries that the new version answers.
    shadow : str
        Version that is also asked, without an influence on answers; empty for none.
    shadow_percent : int
        Share of queries of which it is.
    evidence : tuple[Evidence, ...]
        What the gates measured that it had to pass.
    """

    mode: ReadMode
    version: str
    old_version: str
    fusion: str
    since_epoch: int
    since_us: int
    reason: str
    forced: bool = False
    previous: tuple[str, ...] = ()
    by: str = ""
    percent: int = 0
    shadow: str = ""
    shadow_percent: int = 0
    evidence: tuple[Evidence, ...] = ()

    def to_dict(self) -> dict[str, object]:
        """Return everything as plain data."""
        evidence = [one._asdict() for one in self.evidence]
        return {**self._asdict(), "previous": list(self.previous), "evidence": evidence}

    @property
    def labels(self) -> tuple[str, ...]:
        """Labels of the versions it reads, the serving or new one last."""
        return (self.old_version, self.version) if self.old_version else (self.version,)

    @property
    def serving(self) -> str:
        """Label of the version that has served so far; of a bridge, of the one it leads to."""
        return self.version if self.mode == "bridge" else self.labels[0]


class CollectionState(NamedTuple):
    """A named corpus of documents, its versions, and how it is read.

    Attributes
    ----------
    routes : Mapping[str, RouteState]
        By route key: ``""`` for the default, or a keyword field, ``=``, and a value of it.
    jobs : Mapping[str, JobState]
        By the label they fill.
    dual_write : {"allow", "queue", "require"}
        What a write may do that has vectors for some of the versions in use only.
    hits : BlockRef | None
        Record of how often documents were found.
    """

    name: str
    created_epoch: int
    created_us: int
    fields: Mapping[str, str] = _EMPTY
    segments: tuple[SegmentRef, ...] = ()
    versions: Mapping[str, VersionState] = _EMPTY
    routes: Mapping[str, RouteState] = _EMPTY
    jobs: Mapping[str, JobState] = _EMPTY
    dual_write: DualWrite = "allow"
    bridges: tuple[BridgeState, ...] = ()
    choices: tuple[FusionChoice, ...] = ()
    hits: BlockRef | None = None


class Equivalence(NamedTuple):
    """Two fingerprints declared to be one geometry, and why."""

    first: bytes
    second: bytes
    reason: str
    declared_us: int


class TagState(NamedTuple):
    """A name for an epoch; a vacuum keeps the epoch as long as the tag exists."""

    epoch: int
    note: str
    created_us: int


class StoreState(NamedTuple):
    """Everything a store contains at one epoch, but the contents of its memtable.

    Attributes
    ----------
    history : BlockRef | None
        Summaries of commits whose blocks a vacuum dropped.
    metrics : BlockRef | None
        Record of counters that a writer has flushed.
    """

    collections: Mapping[str, CollectionState] = _EMPTY
    equivalences: tuple[Equivalence, ...] = ()
    tags: Mapping[str, TagState] = _EMPTY
    history: BlockRef | None = None
    metrics: BlockRef | None = None

    def equivalent(self, fingerprint: bytes) -> frozenset[bytes]:
        """Return every fingerprint declared to be the same geometry, directly or through others."""
        if not self.equivalences:
            return frozenset((fingerprint,))
        known = {fingerprint}
        while True:
            reached = {
                other
                for pair in self.equivalences
                for one, other in ((pair.first, pair.second), (pair.second, pair.first))
                if one in known
            }
            if reached <= known:
                return frozenset(known)
            known |= reached
