"""``vstore route``, ``cutover``, ``rollback`` and ``retire``: one commit each."""

from typing import Annotated, Any

import typer

from vstore.api.collection import Collection
from vstore.cli.info import route_text
from vstore.cli.opening import open_to_read, open_to_write, pick_collection, pick_slice
from vstore.cli.options import (
    AsJson,
    By,
    CollectionName,
    Label,
    Reason,
    Slice,
    StorePath,
    Wait,
)
from vstore.cli.plain_text import counted
from vstore.cli.report import Report, facts, heading
from vstore.errors import InvalidArgumentError
from vstore.inspection.manifest_info import route_data
from vstore.migration.gates.gates import GateResult, Gates
from vstore.query.reads import Canary, Dual

MinCoverage = Annotated[
    float,
    typer.Option(metavar="SHARE", help="Least share of the live documents the version must cover."),
]
Force = Annotated[
    bool, typer.Option("--force", help="Go on although a gate fails; needs --reason.")
]
DualLabel = Annotated[
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


CanaryLabel = Annotated[
    str | None,
    typer.Option(metavar="LABEL", help="From now on this version answers some of the queries."),
]
ShadowLabel = Annotated[
    str | None,
    typer.Option(
        metavar="LABEL", help="From now on also ask this version, and compare; '' to stop."
    ),
]
Percent = Annotated[
    int | None,
    typer.Option(
        metavar="N", help="How many of the queries: by default 10 for a canary, 100 for a shadow."
    ),
]
FollowDefault = Annotated[
    bool, typer.Option("--follow-default", help="Drop the slice's own route.")
]


def route(
    store: StorePath,
    *,
    dual: DualLabel = None,
    fusion: RouteFusion = None,
    canary: CanaryLabel = None,
    shadow: ShadowLabel = None,
    percent: Percent = None,
    follow_default: FollowDefault = False,
    slice_: Slice = None,
    reason: Reason = "",
    by: By = "",
    collection: CollectionName = None,
    wait: Wait = 0.0,
    as_json: AsJson = False,
) -> Report:
    """Show which version answers a query that names none, or set a dual read, canary or shadow."""
    wanted = [dual, canary, shadow, follow_default or None]
    chosen = [value for value in wanted if value is not None]
    if len(chosen) > 1:
        raise InvalidArgumentError(
            "route: expected one of --dual, --canary, --shadow, --follow-default"
        )
    if (fusion is not None and dual is None) or (
        percent is not None and canary is None and shadow is None
    ):
        raise InvalidArgumentError(
            "route: --fusion goes with --dual, --percent with --canary or --shadow"
        )
    if not chosen:
        if reason or by:
            raise InvalidArgumentError("route: --reason and --by go with a change")
        with open_to_read(store) as opened:
            return _routed(pick_slice(opened, collection, slice_))
    with open_to_write(store, wait=wait) as opened:
        docs = pick_slice(opened, collection, slice_)
        if dual is not None:
            rule: Any = fusion  # the engine checks it
            docs.routes.set(Dual(dual, fusion=rule), reason=reason, by=by)
        elif canary is not None:
            docs.routes.set(
                Canary(canary, percent=10 if percent is None else percent), reason=reason, by=by
            )
        elif shadow is not None:
            share = 100 if percent is None else percent
            docs.routes.shadow(shadow or None, percent=share, reason=reason, by=by)
        else:
            docs.routes.follow_default(reason=reason)
        return _routed(docs)


def cutover(
    store: StorePath,
    version: Label,
    *,
    min_coverage: MinCoverage = 1.0,
    force: Force = False,
    slice_: Slice = None,
    reason: Reason = "",
    by: By = "",
    collection: CollectionName = None,
    wait: Wait = 0.0,
    as_json: AsJson = False,
) -> Report:
    """Let a version serve alone, if its gates pass."""
    with open_to_write(store, wait=wait) as opened:
        docs = pick_slice(opened, collection, slice_)
        gates = docs.routes.cutover(
            version, force=force, reason=reason, by=by, gates=Gates(coverage=min_coverage)
        )
        return _routed(docs, gates)


def rollback(
    store: StorePath,
    *,
    slice_: Slice = None,
    reason: Reason = "",
    by: By = "",
    collection: CollectionName = None,
    wait: Wait = 0.0,
    as_json: AsJson = False,
) -> Report:
    """Return to the version that served before."""
    with open_to_write(store, wait=wait) as opened:
        docs = pick_slice(opened, collection, slice_)
        docs.routes.rollback(reason=reason, by=by)
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
        docs.routes.retire(version, reason=reason)
        retired = docs.versions[version]
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
    described = route_data(docs.routes.current)
    every = {key or "default": route_data(one) for key, one in docs.routes.items()}
    data: dict[str, object] = {
        "collection": docs.name,
        "epoch": docs.store.epoch,
        "route": described,
        "routes": every,
    }
    shown: dict[str, object] = {key: route_text(one) for key, one in every.items()}
    if gates is not None:
        data["gates"] = [
            {
                "name": gate.name,
                "measured": gate.measured,
                "required": gate.required,
                "passed": gate.passed,
                "evidence": gate.evidence,
            }
            for gate in gates
        ]
        shown["gates"] = "; ".join(map(str, gates))
    title = f"{docs.name}: queries that name no version, at epoch {docs.store.epoch}"
    return Report(data, [heading(title), facts(shown)])
