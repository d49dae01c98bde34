"""`StoreState` as structured data, and back with every value checked.

The schema is `format-spec.md`, "Manifest".
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from vstore.deferred import Deferred
from vstore.limits import (
    BRIDGES_MAX,
    COLLECTIONS_MAX,
    DIMENSION_MAX,
    DOCUMENTS_MAX,
    EF_MAX,
    EQUIVALENCES_MAX,
    EXTRAS_MAX,
    FIELDS_MAX,
    GRAPH_M_MAX,
    GRAPH_M_MIN,
    REASON_BYTES_MAX,
    ROUTE_KEY_BYTES_MAX,
    ROUTES_MAX,
    SEGMENT_ROWS_MAX,
    SEGMENTS_MAX,
    TAGS_MAX,
    VERSIONS_MAX,
)
from vstore.manifest.codec_routes import plain_route, read_route
from vstore.manifest.plain import Plain, PlainReader, plain_ref
from vstore.manifest.spec import METRICS, EmbeddingSpec, Extra
from vstore.manifest.state import (
    DUAL_WRITES,
    FIELD_TYPES,
    PROVENANCES,
    STALE_POLICIES,
    STORAGE_TYPES,
    CollectionState,
    Equivalence,
    GraphSettings,
    SegmentRef,
    StoreState,
    TagState,
    VersionState,
)
from vstore.storage.block import ref_to_list
from vstore.storage.layout import HASH_BYTES
from vstore.storage.packing import shown

if TYPE_CHECKING:
    from vstore.manifest import codec_jobs
    from vstore.manifest.job_state import BridgeState, FusionChoice, JobState
else:  # a store without migrations has none
    codec_jobs = Deferred("vstore.manifest.codec_jobs")


# Writing: one function per state, in the order of the schema.


def plain_store(state: StoreState) -> Plain:
    """Return the state as maps, lists, strings, numbers and bytes."""
    return {
        "collections": {name: plain_collection(c) for name, c in state.collections.items()},
        "equivalences": [_plain_equivalence(pair) for pair in state.equivalences],
        "tags": {name: _plain_tag(tag) for name, tag in state.tags.items()},
        "history": plain_ref(state.history),
        "metrics": plain_ref(state.metrics),
    }


def plain_collection(collection: CollectionState) -> Plain:
    """Return one collection as structured data."""
    return {
        "created_epoch": collection.created_epoch,
        "created_us": collection.created_us,
        "fields": dict(collection.fields),
        "segments": [_plain_segment(segment) for segment in collection.segments],
        "versions": {label: _plain_version(v) for label, v in collection.versions.items()},
        "routes": {key: plain_route(route) for key, route in collection.routes.items()},
        "jobs": {target: codec_jobs.plain_job(job) for target, job in collection.jobs.items()},
        "dual_write": collection.dual_write,
        "bridges": [codec_jobs.plain_bridge(bridge) for bridge in collection.bridges],
        "choices": [codec_jobs.plain_choice(choice) for choice in collection.choices],
        "hits": plain_ref(collection.hits),
    }


def plain_spec(spec: EmbeddingSpec) -> Plain:
    """Return a spec as structured data; empty fields are left out."""
    return {name: value for name, value in spec.identity().items() if value not in ("", False, {})}


def _plain_segment(segment: SegmentRef) -> Plain:
    return {
        "header": ref_to_list(segment.header),
        "rows": segment.rows,
        "docno_end": segment.docno_end,
        "size_bytes": segment.size_bytes,
        "epoch": segment.epoch,
    }


def _plain_version(version: VersionState) -> Plain:
    return {
        "spec": plain_spec(version.spec),
        "created_epoch": version.created_epoch,
        "created_us": version.created_us,
        "storage": version.storage,
        "stale_policy": version.stale_policy,
        "provenance": version.provenance,
        "retire_grace_s": version.retire_grace_s,
        "retired_us": version.retired_us,
        "segments": [_plain_segment(segment) for segment in version.segments],
        "graph": None
        if version.graph is None
        else {
            "M": version.graph.M,
            "ef_construction": version.graph.ef_construction,
            "rows_min": version.graph.rows_min,
        },
        "guard": plain_ref(version.guard),
    }


def _plain_equivalence(pair: Equivalence) -> Plain:
    return {
        "first": pair.first,
        "second": pair.second,
        "reason": pair.reason,
        "declared_us": pair.declared_us,
    }


def _plain_tag(tag: TagState) -> Plain:
    return {"epoch": tag.epoch, "note": tag.note, "created_us": tag.created_us}


# Reading: the same order. All raise ValueError, saying where.


def read_store(value: object) -> StoreState:
    """Check structured data from a file and return the state.

    Raises
    ------
    ValueError
        A value is missing, of the wrong type, out of range or refers to nothing.
    """
    plain = PlainReader(value, "manifest")
    return StoreState(
        collections=plain.mapping("collections", _read_collection, count_max=COLLECTIONS_MAX),
        equivalences=plain.sequence("equivalences", _read_equivalence, count_max=EQUIVALENCES_MAX),
        tags=plain.mapping("tags", _read_tag, count_max=TAGS_MAX),
        history=plain.optional_ref("history"),
        metrics=plain.optional_ref("metrics"),
    )


def _read_collection(name: str, value: object, where: str) -> CollectionState:
    plain = PlainReader(value, where)
    collection = CollectionState(
        name=name,
        created_epoch=plain.integer("created_epoch"),
        created_us=plain.integer("created_us"),
        fields=plain.mapping("fields", _read_field_type, count_max=FIELDS_MAX),
        segments=plain.sequence("segments", _read_segment, count_max=SEGMENTS_MAX),
        versions=plain.mapping("versions", _read_version, count_max=VERSIONS_MAX),
        routes=plain.mapping(
            "routes",
            read_route,
            count_max=ROUTES_MAX,
            name_bytes_min=0,
            name_bytes_max=ROUTE_KEY_BYTES_MAX,
        ),
        jobs=plain.mapping("jobs", _read_job, count_max=VERSIONS_MAX),
        dual_write=plain.choice("dual_write", DUAL_WRITES),
        bridges=plain.sequence("bridges", _read_bridge, count_max=BRIDGES_MAX),
        choices=plain.sequence("choices", _read_choice, count_max=BRIDGES_MAX),
        hits=plain.optional_ref("hits"),
    )
    _require_segments(collection, where)
    _require_labels(collection, where)
    for key in filter(None, collection.routes):
        field, equals, _ = key.partition("=")
        if not equals or collection.fields.get(field) != "keyword":
            raise ValueError(f"{where}.routes: {shown(key)} is no value of a keyword field")
    return collection


def _require_segments(collection: CollectionState, where: str) -> None:
    # Docnos have no gaps, so a small file cannot ask for large tables by docno.
    if max((s.docno_end for s in collection.segments), default=0) > sum(
        s.rows for s in collection.segments
    ):
        raise ValueError(f"{where}.segments: more docnos than documents")
    lists = [collection.segments, *(v.segments for v in collection.versions.values())]
    headers = [segment.header.offset for segments in lists for segment in segments]
    if len(set(headers)) != len(headers):
        raise ValueError(f"{where}: a segment comes twice")


def _require_labels(collection: CollectionState, where: str) -> None:
    named = [
        (f"routes[{key!r}]", label)
        for key, route in collection.routes.items()
        for label in (*route.labels, *route.previous, *filter(None, [route.shadow]))
    ]
    for target, job in collection.jobs.items():
        named += [(f"jobs[{target!r}]", label) for label in (target, job.source) if label]
        if job.order_field and job.order_field not in collection.fields:
            raise ValueError(f"{where}.jobs[{target!r}]: no field {shown(job.order_field)}")
    for i, bridge in enumerate(collection.bridges):
        named += [(f"bridges[{i}]", bridge.source), (f"bridges[{i}]", bridge.target)]
    for i, choice in enumerate(collection.choices):
        named += [(f"choices[{i}]", choice.old_version), (f"choices[{i}]", choice.version)]
    for what, label in named:
        if label not in collection.versions:
            raise ValueError(f"{where}.{what}: no version {shown(label)}")
    for key, route in collection.routes.items():
        for label in (*route.labels, *filter(None, [route.shadow])):
            if collection.versions[label].retired_us is not None:
                raise ValueError(f"{where}.routes[{key!r}]: version {shown(label)} is retired")


def _read_job(target: str, value: object, where: str) -> JobState:
    return codec_jobs.read_job(target, value, where)


def _read_bridge(value: object, where: str) -> BridgeState:
    return codec_jobs.read_bridge(value, where)


def _read_choice(value: object, where: str) -> FusionChoice:
    return codec_jobs.read_choice(value, where)


def _read_field_type(_name: str, value: object, where: str) -> str:
    if value not in FIELD_TYPES:
        raise ValueError(f"{where}: unknown field type {shown(value)}")
    return str(value)


def read_spec(value: object, where: str) -> EmbeddingSpec:
    """Check a spec from a file."""
    plain = PlainReader(value, where)

    def text(key: str) -> str:
        return plain.text(key, bytes_max=REASON_BYTES_MAX, default="")

    return EmbeddingSpec(
        model=plain.text("model", bytes_max=REASON_BYTES_MAX),
        dimension=plain.integer("dimension", minimum=1, maximum=DIMENSION_MAX),
        metric=plain.choice("metric", METRICS),
        model_version=text("model_version"),
        normalized=plain.boolean("normalized", default=False),
        preprocessing=text("preprocessing"),
        chunking=text("chunking"),
        truncation=text("truncation"),
        document_prompt=text("document_prompt"),
        query_prompt=text("query_prompt"),
        language_routing=text("language_routing"),
        extras=plain.mapping("extras", _read_extra, count_max=EXTRAS_MAX, name_bytes_min=0)
        if plain.has("extras")
        else {},
    )


def _read_extra(_name: str, value: object, where: str) -> Extra:
    if isinstance(value, int) or (
        isinstance(value, str) and len(value.encode()) <= REASON_BYTES_MAX
    ):
        return value
    raise ValueError(f"{where}: expected a short string, a number or a truth value")


def _read_segment(value: object, where: str) -> SegmentRef:
    plain = PlainReader(value, where)
    segment = SegmentRef(
        header=plain.ref("header"),
        rows=plain.integer("rows", maximum=SEGMENT_ROWS_MAX),
        docno_end=plain.integer("docno_end", maximum=DOCUMENTS_MAX),
        size_bytes=plain.integer("size_bytes"),
        epoch=plain.integer("epoch"),
    )
    if (segment.rows == 0) != (segment.docno_end == 0):
        raise ValueError(f"{where}: {segment.rows} rows, and docnos below {segment.docno_end}")
    return segment


def _read_version(label: str, value: object, where: str) -> VersionState:
    plain = PlainReader(value, where)
    return VersionState(
        label=label,
        spec=read_spec(plain.raw("spec"), f"{where}.spec"),
        created_epoch=plain.integer("created_epoch"),
        created_us=plain.integer("created_us"),
        storage=plain.choice("storage", STORAGE_TYPES),
        stale_policy=plain.choice("stale_policy", STALE_POLICIES),
        provenance=plain.choice("provenance", PROVENANCES),
        retire_grace_s=plain.integer("retire_grace_s"),
        retired_us=plain.optional_integer("retired_us"),
        segments=plain.sequence("segments", _read_segment, count_max=SEGMENTS_MAX),
        graph=_read_graph(plain.raw("graph"), f"{where}.graph") if plain.given("graph") else None,
        guard=plain.optional_ref("guard"),
    )


def _read_graph(value: object, where: str) -> GraphSettings:
    plain = PlainReader(value, where)
    return GraphSettings(
        plain.integer("M", minimum=GRAPH_M_MIN, maximum=GRAPH_M_MAX),
        plain.integer("ef_construction", minimum=1, maximum=EF_MAX),
        plain.integer("rows_min"),
    )


def _read_equivalence(value: object, where: str) -> Equivalence:
    plain = PlainReader(value, where)
    return Equivalence(
        first=plain.binary("first", length=HASH_BYTES),
        second=plain.binary("second", length=HASH_BYTES),
        reason=plain.text("reason", bytes_max=REASON_BYTES_MAX),
        declared_us=plain.integer("declared_us"),
    )


def _read_tag(_name: str, value: object, where: str) -> TagState:
    plain = PlainReader(value, where)
    return TagState(
        epoch=plain.integer("epoch"),
        note=plain.text("note", bytes_max=REASON_BYTES_MAX),
        created_us=plain.integer("created_us"),
    )
