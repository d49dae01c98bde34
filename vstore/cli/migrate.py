"""``vstore route``, ``cutover``, ``rollback`` and ``retire``: one commit each."""

from typing import Annotated, Any

import typer

from vstore.cli.info import route_text
from vstore.cli.opening import open_to_read, open_to_write, pick_collection
from vstore.cli.options import AsJson, CollectionName, Label, Reason, StorePath, Wait
from vstore.cli.plain_text import counted
from vstore.cli.report import Report, facts, heading
from vstore.errors import InvalidArgumentError
from vstore.migration.gates import GateResult
from vstore.store.collection import Collection

MinCoverage = Annotated[
    float,
    typer.Option(metavar="SHARE", help="Least share of the live documents the version must cover."),
]
Force = Annotated[
    bool, typer.Option("--force", help="Go on although a gate fails; needs --reason.")
]
ReadBoth = Annotated[
    str | None,
    typer.Option(metavar="LABEL", help="From now on read the serving version and this one."),
]
RouteFusion = Annotated[
    str | None,
    typer.Option(
        metavar="RULE",
        help="How: slots (the default), evidence, imputed, auto ...",
    ),
]


def route(
    store: StorePath,
    *,
    read_both: ReadBoth = None,
    fusion: RouteFusion = None,
    reason: Reason = "",
    collection: CollectionName = None,
    wait: Wait = 0.0,
    as_json: AsJson = False,
) -> Report:
    """Show which version answers a query that names none, or set a dual read."""
    if read_both is None:
        if fusion is not None or reason:
            raise InvalidArgumentError("route: --fusion and --reason go with --read-both")
        with open_to_read(store) as opened:
            return _routed(pick_collection(opened, collection))
    with open_to_write(store, wait=wait) as opened:
        docs = pick_collection(opened, collection)
        chosen: Any = fusion or "slots"  # the engine checks it
        docs.read_both(read_both, fusion=chosen, reason=reason)
        return _routed(docs)


def cutover(
    store: StorePath,
    version: Label,
    *,
    min_coverage: MinCoverage = 1.0,
    force: Force = False,
    reason: Reason = "",
    collection: CollectionName = None,
    wait: Wait = 0.0,
    as_json: AsJson = False,
) -> Report:
    """Let a version serve alone, if its gates pass."""
    with open_to_write(store, wait=wait) as opened:
        docs = pick_collection(opened, collection)
        gates = docs.cutover(version, min_coverage=min_coverage, force=force, reason=reason)
        return _routed(docs, gates)


def rollback(
    store: StorePath,
    *,
    reason: Reason = "",
    collection: CollectionName = None,
    wait: Wait = 0.0,
    as_json: AsJson = False,
) -> Report:
    """Return to the version that served before."""
    with open_to_write(store, wait=wait) as opened:
        docs = pick_collection(opened, collection)
        docs.rollback(reason=reason)
        return _routed(docs)


def retire(
    store: StorePath,
    version: Label,
    *,
    reason: Reason = "",
    collection: CollectionName = None,
    wait: Wait = 0.0,
    as_json: AsJson = False,
) -> Report:
    """End a version: no more writes or queries, and a vacuum drops its vectors."""
    with open_to_write(store, wait=wait) as opened:
        docs = pick_collection(opened, collection)
        docs.retire(version, reason=reason)
        retired = docs.version(version)
        data = {
            "collection": docs.name,
            "version": version,
            "state": retired.state,
            "retire_grace_s": retired.retire_grace_s,
            "epoch": opened.epoch,
        }
        title = f"{docs.name}: {version} is {retired.state} at epoch {opened.epoch}"
        freed = (
            f"of {counted(retired.rows, 'row')} once vstore vacuum runs, "
            f"{retired.retire_grace_s:,} s from now at the earliest"
        )
        return Report(data, [heading(title), facts({"bytes freed": freed})])


def _routed(docs: Collection, gates: list[GateResult] | None = None) -> Report:
    current = docs.route
    described: dict[str, Any] = {
        "mode": current.mode,
        "versions": list(current.labels),
        "fusion": current.fusion,
        "since_epoch": current.since_epoch,
        "reason": current.reason,
        "forced": current.forced,
        "previous": list(current.previous),
    }
    data: dict[str, object] = {
        "collection": docs.name,
        "epoch": docs.store.epoch,
        "route": described,
    }
    shown: dict[str, object] = {"default": route_text(described)}
    if gates is not None:
        data["gates"] = [
            {
                "name": gate.name,
                "measured": gate.measured,
                "required": gate.required,
                "passed": gate.passed,
            }
            for gate in gates
        ]
        shown["gates"] = "; ".join(map(str, gates))
    title = f"{docs.name}: queries that name no version, at epoch {docs.store.epoch}"
    return Report(data, [heading(title), facts(shown)])
