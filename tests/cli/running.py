"""What the command line's tests share: results, and files to give to commands."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from pathlib import Path

    from vstore.types import Array

WORDS = ("red", "green", "blue", "house", "boat", "car", "river", "city", "winter", "stone")
DOCUMENTS = 40


@dataclass(frozen=True)
class Ran:
    """What a command printed."""

    out: str
    err: str

    @property
    def data(self) -> Any:
        return json.loads(self.out)


def write_json(path: Path, value: object) -> Path:
    path.write_text(json.dumps(value), encoding="utf-8")
    return path


def write_lines(path: Path, values: list[Any]) -> Path:
    path.write_text("".join(json.dumps(value) + "\n" for value in values), encoding="utf-8")
    return path


def write_vectors(path: Path, vectors: Array) -> Path:
    np.save(path, vectors)
    return path


def documents(count: int = DOCUMENTS) -> list[dict[str, Any]]:
    """Return documents as lines of a file."""
    return [
        {
            "id": f"d{i}",
            "text": " ".join(WORDS[(i * step) % len(WORDS)] for step in (1, 3, 7)) + f" {i}",
            "metadata": {"tenant": "acme" if i % 2 else "globex", "year": 2000 + i},
        }
        for i in range(count)
    ]
