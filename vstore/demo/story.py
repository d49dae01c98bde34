"""The demo: an embedding model is replaced under a living corpus, from the first day to the last.

Each chapter is a function; `run_demo` puts them in order. The figures are measured while it runs.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Final

from vstore.demo.corpus import load_scifact
from vstore.demo.models import (
    COLLECTION,
    NEW,
    NEW_SPEC,
    OLD,
    OLD_SPEC,
    document_texts,
    new_model,
    old_model,
)
from vstore.demo.process import BackfillProcess
from vstore.demo.quality import dual_read, judged, measure, mixed_on_purpose
from vstore.errors import (
    AlreadyExistsError,
    GateError,
    MissingDependencyError,
    StateError,
    VersionMismatchError,
    VstoreError,
)
from vstore.store.embedder import Embeddings
from vstore.store.store import open_store

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console

    from vstore.demo.corpus import ScifactDemo
    from vstore.demo.narrator import Narrator
    from vstore.store.collection import Collection
    from vstore.store.document import Document
    from vstore.store.store import Store

CLAIM: Final = "Leuko-reduced blood reduces infectious complications in red blood cell transfusion."
STOPS: Final = (0.0, 0.10, 0.25, 0.30, 0.50, 0.75, 0.90, 1.0)  # coverages at which we measure
BATCH_SIZE: Final = 52  # about 1 % of the documents, so that the stops fall on commits
PACE_S: Final = 0.04  # what the child waits per batch instead of running a model
KILL_AT: Final = 0.5


@dataclass(slots=True)
class _Stage:
    """What the chapters share."""

    path: Path
    tell: Narrator
    corpus: ScifactDemo
    encoding: str
    embedded: Counter[str] = field(default_factory=Counter)  # by id, in any process
    stops: dict[float, int] = field(default_factory=dict)  # epoch at which a coverage was reached

    def open(self) -> Store:
        store = open_store(self.path)
        store.register_embedder(old_model(self.corpus))
        store.register_embedder(new_model(self.corpus))
        return store

    @property
    def relevant(self) -> dict[str, int]:
        return self.corpus.judgments[self.corpus.query_texts.index(CLAIM)]


def run_demo(path: Path | None, console: Console | None = None) -> None:
    """Tell the story in one store file, in well under a minute.

    Parameters
    ----------
    path : path, optional
        Where the file is made, and kept; without it, it is a temporary one.
    console : rich.console.Console, optional
        Where it is told; stdout by default.

    Raises
    ------
    AlreadyExistsError
        There is a file at the path.
    MissingDependencyError
        rich is not installed.
    KeyboardInterrupt
        After Ctrl-C, when it has said what became of the file.
    """
    if find_spec("rich") is None:
        raise MissingDependencyError("rich", extra="cli")
    from rich.console import Console as RichConsole

    console = console or RichConsole(highlight=False)
    if path is not None:
        if path.exists():
            raise AlreadyExistsError(f"{path} exists; the demo makes a new file, choose another path")
        _tell(path, console)
        return
    with tempfile.TemporaryDirectory(
        prefix="vstore-demo-", ignore_cleanup_errors=True
    ) as directory:
        _tell(Path(directory) / "papers.vstore", console)


def _tell(path: Path, console: Console) -> None:
    from vstore.demo.narrator import Narrator

    tell = Narrator(console)
    started = time.perf_counter()
    try:
        stage = _Stage(path, tell, load_scifact(), console.encoding)
        _prologue(stage)
        _first_version(stage)
        _second_version(stage)
        _killed_backfill(stage)
        _after_the_kill(stage)
        _cutover_and_back(stage)
        _deletion(stage)
        moments = _moments(stage)
        _retirement(stage)
        _balance(stage, moments)
    except KeyboardInterrupt:
        _say_what_is_left(path, tell)
        raise
    tell.say(f"That took {time.perf_counter() - started:.0f} s.")
