"""``vstore export``."""

import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, BinaryIO

import numpy as np
import typer

from vstore.api.collection import Collection
from vstore.cli.opening import open_to_read, pick_collection
from vstore.cli.options import AsJson, CollectionName, Epoch, StorePath, Tag
from vstore.cli.plain_text import size
from vstore.cli.progress import Bar
from vstore.cli.report import Report, heading, table
from vstore.errors import AlreadyExistsError
from vstore.segment.user_document import Document
from vstore.types import Array

Directory = Annotated[
    Path,
    typer.Argument(metavar="DIRECTORY", help="Where to; new or empty.", show_default=False),
]
Versions = Annotated[
    list[str] | None,
    typer.Option("--version", metavar="LABEL", help="Only the vectors of this one; repeatable."),
]
Pending = Annotated[
    str | None,
    typer.Option(
        metavar="LABEL", help="Only the documents that lack fresh vectors of this version."
    ),
]


def export(
    store: StorePath,
    directory: Directory,
    *,
    version: Versions = None,
    pending: Pending = None,
    collection: CollectionName = None,
    epoch: Epoch = None,
    tag: Tag = None,
    as_json: AsJson = False,
) -> Report:
    """Write everything in a collection to plain files.

    documents.jsonl has a line per document: id, text, metadata, source_hash, created, revision.
    Each version has a .npy file of the vectors a search may return, exactly as they are stored, and
    a .rows.jsonl file with id, chunk and revision of each row. manifest.json says what is what.

    --pending writes documents.jsonl alone, with what a version still needs: embed the texts, then
    pass that file and the vectors to vstore backfill.
    """
    with open_to_read(store, epoch=epoch, tag=tag) as opened:
        docs = pick_collection(opened, collection)
        labels = list(docs.versions) if version is None else version
        for label in labels:
            docs.versions[label]  # refuses unknown ones before anything is written
        _make_directory(directory)
        files: list[dict[str, object]] = []
        if pending is not None:
            listed = docs.migration.pending(pending)
            files.append(_write_documents(directory, listed, total=len(listed)))
        else:
            files.append(_write_documents(directory, docs.documents(), total=len(docs)))
            stems = _file_stems(labels)
            files += [_write_vectors(directory, docs, label, stems[label]) for label in labels]
        manifest = {
            "collection": docs.name,
            "epoch": opened.epoch,
            "pending": pending,
            "fields": docs.fields,
            "versions": [one.to_dict() for one in docs.versions.values()],
            "files": files,
        }
        # Last: where it stands, everything else is there.
        with (directory / "manifest.json").open("w", encoding="utf-8", newline="\n") as file:
            json.dump(manifest, file, indent=2)
        data = {key: manifest[key] for key in ("collection", "epoch", "pending", "files")}
        rows = [
            (one["file"], one["rows"], size((directory / str(one["file"])).stat().st_size))
            for one in files
        ]
        title = f"{docs.name} at epoch {opened.epoch} into {directory}"
        return Report(
            {"directory": str(directory), **data},
            [heading(title), table(["file", "#lines or rows", "#size"], rows)],
        )


def _make_directory(directory: Path) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    if next(directory.iterdir(), None) is not None:
        raise AlreadyExistsError(f"{directory} is not empty; export to a new directory")


def _write_documents(
    directory: Path, documents: Iterable[Document], *, total: int
) -> dict[str, object]:
    name, count = "documents.jsonl", 0
    with (directory / name).open("wb") as file, Bar("documents", total) as bar:
        for document in documents:
            _write_line(
                file,
                {
                    "id": document.id,
                    "text": document.text,
                    "metadata": document.metadata,
                    "source_hash": document.source_hash,
                    "created": document.created,
                    "revision": document.revision,
                },
            )
            count += 1
            bar.move(count)
    return {"file": name, "rows": count}


def _write_vectors(directory: Path, docs: Collection, label: str, stem: str) -> dict[str, object]:
    version = docs.versions[label]
    dtype = np.dtype("<f2" if version.storage == "float16" else "<f4")
    vectors, owners = directory / f"{stem}.npy", directory / f"{stem}.rows.jsonl"
    rows = 0
    with vectors.open("wb") as file, owners.open("wb") as lines, Bar(label, version.rows) as bar:
        np.lib.format.write_array_header_2_0(
            file,
            {
                "descr": np.lib.format.dtype_to_descr(dtype),
                "fortran_order": False,
                "shape": (version.rows, version.spec.dimension),
            },
        )
        for ids, chunks, revisions, block in docs.vectors(label):
            _write_rows(file, block, dtype)
            for id_, chunk, revision in zip(ids, chunks.tolist(), revisions.tolist(), strict=True):
                _write_line(lines, {"id": id_, "chunk": chunk, "revision": revision})
            rows += len(ids)
            bar.move(rows)
    assert rows == version.rows, "one snapshot, one count"
    return {"file": vectors.name, "version": label, "rows": rows, "owners": owners.name}


def _write_rows(file: BinaryIO, block: Array, dtype: np.dtype[np.floating]) -> None:
    file.write(np.ascontiguousarray(block, dtype).tobytes())


def _write_line(file: BinaryIO, value: dict[str, object]) -> None:
    line = json.dumps(value, ensure_ascii=False, default=_plain, allow_nan=False)
    file.write(line.encode() + b"\n")


def _plain(value: object) -> object:
    if isinstance(value, bytes):
        return value.hex()
    return value.isoformat()  # type: ignore[attr-defined]  # only timestamps are left


def _file_stems(labels: list[str]) -> dict[str, str]:
    """Return a file name for each version.

    A label is free text from a file that may be a stranger's: nothing of it that could name another
    directory, a device of Windows, or the file of another version may get into a path.
    """
    stems: dict[str, str] = {}
    taken: set[str] = set()
    for label in labels:
        slug = re.sub(r"[^A-Za-z0-9._-]+", "-", label).strip(".-")[:80]
        stem = f"vectors-{slug}" if slug else "vectors"
        number = 1
        while stem.casefold() in taken:
            number += 1
            stem = f"vectors-{slug}-{number}"
        taken.add(stem.casefold())
        stems[label] = stem
    return stems
