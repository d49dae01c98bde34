"""Vectors in ``.npy`` files, and the file that says whose they are."""

from __future__ import annotations

import json
from dataclasses import dataclass
from tokenize import TokenError
from typing import TYPE_CHECKING

import numpy as np
from numpy.lib.format import open_memmap

from vstore.errors import InvalidArgumentError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from vstore.types import Array, DocumentId


def open_vectors(path: Path) -> Array:
    """Return the array in a ``.npy`` file, mapped; nothing in it is executed.

    Raises
    ------
    InvalidArgumentError
        The file is no array of vectors.
    """
    try:
        # np.load would also take an archive, and says how to run the pickle that a file may be.
        array: Array = open_memmap(path, mode="r")
    except (ValueError, TypeError, SyntaxError, OverflowError, TokenError) as error:
        # Damaged headers raise any of these.
        raise InvalidArgumentError(
            f"{path}: not a .npy file of numbers ({error}); numpy.save() writes one"
        ) from error
    return array


def open_matrix(path: Path, rows: int, *, named_by: Path) -> Array:
    """Return the vectors of a ``.npy`` file that has one row for each line of another file."""
    array = open_vectors(path)
    if array.ndim != 2:
        raise InvalidArgumentError(f"{path}: expected shape (rows, dimension), found {array.shape}")
    if len(array) != rows:
        raise InvalidArgumentError(f"{path} has {len(array):,} rows, {named_by} names {rows:,}")
    return array


@dataclass(frozen=True, slots=True)
class RowOwners:
    """Whose the rows of a vector file are: one document's each, or chunks of documents.

    Attributes
    ----------
    rows : dict
        Row numbers by document, by chunk.
    revisions : dict
        Revision the rows were made from, for the documents where the file gives it.
    count : int
        Rows in all.
    """

    rows: dict[DocumentId, list[int]]
    revisions: dict[DocumentId, int]
    count: int

    def vectors(self, matrix: Array, ids: Sequence[DocumentId]) -> Array | list[Array]:
        """Return the vectors of some documents in the form that writes take."""
        if all(len(self.rows[id_]) == 1 for id_ in ids):
            return np.asarray(matrix[[self.rows[id_][0] for id_ in ids]])
        return [np.asarray(matrix[self.rows[id_]]) for id_ in ids]


def read_owners(path: Path) -> RowOwners:
    """Read a file of JSON lines, one per row of a vector file.

    A line is an id, or an object with ``id`` and perhaps ``chunk`` and ``revision``. So the
    ``.rows.jsonl`` of an export will do, and the documents themselves if each has one vector.

    Raises
    ------
    InvalidArgumentError
        A line has no id, or a revision that contradicts another line.
    """
    chunks: dict[DocumentId, list[tuple[int, int]]] = {}
    revisions: dict[DocumentId, int] = {}
    row = -1
    for row, (number, value) in enumerate(json_lines(path)):
        where = f"{path} line {number}"
        entry = value if isinstance(value, dict) else {"id": value}
        id_ = line_id(entry, where)
        known = chunks.setdefault(id_, [])
        known.append((_whole(entry, "chunk", len(known), where), row))
        if entry.get("revision") is not None:
            revision = _whole(entry, "revision", 0, where)
            if revisions.setdefault(id_, revision) != revision:
                raise InvalidArgumentError(
                    f"{where}: document {id_!r:.60} at revision {revision}, "
                    f"before at {revisions[id_]}"
                )
    rows = {id_: [row for _, row in sorted(numbered)] for id_, numbered in chunks.items()}
    return RowOwners(rows, revisions, row + 1)


def json_lines(path: Path) -> Iterator[tuple[int, object]]:
    """Iterate over a file of JSON lines: line numbers from 1, and values; blank lines are none.

    Raises
    ------
    InvalidArgumentError
        A line is not JSON.
    """
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            if not line.strip():
                continue
            try:
                value: object = json.loads(line)
            except (ValueError, RecursionError) as error:
                raise InvalidArgumentError(
                    f"{path} line {number}: not JSON ({error}): {line[:60]!r}"
                ) from error
            yield number, value


def line_id(entry: dict[str, object], where: str) -> DocumentId:
    """Return the id of a line."""
    id_ = entry.get("id")
    if isinstance(id_, bool) or not isinstance(id_, str | int):
        raise InvalidArgumentError(f"{where}: id: expected text or an integer, found {id_!r:.60}")
    return id_


def _whole(entry: dict[str, object], key: str, default: int, where: str) -> int:
    value = entry.get(key, default)
    if type(value) is not int or value < 0:
        raise InvalidArgumentError(f"{where}: {key}: expected a whole number, found {value!r:.60}")
    return value
