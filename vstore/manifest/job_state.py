"""Jobs, bridges and choices of a collection's state; a search of one version needs none of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal, NamedTuple, TypeAlias, get_args

if TYPE_CHECKING:
    from collections.abc import Mapping

    from vstore.storage.block import BlockRef
    from vstore.types import DocumentId

JobStatus: TypeAlias = Literal["open", "stopped", "done", "cancelled"]
JobOrder: TypeAlias = Literal["id", "hot", "field"]
BridgeKind: TypeAlias = Literal["procrustes", "low-rank", "ridge"]

JOB_STATUSES: Final[tuple[JobStatus, ...]] = get_args(JobStatus)
JOB_ORDERS: Final[tuple[JobOrder, ...]] = get_args(JobOrder)
BRIDGE_KINDS: Final[tuple[BridgeKind, ...]] = get_args(BridgeKind)


class DeadLetter(NamedTuple):
    """A document that could not be embedded.

    It counts as long as the document has that revision: whoever changes it has it tried again.
    """

    id: DocumentId
    revision: int
    attempts: int
    failed_us: int
    error: str


class JobState(NamedTuple):
    """A backfill: its durable record. What is left to do is a scan, not a cursor.

    Attributes
    ----------
    order : {"id", "hot", "field"}
        Which documents come first: by number, by hits (or by a field, the largest first), by the
        value of a field.
    order_field : str
        Empty if the order needs none.
    unit : str
        What ``units`` counts, for example ``"characters"`` or ``"tokens"``.
    units : int
    cost : float
        In the caller's currency.
    seconds : float
        Time that the embedding function took.
    documents_max, units_max, cost_max : int, int, float or None
        Caps; a run stops before it would exceed one.
    note : str
        Why it stopped.
    dead : tuple[DeadLetter, ...]
    """

    target: str
    source: str
    status: JobStatus
    started_epoch: int
    started_us: int
    batches: int = 0
    documents_done: int = 0
    documents_skipped: int = 0
    order: JobOrder = "id"
    order_field: str = ""
    unit: str = ""
    units: int = 0
    cost: float = 0.0
    seconds: float = 0.0
    documents_max: int | None = None
    units_max: int | None = None
    cost_max: float | None = None
    note: str = ""
    dead: tuple[DeadLetter, ...] = ()


class BridgeState(NamedTuple):
    """A map from one version's space to another's, and how well it was seen to do.

    Attributes
    ----------
    source, target : str
        Queries of ``source`` become queries of ``target``.
    recall : float
        Share of the target's own 10 nearest neighbours that mapped queries found, held-out ones.
    documents_fit, documents_held : int
        Documents that it was fitted on, and judged by.
    record : BlockRef
        The map.
    """

    source: str
    target: str
    kind: BridgeKind
    recall: float
    documents_fit: int
    documents_held: int
    made_epoch: int
    made_us: int
    record: BlockRef


class FusionChoice(NamedTuple):
    """Which rule ``fusion="auto"`` stands for in a dual read of two versions, and why.

    Attributes
    ----------
    coverage : float
        Of the new version when it was measured.
    queries : int
        Judged queries that it was measured with.
    measured : Mapping[str, float]
        Mean nDCG at 10 by rule.
    curve : tuple[float, ...]
        What a rule has learnt: of "imputed" the intercept, the slope, and the quantiles of the
        spread.
    """

    old_version: str
    version: str
    chosen: str
    coverage: float
    queries: int
    measured: Mapping[str, float]
    curve: tuple[float, ...]
    made_epoch: int
    made_us: int
