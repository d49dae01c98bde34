"""Migrate until killed, noting each batch before and after its commit: see test_kill_runner."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import vstore
from tests.migration.corpus import embed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from vstore.types import Array


def main() -> None:
    path, log = Path(sys.argv[1]), Path(sys.argv[2])
    notes = os.open(log, os.O_CREAT | os.O_APPEND | os.O_WRONLY)

    def note(line: str) -> None:
        os.write(notes, f"{line}\n".encode())

    def embedded(batch: Sequence[vstore.Document]) -> Array:
        bad = [document.id for document in batch if document.metadata.get("tenant") == "poison"]
        if bad:
            raise ValueError(f"cannot embed {bad}")
        made = embed(batch)
        ids = " ".join(str(document.id) for document in batch)
        note(f"{os.getpid()} {ids}")
        return made

    with vstore.open(path, timeout_s=10) as store:
        docs = store.collection("docs")
        migration = docs.migrate("old", "new", embedded, calls=vstore.Calls(batch_size=5))
        migration.run(progress=lambda *_: note(f"{os.getpid()} committed"))
        note("finished")


if __name__ == "__main__":
    main()
