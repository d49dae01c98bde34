"""The demo: a living corpus gets a new embedding model, from the first day to the last."""

from __future__ import annotations

import tempfile
import time
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from vstore.api.opening import open_store
from vstore.errors import AlreadyExistsError, MissingDependencyError, VstoreError

if TYPE_CHECKING:
    from rich.console import Console

    from vstore.demo.narrator import Narrator


def run_demo(path: Path | None, console: Console | None = None) -> None:
    """Tell the story in one store file, in well under a minute.

    Every figure is measured while it runs. It needs rich, extra ``cli``.

    Parameters
    ----------
    path : path, optional
        Where the file is made, and kept. Without it, it is a temporary one.
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
            raise AlreadyExistsError(f"{path} exists; the demo makes a new file, name another one")
        _tell(path, console, keep=True)
        return
    with tempfile.TemporaryDirectory(
        prefix="vstore-demo-", ignore_cleanup_errors=True
    ) as directory:
        _tell(Path(directory) / "papers.vstore", console, keep=False)


def _tell(path: Path, console: Console, *, keep: bool) -> None:
    from vstore.demo import balance, chapters
    from vstore.demo.narrator import Narrator
    from vstore.demo.stage import set_stage

    tell = Narrator(console)
    started_s = time.perf_counter()
    try:
        stage = set_stage(path, tell)
        chapters.prologue(stage)
        chapters.first_version(stage)
        chapters.second_version(stage)
        chapters.killed_backfill(stage)
        chapters.resumed_backfill(stage)
        chapters.cutover_and_back(stage)
        chapters.deletion(stage)
        moments = balance.measure_moments(stage)
        chapters.retirement(stage)
        balance.balance(stage, moments)
    except KeyboardInterrupt:
        _say_what_is_left(path, tell, keep=keep)
        raise
    tell.say("")
    if keep:
        tell.say(f"The file stays: {path}. Look into it with `vstore --help`.")
    tell.say(f"All of it took {time.perf_counter() - started_s:.0f} seconds.")


def _say_what_is_left(path: Path, tell: Narrator, *, keep: bool) -> None:
    """Open the file after Ctrl-C: whatever was going on, what was committed is there."""
    tell.say("")
    if not path.exists():
        tell.say("Interrupted before there was a file.")
        return
    try:
        with open_store(path, mode="r") as store:
            report = store.check()
            found = "nothing wrong" if report.ok else "; ".join(map(str, report.problems))
            tell.say(f"Interrupted. The file opens at epoch {store.epoch}; check finds {found}.")
    except VstoreError as error:
        tell.say(f"Interrupted: {error}")
    tell.say(f"It stays: {path}" if keep else "It was a temporary file, and goes.")
