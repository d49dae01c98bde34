"""`format-spec.md` against the code: every table, every constant, every test vector."""

from __future__ import annotations

import dataclasses
import json
import re
import struct
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import pytest
from blake3 import blake3

from tests.format import rules
from tests.format.annotated_file import SHOWN_BLOCKS, blocks_of, dump, write_annotated_file
from tests.format.frozen import create_store
from tests.format.full_file import write_full_file
from tests.format.independent_reader import COMMIT, DTYPES, SEGMENT, File, Plain, fingerprint
from tests.format.spec_document import PATH, Row, fenced, integer, prose, sections, table, tables
from tests.golden.make_v1 import make_graph
from vstore import EmbeddingSpec, limits
from vstore.api.opening import open_store
from vstore.index.curve import KS, POINTS_MAX, SPARE_MAX, grid_of
from vstore.manifest import codec, job_state, state
from vstore.manifest.spec import METRICS
from vstore.manifest.state import FieldType
from vstore.native.arrays import LEVELS_MAX
from vstore.segment import ids, sealed
from vstore.segment.column_types import TIMESTAMP_MAX_US, TIMESTAMP_MIN_US
from vstore.segment.columns import ARRAY_DTYPES
from vstore.segment.documents import DocumentRecord
from vstore.storage import layout, recovery
from vstore.testing import FaultyMedium

if TYPE_CHECKING:
    from vstore.types import Array

PACKAGE = Path(__file__).parents[2] / "vstore"

# Constants of `limits.py` that no file depends on.
NOT_OF_THE_FORMAT = {
    "KIB", "MIB", "FILTER_NODES_MAX", "FILTER_DEPTH_MAX", "K_MAX", "SEAL_DOCUMENTS",
    "SEAL_BYTES", "SEAL_COMMITS", "MERGE_FANOUT", "VIEW_BYTES_MIN", "STREAM_BYTES",
    "THREADS_MAX", "DEAD_SHARE_MAX", "POOL_MAX", "WINDOW_BYTES_MIN",
}  # fmt: skip

STRUCT_CODES = {"u16": "H", "u32": "I", "u64": "Q"}


# The document.


def test_every_section_that_code_names_exists() -> None:
    named = set()
    for path in PACKAGE.rglob("*.py"):
        text = path.read_text(encoding="utf-8")
        for match in re.finditer(r"`format-spec\.md`,((?:[\s,]|and|\"[^\"\n]+\")+)", text):
            named |= {(path.name, title) for title in re.findall(r'"([^"\n]+)"', match[1])}
    assert named, "docstrings name the sections they implement"
    assert {(file, title) for file, title in named if title not in sections()} == set()


def test_every_link_leads_to_a_section() -> None:
    text = PATH.read_text(encoding="utf-8")
    anchors = {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in sections()}
    links = set(re.findall(r"\]\(#([^)]+)\)", text))
    derivation = {"derivation-alive-current-fresh-served"}
    assert links - anchors == set()
    assert derivation <= links


def test_contents_list_every_section_in_order() -> None:
    text = PATH.read_text(encoding="utf-8")
    listed = re.findall(r"^\d+\. \[([^\]]+)\]", text, re.MULTILINE)
    assert listed == re.findall(r"^## (.+)$", text, re.MULTILINE)


# Bytes.


def _fields(rows: list[Row]) -> list[tuple[str, int, str, int]]:
    found = []
    for row in rows:
        size = int(row["Size"])
        raw = re.fullmatch(r"bytes\[(\d+)\]", row["Type"])
        code = f"{raw[1]}s" if raw else STRUCT_CODES[row["Type"]]
        assert struct.calcsize("<" + code) == size, row
        found.append((row["Field"], int(row["Offset"]), code, size))
    return found


def test_superblock_table() -> None:
    spec = [
        layout.Field(name, offset, code) for name, offset, code, _ in _fields(table("Superblock"))
    ]
    assert tuple(spec) == layout.SUPERBLOCK
    rows = {row["Field"]: row["Meaning"] for row in table("Superblock")}
    assert bytes.fromhex(rows["magic"]) == layout.MAGIC
    assert f"0 .. {layout.SLOT_HASHED_BYTES}" in rows["slot_hash"]
    assert rows["format_major"].startswith(f"{layout.FORMAT_MAJOR};")


def test_frame_table() -> None:
    spec = [layout.Field(name, offset, code) for name, offset, code, _ in _fields(table("Block"))]
    assert tuple(spec) == layout.FRAME
    rows = {row["Field"]: row["Meaning"] for row in table("Block")}
    assert bytes.fromhex(rows["frame_magic"].split(",")[0]) == layout.FRAME_MAGIC
    assert f"0 .. {layout.FRAME_HASHED_BYTES}" in rows["frame_hash"]


def test_block_kinds() -> None:
    spec = {row["Name"]: int(row["Kind"]) for row in table("Block", 1)}
    assert spec == {kind.name: kind.value for kind in layout.BlockKind}


def test_places_in_the_file() -> None:
    assert (layout.SLOT_BYTES, layout.SLOT_COUNT) == (4096, 2)
    assert layout.BLOCKS_START == 8192
    assert layout.ALIGNMENT == layout.FRAME_BYTES == 64
    assert "8192     block" in sections()["File layout"]


def test_feature_flags() -> None:
    spec = {
        (row["Set"].removeprefix("features_").upper() + "_" + row["Name"]): 1 << int(row["Bit"])
        for row in table("Feature flags", 1)
    }
    masks = {"KNOWN_COMPAT": layout.COMPAT_GRAPHS, "KNOWN_RO_COMPAT": 0, "KNOWN_INCOMPAT": 0}
    found = {
        name: value
        for name, value in vars(layout).items()
        if re.match(r"(RO_|IN)?COMPAT_|KNOWN_", name)
    }
    assert found == spec | masks


def test_limits_table() -> None:
    spec = {row["Name"]: integer(row["Value"]) for row in table("Limits")}
    code = {name: value for name, value in vars(limits).items() if name.isupper()}
    assert spec == {name: value for name, value in code.items() if name not in NOT_OF_THE_FORMAT}, (
        "a new limit: is it of the format? Then it belongs in format-spec.md, else in the list here"
    )


def test_every_limit_named_in_the_text_is_in_the_table() -> None:
    known = {row["Name"] for row in table("Limits")}
    named = set(re.findall(r"`([A-Z_]+_(?:MAX|MIN))`", PATH.read_text(encoding="utf-8")))
    assert named == known


def test_graph_tables(tmp_path: Path) -> None:
    with create_store(tmp_path / "graph.vstore") as store:
        make_graph(store)
        (segment,) = store._open_file.current().collection("docs").rows("old")._sealed.segments
    attributes: Any = segment.header.attributes
    codes, graph = attributes["codes"], attributes["graph"]
    assert list(codes) == [row["Key"] for row in table("Graph", 0)]
    assert list(graph) == [row["Key"] for row in table("Graph", 1)]
    recall = next(row for row in table("Graph", 1) if row["Key"] == "recall")
    spec = {row["Name"]: row for row in table("Graph", 2)}
    arrays = segment.header.arrays
    assert [name for name in arrays if "." in name] == list(spec)
    assert all(arrays[name].dtype == row["dtype"].replace("\\", "") for name, row in spec.items())
    assert f"at most {len(KS)} entries" in recall["Bound"]
    assert f"the k are {', '.join(f'{k:,}' for k in KS)}" in recall["Meaning"]
    assert f"k + {SPARE_MAX}" in prose("Graph")
    assert f"a list of 1 to {POINTS_MAX} entries" in prose("Graph")
    assert all(len(grid_of(k)) <= POINTS_MAX for k in KS)
    assert f"at most {LEVELS_MAX}." in prose("Graph")


def test_creation_rule() -> None:
    extra = recovery._CREATION_BYTES_MAX - layout.BLOCKS_START
    assert f"at most {layout.BLOCKS_START} + {extra} bytes" in prose("Recovery")
    used = layout.SUPERBLOCK[-2].offset + layout.HASH_BYTES
    assert f"from byte {used} to byte {layout.SLOT_HASHED_BYTES}" in prose("Recovery")


# Structured data.


@pytest.fixture(scope="module")
def full_file(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return write_full_file(tmp_path_factory.mktemp("full") / "full.vstore")


@pytest.fixture(scope="module")
def commits(full_file: bytes) -> list[Plain]:
    """All commits of the full file, the newest first."""
    file = File(full_file)
    found, ref = [], file.slot["root"]
    while ref:
        found.append(file.unpack(ref, COMMIT))
        ref = found[-1]["previous"]
    return found


def _conforms(value: Any, type_text: str) -> bool:
    if type_text.endswith("or nil"):
        return value is None or _conforms(value, type_text.removesuffix("or nil").strip())
    if type_text.startswith("map"):
        return isinstance(value, dict)
    if type_text.startswith("list"):
        return isinstance(value, list)
    if type_text.startswith("block reference"):
        return isinstance(value, list) and list(map(type, value)) == [int, int, bytes]
    kinds = {"integer": int, "float": float, "str": str, "boolean": bool, "bin": bytes}
    kind = kinds[type_text.split(",")[0]]
    return type(value) is kind


def _assert_like(value: Plain, heading: str, *, optional: bool = False) -> None:
    rows = {row["Key"]: row for row in table(heading)}
    assert value.keys() <= rows.keys(), heading
    assert optional or value.keys() == rows.keys(), heading
    for key, inner in value.items():
        row = rows[key]
        assert _conforms(inner, row["Type"]), f"{heading}.{key}: {inner!r} is no {row['Type']}"
        if '"' in row.get("Bound", "") and row["Type"] == "str" and "label" not in row["Bound"]:
            assert inner in re.findall(r'"([^"]*)"', row["Bound"]), f"{heading}.{key}: {inner!r}"


def test_commits_are_as_specified(commits: list[Plain]) -> None:
    kinds = set()
    for commit in commits:
        _assert_like(commit, "Commit", optional=True)
        kinds.add(commit["kind"])
        only = {
            row["Key"]
            for row in table("Commit")
            if not row["Meaning"].startswith({"full": "delta", "delta": "full"}[commit["kind"]])
        }
        maybe = {row["Key"] for row in table("Commit") if "may be absent" in row["Meaning"]}
        assert only - maybe <= commit.keys() <= only
    assert kinds == {"full", "delta"}


def test_manifest_is_as_specified(full_file: bytes) -> None:
    manifest = codec.plain_store(_state_of(full_file))
    _assert_like(manifest, "Manifest")
    collections: Any = manifest["collections"]
    for collection in collections.values():
        _assert_like(collection, "Collection")
        for version in collection["versions"].values():
            _assert_like(version, "Version")
            _assert_like(version["spec"], "EmbeddingSpec and fingerprint", optional=True)
            for segment in version["segments"]:
                _assert_like(segment, "Segment reference")
        for segment in collection["segments"]:
            _assert_like(segment, "Segment reference")
        for route in collection["routes"].values():
            _assert_like(route, "Route")
        for job in collection["jobs"].values():
            _assert_like(job, "Job")
        for bridge in collection["bridges"]:
            _assert_like(bridge, "Bridge")
        for choice in collection["choices"]:
            _assert_like(choice, "Choice")
    equivalences: Any = manifest["equivalences"]
    tags: Any = manifest["tags"]
    for pair in equivalences:
        _assert_like(pair, "Equivalence")
    for tag in tags.values():
        _assert_like(tag, "Tag")
    docs = collections["docs"]
    assert docs["jobs"], "every table was compared with something"
    assert docs["routes"]
    assert docs["bridges"]
    assert docs["choices"]
    assert docs["segments"]
    assert equivalences
    assert tags


def _state_of(data: bytes) -> state.StoreState:
    with open_store(FaultyMedium(data), mode="r") as store:
        return store._open_file.current().state


def test_enumerations() -> None:
    def bound(heading: str, key: str) -> tuple[str, ...]:
        row = next(row for row in table(heading) if row["Key"] == key)
        return tuple(re.findall(r'"([^"]*)"', row["Bound"]))

    assert bound("Version", "storage") == state.STORAGE_TYPES
    assert bound("Version", "stale_policy") == state.STALE_POLICIES
    assert bound("Version", "provenance") == state.PROVENANCES
    assert bound("Route", "mode") == state.READ_MODES
    assert bound("Job", "status") == job_state.JOB_STATUSES
    assert bound("Job", "order") == job_state.JOB_ORDERS
    assert bound("Collection", "dual_write") == state.DUAL_WRITES
    assert bound("Bridge", "kind") == job_state.BRIDGE_KINDS
    assert bound("EmbeddingSpec and fingerprint", "metric") == METRICS
    assert bound("Segment", "kind") == get_args(sealed.SegmentKind)
    field_types = tuple(dict.fromkeys(row["Type"] for row in table("Metadata columns")))
    assert field_types == tuple(FieldType)
    assert tuple(row["Field type"] for row in table("Delta contents", 1)) == field_types
    dtypes = re.findall(r"`([|<][uif]\d)`", sections()["Segment"].split("`dtype` is one of")[1])
    assert set(dtypes) == set(sealed.DTYPES) == set(DTYPES)


def test_delta_entries(commits: list[Plain]) -> None:
    places = [row["Place"] for row in table("Delta contents")]
    assert places == ["docno", *DocumentRecord._fields]
    for commit in commits:
        for entries in commit.get("documents", {}).values():
            for entry in entries:
                assert len(entry) == len(places)
        for versions in commit.get("rows", {}).values():
            for entry in versions.values():
                assert len(entry) == len(table("Delta contents", 2))
                assert all(isinstance(array, bytes) for array in entry if array is not None)
    text = prose("Delta contents")
    assert "`[" + ", ".join(places) + "]`" in text
    assert "`[" + ", ".join(row["Place"] for row in table("Delta contents", 2)) + "]`" in text


# EmbeddingSpec, ids.


def test_spec_table_lists_every_field() -> None:
    rows = [row["Key"] for row in table("EmbeddingSpec and fingerprint")]
    assert rows == [field.name for field in dataclasses.fields(EmbeddingSpec)]
    optional = {
        row["Key"]
        for row in table("EmbeddingSpec and fingerprint")
        if "may be absent" in row["Bound"]
    }
    required = {f.name for f in dataclasses.fields(EmbeddingSpec)} - optional
    assert required == set(codec.plain_spec(EmbeddingSpec("m", 2)))


def test_fingerprint_vectors() -> None:
    text = sections()["EmbeddingSpec and fingerprint"]
    first, second = re.findall(r"^Fingerprint: `([0-9a-f]{64})`$", text, re.MULTILINE)
    encoded = bytes.fromhex(fenced("EmbeddingSpec and fingerprint", "fingerprint-1"))
    assert f"{len(encoded)} bytes" in text
    assert blake3(encoded).hexdigest() == first
    values = json.loads(fenced("EmbeddingSpec and fingerprint", "json fingerprint-2"))
    for plain, expected in (
        ({"model": "m", "dimension": 2, "metric": "cosine"}, first),
        (values, second),
    ):
        assert EmbeddingSpec(**plain).fingerprint.hex() == expected
        assert fingerprint(plain).hex() == expected
    assert EmbeddingSpec(**values).fingerprint == codec.read_spec(values, "spec").fingerprint


def test_id_hash_vectors() -> None:
    rows = table("Document ids", 1)
    assert len(rows) > 10
    for row in rows:
        id_ = json.loads(row["Id"])
        encoded = ids.encode_ids([id_])
        assert f"{int(ids.hash_ids(encoded)[0]):016x}" == row["Hash"], id_
        assert rules.id_hash(int(encoded.kinds[0]), encoded.data.tobytes()) == int(row["Hash"], 16)


def test_id_kinds() -> None:
    kinds = {row["Id"]: int(row["Kind"]) for row in table("Document ids")}
    assert kinds == {"text": ids.KIND_TEXT, "integer": ids.KIND_INT}


# Segments.


def _matches(array: Array, row: Row, n: int, dimension: int) -> bool:
    known = {"n": n, "n + 1": n + 1, "any": None, "entries + 1": None, "dimension": dimension}
    shape = [part.strip() for part in row["Shape"].strip("()").split(",") if part.strip()]
    wanted = [known[part] if part in known else int(part) for part in shape]
    return array.dtype.str in row["dtype"].split(", ") and (
        len(wanted) == array.ndim
        and all(w in (None, have) for w, have in zip(wanted, array.shape, strict=True))
    )


def test_segment_arrays(full_file: bytes) -> None:
    file = File(full_file)
    docs = _state_of(full_file).collections["docs"]
    columns = {(row["Type"], row["Part"]): row for row in table("Metadata columns")}
    seen: dict[str, set[str]] = {"documents": set(), "vectors": set()}
    parts: list[tuple[str, str, state.SegmentRef, int]] = [
        ("documents", "Document segment", ref, 0) for ref in docs.segments
    ]
    for version in docs.versions.values():
        dimension = version.spec.dimension
        parts += [("vectors", "Vector segment", ref, dimension) for ref in version.segments]
    for kind, heading, ref, dimension in parts:
        plain = {"header": list(ref.header), "rows": ref.rows}
        header = file.unpack(plain["header"], SEGMENT)  # type: ignore[arg-type]
        _assert_like(header, "Segment")
        attributes, arrays = file.segment(plain, kind)
        spec = {row["Name"]: row for row in table(heading, 1)}
        assert attributes.keys() == {row["Key"] for row in table(heading)}
        for name, array in arrays.items():
            if name.startswith("field."):
                field, _, part = name.removeprefix("field.").rpartition(".")
                row = columns[attributes["fields"][field], part]
                name = "field.NAME.PART"
            else:
                row = spec[name]
            assert _matches(array, row, ref.rows, dimension), f"{name}: {array.dtype} {array.shape}"
            seen[kind].add(name)
        assert {name for name, row in spec.items() if row["Optional"] == "no"} <= arrays.keys()
    for kind, heading in (("documents", "Document segment"), ("vectors", "Vector segment")):
        assert seen[kind] == {row["Name"] for row in table(heading, 1)}, "the file has every array"


def test_column_table() -> None:
    spec: dict[str, dict[str, str]] = {}
    for row in table("Metadata columns"):
        spec.setdefault(row["Type"], {})[row["Part"]] = row["dtype"]
    assert spec == {str(name): dict(parts) for name, parts in ARRAY_DTYPES.items()}


def test_years_of_timestamps() -> None:
    text = prose("Metadata columns")
    found = re.search(r"Years 1 to 9999 are (-[\d,]+) to ([\d,]+) microseconds", text)
    assert found
    assert (integer(found[1]), integer(found[2])) == (TIMESTAMP_MIN_US, TIMESTAMP_MAX_US)


# The annotated file.


def test_annotated_dump_is_the_file(tmp_path: Path) -> None:
    data = write_annotated_file(tmp_path / "annotated.vstore")
    lines = fenced("An annotated file", "hexdump").splitlines()
    assert lines == list(dump(data)), "run: python -m tests.format.annotated_file"
    assert f"It has {len(data):,} bytes" in prose("An annotated file")
    shown = bytearray(len(data))
    for line in filter(None, lines):
        at, piece = int(line[:8], 16), bytes.fromhex(line[10:57])
        assert data[at : at + len(piece)] == piece
        shown[at : at + len(piece)] = b"x" * len(piece)
    ranges = [(layout.SLOT_BYTES, layout.BLOCKS_START)]
    for number in SHOWN_BLOCKS:
        offset, length = blocks_of(data)[number]
        ranges.append((offset, layout.aligned(offset + layout.FRAME_BYTES + length)))
    for start, end in ranges:
        hidden = [at for at in range(start, end) if not shown[at] and data[at]]
        assert not hidden, "what is left out is zero"


def test_tables_were_found() -> None:
    assert sum(len(tables(heading)) for heading in sections()) > 25
