"""What a collection declares: its metadata fields and its embedding versions, checked."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from vstore.errors import InvalidArgumentError
from vstore.limits import EF_MAX, FIELDS_MAX, GRAPH_M_MAX, GRAPH_M_MIN, SEGMENT_ROWS_MAX
from vstore.manifest import edits
from vstore.manifest import route_edits as routing
from vstore.manifest.commit import Operation
from vstore.manifest.plain import U64_MAX
from vstore.manifest.spec import require_spec
from vstore.manifest.state import (
    FIELD_TYPES,
    PROVENANCES,
    STALE_POLICIES,
    STORAGE_TYPES,
    GraphSettings,
    VersionState,
)
from vstore.names import check_choice, check_name
from vstore.numbers import check_switch, check_whole
from vstore.writing import existing

if TYPE_CHECKING:
    from vstore.engine.handle import Handle
    from vstore.manifest.spec import EmbeddingSpec
    from vstore.manifest.state import CollectionState, Provenance, StalePolicy, StorageType


def add_field(handle: Handle, name: str, field_type: str, *, exist_ok: bool) -> None:
    """Declare a metadata field.

    Raises
    ------
    InvalidArgumentError, AlreadyExistsError, LimitExceededError
        The type is unknown; the field is there already, of another type; there are too many.
    """
    handle.require_unscoped("add_field")
    name = check_name(name, what="field name")
    checked = check_fields({name: field_type})
    exist_ok = check_switch(exist_ok, what="exist_ok")

    def is_there(state: CollectionState) -> bool:
        return exist_ok and existing.has_field(state, name, checked[name])

    if not is_there(handle.view().state):
        handle.change(
            lambda state: state if is_there(state) else edits.add_fields(state, checked),
            Operation("add_field", f"{handle.name}.{name}: {field_type}"),
        )


def create_version(
    handle: Handle,
    label: str,
    spec: EmbeddingSpec,
    *,
    storage: StorageType,
    stale_policy: StalePolicy,
    provenance: Provenance,
    retire_grace_s: int,
    M: int,
    ef_construction: int,
    graph_rows_min: int | None,
    exist_ok: bool,
) -> None:
    """Declare an embedding version; the first one serves at once.

    Raises
    ------
    InvalidArgumentError, AlreadyExistsError, LimitExceededError
        An option is out of range; the label or the geometry is taken; there are too many versions.
    """
    handle.require_unscoped("create_version")
    label = check_name(label, what="version label")
    storage = check_choice(storage, STORAGE_TYPES, what="storage")
    stale_policy = check_choice(stale_policy, STALE_POLICIES, what="stale_policy")
    provenance = check_choice(provenance, PROVENANCES, what="provenance")
    require_spec(spec, what="spec")
    retire_grace_s = check_whole(retire_grace_s, what="retire_grace_s", least=0, most=U64_MAX)
    settings = _graph_settings(M, ef_construction, graph_rows_min)
    exist_ok = check_switch(exist_ok, what="exist_ok")
    wanted = VersionState(
        label, spec, 0, 0, storage, stale_policy, provenance, retire_grace_s, graph=settings
    )

    def edit(state: CollectionState) -> CollectionState:
        if exist_ok and existing.has_version(state, wanted):
            return state
        moment = handle.moment()
        version = wanted._replace(created_epoch=moment.epoch, created_us=moment.time_us)
        state = edits.create_version(state, version)
        return state if state.routes else routing.first_route(state, label, moment)

    if not (exist_ok and existing.has_version(handle.view().state, wanted)):
        handle.change(edit, Operation("create_version", label))


def check_fields(fields: Mapping[str, str]) -> dict[str, str]:
    """Return metadata fields, checked.

    Raises
    ------
    InvalidArgumentError, LimitExceededError
        A type is unknown, or a name is no name; there are too many.
    """
    checked: dict[str, str] = {}
    if not isinstance(fields, Mapping):
        raise InvalidArgumentError(f"fields: expected a mapping of name to type: {fields!r:.60}")
    for name, field_type in fields.items():
        plain = check_name(name, what="field name")
        checked[plain] = str(check_choice(field_type, FIELD_TYPES, what=f"field {name!r}"))
    edits.require_count("fields", len(checked), "FIELDS_MAX", FIELDS_MAX)
    return checked


def _graph_settings(M: int, ef_construction: int, rows_min: int | None) -> GraphSettings | None:
    checked = [
        check_whole(value, what=name, least=least, most=most)
        for name, value, least, most in (
            ("M", M, GRAPH_M_MIN, GRAPH_M_MAX),
            ("ef_construction", ef_construction, 1, EF_MAX),
            ("graph_rows_min", 0 if rows_min is None else rows_min, 0, SEGMENT_ROWS_MAX),
        )
    ]
    return None if rows_min is None else GraphSettings(*checked)
