"""Changes of which version serves: dual read, cutover, rollback, retirement, one commit each.

The decisions are pure functions in `migration.routing`; here they meet the store.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, get_args

from vstore.errors import InvalidArgumentError
from vstore.manifest.commit import Operation
from vstore.migration import routing
from vstore.query.fusion import FusionName
from vstore.store.collection_change import change_collection
from vstore.store.gate_measurements import cutover_gates
from vstore.store.names import check_note
from vstore.store.numbers import check_number

if TYPE_CHECKING:
    from vstore.manifest.state import CollectionState
    from vstore.migration.gates import GateResult
    from vstore.store.collection import Collection


def read_both(collection: Collection, version: str, *, fusion: str, reason: str) -> None:
    """Route to a dual read of the serving version and this one."""
    collection.view().version(version)
    if fusion not in get_args(FusionName):
        raise InvalidArgumentError(
            f"fusion: expected one of {', '.join(get_args(FusionName))}, found {fusion!r:.60}"
        )
    moment = collection.store.moment(check_note(reason, what="reason"))
    change_collection(
        collection,
        lambda state: routing.read_both(state, version, fusion=fusion, moment=moment),
        Operation("read_both", _note(version, reason)),
    )


def cutover(
    collection: Collection, version: str, *, min_coverage: float, force: bool, reason: str
) -> list[GateResult]:
    """Let a version serve alone, if its gates pass, in one commit.

    Returns
    -------
    list of GateResult
        What each gate measured.

    Raises
    ------
    GateError
        A gate does not pass and ``force`` was not given.
    StateError
        The version serves already, or is retired.
    """
    min_coverage = check_number(min_coverage, what="min_coverage", least=0, most=1)
    check_note(reason, what="reason")
    results: list[GateResult] = []

    def edit(state: CollectionState) -> CollectionState:
        # Measured here, under the writer lock: nothing can change between gate and commit.
        results[:] = cutover_gates(collection, version, min_coverage=min_coverage)
        return routing.cut_over(
            state,
            version,
            failures={gate.name: str(gate) for gate in results if not gate.passed},
            measured={gate.name: gate.measured for gate in results},
            force=force,
            moment=collection.store.moment(reason),
        )

    collection.view().version(version)
    name = "cutover (forced)" if force else "cutover"
    change_collection(collection, edit, Operation(name, _note(version, reason)))
    return results


def rollback(collection: Collection, *, reason: str) -> None:
    """Return to the version that served before."""
    moment = collection.store.moment(check_note(reason, what="reason"))
    change_collection(
        collection,
        lambda state: routing.roll_back(state, moment),
        Operation("rollback", reason),
    )


def retire(collection: Collection, version: str, *, reason: str) -> None:
    """End a version."""
    collection.view().version(version)
    moment = collection.store.moment(check_note(reason, what="reason"))
    change_collection(
        collection,
        lambda state: routing.retire(state, version, moment),
        Operation("retire", _note(version, reason)),
    )


def _note(version: str, reason: str) -> str:
    return f"{version}: {reason}" if reason else version
