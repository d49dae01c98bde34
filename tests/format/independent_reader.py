"""A second reader of vstore files, written from `format-spec.md` alone.

It shares no code with vstore and reads everything at once: every block, every hash, every rule the
specification states of what it reads. It is a check of the specification, not a tool: slow, and all
in memory. ``read_file(data)`` returns one epoch as plain data; section names are the specification's.
"""

from __future__ import annotations

import struct
from typing import Any

import msgpack
import numpy as np
import numpy.typing as npt
from blake3 import blake3

Plain = dict[str, Any]
Array = npt.NDArray[Any]

MAGIC = bytes.fromhex("89 76 73 74 6f 72 65 0d 0a 1a 0a 00 00 00 00 00")
COMMIT, SEGMENT, ARRAY, HISTORY = 1, 2, 3, 4
DTYPES = "|u1 |i1 <u2 <i2 <u4 <i4 <u8 <i8 <f2 <f4 <f8".split()
SLOT_FIELDS = (
    "format_major format_minor compat ro_compat incompat uuid epoch committed durable at length hash"
).split()
MASK = 2**64 - 1


class SpecError(Exception):
    """The file breaks a rule of the specification."""


def require(condition: object, rule: str) -> None:
    if not condition:
        raise SpecError(rule)


def digest(data: bytes) -> bytes:
    return blake3(data).digest()


def end_of(offset: int, length: int) -> int:
    return -(-(offset + 64 + length) // 64) * 64


# Superblock, Block, Structured data, Recovery.


def read_slot(slot: bytes) -> Plain | None:
    if len(slot) < 4096 or slot[:16] != MAGIC or digest(slot[:4064]) != slot[4064:]:
        return None
    require(not any(slot[20:24]) and not any(slot[136:4064]), "bytes that are no field are zero")
    values = struct.unpack_from("<HH4xQQQ16sQQQQQ32s", slot, 16)
    return dict(zip(SLOT_FIELDS, values, strict=True))


def read_frame(data: bytes, at: int) -> tuple[int, int, bytes]:
    frame = data[at : at + 64]
    require(frame[:4] == b"VBLK" and digest(frame[:48])[:16] == frame[48:], f"a frame at {at}")
    kind, flags, length, payload_hash = struct.unpack_from("<HHQ32s", frame, 4)
    require(flags == 0, "no block flags")
    return kind, length, payload_hash


def walk(data: bytes, start: int, end: int) -> None:
    at = start
    while at < end:
        _, length, payload_hash = read_frame(data, at)
        block_end = end_of(at, length)
        require(block_end <= end, "blocks end within the committed length")
        require(digest(data[at + 64 : at + 64 + length]) == payload_hash, "payload hash")
        require(not any(data[at + 64 + length : block_end]), "zero padding")
        at = block_end


def choose_slot(data: bytes) -> Plain:
    slots = [slot for part in (data[:4096], data[4096:8192]) if (slot := read_slot(part))]
    require(slots, "a valid slot")
    require(len({slot["uuid"] for slot in slots}) == 1, "one file uuid")
    for slot in sorted(slots, key=lambda s: (s["epoch"], s["durable"]), reverse=True):
        require(slot["format_major"] == 1 and not slot["incompat"], "a known format")
        require(slot["at"] >= 8192 and slot["at"] % 64 == 0, "place of the commit block")
        require(slot["committed"] == end_of(slot["at"], slot["length"]), "it is the last block")
        require(8192 <= slot["durable"] <= slot["committed"], "durable length")
        require(slot["durable"] % 64 == 0, "durable length")
        if slot["durable"] == slot["committed"]:
            require(len(data) >= slot["committed"], "a file that was not cut")
            return slot
        try:
            require(len(data) >= slot["committed"], "a tail that was not cut")
            require(read_frame(data, slot["at"])[2] == slot["hash"], "the commit that is named")
            walk(data, slot["durable"], slot["committed"])
        except SpecError:
            continue
        return slot
    raise SpecError("a slot that leads to an intact state")


class File:
    def __init__(self, data: bytes, committed: int) -> None:
        self.data, self.committed = data, committed

    def read(self, ref: list[Any], kind: int) -> bytes:
        offset, length, expected = ref
        require(offset >= 8192 and offset % 64 == 0, "place of a reference")
        require(end_of(offset, length) <= self.committed, "references stay inside")
        require(read_frame(self.data, offset) == (kind, length, expected), "the block referred to")
        payload = self.data[offset + 64 : offset + 64 + length]
        require(digest(payload) == expected, "payload hash")
        return payload

    def unpack(self, ref: list[Any], kind: int) -> Any:
        return msgpack.unpackb(self.read(ref, kind), raw=False, strict_map_key=True, max_ext_len=0)

    def array(self, entry: list[Any]) -> Array:
        dtype, shape, *ref = entry
        require(dtype in DTYPES and 1 <= len(shape) <= 2, "dtype and shape")
        require(np.dtype(dtype).itemsize * int(np.prod(shape)) == ref[1], "shape and length")
        return np.frombuffer(self.read(ref, ARRAY), dtype).reshape(shape)

    def segment(self, ref: Plain, kind: str) -> tuple[Plain, dict[str, Array]]:
        header = self.unpack(ref["header"], SEGMENT)
        require(header["kind"] == kind and header["rows"] == ref["rows"], "the segment referred to")
        blocks = [ref["header"], *(entry[2:] for entry in header["arrays"].values())]
        size = sum(end_of(offset, length) - offset for offset, length, _ in blocks)
        require(size == ref["size_bytes"], "size of a segment")
        arrays = {name: self.array(entry) for name, entry in header["arrays"].items()}
        docno = arrays["docno"]
        require(not len(docno) or docno[-1] < ref["docno_end"], "docno_end")
        return header["attributes"], arrays


# Commit, Delta edits.


def find_commit(file: File, slot: Plain, epoch: int | None) -> list[Any]:
    ref = [slot["at"], slot["length"], slot["hash"]]
    wanted, last = slot["epoch"] if epoch is None else epoch, MASK + 1
    while True:
        commit = file.unpack(ref, COMMIT)
        require(commit["epoch"] < last, "epochs descend")
        require(last <= MASK or commit["epoch"] == slot["epoch"], "the slot's epoch")
        if commit["epoch"] == wanted:
            return ref
        require(commit["epoch"] > wanted and commit["previous"], f"epoch {wanted}")
        last, ref = commit["epoch"], commit["previous"]


def read_chain(file: File, ref: list[Any]) -> list[Plain]:
    commits: list[Plain] = []
    base = None
    while True:
        commit = file.unpack(ref, COMMIT)
        depth = commit.get("depth", 0)
        if commits:
            newer = commits[-1]
            require(newer["depth"] == depth + 1 and commit["epoch"] < newer["epoch"], "a chain")
            require(commit["time_us"] <= newer["time_us"], "time does not go back")
        commits.append(commit)
        if commit["kind"] == "full":
            require(base in (None, ref), "the base")
            return commits[::-1]
        require(depth >= 1 and base in (None, commit["base"]), "one base for all")
        base, ref = commit["base"], commit["previous"]


def apply_edits(manifest: Plain, edits: list[Any]) -> None:
    for path, *value in edits:
        parent = manifest
        for key in path[:-1]:
            parent = parent[key]
        if value:
            parent[path[-1]] = value[0]
        else:
            del parent[path[-1]]


# EmbeddingSpec and fingerprint, Document ids.


def fingerprint(spec: Plain) -> bytes:
    pairs = [[k, v] for k, v in spec.items() if k != "extras" and v not in ("", False)]
    pairs += [["extras." + key, value] for key, value in spec.get("extras", {}).items()]
    pairs.sort(key=lambda pair: pair[0].encode())
    return digest(msgpack.packb(["vstore EmbeddingSpec 1", pairs]))


def id_hash(kind: int, data: bytes) -> int:
    h = (0x243F6A8885A308D3, 0x13198A2E03707344)[kind] ^ (len(data) * 0x9E3779B97F4A7C15 & MASK)
    for start in range(0, len(data), 8):
        word = int.from_bytes(data[start : start + 8], "little")
        h = (h ^ word) * 0x9E3779B97F4A7C15 & MASK
        h ^= h >> 32
    h = h * 0xD6E8FEB86659FD93 & MASK
    return h ^ h >> 32


# Document segment, Metadata columns.


def strings(offsets: Array, data: Array) -> list[bytes]:
    ends = offsets.tolist()
    require(offsets.dtype == "<i8" and ends[0] == 0 and ends[-1] == len(data), "offsets span")
    require(ends == sorted(ends), "offsets do not decrease")
    return [data[a:b].tobytes() for a, b in zip(ends, ends[1:], strict=False)]


def read_column(field_type: str, part: dict[str, Array]) -> list[Any]:
    present = [bool(p) for p in part.get("present", ())]
    if field_type in ("keyword", "keywords"):
        entries = strings(part["dictionary_offsets"], part["dictionary_bytes"])
        codes = part["codes"].tolist()
        require(all(a < b for a, b in zip(entries, entries[1:], strict=False)), "sorted dictionary")
        require({c for c in codes if c != 0xFFFFFFFF} == set(range(len(entries))), "entries used")
        words = {i: entry.decode() for i, entry in enumerate(entries)}
        if field_type == "keyword":
            return [words.get(code) for code in codes]
        ends = part["offsets"].tolist()
        lists = [[words[c] for c in codes[a:b]] for a, b in zip(ends, ends[1:], strict=False)]
        require(all(p or not items for p, items in zip(present, lists, strict=True)), "no items")
        return [items if p else None for p, items in zip(present, lists, strict=True)]
    if field_type == "bool":
        return [(False, True, None)[value] for value in part["values"].tolist()]
    if field_type == "json":
        packed = strings(part["offsets"], part["bytes"])
        return [msgpack.unpackb(value) if value else None for value in packed]
    values = part["values"]
    require(all(p or not v for p, v in zip(present, values.view("<u8"), strict=True)), "zero")
    return [v if p else None for p, v in zip(present, values.tolist(), strict=True)]


def read_documents(file: File, ref: Plain, fields: dict[str, str]) -> dict[int, list[Any]]:
    attributes, arrays = file.segment(ref, "documents")
    docno, revision = arrays["docno"].tolist(), arrays["revision"].tolist()
    require(all(a < b for a, b in zip(docno, docno[1:], strict=False)), "docnos ascend")
    kinds = arrays["id_kinds"].tolist()
    raw = strings(arrays["id_offsets"], arrays["id_bytes"])
    hashes = [id_hash(kind, data) for kind, data in zip(kinds, raw, strict=True)]
    order = sorted(range(len(raw)), key=lambda row: (hashes[row], row))
    require(arrays["id_order"].tolist() == order, "id_order")
    require(arrays["id_hash"].tolist() == [hashes[row] for row in order], "id_hash")
    sources = [row.tobytes() for row in arrays.get("source_hash", np.zeros((len(raw), 32), "u1"))]
    texts: list[str | None] = [None] * len(raw)
    if "text_offsets" in arrays:
        given = zip(
            strings(arrays["text_offsets"], arrays["text_bytes"]),
            arrays["text_present"].tolist(),
            strict=True,
        )
        texts = [text.decode() if present else None for text, present in given]
    metadata: list[Plain] = [{} for _ in raw]
    for name, field_type in attributes["fields"].items():
        require(fields[name] == field_type, "field types")
        prefix = f"field.{name}."
        part = {k.rpartition(".")[2]: a for k, a in arrays.items() if k.startswith(prefix)
                and "." not in k[len(prefix):]}  # fmt: skip
        for row, value in enumerate(read_column(field_type, part)):
            if value is not None:
                metadata[row][name] = value
    records = {}
    for row, number in enumerate(docno):
        id_ = raw[row].decode() if not kinds[row] else int.from_bytes(raw[row], "little", signed=True)
        created, source = int(arrays["created"][row]), sources[row]
        records[number] = [id_, created, revision[row], source if any(source) else None,
                           metadata[row], texts[row]]  # fmt: skip
    return records


# Vector segment, Delta contents, Derivation.


def check_vectors(spec: Plain, vectors: Array, norms: Array | None) -> None:
    exact = np.sqrt((vectors.astype("f8") ** 2).sum(axis=1))
    require(np.isfinite(exact).all(), "finite vectors")
    require(spec["metric"] != "cosine" or exact.all(), "no zero vector under cosine")
    require(not spec.get("normalized") or (abs(exact - 1) <= 0.0101).all(), "unit length")
    require(norms is None or np.allclose(norms, exact, rtol=1e-4, atol=1e-30), "norms")


def group_rows(docno: Array, chunk: Array | None, revision: Array, vectors: Array) -> Plain:
    """Return all rows of each docno: lists of (chunk, revision, vector)."""
    numbers = [0] * len(docno) if chunk is None else chunk.tolist()
    places = list(zip(docno.tolist(), numbers, strict=True))
    require(all(a < b for a, b in zip(places, places[1:], strict=False)), "rows ascend")
    grouped: dict[Any, list[Any]] = {}
    for (number, part), made_from, vector in zip(places, revision.tolist(), vectors, strict=True):
        grouped.setdefault(number, []).append((part, made_from, vector))
    return grouped


def read_version(file: File, version: Plain, deltas: list[Any], documents: Plain) -> list[Plain]:
    """Return the served rows of a version, by docno and chunk."""
    spec, dtype = version["spec"], {"float32": "<f4", "float16": "<f2"}[version["storage"]]
    rows: Plain = {}
    for ref in version["segments"]:
        attributes, arrays = file.segment(ref, "vectors")
        require(attributes["fingerprint"] == fingerprint(spec), "the version's fingerprint")
        vectors = arrays["vectors"]
        require(vectors.dtype == dtype and vectors.shape[1] == spec["dimension"], "vectors")
        check_vectors(spec, vectors, arrays["norms"])
        rows |= group_rows(arrays["docno"], arrays.get("chunk"), arrays["revision"], vectors)
    for docno, chunk, revision, packed in deltas:
        vectors = np.frombuffer(packed, dtype).reshape(-1, spec["dimension"])
        check_vectors(spec, vectors, None)
        parts = None if chunk is None else np.frombuffer(chunk, "<u4")
        rows |= group_rows(
            np.frombuffer(docno, "<u4"), parts, np.frombuffer(revision, "<u8"), vectors
        )
    served = []
    for number in sorted(rows):
        id_, created, current, *_ = documents[number]
        for part, made_from, vector in rows[number]:
            fresh = current != 0 and made_from == current
            stale = current != 0 and not fresh and made_from >= created
            if fresh or (stale and version["stale_policy"] == "serve"):
                served.append({"id": id_, "chunk": part, "revision": made_from,
                               "stale": stale, "vector": vector})  # fmt: skip
    return served


def read_collection(file: File, state: Plain, deltas: list[Plain], name: str) -> Plain:
    ends = [ref["docno_end"] for ref in state["segments"]]
    require(max(ends, default=0) <= sum(ref["rows"] for ref in state["segments"]), "dense docnos")
    documents: Plain = {}
    for ref in state["segments"]:
        documents |= read_documents(file, ref, state["fields"])
    for commit in deltas:
        for docno, *record in commit.get("documents", {}).get(name, ()):
            documents[docno] = record
    require(sorted(documents) == list(range(len(documents))), "dense docnos")
    require(len({(type(r[0]), r[0]) for r in documents.values()}) == len(documents), "one docno")
    keys = ("id", "created", "revision", "source_hash", "metadata", "text")
    alive = [dict(zip(keys, r, strict=True)) for _, r in sorted(documents.items()) if r[2]]
    require(all(1 <= d["created"] <= d["revision"] for d in alive), "created and revision")
    dead = [record for record in documents.values() if not record[2]]
    require(all(r[3:] == [None, {}, None] for r in dead), "tombstones are bare")
    versions = {}
    for label, version in state["versions"].items():
        batches = [c["rows"][name][label] for c in deltas if label in c.get("rows", {}).get(name, ())]
        rows = read_version(file, version, batches, documents)
        kept = {key: value for key, value in version.items() if key != "segments"}
        versions[label] = {**kept, "fingerprint": fingerprint(version["spec"]), "rows": rows}
    kept = {k: v for k, v in state.items() if k not in ("segments", "versions")}
    return {**kept, "documents": alive, "versions": versions}


def read_file(data: bytes, epoch: int | None = None) -> Plain:
    """Return the store at its newest epoch, or at an older one, as plain data.

    Collections hold their live documents by docno, their versions' served rows by docno and chunk,
    and the rest of the manifest as it stands; ``history`` lists the commits that a vacuum dropped.
    """
    slot = choose_slot(data)
    walk(data, 8192, slot["committed"])
    file = File(data, slot["committed"])
    full, *deltas = read_chain(file, find_commit(file, slot, epoch))
    tip = deltas[-1] if deltas else full
    manifest = full["manifest"]
    for commit in deltas:
        apply_edits(manifest, commit.get("edits", []))
    collections = {
        name: read_collection(file, state, deltas, name)
        for name, state in manifest["collections"].items()
    }
    history = file.unpack(manifest["history"], HISTORY) if manifest["history"] else []
    return {
        "uuid": slot["uuid"],
        "epoch": tip["epoch"],
        "time_us": tip["time_us"],
        "operation": tip["operation"],
        **manifest,
        "collections": collections,
        "history": history,
    }
