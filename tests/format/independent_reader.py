"""A second reader of vstore files, written from `format-spec.md` alone.

If it and vstore agree on a file, the specification says what vstore does. It verifies every hash on
its way; what a reader need not check, `rules.py` checks. Docstrings name sections.
"""

from __future__ import annotations

import struct
from functools import reduce
from itertools import pairwise
from operator import getitem
from typing import Any

import msgpack
import numpy as np
import numpy.typing as npt
from blake3 import blake3

Plain = dict[str, Any]
Array = npt.NDArray[Any]

MAGIC = bytes.fromhex("89 76 73 74 6f 72 65 0d 0a 1a 0a 00 00 00 00 00")
COMMIT, SEGMENT, ARRAY, HISTORY = 1, 2, 3, 4
DTYPES = ("|u1", "|i1", "<u2", "<i2", "<u4", "<i4", "<u8", "<i8", "<f2", "<f4", "<f8")
SLOT = ("major", "minor", "compat", "ro", "incompat", "uuid", "epoch", "committed", "durable")
RECORD = ("id", "created", "revision", "source_hash", "metadata", "text")


class SpecError(Exception):
    """The file breaks a rule of the specification."""


def require(condition: object, rule: str) -> None:
    if not condition:
        raise SpecError(rule)


def end_of(offset: int, length: int) -> int:
    return -(-(offset + 64 + length) // 64) * 64


def read_slot(slot: bytes) -> Plain | None:
    if len(slot) < 4096 or slot[:16] != MAGIC or blake3(slot[:4064]).digest() != slot[4064:]:
        return None
    *values, at, length, root = struct.unpack_from("<HH4xQQQ16sQQQQQ32s", slot, 16)
    return {"root": [at, length, root], **dict(zip(SLOT, values, strict=True))}


def read_frame(data: bytes, at: int) -> tuple[int, int, bytes]:
    """Block: return kind, payload length and payload hash."""
    frame = data[at : at + 64]
    require(blake3(frame[:48]).digest(16) == frame[48:], f"a frame at {at}")
    magic, kind, flags, length, payload_hash = struct.unpack_from("<4sHHQ32s", frame)
    require(magic == b"VBLK" and flags == 0, "frame magic, no flags")
    return kind, length, payload_hash


def walk(data: bytes, start: int, end: int) -> None:
    """Block: verify all between two offsets."""
    while start < end:
        _, length, payload_hash = read_frame(data, start)
        payload_end, block_end = start + 64 + length, end_of(start, length)
        require(block_end <= min(end, len(data)), "blocks end within the committed length")
        require(blake3(data[start + 64 : payload_end]).digest() == payload_hash, "payload hash")
        require(not any(data[payload_end:block_end]), "zero padding")
        start = block_end


def tail_intact(data: bytes, slot: Plain) -> bool:
    try:
        walk(data, slot["durable"], slot["committed"])
        return read_frame(data, slot["root"][0])[2:] == (slot["root"][2],)
    except SpecError:
        return False


def choose_slot(data: bytes) -> Plain:
    """Reader algorithm, Recovery."""
    slots = [slot for part in (data[:4096], data[4096:8192]) if (slot := read_slot(part))]
    require(len({slot["uuid"] for slot in slots}) == 1, "valid slots, of one file")
    for slot in sorted(slots, key=lambda s: (s["epoch"], s["durable"]), reverse=True):
        committed, durable, (at, length, _) = slot["committed"], slot["durable"], slot["root"]
        require(slot["major"] == 1 and not slot["incompat"], "a known format")
        require(at >= 8192 and at % 64 == 0 and end_of(at, length) == committed, "commit block")
        require(8192 <= durable <= committed and durable % 64 == 0, "durable length")
        require(len(data) >= committed or durable < committed, "a file that was not cut")
        if durable == committed or tail_intact(data, slot):
            return slot
    raise SpecError("a slot that leads to an intact state")


class File:
    def __init__(self, data: bytes) -> None:
        self.data, self.slot = data, choose_slot(data)

    def read(self, ref: list[Any], kind: int) -> bytes:
        offset, length, expected = ref
        inside = offset >= 8192 and end_of(offset, length) <= self.slot["committed"]
        require(inside and offset % 64 == 0, "place of a reference")
        require(read_frame(self.data, offset) == (kind, length, expected), "the block referred to")
        payload = self.data[offset + 64 : offset + 64 + length]
        require(blake3(payload).digest() == expected, "payload hash")
        return payload

    def unpack(self, ref: list[Any], kind: int) -> Any:
        return msgpack.unpackb(self.read(ref, kind), raw=False, strict_map_key=True, max_ext_len=0)

    def segment(self, ref: Plain, kind: str) -> tuple[Plain, dict[str, Array]]:
        """Segment: return its attributes and arrays."""
        header = self.unpack(ref["header"], SEGMENT)
        require((header["kind"], header["rows"]) == (kind, ref["rows"]), "the segment referred to")
        arrays = {}
        for name, (dtype, shape, *block) in header["arrays"].items():
            require(dtype in DTYPES and 1 <= len(shape) <= 2, "dtype and shape")
            require(np.dtype(dtype).itemsize * int(np.prod(shape)) == block[1], "array length")
            arrays[name] = np.frombuffer(self.read(block, ARRAY), dtype).reshape(shape)
        return header["attributes"], arrays

    def chain(self, epoch: int | None) -> list[Plain]:
        """Commit: return a full one and the deltas on it up to an epoch, oldest first."""
        wanted = self.slot["epoch"] if epoch is None else epoch
        found = [self.unpack(self.slot["root"], COMMIT)]
        require(found[0]["epoch"] == self.slot["epoch"], "the slot's epoch")
        while found[-1]["kind"] == "delta" or found[-1]["epoch"] > wanted:
            newer, ref = found[-1], found[-1]["previous"]
            require(ref, f"epoch {wanted}")
            found.append(self.unpack(ref, COMMIT))
            require(found[-1]["epoch"] < newer["epoch"], "epochs descend")
            if newer["kind"] == "delta":
                require(newer["depth"] == found[-1].get("depth", 0) + 1, "depths of a chain")
                require(newer["base"] == found[-1].get("base", ref), "base of a chain")
        found = [commit for commit in reversed(found) if commit["epoch"] <= wanted]
        require(found[-1]["epoch"] == wanted, f"epoch {wanted}")
        return found


def fingerprint(spec: Plain) -> bytes:
    """EmbeddingSpec and fingerprint."""
    pairs = [[k, v] for k, v in spec.items() if k != "extras" and v not in ("", False)]
    pairs += [["extras." + key, value] for key, value in spec.get("extras", {}).items()]
    pairs.sort(key=lambda pair: pair[0].encode())
    return blake3(msgpack.packb(["vstore EmbeddingSpec 1", pairs])).digest()


def slices(offsets: Array, data: Array) -> list[Array]:
    ends = offsets.tolist()
    require(ends[0] == 0 and ends == sorted(ends) and ends[-1] == len(data), "offsets")
    return [data[start:end] for start, end in pairwise(ends)]


def column_values(field_type: str, part: dict[str, Array]) -> list[Any]:
    """Metadata columns."""
    if field_type in ("keyword", "keywords"):
        entries = slices(part["dictionary_offsets"], part["dictionary_bytes"])
        words = {code: entry.tobytes().decode() for code, entry in enumerate(entries)}
        if field_type == "keyword":
            return [words.get(code) for code in part["codes"].tolist()]
        lists = [[words[c] for c in row.tolist()] for row in slices(part["offsets"], part["codes"])]
        return [row if p else None for p, row in zip(part["present"], lists, strict=True)]
    if field_type == "bool":
        return [(False, True, None)[value] for value in part["values"].tolist()]
    if field_type == "json":
        packed = slices(part["offsets"], part["bytes"])
        return [msgpack.unpackb(value.tobytes()) if value.size else None for value in packed]
    return [v if p else None for p, v in zip(part["present"], part["values"].tolist(), strict=True)]


def read_documents(file: File, ref: Plain) -> dict[int, tuple[Any, ...]]:
    """Document segment: return its records by docno."""
    attributes, arrays = file.segment(ref, "documents")
    ids: list[Any] = [raw.tobytes() for raw in slices(arrays["id_offsets"], arrays["id_bytes"])]
    for row, kind in enumerate(arrays["id_kinds"]):
        ids[row] = int.from_bytes(ids[row], "little", signed=True) if kind else ids[row].decode()
    stored = arrays.get("source_hash", np.zeros((len(ids), 32), "u1"))
    sources = [source.tobytes() if source.any() else None for source in stored]
    texts: list[Any] = [None] * len(ids)
    if "text_offsets" in arrays:
        texts = [t.tobytes().decode() for t in slices(arrays["text_offsets"], arrays["text_bytes"])]
        texts = [t if p else None for t, p in zip(texts, arrays["text_present"], strict=True)]
    metadata: list[Plain] = [{} for _ in ids]
    for name, field_type in attributes["fields"].items():
        names = [full for full in arrays if full.rpartition(".")[0] == f"field.{name}"]
        part = {full.rpartition(".")[2]: arrays[full] for full in names}
        for row, value in enumerate(column_values(field_type, part)):
            metadata[row] |= {} if value is None else {name: value}
    docno, *epochs = (arrays[name].tolist() for name in ("docno", "created", "revision"))
    return dict(zip(docno, zip(ids, *epochs, sources, metadata, texts, strict=True), strict=True))


def read_rows(file: File, version: Plain, batches: list[Any]) -> dict[int, list[Any]]:
    """Vector segment: return current rows by docno, those of the last part that holds it."""
    dtype = {"float32": "<f4", "float16": "<f2"}[version["storage"]]
    parts: list[tuple[Array, ...]] = []
    for ref in version["segments"]:
        attributes, arrays = file.segment(ref, "vectors")
        require(attributes["fingerprint"] == fingerprint(version["spec"]), "the fingerprint")
        require(arrays["vectors"].dtype == dtype, "the storage type")
        chunk = arrays.get("chunk", np.zeros(ref["rows"], "<u4"))
        parts.append((arrays["docno"], chunk, arrays["revision"], arrays["vectors"]))
    for packed in batches:
        raw = [packed[0], packed[1] or bytes(len(packed[0])), *packed[2:]]
        parts.append(tuple(map(np.frombuffer, raw, ("<u4", "<u4", "<u8", dtype))))
    current: dict[int, list[Any]] = {}
    for docno, chunk, revision, vectors in parts:
        current |= {number: [] for number in docno.tolist()}
        columns = docno.tolist(), chunk.tolist(), revision.tolist(), vectors.reshape(len(docno), -1)
        for number, *row in zip(*columns, strict=True):
            current[number].append(row)
    return current


def read_collection(file: File, state: Plain, deltas: list[Plain], name: str) -> Plain:
    """Delta contents, Derivation."""
    documents: dict[int, Any] = {}
    for ref in state["segments"]:
        documents |= read_documents(file, ref)
    for commit in deltas:
        documents |= {docno: record for docno, *record in commit.get("documents", {}).get(name, ())}
    for label, version in state["versions"].items():
        version["fingerprint"], version["rows"] = fingerprint(version["spec"]), []
        batches = [c.get("rows", {}).get(name, {}).get(label) for c in deltas]
        serve = version["stale_policy"] == "serve"
        for docno, rows in sorted(read_rows(file, version, [b for b in batches if b]).items()):
            id_, created, alive, *_ = documents[docno]
            for chunk, revision, vector in rows:
                stale = revision != alive
                if alive and (not stale or (serve and revision >= created)):
                    version["rows"].append([id_, chunk, revision, stale, vector])
    records = [dict(zip(RECORD, record, strict=True)) for _, record in sorted(documents.items())]
    return {**state, "documents": [record for record in records if record["revision"]]}


def read_file(data: bytes, epoch: int | None = None) -> Plain:
    """Return an epoch, the newest by default: its manifest, with live documents and served rows.

    A row is [id, chunk, revision, whether it is stale, vector]; a version has its fingerprint too.
    """
    file = File(data)
    full, *deltas = file.chain(epoch)
    state = full["manifest"]
    for path, *value in [edit for commit in deltas for edit in commit.get("edits", ())]:
        parent = reduce(getitem, path[:-1], state)
        parent.pop(path[-1], None)
        parent |= {path[-1]: value[0]} if value else {}
    for name, collection in state["collections"].items():
        state["collections"][name] = read_collection(file, collection, deltas, name)
    history = file.unpack(state["history"], HISTORY) if state["history"] else []
    tip = {key: (deltas or [full])[-1][key] for key in ("epoch", "time_us", "operation")}
    return {**state, **tip, "uuid": file.slot["uuid"], "history": history}
