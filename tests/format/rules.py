"""Rules of `format-spec.md` that a reader need not check, but a writer must keep.

Written from the specification alone, like `independent_reader.py`, which it builds on.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import msgpack
import numpy as np

from tests.format.independent_reader import (
    COMMIT,
    HISTORY,
    SEGMENT,
    Array,
    File,
    Plain,
    column_values,
    end_of,
    read_documents,
    read_frame,
    require,
    slices,
    walk,
)

MASK = 2**64 - 1


def id_hash(kind: int, data: bytes) -> int:
    """Document ids."""
    h = (0x243F6A8885A308D3, 0x13198A2E03707344)[kind] ^ (len(data) * 0x9E3779B97F4A7C15 & MASK)
    for start in range(0, len(data), 8):
        word = int.from_bytes(data[start : start + 8], "little")
        h = (h ^ word) * 0x9E3779B97F4A7C15 & MASK
        h ^= h >> 32
    h = h * 0xD6E8FEB86659FD93 & MASK
    return h ^ h >> 32


def check_rules(data: bytes) -> None:
    """Raise `SpecError` unless a correct writer wrote this file, every epoch of it."""
    file = File(data)
    for slot in (data[:4096], data[4096:8192]):
        require(not any(slot[20:24]) and not any(slot[136:4064]), "only fields in a slot")
    walk(data, 8192, file.slot["committed"])
    at = 8192
    while at < file.slot["committed"]:
        kind, length, _ = read_frame(data, at)
        require(kind in (1, 2, 3, 4, 6), "known kinds of blocks")
        at = end_of(at, length)
    ref: Any = file.slot["root"]
    newer: Plain | None = None
    checked: set[int] = set()
    while ref:
        commit = file.unpack(ref, COMMIT)
        _check_commit(commit, newer)
        if newer is None or commit["kind"] == "full":
            _check_state(file, commit["epoch"], checked)
        ref, newer = commit["previous"], commit


def _check_commit(commit: Plain, newer: Plain | None) -> None:
    require(newer is None or commit["time_us"] <= newer["time_us"], "time does not go back")
    name, note, counts = commit["operation"]
    require(len(name.encode()) <= 255 and len(note.encode()) <= 4096, "operation")
    require(len(counts) <= 64 and all(0 <= count <= MASK for count in counts.values()), "counts")
    for path, *value in commit.get("edits", ()):
        place, inner = path[2:3], path[4:5]
        require(path[0] != "history" and place != ["segments"], "segments by full commits")
        require(not inner or inner[0] not in ("spec", "storage"), "versions keep what they are")
        kept = path[0] == "collections" and place not in (["routes"], ["jobs"])
        require(value or not kept, "what older changes depend on is not removed")
    for documents in commit.get("documents", {}).values():
        docnos = [docno for docno, *_ in documents]
        require(len(set(docnos)) == len(docnos), "a docno comes once in a commit")


def _check_state(file: File, epoch: int, checked: set[int]) -> None:
    """Check the manifest of an epoch, its segments unless they were checked, and its memtable."""
    full, *deltas = file.chain(epoch)
    for commit in deltas:
        for path, *value in commit.get("edits", ()):
            parent: Any = full["manifest"]
            for key in path[:-1]:
                parent = parent[key]
            if value:
                parent[path[-1]] = value[0]
            else:
                del parent[path[-1]]
    manifest = full["manifest"]
    if manifest["history"]:
        epochs = [entry[0] for entry in file.unpack(manifest["history"], HISTORY)]
        require(all(a > b for a, b in pairwise(epochs)), "history, newest first, each epoch once")
    for name, collection in manifest["collections"].items():
        _check_collection(file, collection, checked)
        documents: dict[int, Any] = {}
        for ref in collection["segments"]:
            documents |= read_documents(file, ref)
        for commit in deltas:
            for docno, *record in commit.get("documents", {}).get(name, ()):
                documents[docno] = record
                require(record[3] is None or any(record[3]), "no hash of zeros")
                require(not [v for v in record[4].values() if v is None], "missing is left out")
            for label, rows in commit.get("rows", {}).get(name, {}).items():
                _check_delta_rows(collection["versions"][label], rows)
        require(sorted(documents) == list(range(len(documents))), "docnos are dense")
        ids = {(type(record[0]), record[0]) for record in documents.values()}
        require(len(ids) == len(documents), "one docno for an id")
        for _, created, revision, *rest in documents.values():
            require(created >= 1 and revision <= epoch, "epochs of a document")
            require(created <= revision or revision == 0, "created before it changed")
            require(revision or rest == [None, {}, None], "tombstones are bare")


def _check_collection(file: File, collection: Plain, checked: set[int]) -> None:
    ends = [ref["docno_end"] for ref in collection["segments"]]
    require(max(ends, default=0) <= sum(r["rows"] for r in collection["segments"]), "dense")
    for route in collection["routes"].values():
        labels = {"matched": ["version"], "dual": ["version", "old_version"]}[route["mode"]]
        require(all(route[key] in collection["versions"] for key in labels), "labels of a route")
    require(collection["jobs"].keys() <= collection["versions"].keys(), "labels of jobs")
    parts = [(collection["segments"], "documents", collection["fields"])]
    parts += [
        (version["segments"], "vectors", version) for version in collection["versions"].values()
    ]
    for segments, kind, about in parts:
        for ref in segments:
            if ref["header"][0] not in checked:
                checked.add(ref["header"][0])
                _check_segment(file, ref, kind, about)


def _check_segment(file: File, ref: Plain, kind: str, about: Plain) -> None:
    attributes, arrays = file.segment(ref, kind)
    entries = file.unpack(ref["header"], SEGMENT)["arrays"].values()
    blocks = [ref["header"], *(entry[2:] for entry in entries)]
    require(max(offset for offset, *_ in blocks) == ref["header"][0], "the header is the last")
    size = sum(end_of(offset, length) - offset for offset, length, _ in blocks)
    require(size == ref["size_bytes"], "size of a segment")
    docno = arrays["docno"]
    require(ref["docno_end"] == (docno[-1] + 1 if len(docno) else 0), "docno_end")
    if kind == "vectors":
        require(attributes["dimension"] == about["spec"]["dimension"], "dimension")
        chunk = arrays.get("chunk")
        require(chunk is None or chunk.any(), "no chunk array of zeros")
        _check_rows(about["spec"], docno, chunk, arrays["vectors"], arrays["norms"])
    else:
        _check_documents(attributes, arrays, about)


def _check_documents(attributes: Plain, arrays: dict[str, Array], fields: Plain) -> None:
    docno = arrays["docno"].tolist()
    require(all(a < b for a, b in pairwise(docno)), "docnos ascend")
    kinds = arrays["id_kinds"].tolist()
    raw = [id_.tobytes() for id_ in slices(arrays["id_offsets"], arrays["id_bytes"])]
    require(all(1 <= len(id_) <= 1024 for id_ in raw), "length of an id")
    require(all(len(id_) == 8 for id_, k in zip(raw, kinds, strict=True) if k), "integer ids")
    hashes = [id_hash(kind, id_) for kind, id_ in zip(kinds, raw, strict=True)]
    order = sorted(range(len(raw)), key=lambda row: (hashes[row], row))
    require(arrays["id_order"].tolist() == order, "id_order")
    require(arrays["id_hash"].tolist() == [hashes[row] for row in order], "id_hash")
    texts = [name for name in arrays if name.startswith("text_")]
    require(len(texts) in (0, 3), "text arrays come together")
    if texts:
        lengths = np.diff(arrays["text_offsets"])
        require(not lengths[arrays["text_present"] == 0].any(), "no bytes without a text")
    for name, field_type in attributes["fields"].items():
        require(fields[name] == field_type, "the field's type")
        prefix = f"field.{name}."
        parts = {full[len(prefix) :]: a for full, a in arrays.items() if full.startswith(prefix)}
        _check_column(field_type, {part: a for part, a in parts.items() if "." not in part})


def _check_column(field_type: str, part: dict[str, Array]) -> None:
    values = column_values(field_type, part)
    missing = np.array([value is None for value in values])
    if field_type in ("keyword", "keywords"):
        entries = slices(part["dictionary_offsets"], part["dictionary_bytes"])
        require(all(a.tobytes() < b.tobytes() for a, b in pairwise(entries)), "sorted dictionary")
        used = set(part["codes"].tolist()) - {0xFFFFFFFF}
        require(used == set(range(len(entries))), "every entry is used")
    if field_type == "keywords":
        require(not np.diff(part["offsets"])[missing].any(), "a missing list is empty")
    if field_type in ("int", "float", "timestamp"):
        require(not part["values"].view("<u8")[missing].any(), "a missing number is 0")
        require(np.isfinite(part["values"]).all(), "numbers are finite")
        require(not (np.signbit(part["values"]) & (part["values"] == 0)).any(), "no -0.0")
    if field_type == "json":
        packed = [value.tobytes() for value in slices(part["offsets"], part["bytes"])]
        require(all(value != msgpack.packb(None) for value in packed), "no lone nil")


def _check_delta_rows(version: Plain, rows: list[Any]) -> None:
    docno, chunk, revision, vectors = rows
    dtype = {"float32": "<f4", "float16": "<f2"}[version["storage"]]
    matrix = np.frombuffer(vectors, dtype).reshape(-1, version["spec"]["dimension"])
    require(len(docno) // 4 == len(revision) // 8 == len(matrix) > 0, "one item for each row")
    chunks = None if chunk is None else np.frombuffer(chunk, "<u4")
    require(chunks is None or chunks.any(), "no chunk array of zeros")
    _check_rows(version["spec"], np.frombuffer(docno, "<u4"), chunks, matrix, None)


def _check_rows(
    spec: Plain, docno: Array, chunk: Array | None, vectors: Array, norms: Array | None
) -> None:
    chunks = [0] * len(docno) if chunk is None else chunk.tolist()
    places = list(zip(docno.tolist(), chunks, strict=True))
    require(all(a < b for a, b in pairwise(places)), "rows ascend by docno and chunk")
    exact = np.sqrt((vectors.astype("f8") ** 2).sum(axis=1))
    require(np.isfinite(exact).all(), "finite vectors")
    require(spec["metric"] != "cosine" or exact.all(), "no zero vector under cosine")
    require(not spec.get("normalized") or (abs(exact - 1) <= 0.0101).all(), "unit length")
    require(norms is None or np.allclose(norms, exact, rtol=1e-4, atol=1e-30), "norms")
