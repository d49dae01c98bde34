"""``vstore ingest``."""

import datetime as dt
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, NamedTuple

import numpy as np
import typer

from vstore.api.collection import Collection
from vstore.api.transaction import Transaction
from vstore.cli.hashing import require_hashing
from vstore.cli.opening import open_to_write, pick_collection
from vstore.cli.options import (
    AsJson,
    BatchSize,
    CollectionName,
    Embed,
    StorePath,
    VectorsFile,
    Wait,
)
from vstore.cli.plain_text import counted
from vstore.cli.progress import Bar
from vstore.cli.report import Report, facts, heading
from vstore.cli.vector_file import RowOwners, json_lines, line_id, open_matrix, read_owners
from vstore.errors import InvalidArgumentError, VstoreError
from vstore.testing import HashingEmbedder
from vstore.types import Array, DocumentId

DocumentsFile = Annotated[
    Path,
    typer.Argument(
        metavar="DOCS.jsonl",
        help="A JSON object per line: id, and perhaps text, metadata, source_hash.",
        show_default=False,
    ),
]
RowsFile = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE.jsonl",
        help="Whose each row of the vectors is; without it, row i is line i's. "
        "Needed for documents of several chunks.",
    ),
]
VectorsVersion = Annotated[
    str | None, typer.Option("--version", metavar="LABEL", help="Version of the vectors.")
]

_KEYS = ("id", "text", "metadata", "source_hash")
_EXPORTED = ("created", "revision")  # an export has them; a store gives out its own
_HASH_DIGITS = re.compile(r"[0-9a-fA-F]{64}")


class Line(NamedTuple):
    """One line of the documents file."""

    number: int
    row: int
    id: DocumentId
    entry: dict[str, object]


@dataclass(frozen=True, slots=True)
class VectorSource:
    """Where the vectors of a batch come from, if they come with it."""

    label: str
    embedder: HashingEmbedder | None
    matrix: Array | None
    owners: RowOwners | None

    def has(self, line: Line) -> bool:
        """Whether there are vectors for a line."""
        if self.embedder is not None:
            return line.entry.get("text") is not None
        return self.owners is None or line.id in self.owners.rows

    def vectors(self, lines: list[Line]) -> object:
        """Return the vectors of some lines."""
        if self.embedder is not None:
            prompt = self.embedder.spec.document_prompt
            return self.embedder.embed_documents([f"{prompt}{one.entry['text']}" for one in lines])
        assert self.matrix is not None, "one of the two is given"
        if self.owners is None:
            return np.asarray(self.matrix[[line.row for line in lines]])
        return self.owners.vectors(self.matrix, [line.id for line in lines])


def ingest(
    store: StorePath,
    documents: DocumentsFile,
    *,
    version: VectorsVersion = None,
    vectors: VectorsFile = None,
    rows: RowsFile = None,
    embed: Embed = False,
    collection: CollectionName = None,
    batch_size: BatchSize = 1024,
    wait: Wait = 0.0,
    as_json: AsJson = False,
) -> Report:
    """Add or change documents, with the vectors of one version or without.

    Each batch is one commit. Run again after an interruption: documents whose text or source_hash
    is unchanged keep their revision, and vectors that are there are not written again. A
    source_hash of 64 hex digits is taken as it is, other text is hashed. Timestamps are ISO 8601
    with their offset. A key that a line lacks leaves what the document has; only a new source_hash
    without a text also removes the old text, which is not what the hash is of.
    """
    if (vectors is not None) + embed > 1:
        raise InvalidArgumentError("vectors: pass --vectors or --embed, not both")
    if (version is not None) != (vectors is not None or embed):
        raise InvalidArgumentError("vectors: --version goes with --vectors or --embed")
    if rows is not None and vectors is None:
        raise InvalidArgumentError("--rows says whose the rows of --vectors are; pass both")
    count = sum(1 for _ in json_lines(documents))
    with open_to_write(store, wait=wait) as opened:
        docs = pick_collection(opened, collection)
        source = None
        if version is not None:
            source = _source(docs, version, vectors, rows, documents=documents, count=count)
        totals: dict[str, int] = {}
        batches, finished = 0, 0
        with Bar("ingest", count) as bar:
            for batch in _batches(documents, batch_size):
                try:
                    with opened.transaction() as tx:
                        _write(tx, docs, batch, source, totals)
                except VstoreError as error:
                    _place(error, documents, batch, finished)
                    raise
                batches += 1
                finished += len(batch)
                bar.move(finished)
        data: dict[str, object] = {
            "collection": docs.name,
            "documents": finished,
            **{key: totals.get(key, 0) for key in ("inserted", "updated", "unchanged")},
            "version": version,
            "vectors_written": totals.get("written", 0),
            "vectors_skipped": totals.get("skipped", 0),
            "batches": batches,
            "epoch": opened.epoch,
        }
        shown: dict[str, object] = {
            "documents": f"{data['inserted']:,} inserted, {data['updated']:,} updated, "
            f"{data['unchanged']:,} unchanged",
        }
        if version is not None:
            covered = docs.coverage(version)
            data["coverage"] = covered.share
            shown["vectors"] = (
                f"of {version}: {counted(totals.get('written', 0), 'document')} written, "
                f"{totals.get('skipped', 0):,} had theirs; it covers "
                f"{covered.fresh:,} of {covered.live:,}"
            )
        title = (
            f"{documents.name} into {docs.name}: {counted(batches, 'batch')}, epoch {opened.epoch}"
        )
        return Report(data, [heading(title), facts(shown)])


def _source(
    docs: Collection,
    label: str,
    vectors: Path | None,
    rows: Path | None,
    *,
    documents: Path,
    count: int,
) -> VectorSource:
    version = docs.versions[label]
    if vectors is None:
        return VectorSource(label, require_hashing(version, option="--embed"), None, None)
    if rows is None:
        return VectorSource(label, None, open_matrix(vectors, count, named_by=documents), None)
    owners = read_owners(rows)
    return VectorSource(label, None, open_matrix(vectors, owners.count, named_by=rows), owners)


def _batches(path: Path, batch_size: int) -> Iterator[list[Line]]:
    """Iterate over batches of lines; none has an id twice, so that a later line wins."""
    batch: list[Line] = []
    seen: set[DocumentId] = set()
    for row, (number, value) in enumerate(json_lines(path)):
        line = _line(number, row, value, where=f"{path} line {number}")
        if len(batch) == batch_size or line.id in seen:
            yield batch
            batch, seen = [], set()
        batch.append(line)
        seen.add(line.id)
    if batch:
        yield batch


def _line(number: int, row: int, value: object, *, where: str) -> Line:
    if not isinstance(value, dict):
        raise InvalidArgumentError(f"{where}: expected an object, found {value!r:.60}")
    unknown = [key for key in value if key not in _KEYS + _EXPORTED]
    if unknown:
        raise InvalidArgumentError(
            f"{where}: unknown key {unknown[0]!r:.60}; expected {', '.join(_KEYS)}"
        )
    for key, kind in (("text", str), ("metadata", dict), ("source_hash", str)):
        if value.get(key) is not None and not isinstance(value[key], kind):
            raise InvalidArgumentError(
                f"{where}: {key}: expected {'an object' if kind is dict else 'text'}, "
                f"found {value[key]!r:.60}"
            )
    entry = {key: value[key] for key in _KEYS if value.get(key) is not None}
    return Line(number, row, line_id(value, where), entry)


def _write(
    tx: Transaction,
    docs: Collection,
    batch: list[Line],
    source: VectorSource | None,
    totals: dict[str, int],
) -> None:
    """Upsert a batch, lines with the same keys together: a key given is a key changed."""
    timestamps = {name for name, kind in docs.fields.items() if kind == "timestamp"}
    groups: dict[tuple[bool, tuple[str, ...]], list[Line]] = {}
    for line in batch:
        with_vectors = source is not None and source.has(line)
        groups.setdefault((with_vectors, tuple(line.entry)), []).append(line)
    for (with_vectors, keys), lines in groups.items():
        vectors = None
        if with_vectors:
            assert source is not None, "a line has vectors only from a source"
            vectors = {source.label: source.vectors(lines)}
        counts = tx.upsert(
            docs,
            [line.id for line in lines],
            texts=[str(line.entry["text"]) for line in lines] if "text" in keys else None,
            metadata=[_metadata(line, timestamps) for line in lines]
            if "metadata" in keys
            else None,
            source_hashes=[_hash(line) for line in lines] if "source_hash" in keys else None,
            vectors=vectors,
        )
        for name, value in (
            ("inserted", counts.inserted),
            ("updated", counts.updated),
            ("unchanged", counts.unchanged),
            ("written", sum(counts.vectors_written.values())),
            ("skipped", sum(counts.vectors_skipped.values())),
        ):
            totals[name] = totals.get(name, 0) + value


def _metadata(line: Line, timestamps: set[str]) -> dict[str, object]:
    metadata = line.entry["metadata"]
    assert isinstance(metadata, dict), "checked when the line was read"
    return {name: _time(value) if name in timestamps else value for name, value in metadata.items()}


def _time(value: object) -> object:
    """Return what JSON has no type for, from ISO 8601; anything else is the engine's to refuse."""
    try:
        return dt.datetime.fromisoformat(value) if isinstance(value, str) else value
    except ValueError:
        return value


def _hash(line: Line) -> bytes | str:
    given = str(line.entry["source_hash"])
    return bytes.fromhex(given) if _HASH_DIGITS.fullmatch(given) else given


def _place(error: VstoreError, path: Path, batch: list[Line], finished: int) -> None:
    """Add to an error's message the lines it came from and what was committed before them."""
    kept = f" ({finished:,} documents were committed before; run again to go on)"
    error.args = (
        f"{path} lines {batch[0].number} to {batch[-1].number}: {error}{kept if finished else ''}",
    )
