"""``vstore demo``."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from vstore.cli.report import Report, console

KeepPath = Annotated[
    Path | None,
    typer.Option(
        "--keep",
        metavar="PATH",
        help="Where to leave the demo's store; by default nowhere.",
        show_default=False,
    ),
]


def demo(keep: KeepPath = None) -> Report:
    """Watch a model upgrade from beginning to end, in a minute, on a store made up for it."""
    from vstore.demo.story import run_demo

    run_demo(keep, console(sys.stdout))
    return Report(None, [])
