"""Routes as structured data, and back (`format-spec.md`, "Manifest")."""

from __future__ import annotations

import math

from vstore.fusions import FUSIONS
from vstore.limits import GATES_MAX, NAME_BYTES_MAX, REASON_BYTES_MAX, ROUTE_CHANGES_MAX
from vstore.manifest.plain import Plain, PlainReader
from vstore.manifest.state import READ_MODES, Evidence, RouteState
from vstore.storage.packing import shown

_PERCENT_MAX = 100


def plain_route(route: RouteState) -> Plain:
    """Return a route as structured data."""
    return {
        **route._asdict(),
        "previous": list(route.previous),
        "evidence": [list(evidence) for evidence in route.evidence],
    }


def read_route(_key: str, value: object, where: str) -> RouteState:
    """Check a route from a file."""
    plain = PlainReader(value, where)
    route = RouteState(
        mode=plain.choice("mode", READ_MODES),
        version=plain.text("version", bytes_max=NAME_BYTES_MAX),
        old_version=plain.text("old_version", bytes_max=NAME_BYTES_MAX),
        fusion=plain.choice("fusion", ("", *FUSIONS)),
        since_epoch=plain.integer("since_epoch"),
        since_us=plain.integer("since_us"),
        reason=plain.text("reason", bytes_max=REASON_BYTES_MAX),
        forced=plain.boolean("forced"),
        previous=plain.sequence("previous", _read_label, count_max=ROUTE_CHANGES_MAX),
        by=plain.text("by", bytes_max=NAME_BYTES_MAX),
        percent=plain.integer("percent", maximum=_PERCENT_MAX),
        shadow=plain.text("shadow", bytes_max=NAME_BYTES_MAX),
        shadow_percent=plain.integer("shadow_percent", maximum=_PERCENT_MAX),
        evidence=plain.sequence("evidence", _read_evidence, count_max=GATES_MAX),
    )
    if (route.mode == "matched") == bool(route.old_version):
        raise ValueError(f"{where}: mode {route.mode!r} with old_version {route.old_version!r}")
    if route.old_version == route.version:
        raise ValueError(f"{where}: {shown(route.version)} twice, where two versions are read")
    if (route.mode == "dual") != bool(route.fusion):
        raise ValueError(f"{where}: mode {route.mode!r} with fusion {shown(route.fusion)}")
    if route.percent and route.mode != "canary":
        raise ValueError(f"{where}: mode {route.mode!r} with {route.percent} percent")
    if route.shadow_percent and not route.shadow:
        raise ValueError(f"{where}: {route.shadow_percent} percent of no shadow")
    return route


def _read_label(value: object, where: str) -> str:
    if not isinstance(value, str):
        raise ValueError(f"{where}: expected a string, found {shown(value)}")
    return value


def _read_evidence(value: object, where: str) -> Evidence:
    plain = PlainReader.listed(value, Evidence._fields, where)
    return Evidence(
        gate=plain.text("gate", bytes_max=NAME_BYTES_MAX),
        measured=plain.real("measured", least=-math.inf),
        required=plain.real("required", least=-math.inf),
        passed=plain.boolean("passed"),
    )
