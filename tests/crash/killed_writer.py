"""Commit until killed, noting each commit once it has returned: run by test_kill_loop.py."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import numpy as np

import vstore

DIMENSION = 8
SIZES = (1, 1, 1, 3, 40, 1_200)  # small ones are deltas, the largest one is sealed at once
VACUUM_EVERY = 15
KEPT_MAX = 4_000  # documents; more would only make the rounds longer


def main() -> None:
    path, log = Path(sys.argv[1]), Path(sys.argv[2])
    acknowledgements = os.open(log, os.O_CREAT | os.O_APPEND | os.O_WRONLY)

    def acknowledge(line: str) -> None:
        os.write(acknowledgements, f"{line}\n".encode())
        os.fsync(acknowledgements)

    with vstore.open(path, timeout_s=10) as store:
        if "docs" not in store.collections:
            store.create_collection("docs")
        docs = store.collection("docs")
        if not docs.versions:
            docs.create_version("v1", vstore.EmbeddingSpec("model", DIMENSION))
        rng = np.random.default_rng(store.epoch)
        for round_ in range(1_000_000):
            size = int(rng.choice(SIZES))
            name = f"{os.getpid()}-{round_}"
            ids = [f"{name}-{i}" for i in range(size)]
            rows = rng.standard_normal((size, DIMENSION)).astype(np.float32)
            docs.upsert(ids, vectors={"v1": rows})
            acknowledge(f"+ {name} {size}")
            if len(docs) > KEPT_MAX:
                # Noted before it begins: a kill in the middle leaves open which ones are gone.
                acknowledge("clear")
                docs.delete(docs.ids())
                acknowledge("cleared")
            if round_ % VACUUM_EVERY == VACUUM_EVERY - 1:
                store.vacuum()


if __name__ == "__main__":
    main()
