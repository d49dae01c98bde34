"""Jobs, bridges and choices as structured data, and back (`format-spec.md`, "Manifest")."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from vstore.fusions import FUSIONS
from vstore.limits import (
    CURVE_POINTS_MAX,
    DEAD_LETTERS_MAX,
    ERROR_BYTES_MAX,
    ID_BYTES_MAX,
    INT_ID_MAX,
    INT_ID_MIN,
    NAME_BYTES_MAX,
    REASON_BYTES_MAX,
    RULES_MAX,
)
from vstore.manifest.job_state import (
    BRIDGE_KINDS,
    JOB_ORDERS,
    JOB_STATUSES,
    BridgeState,
    DeadLetter,
    FusionChoice,
    JobState,
)
from vstore.manifest.plain import Plain, PlainReader, plain_ref
from vstore.storage.packing import shown

if TYPE_CHECKING:
    from vstore.types import DocumentId


def plain_job(job: JobState) -> Plain:
    """Return a job as structured data; its target is its key."""
    plain = {**job._asdict(), "dead": [list(letter) for letter in job.dead]}
    del plain["target"]
    return plain


def plain_bridge(bridge: BridgeState) -> Plain:
    """Return a bridge as structured data."""
    return {**bridge._asdict(), "record": plain_ref(bridge.record)}


def plain_choice(choice: FusionChoice) -> Plain:
    """Return a choice as structured data."""
    return {
        **choice._asdict(),
        "measured": dict(choice.measured),
        "curve": list(choice.curve),
    }


def read_job(target: str, value: object, where: str) -> JobState:
    """Check a job from a file."""
    plain = PlainReader(value, where)
    job = JobState(
        target=target,
        source=plain.text("source", bytes_max=NAME_BYTES_MAX),
        status=plain.choice("status", JOB_STATUSES),
        started_epoch=plain.integer("started_epoch"),
        started_us=plain.integer("started_us"),
        batches=plain.integer("batches"),
        documents_done=plain.integer("documents_done"),
        documents_skipped=plain.integer("documents_skipped"),
        order=plain.choice("order", JOB_ORDERS),
        order_field=plain.text("order_field", bytes_max=NAME_BYTES_MAX),
        unit=plain.text("unit", bytes_max=NAME_BYTES_MAX),
        units=plain.integer("units"),
        cost=plain.real("cost"),
        seconds=plain.real("seconds"),
        documents_max=plain.optional_integer("documents_max"),
        units_max=plain.optional_integer("units_max"),
        cost_max=plain.real("cost_max") if plain.given("cost_max") else None,
        note=plain.text("note", bytes_max=REASON_BYTES_MAX),
        dead=plain.sequence("dead", _read_dead_letter, count_max=DEAD_LETTERS_MAX),
    )
    if len({letter.id for letter in job.dead}) != len(job.dead):
        raise ValueError(f"{where}.dead: two letters of one document")
    return job


def _read_dead_letter(value: object, where: str) -> DeadLetter:
    plain = PlainReader.listed(value, DeadLetter._fields, where)
    return DeadLetter(
        id=_read_id(plain, where),
        revision=plain.integer("revision"),
        attempts=plain.integer("attempts"),
        failed_us=plain.integer("failed_us"),
        error=plain.text("error", bytes_max=ERROR_BYTES_MAX),
    )


def _read_id(plain: PlainReader, where: str) -> DocumentId:
    value = plain.raw("id")
    if type(value) is int and INT_ID_MIN <= value <= INT_ID_MAX:
        return value
    if type(value) is str and 0 < len(value.encode()) <= ID_BYTES_MAX:
        return value
    raise ValueError(f"{where}: {shown(value)} is no id")


def read_bridge(value: object, where: str) -> BridgeState:
    """Check a bridge from a file; not its record."""
    plain = PlainReader(value, where)
    return BridgeState(
        source=plain.text("source", bytes_max=NAME_BYTES_MAX),
        target=plain.text("target", bytes_max=NAME_BYTES_MAX),
        kind=plain.choice("kind", BRIDGE_KINDS),
        recall=plain.real("recall", most=1.0),
        documents_fit=plain.integer("documents_fit"),
        documents_held=plain.integer("documents_held"),
        made_epoch=plain.integer("made_epoch"),
        made_us=plain.integer("made_us"),
        record=plain.ref("record"),
    )


def read_choice(value: object, where: str) -> FusionChoice:
    """Check a choice from a file."""
    plain = PlainReader(value, where)
    return FusionChoice(
        old_version=plain.text("old_version", bytes_max=NAME_BYTES_MAX),
        version=plain.text("version", bytes_max=NAME_BYTES_MAX),
        chosen=plain.choice("chosen", FUSIONS),
        coverage=plain.real("coverage", most=1.0),
        queries=plain.integer("queries"),
        measured=plain.mapping("measured", _read_measured, count_max=RULES_MAX),
        curve=plain.sequence("curve", _read_point, count_max=CURVE_POINTS_MAX),
        made_epoch=plain.integer("made_epoch"),
        made_us=plain.integer("made_us"),
    )


def _read_point(value: object, where: str) -> float:
    return PlainReader({"value": value}, where).real("value", least=-math.inf)


def _read_measured(_name: str, value: object, where: str) -> float:
    return PlainReader({"value": value}, where).real("value")  # rounding may bring it above 1
